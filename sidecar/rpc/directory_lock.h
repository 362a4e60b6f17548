// One process per directory: an flock on `<directory>/lock`, which ends with the process however it ends.
#pragma once

#include <sys/types.h>

#include <string>

#include "core/status.h"

namespace concord {

// kInvalid unless the directory is this user's and nobody else may enter it.
Status CheckPrivate(const std::string& directory);

class DirectoryLock {
 public:
  DirectoryLock() = default;
  ~DirectoryLock();
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;

  // Refuses a directory that others can reach (CheckPrivate).
  // Makes the directory (mode 0700) if it is not there, and durable. kUnavailable if another process holds the lock and
  // does not give it up within wait_ms; the message names its pid.
  Status Acquire(const std::string& directory, int wait_ms);

  // Adds a line to the lock's file, for who looks into it while the lock is held: where this process listens.
  Status Tell(const std::string& address);

 private:
  Status Write(off_t offset, const std::string& line);

  int fd_ = -1;
};

}  // namespace concord
