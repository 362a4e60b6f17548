// An open-addressing index from 64-bit hashes to the numbers of slots that the owner keeps elsewhere. Linear probing,
// at most half full, deletion by shifting back, so there are no tombstones and no clean-up. A position keeps the lower
// half of the hash beside the slot: a look-up goes to the owner's memory only for what is most likely found there, and
// moving a slot not at all. Eight bytes a position.
//
// Not thread-safe. Invariant: from a slot's home position to where it stands there is no empty position.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/large_memory.h"

namespace concord {

class FlatIndex {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  FlatIndex() : positions_(kInitial) {}

  size_t size() const { return size_; }

  void Clear() {
    positions_.assign(kInitial, {});
    positions_.shrink_to_fit();
    size_ = 0;
  }

  // Begins to load what a Find or Insert of this hash will look at: large indexes are nowhere near the processor.
  void Prefetch(uint64_t hash) const { __builtin_prefetch(&positions_[hash & mask()]); }

  // The slot with this hash for which `matches(slot)` holds, or kNone.
  template <typename Matches>
  uint32_t Find(uint64_t hash, Matches matches) const {
    for (size_t at = hash & mask();; at = (at + 1) & mask()) {
      const Position& position = positions_[at];
      if (position.slot == kNone || (position.tag == static_cast<uint32_t>(hash) && matches(position.slot)))
        return position.slot;
    }
  }

  // Adds a slot that is not there yet.
  void Insert(uint32_t slot, uint64_t hash) {
    if ((size_ + 1) * 2 > positions_.size()) Grow();
    Place({slot, static_cast<uint32_t>(hash)});
    size_++;
  }

  // Removes a slot that is there.
  void Erase(uint32_t slot, uint64_t hash) {
    size_t hole = hash & mask();
    while (positions_[hole].slot != slot) {
      assert(positions_[hole].slot != kNone);
      hole = (hole + 1) & mask();
    }
    for (size_t at = (hole + 1) & mask(); positions_[at].slot != kNone; at = (at + 1) & mask()) {
      // What stands at `at` may move to the hole if its home is not between the two.
      const size_t home = positions_[at].tag & mask();
      if (((at - home) & mask()) >= ((at - hole) & mask())) {
        positions_[hole] = positions_[at];
        hole = at;
      }
    }
    positions_[hole] = {};
    size_--;
  }

 private:
  static constexpr size_t kInitial = 1024;

  struct Position {
    uint32_t slot = kNone;
    uint32_t tag = 0;
  };

  using Positions = std::vector<Position, LargeAllocator<Position>>;

  // Never more positions than a tag can tell apart: slots are 32 bits as well, and half of the positions are empty.
  size_t mask() const { return positions_.size() - 1; }

  void Place(const Position& position) {
    size_t at = position.tag & mask();
    while (positions_[at].slot != kNone) at = (at + 1) & mask();
    positions_[at] = position;
  }

  void Grow() {
    Positions old(positions_.size() * 2);
    old.swap(positions_);
    for (const Position& position : old) {
      if (position.slot != kNone) Place(position);
    }
  }

  Positions positions_;  // a power of two of them
  size_t size_ = 0;
};

}  // namespace concord
