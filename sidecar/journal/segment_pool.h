// Makes segment files ahead of need, so that a log that rolls to its next segment neither allocates nor syncs metadata
// while commits wait. One thread prepares the next file: it takes a recycled one or allocates and zeroes a new one
// (zeroing turns the file's blocks from "unwritten" to written, else each later fdatasync would also commit metadata),
// writes its header, syncs, and gives it its final name.
//
// Thread-safe. Invariant: a file has its segment name only when its header is complete and durable.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/status.h"
#include "sidecar/journal/file.h"
#include "sidecar/journal/segment_format.h"

namespace concord::journal {

struct SegmentFile {
  std::string path;
  SegmentHeader header{};
  FileDescriptor fd;
};

// Returns an errno, as posix_fallocate does; replaced by tests.
using AllocateFunction = std::function<int(int fd, uint64_t size)>;
int AllocateFile(int fd, uint64_t size);

class SegmentPool {
 public:
  SegmentPool(std::string directory, uint64_t segment_bytes, size_t spares_max, AllocateFunction allocate);
  ~SegmentPool();

  // Asks for the segment `sequence` to be made ready. Failure shows at Take, which tries again; so does the thread, if
  // it was for want of space.
  void Prepare(uint64_t sequence);
  // The segment `sequence`, with at least `bytes_min`: the prepared one if it fits, else made now.
  Status Take(uint64_t sequence, uint64_t bytes_min, SegmentFile* out);
  // There is no segment in hand, as the disk is full. False again once there is one.
  bool NoSpace() const { return no_space_.load(std::memory_order_acquire); }
  // Gives up the prepared segment and the spares, with their files.
  Status Discard();
  // Takes a segment file that is no longer needed: kept as a spare, or removed. Its name is gone when this returns.
  Status Recycle(const std::string& path, uint64_t sequence, uint64_t bytes);

 private:
  void Run();
  void ForgetPages(uint64_t sequence) const;
  Status Make(uint64_t sequence, uint64_t bytes, const std::string& spare, SegmentFile* out);
  std::string TakeSpare(uint64_t bytes);  // needs mutex_; empty if none

  const std::string directory_;
  const uint64_t segment_bytes_;
  const size_t spares_max_;
  const AllocateFunction allocate_;

  std::atomic<bool> no_space_ = false;
  std::mutex mutex_;  // guards everything below
  std::condition_variable changed_;
  std::vector<std::string> spares_;
  uint64_t wanted_ = 0;  // sequence to prepare, 0 if none
  bool busy_ = false;    // the thread is making `wanted_`
  bool stop_ = false;
  std::optional<SegmentFile> prepared_;
  std::thread thread_;
};

}  // namespace concord::journal
