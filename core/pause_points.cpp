#include "core/pause_points.h"

#include <fcntl.h>
#include <unistd.h>

#include <climits>
#include <cstdio>
#include <cstdlib>
#include <ctime>

namespace {

constexpr long kPollNs = 1'000'000;

const char* const kNames[] = {
#define CC_PAUSE_POINT_NAME(id, name) name,
    CC_PAUSE_POINTS(CC_PAUSE_POINT_NAME)
#undef CC_PAUSE_POINT_NAME
};

const char* Directory() { return getenv("CONCORD_PAUSE_DIR"); }

void Note(const char* point_path) {
  char path[PATH_MAX + 16];
  snprintf(path, sizeof path, "%s.reached", point_path);
  const int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) return;
  if (dprintf(fd, "%d\n", static_cast<int>(getpid())) < 0) unlink(path);
  close(fd);
}

}  // namespace

const bool cc_pauses_enabled = Directory() != nullptr;

bool cc_pause_check(CcPausePoint point) {
  thread_local bool inside[CC_PAUSE_POINT_COUNT];
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/%s", Directory(), kNames[point]);
  const bool here = access(path, F_OK) == 0;
  if (here && !inside[point]) Note(path);
  inside[point] = here;
  return here;
}

void cc_pause_wait(CcPausePoint point) {
  const timespec pause = {0, kPollNs};
  while (cc_pause_check(point)) nanosleep(&pause, nullptr);
}
