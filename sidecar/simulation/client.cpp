#include "sidecar/simulation/client.h"

#include <algorithm>
#include <chrono>

#include "core/hash.h"
#include "core/key.h"
#include "core/lock_mode.h"
#include "core/write_set.h"

namespace concord::simulation {
namespace {

constexpr int64_t kAskNs = 300 * kMs;  // for a leader to vouch for itself
constexpr int64_t kRetryNs = 50 * kMs;
constexpr int kReadAttempts = 8;

std::chrono::system_clock::time_point After(int64_t ns) {
  return std::chrono::system_clock::now() + std::chrono::nanoseconds(ns);
}

Token MakeToken(uint64_t number) {
  Token token{};
  for (size_t i = 0; i < 8; i++) token[i] = static_cast<uint8_t>(number >> 8 * i);
  for (size_t i = 8; i < token.size(); i++) token[i] = static_cast<uint8_t>(scheduler->random()());
  return token;
}

}  // namespace

void Client::Run(const bool* stop) {
  while (!*stop) {
    RunOne();
    scheduler->Sleep(static_cast<int64_t>(scheduler->Below(static_cast<uint64_t>(options_.pause_max))));
  }
  CloseSession();
}

uint64_t Client::RunOne(int64_t row) {
  const uint64_t number = history_->transactions.size() + 1;
  // Others grow the history meanwhile.
  Transaction transaction;
  transaction.number = number;
  transaction.token = MakeToken(number);
  transaction.begun = scheduler->now();
  history_->transactions.push_back(transaction);
  std::vector<uint64_t> rows;
  if (row >= 0) {
    rows.push_back(static_cast<uint64_t>(row));
    transaction.appends = rows;
  } else {
    for (uint64_t i = 0; i < options_.rows; i++) {
      if (!scheduler->Chance(400)) continue;
      rows.push_back(i);
      if (scheduler->Chance(600)) transaction.appends.push_back(i);
    }
    if (rows.empty()) rows.push_back(scheduler->Below(options_.rows));
    transaction.serializable = scheduler->Chance(200);
  }
  if (TakeReadLsn(&transaction) && Read(&transaction, rows) && !transaction.appends.empty()) {
    transaction.outcome = Transaction::Outcome::kUnknown;  // from now on
    history_->transactions[number - 1] = transaction;
    Commit(&transaction);
  }
  transaction.ended = scheduler->now();
  scheduler->Note(number << 8 | static_cast<uint64_t>(transaction.outcome));
  history_->transactions[number - 1] = transaction;
  if (transaction.outcome == Transaction::Outcome::kCommitted)
    history_->newest_acknowledged = std::max(history_->newest_acknowledged, transaction.lsn);
  return number;
}

bool Client::TakeReadLsn(Transaction* transaction) {
  for (const int64_t until = scheduler->now() + options_.patience; scheduler->now() < until;) {
    transaction->newest_acknowledged = history_->newest_acknowledged;
    grpc::ClientContext context;
    context.set_deadline(After(kAskNs));
    proto::ReadLsnReply reply;
    if (CallUnary(&context, adjudicator(), "Adjudicator.ReadLsn", proto::ReadLsnRequest(), &reply).ok()) {
      transaction->read_lsn = reply.committed_lsn();
      return true;
    }
    CloseSession();
    TryNext();
    scheduler->Sleep(kRetryNs);
  }
  return false;
}

bool Client::Read(Transaction* transaction, const std::vector<uint64_t>& rows) {
  const auto& replicas = cluster_->replicas();
  for (int attempt = 0; attempt < kReadAttempts; attempt++) {
    // Of one, or each row of another: they must agree.
    const bool together = scheduler->Chance(700);
    bool good = true;
    for (size_t i = 0; good && i < rows.size(); i += together ? rows.size() : 1) {
      proto::GetRequest request;
      request.set_read_lsn(transaction->read_lsn);
      request.set_wait_ms(1000);
      const size_t end = together ? rows.size() : i + 1;
      for (size_t j = i; j < end; j++) request.add_keys(RowKey(kListStorage, rows[j]));
      grpc::ClientContext context;
      context.set_deadline(After(1500 * kMs));
      proto::GetReply reply;
      good = CallUnary(&context, replicas[scheduler->Below(replicas.size())], "Storage.Get", request, &reply).ok() &&
             static_cast<size_t>(reply.values_size()) == end - i;
      for (size_t j = i; good && j < end; j++)
        transaction->reads[rows[j]] = DecodeList(reply.values(static_cast<int>(j - i)).value());
    }
    if (good) return true;
    scheduler->Sleep(kRetryNs);
  }
  transaction->reads.clear();
  return false;
}

std::vector<std::string> Client::Encode(const Transaction& transaction, std::string* encoded) {
  WriteSet write_set;
  constexpr uint64_t kPrefix = Prefix(Space::kRow, kListStorage);
  for (const uint64_t row : transaction.appends) {
    List list = transaction.reads.at(row);
    const bool absent = list.empty();
    list.push_back(transaction.number);
    std::string body;
    AppendBe64(&body, row);
    uint64_t alias;
    Status status = write_set.Put(kPrefix, body, EncodeList(list), 0, absent, &alias);
    if (status.ok()) status = write_set.AddCheck(kPrefix, body, LockMode::kUpdate, transaction.read_lsn);
    if (!status.ok()) history_->Violation("a write set cannot be made: " + status.ToString());
  }
  std::string reads;
  if (transaction.serializable) {
    std::string ranges;
    for (const auto& [row, list] : transaction.reads) {
      const std::string key = RowKey(kListStorage, row);
      const std::string behind = key + '\0';
      AppendRange(&ranges, {key, behind});
    }
    AppendReadsHeader(&reads, transaction.read_lsn, static_cast<uint32_t>(transaction.reads.size()),
                      static_cast<uint32_t>(ranges.size()));
    reads += ranges;
  }
  // Now and then the row comes in a chunk of its own, ahead of the commit.
  std::vector<std::string> chunks;
  if (scheduler->Chance(200)) {
    chunks.emplace_back();
    write_set.EncodeAhead(transaction.token, 0, &chunks.back());
  }
  WriteSetEncoder encoder(&write_set, transaction.token, transaction.read_lsn, static_cast<uint32_t>(chunks.size()),
                          reads);
  std::string_view part;
  for (bool is_write_set = false; !is_write_set && encoder.Next(&part, &is_write_set).ok();) {
    if (is_write_set) {
      encoded->assign(part);
    } else {
      chunks.emplace_back(part);
    }
  }
  return chunks;
}

void Client::Commit(Transaction* transaction) {
  std::string write_set;
  const std::vector<std::string> chunks = Encode(*transaction, &write_set);
  int sends = 0;
  size_t chunks_taken = 0;
  for (const int64_t until = scheduler->now() + options_.patience; scheduler->now() < until;) {
    if (stream_ == nullptr && !OpenSession()) {
      TryNext();
      scheduler->Sleep(kRetryNs);
      continue;
    }
    const bool is_chunk = chunks_taken < chunks.size();
    proto::SessionRequest request;
    uint64_t id = ++last_request_;
    if (is_chunk) {
      auto* const chunk = request.add_chunks();
      chunk->set_request_id(id);
      chunk->set_chunk(chunks[chunks_taken]);
    } else {
      sends++;
      // A duplicate on the same stream: both must be told the same.
      for (int copies = scheduler->Chance(50) ? 2 : 1; copies > 0; copies--) {
        auto* const commit = request.add_commits();
        if (copies > 1) id = ++last_request_;
        commit->set_request_id(copies > 1 ? id - 1 : id);
        commit->set_write_set(write_set);
      }
    }
    proto::Verdict verdict;
    const int64_t patience = scheduler->Chance(100) ? 20 * kMs : 2 * kSecond;
    if (!stream_->Write(request) || !Await(id, scheduler->now() + patience, &verdict)) {
      CloseSession();
      if (scheduler->Chance(500)) TryNext();
      continue;
    }
    if (verdict.outcome() == proto::IN_DOUBT || (verdict.outcome() == proto::UNAVAILABLE && sends > 1)) {
      scheduler->Sleep(kRetryNs);
      continue;
    }
    if (is_chunk && verdict.outcome() == proto::COMMITTED) {
      chunks_taken++;
      continue;
    }
    transaction->verdict = proto::Outcome_Name(verdict.outcome()) + " " + verdict.message();
    switch (verdict.outcome()) {
      case proto::COMMITTED:
        transaction->outcome = Transaction::Outcome::kCommitted;
        transaction->lsn = verdict.lsn();
        return;
      case proto::OUTCOME_UNKNOWN: return;
      case proto::INVALID:
        // A chunk that comes again after its token was decided.
        if (is_chunk && sends > 0) return;
        history_->Violation("transaction " + std::to_string(transaction->number) + " is INVALID: " + verdict.message());
        return;
      default:
        // Of a chunk: nothing has been asked to commit.
        transaction->outcome = Transaction::Outcome::kRefused;
        return;
    }
  }
}

bool Client::OpenSession() {
  context_ = std::make_unique<grpc::ClientContext>();
  stream_ = std::make_unique<Stream>(network->Begin(context_.get(), adjudicator(), "Adjudicator.Session"));
  if (stream_->call()->WaitForInitialMetadata(scheduler->now() + kAskNs)) return true;
  CloseSession();
  return false;
}

void Client::CloseSession() {
  stream_.reset();
  context_.reset();
}

bool Client::Await(uint64_t request_id, int64_t until, proto::Verdict* verdict) {
  proto::SessionReply reply;
  while (stream_->call()->WaitReadable(until)) {
    if (!stream_->Read(&reply)) return false;
    for (const auto& one : reply.verdicts()) {
      if (one.request_id() != request_id) continue;
      *verdict = one;
      return true;
    }
  }
  return false;
}

}  // namespace concord::simulation
