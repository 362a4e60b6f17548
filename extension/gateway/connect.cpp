#include "gateway/connect.h"

#include <algorithm>

#include "sidecar/rpc/credentials.h"

namespace concord {

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 20);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kReconnectPauseMaxMs);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // Two gateways of one process (tests) must not share a connection and its fate.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return ProcessCredentials().Connect(address, arguments);
}

std::vector<std::string> SplitAddresses(const std::string& addresses) {
  std::vector<std::string> list;
  for (size_t begin = 0, end; begin <= addresses.size(); begin = end + 1) {
    end = std::min(addresses.find(',', begin), addresses.size());
    const size_t first = addresses.find_first_not_of(' ', begin);
    const size_t last = addresses.find_last_not_of(' ', end - 1);
    if (first < end) list.push_back(addresses.substr(first, last - first + 1));
  }
  if (list.empty()) list.push_back(addresses);
  return list;
}

std::string ReasonOf(const grpc::Status& status) {
  return status.error_message().empty() ? "closed" : status.error_message();
}

}  // namespace concord
