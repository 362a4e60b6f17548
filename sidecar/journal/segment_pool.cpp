#include "sidecar/journal/segment_pool.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <random>
#include <utility>

namespace concord::journal {
namespace {

constexpr auto kNoSpaceRetry = std::chrono::milliseconds(500);
constexpr uint64_t kSegmentsCached = 4;  // the newest

uint64_t NewSalt() {
  std::random_device random;
  return static_cast<uint64_t>(random()) << 32 | random();
}

}  // namespace

int AllocateFile(int fd, uint64_t size) { return ::posix_fallocate(fd, 0, static_cast<off_t>(size)); }

SegmentPool::SegmentPool(std::string directory, uint64_t segment_bytes, size_t spares_max, AllocateFunction allocate)
    : directory_(std::move(directory)),
      segment_bytes_(segment_bytes),
      spares_max_(spares_max),
      allocate_(std::move(allocate)),
      thread_([this] { Run(); }) {}

SegmentPool::~SegmentPool() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void SegmentPool::Prepare(uint64_t sequence) {
  {
    std::lock_guard lock(mutex_);
    if (prepared_.has_value() && prepared_->header.sequence == sequence) return;
    wanted_ = sequence;
  }
  changed_.notify_all();
}

Status SegmentPool::Take(uint64_t sequence, uint64_t bytes_min, SegmentFile* out) {
  std::unique_lock lock(mutex_);
  if (!busy_) wanted_ = 0;
  changed_.wait(lock, [this] { return !busy_; });
  wanted_ = 0;
  no_space_.store(false, std::memory_order_release);
  if (prepared_.has_value() && prepared_->header.sequence == sequence && prepared_->header.size >= bytes_min) {
    *out = std::move(*prepared_);
    prepared_.reset();
    return Status::Ok();
  }
  // A prepared file that is too small keeps its name until the larger one takes it over.
  prepared_.reset();
  const uint64_t bytes = std::max(segment_bytes_, (bytes_min + 4095) & ~uint64_t{4095});
  const Status status = Make(sequence, bytes, TakeSpare(bytes), out);
  if (status.code() == Code::kNoSpace) {
    no_space_.store(true, std::memory_order_release);
    wanted_ = sequence;
    changed_.notify_all();
  }
  return status;
}

Status SegmentPool::Discard() {
  std::unique_lock lock(mutex_);
  if (!busy_) wanted_ = 0;
  changed_.wait(lock, [this] { return !busy_; });
  std::vector<std::string> paths = std::exchange(spares_, {});
  if (prepared_.has_value()) paths.push_back(prepared_->path);
  prepared_.reset();
  Status status;
  for (const std::string& path : paths) {
    if (status.ok()) status = RemoveFile(path);
  }
  if (status.ok() && !paths.empty()) status = SyncDirectory(directory_);
  return status;
}

Status SegmentPool::Recycle(const std::string& path, uint64_t sequence, uint64_t bytes) {
  std::lock_guard lock(mutex_);
  Status status;
  if (bytes == segment_bytes_ && spares_.size() < spares_max_) {
    const std::string spare = directory_ + "/" + SegmentName(sequence) + ".spare";
    status = RenameFile(path, spare);
    if (status.ok()) spares_.push_back(spare);
  } else {
    status = RemoveFile(path);
  }
  // At once, so that a crash never leaves a hole in the sequence of names.
  if (status.ok()) status = SyncDirectory(directory_);
  return status;
}

std::string SegmentPool::TakeSpare(uint64_t bytes) {
  if (bytes != segment_bytes_ || spares_.empty()) return {};
  std::string spare = std::move(spares_.back());
  spares_.pop_back();
  return spare;
}

Status SegmentPool::Make(uint64_t sequence, uint64_t bytes, const std::string& spare, SegmentFile* out) {
  SegmentFile file;
  file.path = directory_ + "/" + SegmentName(sequence);
  file.header = {sequence, NewSalt(), bytes};
  const std::string working = spare.empty() ? file.path + ".tmp" : spare;
  Status status = OpenFile(working, spare.empty() ? O_RDWR | O_CREAT | O_TRUNC : O_RDWR, &file.fd);
  if (status.ok() && spare.empty()) {
    const int error = allocate_(file.fd.get(), bytes);
    if (error != 0) status = ErrnoStatus("allocate", working, error);
    if (status.ok()) status = WriteZeros(file.fd.get(), working, 0, bytes);
  }
  if (status.ok()) status = WriteAt(file.fd.get(), working, EncodeSegmentHeader(file.header), 0);
  if (status.ok() && ::fsync(file.fd.get()) != 0) status = ErrnoStatus("sync", working, errno);
  if (status.ok()) status = RenameFile(working, file.path);
  if (status.ok()) status = SyncDirectory(directory_);
  if (!status.ok()) {
    ::unlink(working.c_str());
    return status;
  }
  *out = std::move(file);
  return Status::Ok();
}

// Of the page cache: the next segment then takes what this gives back. Memory that has long been free may be fresh to a
// virtual machine's host, and to fill a page of it takes ten times as long.
void SegmentPool::ForgetPages(uint64_t sequence) const {
  if (sequence <= kSegmentsCached) return;
  const int fd = ::open((directory_ + "/" + SegmentName(sequence - kSegmentsCached)).c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;  // trimmed
  (void)::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  ::close(fd);
}

void SegmentPool::Run() {
  std::unique_lock lock(mutex_);
  while (!stop_) {
    if (wanted_ == 0) {
      changed_.wait(lock);
      continue;
    }
    const uint64_t sequence = wanted_;
    const std::string spare = TakeSpare(segment_bytes_);
    busy_ = true;
    lock.unlock();
    ForgetPages(sequence - 1);
    SegmentFile file;
    const Status status = Make(sequence, segment_bytes_, spare, &file);
    lock.lock();
    busy_ = false;
    if (status.ok()) prepared_ = std::move(file);
    const bool full = status.code() == Code::kNoSpace && wanted_ == sequence;
    no_space_.store(full, std::memory_order_release);
    if (wanted_ == sequence && !full) wanted_ = 0;
    changed_.notify_all();
    if (full) changed_.wait_for(lock, kNoSpaceRetry, [&] { return stop_ || wanted_ != sequence; });
  }
}

}  // namespace concord::journal
