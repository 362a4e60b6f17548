// Whose socket it is that the gateway is about to connect to. Whoever listens there is told every row and believed
// about every verdict, so it must be this server's user or root, and nobody else may be able to put another socket in
// its place. Thread-safe.
#pragma once

#include <sys/types.h>

#include <string>

namespace concord {

// Why a server that runs as `user` must not connect to the gRPC address; empty if it may. Of an address that names no
// unix socket, and of a socket that is not there (yet), nothing can be said.
std::string SocketDistrust(const std::string& address, uid_t user);

}  // namespace concord
