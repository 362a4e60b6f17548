#include "sidecar/storage/read_batch.h"

#include <algorithm>
#include <cstring>

#include "core/key.h"
#include "core/read_wire.h"
#include "core/replica_layout.h"
#include "sidecar/storage/version_reader.h"

namespace concord {
namespace {

constexpr uint32_t kMaxEntries = 20'000;  // so that a transaction stays short
constexpr uint32_t kMaxStorages = 10'000;

// A seek may be for the least key behind another one: that with a zero byte.
bool IsKey(std::string_view key) {
  return key.size() >= kPrefixSize && key.size() <= kMaxKey + 1 && KeySpace(key) <= Space::kEntry;
}

Status Malformed(const char* what) { return {Code::kInvalid, std::string("a read with ") + what}; }

class Filler {
 public:
  Filler(const Replica& replica, const ReplicaView& view, Lsn read_lsn, const ReadRequestView& request, int64_t steps)
      : replica_(replica),
        view_(view),
        read_lsn_(read_lsn),
        request_(request),
        limit_(std::min(std::max<uint32_t>(request.limit, 1), kMaxReadBatchBytes)),
        steps_(steps),
        batch_(view.applied(), view.horizon()) {}

  Status Fill();
  std::string Finish() { return batch_.Finish(more_); }

 private:
  Status Get();
  Status Scan();
  Status ScanVersions(const std::string& high);
  Status Part();
  Status Counters();
  Status Storages();
  Status Many();

  bool Full() const { return batch_.size() - kBatchHeaderSize >= limit_ || batch_.count() >= kMaxEntries; }
  bool IsBeyondStop(std::string_view key) const {
    if (request_.bounds.stop.empty()) return false;
    return (request_.flags & kReadReverse) != 0 ? key < request_.bounds.stop : key >= request_.bounds.stop;
  }
  void Add(const VisibleVersion& version, uint16_t flags = 0) {
    batch_.Add({version.lsn, version.value.size(), flags, version.key, version.value.substr(0, kMaxHereBytes)});
  }
  // The end of a scan that gives up.
  void AddPassed(std::string_view key, Lsn lsn) {
    batch_.Add({lsn, 0, kEntryPassed, key, {}});
    more_ = true;
  }
  Status AddAbsent(std::string_view key);
  Status AddRowOf(const VisibleVersion& entry);

