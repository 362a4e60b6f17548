#include "client.h"

#include <cstdlib>

namespace torture {
namespace {

constexpr int kConnectPauseMs = 50;
constexpr int kBatchRows = 30;
constexpr int kBulkRows = 2500;  // of a kilobyte: more than one chunk

void NotePassing(void* to, const char* message) { static_cast<std::string*>(to)->append(message); }

}  // namespace

Connection Connect(const std::string& conninfo) {
  Connection connection(PQconnectdb(conninfo.c_str()));
  if (PQstatus(connection.get()) != CONNECTION_OK) return nullptr;
  return connection;
}

bool Succeeded(const Result& result) {
  const ExecStatusType status = PQresultStatus(result.get());
  return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

Client::Client(int number, std::string conninfo, uint64_t seed)
    : number_(number), conninfo_(std::move(conninfo)), random_(seed * 1000 + static_cast<uint64_t>(number)) {}

void Client::Start(int64_t first_list) {
  first_list_ = first_list;
  stop_ = false;
  done_ = false;
  thread_ = std::thread([this] {
    Run();
    done_ = true;
  });
}

bool Client::Join(int timeout_ms) {
  for (int64_t end = NowUs() + timeout_ms * 1000; !done_;) {
    if (NowUs() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  if (thread_.joinable()) thread_.join();
  return true;
}

void Client::Cancel() {
  char error[256];
  const std::lock_guard lock(mutex_);
  if (cancel_ != nullptr) PQcancel(cancel_, error, sizeof error);
}

std::string Client::current() const {
  const std::lock_guard lock(mutex_);
  return current_;
}

bool Client::EnsureConnected() {
  if (connection_ != nullptr) return true;
  connection_ = Connect(conninfo_);
  if (connection_ == nullptr) {
    std::this_thread::sleep_for(std::chrono::milliseconds(kConnectPauseMs));
    return false;
  }
  connected_us_ = NowUs();
  PQsetNoticeProcessor(connection_.get(), NotePassing, &notices_);
  const std::lock_guard lock(mutex_);
  cancel_ = PQgetCancel(connection_.get());
  return true;
}

void Client::Disconnect() {
  const std::lock_guard lock(mutex_);
  PQfreeCancel(cancel_);
  cancel_ = nullptr;
  connection_.reset();
}

void Client::Run() {
  while (!stop_) {
    if (!EnsureConnected()) continue;
    Op op = Next();
    error_.clear();
    notices_.clear();
    op.outcome = Outcome::kRefused;
    if (Work(op)) {
      Commit(&op);
      history_.push_back(op);
    } else if (!error_.empty()) {
      // Its commit was never sent.
      op.error = error_;
      op.sent_us = op.answered_us = NowUs();
      history_.push_back(op);
    }
    if (PQstatus(connection_.get()) != CONNECTION_OK)
      Disconnect();
    else if (PQtransactionStatus(connection_.get()) != PQTRANS_IDLE)
      Execute(connection_.get(), "ROLLBACK");
  }
  Disconnect();
}

Op Client::Next() {
  Op op;
  op.id = {number_, next_op_};
  op.key = static_cast<int64_t>(number_) << 40 | next_op_ << 12;
  next_op_++;
  const int64_t dice = Random(1000);
  if (dice < 300) {
    op.kind = Kind::kInsert;
  } else if (dice < 350) {
    op.kind = Kind::kBatch;
    op.amount = kBatchRows;
  } else if (dice < 353) {
    op.kind = Kind::kBulk;
    op.amount = kBulkRows;
  } else if (dice < 450 && !mine_.empty()) {
    op.kind = Kind::kRemove;
    std::swap(mine_[static_cast<size_t>(Random(static_cast<int64_t>(mine_.size())))], mine_.back());
    op.key = mine_.back();
  } else if (dice < 700) {
    op.kind = Kind::kTransfer;
    op.key = Random(kAccounts);
    op.other = (op.key + 1 + Random(kAccounts - 1)) % kAccounts;
    op.amount = Random(100) + 1;
  } else if (dice < 800) {
    op.kind = Kind::kAppend;
    op.key = first_list_ + Random(kLists);
  } else if (dice < 900) {
    op.kind = Kind::kClaim;
    op.key = Random(kClaims);
  } else {
    op.kind = Kind::kRelease;
    op.key = Random(kClaims);
  }
  return op;
}

// A statement of the transaction; false if it failed (error_ says how) or did not meet as many rows.
bool Client::Step(const std::string& sql, long rows_expected) {
  {
    const std::lock_guard lock(mutex_);
    current_ = sql;
  }
  const Result result = Execute(connection_.get(), sql);
  if (!Succeeded(result)) {
    error_ = PQresultErrorMessage(result.get());
    if (error_.empty()) error_ = PQerrorMessage(connection_.get());
    return false;
  }
  return rows_expected < 0 || atol(PQcmdTuples(result.get())) == rows_expected;
}

bool Client::WorkRemoval(const Op& op, const std::string& delete_sql) {
  return Step(delete_sql, 1) &&
         Step("INSERT INTO removed VALUES ('" + Marker(op.id) + "', " + std::to_string(op.key) + ")", 1);
}

bool Client::Work(const Op& op) {
  const std::string key = std::to_string(op.key), marker = "'" + Marker(op.id) + "'";
  const std::string owner = std::to_string(number_), last = std::to_string(op.key + op.amount - 1);
  if (!Step(Random(2) == 0 ? "BEGIN" : "BEGIN ISOLATION LEVEL REPEATABLE READ", -1)) return false;
  switch (op.kind) {
    case Kind::kInsert: return Step("INSERT INTO items VALUES (" + key + ", " + owner + ", " + marker + ")", 1);
    case Kind::kBatch:
    case Kind::kBulk:
      return Step("INSERT INTO items SELECT g, " + owner + ", " + marker +
                      (op.kind == Kind::kBulk ? ", repeat('x', 1000)" : "") + " FROM generate_series(" + key + ", " +
                      last + ") g",
                  static_cast<long>(op.amount));
    case Kind::kRemove: return WorkRemoval(op, "DELETE FROM items WHERE id = " + key);
    case Kind::kTransfer: {
      const std::string amount = std::to_string(op.amount),
                        set = "UPDATE accounts SET op = " + marker + ", balance = balance ";
      return Step(set + "- " + amount + " WHERE id = " + key, 1) &&
             Step(set + "+ " + amount + " WHERE id = " + std::to_string(op.other), 1);
    }
    case Kind::kAppend:
      return Step(
          "UPDATE lists SET op = " + marker + ", elements = elements || '" + Name(op.id) + ",' WHERE id = " + key, 1);
    case Kind::kClaim: return Step("INSERT INTO claims VALUES (" + key + ", " + marker + ")", 1);
    case Kind::kRelease: return WorkRemoval(op, "DELETE FROM claims WHERE id = " + key);
  }
  return false;
}

void Client::Commit(Op* op) {
  {
    const std::lock_guard lock(mutex_);
    current_ = "COMMIT of " + Marker(op->id);
  }
  op->sent_us = NowUs();
  const Result result = Execute(connection_.get(), "COMMIT");
  op->answered_us = NowUs();
  const char* const state = PQresultErrorField(result.get(), PG_DIAG_SQLSTATE);
  if (Succeeded(result)) {
    if (std::string(PQcmdStatus(result.get())) == "COMMIT") op->outcome = Outcome::kAcknowledged;
  } else {
    op->error = PQresultErrorMessage(result.get());
    // A connection that breaks tells nothing; nor does this error, which says so.
    if (PQstatus(connection_.get()) != CONNECTION_OK || (state != nullptr && std::string(state) == "08007"))
      op->outcome = Outcome::kUnknown;
    if (notices_.find("committed at LSN") != std::string::npos) op->outcome = Outcome::kAcknowledged;
  }
  if (op->kind == Kind::kRemove && op->outcome != Outcome::kRefused) mine_.pop_back();
  if (op->outcome != Outcome::kAcknowledged) return;
  acknowledged_sent_us_ = op->sent_us;
  if (op->kind == Kind::kInsert) mine_.push_back(op->key);
  if (Random(10) != 0 || PQstatus(connection_.get()) != CONNECTION_OK) return;
  const Result lsn = Execute(connection_.get(), "SELECT concord.current_lsn() - '0/0'");
  if (!Succeeded(lsn)) return;
  op->read_lsn = strtoull(PQgetvalue(lsn.get(), 0, 0), nullptr, 10);
  op->read_us = NowUs();
}

}  // namespace torture
