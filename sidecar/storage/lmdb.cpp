#include "sidecar/storage/lmdb.h"

#include <cerrno>
#include <string>

namespace concord::lmdb {

Status Error(int rc, std::string_view what) {
  Code code = Code::kIoError;
  switch (rc) {
    case MDB_SUCCESS: return Status::Ok();
    case MDB_NOTFOUND: code = Code::kNotFound; break;
    case ENOSPC:
    case EDQUOT:
    case MDB_MAP_FULL: code = Code::kNoSpace; break;
    case MDB_READERS_FULL: code = Code::kUnavailable; break;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH: code = Code::kCorruption; break;
    default: break;
  }
  return {code, std::string(what) + ": " + mdb_strerror(rc)};
}

Status Txn::Begin(MDB_env* env, unsigned flags) {
  Abort();
  return Error(mdb_txn_begin(env, nullptr, flags, &txn_), "LMDB begin");
}

Status Txn::Commit() { return Error(mdb_txn_commit(std::exchange(txn_, nullptr)), "LMDB commit"); }

Status Txn::Renew() { return Error(mdb_txn_renew(txn_), "LMDB renew"); }

Status Cursor::Open(MDB_txn* txn, MDB_dbi dbi) {
  Close();
  return Error(mdb_cursor_open(txn, dbi, &cursor_), "LMDB cursor");
}

}  // namespace concord::lmdb
