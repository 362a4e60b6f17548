// What the metastore keeps in etcd: two keys for each cluster, with JSON that people can read (docs/formats.md,
// proto/metastore.proto).
//
// Pure functions, thread-safe.
#pragma once

#include <string>

#include "core/status.h"
#include "sidecar/metastore/metastore.h"

namespace concord {

std::string LeaderKey(const std::string& cluster_id);
std::string MembershipKey(const std::string& cluster_id);

std::string EncodeLeader(const Leader& leader);
std::string EncodeMembership(const Membership& membership);

// kCorruption, naming `key`, for what nobody wrote who knows the format, or somebody who knows a later one.
Status DecodeLeader(const std::string& key, const std::string& json, Leader* leader);
Status DecodeMembership(const std::string& key, const std::string& json, Membership* membership);

// kInvalid, with the reason: an id that is none, no address, an epoch or version 0; nodes twice, a quorum that is none.
Status CheckLeader(const Leader& leader);
Status CheckMembership(const Membership& membership);

}  // namespace concord
