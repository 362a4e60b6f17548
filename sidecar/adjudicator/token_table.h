// The first verdict on each token, so that a commit that is sent again is answered and not decided twice
// (docs/adjudicator.md, "Tokens").
//
// Not thread-safe, no I/O. Invariants:
//  - A token has one verdict from its first decision until it is evicted.
//  - A committed verdict is pending while its LSN is above settled(); pending ones are never evicted.
//  - The committed verdicts that are not known have LSNs at or below floor().
// Bounded by `max_tokens`, and by what came since the oldest pending one where that is more; eviction in order of
// decision.
#pragma once

#include <cstdint>
#include <deque>

#include "core/flat_index.h"
#include "core/lsn.h"
#include "core/status.h"
#include "core/wire.h"

namespace concord {

// What was decided. kOk: committed at `lsn` once that is durable; kConflict: `conflict_hash` names the check;
// kReadConflict: `conflict_hash` is the prefix of the key that changed, 0 if it may be any; kTooOld,
// kInvalid, kOutcomeUnknown: `reason` says why.
struct Decision {
  Code code = Code::kOk;
  Lsn lsn = kNoLsn;
  uint64_t conflict_hash = 0;
  const char* reason = "";  // a literal
};

class TokenTable {
 public:
  static constexpr size_t kDefaultMaxTokens = 1 << 20;  // about 80 MiB when full; grows on demand

  explicit TokenTable(size_t max_tokens = kDefaultMaxTokens);

  // Forgets everything; of commits at or below `floor` nothing is known.
  void Reset(Lsn floor);

  // The first verdict, or null. Valid until the next call that changes the table.
  const Decision* Find(const Token& token) const;
  // A token that has none yet.
  void Insert(const Token& token, const Decision& decision);
  // Everything up to this LSN is durable. Never descends.
  void Settle(Lsn durable) { settled_ = durable; }

  bool Pending(const Decision& decision) const { return decision.code == Code::kOk && decision.lsn > settled_; }
  Lsn floor() const { return floor_; }
  size_t tokens() const { return entries_.size(); }

 private:
  struct Entry {
    Token token;
    Decision decision;
  };

  // Slots are running numbers modulo 2^31 of entries in order of decision; `first_` is that of entries_.front().
  static constexpr uint32_t kSlots = uint32_t{1} << 31;
  const Entry& at(uint32_t slot) const { return entries_[(slot - first_) % kSlots]; }
  static uint64_t Hash(const Token& token);
  void EvictOldest();

  size_t max_tokens_;
  Lsn floor_ = kNoLsn;
  Lsn settled_ = kNoLsn;
  uint32_t first_ = 0;
  std::deque<Entry> entries_;
  FlatIndex index_;
};

}  // namespace concord
