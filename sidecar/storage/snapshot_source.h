// Sends a replica's last checkpoint to another replica (Storage.Snapshot), while it goes on applying and answering.
//
// What is sent is what a machine finds after a crash, which README.md, "Checkpoints", shows to be exactly one state:
// the saved meta pages, and all other pages as they are in the file, which nobody writes over as long as the checkpoint
// is held. So nothing is copied here first, and memory holds one part at a time.
//
// A held checkpoint makes the file grow, so the receiver has to keep a pace: one that takes nothing for a while, or is
// slow for long, is let go.
//
// Thread-safe.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "proto/storage.grpc.pb.h"
#include "sidecar/storage/replica.h"

namespace concord {

struct SnapshotLimits {
  size_t part_bytes = 1u << 20;
  int stall_ms = 20'000;                 // a receiver that takes no part for so long has gone
  int64_t grace_ms = 60'000;             // a copy may take this, and beside it
  uint64_t bytes_per_ms_min = 1u << 10;  // what it needs at this pace
  int copies_max = 2;                    // at once
};

class SnapshotSource {
 public:
  explicit SnapshotSource(SnapshotLimits limits = {}) : limits_(limits) {}

  grpc::Status Send(const std::shared_ptr<Replica>& replica, const std::string& replica_id,
                    grpc::ServerContext* context, grpc::ServerWriter<proto::SnapshotPart>* writer);

 private:
  const SnapshotLimits limits_;
  std::atomic<int> copies_ = 0;
};

}  // namespace concord
