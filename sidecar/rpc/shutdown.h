// How a sidecar learns that it should end: SIGTERM, SIGINT, the end of a pipe whose other end its parent holds, or one
// of its own parts that cannot go on.
#pragma once

#include <mutex>
#include <string>

#include "core/status.h"

namespace concord {

// Made in main before any thread is started, so that every thread has the signals blocked and they are only ever seen
// here. SIGPIPE is ignored: a broken stream is an error of that stream.
class ShutdownSignal {
 public:
  ShutdownSignal() = default;
  ~ShutdownSignal();
  ShutdownSignal(const ShutdownSignal&) = delete;
  ShutdownSignal& operator=(const ShutdownSignal&) = delete;

  // `lifeline_fd` < 0: none. Checks that it is open.
  Status Init(int lifeline_fd);

  // Waits for at most `timeout_ms` (-1: for ever); the reason ("SIGTERM", "parent is gone"), or empty on timeout.
  // Once there is one, it is returned at once. From one thread.
  std::string Wait(int timeout_ms);

  // Makes Wait return, as a part of this process cannot go on. From any thread; the first reason counts.
  void Fail(const Status& reason);
  bool failed() const;
  Status failure() const;

 private:
  int signal_fd_ = -1;
  int event_fd_ = -1;
  int lifeline_fd_ = -1;
  std::string asked_;  // the reason that came from outside; of the thread that waits
  mutable std::mutex mutex_;
  Status failure_;  // guarded by mutex_
};

}  // namespace concord
