// The arithmetic of an ensemble of journal nodes. Pure functions.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

#include "core/lsn.h"

namespace concord {

// The highest LSN that `write_quorum` nodes have synced.
inline Lsn QuorumLsn(std::vector<Lsn> synced, uint32_t write_quorum) {
  if (write_quorum == 0 || synced.size() < write_quorum) return kNoLsn;
  std::nth_element(synced.begin(), synced.begin() + (write_quorum - 1), synced.end(), std::greater<>());
  return synced[write_quorum - 1];
}

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
