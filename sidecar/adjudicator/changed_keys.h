// The keys that a transaction changes, collected for the range window (range_window.h).
//
// Bounded: of a transaction that changes more than kMaxBytes of keys only the storages are kept, and if even those are
// too many, that it may have changed anything. That costs needless conflicts, never a missed one.
// Pure: no I/O. Not thread-safe.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>

#include "core/bytes.h"
#include "core/wire.h"

namespace concord {

class ChangedKeys {
 public:
  static constexpr size_t kMaxBytes = 1u << 20;
  static constexpr size_t kMaxStorages = 1u << 16;

  // The keys of mutations, which are well-formed (CheckWriteSet, CheckChunk).
  void Add(std::string_view mutations);
  // Only the storages of mutations, as far as their versions have no LSNs of their own.
  void AddStorages(std::string_view mutations);
  // It may be any.
  void AddAll();
  // Forgets the keys for their storages, now and of what is added later.
  void Coarsen();
  void Clear();

  // Of the keys kept, each with its size.
  size_t bytes() const { return keys_.size(); }
  // Calls visit(std::string_view bytes, bool begin): the key that changed, or, if `begin`, what all keys begin with
  // that may have changed.
  template <typename Visit>
  void ForEach(Visit visit) const;

 private:
  void AddStorage(uint64_t prefix);

  std::string keys_;  // size u16le | key
  std::set<uint64_t> storages_;
  uint64_t last_storage_ = 0;  // added to storages_ last
  bool coarse_ = false;
  bool all_ = false;
};

template <typename Visit>
void ChangedKeys::ForEach(Visit visit) const {
  if (all_) return visit(std::string_view(""), true);
  for (std::string_view rest = keys_; !rest.empty();) {
    const size_t size = LoadLe<uint16_t>(rest.data());
    visit(rest.substr(sizeof(uint16_t), size), false);
    rest.remove_prefix(sizeof(uint16_t) + size);
  }
  for (const uint64_t storage : storages_) {
    std::string prefix;
    AppendBe64(&prefix, storage);
    visit(std::string_view(prefix), true);
  }
}

}  // namespace concord
