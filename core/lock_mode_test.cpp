// The conflict table, written out once more: row by row as PostgreSQL's documentation has it ("Conflicting Row-Level
// Locks"), and `absent`, which goes with nothing. The models of the other tests ask Conflicts itself.
#include "core/lock_mode.h"

#include <gtest/gtest.h>

#include <string_view>

namespace concord {
namespace {

constexpr LockMode kModes[kLockModes] = {LockMode::kKeyShare, LockMode::kShare, LockMode::kNoKeyUpdate,
                                         LockMode::kUpdate, LockMode::kAbsent};

TEST(LockModeTest, EachPairIsAsPostgresHasIt) {
  constexpr std::string_view kExpected[kLockModes] = {
      // committed: key share, share, no key update, update, absent
      /* key share */ "...XX",
      /* share */ "..XXX",
      /* no key update */ ".XXXX",
      /* update */ "XXXXX",
      /* absent */ "XXXXX",
  };
  for (int check = 0; check < kLockModes; check++) {
    for (int committed = 0; committed < kLockModes; committed++)
      EXPECT_EQ(Conflicts(kModes[check], kModes[committed]), kExpected[check][static_cast<size_t>(committed)] == 'X')
          << "check " << check << ", committed " << committed;
  }
}

}  // namespace
}  // namespace concord
