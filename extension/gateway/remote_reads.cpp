#include "gateway/remote_reads.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "core/lsn_page.h"

namespace concord {

namespace {

constexpr int64_t kRetryUs = 10'000;  // before all are asked again that could not answer
constexpr int kCallTimeoutMs = 2000;
constexpr uint64_t kApplyWaitMs = 1000;  // at the replica, for the read LSN; another one is asked long before
constexpr uint32_t kLargeBytes = 64u << 10;

int64_t NowUs() { return BoottimeUs(); }

}  // namespace

struct RemoteReads::Read {
  Lsn lsn;
  std::string request;
  Deliver deliver;
  ReadRouter::Size size;

  bool done = false;
  uint64_t asked = 0;      // in this round, a bit for each replica
  uint64_t under_way = 0;  // of them, those that have not ended
  Attempts attempts;
  uint64_t refused = 0;  // replicas that will not answer, however often they are asked
  ReadStatus refusal = kReadUnavailable;
  std::string refusal_reason;
  std::multimap<int64_t, ReadPtr>::iterator timer;
  bool has_timer = false;
};

struct RemoteReads::Attempt {
  ReadPtr read;
  size_t replica;
  int64_t begun_us;
  bool is_probe;  // it is to end by itself, for the replica's figure
  bool waits;     // the replica may have to wait for the LSN: how long it takes says nothing
  grpc::ClientContext context;
  proto::ReadRequest request;
  proto::ReadReply reply;
};

RemoteReads::RemoteReads(std::vector<Replica> replicas, ReadCounters* counters, std::function<void()> wake)
    : replicas_(std::move(replicas)), wake_(std::move(wake)), counters_(*counters), router_(replicas_.size()) {
  for (const Replica& replica : replicas_) stubs_.push_back(proto::Storage::NewStub(replica.channel));
}

RemoteReads::~RemoteReads() { Stop(); }

void RemoteReads::SetTimer(const ReadPtr& read, int64_t at_us) {
  ClearTimer(read);
  read->timer = timers_.emplace(at_us, read);
  read->has_timer = true;
}

void RemoteReads::ClearTimer(const ReadPtr& read) {
  if (read->has_timer) timers_.erase(read->timer);
  read->has_timer = false;
}

bool RemoteReads::Ask(const ReadPtr& read, size_t replica, bool is_probe, Attempts* begun) {
  read->asked |= uint64_t{1} << replica;
  // A call is what makes gRPC connect, so that is when the address is looked at.
  const bool connects = replicas_[replica].channel->GetState(/*try_to_connect=*/false) != GRPC_CHANNEL_READY;
  if (connects && !replicas_[replica].distrust().empty()) {
    router_.Failed(replica, NowUs());
    return false;
  }
  auto attempt = std::make_shared<Attempt>();
  attempt->read = read;
  attempt->replica = replica;
  attempt->begun_us = NowUs();
  attempt->is_probe = is_probe;
  attempt->waits = router_.applied(replica) < read->lsn;
  attempt->request.set_read_lsn(read->lsn);
  attempt->request.set_wait_ms(kApplyWaitMs);
  attempt->request.set_request(read->request);
  attempt->context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(kCallTimeoutMs));
  read->under_way |= uint64_t{1} << replica;
  if (!is_probe) {
    read->attempts.push_back(attempt);
    SetTimer(read, NowUs() + router_.HedgeDelayUs(replica, read->size));
  }
  calls_.emplace(attempt.get(), attempt);
  begun->push_back(std::move(attempt));
  return true;
}

// The next one that has not been asked in this round; a new round if there is none and nobody is being waited for.
bool RemoteReads::AskNext(const ReadPtr& read, Attempts* begun) {
  while (const auto next = router_.Choose(read->lsn, read->asked | read->refused, NowUs()))
    if (Ask(read, *next, /*is_probe=*/false, begun)) return true;
  if (read->under_way == 0) {
    read->asked = 0;
    SetTimer(read, NowUs() + kRetryUs);
  } else {
    ClearTimer(read);
  }
  return false;
}

void RemoteReads::Begin(const Attempts& attempts) {
  for (const auto& attempt : attempts)
    stubs_[attempt->replica]->async()->Read(
        &attempt->context, &attempt->request, &attempt->reply,
        [this, attempt = attempt.get()](const grpc::Status& status) { OnEnd(attempt, status); });
}

RemoteReads::ReadPtr RemoteReads::Start(Lsn lsn, std::string request, Deliver deliver) {
  auto read = std::make_shared<Read>();
  read->lsn = lsn;
  read->request = std::move(request);
  read->deliver = std::move(deliver);
  ReadRequestView view;
  const bool large =
      ReadRequestView::Parse(read->request, &view) && view.kind != ReadKind::kGet && view.limit >= kLargeBytes;
  read->size = large ? ReadRouter::Size::kLarge : ReadRouter::Size::kSmall;
  const int64_t now = NowUs();
  used_us_.store(now, std::memory_order_relaxed);
  counters_.reads.fetch_add(1, std::memory_order_relaxed);
  Attempts begun, ended;
  {
    const std::lock_guard lock(mutex_);
    ended.swap(ended_);
    if (stopping_) return read;
    reads_.insert(read);
    if (AskNext(read, &begun)) {
      if (const auto probe = router_.Probe(begun.back()->replica, now))
        (void)Ask(read, *probe, /*is_probe=*/true, &begun);
    }
  }
  Begin(begun);
  return read;
}

