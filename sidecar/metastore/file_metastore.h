// A metastore in one file, for one machine. That only one process uses it is the caller's to ensure: concordd holds the
// lock of its directory.
//
//   file := "concord metastore 1\n" "epoch " decimal "\n" "crc " 8 hex digits "\n"      crc32c of all before the crc
//   line
//
// Written to a temporary file, synced, renamed, directory synced: after a crash it is the old one or the new one. A
// file that fails its check is refused, never guessed at: an epoch used twice would break the journal's fence.
#pragma once

#include <mutex>
#include <string>

#include "sidecar/metastore/metastore.h"

namespace concord {

// The epoch in such a file, 0 if there is none. kCorruption if its check does not hold, kInvalid if it is of another
// format.
Status ReadMetastoreFile(const std::string& path, uint64_t* epoch);

class FileMetastore : public Metastore {
 public:
  explicit FileMetastore(std::string path) : path_(std::move(path)) {}

  // Reads the file; one that does not exist is epoch 0.
  Status Open();
  Status ReadLeader(Leader* leader) override;
  Status AcquireLeadership(const Leader& self, uint64_t seen, uint64_t above, uint64_t* epoch) override;
  Status ReadMembership(Membership* membership) override;
  Status WriteMembership(const Membership& membership, uint64_t epoch) override;
  void Cancel() override {}  // no call waits for anybody

 private:
  std::string path_;
  std::mutex mutex_;
  uint64_t epoch_ = 0;  // guarded by mutex_; the highest that was ever written, or tried to
  bool open_ = false;   // guarded by mutex_
};

}  // namespace concord
