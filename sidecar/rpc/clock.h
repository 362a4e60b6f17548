// The wall clock as LSNs use it.
#pragma once

#include <cstdint>
#include <ctime>

namespace concord {

inline int64_t NowUnixUs() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return int64_t{now.tv_sec} * 1000000 + now.tv_nsec / 1000;
}

}  // namespace concord
