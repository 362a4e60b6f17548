// What the server's log says while it recovers, and when: the steps from a kill to the next commit.
//
// Thread-safe. A thread of its own reads the log as it grows, so that a step's time is when it was written, give or
// take kPollMs, whatever the prefix of the lines and whoever wrote them.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <fstream>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

namespace torture {

class RecoveryLog {
 public:
  explicit RecoveryLog(const std::string& path);
  ~RecoveryLog();

  // Forgets the steps so far: something is killed now.
  void Begin();
  // The steps since Begin, in milliseconds from then, such as "server 310, sidecar started 350, ...".
  std::string Steps() const;

 private:
  static constexpr int kPollMs = 3;
  struct Seen {
    int64_t first_us = 0;
    int64_t last_us = 0;
    int count = 0;
  };
  static constexpr size_t kSteps = 7;

  void Run();
  void Read(std::string_view line);

  std::ifstream file_;
  mutable std::mutex mutex_;
  int64_t begin_us_ = 0;
  std::array<Seen, kSteps> seen_;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

}  // namespace torture
