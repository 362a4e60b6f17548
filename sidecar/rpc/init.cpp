#include "sidecar/rpc/init.h"

#include <absl/synchronization/mutex.h>
#include <grpc/grpc.h>

namespace concord {

void InitRpc() {
  // Debian builds Abseil with the search for deadlocks that its debug mode has, which keeps a graph of all mutexes that
  // gRPC takes: some percent of what a message costs.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  grpc_init();
}

}  // namespace concord
