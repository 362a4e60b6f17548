// A Concord directory seen from outside: whether a concordd uses it, and what its files say. Nothing here writes, makes
// or removes anything.
//
// Not thread-safe.
#pragma once

#include <string>

#include "core/status.h"
#include "sidecar/ctl/report.h"
#include "sidecar/journal/segment_scan.h"
#include "sidecar/storage/checkpoint.h"
#include "sidecar/storage/replica_check.h"

namespace concord::ctl {

// The flock of DIR/lock, held shared: no concordd can start meanwhile.
class Quiet {
 public:
  Quiet() = default;
  ~Quiet();
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;

  // kUnavailable if a concordd uses the directory; `*pid` and `*address` are what it says about itself there, which may
  // be nothing. kNotFound if there is no such directory, or no lock in it: no concordd has ever used it.
  Status Hold(const std::string& directory, std::string* pid, std::string* address);

 private:
  int fd_ = -1;
};

// What a stopped directory's files hold. Each part adds its section, notes and problems to the report.
struct StoppedDirectory {
  std::string cluster_id;
  uint64_t epoch = 0;  // of the metastore
  bool has_journal = false;
  journal::SegmentScanner::State journal;
  Status journal_status;
  Lsn next_lsn_after_applied = kNoLsn;  // of the journal's first record behind the replica's applied LSN
  bool applied_is_record = false;       // or the journal begins or ends there
  bool has_storage = false;
  SavedMeta saved;
  Status saved_status;
  bool goes_back = false;  // to its checkpoint, when it is opened next
  ReplicaContents replica;
};

struct LookOptions {
  bool contents = false;  // verify everything, not only what tells the state
};

// kInvalid: of a format that this program does not know. kIoError: cannot be read. What is merely wrong is in the
// report.
Status Look(const std::string& directory, const LookOptions& options, StoppedDirectory* found, Report* report);

}  // namespace concord::ctl
