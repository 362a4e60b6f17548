#include "sidecar/storage/storage_room.h"

#include <fcntl.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>

#include "core/wire.h"
#include "sidecar/storage/free_pages.h"

namespace concord {
namespace {

int64_t SteadyUs() {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// What the disk has left for this user; unlimited where it does not say.
uint64_t DiskBytes(int fd) {
  struct statvfs disk;
  return fstatvfs(fd, &disk) == 0 ? uint64_t{disk.f_bavail} * disk.f_frsize : UINT64_MAX;
}

}  // namespace

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
  int fd;
  if (Status s = lmdb::Error(mdb_env_get_fd(env, &fd), "LMDB file"); !s.ok()) return s;
  const uint64_t map_left = info.me_mapsize > used_end ? info.me_mapsize - used_end : 0;
  const uint64_t to_be_had = std::min(map_left, behind() + std::min(DiskBytes(fd), UINT64_MAX - behind()));
  scarce_ = to_be_had < needed + kScarceBytes;
  if (behind() >= needed) return Status::Ok();

  Status full(Code::kTooLarge,
              "data.mdb has reached its largest size of " + std::to_string(info.me_mapsize) + " bytes");
  const uint64_t wanted = std::min<uint64_t>(used_end + kReserveBytes + staged.bytes, info.me_mapsize);
  if (wanted > allocated_end_) {
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
  scarce_ = true;
  const uint64_t largest = std::max<uint64_t>(staged.largest, kMaxChunkBytes);
  return LookForRuns(env, behind(), needed, low, largest, full);
}

// What may be on its way fits into half of `low`. The rest is for pages that LMDB takes one by one, wherever they are.
Status StorageRoom::LookForRuns(MDB_env* env, uint64_t behind, uint64_t needed, uint64_t low, uint64_t largest,
                                const Status& full) {
  const int64_t begun_us = SteadyUs();
  if (begun_us < next_look_us_ && needed >= looked_for_) return found_;
  MDB_stat stat;
  if (Status s = lmdb::Error(mdb_env_stat(env, &stat), "LMDB stat"); !s.ok()) return s;
  const auto pages = [&](uint64_t bytes) { return bytes / stat.ms_psize; };
  bool hold;
  Status s = RunsHold(env, pages(behind), pages(needed), 1, &hold);
  if (s.ok() && hold) s = RunsHold(env, pages(behind), pages(needed - low / 2), pages(largest) + 2, &hold);
  // No reader slot is free: what cannot be counted is not promised.
  if (s.code() == Code::kUnavailable) return full;
  if (!s.ok()) return s;
  found_ = hold ? Status::Ok() : full;
  looked_for_ = needed;
  const int64_t ended_us = SteadyUs();
  next_look_us_ = hold ? 0 : ended_us + 10 * (ended_us - begun_us);
  return found_;
}

}  // namespace concord
