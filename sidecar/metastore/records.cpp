#include "sidecar/metastore/records.h"

#include <google/protobuf/util/json_util.h>

#include <set>

#include "proto/metastore.pb.h"
#include "sidecar/adjudicator/quorum.h"
#include "sidecar/metastore/identity.h"

namespace concord {
namespace {

std::string ToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string json;
  (void)google::protobuf::util::MessageToJsonString(message, &json, options);  // fails for google.protobuf.Any only
  return json;
}

Status Damaged(const std::string& key, const std::string& reason) {
  return {Code::kCorruption, "the value of etcd's key " + key + " is not understood: " + reason};
}

// Fields that this version does not know are an error: they may mean that the rest means something else.
Status FromJson(const std::string& key, const std::string& json, google::protobuf::Message* message) {
  const auto status = google::protobuf::util::JsonStringToMessage(json, message);
  return status.ok() ? Status::Ok() : Damaged(key, status.ToString());
}

Status CheckNode(const std::string& id, const std::string& address) {
  if (!IsId(id)) return {Code::kInvalid, "\"" + id + "\" is not an id of 32 hexadecimal digits"};
  if (address.empty()) return {Code::kInvalid, "node " + id + " has no address"};
  return Status::Ok();
}

Status CheckMembers(const std::vector<Member>& members) {
  std::set<std::string> ids, addresses;
  for (const Member& member : members) {
    if (Status s = CheckNode(member.id, member.address); !s.ok()) return s;
    if (!ids.insert(member.id).second) return {Code::kInvalid, "node " + member.id + " is there twice"};
    if (!addresses.insert(member.address).second)
      return {Code::kInvalid, "address " + member.address + " is there twice"};
  }
  return Status::Ok();
}

}  // namespace

std::string LeaderKey(const std::string& cluster_id) { return "/concord/" + cluster_id + "/leader"; }
std::string MembershipKey(const std::string& cluster_id) { return "/concord/" + cluster_id + "/members"; }

std::string ProcessKey(const std::string& cluster_id, const std::string& node_id) {
  return "/concord/" + cluster_id + "/processes/" + node_id;
}

std::string EncodeLeader(const Leader& leader) {
  proto::LeaderRecord record;
  record.set_epoch(leader.epoch);
  record.set_id(leader.id);
  record.set_address(leader.address);
  return ToJson(record);
}

std::string EncodeMembership(const Membership& membership) {
  proto::MembershipRecord record;
  record.set_version(membership.version);
  for (const Member& member : membership.journal) {
    auto* node = record.add_journal();
    node->set_id(member.id);
    node->set_address(member.address);
  }
  record.set_write_quorum(membership.write_quorum);
  for (const Member& member : membership.storage) {
    auto* node = record.add_storage();
    node->set_id(member.id);
    node->set_address(member.address);
  }
  return ToJson(record);
}

std::string EncodeProcess(const LiveProcess& process) {
  proto::ProcessRecord record;
  record.set_id(process.id);
  record.set_address(process.address);
  for (const std::string& role : process.roles) record.add_roles(role);
  record.set_version(process.version);
  return ToJson(record);
}

Status DecodeLeader(const std::string& key, const std::string& json, Leader* leader) {
  proto::LeaderRecord record;
  if (Status s = FromJson(key, json, &record); !s.ok()) return s;
  *leader = {record.epoch(), record.id(), record.address()};
  const Status status = CheckLeader(*leader);
  return status.ok() ? status : Damaged(key, status.message());
}

Status DecodeMembership(const std::string& key, const std::string& json, Membership* membership) {
  proto::MembershipRecord record;
  if (Status s = FromJson(key, json, &record); !s.ok()) return s;
  *membership = {record.version(), {}, record.write_quorum(), {}};
  for (const auto& node : record.journal()) membership->journal.push_back({node.id(), node.address()});
  for (const auto& node : record.storage()) membership->storage.push_back({node.id(), node.address()});
  const Status status = CheckMembership(*membership);
  return status.ok() ? status : Damaged(key, status.message());
}

Status DecodeProcess(const std::string& key, const std::string& json, LiveProcess* process) {
  proto::ProcessRecord record;
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  const auto status = google::protobuf::util::JsonStringToMessage(json, &record, options);
  if (!status.ok()) return Damaged(key, status.ToString());
  *process = {record.id(), record.address(), {record.roles().begin(), record.roles().end()}, record.version()};
  return Status::Ok();
}

Status CheckLeader(const Leader& leader) {
  if (leader.epoch == 0) return {Code::kInvalid, "epoch 0 is nobody's"};
  return CheckNode(leader.id, leader.address);
}

Status CheckMembership(const Membership& membership) {
  if (membership.version == 0) return {Code::kInvalid, "version 0 is no membership's"};
  for (const auto* members : {&membership.journal, &membership.storage}) {  // one process may be both
    if (Status s = CheckMembers(*members); !s.ok()) return s;
  }
  if (membership.journal.empty()) return {Code::kInvalid, "there is no journal node"};
  if (!ValidEnsemble(membership.journal.size(), membership.write_quorum))
    return {Code::kInvalid, "the write quorum must be more than half of the " +
                                std::to_string(membership.journal.size()) + " journal nodes"};
  return Status::Ok();
}

}  // namespace concord
