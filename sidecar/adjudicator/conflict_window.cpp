#include "sidecar/adjudicator/conflict_window.h"

#include <algorithm>
#include <cassert>

namespace concord {

ConflictWindow::ConflictWindow(size_t max_keys) : max_keys_(std::clamp<size_t>(max_keys, 1, kNone - 1)) {}

void ConflictWindow::Reset(Lsn start) {
  start_ = start;
  newest_lsn_ = start;
  index_.Clear();
  blocks_.clear();
  allocated_ = 0;
  free_ = oldest_ = newest_ = kNone;
}

ConflictWindow::Result ConflictWindow::Probe(const Check& check) const {
  if (check.observed < start_) return Result::kTooOld;
  const uint32_t slot = Find(check.key_hash);
  if (slot == kNone) return Result::kFree;
  const Entry& entry = at(slot);
  for (int mode = 0; mode < kLockModes; mode++) {
    if (entry.last[mode] > check.observed && Conflicts(check.mode, static_cast<LockMode>(mode)))
      return Result::kConflict;
  }
  return Result::kFree;
}

void ConflictWindow::Record(uint64_t key_hash, LockMode mode, Lsn lsn) {
  // A write set with more keys than fit evicts some of its own: start_ may have reached lsn, never passed it.
  assert(lsn >= newest_lsn_ && lsn >= start_);
  newest_lsn_ = lsn;
  uint32_t slot = Find(key_hash);
  if (slot != kNone) {
    Unlink(slot);
  } else {
    if (index_.size() >= max_keys_) EvictOldest();
    slot = Allocate();
    at(slot) = Entry{.hash = key_hash, .last = {}, .older = kNone, .newer = kNone};
    index_.Insert(slot, key_hash);
  }
  at(slot).last[static_cast<int>(mode)] = lsn;
  LinkNewest(slot);
}

uint32_t ConflictWindow::Find(uint64_t hash) const {
  return index_.Find(hash, [&](uint32_t slot) { return at(slot).hash == hash; });
}

uint32_t ConflictWindow::Allocate() {
  if (free_ != kNone) {
    const uint32_t slot = free_;
    free_ = at(slot).newer;
    return slot;
  }
  if (allocated_ == blocks_.size() * kBlock) blocks_.push_back(MakeLargeArray<Entry>(kBlock));
  return allocated_++;
}

void ConflictWindow::EvictOldest() {
  const uint32_t slot = oldest_;
  assert(slot != kNone);
  const Entry& entry = at(slot);
  // Keys of one large commit stand side by side, and are evicted one after another.
  index_.Prefetch(at((slot + 16) % allocated_).hash);
  start_ = std::max(start_, *std::max_element(entry.last, entry.last + kLockModes));
  index_.Erase(slot, entry.hash);
  Unlink(slot);
  at(slot).newer = free_;
  free_ = slot;
}

void ConflictWindow::Unlink(uint32_t slot) {
  const Entry& entry = at(slot);
  (entry.older == kNone ? oldest_ : at(entry.older).newer) = entry.newer;
  (entry.newer == kNone ? newest_ : at(entry.newer).older) = entry.older;
}

void ConflictWindow::LinkNewest(uint32_t slot) {
  Entry& entry = at(slot);
  entry.older = newest_;
  entry.newer = kNone;
  (newest_ == kNone ? oldest_ : at(newest_).newer) = slot;
  newest_ = slot;
}

}  // namespace concord
