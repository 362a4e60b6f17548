// Space in hand for a replica, so that what is decided can be applied although the disk has become full meanwhile.
//
// The file of the environment is allocated ahead of the pages in use: nobody else can take that. When it cannot be done
// any more and little is left, the replica is full: the adjudicator then takes no more commits, those on their way are
// applied to what is in hand, and readers find what was acknowledged. What is staged needs its room when its
// transaction commits, all at once, so that much more is kept in hand. Free pages inside the file count as well, as far
// as values are sure to find theirs in a row: dropped tables make room.
//
// While the disk and the map have plenty left, nobody waits for these looks: records may be ahead of what the replica
// has applied by any number. Where room is scarce the adjudicator lets in only so much (AdjudicatorService::Options::
// max_unapplied_bytes), which the reserve holds twice, as pages that were split are half empty.
//
// Not thread-safe: the writer's, between its transactions.
#pragma once

#include <cstdint>

#include "core/status.h"
#include "sidecar/storage/lmdb.h"

namespace concord {

// What undecided transactions will need when they commit.
struct StagedRoom {
  uint64_t bytes = 0;
  uint64_t largest = 0;  // of a value, if one is larger than a chunk
};

class StorageRoom {
 public:
  static constexpr uint64_t kReserveBytes = 48u << 20;  // allocated ahead; several times of what may be in flight
  static constexpr uint64_t kLowBytes = 32u << 20;      // less than this in hand is full
  static constexpr uint64_t kScarceBytes = 1u << 30;    // less than this to be had is scarce

  // Ok, or kNoSpace: the disk is full (or its quota); kTooLarge: the map is. Anything else: LMDB's or the file's error.
  Status Check(MDB_env* env, const StagedRoom& staged);
  // At the last check; true before the first.
  bool scarce() const { return scarce_; }

 private:
  Status LookForRuns(MDB_env* env, uint64_t behind, uint64_t needed, uint64_t low, uint64_t largest,
                     const Status& full);

  uint64_t allocated_end_ = 0;
  bool scarce_ = true;
  // Reading the list of free pages is bounded to a tenth of the time.
  int64_t next_look_us_ = 0;
  uint64_t looked_for_ = 0;
  Status found_;
};

}  // namespace concord