  const Replica& replica_;
  const ReplicaView& view_;
  const Lsn read_lsn_;
  ReadRequestView request_;
  const size_t limit_;
  int64_t steps_;  // left
  BatchWriter batch_;
  bool more_ = false;
};

Status Filler::Fill() {
  switch (request_.kind) {
    case ReadKind::kGet: return Get();
    case ReadKind::kScan: return Scan();
    case ReadKind::kPart: return Part();
    case ReadKind::kCounters: return Counters();
    case ReadKind::kStorages: return Storages();
    case ReadKind::kMany: return Many();
  }
  return Malformed("an unknown kind");
}

// With the next key behind it of which there is any version: whoever loads an index asks for one key after another
// where there are none.
Status Filler::AddAbsent(std::string_view key) {
  lmdb::Cursor cursor;
  if (Status s = cursor.Open(view_.txn(), view_.DbFor(key)); !s.ok()) return s;
  char sought[kMaxVersionedKey];
  memcpy(sought, key.data(), key.size());
  StoreBe64(sought + key.size(), ~read_lsn_);
  MDB_val k = {key.size() + kVersionSize, sought}, v;
  const int rc = mdb_cursor_get(cursor.get(), &k, &v, MDB_SET_RANGE);
  if (rc != 0 && rc != MDB_NOTFOUND) return lmdb::Error(rc, "read");
  std::string_view next;
  if (rc == 0) next = UnversionedKey(lmdb::View(k));
  // The key itself: there is a tombstone of it, and nothing is known of what lies behind.
  batch_.Add({kNoLsn, 0, kEntryAbsent, key, next});
  return Status::Ok();
}

Status Filler::Get() {
  for (std::string_view key; !request_.keys.empty();) {
    if (!request_.NextKey(&key) || !IsKey(key) || key.size() > kMaxKey) return Malformed("a malformed key");
    if (Full()) {
      more_ = true;
      break;
    }
    VisibleVersion version;
    const Status s = ReadVersion(view_.txn(), view_.DbFor(key), key, read_lsn_, &version);
    if (s.ok()) {
      Add(version);
    } else if (s.code() != Code::kNotFound) {
      return s;
    } else if (Status absent = AddAbsent(key); !absent.ok()) {
      return absent;
    }
  }
  return Status::Ok();
}

Status Filler::AddRowOf(const VisibleVersion& entry) {
  if (entry.value.size() < sizeof(uint64_t)) return {Code::kCorruption, "an index entry without a rowid"};
  std::string key;
  AppendBe64(&key, request_.rows_of);
  AppendBe64(&key, LoadLe<uint64_t>(entry.value.data()));
  VisibleVersion row;
  const Status s = ReadVersion(view_.txn(), view_.DbFor(key), key, read_lsn_, &row);
  if (s.ok()) {
    Add(row, kEntryRow);
  } else if (s.code() == Code::kNotFound) {
    batch_.Add({kNoLsn, 0, kEntryAbsent | kEntryRow, key, key});
  } else {
    return s;
  }
  return Status::Ok();
}

Status Filler::Scan() {
  const ScanBounds& bounds = request_.bounds;
  if (!IsKey(bounds.low) || (!bounds.high.empty() && !IsKey(bounds.high)) ||
      (!bounds.stop.empty() && !IsKey(bounds.stop)))
    return Malformed("a malformed bound");
  if (request_.rows_of != 0 && static_cast<Space>(request_.rows_of >> 56) != Space::kRow)
    return Malformed("rows that are none");
  std::string high(bounds.high);
  if (high.empty()) AppendBe64(&high, KeyPrefix(bounds.low) + 1);
  if ((request_.flags & kReadVersions) != 0) return ScanVersions(high);
  const bool reverse = (request_.flags & kReadReverse) != 0;
  VersionCursor cursor(std::string(bounds.low), high, read_lsn_, reverse);
  cursor.LimitSteps(&steps_);
  if (Status s = cursor.Open(view_.txn(), view_.DbFor(bounds.low)); !s.ok()) return s;
  const uint32_t entries_max = request_.max_entries == 0 ? kMaxEntries : request_.max_entries;
  Status status;
  for (uint32_t entries = 0;; entries++) {
    more_ = entries >= entries_max || Full();
    if (more_) break;
    VisibleVersion version;
    status = cursor.Next(&version);
    if (status.code() == Code::kUnavailable) {
      AddPassed(version.key, kNoLsn);
      status = Status::Ok();
      break;
    }
    if (!status.ok()) break;
    Add(version);
    if (IsBeyondStop(version.key)) {
      more_ = true;
      break;
    }
    if (request_.rows_of != 0 && !(status = AddRowOf(version)).ok()) break;
  }
  cursor.Close();
  return status.code() == Code::kNotFound ? Status::Ok() : status;
}

Status Filler::ScanVersions(const std::string& high) {
  lmdb::Cursor cursor;
  if (Status s = cursor.Open(view_.txn(), view_.DbFor(request_.bounds.low)); !s.ok()) return s;
  std::string from(request_.bounds.low);
  if (request_.after != 0) AppendBe64(&from, ~request_.after + 1);
  from.resize(std::min(from.size(), kMaxVersionedKey));
  MDB_val k = lmdb::Val(from), v;
  int rc = mdb_cursor_get(cursor.get(), &k, &v, MDB_SET_RANGE);
  // A key that is a proper prefix of the bound is below it, though its versions may stand behind it.
  while (rc == 0 && UnversionedKey(lmdb::View(k)) < request_.bounds.low) {
    std::string behind(UnversionedKey(lmdb::View(k)));
    AppendBe64(&behind, UINT64_MAX);
    k = lmdb::Val(behind);
    rc = mdb_cursor_get(cursor.get(), &k, &v, MDB_SET_RANGE);
  }
  std::string_view passed;  // key of the version looked at last
  Lsn passed_lsn = kNoLsn;
  std::string_view last;  // key of the version that came last
  Lsn newer = kNoLsn;     // and its LSN
  if (request_.after != 0) {
    last = request_.bounds.low;
    newer = request_.after;
  }
  for (; rc == 0; rc = mdb_cursor_get(cursor.get(), &k, &v, MDB_NEXT)) {
    const std::string_view key = UnversionedKey(lmdb::View(k));
    const Lsn lsn = VersionLsn(lmdb::View(k));
    if (key >= high) break;
    if (--steps_ < 0 && !passed.empty()) {
      AddPassed(passed, passed_lsn);
      return Status::Ok();
    }
    passed = key;
    passed_lsn = lsn;
    if (lsn > read_lsn_) continue;
    // What lies under a version that the horizon has reached is garbage, swept or not.
    if (key == last && newer != kNoLsn && newer <= view_.horizon()) continue;
    if (Full()) {
      more_ = true;
      return Status::Ok();
    }
    Add({key, lmdb::View(v), lsn});
    last = key;
    newer = lsn;
  }
  return rc == 0 || rc == MDB_NOTFOUND ? Status::Ok() : lmdb::Error(rc, "scan");
}

Status Filler::Part() {
  const std::string_view key = request_.key;
  if (!IsKey(key) || key.size() > kMaxKey) return Malformed("a malformed key");
  VisibleVersion version;
  Status s = ReadVersion(view_.txn(), view_.DbFor(key), key, request_.after, &version);
  if (s.ok() && version.lsn != request_.after) s = {Code::kNotFound, "no such version"};
  if (s.code() == Code::kNotFound) return {Code::kTooOld, "the version is not kept any more"};
  if (!s.ok()) return s;
  if (request_.offset > version.value.size()) return Malformed("an offset behind the value");
  batch_.Add({version.lsn, version.value.size(), 0, key, version.value.substr(request_.offset, limit_)});
  return Status::Ok();
}

Status Filler::Counters() {
  char key[1 + kPrefixSize] = {kMetaCounter};
  StoreBe64(key + 1, request_.after);
  MDB_val k = {sizeof key, key}, v;
  const int rc = mdb_get(view_.txn(), replica_.databases().meta, &k, &v);
  if (rc == MDB_NOTFOUND) return Status::Ok();  // a storage without a row has no counters
  if (rc != 0) return lmdb::Error(rc, "counters");
  batch_.Add({kNoLsn, v.mv_size, 0, {key + 1, kPrefixSize}, lmdb::View(v)});
  return Status::Ok();
}

Status Filler::Storages() {
  lmdb::Cursor cursor;
  if (Status s = cursor.Open(view_.txn(), replica_.databases().meta); !s.ok()) return s;
  char from[1 + kPrefixSize] = {kMetaCounter};
  StoreBe64(from + 1, request_.after + 1);
  MDB_val k = {sizeof from, from}, v;
  const uint32_t storages_max = std::min(request_.limit, kMaxStorages);
  int rc = mdb_cursor_get(cursor.get(), &k, &v, MDB_SET_RANGE);
  for (; rc == 0 && batch_.count() < storages_max; rc = mdb_cursor_get(cursor.get(), &k, &v, MDB_NEXT)) {
    const std::string_view name = lmdb::View(k);
    if (name[0] != kMetaCounter) break;
    batch_.Add({kNoLsn, v.mv_size, 0, name.substr(1), lmdb::View(v)});
  }
  return rc == 0 || rc == MDB_NOTFOUND ? Status::Ok() : lmdb::Error(rc, "counters");
}

Status Filler::Many() {
  uint32_t entries = 0;
  for (std::string_view bytes; request_.NextRequest(&bytes);) {
    if (Full() || entries >= kMaxEntries || (steps_ <= 0 && batch_.count() > 0)) {
      more_ = true;
      break;
    }
    ReadRequestView scan;
    (void)ReadRequestView::Parse(bytes, &scan);  // as it was when all of them were
    Filler filler(replica_, view_, read_lsn_, scan, steps_);
    if (Status s = filler.Fill(); !s.ok()) return s;
    steps_ = filler.steps_;
    entries += filler.batch_.count();
    const std::string batch = filler.Finish();
    batch_.Add({kNoLsn, batch.size(), 0, scan.bounds.low.substr(0, kPrefixSize), batch});
  }
  return Status::Ok();
}

}  // namespace

bool IsOfVersions(std::string_view bytes) {
  ReadRequestView request;
  return !ReadRequestView::Parse(bytes, &request) ||
         (request.kind != ReadKind::kCounters && request.kind != ReadKind::kStorages);
}

Status FillBatch(const Replica& replica, const ReplicaView& view, Lsn read_lsn, std::string_view bytes,
                 std::string* batch, int64_t steps_max) {
  ReadRequestView request;
  if (!ReadRequestView::Parse(bytes, &request)) return Malformed("malformed bytes");
  Filler filler(replica, view, read_lsn, request, steps_max);
  if (Status s = filler.Fill(); !s.ok()) return s;
  *batch = filler.Finish();
  return Status::Ok();
}

}  // namespace concord
