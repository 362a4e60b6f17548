// What the simulated clients did and were told, and what the journal says: all that the checker (checker.h) looks at.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/lsn.h"
#include "core/wire.h"

namespace concord::simulation {

// Each value is a list of the numbers of the transactions that have appended to it.
using List = std::vector<uint64_t>;

struct Transaction {
  enum class Outcome : uint8_t {
    kRunning,    // or its client gave up before it asked
    kCommitted,  // at `lsn`
    kRefused,    // for certain not committed
    kUnknown,    // it may be
  };
  uint64_t number = 0;  // from 1
  Token token{};
  int64_t begun = 0, ended = 0;      // virtual time
  Lsn newest_acknowledged = kNoLsn;  // to anybody, before it asked for its read LSN
  Lsn read_lsn = kNoLsn;
  std::map<uint64_t, List> reads;  // by row
  std::vector<uint64_t> appends;   // rows, among the read ones
  bool serializable = false;
  Outcome outcome = Outcome::kRunning;
  Lsn lsn = kNoLsn;
  std::string verdict;
};

struct History {
  std::vector<Transaction> transactions;  // by number - 1
  // What a journal node has called committed, by LSN: the frame. Of all nodes; they must agree.
  std::map<Lsn, std::string> journal;
  Lsn newest_acknowledged = kNoLsn;
  Lsn newest_vouched = kNoLsn;          // as some adjudicator said; it must be in the journal
  std::vector<std::string> violations;  // met under way

  void Violation(const std::string& what) { violations.push_back(what); }
};

inline std::string EncodeList(const List& list) {
  std::string bytes;
  for (const uint64_t number : list) AppendLe(&bytes, number);
  return bytes;
}
inline List DecodeList(std::string_view bytes) {
  List list;
  for (size_t at = 0; at + 8 <= bytes.size(); at += 8) list.push_back(LoadLe<uint64_t>(bytes.data() + at));
  return list;
}

inline constexpr uint32_t kListStorage = 7;

}  // namespace concord::simulation
