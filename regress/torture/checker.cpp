#include "checker.h"

#include <algorithm>
#include <cstdio>
#include <limits>

namespace torture {
namespace {

constexpr size_t kManyRows = 30000;
constexpr int kWrongsShown = 20;

const char kSchema[] = R"(
CREATE TABLE items (id bigint PRIMARY KEY, owner int, op text, pad text) USING concord;
CREATE INDEX items_owner ON items (owner, id);
CREATE TABLE accounts (id bigint PRIMARY KEY, balance bigint, op text) USING concord;
CREATE INDEX accounts_balance ON accounts (balance);
CREATE TABLE lists (id bigint PRIMARY KEY, elements text, op text) USING concord;
CREATE INDEX lists_op ON lists (op);
CREATE TABLE claims (id bigint PRIMARY KEY, op text) USING concord;
CREATE INDEX claims_op ON claims (op);
CREATE TABLE removed (op text PRIMARY KEY, id bigint) USING concord;
CREATE INDEX removed_id ON removed (id);
)";

std::string Text(int64_t number) { return std::to_string(number); }

}  // namespace

void Checker::Wrong(const std::string& text) {
  if (++wrongs_ <= kWrongsShown) fprintf(stderr, "WRONG: %s\n", text.c_str());
}

bool Checker::Prepare(PGconn* connection) {
  if (!Succeeded(Execute(connection, kSchema)) ||
      !Succeeded(Execute(connection, "INSERT INTO accounts SELECT g, " + Text(kBalance) +
                                         ", '' FROM generate_series(0, " + Text(kAccounts - 1) + ") g"))) {
    fprintf(stderr, "cannot make the tables: %s\n", PQerrorMessage(connection));
    return false;
  }
  for (int64_t i = 0; i < kAccounts; i++) accounts_[i] = {kBalance, "", ""};
  return true;
}

int64_t Checker::BeginRound(PGconn* connection, bool* ok) {
  const int64_t first = lists_made_;
  *ok = true;
  if (items_.size() + removed_.size() > kManyRows) {
    *ok = Succeeded(Execute(connection, "TRUNCATE items, removed"));
    items_.clear();
    removed_.clear();
  }
  for (int i = 0; i < kLists; i++) lists_[lists_made_++] = {0, "", ""};
  *ok = *ok && Succeeded(Execute(connection, "INSERT INTO lists SELECT g, '', '' FROM generate_series(" + Text(first) +
                                                 ", " + Text(lists_made_ - 1) + ") g"));
  if (!*ok) fprintf(stderr, "cannot begin a round: %s\n", PQerrorMessage(connection));
  return first;
}

bool Checker::Check(PGconn* connection, const std::vector<Op>& ops, JournalTail* journal) {
  wrongs_ = 0;
  const Result newest = Execute(connection, "SELECT concord.current_lsn() - '0/0'");
  if (!Succeeded(newest)) {
    Wrong(std::string("the newest LSN cannot be read: ") + PQerrorMessage(connection));
    return false;
  }
  if (!journal->Reaches(strtoull(PQgetvalue(newest.get(), 0, 0), nullptr, 10), 30000))
    Wrong("the journal does not come to its end: " + journal->failure());
  std::map<OpId, Committed> committed;
  for (const Committed& one : journal->Take())
    if (!committed.emplace(one.id, one).second) Wrong(Marker(one.id) + " is committed twice");

  CheckHistory(ops, committed);
  CheckTables(connection);
  if (wrongs_ > kWrongsShown) fprintf(stderr, "... %d in all\n", wrongs_);
  return wrongs_ == 0;
}

void Checker::CheckHistory(const std::vector<Op>& ops, const std::map<OpId, Committed>& committed) {
  CheckOutcomes(ops, committed);
  CheckOrder(ops, committed);
  Replay(ops, committed);
}

