// The log of connections that did not come about because of TLS. gRPC tells of them in its own log only, without the
// address of the other side: this takes its reasons over into ours. One reason is told at most once a minute.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>

namespace concord {

class TlsFailures {
 public:
  static constexpr int64_t kAgainUs = 60'000'000;

  // What a line of gRPC's log says about a handshake, in words that help; empty if it is about something else.
  static std::string ReasonOf(const std::string& grpc_line);
  // Whether it is to be told now; *since: how often it was not.
  bool IsDue(const std::string& reason, int64_t now_us, uint64_t* since);

 private:
  static constexpr size_t kReasonsMax = 64;
  struct Reason {
    int64_t told_us = 0;
    uint64_t since = 0;
  };

  std::mutex mutex_;
  std::map<std::string, Reason> reasons_;  // guarded by mutex_
};

// From now on, for the whole process. Everything else that gRPC logs goes to standard error as before.
void LogTlsFailures();

}  // namespace concord
