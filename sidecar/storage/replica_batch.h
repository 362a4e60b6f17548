// One LMDB write transaction of a replica's writer, and the state that becomes the replica's when it commits.
#pragma once

#include <optional>
#include <set>

#include "sidecar/storage/replica.h"

namespace concord {

struct Replica::Batch {
  lmdb::Txn txn;
  std::optional<VersionWriter> writer;  // its cursors must end before txn does
  Lsn horizon = kNoLsn;
  Lsn applied = kNoLsn;
  uint64_t epoch = 0;
  uint64_t mutations = 0;
  uint64_t bytes = 0;      // of mutations since the LMDB transaction began
  std::set<Lsn> unstaged;  // chunks that leave the staging area with its commit
};

// An error of a record of the journal.
Status Damaged(Lsn lsn, const std::string& what);
Status ParseAbandon(std::string_view body, Lsn lsn, Token* token);

}  // namespace concord
