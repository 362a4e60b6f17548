#include "sidecar/ctl/cluster.h"

#include <cstdio>
#include <memory>

#include "sidecar/metastore/etcd_metastore.h"
#include "sidecar/metastore/identity.h"
#include "sidecar/metastore/records.h"

namespace concord::ctl {
namespace {

Status ParseMembers(const std::vector<std::string>& texts, std::vector<Member>* members) {
  for (const std::string& text : texts) {
    members->emplace_back();
    if (Status s = ParseMember(text, &members->back()); !s.ok()) return s;
  }
  return Status::Ok();
}

Status Parse(const std::vector<std::string>& journal, const std::vector<std::string>& storage, uint32_t write_quorum,
             Membership* first) {
  first->version = 1;
  if (Status s = ParseMembers(journal, &first->journal); !s.ok()) return s;
  if (Status s = ParseMembers(storage, &first->storage); !s.ok()) return s;
  first->write_quorum = write_quorum != 0 ? write_quorum : static_cast<uint32_t>(first->journal.size() / 2 + 1);
  return CheckMembership(*first);
}

Status Init(Metastore* store, const std::string& cluster_id, const Membership& first) {
  Membership present;
  const Status status = store->ReadMembership(&present);
  Leader leader;
  if (status.code() == Code::kNotFound) {
    const Status asked = store->ReadLeader(&leader);
    return asked.ok() ? store->WriteMembership(first, leader.epoch) : asked;
  }
  if (!status.ok()) return status;
  return {Code::kConflict,
          "cluster " + cluster_id + " has members already, of version " + std::to_string(present.version)};
}

}  // namespace

Status ParseMember(const std::string& text, Member* member) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos) return {Code::kInvalid, "\"" + text + "\" is not ID=ADDRESS"};
  *member = {text.substr(0, equals), text.substr(equals + 1)};
  return Status::Ok();
}

Status OpenCluster(const MetastoreOptions& where, const std::string& cluster_id, std::unique_ptr<Metastore>* store) {
  Status status = where.Check();
  if (!status.ok()) return status;
  if (!where.etcd()) return {Code::kInvalid, "--metastore has to name an etcd: a file keeps no members"};
  if (!IsId(cluster_id))
    return {Code::kInvalid, "--cluster: \"" + cluster_id + "\" is not an id of 32 hexadecimal digits"};
  EtcdClient::Options client;
  status = where.Read(&client);
  if (status.ok()) *store = std::make_unique<EtcdMetastore>(client, cluster_id);
  return status;
}

Status ReadCluster(const MetastoreOptions& where, const std::string& cluster_id, Membership* membership,
                   Leader* leader) {
  std::unique_ptr<Metastore> store;
  Status status = OpenCluster(where, cluster_id, &store);
  if (status.ok()) status = store->ReadMembership(membership);
  if (status.ok()) status = store->ReadLeader(leader);
  return status;
}

ExitCode Failed(const Status& status) {
  fprintf(stderr, "concordctl: %s\n", status.message().c_str());
  switch (status.code()) {
    case Code::kNotFound:
    case Code::kConflict: return kExitProblem;
    case Code::kInvalid: return kExitUsage;
    default: return kExitUnreadable;
  }
}

ExitCode InitCluster(const MetastoreOptions& where, const std::string& cluster_id,
                     const std::vector<std::string>& journal, const std::vector<std::string>& storage,
                     uint32_t write_quorum) {
  Membership first;
  std::unique_ptr<Metastore> store;
  Status status = Parse(journal, storage, write_quorum, &first);
  if (status.ok()) status = OpenCluster(where, cluster_id, &store);
  if (status.ok()) status = Init(store.get(), cluster_id, first);
  return status.ok() ? kExitOk : Failed(status);
}

ExitCode ShowMembers(const MetastoreOptions& where, const std::string& cluster_id, bool json) {
  Membership membership;
  Leader leader;
  const Status status = ReadCluster(where, cluster_id, &membership, &leader);
  if (!status.ok()) return Failed(status);
  const bool led = leader.epoch != 0;
  if (json) {
    printf("{\"cluster\":\"%s\",\"members\":%s,\"leader\":%s}\n", cluster_id.c_str(),
           EncodeMembership(membership).c_str(), led ? EncodeLeader(leader).c_str() : "null");
    return kExitOk;
  }
  printf("cluster %s: version %s, write quorum %u of %zu\njournal\n", cluster_id.c_str(),
         std::to_string(membership.version).c_str(), membership.write_quorum, membership.journal.size());
  for (const Member& member : membership.journal) printf("  %s  %s\n", member.id.c_str(), member.address.c_str());
  if (!membership.storage.empty()) printf("storage\n");
  for (const Member& member : membership.storage) printf("  %s  %s\n", member.id.c_str(), member.address.c_str());
  if (led)
    printf("leader of epoch %s\n  %s  %s\n", std::to_string(leader.epoch).c_str(), leader.id.c_str(),
           leader.address.c_str());
  else
    printf("no leader yet\n");
  return kExitOk;
}

}  // namespace concord::ctl
