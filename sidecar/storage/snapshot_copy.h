// Copies a replica from another one that serves on: a directory beside the replica's own is filled, checked page by
// page and synced, and then the two exchange their names. A crash at any moment leaves the old replica or the new one,
// and beside it something that the next start removes.
//
// Not thread-safe, but for the progress and the cancellation.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "core/lsn.h"
#include "core/status.h"
#include "proto/storage.grpc.pb.h"
#include "sidecar/metastore/metastore.h"
#include "sidecar/rpc/cancellation.h"

namespace concord {

struct StoragePeer {
  Member member;  // without an id where options name it
  std::shared_ptr<proto::Storage::StubInterface> stub;
  // Ok if it is a storage replica of this cluster, and that member; kInvalid if not. Empty: whatever answers is.
  std::function<Status(grpc::ClientContext*)> meet;
};

struct CopyProgress {
  std::atomic<uint64_t> copied = 0, bytes = 0;
};

struct CopyOptions {
  std::string directory;  // of the replica
  int meet_ms = 1000;
  int stall_ms = 30'000;  // a source that sends nothing for so long is left
  // Asked with the LSN from which on the journal will be needed, before anything is copied. Not Ok: the copy would be
  // in vain.
  std::function<Status(Lsn)> on_head;
};

// Fills the directory beside the replica's; what is there is removed first. kCorruption: what came is damaged.
// kNoSpace, kUnavailable: nothing is there then.
Status CopySnapshot(const StoragePeer& peer, const CopyOptions& options, Cancellation* calls, CopyProgress* progress);

// Puts the copy, which is complete, in the place of the replica in `directory`, which nobody may have open to write.
Status InstallSnapshot(const std::string& directory);

// Removes what a copy that did not come to its end, or the exchange, has left.
Status RemoveSnapshot(const std::string& directory);

}  // namespace concord
