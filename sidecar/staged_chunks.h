// How long the staged chunks of a large transaction (core/wire.h) wait for its commit record. The one number that the
// adjudicator and every storage replica have to agree on, so it is no option: the adjudicator refuses a commit with a
// chunk that is older than this at the commit's LSN; a replica forgets such a chunk when it has applied an LSN so much
// above it. What a replica has applied when it comes to a commit lies below the commit's LSN, so it still has every
// chunk of it. All in LSN time: no clock of either side counts.
#pragma once

#include <cstdint>

#include "core/lsn.h"

namespace concord {

inline constexpr int64_t kStagedChunkLifetimeUs = int64_t{3600} * 1000000;

inline constexpr bool StagedChunkExpired(Lsn chunk, Lsn at, int64_t lifetime_us) {
  return at > chunk && at - chunk > static_cast<Lsn>(lifetime_us) << kLsnCounterBits;
}

}  // namespace concord
