// The staged chunks of transactions that are not decided yet, so that no commit gets into the journal whose chunks a
// storage replica does not have, or has forgotten (docs/adjudicator.md, "Chunks").
//
// Not thread-safe, no I/O. Invariants:
//  - What is known of a token are all its chunks since the floor; a token is forgotten as a whole, which lifts the
//  floor.
//  - Bounded by `max_chunks`: the token whose first chunk is the oldest is forgotten.
//  - Of most chunks only the number is kept; of one that ends or begins inside a value also where (core/parts.h). What
//    they change is kept by token, for the range window: no more than kMaxKeyBytes of keys over all, beyond which of a
//    token only the storages are.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>

#include "core/lsn.h"
#include "core/parts.h"
#include "core/wire.h"
#include "sidecar/adjudicator/changed_keys.h"

namespace concord {

class ChunkTable {
 public:
  static constexpr size_t kDefaultMaxChunks = 1 << 18;
  static constexpr size_t kMaxKeyBytes = 64u << 20;

  enum class Result : uint8_t { kComplete, kMismatch, kTorn, kTooOld };

  explicit ChunkTable(size_t max_chunks) : max_chunks_(max_chunks) {}

  // Forgets everything; of chunks at or below `floor` nothing is known.
  void Reset(Lsn floor);
  // A sequence number that comes again replaces its chunk, here as in the replicas.
  void Add(const Token& token, uint32_t sequence, Lsn lsn, const std::optional<ValueCut>& before = {},
           const std::optional<ValueCut>& behind = {});
  // What one more chunk of the token changes.
  void AddKeys(const Token& token, std::string_view mutations);
  // Moves what the token's chunks change into *keys. False if they are not exactly `count`, so that it is not known.
  bool TakeKeys(const Token& token, uint32_t count, ChangedKeys* keys);
  // The token is decided.
  void Remove(const Token& token);
  // Forgets the tokens whose first chunk has expired at `lsn`.
  void Expire(Lsn lsn, int64_t lifetime_us);
  // Are there exactly `count`, and is each value that they cut complete with the write set, which begins at `cut`?
  // kTorn: one is not. kTooOld: it cannot be told, as some may lie below the floor.
  Result Probe(const Token& token, uint32_t count, const std::optional<ValueCut>& cut = {}) const;
  // LSN of the token's newest chunk; kNoLsn if none is known.
  Lsn Newest(const Token& token) const;

  Lsn floor() const { return floor_; }
  size_t chunks() const { return chunks_; }

 private:
  struct Open {
    Lsn first, newest;
    std::set<uint32_t> sequences;
    std::map<uint32_t, ValueCut> before, behind;  // by sequence
    ChangedKeys keys;
  };
  void ForgetOldest();
  static bool Joined(const Open& open, const std::optional<ValueCut>& cut);

  const size_t max_chunks_;
  Lsn floor_ = kNoLsn;
  size_t chunks_ = 0;
  size_t key_bytes_ = 0;  // of all keys
  std::map<Token, Open> open_;
  std::map<Lsn, Token> by_first_;
};

}  // namespace concord
