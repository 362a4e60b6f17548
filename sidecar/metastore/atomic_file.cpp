#include "sidecar/metastore/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "core/crc32c.h"

namespace concord {
namespace {

Status Error(const std::string& what, const std::string& path) {
  const Code code = errno == ENOSPC || errno == EDQUOT ? Code::kNoSpace : Code::kIoError;
  return {code, what + " " + path + ": " + strerror(errno)};
}

// Over what is there: blocks that the file has are used again.
Status WriteOver(const std::string& path, std::string_view content) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return Error("open", path);
  Status status;
  off_t offset = 0;
  while (status.ok() && static_cast<size_t>(offset) < content.size()) {
    const ssize_t written = pwrite(fd, content.data() + offset, content.size() - static_cast<size_t>(offset), offset);
    if (written >= 0) {
      offset += written;
    } else if (errno != EINTR) {
      status = Error("write", path);
    }
  }
  if (status.ok() && ftruncate(fd, offset) != 0) status = Error("truncate", path);
  if (status.ok() && fsync(fd) != 0) status = Error("fsync", path);
  close(fd);
  return status;
}

Status SyncParent(const std::string& path) {
  const std::string directory = std::filesystem::absolute(path).parent_path();
  const int fd = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return Error("open", directory);
  const Status status = fsync(fd) == 0 ? Status::Ok() : Error("fsync", directory);
  close(fd);
  return status;
}

bool Exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

std::string SpareOf(const std::string& path) { return path + ".new"; }

// If it is not known which of the two has which name on disk, neither may be written over: the next content gets a new
// file.
Status SyncNames(const std::string& path, const std::string& spare) {
  Status status = SyncParent(path);
  if (!status.ok()) unlink(spare.c_str());
  return status;
}

}  // namespace

Status ReadSmallFile(const std::string& path, std::string* content) {
  constexpr size_t kLimit = 1 << 20;
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno == ENOENT ? Status(Code::kNotFound, path + " does not exist") : Error("open", path);
  content->clear();
  char buffer[4096];
  Status status;
  for (;;) {
    const ssize_t got = read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) status = Error("read", path);
    if (got <= 0) break;
    content->append(buffer, static_cast<size_t>(got));
    if (content->size() > kLimit) {
      status = {Code::kCorruption, path + " is larger than it can be"};
      break;
    }
  }
  close(fd);
  return status;
}

Status MakeFile(const std::string& path, std::string_view content) {
  const std::string temporary = SpareOf(path);
  if (Status s = WriteOver(temporary, content); !s.ok()) return s;
  if (rename(temporary.c_str(), path.c_str()) != 0) return Error("rename", temporary);
  return SyncParent(path);
}

Status ReplaceFile(const std::string& path, std::string_view content) {
  const std::string spare = SpareOf(path);
  if (!Exists(path)) {
    if (Status s = MakeFile(path, content); !s.ok()) return s;
    (void)WriteOver(spare, content);  // without one, replacing the file takes space
    return Status::Ok();
  }
  // The last exchange may be of a process that was killed, and not be durable: then on disk the spare is the file
  // itself.
  if (Exists(spare)) {
    if (Status s = SyncNames(path, spare); !s.ok()) return s;
  }
  if (Status s = WriteOver(spare, content); !s.ok()) return s;
  if (renameat2(AT_FDCWD, spare.c_str(), AT_FDCWD, path.c_str(), RENAME_EXCHANGE) != 0) {
    if (errno != EINVAL && errno != ENOSYS) return Error("rename", spare);
    // A file system that cannot.
    if (rename(spare.c_str(), path.c_str()) != 0) return Error("rename", spare);
  }
  return SyncNames(path, spare);
}

std::string WithCheckLine(std::string content) {
  char line[16];
  snprintf(line, sizeof line, "crc %08x\n", Crc32c(content));
  content += line;
  return content;
}

Status CheckTextFile(const std::string& path, std::string_view name, uint64_t version, std::string_view content) {
  constexpr size_t kCheckLine = 13;
  const Status damaged(Code::kCorruption, path + " is damaged: its check does not hold");
  if (content.size() < kCheckLine ||
      content != WithCheckLine(std::string(content.substr(0, content.size() - kCheckLine))))
    return damaged;
  uint64_t found = 0;
  if (!content.starts_with(name) || content.size() <= name.size() || content[name.size()] != ' ') return damaged;
  std::from_chars(content.data() + name.size() + 1, content.data() + content.size(), found);
  if (found == version) return Status::Ok();
  return {Code::kInvalid,
          path + " has format " + std::to_string(found) + ", this program reads format " + std::to_string(version)};
}

}  // namespace concord
