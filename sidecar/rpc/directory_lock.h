// One process per directory: an flock on `<directory>/lock`, which ends with the process however it ends.
#pragma once

#include <string>

#include "core/status.h"

namespace concord {

class DirectoryLock {
 public:
  DirectoryLock() = default;
  ~DirectoryLock();
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;

  // Makes the directory (mode 0700) if it is not there, and durable. kUnavailable if another process holds the lock and does not
  // give it up within wait_ms; the message names its pid.
  Status Acquire(const std::string& directory, int wait_ms);

 private:
  int fd_ = -1;
};

}  // namespace concord
