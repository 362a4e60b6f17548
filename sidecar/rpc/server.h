// Limits and options that every gRPC server and channel of Concord shares, and the addresses that it accepts.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "core/status.h"

namespace concord {

// A journal record may have 64 MiB; this leaves room for the frame and the message around it.
inline constexpr int kMaxMessageBytes = 80 << 20;

// Sets the common limits on a server to be.
void SetServerLimits(grpc::ServerBuilder* builder);
// The same limits for a client's channel.
grpc::ChannelArguments ChannelLimits();

// A channel to `address` ("unix:/path", "127.0.0.1:5555") with the common limits. Connects when first used.
std::shared_ptr<grpc::Channel> Connect(const std::string& address);

// Ok for addresses that no other machine can reach: unix sockets and loopback. There is no TLS in this version, so
// nothing else is listened on.
Status CheckLocalAddress(const std::string& address);

// The path of a "unix:/path" or "unix:///path" address; empty for others.
std::string SocketPath(const std::string& address);

}  // namespace concord
