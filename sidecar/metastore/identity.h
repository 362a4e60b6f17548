// Whose a directory is. The first thing that is written into a new one, and never changed:
//
//   identity := "concord directory 1\n" "cluster " 32 hexadecimal digits "\n" "owner " name "\n"
//               "crc " 8 hexadecimal digits "\n"
//
// The number in its first line is the format of the directory as a whole. The cluster id is random, made with the
// directory; Postgres keeps it too (extension/ddl/storage_map.c, the gateway), so that neither takes another cluster's
// rows for its own, or an empty directory for one that was lost. The owner is the system identifier of the PostgreSQL
// cluster whose launcher made the directory, "-" if it was nobody's: so a new server, which knows no cluster yet, does
// not take another one's directory.
//
// Beside it, where there is a storage replica, lies the name by which journals know that replica, random too:
//
//   replica_id := "concord replica 1\n" "id " 32 hexadecimal digits "\n" "crc " 8 hexadecimal digits "\n"
//
// and the name by which the metastore in etcd knows the process that uses the directory, as a leader and as a journal
// node:
//
//   node_id := "concord node 1\n" "id " 32 hexadecimal digits "\n" "crc " 8 hexadecimal digits "\n"
//
// Pure functions but for the files. Thread-safe.
#pragma once

#include <functional>
#include <string>

#include "core/status.h"

namespace concord {

inline constexpr char kIdentityFile[] = "identity";
inline constexpr char kReplicaIdFile[] = "replica_id";
inline constexpr char kNodeIdFile[] = "node_id";
inline constexpr int kDirectoryFormat = 1;

// kNotFound; kCorruption; kInvalid for another format, naming both.
Status ReadClusterId(const std::string& directory, std::string* cluster_id);

// Before anything in `directory`, which is locked, is opened: makes the identity of an empty one, and refuses one that
// has lost parts or is not of the cluster `expected` (empty: any) and of `owner` (empty: anybody's). `holds_journal`: a
// journal node's directory. `choose`: the cluster of a new directory; empty: a new cluster.
Status OpenIdentity(const std::string& directory, const std::string& expected, const std::string& owner,
                    bool holds_journal, std::string* cluster_id,
                    const std::function<Status(std::string*)>& choose = {});

// The name of the storage replica in `directory`; made at its first use. Two replicas of one name would share a lease
// on the journal, and it would trim what the one of them that is behind still needs.
Status OpenReplicaId(const std::string& directory, std::string* replica_id);

// The name of the node that `directory` is; made at its first use. Two nodes of one name would be counted twice in a
// quorum.
Status OpenNodeId(const std::string& directory, std::string* node_id);

// Whether it is one of any kind: 32 hexadecimal digits.
bool IsId(const std::string& text);

// Before the directory is made or locked: kInvalid if it is not there although `expected` is to be in it.
Status RequireDirectory(const std::string& directory, const std::string& expected);

}  // namespace concord
