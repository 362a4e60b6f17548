// What the metastore keeps in etcd: two keys for each cluster and one for each process, with JSON that people can read
// (docs/formats.md, proto/metastore.proto).
//
// Pure functions, thread-safe.
#pragma once

#include <string>

#include "core/status.h"
#include "sidecar/metastore/metastore.h"

namespace concord {

std::string LeaderKey(const std::string& cluster_id);
std::string MembershipKey(const std::string& cluster_id);

// With an empty id, what the keys of all of them begin with.
std::string ProcessKey(const std::string& cluster_id, const std::string& node_id);

std::string EncodeLeader(const Leader& leader);
std::string EncodeMembership(const Membership& membership);
std::string EncodeProcess(const LiveProcess& process);

// kCorruption, naming `key`, for what nobody wrote who knows the format, or somebody who knows a later one.
Status DecodeLeader(const std::string& key, const std::string& json, Leader* leader);
Status DecodeMembership(const std::string& key, const std::string& json, Membership* membership);
// Of a later version too: it is only shown.
Status DecodeProcess(const std::string& key, const std::string& json, LiveProcess* process);

// kInvalid, with the reason: an id that is none, no address, an epoch or version 0; nodes twice, a quorum that is none.
Status CheckLeader(const Leader& leader);
Status CheckMembership(const Membership& membership);

}  // namespace concord
