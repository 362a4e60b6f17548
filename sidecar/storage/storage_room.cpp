#include "sidecar/storage/storage_room.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace concord {
namespace {

constexpr MDB_dbi kFreeList = 0;  // LMDB's own database of free pages: transaction -> count and page numbers

}  // namespace

Status StorageRoom::Check(MDB_env* env, uint64_t staged) {
  MDB_envinfo info;
  MDB_stat stat;
  if (Status s = lmdb::Error(mdb_env_info(env, &info), "LMDB info"); !s.ok()) return s;
  if (Status s = lmdb::Error(mdb_env_stat(env, &stat), "LMDB stat"); !s.ok()) return s;
  const uint64_t used_end = (info.me_last_pgno + 1) * stat.ms_psize;
  // A map that is small itself is given all of it but a quarter.
  const uint64_t low = std::min<uint64_t>(kLowBytes, info.me_mapsize / 4) + staged;
  if (allocated_end_ >= used_end + low && info.me_mapsize >= used_end + low) return Status::Ok();

  Status full;
  const uint64_t wanted = std::min<uint64_t>(used_end + kReserveBytes + staged, info.me_mapsize);
  if (wanted > allocated_end_) {
    int fd;
    if (Status s = lmdb::Error(mdb_env_get_fd(env, &fd), "LMDB file"); !s.ok()) return s;
    const uint64_t from = std::max(used_end, allocated_end_);
    if (fallocate(fd, 0, static_cast<off_t>(from), static_cast<off_t>(wanted - from)) == 0) {
      allocated_end_ = wanted;
    } else if (errno == ENOSPC || errno == EDQUOT) {
      full = {Code::kNoSpace, std::string("data.mdb: ") + strerror(errno)};
    } else {
      allocated_end_ = UINT64_MAX;  // the file system cannot; a write will tell
    }
  }
  if (full.ok() && info.me_mapsize < used_end + low)
    full = {Code::kTooLarge, "data.mdb has reached its largest size of " + std::to_string(info.me_mapsize) + " bytes"};
  const uint64_t in_hand = allocated_end_ > used_end ? allocated_end_ - used_end : 0;
  if (full.ok() || (full.code() == Code::kNoSpace && in_hand >= low)) return Status::Ok();
  uint64_t free;
  if (Status s = FreeBytes(env, &free); !s.ok()) return s;
  return free >= low ? Status::Ok() : full;
}

Status StorageRoom::FreeBytes(MDB_env* env, uint64_t* bytes) {
  *bytes = 0;
  MDB_stat stat;
  if (Status s = lmdb::Error(mdb_env_stat(env, &stat), "LMDB stat"); !s.ok()) return s;
  lmdb::Txn txn;
  if (Status s = txn.Begin(env, MDB_RDONLY); !s.ok()) return s;
  lmdb::Cursor cursor;
  if (Status s = cursor.Open(txn.get(), kFreeList); !s.ok()) return s;
  MDB_val k, v;
  int rc = mdb_cursor_get(cursor.get(), &k, &v, MDB_FIRST);
  for (; rc == 0; rc = mdb_cursor_get(cursor.get(), &k, &v, MDB_NEXT)) {
    size_t pages = 0;
    if (v.mv_size >= sizeof pages) memcpy(&pages, v.mv_data, sizeof pages);
    *bytes += pages * stat.ms_psize;
  }
  return rc == MDB_NOTFOUND ? Status::Ok() : lmdb::Error(rc, "read free pages");
}

}  // namespace concord
