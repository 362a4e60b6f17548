// What this process knows of replicas on other machines, for the C++ side of the bridge. See remote.h.
#pragma once

#include "bridge/remote.h"

namespace concord::bridge {

struct RemoteState {
  bool enabled = false;  // there are replicas that the gateway can ask
  bool only = false;     // and what is on this machine is not to be read
  bool used = false;     // something was asked since the last reset
  CcRemoteOptions options = {};
};
extern RemoteState remote_state;

inline void TellWaiting(CcReadWait wait) {
  if (remote_state.options.waiting != nullptr) remote_state.options.waiting(wait);
}

// Whether a read that this status ended goes on at another machine's replica.
inline bool GoesRemote(CcStatus status) {
  return remote_state.enabled && (status == CC_NOT_APPLIED || status == CC_UNAVAILABLE);
}

}  // namespace concord::bridge
