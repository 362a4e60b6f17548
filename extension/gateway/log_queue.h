// What the gateway's threads want to have logged. They must not call Postgres, so the worker's main loop drains this.
// Bounded: what does not fit is counted and the count logged. Thread-safe.
#pragma once

#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <utility>

namespace concord {

class LogQueue {
 public:
  void Add(int level, std::string message) {
    const std::lock_guard lock(mutex_);
    if (messages_.size() < kMessagesMax)
      messages_.emplace_back(level, std::move(message));
    else
      dropped_++;
  }

  // Calls `log` without holding the lock: it may longjmp.
  void Drain(void (*log)(int level, const char* message)) {
    for (;;) {
      static thread_local char text[1024];  // nothing with a destructor may be on the stack while `log` runs
      const int level = Next(text, sizeof text);
      if (level < 0) return;
      log(level, text);
    }
  }

 private:
  static constexpr size_t kMessagesMax = 256;

  int Next(char* text, size_t size) {
    const std::lock_guard lock(mutex_);
    if (messages_.empty()) {
      if (dropped_ == 0) return -1;
      snprintf(text, size, "%llu messages of the gateway were dropped", static_cast<unsigned long long>(dropped_));
      dropped_ = 0;
      return 2;
    }
    const int level = messages_.front().first;
    snprintf(text, size, "%s", messages_.front().second.c_str());
    messages_.pop_front();
    return level;
  }

  std::mutex mutex_;
  std::deque<std::pair<int, std::string>> messages_;
  uint64_t dropped_ = 0;
};

}  // namespace concord
