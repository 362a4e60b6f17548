#include "sidecar/rpc/server.h"

#include <sys/un.h>

#include <cstring>

namespace concord {

void SetServerLimits(grpc::ServerBuilder* builder) {
  builder->SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder->SetMaxSendMessageSize(kMaxMessageBytes);
  // Each thread that waits for new calls also wakes for the messages of the sessions, whose own threads read them: with
  // two, a message woke three threads. The price is that each call makes a thread, some 20 us; what is called often
  // goes through a stream. No ResourceQuota bounds the threads: gRPC 1.51 never gives back one that could not be made,
  // and would refuse all calls for ever after a shortage.
  builder->SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::MAX_POLLERS, 1);
  // A second process on the same port would take half of the connections; fail at bind instead.
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
}

grpc::ChannelArguments ChannelLimits() {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  arguments.SetMaxSendMessageSize(kMaxMessageBytes);
  // The other side is on this machine or near: look again soon after it was away.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  return arguments;
}

std::shared_ptr<grpc::Channel> Connect(const std::string& address) {
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), ChannelLimits());
}

std::string SocketPath(const std::string& address) {
  if (address.starts_with("unix:///")) return address.substr(7);
  if (address.starts_with("unix:")) return address.substr(5);
  return {};
}

Status CheckLocalAddress(const std::string& address) {
  if (address.starts_with("unix:")) {
    const std::string path = SocketPath(address);
    if (path.empty()) return {Code::kInvalid, "address " + address + " names no path"};
    if (path.size() >= sizeof(sockaddr_un::sun_path))
      return {Code::kTooLarge, "socket path " + path + " is longer than the " +
                                   std::to_string(sizeof(sockaddr_un::sun_path) - 1) +
                                   " bytes that the operating system allows; choose another with --listen"};
    return Status::Ok();
  }
  for (const char* host : {"127.0.0.1:", "localhost:", "[::1]:"}) {
    // A port and nothing more: gRPC would take a list of addresses.
    if (address.starts_with(host) && address.size() > strlen(host) &&
        address.find_first_not_of("0123456789", strlen(host)) == std::string::npos)
      return Status::Ok();
  }
  return {Code::kInvalid, "address " + address +
                              " is neither unix:/path nor loopback; connections are not encrypted "
                              "in this version, so no other address is accepted"};
}

}  // namespace concord
