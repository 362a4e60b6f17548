#include "sidecar/rpc/status.h"

namespace concord {
namespace {

// The details are this prefix and the number of the Code.
constexpr char kDetailsPrefix[] = "concord-code:";

grpc::StatusCode GrpcCode(Code code) {
  switch (code) {
    case Code::kOk: return grpc::StatusCode::OK;
    case Code::kConflict:
    case Code::kReadConflict: return grpc::StatusCode::ABORTED;
    case Code::kTooOld: return grpc::StatusCode::OUT_OF_RANGE;
    case Code::kStaleEpoch: return grpc::StatusCode::FAILED_PRECONDITION;
    case Code::kNoQuorum: return grpc::StatusCode::UNAVAILABLE;
    case Code::kOutcomeUnknown: return grpc::StatusCode::UNKNOWN;
    case Code::kInDoubt:
    case Code::kUnavailable: return grpc::StatusCode::UNAVAILABLE;
    case Code::kNotFound: return grpc::StatusCode::NOT_FOUND;
    case Code::kInvalid: return grpc::StatusCode::INVALID_ARGUMENT;
    case Code::kCorruption: return grpc::StatusCode::DATA_LOSS;
    case Code::kNoSpace: return grpc::StatusCode::RESOURCE_EXHAUSTED;
    case Code::kIoError: return grpc::StatusCode::DATA_LOSS;
    case Code::kTooLarge: return grpc::StatusCode::INVALID_ARGUMENT;
    case Code::kShutdown: return grpc::StatusCode::UNAVAILABLE;
  }
  return grpc::StatusCode::UNKNOWN;
}

Code CodeOf(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::OK: return Code::kOk;
    case grpc::StatusCode::ABORTED: return Code::kConflict;
    case grpc::StatusCode::OUT_OF_RANGE: return Code::kTooOld;
    case grpc::StatusCode::FAILED_PRECONDITION: return Code::kStaleEpoch;
    case grpc::StatusCode::NOT_FOUND: return Code::kNotFound;
    case grpc::StatusCode::INVALID_ARGUMENT: return Code::kInvalid;
    case grpc::StatusCode::DATA_LOSS: return Code::kCorruption;
    default: return Code::kUnavailable;
  }
}

}  // namespace

grpc::Status ToGrpc(const Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return {GrpcCode(status.code()), status.message(), kDetailsPrefix + std::to_string(static_cast<int>(status.code()))};
}

Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return Status::Ok();
  const std::string details = status.error_details();
  const std::string prefix = kDetailsPrefix;
  if (details.starts_with(prefix)) {
    int number = 0;
    for (const char c : details.substr(prefix.size(), 3))
      number = c >= '0' && c <= '9' ? number * 10 + (c - '0') : 1000;
    if (number > 0 && number <= static_cast<int>(Code::kShutdown))
      return {static_cast<Code>(number), status.error_message()};
  }
  return {CodeOf(status.error_code()), status.error_message()};
}

}  // namespace concord
