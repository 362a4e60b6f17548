#include "sidecar/rpc/server.h"

#include "sidecar/rpc/credentials.h"

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
  return ProcessCredentials().Connect(address, ChannelLimits());
}

}  // namespace concord
