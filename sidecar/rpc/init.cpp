#include "sidecar/rpc/init.h"

#include <absl/synchronization/mutex.h>
#include <grpc/grpc.h>

#include <cstdlib>

namespace concord {

void InitRpc() {
  // Debian builds Abseil with the search for deadlocks that its debug mode has, which keeps a graph of all mutexes that
  // gRPC takes: some percent of what a message costs.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  // Each thread waits for its own streams. With one epoll for the process, which is gRPC's choice, a thread is woken
  // for what belongs to another, and wakes that one: a tenth of the commits, and a third of their time with one client.
  setenv("GRPC_POLL_STRATEGY", "poll", /*overwrite=*/0);
  grpc_init();
}

}  // namespace concord
