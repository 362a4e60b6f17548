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

Status WriteAll(int fd, std::string_view content, const std::string& path) {
  while (!content.empty()) {
    const ssize_t written = write(fd, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return Error("write", path);
    content.remove_prefix(static_cast<size_t>(written));
  }
  return fsync(fd) == 0 ? Status::Ok() : Error("fsync", path);
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

Status ReplaceFile(const std::string& path, std::string_view content) {
  const std::string temporary = path + ".new";
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return Error("open", temporary);
  Status status = WriteAll(fd, content, temporary);
  close(fd);
  if (!status.ok()) return status;
  if (rename(temporary.c_str(), path.c_str()) != 0) return Error("rename", temporary);
  const std::string directory = std::filesystem::absolute(path).parent_path();
  const int directory_fd = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory_fd < 0) return Error("open", directory);
  if (fsync(directory_fd) != 0) status = Error("fsync", directory);
  close(directory_fd);
  return status;
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
