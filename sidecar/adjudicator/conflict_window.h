// What committed lately, by key and lock mode: the adjudicator's memory of conflicts (docs/adjudicator.md, "Window").
//
// Not thread-safe, no I/O. Invariants:
//  - For every key of a commit above start(), the newest LSN of each mode is known.
//  - Nothing is known of commits at or below start() that may be relied on: a check observed below it is kTooOld.
//  - start() never falls, but by Reset.
// Bounded: when a key above the limit comes, the key whose last commit is the oldest goes and start() rises to that
// commit. LSNs are recorded in ascending order, so the order of eviction is a list in order of use: O(1) a key.
#pragma once

#include <cstdint>
#include <vector>

#include "core/flat_index.h"
#include "core/large_memory.h"
#include "core/lock_mode.h"
#include "core/lsn.h"
#include "core/wire.h"

namespace concord {

class ConflictWindow {
 public:
  static constexpr size_t kDefaultMaxKeys = 4 << 20;  // about 320 MiB when full; grows on demand

  explicit ConflictWindow(size_t max_keys = kDefaultMaxKeys);

  // Forgets everything; nothing is known of commits at or below `start`.
  void Reset(Lsn start);

  // Begins to load what Probe or Record of this key will look at.
  void Prefetch(uint64_t key_hash) const { index_.Prefetch(key_hash); }

  enum class Result : uint8_t { kFree, kConflict, kTooOld };
  // Whether a commit in a conflicting mode came after the observed LSN.
  Result Probe(const Check& check) const;

  // A commit of `lsn` holds the key in this mode. LSNs never descend over calls.
  void Record(uint64_t key_hash, LockMode mode, Lsn lsn);

  Lsn start() const { return start_; }
  size_t keys() const { return index_.size(); }

 private:
  static constexpr uint32_t kNone = FlatIndex::kNone;
  static constexpr size_t kBlock = 1 << 15;  // entries allocated at once, in a huge page; they never move

  struct alignas(64) Entry {  // a cache line
    uint64_t hash;
    Lsn last[kLockModes];   // kNoLsn: not in this mode within the window
    uint32_t older, newer;  // by last commit; kNone at the ends
  };

  Entry& at(uint32_t slot) { return blocks_[slot / kBlock][slot % kBlock]; }
  const Entry& at(uint32_t slot) const { return blocks_[slot / kBlock][slot % kBlock]; }
  uint32_t Find(uint64_t hash) const;
  uint32_t Allocate();
  void EvictOldest();
  void Unlink(uint32_t slot);
  void LinkNewest(uint32_t slot);

  size_t max_keys_;
  Lsn start_ = kNoLsn;
  Lsn newest_lsn_ = kNoLsn;
  FlatIndex index_;
  std::vector<LargeArray<Entry>> blocks_;
  uint32_t allocated_ = 0;  // entries of blocks_ in use or on the free list
  uint32_t free_ = kNone;   // list through Entry::newer
  uint32_t oldest_ = kNone;
  uint32_t newest_ = kNone;
};

}  // namespace concord
