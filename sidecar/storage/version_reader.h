// Reads of versioned keys as of an LSN, over one LMDB database inside one read transaction: one key, or the visible
// keys of a range in either direction.
//
// A key's versions stand together, newest first (no key of a storage is a proper prefix of another). The version that a
// read at S sees is the first at or below S; if that is a tombstone, or there is none, the key is not there. Few dead
// versions are stepped over, many are skipped by a seek.
//
// Not thread-safe. Views point into the map and are good until the transaction ends.
#pragma once

#include <string>
#include <string_view>

#include "core/key.h"
#include "core/lsn.h"
#include "core/status.h"
#include "sidecar/storage/lmdb.h"

namespace concord {

struct VisibleVersion {
  std::string_view key;  // unversioned
  std::string_view value;
  Lsn lsn;
};

// kNotFound if `key` has no visible value at `read_lsn`.
Status ReadVersion(MDB_txn* txn, MDB_dbi dbi, std::string_view key, Lsn read_lsn, VisibleVersion* out);

class VersionCursor {
 public:
  // Keys of [lower, upper), an empty `upper` being no bound, in key order or its reverse.
  VersionCursor(std::string lower, std::string upper, Lsn read_lsn, bool reverse);

  // Begins, or goes on after the last key returned, in a new transaction.
  Status Open(MDB_txn* txn, MDB_dbi dbi);
  // Before the transaction ends; the place is kept.
  void Close();
  // The next visible key; kNotFound at the end. kUnavailable where LimitSteps ends it: out->key is the last key that
  // has been passed.
  Status Next(VisibleVersion* out);
  // From now on each move of the cursor takes one from *left, and where there is none left, no more is passed than a
  // key.
  void LimitSteps(int64_t* left) { steps_left_ = left; }

 private:
  static constexpr int kStepsBeforeSeek = 4;

  static Status GiveUp(std::string_view passed, VisibleVersion* out);
  Status NextForward(VisibleVersion* out);
  Status NextBackward(VisibleVersion* out);
  int Seek(std::string_view key, uint64_t version);  // to the first version at or after `key version`
  int Move(MDB_cursor_op op) {
    if (steps_left_ != nullptr) --*steps_left_;
    return mdb_cursor_get(cursor_.get(), &key_, &value_, op);
  }
  bool HasSteps() const { return steps_left_ == nullptr || *steps_left_ > 0; }
  std::string_view Key() const { return UnversionedKey(lmdb::View(key_)); }
  Lsn VersionHere() const { return VersionLsn(lmdb::View(key_)); }
  int SkipForward(std::string_view key);   // past all versions of `key`
  int SkipBackward(std::string_view key);  // before all versions of `key`
  int SeekLast(std::string_view bound);    // to the last version of the last key below `bound`

  const std::string lower_;
  const std::string upper_;
  const Lsn read_lsn_;
  const bool reverse_;
  lmdb::Cursor cursor_;
  int64_t* steps_left_ = nullptr;
  MDB_val key_{};  // where the cursor stands: at a version not looked at yet
  MDB_val value_{};
  int rc_ = MDB_NOTFOUND;  // of the move that led there
  bool begun_ = false;
  std::string last_;  // the last key returned, kept by Close
  std::string_view returned_;
};

}  // namespace concord
