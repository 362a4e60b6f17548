#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <vector>

#include "proto/adjudicator.grpc.pb.h"
#include "proto/journal.grpc.pb.h"
#include "proto/sidecar.grpc.pb.h"
#include "sidecar/ctl/cluster.h"
#include "sidecar/ctl/cluster_replicas.h"
#include "sidecar/ctl/report.h"
#include "sidecar/rpc/server.h"

namespace concord::ctl {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kAskTime = std::chrono::seconds(1);
constexpr uint64_t kBehindMs = 2000;

struct Node {
  Member member;
  grpc::Status answer;
  proto::Info info;
  proto::JournalStatus status;
  uint64_t latency_us = 0;
};

Node AskJournal(const Member& member) {
  Node node;
  node.member = member;
  const auto channel = Connect(member.address);
  const auto ask = [&](auto call) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kAskTime);
    return call(&context);
  };
  node.answer = ask([&](auto* context) { return proto::Sidecar::NewStub(channel)->GetInfo(context, {}, &node.info); });
  if (!node.answer.ok()) return node;
  // The second call: the first has made the connection.
  const auto begun = Clock::now();
  node.answer =
      ask([&](auto* context) { return proto::Journal::NewStub(channel)->GetStatus(context, {}, &node.status); });
  node.latency_us =
      static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begun).count());
  return node;
}

// What the leader says of a node; null if it does not lead, or knows none of that id.
const proto::JournalProgress* Progress(const proto::AdjudicatorStatus& leader, const std::string& id) {
  for (const auto& node : leader.journal()) {
    if (leader.leads() && node.id() == id) return &node;
  }
  return nullptr;
}

void ReportJournal(const Node& node, Lsn newest, const proto::AdjudicatorStatus& leader, Report* report) {
  const std::string name = "the journal node at " + node.member.address;
  Fields row{{"id", node.member.id}, {"address", node.member.address}, {"answers", node.answer.ok()}};
  if (!node.answer.ok()) {
    report->Problem(name + " does not answer: " + node.answer.error_message());
  } else {
    const uint64_t behind_ms = BehindMs(node.status.synced_lsn(), newest);
    row.insert(row.end(), {{"latency_us", node.latency_us},
                           {"sealed_epoch", node.status.sealed_epoch()},
                           {"takes_records", node.status.writer_live()},
                           {"synced_lsn", LsnText(node.status.synced_lsn())}});
    AppendBehind(node.status.synced_lsn(), newest, &row);
    row.emplace_back("bytes", node.status.bytes());
    const proto::JournalProgress* const progress = Progress(leader, node.member.id);
    if (progress != nullptr) {
      row.insert(row.end(), {{"written", progress->written()},
                             {"queued_bytes", progress->queued_bytes()},
                             {"sync_us", progress->sync_us()}});
      if (!progress->written()) report->Problem(name + " is catching up, or cannot be reached by the leader");
    }
    if (node.info.node_id() != node.member.id)
      report->Problem(name + " is not the member, but node " + node.info.node_id() + "; it is not used");
    else if (!node.status.writer_live())
      report->Problem(name + " gets no records from a leader");
    if (behind_ms > kBehindMs) report->Problem(name + " " + BehindText(node.status.synced_lsn(), newest));
  }
  report->AddRow("journal", std::move(row));
}

void ReportLeader(const Leader& leader, proto::AdjudicatorStatus* known, Report* report) {
  Fields& fields = report->Section("leader");
  fields.emplace_back("epoch", leader.epoch);
  if (leader.epoch == 0) return report->Problem("nobody has led this cluster yet");
  fields.emplace_back("id", leader.id);
  fields.emplace_back("address", leader.address);
  const auto stub = proto::Adjudicator::NewStub(Connect(leader.address));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kAskTime);
  proto::ReadLsnReply reply;
  const auto begun = Clock::now();
  const grpc::Status status = stub->ReadLsn(&context, {}, &reply);
  fields.emplace_back("leads", status.ok() && reply.epoch() == leader.epoch);
  if (!status.ok())
    return report->Problem("the leader of epoch " + std::to_string(leader.epoch) + " at " + leader.address +
                           " does not lead: " + status.error_message());
  const auto latency = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begun).count();
  fields.emplace_back("latency_us", static_cast<uint64_t>(latency));
  grpc::ClientContext status_context;
  status_context.set_deadline(std::chrono::system_clock::now() + kAskTime);
  (void)stub->GetStatus(&status_context, {}, known);
  fields.emplace_back("committed_lsn", LsnText(reply.committed_lsn()));
  fields.emplace_back("committed_time", LsnTime(reply.committed_lsn()));
}

}  // namespace

ExitCode ShowCluster(const MetastoreOptions& where, const std::string& cluster_id, bool json) {
  Membership membership;
  Leader leader;
  std::unique_ptr<Metastore> store;
  std::vector<LiveProcess> processes;
  Status status = OpenCluster(where, cluster_id, &store);
  if (status.ok()) status = store->ReadMembership(&membership);
  if (status.ok()) status = store->ReadLeader(&leader);
  if (status.ok()) status = store->ListProcesses(&processes);
  if (!status.ok()) return Failed(status);

  Report report(cluster_id, "", "cluster");
  Fields& fields = report.Section("members");
  fields.emplace_back("version", membership.version);
  fields.emplace_back("journal_nodes", membership.journal.size());
  fields.emplace_back("write_quorum", uint64_t{membership.write_quorum});
  fields.emplace_back("storage_replicas", membership.storage.size());
  proto::AdjudicatorStatus known;
  ReportLeader(leader, &known, &report);
  std::vector<Node> nodes;
  Lsn newest = kNoLsn;
  size_t live = 0;
  std::map<std::string, uint64_t> leases;
  for (const Member& member : membership.journal) {
    nodes.push_back(AskJournal(member));
    if (!nodes.back().answer.ok() || nodes.back().info.node_id() != member.id) continue;
    newest = std::max<Lsn>(newest, nodes.back().status.synced_lsn());
    live += nodes.back().status.writer_live();
    for (const auto& lease : nodes.back().status.leases()) {
      uint64_t& left_ms = leases[lease.replica_id()];
      left_ms = std::max(left_ms, static_cast<uint64_t>(std::max<int64_t>(lease.left_ms(), 0)));
    }
  }
  ReportStandbys(processes, leader, newest, &report);
  for (const Node& node : nodes) ReportJournal(node, newest, known, &report);
  for (const auto& node : known.journal()) {
    if (known.leads() && !node.counted())
      report.AddRow("joining", {{"id", node.id()}, {"address", node.address()}, {"written", node.written()}});
  }
  ReportStorage(membership, processes, leases, newest, &report);
  if (live < membership.write_quorum)
    report.Problem("only " + std::to_string(live) + " of " + std::to_string(nodes.size()) +
                   " journal nodes get records, and " + std::to_string(membership.write_quorum) +
                   " are needed: nothing can be committed");
  report.set_state(report.problems().empty() ? "all is well" : "something is wrong");
  fputs((json ? report.Json() : report.Text()).c_str(), stdout);
  return report.problems().empty() ? kExitOk : kExitProblem;
}

}  // namespace concord::ctl
