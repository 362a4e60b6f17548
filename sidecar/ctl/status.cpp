#include "sidecar/ctl/status.h"

#include <grpcpp/grpcpp.h>
#include <sys/statvfs.h>

#include <chrono>
#include <cstdlib>

#include "proto/adjudicator.grpc.pb.h"
#include "proto/journal.grpc.pb.h"
#include "proto/sidecar.grpc.pb.h"
#include "proto/storage.grpc.pb.h"
#include "sidecar/ctl/directory.h"
#include "sidecar/rpc/clock.h"
#include "sidecar/rpc/server.h"

namespace concord::ctl {
namespace {

constexpr int kCallSeconds = 3;
constexpr uint64_t kLagToMentionMs = 2000;
constexpr uint64_t kOldHorizonMs = 60'000;
constexpr uint64_t kOldCheckpointMs = 60'000;
constexpr uint64_t kFreeBytesToMention = uint64_t{1} << 30;

uint64_t MsBetween(Lsn from, Lsn to) {
  return to <= from ? 0 : static_cast<uint64_t>(LsnToUnixUs(to) - LsnToUnixUs(from)) / 1000;
}

std::string Seconds(uint64_t ms) { return std::to_string(ms / 1000) + " s"; }

// Asks one question of a role; false if it is not served there or does not answer, which is then said.
template <typename Call, typename Request, typename Reply>
bool Ask(const char* role, Report* report, Call call, const Request& request, Reply* reply) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(kCallSeconds));
  const grpc::Status status = call(&context, request, reply);
  if (status.ok()) return true;
  if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED)
    report->Note(std::string("the role ") + role + " does not run there");
  else
    report->Problem(std::string("the role ") + role + " does not answer: " + status.error_message());
  return false;
}

class Running {
 public:
  Running(const std::string& address, Report* report) : channel_(Connect(address)), report_(report) {}

  bool Info() {
    auto stub = proto::Sidecar::NewStub(channel_);
    proto::Info info;
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(kCallSeconds));
    const grpc::Status status = stub->GetInfo(&context, {}, &info);
    if (!status.ok()) {
      report_->Problem("concordd does not answer: " + status.error_message() +
                       "; it is starting, stopped by a debugger or SIGSTOP, or overloaded; its log tells more");
      return false;
    }
    std::string roles;
    for (const std::string& role : info.roles()) roles += (roles.empty() ? "" : ",") + role;
    Fields& fields = report_->Section("process");
    fields.emplace_back("pid", info.pid());
    fields.emplace_back("version", info.version());
    fields.emplace_back("roles", roles);
    fields.emplace_back("cluster_id", info.cluster_id());
    fields.emplace_back("node_id", info.node_id());
    fields.emplace_back("running_seconds", static_cast<uint64_t>(NowUnixUs() - info.started_unix_us()) / 1000000);
    return true;
  }

  void Adjudicator() {
    auto stub = proto::Adjudicator::NewStub(channel_);
    proto::AdjudicatorStatus status;
    if (!Ask(
            "adjudicator", report_, [&](auto... a) { return stub->GetStatus(a...); }, proto::AdjudicatorStatusRequest(),
            &status))
      return;
    // Only a leader answers this.
    proto::ReadLsnReply read;
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(kCallSeconds));
    const grpc::Status leading = stub->ReadLsn(&context, {}, &read);
    if (leading.ok()) {
      committed_ = read.committed_lsn();
    } else {
      committed_ = status.committed_lsn();
      report_->Problem("the adjudicator does not lead, so nothing can be committed: " + leading.error_message());
    }
    Fields& fields = report_->Section("adjudicator");
    fields.emplace_back("leads", leading.ok());
    fields.emplace_back("epoch", status.epoch());
    fields.emplace_back("committed_lsn", LsnText(committed_));
    fields.emplace_back("committed_time", LsnTime(committed_));
    fields.emplace_back("window_start_lsn", LsnText(status.window_start_lsn()));
    fields.emplace_back("window_keys", status.window_keys());
    fields.emplace_back("range_window_start_lsn", LsnText(status.range_window_start_lsn()));
    fields.emplace_back("range_window_bytes", status.range_window_bytes());
    fields.emplace_back("tokens", status.tokens());
    fields.emplace_back("commits", status.commits());
    fields.emplace_back("conflicts", status.conflicts());
    fields.emplace_back("too_old", status.too_old());
  }

  void Journal() {
    auto stub = proto::Journal::NewStub(channel_);
    proto::JournalStatus status;
    if (!Ask(
            "journal", report_, [&](auto... a) { return stub->GetStatus(a...); }, proto::JournalStatusRequest(),
            &status))
      return;
    Fields& fields = report_->Section("journal");
    fields.emplace_back("base_lsn", LsnText(status.base_lsn()));
    fields.emplace_back("synced_lsn", LsnText(status.synced_lsn()));
    fields.emplace_back("committed_lsn", LsnText(status.committed_lsn()));
    fields.emplace_back("epoch", status.epoch());
    fields.emplace_back("sealed_epoch", status.sealed_epoch());
    fields.emplace_back("segments", status.segments());
    fields.emplace_back("bytes", status.bytes());
    fields.emplace_back("syncs", status.syncs());
    for (const proto::ReplicaLease& lease : status.leases()) {
      report_->AddRow("replicas", {{"replica", lease.replica_id()},
                                   {"checkpoint_lsn", LsnText(lease.checkpoint_lsn())},
                                   {"lease_left_ms", static_cast<uint64_t>(std::max<int64_t>(lease.left_ms(), 0))}});
    }
  }

  void Storage() {
    auto stub = proto::Storage::NewStub(channel_);
    proto::StorageStatus status;
    if (!Ask(
            "storage", report_, [&](auto... a) { return stub->GetStatus(a...); }, proto::StorageStatusRequest(),
            &status))
      return;
    const uint64_t lag_ms = MsBetween(status.applied_lsn(), committed_);
    Fields& fields = report_->Section("storage");
    fields.emplace_back("applied_lsn", LsnText(status.applied_lsn()));
    fields.emplace_back("applied_time", LsnTime(status.applied_lsn()));
    fields.emplace_back("lag_ms", lag_ms);
    fields.emplace_back("checkpoint_lsn", LsnText(status.checkpoint_lsn()));
    fields.emplace_back("horizon_lsn", LsnText(status.horizon_lsn()));
    fields.emplace_back("used_bytes", status.used_bytes());
    fields.emplace_back("map_bytes", status.map_bytes());
    fields.emplace_back("versions", status.versions());
    fields.emplace_back("dead_versions", status.dead_versions());
    fields.emplace_back("storages", status.storages());
    fields.emplace_back("dropping", status.storages_dropping());
    fields.emplace_back("reader_slots", status.readers());
    std::string oldest = "a query processor that has just fallen silent";
    Lsn lowest = ~Lsn{0};
    for (const proto::ReaderLease& lease : status.reader_leases()) {
      report_->AddRow("readers", {{"query_processor", lease.qp_id()},
                                  {"lowest_read_lsn", LsnText(lease.lowest_read_lsn())},
                                  {"lease_left_ms", static_cast<uint64_t>(std::max<int64_t>(lease.left_ms(), 0))}});
      if (lease.lowest_read_lsn() < lowest) {
        lowest = lease.lowest_read_lsn();
        oldest = lease.qp_id();
      }
    }
    if (status.removed())
      report_->Problem("the replica has been removed from the cluster: it holds back no journal any more; stop it");
    if (status.fallen())
      report_->Problem("the journal no longer has what the replica needs: " +
                       (status.copy_bytes() > 0
                            ? "it copies the one at " + status.copies_from() + ", " +
                                  std::to_string(status.copied_bytes() >> 20) + " of " +
                                  std::to_string(status.copy_bytes() >> 20) + " MiB so far"
                            : "it is to copy another one, or a backup has to be restored; " + status.copies_from()));
    else if (lag_ms > kLagToMentionMs)
      report_->Problem("the replica is " + Seconds(lag_ms) +
                       " behind the newest commit: reads wait for it; look for a full disk in the log of concordd");
    const uint64_t held_ms = MsBetween(status.horizon_lsn(), status.applied_lsn());
    if (status.horizon_lsn() != kNoLsn && held_ms > kOldHorizonMs)
      report_->Problem("a transaction of " + oldest + " has been reading for " + Seconds(held_ms) +
                       ": row versions are kept for it, and storage grows");
    const uint64_t age_ms = MsBetween(status.checkpoint_lsn(), status.applied_lsn());
    if (status.checkpoint_lsn() != kNoLsn && age_ms > kOldCheckpointMs)
      report_->Problem(
          "the replica's last checkpoint is " + Seconds(age_ms) +
          " old: the journal cannot be trimmed, and a restart after a crash of the machine replays all since");
  }

 private:
  std::shared_ptr<grpc::Channel> channel_;
  Report* const report_;
  Lsn committed_ = kNoLsn;
};

