// The replica of a role, which may be replaced by a newer copy while others use it: who has taken it keeps it.
//
// Thread-safe.
#pragma once

#include <memory>
#include <mutex>
#include <utility>

#include "sidecar/storage/replica.h"

namespace concord {

class ReplicaSlot {
 public:
  explicit ReplicaSlot(std::shared_ptr<Replica> replica) : replica_(std::move(replica)) {}

  std::shared_ptr<Replica> get() const {
    const std::lock_guard lock(mutex_);
    return replica_;
  }
  // For one call. A ReplicaView keeps its replica by itself.
  std::shared_ptr<Replica> operator->() const { return get(); }

  // The one before ends with its last user.
  void Set(std::shared_ptr<Replica> replica) {
    const std::lock_guard lock(mutex_);
    replica_.swap(replica);
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<Replica> replica_;  // guarded by mutex_
};

}  // namespace concord
