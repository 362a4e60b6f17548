#include "sidecar/adjudicator/journal_takeover.h"

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "core/planted_bugs.h"
#include "sidecar/adjudicator/frame_tail.h"
#include "sidecar/lsn_text.h"
#include "sidecar/rpc/log.h"
#include "sidecar/rpc/status.h"

namespace concord {
namespace {

constexpr auto kStragglerGrace = std::chrono::milliseconds(100);
constexpr auto kSealAgain = std::chrono::milliseconds(500);

// Runs f(i) for all i at once. When `enough` of them have returned true, the others have a moment more, then the calls
// that they make through `calls` are ended: a node that hangs must not hold up those that are enough.
template <typename F>
void ForEachAtOnce(size_t count, size_t enough, Cancellation* calls, F f) {
  if (count == 1) return (void)f(0);
  std::mutex mutex;
  std::condition_variable changed;
  size_t done = 0, good = 0;
  std::vector<std::jthread> threads;
  for (size_t i = 0; i < count; i++) {
    threads.emplace_back([&, i] {
      const bool ok = f(i);
      const std::lock_guard lock(mutex);
      done++;
      good += ok;
      changed.notify_all();
    });
  }
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return done == count || good >= enough; });
  if (!changed.wait_for(lock, kStragglerGrace, [&] { return done == count; })) calls->Cancel();
}

}  // namespace

Status JournalTakeover::Run(const std::function<void(Lsn)>& begin, const std::function<Status(const Frame&)>& replay) {
  Status status = Seal();
  if (!status.ok()) return status;
  const Node& source = *std::max_element(sealed_.begin(), sealed_.end(), [](const Node& a, const Node& b) {
    return Planted(PlantedBug::kOldTailLost) ? b.end() < a.end() : a.end() < b.end();
  });
  last_lsn_ = source.seal.last_lsn();
  for (const Node& node : sealed_) committed_lsn_ = std::max<Lsn>(committed_lsn_, node.seal.committed_lsn());
  if (committed_lsn_ > last_lsn_)
    return {Code::kCorruption, "a journal node knows LSN " + LsnText(committed_lsn_) +
                                   " as committed, but the newest log found ends at " + LsnText(last_lsn_)};

  // Nobody is to think meanwhile that this leader has died.
  std::jthread sealing;
  if (ensemble_.nodes.size() > 1) sealing = std::jthread([this](const std::stop_token& stop) { SealAgain(stop); });
  Cancellation calls(cancellation_);
  StallGuard stall(&calls, options_.call_timeout_ms);
  {
    Cancellation equalising(&calls);
    ForEachAtOnce(sealed_.size(), ensemble_.write_quorum, &equalising, [&](size_t i) {
      sealed_[i].status = Equalise(source, &sealed_[i], &equalising, &stall);
      return sealed_[i].status.ok();
    });
  }
  Status reason;
  for (const Node& node : sealed_) {
    if (node.status.ok()) {
      members_.push_back(node.index);
    } else {
      reason = node.status;
      RoleLog("adjudicator")->warn("journal node left out epoch={} reason=\"{}\"", epoch_, reason.ToString());
    }
  }
  if (members_.size() < ensemble_.write_quorum)
    return reason.code() == Code::kStaleEpoch || reason.code() == Code::kNoSpace
               ? reason
               : Status(Code::kNoQuorum, "too few journal nodes hold the same log: " + reason.ToString());
  const bool goes_on =
      options_.replayed != kNoLsn && options_.replayed <= last_lsn_ && options_.replayed + 1 >= source.seal.first_lsn();
  if (!goes_on) begin(last_lsn_);
  return Replay(source, goes_on ? options_.replayed : kNoLsn, replay, &calls, &stall);
}

void JournalTakeover::SealAgain(const std::stop_token& stop) {
  Cancellation calls(cancellation_);
  const std::stop_callback end(stop, [&calls] { calls.Cancel(); });
  std::mutex mutex;
  std::condition_variable_any changed;
  std::unique_lock lock(mutex);
  while (!changed.wait_for(lock, stop, kSealAgain, [] { return false; }) && !stop.stop_requested()) {
    for (const Node& node : sealed_) {
      CancellableContext context(&calls);
      context->set_deadline(std::chrono::system_clock::now() + kSealAgain);
      proto::SealRequest request;
      request.set_epoch(epoch_);
      proto::SealReply reply;
      (void)node.stub->Seal(context.get(), request, &reply);
    }
  }
}

