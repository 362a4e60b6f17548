// Limits and options that every gRPC server and channel of Concord shares.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "sidecar/rpc/address.h"

namespace concord {

// A journal record may have 64 MiB; this leaves room for the frame and the message around it.
inline constexpr int kMaxMessageBytes = 80 << 20;

// Sets the common limits on a server to be.
void SetServerLimits(grpc::ServerBuilder* builder);
// The same limits for a client's channel.
grpc::ChannelArguments ChannelLimits();

// A channel to `address` ("unix:/path", "127.0.0.1:5555") with the common limits and the credentials of this process
// (credentials.h). Connects when first used.
std::shared_ptr<grpc::Channel> Connect(const std::string& address);

}  // namespace concord
