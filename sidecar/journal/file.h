// The few file operations a journal needs, each returning a Status that names the path. Nothing here keeps state;
// all of it may be called from any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "core/status.h"

namespace concord::journal {

// Owns a file descriptor.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~FileDescriptor();

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// kNoSpace for a full disk or quota, kIoError for anything else; the message names the path.
Status ErrnoStatus(std::string_view operation, const std::string& path, int error);

Status OpenFile(const std::string& path, int flags, FileDescriptor* out);
Status WriteAt(int fd, const std::string& path, std::string_view bytes, uint64_t offset);
// Replaces `*out` by exactly `size` bytes; a file that ends earlier is kCorruption.
Status ReadAt(int fd, const std::string& path, uint64_t offset, size_t size, std::string* out);
Status WriteZeros(int fd, const std::string& path, uint64_t from, uint64_t to);
Status SyncDirectory(const std::string& directory);
Status CreateDirectory(const std::string& directory);  // Ok if it is there; durable when this returns
Status RenameFile(const std::string& from, const std::string& to);
Status RemoveFile(const std::string& path);  // Ok if it is not there

// A small file that is replaced as a whole: magic u32 | crc32c u32 of the body | body. Durable when these return.
Status SaveSmallFile(const std::string& directory, const std::string& name, std::string_view body);
// kNotFound if there is none, kCorruption if its checksum does not hold.
Status LoadSmallFile(const std::string& directory, const std::string& name, std::string* body);

}  // namespace concord::journal
