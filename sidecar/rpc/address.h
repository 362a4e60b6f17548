// The addresses that Concord listens on and connects to: unix:/path, or HOST:PORT. What is not on this machine is for
// TLS only (credentials.h).
#pragma once

#include <string>

#include "core/status.h"

namespace concord {

// The path of a "unix:/path" or "unix:///path" address; empty for others.
std::string SocketPath(const std::string& address);

bool IsUnixAddress(const std::string& address);
// Whether no other machine can be at the other end, or listen to what is said: unix sockets and loopback.
bool IsLocalAddress(const std::string& address);

// Ok for what may be listened on: a unix socket whose path is not too long, a loopback address with a port, and with
// TLS every HOST:PORT.
Status CheckListenAddress(const std::string& address, bool tls);
// Ok for a loopback address with a port, where metrics are served in plain text.
Status CheckMetricsAddress(const std::string& address);
// Ok for what may be connected to: the same, and whatever else gRPC knows on this machine.
Status CheckPeerAddress(const std::string& address, bool tls);

}  // namespace concord
