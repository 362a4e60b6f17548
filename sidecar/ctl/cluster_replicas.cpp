#include "sidecar/ctl/cluster_replicas.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "proto/adjudicator.grpc.pb.h"
#include "proto/sidecar.grpc.pb.h"
#include "proto/storage.grpc.pb.h"
#include "sidecar/rpc/server.h"

namespace concord::ctl {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kAskTime = std::chrono::seconds(1);
constexpr uint64_t kBehindMs = 2000;

template <typename Call>
grpc::Status Ask(Call call, uint64_t* latency_us = nullptr) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kAskTime);
  const auto begun = Clock::now();
  const grpc::Status status = call(&context);
  if (latency_us != nullptr)
    *latency_us =
        static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begun).count());
  return status;
}

bool Has(const LiveProcess& process, const char* role) {
  return std::find(process.roles.begin(), process.roles.end(), role) != process.roles.end();
}

// What a replica is doing, in a word or two.
std::string StateOf(const proto::StorageStatus& status) {
  if (status.fallen()) return status.copy_bytes() > 0 ? "copies" : "waits to copy";
  return status.removed() ? "removed" : "follows";
}

void ReportReplica(const Member& member, bool registered, const std::map<std::string, uint64_t>& leases, Lsn newest,
                   Report* report) {
  const std::string name = "the storage replica at " + member.address;
  const auto channel = Connect(member.address);
  proto::Info info;
  grpc::Status answer =
      Ask([&](auto* context) { return proto::Sidecar::NewStub(channel)->GetInfo(context, {}, &info); });
  proto::StorageStatus status;
  uint64_t latency_us = 0;
  if (answer.ok())
    answer = Ask([&](auto* context) { return proto::Storage::NewStub(channel)->GetStatus(context, {}, &status); },
                 &latency_us);
  Fields row{{"id", member.id}, {"address", member.address}, {"registered", registered}, {"answers", answer.ok()}};
  const auto lease = leases.find("storage-" + member.id);
  const uint64_t lease_left_ms = lease == leases.end() ? 0 : lease->second;
  if (answer.ok() && info.node_id() != member.id) {
    report->Problem(name + " is not the member, but node " + info.node_id());
  } else if (answer.ok()) {
    const uint64_t behind_ms = BehindMs(status.applied_lsn(), newest);
    row.insert(
        row.end(),
        {{"latency_us", latency_us}, {"state", StateOf(status)}, {"applied_lsn", LsnText(status.applied_lsn())}});
    AppendBehind(status.applied_lsn(), newest, &row);
    row.insert(row.end(), {{"checkpoint_lsn", LsnText(status.checkpoint_lsn())},
                           {"horizon_lsn", LsnText(status.horizon_lsn())},
                           {"bytes", status.file_bytes()}});
    if (status.fallen()) {
      row.insert(row.end(), {{"copied_bytes", status.copied_bytes()}, {"copy_bytes", status.copy_bytes()}});
      report->Problem(name + " was away for too long, or is new: " +
                      (status.copy_bytes() > 0 ? "it copies the one at " + status.copies_from() + " and is at " +
                                                     std::to_string(status.copied_bytes() >> 20) + " of " +
                                                     std::to_string(status.copy_bytes() >> 20) + " MiB"
                                               : "it is to copy another one (" + status.copies_from() + ")"));
    } else if (behind_ms > kBehindMs) {
      report->Problem(name + " " + BehindText(status.applied_lsn(), newest));
    }
    if (status.removed())
      report->Problem(name + " has been removed from the cluster and still runs; stop it");
    else if (lease_left_ms == 0 && !status.fallen())
      report->Problem(name + " has no lease at any journal node: the journal does not wait for it");
  } else if (registered) {
    report->Problem(name + " does not answer: " + answer.error_message() +
                    (lease_left_ms > 0 ? "; the journal waits for it for " + std::to_string(lease_left_ms) + " ms more"
                                       : "; the journal waits for it no more, so it will copy another one"));
  }
  row.emplace_back("lease_left_ms", lease_left_ms);
  if (!registered && answer.ok() && !status.removed())
    report->Note(name + " is not registered, so nobody copies it; concordctl storage add " + member.id + "=" +
                 member.address);
  report->AddRow("storage", std::move(row));
}

}  // namespace

uint64_t BehindMs(Lsn lsn, Lsn newest) {
  return lsn >= newest ? 0 : ((newest >> kLsnCounterBits) - (lsn >> kLsnCounterBits)) / 1000;
}

std::string BehindText(Lsn lsn, Lsn newest) {
  return lsn == kNoLsn ? "has nothing of the journal yet"
                       : "is " + std::to_string(BehindMs(lsn, newest)) + " ms behind";
}

void AppendBehind(Lsn lsn, Lsn newest, Fields* row) {
  if (lsn != kNoLsn || newest == kNoLsn) row->emplace_back("behind_ms", BehindMs(lsn, newest));
}

void ReportStandbys(const std::vector<LiveProcess>& processes, const Leader& leader, Lsn newest, Report* report) {
  size_t standing_by = 0;
  for (const LiveProcess& process : processes) {
    if (!Has(process, "adjudicator") || process.id == leader.id) continue;
    const std::string name = "the adjudicator at " + process.address;
    proto::AdjudicatorStatus status;
    uint64_t latency_us = 0;
    const auto stub = proto::Adjudicator::NewStub(Connect(process.address));
    const grpc::Status answer = Ask([&](auto* context) { return stub->GetStatus(context, {}, &status); }, &latency_us);
    Fields row{{"id", process.id}, {"address", process.address}, {"answers", answer.ok()}};
    if (!answer.ok()) {
      report->Problem(name + " does not answer: " + answer.error_message());
    } else {
      const uint64_t behind_ms = BehindMs(status.followed_lsn(), newest);
      row.insert(row.end(), {{"latency_us", latency_us}, {"followed_lsn", LsnText(status.followed_lsn())}});
      AppendBehind(status.followed_lsn(), newest, &row);
      if (status.followed_lsn() == kNoLsn && newest != kNoLsn)
        report->Note(name + " has not begun to follow the journal yet");
      else if (behind_ms > kBehindMs)
        report->Problem(name + " " + BehindText(status.followed_lsn(), newest) +
                        ", and would take that much longer to take over");
      else
        standing_by++;
    }
    report->AddRow("standbys", std::move(row));
  }
  if (standing_by == 0) report->Note("no adjudicator stands by: nobody takes over if the leader ends");
}

void ReportStorage(const Membership& membership, const std::vector<LiveProcess>& processes,
                   const std::map<std::string, uint64_t>& leases, Lsn newest, Report* report) {
  for (const Member& member : membership.storage) ReportReplica(member, true, leases, newest, report);
  for (const LiveProcess& process : processes) {
    const bool registered = std::any_of(membership.storage.begin(), membership.storage.end(),
                                        [&](const Member& member) { return member.id == process.id; });
    if (Has(process, "storage") && !registered)
      ReportReplica({process.id, process.address}, false, leases, newest, report);
  }
}

}  // namespace concord::ctl
