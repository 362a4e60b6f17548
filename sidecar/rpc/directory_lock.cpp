#include "sidecar/rpc/directory_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <thread>

namespace concord {
namespace {

// Its entry in its parent: made by us or, a moment before, by the server's launcher.
Status MakeDurable(const std::string& directory) {
  const std::string parent = std::filesystem::path(directory + "/..").lexically_normal().string();
  const int fd = open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = fd >= 0 && fsync(fd) == 0;
  const int error = errno;
  if (fd >= 0) close(fd);
  return synced ? Status::Ok() : Status(Code::kIoError, "sync " + parent + ": " + strerror(error));
}

}  // namespace

Status CheckPrivate(const std::string& directory) {
  struct stat info;
  if (stat(directory.c_str(), &info) != 0) return {Code::kIoError, "stat " + directory + ": " + strerror(errno)};
  if (!S_ISDIR(info.st_mode)) return {Code::kInvalid, directory + " is not a directory"};
  if (info.st_uid != geteuid())
    return {Code::kInvalid, directory + " belongs to user " + std::to_string(info.st_uid) + ", concordd runs as user " +
                                std::to_string(geteuid()) + "; run it as the directory's owner"};
  if ((info.st_mode & 077) != 0) {
    char mode[8];
    snprintf(mode, sizeof mode, "%04o", info.st_mode & 07777);
    return {Code::kInvalid, directory + " has mode " + mode + ", so others can reach it; chmod 0700 " + directory};
  }
  return Status::Ok();
}

DirectoryLock::~DirectoryLock() {
  if (fd_ >= 0) close(fd_);
}

Status DirectoryLock::Acquire(const std::string& directory, int wait_ms) {
  if (mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST)
    return {Code::kIoError, "mkdir " + directory + ": " + strerror(errno)};
  if (Status status = CheckPrivate(directory); !status.ok()) return status;
  if (Status status = MakeDurable(directory); !status.ok()) return status;
  const std::string path = directory + "/lock";
  fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd_ < 0) return {Code::kIoError, "open " + path + ": " + strerror(errno)};
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(wait_ms);
  while (flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return {Code::kIoError, "flock " + path + ": " + strerror(errno)};
    if (std::chrono::steady_clock::now() >= deadline) {
      char pid[16] = {};
      const ssize_t got = pread(fd_, pid, sizeof pid - 1, 0);
      std::string holder = got > 0 ? pid : "unknown";
      holder.erase(std::find(holder.begin(), holder.end(), '\n'), holder.end());
      return {Code::kUnavailable, std::string("another concordd (pid ").append(holder).append(") uses ") + directory};
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return Write(0, std::to_string(getpid()) + "\n");
}

Status DirectoryLock::Tell(const std::string& address) {
  const off_t end = lseek(fd_, 0, SEEK_END);
  return end < 0 ? Status(Code::kIoError, std::string("seek lock: ") + strerror(errno)) : Write(end, address + "\n");
}

// For people, and concordctl, who look into the file; nothing depends on it, so a full disk does not matter.
Status DirectoryLock::Write(off_t offset, const std::string& line) {
  const auto size = static_cast<off_t>(line.size());
  if ((pwrite(fd_, line.data(), line.size(), offset) == size && ftruncate(fd_, offset + size) == 0) ||
      errno == ENOSPC || errno == EDQUOT)
    return Status::Ok();
  return {Code::kIoError, std::string("write lock: ") + strerror(errno)};
}

}  // namespace concord