Status JournalTakeover::Seal() {
  const size_t count = ensemble_.nodes.size();
  if (!ValidEnsemble(count, ensemble_.write_quorum))
    return {Code::kInvalid, std::to_string(count) + " journal nodes with a write quorum of " +
                                std::to_string(ensemble_.write_quorum) + ": the quorum must be more than half"};
  std::vector<Node> nodes(count);
  std::vector<uint64_t> sealed_epochs(count, 0);
  const size_t needed = std::max<size_t>(ReadQuorum(count, ensemble_.write_quorum), ensemble_.write_quorum);
  Cancellation calls(cancellation_);
  ForEachAtOnce(count, needed, &calls, [&](size_t i) {
    Node& node = nodes[i];
    node.index = i;
    node.stub = ensemble_.nodes[i].stub;
    if (ensemble_.nodes[i].meet) {
      CancellableContext meeting(&calls);
      SetDeadline(&meeting);
      node.status = ensemble_.nodes[i].meet(meeting.get());
      if (!node.status.ok()) return false;
    }
    CancellableContext context(&calls);
    SetDeadline(&context);
    proto::SealRequest request;
    request.set_epoch(epoch_);
    node.status = FromGrpc(node.stub->Seal(context.get(), request, &node.seal));
    if (node.status.code() != Code::kStaleEpoch) return node.status.ok();
    CancellableContext status_context(&calls);
    SetDeadline(&status_context);
    proto::JournalStatus known;
    if (node.stub->GetStatus(status_context.get(), {}, &known).ok())
      sealed_epochs[i] = std::max(known.sealed_epoch(), known.epoch());
    return false;
  });
  Status reason;
  for (size_t i = 0; i < count; i++) {
    if (nodes[i].status.ok()) {
      sealed_.push_back(nodes[i]);
      const proto::SealReply& seal = nodes[i].seal;
      if (seal.lease_epoch() != options_.own_epoch)
        lease_until_ =
            std::max(lease_until_, std::chrono::steady_clock::now() + std::chrono::milliseconds(seal.lease_left_ms()));
    } else if (reason.code() != Code::kStaleEpoch) {
      reason = nodes[i].status;
    }
    sealed_epoch_ = std::max(sealed_epoch_, sealed_epochs[i]);
  }
  if (reason.code() == Code::kStaleEpoch) return reason;
  if (sealed_.size() < needed)
    return {Code::kNoQuorum, std::to_string(sealed_.size()) + " of " + std::to_string(count) +
                                 " journal nodes could be sealed, " + std::to_string(needed) +
                                 " are needed: " + reason.ToString()};
  return Status::Ok();
}

Status JournalTakeover::Equalise(const Node& source, Node* node, Cancellation* calls, StallGuard* stall) {
  if (node == &source || node->end() == source.end()) return Status::Ok();
  LogEqualiser equaliser({.epoch = epoch_,
                          .write_quorum = ensemble_.write_quorum,
                          .committed_lsn = committed_lsn_,
                          .call_timeout_ms = options_.call_timeout_ms},
                         calls, stall);
  return equaliser.Run(source.stub.get(), last_lsn_, node->stub.get(), node->seal);
}

Status JournalTakeover::Replay(const Node& source, Lsn after, const std::function<Status(const Frame&)>& replay,
                               Cancellation* calls, StallGuard* stall) {
  if (last_lsn_ == kNoLsn) return Status::Ok();
  if (after == kNoLsn) {
    const Lsn reach = static_cast<Lsn>(options_.replay_us) << kLsnCounterBits;
    if (last_lsn_ > reach) after = last_lsn_ - reach;
    // What has been trimmed away cannot be asked for, and nothing more is trimmed before we append.
    after = std::max<Lsn>(after, source.seal.first_lsn() - 1);
  }
  FrameTail tail(source.stub.get(), after, calls);
  Lsn replayed = after;
  Frame frame;
  Status status;
  while ((status = tail.Next(&frame)).ok()) {
    replayed = frame.lsn;
    stall->Progress();
    if (Status s = replay(frame); !s.ok()) return s;
  }
  if (status.code() != Code::kNotFound) return status;
  if (replayed != last_lsn_)
    return {Code::kUnavailable,
            "the journal's tail ended at " + LsnText(replayed) + " and not at " + LsnText(last_lsn_)};
  return Status::Ok();
}

void JournalTakeover::SetDeadline(CancellableContext* context) const {
  (*context)->set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(options_.call_timeout_ms));
}

}  // namespace concord
