// How a new leader takes the journal over (docs/adjudicator.md, "Taking over"): seal, choose, bring a write quorum to
// one log, replay its tail. Written for any ensemble of N nodes and write quorum W > N/2.
//
// A node that hangs holds nobody up: when enough nodes have answered, or hold the log, the others are left to
// JournalRejoin, and what makes no progress for Options::call_timeout_ms fails.
//
// Used by one thread, once. Invariants:
//  - No record that an earlier leader may have called committed is cut or left out.
//  - When Run returns Ok, at least W members hold the same log, and nothing below this epoch can be appended to them.
//    That log counts as committed only once a record of the new epoch stands behind it on W nodes: the caller's first.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "core/frame.h"
#include "core/status.h"
#include "proto/journal.grpc.pb.h"
#include "sidecar/adjudicator/journal_ensemble.h"
#include "sidecar/adjudicator/log_equaliser.h"
#include "sidecar/adjudicator/quorum.h"
#include "sidecar/rpc/cancellation.h"

namespace concord {

class JournalTakeover {
 public:
  struct Options {
    int call_timeout_ms = 3000;
    // How far back from the journal's end the tail is replayed.
    int64_t replay_us = int64_t{120} * 1000000;
    // Up to here the caller has replayed already, as it followed the journal; kNoLsn: nothing.
    Lsn replayed = kNoLsn;
    // The newest epoch that the caller itself has led in this process: no lease of that is waited for.
    uint64_t own_epoch = 0;
  };

  JournalTakeover(const JournalEnsemble& ensemble, uint64_t epoch, const Options& options, Cancellation* cancellation)
      : ensemble_(ensemble), epoch_(epoch), options_(options), cancellation_(cancellation) {}

  // `begin` is told the journal's last LSN, unless the replay goes on after Options::replayed; then `replay` gets the
  // frames of the tail in order. kStaleEpoch: some node is sealed by a higher epoch, see sealed_epoch(). kNoQuorum: too
  // few nodes answered.
  Status Run(const std::function<void(Lsn last_lsn)>& begin, const std::function<Status(const Frame&)>& replay);

  // Results of Run.
  const std::vector<size_t>& members() const { return members_; }  // the nodes that hold the same log
  Lsn last_lsn() const { return last_lsn_; }
  Lsn committed_lsn() const { return committed_lsn_; }  // known to be so already
  uint64_t sealed_epoch() const { return sealed_epoch_; }
  // Before that, on the steady clock, the leader before may vouch for its newest commit, so nothing is to be committed.
  std::chrono::steady_clock::time_point lease_until() const { return lease_until_; }

 private:
  struct Node {
    size_t index = 0;
    std::shared_ptr<JournalStub> stub;
    proto::SealReply seal;
    Status status;

    LogEnd end() const { return {seal.last_epoch(), seal.last_lsn()}; }
  };

  Status Seal();
  // Until the stop, so that no standby takes the nodes for deserted.
  void SealAgain(const std::stop_token& stop);
  Status Equalise(const Node& source, Node* node, Cancellation* calls, StallGuard* stall);
  // Replays what follows `after`; kNoLsn: as much of the tail as Options::replay_us says.
  Status Replay(const Node& source, Lsn after, const std::function<Status(const Frame&)>& replay, Cancellation* calls,
                StallGuard* stall);
  void SetDeadline(CancellableContext* context) const;

  const JournalEnsemble ensemble_;
  const uint64_t epoch_;
  const Options options_;
  Cancellation* const cancellation_;

  std::vector<Node> sealed_;
  std::vector<size_t> members_;
  Lsn last_lsn_ = kNoLsn;
  Lsn committed_lsn_ = kNoLsn;
  uint64_t sealed_epoch_ = 0;
  std::chrono::steady_clock::time_point lease_until_{};
};

}  // namespace concord
