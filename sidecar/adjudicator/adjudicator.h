// The adjudicator's pure core: what is decided on each request, and under which LSN (docs/adjudicator.md).
//
// Not thread-safe, no I/O, no clock of its own: the same calls give the same answers. Invariants:
//  - LSNs ascend strictly over everything assigned and everything replayed.
//  - A decision depends only on the journal's records before it and on the refusals since the rebuild; so a core that
//    replays the journal decides as one that never died.
//  - A write set is entered into the window when it is decided, before it is durable: later decisions already see it.
#pragma once

#include <cstdint>

#include "core/frame.h"
#include "core/lsn.h"
#include "core/status.h"
#include "core/wire.h"
#include "sidecar/adjudicator/chunk_table.h"
#include "sidecar/adjudicator/conflict_window.h"
#include "sidecar/adjudicator/range_window.h"
#include "sidecar/adjudicator/token_table.h"
#include "sidecar/staged_chunks.h"

namespace concord {

struct AdjudicatorLimits {
  size_t max_keys = ConflictWindow::kDefaultMaxKeys;
  size_t max_range_bytes = RangeWindow::kDefaultMaxBytes;
  size_t max_tokens = TokenTable::kDefaultMaxTokens;
  size_t max_chunks = ChunkTable::kDefaultMaxChunks;
};

class Adjudicator {
 public:
  explicit Adjudicator(const AdjudicatorLimits& limits = {})
      : window_(limits.max_keys),
        ranges_(limits.max_range_bytes),
        tokens_(limits.max_tokens),
        chunks_(limits.max_chunks) {}

  // ---- rebuild: Reset, then the frames of the journal's tail in order ----

  // Forgets everything. `last_lsn` is the journal's; what lies at or below it and is not replayed is not known.
  void Reset(Lsn last_lsn);
  // kCorruption if the frame does not follow the one before, or is no valid record.
  Status Replay(const Frame& frame);

  // ---- decisions ----

  struct Ruling {
    Decision decision;
    // Decided now: if decision.code is kOk, the caller journals the record under decision.lsn, right after the one
    // assigned before. False: answered before; if Pending(decision), the answer is due when its LSN is durable.
    bool fresh = false;
  };
  // `reads`: what the transaction has read, if that is to be checked. The journal gets the write set alone.
  Ruling Commit(const WriteSetView& write_set, int64_t now_unix_us, const ReadsView& reads = {});
  Ruling Chunk(const ChunkView& chunk, int64_t now_unix_us);
  // Not fresh if the token was decided before; then there is nothing to journal.
  Ruling Abandon(const Token& token, int64_t now_unix_us);
  // True if the journal as far as it is known has no commit of this token, and would know.
  bool NeverCommitted(const WriteSetView& write_set) const;
  // Under a token that is not known, something was observed that the journal as far as it is known does not have.
  bool SawMore(const WriteSetView& write_set, const ReadsView& reads) const;
  // The LSN of a record that needs no decision (the start of an epoch).
  Lsn AssignLsn(int64_t now_unix_us) { return last_lsn_ = NextLsn(last_lsn_, now_unix_us); }

  // Everything up to this LSN is durable.
  void Settle(Lsn durable) { tokens_.Settle(durable); }
  bool Pending(const Decision& decision) const { return tokens_.Pending(decision); }

  Lsn last_lsn() const { return last_lsn_; }
  const ChunkTable& chunks() const { return chunks_; }
  const ConflictWindow& window() const { return window_; }
  const RangeWindow& ranges() const { return ranges_; }
  const TokenTable& tokens() const { return tokens_; }

 private:
  void Prefetch(const WriteSetView& write_set, uint32_t check) const;
  void EnterChunk(const ChunkView& chunk, Lsn lsn);
  Decision Judge(const WriteSetView& write_set, const ReadsView& reads) const;
  Decision JudgeReads(const ReadsView& reads) const;
  void Enter(const WriteSetView& write_set, Lsn lsn);

  ConflictWindow window_;
  RangeWindow ranges_;
  TokenTable tokens_;
  ChunkTable chunks_;
  ChangedKeys changed_;  // of the commit that is being entered
  Lsn last_lsn_ = kNoLsn;
  bool replayed_any_ = false;  // since Reset
};

// Checks all that a replica relies on when it applies the write set or chunk, so that no record that cannot be applied
// ever gets into the journal.
Status CheckWriteSet(const WriteSetView& write_set);
Status CheckChunk(const ChunkView& chunk);

}  // namespace concord
