// Unary calls with a deadline that can all be ended at once. Thread-safe.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <mutex>
#include <set>

namespace concord {

class Calls {
 public:
  // Runs `call` (grpc::ClientContext* -> grpc::Status).
  template <typename Call>
  grpc::Status Run(int timeout_ms, Call call) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(timeout_ms));
    {
      const std::lock_guard lock(mutex_);
      if (ended_) return {grpc::StatusCode::CANCELLED, "the gateway is ending"};
      active_.insert(&context);
    }
    const grpc::Status status = call(&context);
    const std::lock_guard lock(mutex_);
    active_.erase(&context);
    return status;
  }

  // Cancels what runs and refuses what comes.
  void End() {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    for (grpc::ClientContext* context : active_) context->TryCancel();
  }

 private:
  std::mutex mutex_;
  bool ended_ = false;
  std::set<grpc::ClientContext*> active_;
};

}  // namespace concord
