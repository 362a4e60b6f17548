// Ends a group of calls, or what else it is told, that has made no progress for a while: streams have no deadline of
// their own, and the process at the other end may hang with its connection open.
//
// Progress by any thread. A thread of its own, ended by the destructor.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

#include "sidecar/rpc/cancellation.h"

namespace concord {

class StallGuard {
 public:
  StallGuard(Cancellation* group, int limit_ms) : StallGuard([group] { group->Cancel(); }, limit_ms) {}
  StallGuard(std::function<void()> end, int limit_ms)
      : end_(std::move(end)), thread_([this, limit_ms] { Watch(limit_ms); }) {}
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
  void Watch(int limit_ms) {
    std::unique_lock lock(mutex_);
    uint64_t seen = 0;
    do {
      seen = progress_.load(std::memory_order_relaxed);
      if (changed_.wait_for(lock, std::chrono::milliseconds(limit_ms), [this] { return over_; })) return;
    } while (progress_.load(std::memory_order_relaxed) != seen);
    lock.unlock();
    end_();
  }

  const std::function<void()> end_;
  std::atomic<uint64_t> progress_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace concord
