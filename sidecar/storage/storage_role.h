// The storage replica as a role of concordd: environment, applier and service, put together.
//
//   Open           before the gRPC server is built: recovers the environment
//   service()      registered with the server
//   Start          with channels to the journal nodes (the server's own in-process channel, or other machines')
//   StopFollowing  before the server's Shutdown: leaves the journal (a call on an in-process channel of a server
//                  that is shut down crashes in gRPC 1.51), and calls that wait for an applied LSN end
//   Stop           after it, before destruction: last checkpoint, clean mark
//
// Where there are other replicas, one that the journal cannot bring on, because it is new or was away for too long, is
// replaced by a copy of one of them. Until the copy is complete it goes on answering what it can, and asking the
// journal; in the end a few milliseconds pass in which the one is closed and the other opened.
//
// Thread safety: these calls from one thread.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "sidecar/storage/applier.h"
#include "sidecar/storage/replica.h"
#include "sidecar/storage/replica_slot.h"
#include "sidecar/storage/snapshot_copy.h"
#include "sidecar/storage/storage_service.h"

namespace concord {

class MetricSet;

struct StorageRoleOptions {
  ReplicaOptions replica;
  ApplierOptions applier;
  // The other replicas, as of now. Empty: none, ever.
  std::function<Status(std::vector<StoragePeer>*)> peers;
  int copy_retry_ms = 2000;  // after nobody could be copied
  int copy_stall_ms = CopyOptions{}.stall_ms;
  SnapshotLimits snapshot;
};

class StorageRole {
 public:
  static Status Open(StorageRoleOptions options, std::unique_ptr<StorageRole>* role);
  ~StorageRole() { (void)Stop(); }

  StorageService* service() { return &service_; }
  // The one that there is now.
  std::shared_ptr<Replica> replica() const { return replica_.get(); }
  // `local`: the first of the journal nodes, if it is of this process.
  void Start(const std::vector<JournalPeer>& journals, journal::JournalNode* local = nullptr);
  void StopFollowing();
  // Adds this role's metrics. From any thread, after Start or before (storage_metrics.cpp).
  void Collect(MetricSet* to);
  // Idempotent. An error here costs the next start a longer replay, or a return to the checkpoint; nothing is lost.
  Status Stop();

 private:
  StorageRole(std::unique_ptr<Replica> replica, StorageRoleOptions options);
  std::shared_ptr<Applier> applier() const;
  void MakeApplier();
  // Waits until the replica has fallen behind the journal, and copies another one in its place; again and again.
  void Keep();
  bool Pause(int ms);
  Status CopyFromAny();
  Status Replace();
  void AddStatus(proto::StorageStatus* status) const;
  void TellCopying(const std::string& text);

  Status RecentStatistics(ReplicaStatistics* out);

  const StorageRoleOptions options_;
  ReplicaSlot replica_;
  StorageService service_;
  std::vector<JournalPeer> journals_;
  journal::JournalNode* local_ = nullptr;
  Cancellation copying_;
  CopyProgress progress_;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  bool stopping_ = false;
  bool fallen_ = false;
  std::shared_ptr<Applier> applier_;
  std::string copies_from_;
  std::thread keeper_;

  std::mutex statistics_mutex_;  // guards what follows
  ReplicaStatistics statistics_{};
  uint64_t statistics_us_ = 0;  // when they were made; 0: not yet
};

}  // namespace concord
