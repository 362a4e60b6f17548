// The C face of replica.h but for cursors (cursor.cpp): views, point reads, counters.
#include "bridge/replica.h"

#include <cstring>

#include "bridge/cursor.h"
#include "bridge/view.h"
#include "core/key.h"
#include "core/replica_layout.h"

namespace concord::bridge {

namespace {

CcStatus Get(Lsn lsn, std::string_view key, CcView* view, std::string_view* value, Lsn* version_lsn) {
  MDB_cursor* cursor;
  const CcStatus status = Replica::Get().PointCursor(view, DatabaseOf(KeyPrefix(key)), &cursor);
  if (status != CC_OK) return status;

  char versioned[kMaxVersionedKey];
  memcpy(versioned, key.data(), key.size());
  StoreBe64(versioned + key.size(), ~lsn);
  MDB_val mdb_key = {key.size() + kVersionSize, versioned};
  MDB_val mdb_value;
  const int rc = mdb_cursor_get(cursor, &mdb_key, &mdb_value, MDB_SET_RANGE);
  if (rc == MDB_NOTFOUND) return CC_END;
  if (rc != 0) return LmdbError(rc, "read of the storage replica");
  if (mdb_key.mv_size != key.size() + kVersionSize || memcmp(mdb_key.mv_data, key.data(), key.size()) != 0 ||
      mdb_value.mv_size == 0)
    return CC_END;
  *value = {static_cast<const char*>(mdb_value.mv_data), mdb_value.mv_size};
  *version_lsn = VersionLsn({static_cast<const char*>(mdb_key.mv_data), mdb_key.mv_size});
  return CC_OK;
}

}  // namespace

extern "C" CcStatus cc_replica_open(const char* path) {
  return Guard([&] { return Replica::Get().Open(path); });
}

extern "C" CcStatus cc_view_acquire(uint64_t lsn, CcView** view) {
  return Guard([&] { return Replica::Get().Acquire(lsn, view); });
}

extern "C" void cc_view_pin(CcView* view) { view->pins++; }

extern "C" void cc_view_unpin(CcView* view) {
  Guard([&] {
    Replica& replica = Replica::Get();
    if (view->replica == &replica) replica.Unpin(view);
    return CC_OK;
  });
}

extern "C" CcStatus cc_replica_applied(uint64_t* lsn) {
  return Guard([&] {
    Replica& replica = Replica::Get();
    CcView* view;
    const CcStatus status = replica.AcquireNewest(&view);
    if (status != CC_OK) return status;
    *lsn = view->applied;
    replica.Unpin(view);
    return CC_OK;
  });
}

extern "C" CcStatus cc_replica_counters(uint64_t prefix, uint64_t* rows, uint64_t* bytes) {
  return Guard([&] {
    *rows = *bytes = 0;
    Replica& replica = Replica::Get();
    CcView* view;
    CcStatus status = replica.AcquireNewest(&view);
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

extern "C" CcStatus cc_replica_get(uint64_t lsn, const void* key, size_t key_size, const void** value,
                                   size_t* value_size, uint64_t* version_lsn, CcView** view) {
  return Guard([&] {
    if (key_size < kPrefixSize || key_size > kMaxKey) return Fail(CC_TOO_LARGE, "no such key can be stored");
    Replica& replica = Replica::Get();
    CcView* pinned;
    CcStatus status = replica.Acquire(lsn, &pinned);
    if (status != CC_OK) return status;
    std::string_view found;
    status = Get(lsn, {static_cast<const char*>(key), key_size}, pinned, &found, version_lsn);
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
  Guard([] {
    CloseAllScans();
    CloseAllCursors();
    Replica::Get().Reset();
    return CC_OK;
  });
}

extern "C" void cc_replica_close(void) {
  cc_replica_reset();
  Guard([] {
    Replica::Get().Close();
    return CC_OK;
  });
}

}  // namespace concord::bridge