void Checker::CheckOutcomes(const std::vector<Op>& ops, const std::map<OpId, Committed>& committed) {
  std::set<OpId> known;
  for (const Op& op : ops) {
    known.insert(op.id);
    const auto found = committed.find(op.id);
    const bool there = found != committed.end();
    if (there && found->second.rows != MarkedRows(op))
      Wrong(Marker(op.id) + " has " + Text(found->second.rows) + " rows instead of " + Text(MarkedRows(op)));
    switch (op.outcome) {
      case Outcome::kAcknowledged:
        counts_.acknowledged++;
        if (!there) Wrong(Marker(op.id) + " was acknowledged and is not there");
        break;
      case Outcome::kRefused:
        counts_.refused++;
        counts_.refusals[op.error.substr(0, std::min<size_t>(op.error.find('\n'), 60))]++;
        if (there) Wrong(Marker(op.id) + " was refused and is there: " + op.error);
        break;
      case Outcome::kUnknown:
        counts_.unknown++;
        if (there) counts_.unknown_committed++;
        break;
    }
  }
  for (const auto& [id, one] : committed)
    if (!known.contains(id)) Wrong(Marker(id) + " is there, and nobody did it");
}

void Checker::CheckOrder(const std::vector<Op>& ops, const std::map<OpId, Committed>& committed) {
  struct Event {
    uint64_t lsn;
    int64_t sent_us, answered_us;
    const Op* op;
  };
  constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
  std::vector<Event> events;
  for (const Op& op : ops) {
    const auto found = committed.find(op.id);
    if (found == committed.end()) continue;
    // An unknown one may be decided at any time after it was sent.
    events.push_back(
        {found->second.lsn, op.sent_us, op.outcome == Outcome::kAcknowledged ? op.answered_us : kNever, &op});
    if (op.read_lsn == 0) continue;
    if (op.read_lsn < found->second.lsn) Wrong("a read LSN is below the commit of " + Marker(op.id) + " before it");
    // A read at the LSN is after the commit there, hence the stable order.
    events.push_back({op.read_lsn, op.answered_us, op.read_us, &op});
  }
  std::stable_sort(events.begin(), events.end(), [](const Event& a, const Event& b) { return a.lsn < b.lsn; });
  // From the highest LSN down: nobody may be sent after the answer of one with a higher LSN.
  int64_t answered_above = kNever, answered_here = kNever;
  const Op *above = nullptr, *here = nullptr;
  for (size_t i = events.size(); i-- > 0;) {
    const Event& event = events[i];
    if (i + 1 < events.size() && events[i + 1].lsn != event.lsn && answered_here < answered_above) {
      answered_above = answered_here;
      above = here;
    }
    if (answered_above < event.sent_us)
      Wrong(Marker(event.op->id) + " was sent after " + Marker(above->id) + " had its answer, at a higher LSN");
    if (event.answered_us < answered_here) {
      answered_here = event.answered_us;
      here = event.op;
    }
  }
}

void Checker::Replay(const std::vector<Op>& ops, const std::map<OpId, Committed>& committed) {
  std::vector<std::pair<uint64_t, const Op*>> order;
  for (const Op& op : ops) {
    const auto found = committed.find(op.id);
    if (found != committed.end()) order.emplace_back(found->second.lsn, &op);
  }
  std::sort(order.begin(), order.end());
  for (size_t i = 1; i < order.size(); i++)
    if (order[i].first == order[i - 1].first) Wrong("two transactions at one LSN: " + Marker(order[i].second->id));
  for (const auto& [lsn, op] : order) Apply(*op);
}

void Checker::Put(Table* table, int64_t key, Row row, const Op& op) {
  if (!table->emplace(key, std::move(row)).second)
    Wrong(Marker(op.id) + " inserted key " + Text(key) + ", which was there");
}

void Checker::Remove(Table* table, const Op& op) {
  if (table->erase(op.key) == 0) Wrong(Marker(op.id) + " removed key " + Text(op.key) + ", which was not there");
  removed_[Marker(op.id)] = op.key;
}

void Checker::Apply(const Op& op) {
  switch (op.kind) {
    case Kind::kInsert: return Put(&items_, op.key, {op.id.client, "", Marker(op.id)}, op);
    case Kind::kBatch:
    case Kind::kBulk:
      for (int64_t i = 0; i < op.amount; i++) Put(&items_, op.key + i, {op.id.client, "", Marker(op.id)}, op);
      return;
    case Kind::kRemove: return Remove(&items_, op);
    case Kind::kTransfer:
      accounts_[op.key].value -= op.amount;
      accounts_[op.other].value += op.amount;
      accounts_[op.key].op = accounts_[op.other].op = Marker(op.id);
      return;
    case Kind::kAppend:
      lists_[op.key].text += Name(op.id) + ",";
      lists_[op.key].op = Marker(op.id);
      return;
    case Kind::kClaim: return Put(&claims_, op.key, {0, "", Marker(op.id)}, op);
    case Kind::kRelease: return Remove(&claims_, op);
  }
}

