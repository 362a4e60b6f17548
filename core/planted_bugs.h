// Bugs that are planted on purpose, to prove that the simulation (sidecar/simulation) finds them: a test that has never
// failed proves nothing. In the product every one of them is off at compile time, and so is not there.
#pragma once

#include <cstdint>

namespace concord {

// clang-format off
#define CONCORD_PLANTED(X) \
  X(kFenceOff, "fence_off")                 /* a journal node takes appends of an epoch that is over */ \
  X(kAckBeforeSync, "ack_before_sync")      /* a journal node calls synced what it has only written */ \
  X(kOneIsAQuorum, "one_is_a_quorum")       /* a record counts as committed when one node has it */ \
  X(kOldTailLost, "old_tail_lost")          /* a new leader takes the shortest of the logs that it finds */ \
  X(kTailsUncommitted, "tails_uncommitted") /* a journal node shows its followers what is not committed yet */ \
  X(kWindowShort, "window_short")           /* it enters nothing of the replayed journal into the conflict window */ \
  X(kTokensForgotten, "tokens_forgotten")   /* nor into the table of tokens */ \
  X(kConflictsIgnored, "conflicts_ignored") /* the adjudicator finds no conflict */ \
  X(kLeaseIgnored, "lease_ignored")         /* a new leader does not wait for the old one's lease */ \
  X(kVouchesForever, "vouches_forever")     /* a leader vouches after its lease */ \
  X(kPageOutlives, "page_outlives")         /* an LSN page is vouched for longer than the leader's lease */ \
  X(kAppliedEarly, "applied_early")         /* a replica shows an applied LSN before the versions are there */ \
  X(kCheckpointUnpinned, "checkpoint_unpinned") /* a replica lets LMDB reuse the pages of its last checkpoint */
// clang-format on

enum class PlantedBug : uint8_t {
#define CONCORD_PLANTED_ENUM(id, name) id,
  CONCORD_PLANTED(CONCORD_PLANTED_ENUM)
#undef CONCORD_PLANTED_ENUM
};

#ifdef CONCORD_PLANTED_BUGS
bool Planted(PlantedBug bug);
#else
constexpr bool Planted(PlantedBug) { return false; }
#endif

}  // namespace concord
