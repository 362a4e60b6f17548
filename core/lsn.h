// Log sequence numbers: the one order of all commits.
//
// An LSN is a hybrid logical time (Kulkarni et al., "Logical Physical Clocks", 2014): microseconds since
// 2000-01-01 00:00 UTC in the upper 52 bits, a counter in the lower 12. It grows strictly even if the clock steps
// back, and it is also a time, so "as of yesterday noon" needs no map.
#pragma once

#include <algorithm>
#include <cstdint>

namespace concord {

using Lsn = uint64_t;  // 0 is "none"; below every commit

inline constexpr Lsn kNoLsn = 0;
inline constexpr int kLsnCounterBits = 12;

// Microseconds between the Unix epoch and 2000-01-01 00:00 UTC.
inline constexpr int64_t kLsnEpochUnixUs = INT64_C(946684800) * 1000000;

inline constexpr Lsn LsnFromUnixUs(int64_t unix_us) {
  return unix_us <= kLsnEpochUnixUs ? 0 : static_cast<Lsn>(unix_us - kLsnEpochUnixUs) << kLsnCounterBits;
}

inline constexpr int64_t LsnToUnixUs(Lsn lsn) { return static_cast<int64_t>(lsn >> kLsnCounterBits) + kLsnEpochUnixUs; }

// The LSN that follows `previous` when the wall clock says `now_unix_us`.
inline constexpr Lsn NextLsn(Lsn previous, int64_t now_unix_us) {
  return std::max(previous + 1, LsnFromUnixUs(now_unix_us));
}

}  // namespace concord
