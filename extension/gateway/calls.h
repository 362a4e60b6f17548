// Unary calls with a deadline that can all be ended at once, to an address that is looked at before each: a call is
// what makes gRPC connect. Thread-safe.
#pragma once

#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <chrono>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "gateway/socket_check.h"

namespace concord {

class Calls {
 public:
  explicit Calls(std::string address) : address_(std::move(address)) {}

  const std::string& address() const { return address_; }

  // Why the address must not be connected to; empty if it may.
  std::string Distrust() const { return SocketDistrust(address_, geteuid()); }

  // Runs `call` (grpc::ClientContext* -> grpc::Status).
  template <typename Call>
  grpc::Status Run(int timeout_ms, Call call) {
    if (const std::string reason = Distrust(); !reason.empty()) return {grpc::StatusCode::PERMISSION_DENIED, reason};
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
  const std::string address_;
  std::mutex mutex_;
  bool ended_ = false;
  std::set<grpc::ClientContext*> active_;
};

}  // namespace concord
