// The result of an operation that can fail for reasons that are not bugs. A Status is handled, and logged, once:
// where it ends. Sidecars map it to gRPC codes at the edge, the extension to SQLSTATEs.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace concord {

enum class Code : uint8_t {
  kOk = 0,
  kConflict,        // another transaction committed on a checked key after it was observed
  kReadConflict,    // another transaction committed on what this one has read
  kTooOld,          // observed LSN lies before the adjudicator's window, or a read LSN below the horizon
  kStaleEpoch,      // the caller speaks for an epoch that has been fenced
  kNoQuorum,        // too few journal nodes answered
  kOutcomeUnknown,  // a commit whose verdict can no longer be told
  kInDoubt,         // a commit in flight when its leader stepped down: ask again with the same token
  kUnavailable,     // the other side is not there (yet); asking again may help
  kNotFound,
  kInvalid,     // malformed input: a bug of the caller or garbage from the network
  kCorruption,  // stored bytes fail their check; the message names file and offset
  kNoSpace,     // the disk is full
  kIoError,     // the operating system said no; the message carries strerror
  kTooLarge,    // over a documented limit
  kShutdown,    // this process is ending
};

const char* CodeName(Code code);

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) {}
  static Status Ok() { return {}; }

  bool ok() const { return code_ == Code::kOk; }
  Code code() const { return code_; }
  const std::string& message() const { return message_; }
  // "Corruption: segment 3, offset 8192: checksum mismatch"
  std::string ToString() const;

 private:
  Code code_ = Code::kOk;
  std::string message_;
};

}  // namespace concord