void ShowDisk(const std::string& directory, Report* report) {
  struct statvfs disk;
  if (statvfs(directory.c_str(), &disk) != 0) return;
  const uint64_t free = uint64_t{disk.f_bavail} * disk.f_frsize;
  Fields& fields = report->Section("disk");
  fields.emplace_back("free_bytes", free);
  fields.emplace_back("size_bytes", uint64_t{disk.f_blocks} * disk.f_frsize);
  if (free < kFreeBytesToMention)
    report->Problem("only " + std::to_string(free >> 20) + " MiB are free on the disk of " + directory +
                    ": commits are refused when it is full");
}

}  // namespace

ExitCode ShowStatus(const std::string& directory, const std::string& address, Report* report) {
  std::string pid, told_address;
  Status status;
  {
    Quiet quiet;
    status = quiet.Hold(directory, &pid, &told_address);
    if (status.ok()) {
      StoppedDirectory found;
      report->set_state("stopped");
      status = Look(directory, {}, &found, report);
      if (status.ok()) ShowDisk(directory, report);
      if (status.ok()) return kExitOther;
    }
  }
  if (status.code() != Code::kUnavailable) {
    report->set_state(status.code() == Code::kNotFound ? "not a Concord directory" : "cannot be read");
    report->Problem(status.message());
    return kExitUnreadable;
  }
  report->set_state("running");
  std::string where = !address.empty() ? address : told_address;
  if (where.empty()) where = "unix:" + directory + "/concordd.sock";
  report->Section("process").emplace_back("address", where);
  Running running(where, report);
  if (running.Info()) {
    running.Adjudicator();
    running.Journal();
    running.Storage();
  } else {
    report->Section("process").emplace_back("pid", pid);
  }
  ShowDisk(directory, report);
  return report->problems().empty() ? kExitOk : kExitProblem;
}

}  // namespace concord::ctl
