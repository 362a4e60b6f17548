#include "sidecar/storage/snapshot_copy.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

#include "core/crc32c.h"
#include "core/pause_points.h"
#include "sidecar/rpc/stall_guard.h"
#include "sidecar/rpc/status.h"
#include "sidecar/storage/checkpoint.h"
#include "sidecar/storage/start_check.h"

namespace concord {
namespace {

std::string CopyOf(const std::string& directory) { return directory + ".new"; }

Status Errno(const std::string& what) {
  const int error = errno;
  const Code code = error == ENOSPC || error == EDQUOT ? Code::kNoSpace : Code::kIoError;
  return {code, what + ": " + strerror(error)};
}

Status SyncPath(const std::string& path, int flags) {
  const int fd = open(path.c_str(), flags | O_CLOEXEC);
  if (fd < 0) return Errno(path);
  const Status status = fsync(fd) == 0 ? Status::Ok() : Errno(path);
  close(fd);
  return status;
}

std::string ParentOf(const std::string& directory) { return std::filesystem::path(directory).parent_path().string(); }

// The file that is being filled.
class Target {
 public:
  ~Target() {
    if (fd_ >= 0) close(fd_);
  }
  Status Open(const std::string& path) {
    path_ = path;
    fd_ = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return fd_ >= 0 ? Status::Ok() : Errno(path);
  }
  Status Write(std::string_view bytes, uint64_t offset) {
    while (!bytes.empty()) {
      const ssize_t written = pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return Errno(path_);
      bytes.remove_prefix(static_cast<size_t>(written));
      offset += static_cast<uint64_t>(written);
    }
    return Status::Ok();
  }
  Status Sync() { return fsync(fd_) == 0 ? Status::Ok() : Errno(path_); }

 private:
  std::string path_;
  int fd_ = -1;
};

class Receiver {
 public:
  Receiver(const StoragePeer& peer, const CopyOptions& options, CopyProgress* progress)
      : from_("the replica at " + peer.member.address),
        options_(options),
        progress_(progress),
        directory_(CopyOf(options.directory)) {}

  Status Begin() {
    if (Status s = RemoveSnapshot(options_.directory); !s.ok()) return s;
    if (mkdir(directory_.c_str(), 0700) != 0) return Errno(directory_);
    return target_.Open(directory_ + "/data.mdb");
  }

  Status Take(const proto::SnapshotPart& part) {
    if (part.has_head() == has_head_ || ended_) return Damaged("parts in a wrong order");
    if (part.has_head()) {
      has_head_ = true;
      head_ = part.head();
      if (head_.page_size() == 0 || head_.page_size() > kPageMax || head_.file_bytes() % head_.page_size() != 0 ||
          head_.file_bytes() < size_t{2} * head_.page_size() || head_.lsn() == kNoLsn)
        return Damaged("a head that makes no sense");
      progress_->bytes = head_.file_bytes();
      return options_.on_head ? options_.on_head(head_.lsn()) : Status::Ok();
    }
    if (part.offset() != at_) return Damaged("bytes at " + std::to_string(part.offset()) + ", which are not the next");
    if (part.end()) {
      ended_ = true;
      return at_ == head_.file_bytes() ? Status::Ok() : Damaged("an end that is none");
    }
    const std::string& bytes = part.bytes();
    if (bytes.empty() || bytes.size() > head_.file_bytes() - at_) return Damaged("a part of a wrong size");
    if (Crc32c(bytes) != part.crc32c())
      return Damaged("bytes at " + std::to_string(at_) + " that do not match their checksum");
    const size_t meta_bytes = size_t{2} * head_.page_size();
    if (meta_pages_.size() < meta_bytes) meta_pages_ += bytes.substr(0, meta_bytes - meta_pages_.size());
    if (Status s = target_.Write(bytes, at_); !s.ok()) return s;
    at_ += bytes.size();
    progress_->copied = at_;
    cc_pause(CC_PAUSE_STORAGE_COPYING);
    return Status::Ok();
  }

