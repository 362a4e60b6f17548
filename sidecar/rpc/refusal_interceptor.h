// Logs what gRPC itself refuses before a service hears of it: a message that cannot be parsed. Once for each method and
// minute, as RefusalLog does. Thread-safe.
#pragma once

#include <grpcpp/grpcpp.h>

namespace concord {

void LogRefusedCalls(grpc::ServerBuilder* builder);

}  // namespace concord
