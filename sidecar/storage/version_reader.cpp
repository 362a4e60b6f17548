#include "sidecar/storage/version_reader.h"

#include <cstring>

namespace concord {
namespace {

MDB_val MakeVersioned(std::string_view key, uint64_t version, char (&bytes)[kMaxVersionedKey]) {
  memcpy(bytes, key.data(), key.size());
  StoreBe64(bytes + key.size(), version);
  return {key.size() + kVersionSize, bytes};
}

}  // namespace

Status ReadVersion(MDB_txn* txn, MDB_dbi dbi, std::string_view key, Lsn read_lsn, VisibleVersion* out) {
  const Status absent(Code::kNotFound, "no such key");
  if (key.size() < kPrefixSize || key.size() > kMaxKey) return absent;
  lmdb::Cursor cursor;
  if (Status s = cursor.Open(txn, dbi); !s.ok()) return s;
  char bytes[kMaxVersionedKey];
  MDB_val k = MakeVersioned(key, ~read_lsn, bytes), v;
  const int rc = mdb_cursor_get(cursor.get(), &k, &v, MDB_SET_RANGE);
  if (rc == MDB_NOTFOUND) return absent;
  if (rc != 0) return lmdb::Error(rc, "read");
  if (UnversionedKey(lmdb::View(k)) != key || v.mv_size == 0) return absent;
  *out = {UnversionedKey(lmdb::View(k)), lmdb::View(v), VersionLsn(lmdb::View(k))};
  return Status::Ok();
}

VersionCursor::VersionCursor(std::string lower, std::string upper, Lsn read_lsn, bool reverse)
    : lower_(std::move(lower)), upper_(std::move(upper)), read_lsn_(read_lsn), reverse_(reverse) {}

Status VersionCursor::Open(MDB_txn* txn, MDB_dbi dbi) {
  if (Status s = cursor_.Open(txn, dbi); !s.ok()) return s;
  if (!reverse_) {
    if (begun_) {
      rc_ = SkipForward(last_);
    } else if (lower_.empty()) {
      rc_ = Move(MDB_FIRST);
    } else {
      key_ = lmdb::Val(std::string_view(lower_).substr(0, kMaxVersionedKey));
      rc_ = Move(MDB_SET_RANGE);
      // A key that is a proper prefix of the bound is below it, though its versions may stand behind it.
      while (rc_ == 0 && Key() < lower_) rc_ = SkipForward(Key());
    }
  } else {
    rc_ = begun_ ? SkipBackward(last_) : SeekLast(upper_);
  }
  returned_ = {};
  return rc_ == 0 || rc_ == MDB_NOTFOUND ? Status::Ok() : lmdb::Error(rc_, "scan");
}

void VersionCursor::Close() {
  if (!returned_.empty()) {
    last_ = returned_;
    begun_ = true;
    returned_ = {};
  }
  cursor_.Close();
}

int VersionCursor::Seek(std::string_view key, uint64_t version) {
  char bytes[kMaxVersionedKey];
  key_ = MakeVersioned(key, version, bytes);
  return Move(MDB_SET_RANGE);
}

int VersionCursor::SkipForward(std::string_view key) { return Seek(key, ~uint64_t{0}); }  // LSN 0: never written

int VersionCursor::SkipBackward(std::string_view key) {
  const int rc = Seek(key, 0);
  if (rc == MDB_NOTFOUND) return Move(MDB_LAST);
  return rc != 0 ? rc : Move(MDB_PREV);
}

int VersionCursor::SeekLast(std::string_view bound) {
  if (bound.empty()) return Move(MDB_LAST);
  key_ = lmdb::Val(bound.substr(0, kMaxVersionedKey));
  int rc = Move(MDB_SET_RANGE);
  while (rc == 0 && Key() < bound) rc = SkipForward(Key());  // a proper prefix of the bound, see Open
  if (rc == MDB_NOTFOUND) return Move(MDB_LAST);
  return rc != 0 ? rc : Move(MDB_PREV);
}

Status VersionCursor::GiveUp(std::string_view passed, VisibleVersion* out) {
  *out = {passed, {}, kNoLsn};
  return {Code::kUnavailable, "too much has been passed"};
}

Status VersionCursor::Next(VisibleVersion* out) { return reverse_ ? NextBackward(out) : NextForward(out); }

Status VersionCursor::NextForward(VisibleVersion* out) {
  std::string_view dead = returned_;  // key whose remaining versions are of no interest: returned, or found deleted
  std::string_view stepped;           // key of which `steps` versions have been stepped over
  for (int steps = 0; rc_ == 0;) {
    const std::string_view key = Key();
    if (!upper_.empty() && key >= upper_) break;
    if (key != stepped) {
      if (!stepped.empty() && !HasSteps()) return GiveUp(stepped, out);
      stepped = key;
      steps = 0;
    }
    if (key == dead) {
      rc_ = ++steps < kStepsBeforeSeek ? Move(MDB_NEXT) : SkipForward(key);
      continue;
    }
    if (VersionHere() > read_lsn_) {
      rc_ = ++steps < kStepsBeforeSeek ? Move(MDB_NEXT) : Seek(key, ~read_lsn_);
      continue;
    }
    if (value_.mv_size == 0) {
      dead = key;
      rc_ = Move(MDB_NEXT);
      continue;
    }
    *out = {key, lmdb::View(value_), VersionHere()};
    returned_ = key;
    rc_ = Move(MDB_NEXT);
    return Status::Ok();
  }
  if (rc_ != 0 && rc_ != MDB_NOTFOUND) return lmdb::Error(rc_, "scan");
  rc_ = MDB_NOTFOUND;
  return {Code::kNotFound, "end of range"};
}

// The cursor stands at the oldest version of a key not looked at yet, and moves towards newer ones.
Status VersionCursor::NextBackward(VisibleVersion* out) {
  std::string_view passed;
  while (rc_ == 0) {
    const std::string_view key = Key();
    if (key < lower_) break;
    if (!passed.empty() && !HasSteps()) return GiveUp(passed, out);
    passed = key;
    bool found = false;
    VisibleVersion visible{};
    for (int steps = 0; rc_ == 0 && Key() == key; steps++) {
      if (VersionHere() > read_lsn_) {  // and so are all before it
        rc_ = steps < kStepsBeforeSeek ? Move(MDB_PREV) : SkipBackward(key);
        continue;
      }
      if (steps >= kStepsBeforeSeek) {
        rc_ = Seek(key, ~read_lsn_);  // lands on a version of this key: here is one
        if (rc_ != 0) break;
      }
      found = value_.mv_size != 0;
      visible = {key, lmdb::View(value_), VersionHere()};
      rc_ = steps >= kStepsBeforeSeek ? SkipBackward(key) : Move(MDB_PREV);
    }
    if (rc_ != 0 && rc_ != MDB_NOTFOUND) break;
    if (!found) continue;
    *out = visible;
    returned_ = key;
    return Status::Ok();
  }
  if (rc_ != 0 && rc_ != MDB_NOTFOUND) return lmdb::Error(rc_, "scan");
  rc_ = MDB_NOTFOUND;
  return {Code::kNotFound, "end of range"};
}

}  // namespace concord
