// Telling the service manager (systemd) how this process is, by the protocol of sd_notify(3): a datagram to the socket
// that $NOTIFY_SOCKET names. Without one, nothing is done.
#pragma once

#include <string>

namespace concord {

// Such as "READY=1" or "STOPPING=1". False if there is nobody to tell, or it could not be told.
bool TellServiceManager(const std::string& state);

}  // namespace concord
