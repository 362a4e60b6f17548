#include "sidecar/storage/storage_members.h"

#include <unistd.h>

#include <algorithm>

#include "proto/sidecar.grpc.pb.h"
#include "sidecar/rpc/log.h"
#include "sidecar/rpc/server.h"
#include "sidecar/rpc/status.h"
#include "sidecar/storage/checkpoint.h"

namespace concord {
namespace {

constexpr char kRegisteredFile[] = "registered";

Status Meet(const std::shared_ptr<grpc::Channel>& channel, grpc::ClientContext* context, const Member& member,
            const std::string& cluster_id, const std::string& node_id) {
  proto::Info info;
  if (const Status s = FromGrpc(proto::Sidecar::NewStub(channel)->GetInfo(context, {}, &info)); !s.ok()) return s;
  const std::string who = "the process at " + member.address;
  if (info.cluster_id() != cluster_id)
    return {Code::kInvalid, who + " is of cluster " + info.cluster_id() + ", not of " + cluster_id};
  if (!member.id.empty() && info.node_id() != member.id)
    return {Code::kInvalid, who + " is node " + info.node_id() + ", and the cluster has node " + member.id + " there"};
  if (info.node_id() == node_id) return {Code::kInvalid, who + " is this one"};
  if (std::find(info.roles().begin(), info.roles().end(), "storage") == info.roles().end())
    return {Code::kInvalid, who + " is no storage replica"};
  return Status::Ok();
}

}  // namespace

StorageMembers::StorageMembers(Options options)
    : options_(std::move(options)),
      registered_(access((options_.directory + "/" + kRegisteredFile).c_str(), F_OK) == 0) {}

StoragePeer StorageMembers::Peer(const Member& member) const {
  const auto channel = Connect(member.address);
  return {member, proto::Storage::NewStub(channel),
          [channel, member, cluster = options_.cluster_id, self = options_.node_id](grpc::ClientContext* context) {
            return Meet(channel, context, member, cluster, self);
          }};
}

Status StorageMembers::Peers(std::vector<StoragePeer>* peers) const {
  peers->clear();
  for (const std::string& address : options_.addresses) peers->push_back(Peer({"", address}));
  if (options_.members == nullptr) return Status::Ok();
  uint64_t version = 0;
  for (const Member& member : options_.members->Storage(&version)) {
    if (member.id != options_.node_id) peers->push_back(Peer(member));
  }
  return version == 0 ? Status(Code::kUnavailable, "the members of the cluster are not known yet") : Status::Ok();
}

bool StorageMembers::Removed() {
  if (options_.members == nullptr) return false;
  uint64_t version = 0;
  const std::vector<Member> storage = options_.members->Storage(&version);
  if (version == 0) return false;
  const bool there = std::any_of(storage.begin(), storage.end(),
                                 [this](const Member& member) { return member.id == options_.node_id; });
  if (there && !registered_) {
    const Status status = CreateMark(options_.directory, kRegisteredFile);
    if (!status.ok()) RoleLog("storage")->warn("cannot note that this replica is registered: {}", status.message());
    registered_ = status.ok();
  }
  return registered_ && !there;
}

}  // namespace concord
