// One LMDB write transaction of a replica's writer, and the state that becomes the replica's when it commits.
#pragma once

#include <optional>

#include "sidecar/storage/replica.h"

namespace concord {

struct Replica::Batch {
  lmdb::Txn txn;
  std::optional<VersionWriter> writer;  // its cursors must end before txn does
  Lsn horizon = kNoLsn;
  Lsn applied = kNoLsn;
  uint64_t epoch = 0;
  uint64_t mutations = 0;
  uint64_t bytes = 0;  // of mutations since the LMDB transaction began
};

}  // namespace concord
