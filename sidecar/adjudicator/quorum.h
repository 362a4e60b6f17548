// The arithmetic of an ensemble of journal nodes. Pure functions.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

#include "core/lsn.h"

namespace concord {

// Which nodes are counted, and how many of them it takes. While the members are being changed there are two of them,
// and what is true needs both (docs/adjudicator.md, "Changing the members").
struct Quorum {
  std::vector<size_t> nodes;
  uint32_t write_quorum = 0;

  // The largest value that a write quorum's nodes reach; `value(node)` of one that has nothing is 0.
  template <typename F>
  auto Reached(F value) const {
    std::vector<decltype(value(size_t{0}))> values;
    for (const size_t node : nodes) values.push_back(value(node));
    std::nth_element(values.begin(), values.begin() + (write_quorum - 1), values.end(), std::greater<>());
    return values[write_quorum - 1];
  }
};

// A write quorum and a read quorum of nodes always share one; two write quorums too.
inline bool ValidEnsemble(size_t nodes, uint32_t write_quorum) {
  return write_quorum <= nodes && size_t{write_quorum} * 2 > nodes;
}
// How many nodes must be sealed so that no older leader can reach its write quorum, and what it committed is seen.
inline size_t ReadQuorum(size_t nodes, uint32_t write_quorum) { return nodes - write_quorum + 1; }

// Where a log ends. The one with the highest (epoch, LSN) holds every committed record of the sealed nodes.
struct LogEnd {
  uint64_t epoch = 0;
  Lsn lsn = kNoLsn;
  bool operator==(const LogEnd&) const = default;
  bool operator<(const LogEnd& other) const { return epoch != other.epoch ? epoch < other.epoch : lsn < other.lsn; }
};

}  // namespace concord
