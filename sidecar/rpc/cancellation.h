// Ends a group of calls at once, those under way and those not begun yet: how a role stops without waiting for
// deadlines. A group may be part of a larger one, and ends with it. Thread-safe.
#pragma once

#include <grpcpp/client_context.h>

#include <mutex>
#include <set>

namespace concord {

class Cancellation {
 public:
  Cancellation() = default;
  // Part of `whole`, which it must not outlive.
  explicit Cancellation(Cancellation* whole) : whole_(whole) {
    const std::lock_guard lock(whole_->mutex_);
    whole_->parts_.insert(this);
    cancelled_ = whole_->cancelled_;
  }
  ~Cancellation() {
    if (whole_ == nullptr) return;
    const std::lock_guard lock(whole_->mutex_);
    whole_->parts_.erase(this);
  }
  Cancellation(const Cancellation&) = delete;
  Cancellation& operator=(const Cancellation&) = delete;

  void Cancel() {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
    for (grpc::ClientContext* context : active_) context->TryCancel();
    for (Cancellation* part : parts_) part->Cancel();
  }
  bool cancelled() const {
    const std::lock_guard lock(mutex_);
    return cancelled_;
  }

 private:
  friend class CancellableContext;
  Cancellation* const whole_ = nullptr;
  mutable std::mutex mutex_;               // a part's is taken while the whole's is held, never the other way round
  bool cancelled_ = false;                 // guarded by mutex_
  std::set<Cancellation*> parts_;          // guarded by mutex_
  std::set<grpc::ClientContext*> active_;  // guarded by mutex_
};

// A client's context that belongs to a group; it must not outlive the group.
class CancellableContext {
 public:
  explicit CancellableContext(Cancellation* group) : group_(group) {
    const std::lock_guard lock(group_->mutex_);
    group_->active_.insert(&context_);
    if (group_->cancelled_) context_.TryCancel();
  }
  ~CancellableContext() {
    const std::lock_guard lock(group_->mutex_);
    group_->active_.erase(&context_);
  }
  CancellableContext(const CancellableContext&) = delete;
  CancellableContext& operator=(const CancellableContext&) = delete;

  grpc::ClientContext* get() { return &context_; }
  grpc::ClientContext* operator->() { return &context_; }

 private:
  Cancellation* group_;
  grpc::ClientContext context_;
};

}  // namespace concord
