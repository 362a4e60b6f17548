// concordctl journal: asks the leader to change the journal's members, and waits until it has.
#include <chrono>
#include <cstdio>

#include "proto/adjudicator.grpc.pb.h"
#include "sidecar/ctl/cluster.h"
#include "sidecar/ctl/report.h"
#include "sidecar/rpc/server.h"
#include "sidecar/rpc/status.h"

namespace concord::ctl {

ExitCode ChangeJournal(const MetastoreOptions& where, const std::string& cluster_id, const JournalEdit& edit,
                       bool json) {
  proto::ChangeJournalRequest request;
  request.set_write_quorum(edit.write_quorum);
  for (const std::string& id : edit.remove) request.add_remove(id);
  Status status;
  for (const std::string& text : edit.add) {
    Member member;
    if (status.ok()) status = ParseMember(text, &member);
    auto* add = request.add_add();
    add->set_id(member.id);
    add->set_address(member.address);
  }
  Membership before, after;
  Leader leader;
  if (status.ok()) status = ReadCluster(where, cluster_id, &before, &leader);
  if (status.ok() && leader.epoch == 0)
    status = {Code::kNotFound, "nobody has led cluster " + cluster_id + " yet, and it takes a leader to change it"};
  if (!status.ok()) return Failed(status);

  const auto stub = proto::Adjudicator::NewStub(Connect(leader.address));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(edit.timeout_s));
  proto::ChangeJournalReply reply;
  const grpc::Status answer = stub->ChangeJournal(&context, request, &reply);
  if (!answer.ok()) {
    // Of what it came to, the metastore knows.
    status = FromGrpc(answer);
    if (answer.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED)
      status = {Code::kConflict,
                "the new members were not there after " + std::to_string(edit.timeout_s) +
                    " s (--timeout); unless it was in its last step, the change is given up: see cluster "
                    "members"};
    else if (status.code() != Code::kInvalid)
      status = {Code::kConflict,
                "the leader at " + leader.address + " has not changed the members: " + status.message()};
    return Failed(status);
  }
  status = ReadCluster(where, cluster_id, &after, &leader);
  if (!status.ok()) return Failed(status);

  Report report(cluster_id, "the journal has the members that were asked for", "cluster");
  Fields& fields = report.Section("members");
  fields.emplace_back("version", after.version);
  fields.emplace_back("journal_nodes", after.journal.size());
  fields.emplace_back("write_quorum", uint64_t{after.write_quorum});
  for (const Member& member : after.journal) report.AddRow("journal", {{"id", member.id}, {"address", member.address}});
  fputs((json ? report.Json() : report.Text()).c_str(), stdout);
  return kExitOk;
}

}  // namespace concord::ctl
