// An open-addressing index from 64-bit hashes to the numbers of slots that the owner keeps elsewhere. Linear probing,
// at most half full, deletion by shifting back, so there are no tombstones and no clean-up. Four bytes a position.
//
// Not thread-safe. Invariant: from a slot's home position to where it stands there is no empty position.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace concord {

class FlatIndex {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  FlatIndex() : positions_(kInitial, kNone) {}

  size_t size() const { return size_; }

  void Clear() {
    positions_.assign(kInitial, kNone);
    positions_.shrink_to_fit();
    size_ = 0;
  }

  // The slot with this hash for which `matches(slot)` holds, or kNone.
  template <typename Matches>
  uint32_t Find(uint64_t hash, Matches matches) const {
    for (size_t at = hash & mask();; at = (at + 1) & mask()) {
      if (positions_[at] == kNone || matches(positions_[at])) return positions_[at];
    }
  }

  // Adds a slot that is not there yet. `hash_of(slot)` gives the hash of any slot in the index.
  template <typename HashOf>
  void Insert(uint32_t slot, HashOf hash_of) {
    if ((size_ + 1) * 2 > positions_.size()) Grow(hash_of);
    Place(slot, hash_of(slot));
    size_++;
  }

  // Removes a slot that is there.
  template <typename HashOf>
  void Erase(uint32_t slot, HashOf hash_of) {
    size_t hole = hash_of(slot) & mask();
    while (positions_[hole] != slot) {
      assert(positions_[hole] != kNone);
      hole = (hole + 1) & mask();
    }
    for (size_t at = (hole + 1) & mask(); positions_[at] != kNone; at = (at + 1) & mask()) {
      // What stands at `at` may move to the hole if its home is not between the two.
      const size_t home = hash_of(positions_[at]) & mask();
      if (((at - home) & mask()) >= ((at - hole) & mask())) {
        positions_[hole] = positions_[at];
        hole = at;
      }
    }
    positions_[hole] = kNone;
    size_--;
  }

 private:
  static constexpr size_t kInitial = 1024;

  size_t mask() const { return positions_.size() - 1; }

  void Place(uint32_t slot, uint64_t hash) {
    size_t at = hash & mask();
    while (positions_[at] != kNone) at = (at + 1) & mask();
    positions_[at] = slot;
  }

  template <typename HashOf>
  void Grow(HashOf hash_of) {
    std::vector<uint32_t> old(positions_.size() * 2, kNone);
    old.swap(positions_);
    for (const uint32_t slot : old) {
      if (slot != kNone) Place(slot, hash_of(slot));
    }
  }

  std::vector<uint32_t> positions_;  // a power of two of them
  size_t size_ = 0;
};

}  // namespace concord
