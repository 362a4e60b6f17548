#include "sidecar/storage/storage_room.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "core/wire.h"
#include "sidecar/storage/free_pages.h"

namespace concord {

Status StorageRoom::Check(MDB_env* env, const StagedRoom& staged) {
  MDB_envinfo info;
  MDB_stat stat;
  if (Status s = lmdb::Error(mdb_env_info(env, &info), "LMDB info"); !s.ok()) return s;
  if (Status s = lmdb::Error(mdb_env_stat(env, &stat), "LMDB stat"); !s.ok()) return s;
  const uint64_t used_end = (info.me_last_pgno + 1) * stat.ms_psize;
  // A map that is small itself is given all of it but a quarter.
  const uint64_t low = std::min<uint64_t>(kLowBytes, info.me_mapsize / 4);
  const uint64_t needed = low + staged.bytes;
  const auto behind = [&] {
    const uint64_t end = std::min<uint64_t>(allocated_end_, info.me_mapsize);
    return end > used_end ? end - used_end : 0;
  };
  if (behind() >= needed) return Status::Ok();

  Status full(Code::kTooLarge,
              "data.mdb has reached its largest size of " + std::to_string(info.me_mapsize) + " bytes");
  const uint64_t wanted = std::min<uint64_t>(used_end + kReserveBytes + staged.bytes, info.me_mapsize);
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
  if (behind() >= needed) return Status::Ok();
  // What may be on its way fits into half of `low`. The rest is for pages that LMDB takes one by one, wherever they
  // are.
  bool hold;
  const auto pages = [&](uint64_t bytes) { return bytes / stat.ms_psize; };
  const uint64_t largest = pages(std::max<uint64_t>(staged.largest, kMaxChunkBytes)) + 2;  // with its header
  Status s = RunsHold(env, pages(behind()), pages(needed), 1, &hold);
  if (s.ok() && hold) s = RunsHold(env, pages(behind()), pages(needed - low / 2), largest, &hold);
  return s.ok() && !hold ? full : s;
}

}  // namespace concord
