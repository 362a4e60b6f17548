#include "sidecar/adjudicator/journal_rejoin.h"

#include <chrono>

#include "sidecar/lsn_text.h"
#include "sidecar/rpc/log.h"
#include "sidecar/rpc/status.h"

namespace concord {

JournalRejoin::JournalRejoin(std::vector<JournalPeer> peers, const Options& options, JournalWriter* writer)
    : options_(options), writer_(writer), peers_(std::move(peers)), told_(peers_.size()) {
  thread_ = std::thread([this] { Run(); });
}

JournalRejoin::~JournalRejoin() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  cancellation_.Cancel();
  writer_->EndJoins();
  thread_.join();
}

size_t JournalRejoin::Add(const JournalPeer& peer) {
  const std::lock_guard lock(mutex_);
  peers_.push_back(peer);
  told_.emplace_back();
  changed_.notify_all();
  return writer_->AddNode(peer);
}

JournalPeer JournalRejoin::Peer(size_t node) {
  const std::lock_guard lock(mutex_);
  return peers_[node];
}

void JournalRejoin::Run() {
  const auto log = RoleLog("adjudicator");
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, std::chrono::milliseconds(options_.retry_ms), [this] { return stopping_; })) {
    lock.unlock();
    for (const size_t node : writer_->Absent()) {
      const Status status = Rejoin(node);
      const std::lock_guard telling(mutex_);
      if (status.ok()) {
        told_[node].clear();
      } else if (status.code() != Code::kUnavailable && status.ToString() != told_[node]) {
        log->warn("journal node cannot join node={} epoch={} reason=\"{}\"", node, options_.epoch,
                  told_[node] = status.ToString());
      }
    }
    lock.lock();
  }
}

Status JournalRejoin::Rejoin(size_t node) {
  const JournalPeer peer = Peer(node);
  JournalStub* const target = peer.stub.get();
  Status status;
  if (peer.meet) {
    CancellableContext context(&cancellation_);
    SetDeadline(&context);
    status = peer.meet(context.get());
    if (!status.ok()) return status;
  }
  proto::SealReply sealed;
  {
    CancellableContext context(&cancellation_);
    SetDeadline(&context);
    proto::SealRequest request;
    request.set_epoch(options_.epoch);
    status = FromGrpc(target->Seal(context.get(), request, &sealed));
    if (!status.ok()) return status;
  }
  Lsn end = kNoLsn;
  size_t source = 0;
  if (!writer_->BeginJoin(node, &end, &source)) return {Code::kUnavailable, "the epoch is ending"};
  Cancellation calls(&cancellation_);
  StallGuard stall(&calls, options_.call_timeout_ms);
  LogEqualiser equaliser({.epoch = options_.epoch,
                          .write_quorum = writer_->write_quorum(),
                          .committed_lsn = writer_->committed(),
                          .call_timeout_ms = options_.call_timeout_ms},
                         &calls, &stall);
  status = equaliser.Run(Peer(source).stub.get(), end, target, sealed);
  if (status.ok() && !writer_->Join(node)) status = {Code::kUnavailable, "it fell behind again"};
  if (!status.ok()) {
    writer_->AbandonJoin(node);
    return status;
  }
  RoleLog("adjudicator")
      ->info("journal node has caught up and is written to node={} epoch={} from_lsn={}", node, options_.epoch,
             LsnText(end));
  return status;
}

void JournalRejoin::SetDeadline(CancellableContext* context) const {
  (*context)->set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(options_.call_timeout_ms));
}

}  // namespace concord
