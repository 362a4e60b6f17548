#include "sidecar/adjudicator/journal_change.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "sidecar/metastore/records.h"
#include "sidecar/rpc/log.h"

namespace concord {
namespace {

const Status kEpochEnded(Code::kUnavailable, "the epoch has ended; ask the metastore who the members are");

}  // namespace

Status JournalChange::Run() {
  Status status = Plan();
  if (!status.ok()) return status;
  if (to.journal == from.journal && to.write_quorum == from.write_quorum) return Write();
  for (const JournalPeer& peer : added) {
    if (writer->ended()) return kEpochEnded;
    if (Status s = Meet(peer); !s.ok()) return s;
  }
  std::vector<size_t> joining;
  for (const JournalPeer& peer : added) joining.push_back(join(peer));
  to_nodes.insert(to_nodes.end(), joining.begin(), joining.end());

  status = AwaitJoined(joining);
  if (status.ok() && !writer->BeginChange({to_nodes, to.write_quorum}, begin_ms))
    status = writer->ended() ? kEpochEnded
                             : Status(Code::kUnavailable,
                                      "the new members do not keep up, or too few are there; nothing was changed");
  if (!status.ok()) {
    writer->EndChange(/*adopt=*/false);
    return status;
  }
  status = Write();
  if (status.ok()) {
    writer->EndChange(/*adopt=*/true);
  } else {
    unsettled = true;
  }
  return status;
}

Status JournalChange::Plan() {
  to = from;
  for (const std::string& id : remove) {
    const auto found =
        std::find_if(to.journal.begin(), to.journal.end(), [&](const Member& member) { return member.id == id; });
    if (found == to.journal.end()) return {Code::kConflict, id + " is not a member of the journal"};
    to.journal.erase(found);
  }
  for (size_t i = 0; i < from.journal.size(); i++) {
    if (std::find(remove.begin(), remove.end(), from.journal[i].id) == remove.end()) to_nodes.push_back(from_nodes[i]);
  }
  for (const Member& member : add) {
    to.journal.push_back(member);
    added.push_back(connect(member));
  }
  to.version = 1;  // whichever it will be
  const bool as_many = to.journal.size() == from.journal.size();
  to.write_quorum = write_quorum != 0 ? write_quorum
                    : as_many         ? from.write_quorum
                                      : static_cast<uint32_t>(to.journal.size() / 2 + 1);
  return CheckMembership(to);
}

Status JournalChange::Meet(const JournalPeer& peer) const {
  if (!peer.meet) return Status::Ok();
  const auto deadline = std::chrono::system_clock::now() + std::chrono::milliseconds(meet_ms);
  Status status;
  // Twice: a channel may have a connection to a process that has ended since, and tells so of its next call.
  for (int tried = 0; tried < 2; tried++) {
    grpc::ClientContext context;
    context.set_deadline(deadline);
    status = peer.meet(&context);
    if (status.code() != Code::kUnavailable) return status;
  }
  return {Code::kUnavailable, "the journal node at " + peer.member.address + " does not answer: " + status.message()};
}

Status JournalChange::AwaitJoined(const std::vector<size_t>& nodes) const {
  for (;;) {
    const bool joined = writer->AwaitJoined(nodes, poll_ms);
    if (given_up()) return {Code::kUnavailable, "the change was given up before the new members had caught up"};
    if (joined) return Status::Ok();
    if (writer->ended()) return kEpochEnded;
  }
}

// Once asked, the metastore may have said yes without our knowing; so it is asked until it answers.
Status JournalChange::Write() {
  for (std::string told;; std::this_thread::sleep_for(std::chrono::milliseconds(retry_ms))) {
    Membership present;
    Leader leader;
    Status status = metastore->ReadMembership(&present);
    if (status.ok()) {
      if (present.journal == to.journal && present.write_quorum == to.write_quorum) {
        to.version = present.version;
        return Status::Ok();
      }
      if (present.journal != from.journal || present.write_quorum != from.write_quorum)
        return {Code::kConflict, "the metastore has other members than this epoch began with"};
      Membership next = present;
      next.version++;
      next.journal = to.journal;
      next.write_quorum = to.write_quorum;
      status = metastore->WriteMembership(next, epoch);
      to.version = next.version;
      if (status.ok()) return status;
      if (status.code() == Code::kConflict && metastore->ReadLeader(&leader).ok() && leader.epoch != epoch)
        return {Code::kConflict, "another adjudicator leads by now; ask the metastore who the members are"};
    }
    if (writer->ended() || status.code() == Code::kShutdown) return kEpochEnded;
    if (status.ToString() != told)
      RoleLog("adjudicator")
          ->warn("the metastore does not take the journal's new members yet epoch={} reason=\"{}\"", epoch,
                 told = status.ToString());
  }
}

}  // namespace concord
