// Logs what gRPC itself refuses before a service hears of it: a message that cannot be parsed. Once for each method and
// minute, as RefusalLog does. Thread-safe.
#pragma once

#include <grpcpp/grpcpp.h>

#include <cstdint>

namespace concord {

void LogRefusedCalls(grpc::ServerBuilder* builder);
// How many of them there were, in all servers of this process.
uint64_t UnparsableCalls();

}  // namespace concord
