// Which keys changed lately, in the order of their commits: what the ranges that a SERIALIZABLE transaction has read
// are held against (docs/adjudicator.md, "Reads"). The conflict window cannot tell: it knows keys by their hashes.
//
// A log, not an index: every commit pays for it and few transactions ask, so entering is a copy of the keys, and asking
// walks back from the newest commit to the read LSN, with a search in the reader's ranges for each key. (After
// FoundationDB's conflict set and Kung and Robinson's backward validation, 1981, which keep what was written and
// compare it with what was read.)
//
// Not thread-safe, no I/O. Invariants:
//  - Every key that commits above start() have changed is there, or something that covers it.
//  - Of commits at or below start() nothing is known that may be relied on: who has read below it is kTooOld.
//  - start() never falls, but by Reset.
// Bounded by `max_bytes`: the oldest block goes, and start() rises to its newest commit.
#pragma once

#include <cstdint>
#include <deque>
#include <string_view>
#include <vector>

#include "core/large_memory.h"
#include "core/lsn.h"
#include "core/wire.h"
#include "sidecar/adjudicator/changed_keys.h"

namespace concord {

class RangeWindow {
 public:
  static constexpr size_t kDefaultMaxBytes = 64u << 20;  // some 3.5 million rows; grows on demand
  static constexpr size_t kBlockBytes = 256u << 10;

  // At least two blocks.
  explicit RangeWindow(size_t max_bytes = kDefaultMaxBytes);

  // Forgets everything; nothing is known of commits at or below `start`.
  void Reset(Lsn start);
  // A commit of `lsn` has changed these. LSNs ascend over calls.
  void Record(const ChangedKeys& keys, Lsn lsn);

  enum class Result : uint8_t { kFree, kConflict, kTooOld };
  // Whether a commit above the LSN at which they were read has changed a key in one of the ranges. *changed: one that
  // it has, or what it begins with; good until the next call of Record.
  Result Probe(const ReadsView& reads, std::string_view* changed) const;

  Lsn start() const { return start_; }
  size_t bytes() const { return blocks_.size() * kBlockBytes; }

 private:
  // Entries of one commit: size u16le, with kBegin if all keys that begin so are meant | bytes.
  static constexpr uint16_t kBegin = 0x8000;
  struct Run {
    Lsn lsn;
    uint32_t end;  // in its block; it begins where the one before ends
  };
  struct Block {
    LargeArray<char> bytes;
    std::vector<Run> runs;  // never empty
  };

  char* MakeRoom(size_t size, Lsn lsn);
  void AddBlock();

  const size_t max_blocks_;
  Lsn start_ = kNoLsn;
  std::deque<Block> blocks_;
};

}  // namespace concord
