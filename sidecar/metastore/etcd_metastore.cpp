#include "sidecar/metastore/etcd_metastore.h"

#include <algorithm>

#include "sidecar/metastore/records.h"

namespace concord {

Status EtcdMetastore::Read(Leader* leader, int64_t* revision) {
  std::string value;
  const std::string key = LeaderKey(cluster_id_);
  *leader = {};
  const Status status = client_->Get(key, &value, revision);
  return status.ok() && *revision != 0 ? DecodeLeader(key, value, leader) : status;
}

Status EtcdMetastore::Read(Membership* membership, int64_t* revision) {
  std::string value;
  const std::string key = MembershipKey(cluster_id_);
  *membership = {};
  const Status status = client_->Get(key, &value, revision);
  return status.ok() && *revision != 0 ? DecodeMembership(key, value, membership) : status;
}

Status EtcdMetastore::ReadLeader(Leader* leader) {
  int64_t revision = 0;
  return Read(leader, &revision);
}

Status EtcdMetastore::AcquireLeadership(const Leader& self, uint64_t seen, uint64_t above, uint64_t* epoch) {
  Leader newest;
  int64_t revision = 0;
  if (Status s = Read(&newest, &revision); !s.ok()) return s;
  if (newest.epoch != seen) return NotNewest(seen, newest.epoch);
  const Leader next{std::max(newest.epoch, above) + 1, self.id, self.address};
  Status status = CheckLeader(next);
  if (status.ok()) status = client_->Replace(LeaderKey(cluster_id_), revision, EncodeLeader(next), {});
  if (status.ok()) *epoch = next.epoch;
  return status;
}

Status EtcdMetastore::ReadMembership(Membership* membership) {
  int64_t revision = 0;
  const Status status = Read(membership, &revision);
  if (!status.ok() || revision != 0) return status;
  return {Code::kNotFound, "etcd has no members of cluster " + cluster_id_};
}

Status EtcdMetastore::WriteMembership(const Membership& membership, uint64_t epoch) {
  if (Status s = CheckMembership(membership); !s.ok()) return s;
  Membership present;
  int64_t revision = 0;
  if (Status s = Read(&present, &revision); !s.ok()) return s;
  if (membership.version != present.version + 1)
    return {Code::kConflict, "the membership has version " + std::to_string(present.version) + ", so version " +
                                 std::to_string(membership.version) + " cannot be the next"};
  Leader leader;
  int64_t leader_revision = 0;
  if (Status s = Read(&leader, &leader_revision); !s.ok()) return s;
  if (leader.epoch != epoch) return NotNewest(epoch, leader.epoch);
  return client_->Replace(MembershipKey(cluster_id_), revision, EncodeMembership(membership),
                          {{LeaderKey(cluster_id_), leader_revision}});
}

Status EtcdMetastore::ReportProcess(const LiveProcess& process, int seconds) {
  return client_->PutFor(ProcessKey(cluster_id_, process.id), EncodeProcess(process), seconds);
}

Status EtcdMetastore::ListProcesses(std::vector<LiveProcess>* processes) {
  processes->clear();
  std::vector<std::pair<std::string, std::string>> found;
  if (Status s = client_->GetAll(ProcessKey(cluster_id_, ""), &found); !s.ok()) return s;
  for (const auto& [key, value] : found) {
    processes->emplace_back();
    if (Status s = DecodeProcess(key, value, &processes->back()); !s.ok()) return s;
  }
  return Status::Ok();
}

}  // namespace concord
