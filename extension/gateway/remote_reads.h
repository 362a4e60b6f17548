// Carries reads of backends to the storage replicas: asks the one that the router chooses, another one when that fails
// or is slow, and gives the first answer back. Each read is asked anew in any case that is not final, as nothing but
// its LSN says what it sees; it ends when it is answered, refused by every replica, or given up by its backend.
//
// Locks: mutex_ guards everything. Answers are delivered outside of it, by gRPC's threads or the caller's.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "bridge/replica_table.h"
#include "core/read_wire.h"
#include "gateway/read_router.h"
#include "proto/storage.grpc.pb.h"

namespace concord {

class RemoteReads {
 public:
  using Deliver = std::function<void(ReadStatus status, std::string bytes)>;
  struct Replica {
    std::string address;
    std::shared_ptr<grpc::Channel> channel;
    // Why it must not be connected to; empty if it may.
    std::function<std::string()> distrust;
  };
  struct Read;
  using ReadPtr = std::shared_ptr<Read>;

  // `wake`: whoever calls Tick is to call NextTickUs anew. `counters` outlive it.
  RemoteReads(std::vector<Replica> replicas, ReadCounters* counters, std::function<void()> wake);
  ~RemoteReads();

  ReadPtr Start(Lsn lsn, std::string request, Deliver deliver);
  // Its answer is not wanted any more. Nothing is delivered afterwards, but for what is being delivered now.
  void Cancel(const ReadPtr& read);
  // Does what is due: second questions, and further ones.
  void Tick();
  // When it will be, at the latest; -1: never.
  int64_t NextTickUs();
  // Cancels all and waits for the calls to end.
  void Stop();

  size_t size() const { return replicas_.size(); }
  // When a read was begun last.
  int64_t used_us() const { return used_us_.load(std::memory_order_relaxed); }
  // The router, under the lock.
  template <typename Use>
  auto WithRouter(Use use) {
    const std::lock_guard lock(mutex_);
    return use(router_);
  }
  proto::Storage::Stub& stub(size_t replica) const { return *stubs_[replica]; }

 private:
  struct Attempt;
  using Attempts = std::vector<std::shared_ptr<Attempt>>;

  // Under mutex_; true if somebody was asked.
  bool Ask(const ReadPtr& read, size_t replica, bool is_probe, Attempts* begun);
  bool AskNext(const ReadPtr& read, Attempts* begun);
  void Begin(const Attempts& attempts);
  void OnEnd(Attempt* attempt, const grpc::Status& status);
  void TakeUp(Attempt* attempt, const grpc::Status& status);
  void Settle(const ReadPtr& read, Attempts* cancelled);
  void SetTimer(const ReadPtr& read, int64_t at_us);
  void ClearTimer(const ReadPtr& read);

  const std::vector<Replica> replicas_;
  std::vector<std::unique_ptr<proto::Storage::Stub>> stubs_;
  const std::function<void()> wake_;
  ReadCounters& counters_;
  std::atomic<int64_t> used_us_ = 0;

  std::mutex mutex_;
  std::condition_variable idle_;
  ReadRouter router_;
  std::set<ReadPtr> reads_;
  std::multimap<int64_t, ReadPtr> timers_;
  std::map<const Attempt*, std::shared_ptr<Attempt>> calls_;  // under way
  // Whose ends have been taken up. They are destroyed by others than gRPC's threads: a call's context has a share in
  // its channel, and the last one must not be given up in a callback (gRPC 1.51 would wait for its own thread there).
  Attempts ended_;
  bool stopping_ = false;
};

}  // namespace concord
