#include "sidecar/simulation/auditor.h"

#include <chrono>

#include "core/frame.h"
#include "sidecar/lsn_text.h"
#include "sidecar/simulation/journal_stub.h"

namespace concord::simulation {

void Auditor::Start() {
  for (size_t i = 0; i < cluster_->journals().size(); i++)
    scheduler->Spawn(node_, [this, i] { Follow(cluster_->journals()[i], i); });
}

bool Auditor::Report(int journal, Lsn checkpoint) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(1));
  proto::ReportCheckpointRequest request;
  request.set_replica_id("auditor");
  request.set_checkpoint_lsn(checkpoint);
  request.set_lease_ms(3'600'000);
  proto::ReportCheckpointReply reply;
  return JournalStub(journal).ReportCheckpoint(&context, request, &reply).ok();
}

void Auditor::Follow(int journal, size_t) {
  Lsn after = kNoLsn;
  while (!Report(journal, after)) scheduler->Sleep(10 * kMs);
  for (;;) {
    SimulatedTail tail(journal, after, /*gather_ms=*/20);
    std::string frames;
    int64_t reported = scheduler->now();
    for (;;) {
      frames.clear();
      const auto event = tail.Next(1'000'000, &frames);
      if (event == TailLink::Event::kEnd) break;
      Take(frames, &after, journal);
      if (scheduler->now() - reported < kSecond) continue;
      reported = scheduler->now();
      (void)Report(journal, after);
    }
    const Status status = tail.Finish();
    if (status.code() == Code::kTooOld) {
      // On other nodes the lease may hold less, and they have trimmed what this one did not have.
      if (cluster_->begun_anew(journal) <= after)
        history_->Violation(scheduler->node(journal).name + " has trimmed what a lease holds: " + status.message());
      after = cluster_->begun_anew(journal);
    }
    scheduler->Sleep(100 * kMs);
  }
}

void Auditor::Take(const std::string& frames, Lsn* after, int journal) {
  for (std::string_view rest = frames; !rest.empty();) {
    Frame frame;
    size_t consumed = 0;
    const Status status = ParseFrame(rest, &frame, &consumed);
    if (!status.ok()) return history_->Violation("a tail brings no frame: " + status.ToString());
    const std::string bytes(rest.substr(0, consumed));
    rest.remove_prefix(consumed);
    const auto [known, is_new] = history_->journal.emplace(frame.lsn, bytes);
    if (known->second != bytes || frame.prev_lsn != *after)
      history_->Violation(scheduler->node(journal).name + " has another committed record at " + LsnText(frame.lsn) +
                          " than others have, or none before it");
    *after = frame.lsn;
    if (frame.prev_lsn == complete_) complete_ = frame.lsn;
    while (true) {
      const auto next = history_->journal.upper_bound(complete_);
      if (next == history_->journal.end()) break;
      Frame following;
      if (!ParseFrame(next->second, &following, &consumed).ok() || following.prev_lsn != complete_) break;
      complete_ = following.lsn;
    }
  }
}

}  // namespace concord::simulation
