// concordctl storage: which storage replicas are meant to be there. The metastore keeps the list; nobody else is asked
// but the replica itself, before it is let in, and the journal nodes, which are to wait for it no more.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <thread>

#include "proto/journal.grpc.pb.h"
#include "proto/sidecar.grpc.pb.h"
#include "sidecar/ctl/cluster.h"
#include "sidecar/ctl/report.h"
#include "sidecar/rpc/server.h"
#include "sidecar/rpc/status.h"

namespace concord::ctl {
namespace {

constexpr auto kAskTime = std::chrono::seconds(5);
constexpr int kTriesMax = 50;  // while others change the members, or a leader is made
constexpr auto kPause = std::chrono::milliseconds(100);

std::chrono::system_clock::time_point Deadline() { return std::chrono::system_clock::now() + kAskTime; }

Status CheckReplica(const Member& member, const std::string& cluster_id) {
  proto::Info info;
  grpc::ClientContext context;
  context.set_deadline(Deadline());
  const Status status = FromGrpc(proto::Sidecar::NewStub(Connect(member.address))->GetInfo(&context, {}, &info));
  const std::string who = "the process at " + member.address;
  if (!status.ok()) return {Code::kConflict, who + " does not answer: " + status.message()};
  if (info.cluster_id() != cluster_id)
    return {Code::kConflict, who + " is of cluster " + info.cluster_id() + ", not of " + cluster_id};
  if (info.node_id() != member.id) return {Code::kConflict, who + " is node " + info.node_id() + ", not " + member.id};
  if (std::find(info.roles().begin(), info.roles().end(), "storage") == info.roles().end())
    return {Code::kConflict, who + " has no role storage"};
  return Status::Ok();
}

// Edits the list until nobody has changed the members, or the leader, meanwhile. `edit`: false if all is as it is to
// be.
Status Edit(Metastore* store, const std::function<bool(std::vector<Member>*)>& edit, Membership* after) {
  Status status;
  for (int i = 0; i < kTriesMax; i++) {
    Leader leader;
    status = store->ReadMembership(after);
    if (status.ok()) status = store->ReadLeader(&leader);
    if (!status.ok() || !edit(&after->storage)) return status;
    after->version++;
    status = store->WriteMembership(*after, leader.epoch);
    if (status.code() != Code::kConflict) return status;
    std::this_thread::sleep_for(kPause);
  }
  return status;
}

void EndLease(const Member& journal, const std::string& replica, Report* report) {
  proto::ReportCheckpointRequest request;
  request.set_replica_id("storage-" + replica);
  request.set_lease_ms(0);
  proto::ReportCheckpointReply reply;
  grpc::ClientContext context;
  context.set_deadline(Deadline());
  const auto stub = proto::Journal::NewStub(Connect(journal.address));
  const grpc::Status status = stub->ReportCheckpoint(&context, request, &reply);
  if (!status.ok())
    report->Note("the journal node at " + journal.address + " does not answer (" + status.error_message() +
                 "): it waits for replica " + replica + " until its lease is over");
}

void Print(const Membership& membership, bool json, Report* report) {
  report->Section("members").emplace_back("version", membership.version);
  for (const Member& member : membership.storage)
    report->AddRow("storage", {{"id", member.id}, {"address", member.address}});
  fputs((json ? report->Json() : report->Text()).c_str(), stdout);
}

}  // namespace

ExitCode AddStorage(const MetastoreOptions& where, const std::string& cluster_id, const std::vector<std::string>& add,
                    bool json) {
  std::unique_ptr<Metastore> store;
  Status status = OpenCluster(where, cluster_id, &store);
  std::vector<Member> members;
  for (const std::string& text : add) {
    members.emplace_back();
    if (status.ok()) status = ParseMember(text, &members.back());
    if (status.ok()) status = CheckReplica(members.back(), cluster_id);
  }
  Membership after;
  if (status.ok()) {
    status = Edit(
        store.get(),
        [&](std::vector<Member>* storage) {
          const std::vector<Member> before = *storage;
          for (const Member& member : members) {
            const auto known = std::find_if(storage->begin(), storage->end(),
                                            [&](const Member& other) { return other.id == member.id; });
            if (known == storage->end())
              storage->push_back(member);
            else
              known->address = member.address;  // it has moved
          }
          return *storage != before;
        },
        &after);
  }
  if (!status.ok()) return Failed(status);
  Report report(cluster_id, "the cluster has the storage replicas that were asked for", "cluster");
  Print(after, json, &report);
  return kExitOk;
}

ExitCode RemoveStorage(const MetastoreOptions& where, const std::string& cluster_id,
                       const std::vector<std::string>& remove, bool json) {
  std::unique_ptr<Metastore> store;
  Membership after;
  Status status = OpenCluster(where, cluster_id, &store);
  if (status.ok()) status = store->ReadMembership(&after);
  for (const std::string& id : remove) {
    const auto is_it = [&](const Member& member) { return member.id == id; };
    if (status.ok() && std::none_of(after.storage.begin(), after.storage.end(), is_it))
      status = {Code::kNotFound, "node " + id + " is no storage replica of the cluster"};
  }
  const auto edit = [&](std::vector<Member>* storage) {
    return std::erase_if(*storage, [&](const Member& member) {
             return std::find(remove.begin(), remove.end(), member.id) != remove.end();
           }) > 0;
  };
  if (status.ok()) status = Edit(store.get(), edit, &after);
  if (!status.ok()) return Failed(status);
  Report report(cluster_id, "the replicas were removed, and the journal waits for them no more", "cluster");
  for (const Member& journal : after.journal) {
    for (const std::string& id : remove) EndLease(journal, id, &report);
  }
  Print(after, json, &report);
  return kExitOk;
}

}  // namespace concord::ctl
