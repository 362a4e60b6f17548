#include "sidecar/storage/version_writer.h"

#include <cstring>

#include "core/replica_layout.h"

namespace concord {
namespace {

constexpr size_t kGarbageBlockBytes = 64u << 10;
constexpr size_t kPruneAtPut = 64;  // a long backlog is left to the sweep: a put must not take long
constexpr uint64_t kPageBytes = 4096;
constexpr int kPageKeys = 64;  // looked at before the place of a put, and behind it

std::string CounterKey(uint64_t prefix) {
  std::string key(1, kMetaCounter);
  AppendBe64(&key, prefix);
  return key;
}

// Whether two keys stand on one page of LMDB, or it looks as if they did.
bool ShareAPage(const MDB_val& one, const MDB_val& other) {
  const int64_t apart = static_cast<const char*>(one.mv_data) - static_cast<const char*>(other.mv_data);
  return static_cast<uint64_t>(apart < 0 ? -apart : apart) < kPageBytes;
}

bool IsVersionOf(std::string_view versioned, std::string_view key) {
  return versioned.size() == key.size() + kVersionSize && memcmp(versioned.data(), key.data(), key.size()) == 0;
}

}  // namespace

Status CounterCache::Load(MDB_txn* txn, MDB_dbi meta, uint64_t prefix, StorageCounters** counters) {
  auto [it, inserted] = cached_.try_emplace(prefix);
  if (inserted) {
    const std::string key = CounterKey(prefix);
    MDB_val k = lmdb::Val(key), v;
    const int rc = mdb_get(txn, meta, &k, &v);
    if (rc == 0 && v.mv_size == 16) {
      it->second.value.rows = LoadLe<uint64_t>(v.mv_data);
      it->second.value.bytes = LoadLe<uint64_t>(static_cast<const char*>(v.mv_data) + 8);
    } else if (rc != MDB_NOTFOUND) {
      cached_.erase(it);
      return rc == 0 ? Status(Code::kCorruption, "a counter of the replica has an unknown size")
                     : lmdb::Error(rc, "read counters");
    }
  }
  if (!std::exchange(it->second.dirty, true)) dirty_.push_back(prefix);
  *counters = &it->second.value;
  return Status::Ok();
}

Status CounterCache::Flush(MDB_txn* txn, MDB_dbi meta) {
  for (const uint64_t prefix : dirty_) {
    const auto it = cached_.find(prefix);
    if (it == cached_.end() || !it->second.dirty) continue;  // erased, or erased and loaded again: listed twice
    Cached& cached = it->second;
    const std::string key = CounterKey(prefix);
    char value[16];
    StoreLe(value, cached.value.rows);
    StoreLe(value + 8, cached.value.bytes);
    MDB_val k = lmdb::Val(key), v{sizeof value, value};
    if (Status s = lmdb::Error(mdb_put(txn, meta, &k, &v, 0), "write counters"); !s.ok()) return s;
    cached.dirty = false;
  }
  dirty_.clear();
  return Status::Ok();
}

Status CounterCache::Erase(MDB_txn* txn, MDB_dbi meta, uint64_t prefix) {
  cached_.erase(prefix);
  const std::string key = CounterKey(prefix);
  MDB_val k = lmdb::Val(key);
  const int rc = mdb_del(txn, meta, &k, nullptr);
  return rc == MDB_NOTFOUND ? Status::Ok() : lmdb::Error(rc, "delete counters");
}

void GarbageQueue::Push(Lsn ready, std::string_view key) {
  if (bytes_ + key.size() + 10 > max_bytes_) {
    overflowed_ = true;
    return;
  }
  if (blocks_.empty() || blocks_.back().bytes.size() >= kGarbageBlockBytes) {
    blocks_.emplace_back();
    blocks_.back().bytes.reserve(kGarbageBlockBytes + kMaxKey + 10);
  }
  std::string* to = &blocks_.back().bytes;
  AppendLe(to, ready);
  AppendLe(to, static_cast<uint16_t>(key.size()));
  to->append(key);
  bytes_ += key.size() + 10;
}

bool GarbageQueue::Front(Lsn horizon, std::string_view* key) const {
  if (blocks_.empty()) return false;
  const Block& block = blocks_.front();
  if (block.read == block.bytes.size()) return false;
  const char* p = block.bytes.data() + block.read;
  if (LoadLe<Lsn>(p) > horizon) return false;
  *key = {p + 10, LoadLe<uint16_t>(p + 8)};
  return true;
}

void GarbageQueue::Pop() {
  Block& block = blocks_.front();
  const size_t size = size_t{10} + LoadLe<uint16_t>(block.bytes.data() + block.read + 8);
  block.read += size;
  bytes_ -= size;
  if (block.read == block.bytes.size()) blocks_.pop_front();
}

Status VersionWriter::Open(uint64_t prefix, Table** table) {
  const MDB_dbi dbi = dbs_.ForPrefix(prefix);
  *table = &tables_[dbi == dbs_.rows ? 0 : 1];
  return (*table)->cursor.get() != nullptr ? Status::Ok() : (*table)->cursor.Open(txn_, dbi);
}

bool VersionWriter::InGap(const Table& table, std::string_view key, std::string_view versioned) {
  if (!table.gap || versioned <= table.low || IsVersionOf(table.low, key)) return false;
  return table.gap_to_end || (versioned < table.high && !IsVersionOf(table.high, key));
}

Status VersionWriter::Write(std::string_view key, MDB_val* value, unsigned flags, Lsn record_lsn, Lsn explicit_lsn,
                            Lsn horizon) {
  const size_t value_size = value->mv_size;
  const bool aged = explicit_lsn != kNoLsn && explicit_lsn < record_lsn;
  char versioned_bytes[kMaxVersionedKey];
  memcpy(versioned_bytes, key.data(), key.size());
  StoreBe64(versioned_bytes + key.size(), ~(aged ? explicit_lsn : record_lsn));
  const std::string_view versioned(versioned_bytes, key.size() + kVersionSize);

  const uint64_t prefix = KeyPrefix(key);
  Table* table;
  if (Status s = Open(prefix, &table); !s.ok()) return s;
  if (prefix != last_prefix_) {
    if (Status s = counters_->Load(txn_, dbs_.meta, prefix, &last_counters_); !s.ok()) return s;
    last_prefix_ = prefix;
  }
  MDB_cursor* cursor = table->cursor.get();
  MDB_val k = lmdb::Val(versioned);

  if (InGap(*table, key, versioned)) {
    if (value_size == 0 && !aged) return Status::Ok();  // nothing there to be deleted
    if (Status s = lmdb::Error(mdb_cursor_put(cursor, &k, value, flags), "put"); !s.ok()) return s;
    table->low.assign(versioned);
    if (value_size != 0) {
      last_counters_->rows++;
      last_counters_->bytes += key.size() + value_size;
    } else {
      garbage_->deleted.Push(record_lsn, key);
    }
    changed_bytes_ += versioned.size() + value_size + 8;
    return Status::Ok();
  }

  // The first version at or after the place: this very one (a record applied again), an older one, or another key's.
  MDB_val found_key = k, found_value;
  int rc = mdb_cursor_get(cursor, &found_key, &found_value, MDB_SET_RANGE);
  if (rc != 0 && rc != MDB_NOTFOUND) return lmdb::Error(rc, "seek");
  const bool at_end = rc == MDB_NOTFOUND;
  const bool present = !at_end && IsVersionOf(lmdb::View(found_key), key);
  const bool same_version = present && lmdb::View(found_key) == versioned;
  const bool has_older = present && !same_version;
  const Lsn older_lsn = has_older ? VersionLsn(lmdb::View(found_key)) : kNoLsn;
  const size_t previous_size = present ? found_value.mv_size : 0;
  if (value_size == 0 && !present && !aged) return Status::Ok();
  table->gap = !same_version;
  table->gap_to_end = at_end;
  if (!same_version && !at_end) table->high.assign(lmdb::View(found_key));
  table->low.assign(versioned);

  bool newest = true;
  if (aged) {
    MDB_val newer_key, newer_value;
    rc = mdb_cursor_get(cursor, &newer_key, &newer_value, at_end ? MDB_LAST : MDB_PREV);
    if (rc != 0 && rc != MDB_NOTFOUND) return lmdb::Error(rc, "seek");
    newest = rc == MDB_NOTFOUND || !IsVersionOf(lmdb::View(newer_key), key);
  }
  if (newest) {
    last_counters_->rows += (value_size == 0 ? 0 : 1) - (previous_size == 0 ? 0 : 1);
    last_counters_->bytes += (value_size == 0 ? 0 : key.size() + value_size);
    last_counters_->bytes -= (previous_size == 0 ? 0 : key.size() + previous_size);
  }
  if (Status s = lmdb::Error(mdb_cursor_put(cursor, &k, value, flags), "put"); !s.ok()) return s;
  changed_bytes_ += kPageBytes + value_size;

  if (aged) {
    // Older versions of the key may still be on their way: nothing of it goes before the horizon passes the record.
    if (!newest || has_older || value_size == 0) garbage_->QueueFor(value_size == 0)->Push(record_lsn, key);
    return Status::Ok();
  }
  if (has_older && older_lsn <= horizon && (flags & MDB_RESERVE) == 0) {
    MDB_val next_key, next_value;
    if (Status s = lmdb::Error(mdb_cursor_get(cursor, &next_key, &next_value, MDB_NEXT), "step"); !s.ok()) return s;
    size_t removed = 0;
    if (Status s = PruneHere(cursor, key, kPruneAtPut, &removed); !s.ok()) return s;
  }
  if (has_older && (flags & MDB_RESERVE) == 0) {
    if (Status s = PrunePage(cursor, versioned, horizon); !s.ok()) return s;
  }
  if (has_older || value_size == 0) garbage_->QueueFor(value_size == 0)->Push(record_lsn, key);
  return Status::Ok();
}

Status VersionWriter::EraseCounters(uint64_t prefix) {
  last_prefix_ = ~uint64_t{0};  // the cached pointer goes with the counters
  return counters_->Erase(txn_, dbs_.meta, prefix);
}

Status VersionWriter::Prune(std::string_view key, Lsn horizon, size_t budget, size_t* removed) {
  *removed = 0;
  Table* table;
  if (Status s = Open(KeyPrefix(key), &table); !s.ok()) return s;
  char versioned[kMaxVersionedKey];
  memcpy(versioned, key.data(), key.size());
  StoreBe64(versioned + key.size(), ~horizon);
  MDB_val k{key.size() + kVersionSize, versioned}, v;
  const int rc = mdb_cursor_get(table->cursor.get(), &k, &v, MDB_SET_RANGE);
  if (rc == MDB_NOTFOUND) return Status::Ok();
  if (rc != 0) return lmdb::Error(rc, "seek");
  if (!IsVersionOf(lmdb::View(k), key)) return Status::Ok();
  return PruneHere(table->cursor.get(), key, budget, removed);
}

Status VersionWriter::PrunePage(MDB_cursor* cursor, std::string_view put, Lsn horizon) {
  MDB_val k = lmdb::Val(put), v;
  if (Status s = lmdb::Error(mdb_cursor_get(cursor, &k, &v, MDB_SET_KEY), "prune"); !s.ok()) return s;
  const MDB_val place = k;
  int rc = 0;
  for (int i = 0; i < kPageKeys && rc == 0 && ShareAPage(k, place); i++) rc = mdb_cursor_get(cursor, &k, &v, MDB_PREV);
  if (rc == MDB_NOTFOUND) rc = mdb_cursor_get(cursor, &k, &v, MDB_FIRST);
  // Only what is behind a version at or below the horizon that is seen here, newest first; never that one, even if it
  // is a tombstone: older ones may stand on the next page.
  char newer[kMaxVersionedKey];
  size_t newer_size = 0;  // 0: none that counts
  bool reached = false;
  for (int i = 0; i < 2 * kPageKeys && rc == 0; i++, rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
    const std::string_view versioned = lmdb::View(k);
    if (ShareAPage(k, place))
      reached = true;
    else if (reached)
      break;
    if (newer_size == versioned.size() && IsVersionOf({newer, newer_size}, UnversionedKey(versioned))) {
      if (Status s = lmdb::Error(mdb_cursor_del(cursor, 0), "prune"); !s.ok()) return s;
      pruned_++;
      continue;
    }
    newer_size = VersionLsn(versioned) <= horizon ? versioned.size() : 0;
    memcpy(newer, versioned.data(), newer_size);
  }
  return rc == MDB_NOTFOUND ? Status::Ok() : lmdb::Error(rc, "prune");
}

Status VersionWriter::PruneHere(MDB_cursor* cursor, std::string_view key, size_t budget, size_t* removed) {
  MDB_val k, v;
  if (Status s = lmdb::Error(mdb_cursor_get(cursor, &k, &v, MDB_GET_CURRENT), "prune"); !s.ok()) return s;
  const bool tombstone = v.mv_size == 0;
  char first[kMaxVersionedKey];
  const size_t first_size = k.mv_size;
  memcpy(first, k.mv_data, first_size);

  // Oldest part first: were the tombstone to go while an older version stays, that one would come back to life.
  int rc;
  while ((rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == 0 && IsVersionOf(lmdb::View(k), key)) {
    if (*removed >= budget) return Status::Ok();
    if (Status s = lmdb::Error(mdb_cursor_del(cursor, 0), "prune"); !s.ok()) return s;
    changed_bytes_ += kPageBytes;
    pruned_++;
    ++*removed;
  }
  if (rc != 0 && rc != MDB_NOTFOUND) return lmdb::Error(rc, "prune");
  if (!tombstone) return Status::Ok();
  k = {first_size, first};
  if (Status s = lmdb::Error(mdb_cursor_get(cursor, &k, &v, MDB_SET), "prune"); !s.ok()) return s;
  if (Status s = lmdb::Error(mdb_cursor_del(cursor, 0), "prune"); !s.ok()) return s;
  changed_bytes_ += kPageBytes;
  pruned_++;
  ++*removed;
  return Status::Ok();
}

}  // namespace concord
