// The storage replica as a role of concordd: environment, applier and service, put together.
//
//   Open           before the gRPC server is built: recovers the environment
//   service()      registered with the server
//   Start          with channels to the journal nodes (the server's own in-process channel, or other machines')
//   StopFollowing  before the server's Shutdown: leaves the journal (a call on an in-process channel of a server that
//   is
//                  shut down crashes in gRPC 1.51), and calls that wait for an applied LSN end
//   Stop           after it, before destruction: last checkpoint, clean mark
//
// Thread safety: these calls from one thread.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "sidecar/storage/applier.h"
#include "sidecar/storage/replica.h"
#include "sidecar/storage/storage_service.h"

namespace concord {

class MetricSet;

struct StorageRoleOptions {
  ReplicaOptions replica;
  ApplierOptions applier;
};

class StorageRole {
 public:
  static Status Open(StorageRoleOptions options, std::unique_ptr<StorageRole>* role) {
    std::unique_ptr<Replica> replica;
    if (Status s = Replica::Open(std::move(options.replica), &replica); !s.ok()) return s;
    role->reset(new StorageRole(std::move(replica), std::move(options.applier)));
    return Status::Ok();
  }
  ~StorageRole() { (void)Stop(); }

  grpc::Service* service() { return &service_; }
  Replica* replica() { return replica_.get(); }
  // `local`: the first of the journal nodes, if it is of this process.
  void Start(const std::vector<JournalPeer>& journals, journal::JournalNode* local = nullptr) {
    applier_.Start(journals, local);
  }
  void StopFollowing() {
    replica_->StopWaiting();
    applier_.Stop();
  }
  // Adds this role's metrics. From any thread, after Start or before (storage_metrics.cpp).
  void Collect(MetricSet* to);
  // Idempotent. An error here costs the next start a longer replay, or a return to the checkpoint; nothing is lost.
  Status Stop() {
    StopFollowing();
    return replica_->Close();
  }

 private:
  StorageRole(std::unique_ptr<Replica> replica, ApplierOptions options)
      : replica_(std::move(replica)),
        service_(replica_.get(), options.replica_id),
        applier_(replica_.get(), std::move(options)) {}

  Status RecentStatistics(ReplicaStatistics* out);

  std::unique_ptr<Replica> replica_;
  StorageService service_;
  Applier applier_;
  std::mutex statistics_mutex_;  // guards what follows
  ReplicaStatistics statistics_{};
  uint64_t statistics_us_ = 0;  // when they were made; 0: not yet
};

}  // namespace concord
