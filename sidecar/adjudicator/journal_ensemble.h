// The journal nodes of an epoch, and how many of them must have synced a record before it is committed.
#pragma once

#include <cstdint>
#include <vector>

#include "sidecar/journal/journal_node.h"
#include "sidecar/journal/journal_peer.h"

namespace concord {

struct JournalEnsemble {
  std::vector<JournalPeer> nodes;
  uint32_t write_quorum = 1;
  journal::JournalNode* local_node = nullptr;  // the only node, if it is of this process

  bool HasMembersOf(const JournalEnsemble& other) const {
    if (write_quorum != other.write_quorum || nodes.size() != other.nodes.size()) return false;
    for (size_t i = 0; i < nodes.size(); i++) {
      if (nodes[i].member != other.nodes[i].member) return false;
    }
    return true;
  }
};

}  // namespace concord
