// The fixed fields of a replica's meta database (core/replica_layout.h).
#pragma once

#include <string>

#include "core/bytes.h"
#include "core/status.h"
#include "sidecar/storage/lmdb.h"

namespace concord {

template <typename T>
Status ReadMeta(MDB_txn* txn, MDB_dbi meta, const char* name, T* value) {
  MDB_val k = lmdb::Val(name), v;
  if (Status s = lmdb::Error(mdb_get(txn, meta, &k, &v), name); !s.ok()) return s;
  if (v.mv_size != sizeof(T)) return {Code::kCorruption, std::string("meta ") + name + " has an unknown size"};
  *value = LoadLe<T>(v.mv_data);
  return Status::Ok();
}

template <typename T>
Status WriteMeta(MDB_txn* txn, MDB_dbi meta, const char* name, T value) {
  MDB_val k = lmdb::Val(name), v{sizeof value, &value};
  return lmdb::Error(mdb_put(txn, meta, &k, &v, 0), name);
}

}  // namespace concord
