// What an operator has the leader do: hand over, change the journal's members.
#include <algorithm>
#include <chrono>
#include <utility>

#include "sidecar/adjudicator/adjudicator_service.h"
#include "sidecar/adjudicator/journal_change.h"
#include "sidecar/rpc/log.h"
#include "sidecar/rpc/status.h"

namespace concord {
namespace {

constexpr int kHandOverDrainMs = 500;
constexpr int kReleaseMs = 100;

}  // namespace

grpc::Status AdjudicatorService::HandOver(grpc::ServerContext*, const proto::HandOverRequest*,
                                          proto::HandOverReply* reply) {
  std::shared_ptr<JournalWriter> writer;
  {
    std::unique_lock lock(mutex_);
    if (!options_.standby || state_ != State::kLeading || handing_over_) {
      const Status status(Code::kStaleEpoch, options_.standby ? "this adjudicator does not lead"
                                                              : "this adjudicator is the only one of its cluster");
      refusals_.Note("HandOver", status);
      return ToGrpc(status);
    }
    handing_over_ = true;
    reply->set_epoch(epoch_);
    progress_.wait_for(lock, std::chrono::milliseconds(kHandOverDrainMs),
                       [&] { return in_flight_.empty() || state_ != State::kLeading; });
    if (state_ != State::kLeading || epoch_ != reply->epoch())
      return ToGrpc({Code::kUnavailable, "the term has ended by itself"});
    pages_.Withdraw();
    vouches_ = false;
    writer = writer_;
  }
  writer->Release(kReleaseMs);
  StepDown({Code::kUnavailable, "the lead was handed over"});
  return grpc::Status::OK;
}

grpc::Status AdjudicatorService::ChangeJournal(grpc::ServerContext* context, const proto::ChangeJournalRequest* request,
                                               proto::ChangeJournalReply* reply) {
  JournalChange change;
  std::shared_ptr<JournalWriter> writer;
  JournalRejoin* rejoin = nullptr;  // both stay as long as changing_journal_ does
  {
    const std::lock_guard lock(mutex_);
    Status status;
    if (!options_.connect) {
      status = {Code::kInvalid,
                "the journal nodes of this cluster are named by options of its processes, not in an etcd"};
    } else if (state_ != State::kLeading || handing_over_) {
      status = {Code::kStaleEpoch, "this adjudicator does not lead"};
    } else if (changing_journal_) {
      status = {Code::kConflict, "another change of the journal's members is under way"};
    }
    if (!status.ok()) {
      refusals_.Note("ChangeJournal", status);
      return ToGrpc(status);
    }
    changing_journal_ = true;
    writer = writer_;
    rejoin = rejoin_.get();
    change.epoch = epoch_;
    for (const JournalPeer& peer : ensemble_.nodes) change.from.journal.push_back(peer.member);
    change.from.write_quorum = ensemble_.write_quorum;
    change.from_nodes = counted_;
    change.writer = writer_.get();
  }
  for (const auto& member : request->add()) change.add.push_back({member.id(), member.address()});
  change.remove.assign(request->remove().begin(), request->remove().end());
  change.write_quorum = request->write_quorum();
  change.metastore = metastore_;
  change.connect = options_.connect;
  change.join = [&](const JournalPeer& peer) {
    const std::lock_guard lock(mutex_);
    written_.push_back(peer.member);
    return rejoin->Add(peer);
  };
  change.given_up = [context] { return context->IsCancelled(); };
  const Status status = change.Run();
  {
    const std::lock_guard lock(mutex_);
    changing_journal_ = false;
    if (status.ok() && epoch_ == change.epoch) {
      std::vector<JournalPeer> nodes;
      for (const JournalPeer& peer : ensemble_.nodes) {
        if (std::find(change.remove.begin(), change.remove.end(), peer.member.id) == change.remove.end())
          nodes.push_back(peer);
      }
      nodes.insert(nodes.end(), change.added.begin(), change.added.end());
      ensemble_.nodes = std::move(nodes);
      ensemble_.write_quorum = change.to.write_quorum;
      counted_ = change.to_nodes;
    }
    changed_.notify_all();
  }
  refusals_.Note("ChangeJournal", status);
  if (change.unsettled)
    OnFailed(change.epoch, {Code::kUnavailable, "a change of the journal's members: " + status.message()});
  if (!status.ok()) return ToGrpc(status);
  reply->set_version(change.to.version);
  RoleLog("adjudicator")
      ->info("the journal's members were changed epoch={} version={} nodes={} write_quorum={}", change.epoch,
             change.to.version, change.to.journal.size(), change.to.write_quorum);
  return grpc::Status::OK;
}

}  // namespace concord
