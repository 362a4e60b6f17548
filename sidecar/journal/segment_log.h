// One node's journal on disk: frames in segments (segment_format.h), the sealed epoch beside them, and the newest
// frames in memory, so that readers that keep up never touch the files.
//
// Threads: one at a time may call the writing half (Append, SaveSealedEpoch, Truncate), and one at a time Trim;
// JournalNode sees to both. Read and state may be called from any thread at any time.
//
// Invariants:
//  - Frames are chained: each frame's prev_lsn is the LSN of the frame before it (0 for the first one ever), LSNs grow
//    strictly, epochs never fall. Checked at Append and again at Open.
//  - Append returns Ok only when its frames are synced; the next group is written only after that.
//  - After a failed write or sync nothing is appended until the log is opened again: what the kernel did with the pages
//  is
//    not known. A full disk is no such failure, and passes.
//  - Once anything was trimmed, at least one frame is kept, so the end of the log is always known.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <span>
#include <string>
#include <vector>

#include "core/frame.h"
#include "core/lsn.h"
#include "core/status.h"
#include "sidecar/journal/segment_pool.h"
#include "sidecar/metrics/histogram.h"

namespace concord::journal {

struct SegmentLogOptions {
  std::string directory;  // created if it is not there; its parent must be
  uint64_t segment_bytes = 16u << 20;
  size_t spare_segments_max = 16;
  size_t cache_bytes_max = 16u << 20;
  // Replaced by tests, to fail. Both as the system calls: an errno; 0 or -1 with errno set.
  AllocateFunction allocate = AllocateFile;
  std::function<int(int fd)> sync_data;  // empty: fdatasync
};

// Whole frames that are consecutive in the log; immutable once made.
struct Batch {
  std::string frames;
  Lsn prev_lsn = kNoLsn;
  Lsn first_lsn = kNoLsn;
  Lsn last_lsn = kNoLsn;
  uint64_t first_epoch = 0;
  uint64_t last_epoch = 0;
  uint64_t records = 0;
  bool known_types = true;  // of all records

  // Checks each frame's checksum and the chain within. kInvalid for no frame, a torn one or a broken chain.
  static Status Parse(std::string frames, Batch* out);
};
using BatchRef = std::shared_ptr<const Batch>;

class SegmentLog {
 public:
  struct State {
    Lsn base_lsn = kNoLsn;   // prev_lsn of the oldest frame kept: reading may begin after it
    Lsn first_lsn = kNoLsn;  // of the oldest frame kept, 0 if there is none
    Lsn last_lsn = kNoLsn;   // of the newest frame; all of them are synced
    uint64_t last_epoch = 0;
    Lsn committed_lsn = kNoLsn;  // the highest that was written into the log
    uint64_t sealed_epoch = 0;
    uint64_t segments = 0;
    uint64_t bytes = 0;  // of the segments' files
    uint64_t syncs = 0;  // of groups, since Open
  };

  // Cuts a torn tail; kCorruption, naming file and offset, if anything else is wrong.
  static Status Open(SegmentLogOptions options, std::unique_ptr<SegmentLog>* out);
  ~SegmentLog();

  // Writes the batches, which continue the log, as one group (more where a segment ends) and syncs.
  Status Append(std::span<const BatchRef> batches, Lsn committed_lsn);

  // Frames after `after_lsn` and not above `limit_lsn`: at least one if there is any, then up to `bytes_max` or a
  // segment's end. `*last_lsn` is the last one's LSN, kNoLsn if there are none. kTooOld if the frames after `after_lsn`
  // have been trimmed away.
  Status Read(Lsn after_lsn, Lsn limit_lsn, size_t bytes_max, std::string* frames, Lsn* last_lsn) const;

  Status SaveSealedEpoch(uint64_t epoch);
  // Removes all frames above `lsn`; atomic against crashes. kTooOld if they begin before what is kept.
  Status Truncate(Lsn lsn);
  // Gives up all frames, none of which is above `lsn`: the next one follows that. Until it has come, another Open finds
  // an empty log.
  Status Restart(Lsn lsn);
  // Gives up whole segments of frames not above `lsn`.
  Status Trim(Lsn lsn);

  // Groups that were written and synced.
  struct Observed {
    Histogram sync_us{Histogram::kMicroseconds};  // fdatasync alone
    Histogram records{Histogram::kNumbers};
    std::atomic<uint64_t> bytes = 0;
  };
  const Observed& observed() const { return observed_; }

  State state() const;
  // Bytes of frames that can surely be appended though the disk is full; without limit while it is not known to be.
  uint64_t Room() const;

 private:
  struct Segment {
    std::string path;
    SegmentHeader header{};
    Lsn prev_lsn = kNoLsn;   // of its first group
    Lsn first_lsn = kNoLsn;  // of its first frame, 0 if it has none
    Lsn last_lsn = kNoLsn;   // of the log at its end
    uint64_t end = kFirstGroupOffset;
    uint64_t last_group = kFirstGroupOffset;      // where the last group begins; `end` if there is none
    std::vector<std::pair<Lsn, uint64_t>> index;  // sparse: a group's prev_lsn and offset
    void AddGroup(Lsn prev, Lsn first, Lsn last, uint64_t size);
  };
  // A truncation that was decided: redone at Open until it is known to be complete.
  struct Cut {
    uint64_t sequence = 0;  // 0: none. Later segments go.
    uint64_t group_offset = 0;
    std::string group_header;  // of the group that was cut short; empty if the cut is at group_offset
    uint64_t zero_from = 0;
    uint64_t zero_to = 0;
  };

  explicit SegmentLog(SegmentLogOptions options);

  // segment_log_recovery.cpp
  Status LoadState();
  Status SaveState() const;
  Status ApplyCut();
  Status FindCut(Lsn lsn);
  Status Recover();
  Status SecureEnd(const Segment& last);
  Status OpenEnd(std::deque<std::shared_ptr<Segment>> segments, State state);

  // segment_log.cpp
  Status Roll(uint64_t bytes_min);
  Status WriteGroup(std::string* group, Lsn first_lsn, Lsn last_lsn, uint64_t last_epoch, Lsn committed_lsn);
  Status WriteMark();
  void AddToCache(const BatchRef& batch);
  void ClearCache();
  bool ReadCache(Lsn after_lsn, Lsn limit_lsn, size_t bytes_max, std::string* frames, Lsn* last_lsn) const;
  Status ReadFile(const Segment& segment, Lsn after_lsn, Lsn limit_lsn, size_t bytes_max, uint64_t start, uint64_t end,
                  std::string* frames, Lsn* last_lsn) const;

  const SegmentLogOptions options_;
  SegmentPool pool_;
  Observed observed_;

  // Of the writing half.
  std::shared_ptr<Segment> active_;  // the last of segments_
  FileDescriptor active_fd_;
  Status failure_;      // sticky
  bool marked_ = true;  // nothing has been written since the last mark
  uint64_t sealed_epoch_ = 0;
  Cut cut_;
  std::string group_;  // kept between appends for its memory

  // Held while files are read or trimmed (shared) or cut (alone). Taken before mutex_.
  mutable std::shared_mutex files_mutex_;
  mutable std::mutex mutex_;  // guards what follows; the writing half alone changes state_ and the last segment
  std::deque<std::shared_ptr<Segment>> segments_;  // by sequence, without holes; the last one is written to
  State state_;
  std::deque<BatchRef> cache_;  // ends at state_.last_lsn
  size_t cache_bytes_ = 0;
};

}  // namespace concord::journal
