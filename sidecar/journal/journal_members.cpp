#include "sidecar/journal/journal_members.h"

#include "proto/sidecar.grpc.pb.h"
#include "sidecar/rpc/server.h"
#include "sidecar/rpc/status.h"

namespace concord {

void JournalMembers::Fix(const std::vector<std::string>& addresses, uint32_t write_quorum) {
  for (const std::string& address : addresses) fixed_.journal.push_back({"", address});
  fixed_.write_quorum = write_quorum;
}

Status JournalMembers::Read(std::vector<JournalPeer>* peers, uint32_t* write_quorum) {
  Membership members = fixed_;
  if (store_ != nullptr) {
    if (Status s = store_->ReadMembership(&members); !s.ok()) return s;
  }
  peers->clear();
  for (const Member& member : members.journal) peers->push_back(Peer(member));
  *write_quorum = members.write_quorum;
  const std::lock_guard lock(mutex_);
  if (members.version >= version_) {
    storage_ = std::move(members.storage);
    version_ = members.version;
  }
  return Status::Ok();
}

std::vector<Member> JournalMembers::Storage(uint64_t* version) {
  const std::lock_guard lock(mutex_);
  *version = version_;
  return storage_;
}

JournalPeer JournalMembers::Peer(const Member& member) {
  std::shared_ptr<grpc::Channel> channel;
  {
    const std::lock_guard lock(mutex_);
    std::weak_ptr<grpc::Channel>& known = channels_[member.address];
    channel = known.lock();
    if (channel == nullptr) known = channel = Connect(member.address);
  }
  JournalPeer peer(proto::Journal::NewStub(channel), member,
                   [this, member, channel](grpc::ClientContext* context) { return Meet(member, channel, context); });
  if (!member.id.empty() && member.id == options_.node_id) peer.node = own_;
  return peer;
}

Status JournalMembers::Meet(const Member& member, const std::shared_ptr<grpc::Channel>& channel,
                            grpc::ClientContext* context) const {
  proto::Info info;
  const Status status = FromGrpc(proto::Sidecar::NewStub(channel)->GetInfo(context, {}, &info));
  if (!status.ok()) return status;
  if (info.cluster_id() != options_.cluster_id) {
    const Status foreign(Code::kInvalid, "the journal at " + member.address + " is of cluster " + info.cluster_id() +
                                             ", and " + options_.directory + " of cluster " + options_.cluster_id +
                                             "; it is not used (docs/failures/directory.md)");
    if (options_.on_foreign) options_.on_foreign(foreign);
    return foreign;
  }
  if (!member.id.empty() && info.node_id() != member.id)
    return {Code::kInvalid, "the journal at " + member.address + " is node " + info.node_id() +
                                ", and the members of the cluster have node " + member.id + " there; it is not used"};
  return status;
}

}  // namespace concord