void RemoteReads::Settle(const ReadPtr& read, Attempts* cancelled) {
  read->done = true;
  ClearTimer(read);
  reads_.erase(read);
  *cancelled = std::move(read->attempts);
  read->attempts.clear();
}

void RemoteReads::Cancel(const ReadPtr& read) {
  Attempts cancelled;
  {
    const std::lock_guard lock(mutex_);
    if (read->done) return;
    Settle(read, &cancelled);
  }
  for (const auto& attempt : cancelled) attempt->context.TryCancel();
}

void RemoteReads::OnEnd(Attempt* attempt, const grpc::Status& status) {
  TakeUp(attempt, status);
  // Last: who stops waits for it, and then nothing of this is there any more.
  const std::lock_guard lock(mutex_);
  const auto call = calls_.find(attempt);
  attempt->read.reset();
  ended_.push_back(std::move(call->second));
  calls_.erase(call);
  if (calls_.empty()) idle_.notify_all();
}

void RemoteReads::TakeUp(Attempt* attempt, const grpc::Status& status) {
  const ReadPtr read = attempt->read;
  Attempts begun, cancelled;
  bool deliver = false;
  ReadStatus outcome = kReadOk;
  std::string bytes;
  {
    const std::lock_guard lock(mutex_);
    const int64_t now = NowUs();
    const uint64_t bit = uint64_t{1} << attempt->replica;
    std::erase_if(read->attempts, [&](const auto& other) { return other.get() == attempt; });
    read->under_way &= ~bit;
    switch (status.error_code()) {
      case grpc::StatusCode::OK:
        if (attempt->waits)
          router_.Heard(attempt->replica, attempt->reply.applied_lsn(), now);
        else
          router_.Answered(attempt->replica, read->size, attempt->reply.applied_lsn(), now - attempt->begun_us, now);
        break;
      case grpc::StatusCode::CANCELLED: break;
      case grpc::StatusCode::OUT_OF_RANGE:
      case grpc::StatusCode::INVALID_ARGUMENT:
      case grpc::StatusCode::UNIMPLEMENTED:
      case grpc::StatusCode::RESOURCE_EXHAUSTED:
      case grpc::StatusCode::DATA_LOSS: router_.Heard(attempt->replica, kNoLsn, now); break;
      default:
        if (!read->done) router_.Failed(attempt->replica, now);
    }
    if (!read->done && !stopping_) {
      if (status.ok()) {
        for (const auto& other : read->attempts)
          router_.Overtaken(other->replica, read->size, now - other->begun_us, now);
        bytes = std::move(*attempt->reply.mutable_batch());
        deliver = true;
      } else {
        const grpc::StatusCode code = status.error_code();
        const bool is_final = code == grpc::StatusCode::OUT_OF_RANGE || code == grpc::StatusCode::INVALID_ARGUMENT ||
                              code == grpc::StatusCode::UNIMPLEMENTED || code == grpc::StatusCode::DATA_LOSS ||
                              code == grpc::StatusCode::RESOURCE_EXHAUSTED;
        if (is_final) {
          read->refused |= bit;
          read->refusal = code == grpc::StatusCode::OUT_OF_RANGE ? kReadTooOld
                          : code == grpc::StatusCode::DATA_LOSS  ? kReadCorrupt
                                                                 : kReadRefused;
          read->refusal_reason = status.error_message();
        }
        // What one of them refuses, another may still have; those that are away are not waited for.
        if (AskNext(read, &begun)) {
          if (!is_final) counters_.moved.fetch_add(1, std::memory_order_relaxed);
        } else if (read->under_way == 0 && read->refused != 0) {
          outcome = read->refusal;
          bytes = read->refusal_reason;
          deliver = true;
        }
      }
      if (deliver) Settle(read, &cancelled);
    }
  }
  for (const auto& other : cancelled) other->context.TryCancel();
  Begin(begun);
  if (deliver) {
    counters_.bytes.fetch_add(bytes.size(), std::memory_order_relaxed);
    read->deliver(outcome, std::move(bytes));
  } else {
    wake_();  // there may be another timer
  }
}

void RemoteReads::Tick() {
  Attempts begun, ended;
  {
    const std::lock_guard lock(mutex_);
    ended.swap(ended_);
    const int64_t now = NowUs();
    while (!timers_.empty() && timers_.begin()->first <= now) {
      const ReadPtr read = timers_.begin()->second;
      const bool waits = read->under_way != 0;
      ClearTimer(read);
      if (AskNext(read, &begun) && waits) counters_.hedged.fetch_add(1, std::memory_order_relaxed);
    }
  }
  Begin(begun);
}

int64_t RemoteReads::NextTickUs() {
  const std::lock_guard lock(mutex_);
  return timers_.empty() ? -1 : timers_.begin()->first;
}

void RemoteReads::Stop() {
  std::unique_lock lock(mutex_);
  stopping_ = true;
  Attempts all;
  for (const auto& [key, attempt] : calls_) all.push_back(attempt);
  lock.unlock();
  for (const auto& attempt : all) attempt->context.TryCancel();
  lock.lock();
  idle_.wait(lock, [this] { return calls_.empty(); });
  ended_.clear();
  timers_.clear();
  for (const ReadPtr& read : reads_) read->has_timer = false;
  reads_.clear();
}

}  // namespace concord
