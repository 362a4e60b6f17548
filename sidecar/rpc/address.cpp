#include "sidecar/rpc/address.h"

#include <sys/un.h>

#include <string_view>

namespace concord {
namespace {

constexpr size_t kPathMax = sizeof(sockaddr_un::sun_path) - 1;

// What stands before the port, which is digits and nothing more: gRPC would take a list of addresses. Empty if there is
// none, or nothing but a name or an IP address.
std::string_view HostOf(std::string_view address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string_view::npos || colon + 1 == address.size() ||
      address.find_first_not_of("0123456789", colon + 1) != std::string_view::npos)
    return {};
  const std::string_view host = address.substr(0, colon);
  if (host.starts_with('[')) {
    const bool whole = host.size() > 2 && host.find_first_not_of("0123456789abcdefABCDEF:.", 1) == host.size() - 1;
    return whole && host.ends_with(']') ? host : std::string_view();
  }
  return host.find_first_of(":/,@ []") == std::string_view::npos ? host : std::string_view();
}

}  // namespace

std::string SocketPath(const std::string& address) {
  if (address.starts_with("unix:///")) return address.substr(7);
  if (address.starts_with("unix:")) return address.substr(5);
  return {};
}

bool IsUnixAddress(const std::string& address) {
  return address.starts_with("unix:") || address.starts_with("unix-abstract:");
}

bool IsLocalAddress(const std::string& address) {
  const std::string_view host = HostOf(address);
  return IsUnixAddress(address) || host == "127.0.0.1" || host == "localhost" || host == "[::1]";
}

Status CheckListenAddress(const std::string& address, bool tls) {
  if (address.starts_with("unix:")) {
    const std::string path = SocketPath(address);
    if (path.empty()) return {Code::kInvalid, "address " + address + " names no path"};
    if (path.size() > kPathMax)
      return {Code::kTooLarge, "socket path " + path + " is longer than the " + std::to_string(kPathMax) +
                                   " bytes that the operating system allows; choose another with --listen"};
    return Status::Ok();
  }
  if (HostOf(address).empty()) return {Code::kInvalid, "address " + address + " is neither unix:/path nor HOST:PORT"};
  if (tls || IsLocalAddress(address)) return Status::Ok();
  return {Code::kInvalid,
          "address " + address +
              " is neither unix:/path nor loopback, and without TLS no other is listened on: everybody "
              "who reaches it could read and write everything. Give --tls-ca, --tls-cert and --tls-key"};
}

Status CheckMetricsAddress(const std::string& address) {
  if (HostOf(address).empty()) return {Code::kInvalid, "address " + address + " for metrics is not HOST:PORT"};
  if (IsLocalAddress(address)) return Status::Ok();
  return {Code::kInvalid, "address " + address +
                              " for metrics is not loopback, and they are served in plain text to whoever asks. Give "
                              "127.0.0.1:PORT, and have an agent or a reverse proxy of this machine pass them on"};
}

Status CheckPeerAddress(const std::string& address, bool tls) {
  if (IsLocalAddress(address) || (tls && !HostOf(address).empty())) return Status::Ok();
  if (HostOf(address).empty()) return {Code::kInvalid, "address " + address + " is neither unix:/path nor HOST:PORT"};
  return {Code::kInvalid,
          "address " + address +
              " is neither unix:/path nor loopback, and without TLS no other is connected to; TLS needs "
              "a CA, a certificate and its key"};
}

}  // namespace concord
