// Status across gRPC. The gRPC code is what foreign clients see; the exact Code travels beside it in the error details,
// so a Status that crosses a wire comes back unchanged. Pure functions, thread-safe.
#pragma once

#include <grpcpp/support/status.h>

#include "core/status.h"

namespace concord {

grpc::Status ToGrpc(const Status& status);
Status FromGrpc(const grpc::Status& status);

}  // namespace concord
