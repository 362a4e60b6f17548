// Ends a group of calls that has made no progress for a while: streams have no deadline of their own, and the process
// at the other end may hang with its connection open.
//
// Progress by any thread. A thread of its own, ended by the destructor.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

#include "sidecar/rpc/cancellation.h"

namespace concord {

class StallGuard {
 public:
  StallGuard(Cancellation* group, int limit_ms) : thread_([this, group, limit_ms] { Watch(group, limit_ms); }) {}
  ~StallGuard() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
      changed_.notify_all();
    }
    thread_.join();
  }
  void Progress() { progress_.fetch_add(1, std::memory_order_relaxed); }

 private:
  void Watch(Cancellation* group, int limit_ms) {
    std::unique_lock lock(mutex_);
    uint64_t seen = 0;
    do {
      seen = progress_.load(std::memory_order_relaxed);
      if (changed_.wait_for(lock, std::chrono::milliseconds(limit_ms), [this] { return over_; })) return;
    } while (progress_.load(std::memory_order_relaxed) != seen);
    lock.unlock();
    group->Cancel();
  }

  std::atomic<uint64_t> progress_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace concord
