#include "sidecar/rpc/refusals.h"

#include <chrono>

#include "sidecar/rpc/log.h"

namespace concord {

void RefusalLog::Note(const char* method, const Status& status) {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  (void)Note(method, status, std::chrono::duration_cast<std::chrono::microseconds>(now).count());
}

bool RefusalLog::Note(const char* method, const Status& status, int64_t now_us) {
  if (status.ok()) return false;
  count_.fetch_add(1, std::memory_order_relaxed);
  uint64_t since = 0;
  {
    const std::lock_guard lock(mutex_);
    const auto [entry, first] = causes_.try_emplace({method, status.code()});
    Cause& cause = entry->second;
    if (!first && now_us - cause.told_us < kAgainUs) {
      cause.since++;
      return false;
    }
    since = cause.since;
    cause = {now_us, 0};
  }
  RoleLog(role_)->warn("refused method={} reason=\"{}\" not_logged_before={}", method, status.ToString(), since);
  return true;
}

}  // namespace concord
