// The modes in which a write set checks a key: Postgres' four row lock modes and their conflict table
// (src/backend/access/heap/README.tuplock), and `absent` for the key of a unique index.
#pragma once

#include <cstdint>

namespace concord {

enum class LockMode : uint8_t {
  kKeyShare = 0,     // FOR KEY SHARE; foreign keys
  kShare = 1,        // FOR SHARE
  kNoKeyUpdate = 2,  // UPDATE of columns that no unique index holds
  kUpdate = 3,       // UPDATE of key columns, DELETE, FOR UPDATE
  kAbsent = 4,       // a unique key observed absent and now taken, or given up
};
inline constexpr int kLockModes = 5;

// Bit m of kConflicts[n] is set where a commit in mode m fails a check in mode n.
inline constexpr uint8_t kConflicts[kLockModes] = {
    /* kKeyShare    */ 1 << 3 | 1 << 4,
    /* kShare       */ 1 << 2 | 1 << 3 | 1 << 4,
    /* kNoKeyUpdate */ 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4,
    /* kUpdate      */ 1 << 0 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4,
    /* kAbsent      */ 1 << 0 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4,
};

inline constexpr bool Conflicts(LockMode check, LockMode committed) {
  return kConflicts[static_cast<int>(check)] >> static_cast<int>(committed) & 1;
}

}  // namespace concord
