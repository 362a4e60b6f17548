// The C face of replica.h but for cursors (cursor.cpp): views, point reads, counters.
#include "bridge/replica.h"

#include <algorithm>
#include <cstring>

#include "bridge/cursor.h"
#include "bridge/remote_batch.h"
#include "bridge/remote_reads.h"
#include "bridge/remote_state.h"
#include "bridge/view.h"
#include "core/key.h"
#include "core/replica_layout.h"

namespace concord::bridge {

namespace {

constexpr size_t kVersionedRowKey = kRowKeySize + kVersionSize;
// Rows and versions passed over one by one before a seek, which costs about ten times as much as one of them.
constexpr uint64_t kNeighbours = 4;

// One step of a point cursor onto a record of the wanted row's storage. False if there is no such record there.
bool StepInStorage(PointCursor* point, MDB_cursor_op op, uint64_t prefix_bytes, uint64_t* rowid, Lsn* version,
                   MDB_val* at, MDB_val* value) {
  if (mdb_cursor_get(point->cursor, at, value, op) != 0 || at->mv_size != kVersionedRowKey) return false;
  const char* record = static_cast<const char*>(at->mv_data);
  *rowid = LoadBe64(record + kPrefixSize);
  *version = ~LoadBe64(record + kRowKeySize);
  return LoadLe<uint64_t>(record) == prefix_bytes;
}

// An index scan whose order is that of the rows asks for one row and then its neighbour. True if the cursor could be
// moved onto the first version of the row not newer than `lsn`, and it is not far; otherwise it stands anywhere.
bool ReachNeighbour(PointCursor* point, Lsn lsn, std::string_view key, MDB_val* at, MDB_val* value) {
  if (point->stands_on == nullptr || key.size() != kRowKeySize) return false;
  const uint64_t prefix = LoadLe<uint64_t>(key.data());
  const uint64_t wanted = LoadBe64(key.data() + kPrefixSize);
  const uint64_t from = LoadBe64(point->stands_on + kPrefixSize);
  if (LoadLe<uint64_t>(point->stands_on) != prefix) return false;
  uint64_t rowid;
  Lsn version;
  if (wanted - from - 1 < kNeighbours) {  // behind it
    for (uint64_t steps = 0; steps < kNeighbours; steps++) {
      if (!StepInStorage(point, MDB_NEXT, prefix, &rowid, &version, at, value) || rowid > wanted) return false;
      if (rowid == wanted && version <= lsn) return true;
    }
  } else if (wanted + 1 == from) {  // before it: its only version, or a seek is as good
    return StepInStorage(point, MDB_PREV, prefix, &rowid, &version, at, value) && rowid == wanted && version <= lsn &&
           StepInStorage(point, MDB_PREV, prefix, &rowid, &version, at, value) && rowid != wanted &&
           StepInStorage(point, MDB_NEXT, prefix, &rowid, &version, at, value);
  }
  return false;
}

CcStatus Get(Lsn lsn, std::string_view key, CcView* view, std::string_view* value, Lsn* version_lsn) {
  PointCursor* point;
  const CcStatus status = Replica::Get().UsePointCursor(view, DatabaseOf(KeyPrefix(key)), &point);
  if (status != CC_OK) return status;

  MDB_val mdb_key;
  MDB_val mdb_value;
  char versioned[kMaxVersionedKey];
  int rc = 0;
  const bool walking = ReachNeighbour(point, lsn, key, &mdb_key, &mdb_value);
  if (!walking) {
    memcpy(versioned, key.data(), key.size());
    StoreBe64(versioned + key.size(), ~lsn);
    mdb_key = {key.size() + kVersionSize, versioned};
    rc = mdb_cursor_get(point->cursor, &mdb_key, &mdb_value, MDB_SET_RANGE);
  }
  point->stands_on = nullptr;
  if (rc != 0 && rc != MDB_NOTFOUND) return LmdbError(rc, "read of the storage replica");
  if (rc == MDB_NOTFOUND || mdb_key.mv_size != key.size() + kVersionSize ||
      memcmp(mdb_key.mv_data, key.data(), key.size()) != 0) {
    std::string_view next;
    if (rc == 0) next = {static_cast<const char*>(mdb_key.mv_data), mdb_key.mv_size - kVersionSize};
    // From where the search began, which is behind keys that merely begin with this one.
    const std::string_view from{versioned, key.size() + kVersionSize};
    if (view->applied >= lsn)
      Replica::Get().absent().Learn(DatabaseOf(KeyPrefix(key)), from, next, view->horizon, view->applied);
    return CC_END;
  }
  if (mdb_key.mv_size == kVersionedRowKey) {
    point->stands_on = static_cast<const char*>(mdb_key.mv_data);
    walking ? point->page_ahead.Passed(mdb_key.mv_data) : point->page_ahead.Start(mdb_key.mv_data);
  }
  if (mdb_value.mv_size == 0) return CC_END;
  *value = {static_cast<const char*>(mdb_value.mv_data), mdb_value.mv_size};
  *version_lsn = VersionLsn({static_cast<const char*>(mdb_key.mv_data), mdb_key.mv_size});
  return CC_OK;
}

// A view that has what can be read of a storage by now.
CcStatus AcquireNow(uint64_t prefix, CcView** view) {
  Replica& replica = Replica::Get();
  Lsn readable;
  CcStatus status = replica.Readable(&readable);
  if (status == CC_OK) status = replica.AcquireFor(prefix, readable, view);
  // What was read first is old by now.
  return status == CC_TOO_OLD ? replica.AcquireNewest(view) : status;
}

}  // namespace

extern "C" CcStatus cc_replica_open(const char* path) {
  return Guard([&] {
    if (remote_state.only) return CC_OK;
    const CcStatus status = Replica::Get().Open(path);
    return GoesRemote(status) ? CC_OK : status;
  });
}

extern "C" CcStatus cc_view_acquire(uint64_t lsn, CcView** view) {
  return Guard([&] { return Replica::Get().AcquireFor(kAllStorages, lsn, view); });
}

extern "C" void cc_view_pin(CcView* view) { view->pins++; }

extern "C" void cc_view_unpin(CcView* view) {
  Release([&] {
    Replica& replica = Replica::Get();
    if (view->replica == &replica)
      replica.Unpin(view);
    else if (view->remote != nullptr)
      view->remote->Unpin();
  });
}

extern "C" CcStatus cc_replica_applied(uint64_t* lsn) {
  return Guard([&] {
    if (remote_state.only) return Fail(CC_UNAVAILABLE, "no storage replica of this machine is read");
    return Replica::Get().Readable(lsn);
  });
}

extern "C" void cc_replica_await(uint64_t lsn, long wait_us) {
  Release([&] { Replica::Get().Await(lsn, wait_us); });
}

extern "C" CcStatus cc_replica_counters_try(uint64_t prefix, uint64_t* rows, uint64_t* bytes) {
  return Guard([&] {
    *rows = *bytes = 0;
    Replica& replica = Replica::Get();
    CcView* view;
    if (remote_state.only) return RemoteCounters(prefix, rows, bytes);
    CcStatus status = CountersEstimate() ? replica.AcquireNewest(&view) : AcquireNow(prefix, &view);
    if (GoesRemote(status)) return RemoteCounters(prefix, rows, bytes);
    if (status != CC_OK) return status;
    char key[1 + kPrefixSize] = {kMetaCounter};
    StoreBe64(key + 1, prefix);
    std::string_view value;
    status = replica.ReadMeta(*view, {key, sizeof key}, &value);
    if (status == CC_END) {
      status = CC_OK;  // a storage without a row has no counters
    } else if (status == CC_OK && value.size() != 2 * sizeof(uint64_t)) {
      status = Fail(CC_CORRUPT, "malformed counters in the storage replica");
    } else if (status == CC_OK) {
      *rows = LoadLe<uint64_t>(value.data());
      *bytes = LoadLe<uint64_t>(value.data() + sizeof(uint64_t));
    }
    replica.Unpin(view);
    return status;
  });
}

extern "C" CcStatus cc_replica_storages_try(uint64_t after, CcStorage* storages, size_t capacity, size_t* count) {
  return Guard([&] {
    *count = 0;
    if (capacity == 0) return CC_OK;
    Replica& replica = Replica::Get();
    CcView* view;
    // The system's own keys, storage 0, are nobody's table.
    after = std::max(after, Prefix(Space::kSystem, UINT32_MAX));
    if (remote_state.only) return RemoteStorages(after, storages, capacity, count);
    CcStatus status = AcquireNow(kAllStorages, &view);
    if (GoesRemote(status)) return RemoteStorages(after, storages, capacity, count);
    if (status != CC_OK) return status;
    std::string from(1, kMetaCounter);
    AppendBe64(&from, after + 1);
    bool malformed = false;
    status = replica.ScanMeta(*view, from, [&](std::string_view key, std::string_view value) {
      malformed = key.size() != 1 + kPrefixSize || value.size() != 2 * sizeof(uint64_t);
      if (malformed) return false;
      storages[(*count)++] = {LoadBe64(key.data() + 1), LoadLe<uint64_t>(value.data()),
                              LoadLe<uint64_t>(value.data() + sizeof(uint64_t))};
      return *count < capacity;
    });
    replica.Unpin(view);
    return malformed ? Fail(CC_CORRUPT, "malformed counters in the storage replica") : status;
  });
}

extern "C" CcStatus cc_replica_get_try(uint64_t lsn, const void* key, size_t key_size, const void** value,
                                       size_t* value_size, uint64_t* version_lsn, CcView** view) {
  return Guard([&] {
    if (key_size < kPrefixSize || key_size > kMaxKey) return Fail(CC_TOO_LARGE, "no such key can be stored");
    Replica& replica = Replica::Get();
    const std::string_view sought{static_cast<const char*>(key), key_size};
    if (replica.absent().Covers(DatabaseOf(KeyPrefix(sought)), sought, lsn)) return CC_END;
    CcView* pinned;
    std::string_view found;
    CcStatus status = remote_state.only ? CC_UNAVAILABLE : replica.AcquireForKey(sought, lsn, &pinned);
    if (GoesRemote(status)) [[unlikely]] {
      bool local_ready;
      status = RemoteGet(lsn, sought, &found, version_lsn, view, &local_ready);
      *value = found.data();
      *value_size = found.size();
      if (status != CC_OK || !local_ready) return status;
      status = replica.AcquireForKey(sought, lsn, &pinned);
    }
    if (status != CC_OK) return status;
    if (pinned->remote != nullptr) {
      const BatchEntry& recent = pinned->remote->entries().front();
      *value = recent.value.data();
      *value_size = recent.value.size();
      *version_lsn = recent.lsn;
      *view = pinned;
      return CC_OK;
    }
    status = Get(lsn, sought, pinned, &found, version_lsn);
    if (status != CC_OK) {
      replica.Unpin(pinned);
      return status;
    }
    *value = found.data();
    *value_size = found.size();
    *view = pinned;
    return CC_OK;
  });
}

extern "C" void cc_replica_reset(void) {
  Release([] {
    CloseAllScans();
    CloseAllCursors();
    RemoteReset();
    RemoteBatch::CloseAll();
    Replica::Get().Reset();
  });
}

extern "C" void cc_replica_close(void) {
  cc_replica_reset();
  Release([] { Replica::Get().Close(); });
}

}  // namespace concord::bridge
