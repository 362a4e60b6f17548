// Says in the metastore, again and again, that this process is there: so that `concordctl cluster status` knows of
// standbys and of replicas that nobody has registered. Nothing else rests on it.
//
// A thread of its own, ended by the destructor, whose call under way the metastore's Cancel ends.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "sidecar/metastore/metastore.h"

namespace concord {

class Presence {
 public:
  Presence(Metastore* store, LiveProcess self, int seconds = 15)
      : store_(store), self_(std::move(self)), seconds_(seconds), thread_([this] { Run(); }) {}
  ~Presence() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  Presence(const Presence&) = delete;
  Presence& operator=(const Presence&) = delete;

 private:
  void Run() {
    std::unique_lock lock(mutex_);
    while (!over_) {
      lock.unlock();
      (void)store_->ReportProcess(self_, seconds_);  // that etcd does not answer, others say
      lock.lock();
      changed_.wait_for(lock, std::chrono::milliseconds(1000 * seconds_ / 3), [this] { return over_; });
    }
  }

  Metastore* const store_;
  const LiveProcess self_;
  const int seconds_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace concord
