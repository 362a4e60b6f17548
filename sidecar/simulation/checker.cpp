#include "sidecar/simulation/checker.h"

#include <algorithm>

#include "core/frame.h"
#include "core/key.h"
#include "core/parts.h"
#include "sidecar/lsn_text.h"

namespace concord::simulation {
namespace {

std::string Text(const List& list) {
  std::string text = "[";
  for (const uint64_t number : list) text += (text.size() > 1 ? " " : "") + std::to_string(number);
  return text + "]";
}

class Checker {
 public:
  explicit Checker(const History& history) : history_(history) {}

  std::vector<std::string> Run(Versions* versions) {
    violations_ = history_.violations;
    for (const Transaction& transaction : history_.transactions) by_token_[transaction.token] = &transaction;
    ReadJournal();
    if (history_.newest_vouched > last_) Add(LsnText(history_.newest_vouched) + " was vouched for and is lost");
    for (const Transaction& transaction : history_.transactions) CheckOne(transaction);
    if (versions != nullptr) *versions = versions_;
    return violations_;
  }

 private:
  struct Staged {
    std::map<uint32_t, std::string> chunks;
  };

  void ReadJournal() {
    Lsn before = kNoLsn;
    for (const auto& [lsn, bytes] : history_.journal) {
      Frame frame;
      size_t consumed;
      if (!ParseFrame(bytes, &frame, &consumed).ok() || frame.record.empty()) {
        Add("no record at " + LsnText(lsn));
        continue;
      }
      if (frame.prev_lsn != before)
        Add("the journal has a gap: " + LsnText(lsn) + " follows " + LsnText(frame.prev_lsn) + ", not " +
            LsnText(before));
      before = lsn;
      const std::string_view body = frame.record.substr(1);
      switch (static_cast<RecordType>(frame.record[0])) {
        case RecordType::kCommit: Enter(body, lsn); break;
        case RecordType::kChunk: {
          ChunkView chunk;
          if (ChunkView::Parse(body, &chunk).ok()) staged_[chunk.token].chunks[chunk.sequence] = chunk.mutations;
          break;
        }
        default: break;
      }
    }
    last_ = before;
  }

  void Enter(std::string_view body, Lsn lsn) {
    WriteSetView write_set;
    if (!WriteSetView::Parse(body, &write_set).ok()) return Add("no write set at " + LsnText(lsn));
    const auto found = by_token_.find(write_set.token());
    if (found == by_token_.end()) return Add("a commit of nobody at " + LsnText(lsn));
    const Transaction& transaction = *found->second;
    if (const auto [first, is_new] = committed_.emplace(transaction.number, lsn); !is_new)
      return Add(Name(transaction) + " is committed twice, at " + LsnText(first->second) + " and " + LsnText(lsn));
    for (const auto& [sequence, mutations] : staged_[write_set.token()].chunks)
      EnterMutations(transaction, mutations, lsn);
    EnterMutations(transaction, write_set.mutations(), lsn);
    for (const uint64_t row : transaction.appends) {
      const auto& versions = versions_[row];
      if (versions.empty() || versions.back().first != lsn)
        Add(Name(transaction) + " at " + LsnText(lsn) + " has lost its append to row " + std::to_string(row));
    }
  }

  void EnterMutations(const Transaction& transaction, std::string_view mutations, Lsn lsn) {
    Mutation mutation;
    for (MutationReader reader(mutations); !reader.AtEnd();) {
      if (!reader.Next(&mutation).ok() || mutation.key.size() != kRowKeySize) return Add("a mutation of nobody's");
      const uint64_t row = LoadBe64(mutation.key.data() + kPrefixSize);
      auto& versions = versions_[row];
      List expected = versions.empty() ? List() : versions.back().second;
      expected.push_back(transaction.number);
      List list = DecodeList(mutation.value);
      if (list != expected)
        Add(Name(transaction) + " at " + LsnText(lsn) + " overwrites an update: row " + std::to_string(row) +
            " becomes " + Text(list) + ", not " + Text(expected));
      versions.emplace_back(lsn, std::move(list));
    }
  }

  void CheckOne(const Transaction& transaction) {
    const auto found = committed_.find(transaction.number);
    const Lsn lsn = found == committed_.end() ? kNoLsn : found->second;
    switch (transaction.outcome) {
      case Transaction::Outcome::kCommitted:
        if (lsn == kNoLsn) Add(Name(transaction) + " was acknowledged at " + LsnText(transaction.lsn) + " and is lost");
        if (lsn != kNoLsn && lsn != transaction.lsn)
          Add(Name(transaction) + " was acknowledged at " + LsnText(transaction.lsn) + " and is at " + LsnText(lsn));
        break;
      case Transaction::Outcome::kRefused:
      case Transaction::Outcome::kRunning:
        if (lsn != kNoLsn)
          Add(Name(transaction) + " is committed at " + LsnText(lsn) + ", and was refused: " + transaction.verdict);
        break;
      case Transaction::Outcome::kUnknown: break;
    }
    if (transaction.read_lsn == kNoLsn) return;
    if (transaction.read_lsn < transaction.newest_acknowledged)
      Add(Name(transaction) + " reads at " + LsnText(transaction.read_lsn) +
          ", below a commit acknowledged before: " + LsnText(transaction.newest_acknowledged));
    if (transaction.read_lsn > last_)
      Add(Name(transaction) + " reads at " + LsnText(transaction.read_lsn) + ", which never was committed");
    for (const auto& [row, list] : transaction.reads) {
      const List expected = At(versions_, row, transaction.read_lsn);
      if (list != expected)
        Add(Name(transaction) + " reads row " + std::to_string(row) + " at " + LsnText(transaction.read_lsn) + " as " +
            Text(list) + ", not " + Text(expected));
      if (lsn != kNoLsn && transaction.serializable && At(versions_, row, lsn - 1) != expected)
        Add(Name(transaction) + " is serializable, and row " + std::to_string(row) + " has changed since it was read");
    }
  }

  static std::string Name(const Transaction& transaction) {
    return "transaction " + std::to_string(transaction.number);
  }
  void Add(const std::string& what) { violations_.push_back(what); }

  const History& history_;
  std::vector<std::string> violations_;
  std::map<Token, const Transaction*> by_token_;
  std::map<Token, Staged> staged_;
  std::map<uint64_t, Lsn> committed_;  // by number
  Versions versions_;
  Lsn last_ = kNoLsn;
};

}  // namespace

std::vector<std::string> Check(const History& history, Versions* versions) { return Checker(history).Run(versions); }

List At(const Versions& versions, uint64_t row, Lsn lsn) {
  const auto found = versions.find(row);
  if (found == versions.end()) return {};
  const auto after = std::upper_bound(found->second.begin(), found->second.end(), lsn,
                                      [](Lsn at, const auto& version) { return at < version.first; });
  return after == found->second.begin() ? List() : std::prev(after)->second;
}

}  // namespace concord::simulation
