// Requests that are refused because they make no sense, logged once for each cause and not for each request: a client
// that speaks garbage cannot fill the disk with log lines. The same cause is told again after a minute, with how many
// there were.
//
// Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "core/status.h"

namespace concord {

class RefusalLog {
 public:
  static constexpr int64_t kAgainUs = 60'000'000;

  explicit RefusalLog(std::string role) : role_(std::move(role)) {}

  // `method`: a string that lasts. Does nothing if the status is Ok.
  void Note(const char* method, const Status& status);
  // For tests: whether a line was written.
  bool Note(const char* method, const Status& status, int64_t now_us);

  // How many there were.
  uint64_t count() const { return count_.load(std::memory_order_relaxed); }

 private:
  struct Cause {
    int64_t told_us = 0;
    uint64_t since = 0;  // refused since then
  };

  const std::string role_;
  std::atomic<uint64_t> count_ = 0;
  std::mutex mutex_;
  std::map<std::pair<const char*, Code>, Cause> causes_;  // guarded by mutex_; bounded by methods and codes
};

}  // namespace concord
