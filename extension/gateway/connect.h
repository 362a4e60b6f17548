// How the gateway connects to the parts of its cluster: the one place where that is decided.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <vector>

namespace concord {

inline constexpr int kReconnectPauseMaxMs = 250;

// Connects at the first call.
std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address);
// Comma-separated; never empty.
std::vector<std::string> SplitAddresses(const std::string& addresses);
std::string ReasonOf(const grpc::Status& status);

}  // namespace concord