  // All is there: what Replica::Open wants beside the pages, and a look at each of them.
  Status Finish(Cancellation* calls) {
    if (!ended_) return {Code::kUnavailable, from_ + " has sent a part of a snapshot only"};
    if (Status s = target_.Sync(); !s.ok()) return s;
    SavedMeta meta;
    meta.clean = true;
    meta.lsn = head_.lsn();
    meta.page_size = head_.page_size();
    meta.pages = meta_pages_;
    if (Status s = ReadBootId(&meta.boot_id); !s.ok()) return s;
    if (Status s = ReadIdentity(directory_ + "/data.mdb", &meta.data); !s.ok()) return s;
    if (Status s = SaveMeta(directory_, meta); !s.ok()) return s;
    if (Status s = CheckBeforeOpen(directory_, UINT64_MAX, [calls] { return calls->cancelled(); }); !s.ok())
      return {s.code(), (s.code() == Code::kCorruption ? from_ + " is damaged: " : "") + s.message()};
    return SyncPath(directory_, O_RDONLY | O_DIRECTORY);
  }

 private:
  static constexpr uint32_t kPageMax = 1u << 16;

  Status Damaged(const std::string& what) const { return {Code::kCorruption, from_ + " has sent " + what}; }

  const std::string from_;
  const CopyOptions& options_;
  CopyProgress* const progress_;
  const std::string directory_;
  Target target_;
  bool has_head_ = false, ended_ = false;
  proto::SnapshotHead head_;
  uint64_t at_ = 0;
  std::string meta_pages_;
};

// Two names are exchanged in the end, which cannot be done across file systems.
Status CheckPlace(const std::string& directory) {
  struct stat own, parent;
  if (stat(directory.c_str(), &own) != 0) return errno == ENOENT ? Status::Ok() : Errno(directory);
  if (stat(ParentOf(directory).c_str(), &parent) != 0) return Errno(ParentOf(directory));
  if (own.st_dev == parent.st_dev) return Status::Ok();
  return {Code::kInvalid, directory +
                              " is a file system of its own, beside which no copy can be made; the replica's directory "
                              "has to be on the one that its parent is on"};
}

Status Receive(const StoragePeer& peer, const CopyOptions& options, Cancellation* calls, CopyProgress* progress) {
  if (peer.meet) {
    CancellableContext context(calls);
    context->set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(options.meet_ms));
    if (Status s = peer.meet(context.get()); !s.ok()) return s;
  }
  if (Status s = CheckPlace(options.directory); !s.ok()) return s;
  Receiver receiver(peer, options, progress);
  if (Status s = receiver.Begin(); !s.ok()) return s;
  Cancellation call(calls);
  StallGuard guard(&call, options.stall_ms);
  CancellableContext context(&call);
  const auto stream = peer.stub->Snapshot(context.get(), {});
  proto::SnapshotPart part;
  Status status;
  while (status.ok() && stream->Read(&part)) {
    guard.Progress();
    status = receiver.Take(part);
    guard.Progress();
  }
  if (!status.ok()) {
    context->TryCancel();
    while (stream->Read(&part)) {
    }
    (void)stream->Finish();
    return status;
  }
  status = FromGrpc(stream->Finish());
  return status.ok() ? receiver.Finish(calls) : status;
}

}  // namespace

Status CopySnapshot(const StoragePeer& peer, const CopyOptions& options, Cancellation* calls, CopyProgress* progress) {
  progress->copied = progress->bytes = 0;
  const Status status = Receive(peer, options, calls, progress);
  if (!status.ok()) (void)RemoveSnapshot(options.directory);
  return status;
}

Status InstallSnapshot(const std::string& directory) {
  const std::string copy = CopyOf(directory);
  // The name of the copy has to last longer than that of what it replaces.
  if (Status s = SyncPath(ParentOf(directory), O_RDONLY | O_DIRECTORY); !s.ok()) return s;
  if (renameat2(AT_FDCWD, copy.c_str(), AT_FDCWD, directory.c_str(), RENAME_EXCHANGE) != 0)
    return Errno("exchange " + copy + " and " + directory);
  if (Status s = SyncPath(ParentOf(directory), O_RDONLY | O_DIRECTORY); !s.ok()) return s;
  return RemoveSnapshot(directory);
}

Status RemoveSnapshot(const std::string& directory) {
  std::error_code error;
  std::filesystem::remove_all(CopyOf(directory), error);
  return error ? Status(Code::kIoError, CopyOf(directory) + ": " + error.message()) : Status::Ok();
}

}  // namespace concord
