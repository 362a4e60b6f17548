#include "sidecar/journal/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "core/bytes.h"
#include "core/crc32c.h"
#include "sidecar/metastore/atomic_file.h"

namespace concord::journal {
namespace {

constexpr uint32_t kSmallFileMagic = 0x314a5343;  // "CSJ1"
constexpr size_t kZeroChunkBytes = 1u << 20;
// What one call writes, ext4 may keep as one folio of the page cache (Linux 6.16), and looks through all of its blocks
// at each append to it and at each sync: 1 MiB at once cost every append 6 us more.
constexpr size_t kZeroWriteBytes = 4096;

}  // namespace

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) ::close(fd_);
}

Status ErrnoStatus(std::string_view operation, const std::string& path, int error) {
  const Code code = error == ENOSPC || error == EDQUOT ? Code::kNoSpace : Code::kIoError;
  return {code, std::string(operation) + " " + path + ": " + std::system_category().message(error)};
}

Status OpenFile(const std::string& path, int flags, FileDescriptor* out) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC, 0600);
  if (fd < 0) return ErrnoStatus("open", path, errno);
  *out = FileDescriptor(fd);
  return Status::Ok();
}

Status WriteAt(int fd, const std::string& path, std::string_view bytes, uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return ErrnoStatus("write", path, errno);
    bytes.remove_prefix(static_cast<size_t>(written));
    offset += static_cast<uint64_t>(written);
  }
  return Status::Ok();
}

Status ReadAt(int fd, const std::string& path, uint64_t offset, size_t size, std::string* out) {
  out->resize(size);
  for (size_t done = 0; done < size;) {
    const ssize_t got = ::pread(fd, out->data() + done, size - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoStatus("read", path, errno);
    if (got == 0) return {Code::kCorruption, path + ", offset " + std::to_string(offset + done) + ": file ends early"};
    done += static_cast<size_t>(got);
  }
  return Status::Ok();
}

Status WriteZeros(int fd, const std::string& path, uint64_t from, uint64_t to) {
  const std::string zeros(kZeroWriteBytes, '\0');
  while (from < to) {
    const uint64_t chunk = std::min<uint64_t>(to, from + kZeroChunkBytes);
    while (from < chunk) {
      const size_t size = std::min<uint64_t>(zeros.size(), chunk - from);
      Status status = WriteAt(fd, path, std::string_view(zeros).substr(0, size), from);
      if (!status.ok()) return status;
      from += size;
    }
    // In pieces, so that a commit's sync on the same device does not queue behind one large write-back.
    if (::fdatasync(fd) != 0) return ErrnoStatus("sync", path, errno);
  }
  return Status::Ok();
}

Status SyncDirectory(const std::string& directory) {
  FileDescriptor fd;
  Status status = OpenFile(directory, O_RDONLY | O_DIRECTORY, &fd);
  if (!status.ok()) return status;
  if (::fsync(fd.get()) != 0) return ErrnoStatus("sync", directory, errno);
  return Status::Ok();
}

Status CreateDirectory(const std::string& directory) {
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) return ErrnoStatus("create", directory, errno);
  // Also if it is there: who made it may have been killed before this.
  return SyncDirectory(std::filesystem::path(directory + "/..").lexically_normal().string());
}

Status RenameFile(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return ErrnoStatus("rename", from, errno);
  return Status::Ok();
}

Status RemoveFile(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return ErrnoStatus("remove", path, errno);
  return Status::Ok();
}

Status SaveSmallFile(const std::string& directory, const std::string& name, std::string_view body) {
  std::string bytes;
  AppendLe(&bytes, kSmallFileMagic);
  AppendLe(&bytes, Crc32c(body));
  bytes.append(body);
  return ReplaceFile(directory + "/" + name, bytes);
}

Status LoadSmallFile(const std::string& directory, const std::string& name, std::string* body) {
  const std::string path = directory + "/" + name;
  if (::access(path.c_str(), F_OK) != 0 && errno == ENOENT) return {Code::kNotFound, path + " does not exist"};
  FileDescriptor fd;
  Status status = OpenFile(path, O_RDONLY, &fd);
  if (!status.ok()) return status;
  struct stat info;
  if (::fstat(fd.get(), &info) != 0) return ErrnoStatus("stat", path, errno);
  std::string bytes;
  status = ReadAt(fd.get(), path, 0, static_cast<size_t>(info.st_size), &bytes);
  if (!status.ok()) return status;
  if (bytes.size() < 8 || LoadLe<uint32_t>(bytes.data()) != kSmallFileMagic ||
      LoadLe<uint32_t>(bytes.data() + 4) != Crc32c(std::string_view(bytes).substr(8)))
    return {Code::kCorruption, path + ", offset 0: checksum mismatch"};
  *body = bytes.substr(8);
  return Status::Ok();
}

}  // namespace concord::journal
