#include "sidecar/adjudicator/standby.h"

#include <algorithm>
#include <chrono>

#include "core/frame.h"
#include "sidecar/rpc/log.h"
#include "sidecar/rpc/status.h"

namespace concord {
namespace {

constexpr int kFollowPauseMs = 100;  // before another node is followed
constexpr int kGatherMs = 100;       // nobody waits for what a standby knows; a takeover reads the rest

}  // namespace

Standby::Standby(const JournalEnsemble& ensemble, const Options& options, std::unique_ptr<Adjudicator> core)
    : ensemble_(ensemble),
      options_(options),
      core_(core != nullptr ? std::move(core) : std::make_unique<Adjudicator>(options.limits)),
      followed_(core_->last_lsn()),
      writers_(ensemble.nodes.size(), Writer::kUnknown) {
  for (size_t node = 0; node < writers_.size(); node++) watchers_.emplace_back([this, node] { Watch(node); });
  follower_ = std::thread([this] { Follow(); });
}

Standby::~Standby() {
  Cancel();
  for (std::thread& watcher : watchers_) watcher.join();
  if (follower_.joinable()) follower_.join();
}

void Standby::Cancel() {
  cancellation_.Cancel();
  const std::lock_guard lock(mutex_);
  cancelled_ = true;
  changed_.notify_all();
}

bool Standby::Pause(int ms) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, std::chrono::milliseconds(ms), [this] { return cancelled_; });
}

Status Standby::Meet(size_t node) {
  if (!ensemble_.nodes[node].meet) return Status::Ok();
  CancellableContext context(&cancellation_);
  context->set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(options_.call_timeout_ms));
  return ensemble_.nodes[node].meet(context.get());
}

void Standby::Watch(size_t node) {
  using Clock = std::chrono::steady_clock;
  Lsn followed = kNoLsn;
  Clock::time_point since = Clock::now();  // when it was not behind, or moved last
  bool met = false;
  do {
    Writer writer = Writer::kUnknown;
    met = met || Meet(node).ok();
    proto::JournalStatus status;
    CancellableContext context(&cancellation_);
    context->set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(options_.call_timeout_ms));
    // Whatever answers after it did not may be another process.
    met = met && ensemble_.nodes[node].stub->GetStatus(context.get(), {}, &status).ok();
    if (met) writer = status.writer_live() ? Writer::kLive : Writer::kGone;
    if (const Lsn now = followed_; status.committed_lsn() <= now || now != followed) {
      followed = now;
      since = Clock::now();
    } else if (Clock::now() - since > std::chrono::milliseconds(options_.silence_ms)) {
      LeaveNode();
      since = Clock::now();
    }
    const std::lock_guard lock(mutex_);
    if (cancelled_) return;
    writers_[node] = writer;
    changed_.notify_all();
  } while (Pause(options_.poll_ms));
}

void Standby::LeaveNode() {
  const std::lock_guard lock(mutex_);
  if (tail_ != nullptr) tail_->TryCancel();
}

// Needs mutex_.
bool Standby::TurnHasCome() const {
  const auto gone = std::count(writers_.begin(), writers_.end(), Writer::kGone);
  return writers_.size() - static_cast<size_t>(gone) < ensemble_.write_quorum;
}

Standby::Turn Standby::AwaitTurn(int timeout_ms) {
  std::unique_lock lock(mutex_);
  const bool come =
      changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms), [this] { return cancelled_ || TurnHasCome(); });
  return cancelled_ ? Turn::kCancelled : come ? Turn::kMine : Turn::kNotYet;
}

std::unique_ptr<Adjudicator> Standby::Take() {
  Cancel();
  if (follower_.joinable()) follower_.join();
  return std::move(core_);
}

void Standby::Follow() {
  std::string told;
  // Not with the first, which is the one that everybody would think of.
  for (size_t node = ensemble_.nodes.size() - 1;; node = (node + 1) % ensemble_.nodes.size()) {
    const Status status = FollowNode(node);
    if (!Pause(kFollowPauseMs)) return;
    if (status.code() != Code::kTooOld && status.code() != Code::kCorruption) continue;
    // What it has is no use any more: the journal has been trimmed beyond it, or the node's frames do not follow.
    core_ = std::make_unique<Adjudicator>(options_.limits);
    followed_ = kNoLsn;
    if (status.ToString() != told)
      RoleLog("adjudicator")->warn("follows the journal anew reason=\"{}\"", told = status.ToString());
  }
}

Status Standby::FollowNode(size_t node) {
  if (Status status = Meet(node); !status.ok()) return {Code::kUnavailable, status.message()};
  JournalStub* const stub = ensemble_.nodes[node].stub.get();
  Lsn after = core_->last_lsn();
  if (after == kNoLsn) {
    proto::JournalStatus status;
    CancellableContext context(&cancellation_);
    context->set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(options_.call_timeout_ms));
    if (!stub->GetStatus(context.get(), {}, &status).ok()) return {Code::kUnavailable, "no answer"};
    const Lsn reach = static_cast<Lsn>(options_.replay_us) << kLsnCounterBits;
    const Lsn end = status.committed_lsn();
    after = std::max<Lsn>(status.base_lsn(), end > reach ? end - reach : kNoLsn);
  }
  CancellableContext context(&cancellation_);
  proto::TailRequest request;
  request.set_after_lsn(after);
  request.set_gather_ms(kGatherMs);
  {
    const std::lock_guard lock(mutex_);
    tail_ = context.get();
  }
  const auto stream = stub->Tail(context.get(), request);
  proto::TailReply reply;
  Status status;
  while (status.ok() && stream->Read(&reply)) {
    for (std::string_view rest = reply.frames(); status.ok() && !rest.empty();) {
      Frame frame;
      size_t consumed = 0;
      status = ParseFrame(rest, &frame, &consumed);
      if (status.ok()) status = core_->Replay(frame);
      rest.remove_prefix(consumed);
      // What a tail brings is committed; what is not settled is never forgotten.
      core_->Settle(core_->last_lsn());
    }
    followed_ = core_->last_lsn();
  }
  {
    const std::lock_guard lock(mutex_);
    tail_ = nullptr;
  }
  if (status.ok()) return FromGrpc(stream->Finish());
  context->TryCancel();
  while (stream->Read(&reply)) {
  }
  (void)stream->Finish();
  return status;
}

}  // namespace concord
