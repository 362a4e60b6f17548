// One LMDB write transaction of a replica's writer, and the state that becomes the replica's when it commits.
#pragma once

#include <optional>
#include <set>

#include "core/parts.h"
#include "sidecar/storage/replica.h"

namespace concord {

struct Replica::Batch {
  lmdb::Txn txn;
  std::optional<VersionWriter> writer;  // its cursors must end before txn does
  Lsn horizon = kNoLsn;
  Lsn applied = kNoLsn;
  uint64_t epoch = 0;
  bool frugal = false;  // see Apply
  uint64_t mutations = 0;
  uint64_t bytes = 0;      // of mutations since the LMDB transaction began
  uint64_t values = 0;     // no value in parts that the present record completes is longer
  PartChain parts;         // of a value that is being put together
  char* value = nullptr;   // where: in LMDB's memory, which stays until the next change; null if it is not kept
  std::set<Lsn> unstaged;  // chunks that leave the staging area with its commit
};

// An error of a record of the journal.
Status Damaged(Lsn lsn, const std::string& what);
Status ParseAbandon(std::string_view body, Lsn lsn, Token* token);

}  // namespace concord
