#include "core/status.h"

namespace concord {

const char* CodeName(Code code) {
  switch (code) {
    case Code::kOk: return "Ok";
    case Code::kConflict: return "Conflict";
    case Code::kReadConflict: return "ReadConflict";
    case Code::kTooOld: return "TooOld";
    case Code::kStaleEpoch: return "StaleEpoch";
    case Code::kNoQuorum: return "NoQuorum";
    case Code::kOutcomeUnknown: return "OutcomeUnknown";
    case Code::kInDoubt: return "InDoubt";
    case Code::kUnavailable: return "Unavailable";
    case Code::kNotFound: return "NotFound";
    case Code::kInvalid: return "Invalid";
    case Code::kCorruption: return "Corruption";
    case Code::kNoSpace: return "NoSpace";
    case Code::kIoError: return "IoError";
    case Code::kTooLarge: return "TooLarge";
    case Code::kShutdown: return "Shutdown";
  }
  return "Unknown";
}

std::string Status::ToString() const {
  if (ok()) return "Ok";
  return std::string(CodeName(code_)) + ": " + message_;
}

}  // namespace concord