void Checker::CheckTables(PGconn* connection) {
  const auto lines = [](const Table& table, auto line) {
    std::vector<std::string> all;
    for (const auto& [key, row] : table) all.push_back(Text(key) + "|" + line(row));
    return all;
  };
  CompareTable(connection, "id || '|' || owner || '|' || op", "items", {"id >= 0", "owner >= 0"},
               lines(items_, [](const Row& row) { return Text(row.value) + "|" + row.op; }));
  CompareTable(connection, "id || '|' || balance || '|' || op", "accounts", {"id >= 0", "balance >= -1000000000"},
               lines(accounts_, [](const Row& row) { return Text(row.value) + "|" + row.op; }));
  CompareTable(connection, "id || '|' || elements || '|' || op", "lists", {"id >= 0", "op >= ''"},
               lines(lists_, [](const Row& row) { return row.text + "|" + row.op; }));
  CompareTable(connection, "id || '|' || op", "claims", {"id >= 0", "op >= ''"},
               lines(claims_, [](const Row& row) { return row.op; }));
  std::vector<std::string> removed;
  for (const auto& [op, key] : removed_) removed.push_back(op + "|" + Text(key));
  CompareTable(connection, "op || '|' || id", "removed", {"op >= ''", "id >= 0"}, removed);

  const Result sum = Execute(connection, "SELECT sum(balance) FROM accounts");
  if (!Succeeded(sum) || PQgetvalue(sum.get(), 0, 0) != Text(kAccounts * kBalance))
    Wrong(std::string("the accounts sum up to ") + (Succeeded(sum) ? PQgetvalue(sum.get(), 0, 0) : "an error"));
}

// Reads the table as a whole and by each index condition; all must be as expected.
void Checker::CompareTable(PGconn* connection, const std::string& columns, const std::string& table,
                           const std::vector<std::string>& conditions, const std::vector<std::string>& expected) {
  for (size_t way = 0; way <= conditions.size(); way++) {
    const bool by_index = way > 0;
    const char* const others = by_index ? "off" : "on";
    std::string settings = std::string("SET enable_seqscan = ") + others;
    for (const char* scan : {"indexscan", "indexonlyscan", "bitmapscan"})
      settings += std::string("; SET enable_") + scan + " = " + (by_index ? "on" : "off");
    Execute(connection, settings);
    const std::string query =
        "SELECT " + columns + " FROM " + table + (by_index ? " WHERE " + conditions[way - 1] : std::string());
    const std::string how = table + (by_index ? " by " + conditions[way - 1] : " as a whole");
    const Result plan = Execute(connection, "EXPLAIN " + query);
    std::string plan_text;
    for (int i = 0; i < PQntuples(plan.get()); i++) plan_text += PQgetvalue(plan.get(), i, 0);
    if ((plan_text.find("Index") != std::string::npos) != by_index) Wrong(how + ": unexpected plan: " + plan_text);
    const Result result = Execute(connection, query);
    if (!Succeeded(result)) {
      Wrong(how + ": " + PQerrorMessage(connection));
      continue;
    }
    std::vector<std::string> rows;
    for (int i = 0; i < PQntuples(result.get()); i++) rows.emplace_back(PQgetvalue(result.get(), i, 0));
    CompareRows(how, expected, std::move(rows));
  }
}

void Checker::CompareRows(const std::string& how, std::vector<std::string> expected, std::vector<std::string> rows) {
  std::sort(expected.begin(), expected.end());
  std::sort(rows.begin(), rows.end());
  std::vector<std::string> missing, surplus;
  std::set_difference(expected.begin(), expected.end(), rows.begin(), rows.end(), std::back_inserter(missing));
  std::set_difference(rows.begin(), rows.end(), expected.begin(), expected.end(), std::back_inserter(surplus));
  for (const std::string& row : missing) Wrong(how + ": missing " + row);
  for (const std::string& row : surplus) Wrong(how + ": surplus " + row);
}

}  // namespace torture
