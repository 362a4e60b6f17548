// Space in hand for a replica, so that what is decided can be applied although the disk has become full meanwhile.
//
// The file of the environment is allocated ahead of the pages in use. When that cannot be done any more and little is
// left, the replica is full: the adjudicator then takes no more commits, those on their way are applied to what is in
// hand, and readers find what was acknowledged. What is staged needs its room when its transaction commits, all at
// once, so that much more is kept in hand. Free pages inside the file count as well: dropped tables make room.
//
// Not thread-safe: the writer's, between its transactions.
#pragma once

#include <cstdint>
#include <string>

#include "core/status.h"
#include "sidecar/storage/lmdb.h"

namespace concord {

class StorageRoom {
 public:
  static constexpr uint64_t kReserveBytes = 48u << 20;  // allocated ahead; several times of what may be in flight
  static constexpr uint64_t kLowBytes = 32u << 20;      // less than this in hand is full

  // Ok, or kNoSpace: the disk is full (or its quota); kTooLarge: the map is. Anything else: LMDB's or the file's error.
  // `staged`: bytes of undecided transactions.
  Status Check(MDB_env* env, uint64_t staged);
  // Bytes of the pages that LMDB may use again, sooner or later.
  static Status FreeBytes(MDB_env* env, uint64_t* bytes);

 private:
  uint64_t allocated_end_ = 0;
};

}  // namespace concord
