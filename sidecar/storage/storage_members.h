// The other storage replicas of this process's cluster: those that its options name or, with an etcd, those of the
// membership. And whether this one is meant to be there.
//
// Thread-safe.
#pragma once

#include <string>
#include <vector>

#include "core/status.h"
#include "sidecar/journal/journal_members.h"
#include "sidecar/storage/snapshot_copy.h"

namespace concord {

class StorageMembers {
 public:
  struct Options {
    std::string cluster_id;
    std::string node_id;    // of this process
    std::string directory;  // likewise; has the mark of a replica that has been registered
    std::vector<std::string> addresses;
    JournalMembers* members = nullptr;  // null: the addresses
  };
  explicit StorageMembers(Options options);

  // kUnavailable before a membership was read.
  Status Peers(std::vector<StoragePeer>* peers) const;
  // Whether it was in the list once and is not any more. A replica that never was is none that was removed.
  bool Removed();

 private:
  StoragePeer Peer(const Member& member) const;

  const Options options_;
  bool registered_ = false;  // of the thread that calls Removed
};

}  // namespace concord
