// Checks what a storage replica's file says against itself: the grammar of keys and values, the order of versions, the
// fixed fields and counters of `meta`, and index entries against rows as of the applied LSN. It reads with page_walk.h,
// so nothing is changed and damaged pages do no harm.
//
// Which index belongs to which table is known to Postgres' catalogs only. So it is asked for each index storage that
// some table storage has a row for every entry, and that no row has two; concord.check() in SQL compares one index with
// its own table, columns included.
//
// The replica must be stopped. Memory: eight bytes for each row and entry. Not thread-safe.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/key.h"
#include "core/lsn.h"
#include "core/replica_layout.h"
#include "core/status.h"
#include "sidecar/storage/page_walk.h"

namespace concord {

// In the order in which they are to be read: meta tells what the others are held against.
const std::vector<std::string>& ReplicaDatabaseNames();

struct ReplicaCheckOptions {
  std::string meta_pages;  // as in PageWalkOptions
  bool contents = true;    // false: pages, and the fields of meta
  Lsn next_record_lsn =
      kNoLsn;  // the record after the applied LSN may have been applied in part; kNoLsn: there is none
  size_t problems_max = 20;
};

struct ReplicaContents {
  uint32_t format = 0;
  Lsn applied = kNoLsn;
  Lsn horizon = kNoLsn;
  Lsn staged_from = kNothingStaged;
  uint64_t epoch = 0;
  uint64_t versions = 0;
  uint64_t rows = 0;     // live ones, of all tables
  uint64_t entries = 0;  // live ones, of all indexes
  uint64_t storages = 0;
  uint64_t dropping = 0;
  uint64_t staged = 0;  // chunks
  PageWalkResult pages;
  std::vector<std::string> problems;  // of the pages first
  // kInvalid: of another format; nothing else was looked at.
  Status unsupported;

  // After which record the journal is needed, to start from this state.
  Lsn replay_from() const { return std::min(applied, staged_from); }
};

// An error only if `path` (data.mdb) cannot be read.
Status CheckReplica(const std::string& path, const ReplicaCheckOptions& options, ReplicaContents* contents);

}  // namespace concord
