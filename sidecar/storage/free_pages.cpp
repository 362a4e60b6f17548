#include "sidecar/storage/free_pages.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

namespace concord {
namespace {

constexpr MDB_dbi kFreeList = 0;  // LMDB's own database of free pages: transaction -> count and page numbers

// Calls visit(count, page numbers, which may not be aligned) for what each transaction before `end` has freed, until it
// returns false.
template <typename Visit>
Status EachFreeList(MDB_env* env, size_t end, Visit visit) {
  lmdb::Txn txn;
  if (Status s = txn.Begin(env, MDB_RDONLY); !s.ok()) return s;
  lmdb::Cursor cursor;
  if (Status s = cursor.Open(txn.get(), kFreeList); !s.ok()) return s;
  MDB_val k, v;
  int rc = mdb_cursor_get(cursor.get(), &k, &v, MDB_FIRST);
  for (; rc == 0; rc = mdb_cursor_get(cursor.get(), &k, &v, MDB_NEXT)) {
    size_t transaction, count;
    if (k.mv_size != sizeof transaction || v.mv_size < sizeof count) continue;
    memcpy(&transaction, k.mv_data, sizeof transaction);
    memcpy(&count, v.mv_data, sizeof count);
    const char* const pages = static_cast<const char*>(v.mv_data) + sizeof count;
    if (transaction >= end || !visit(std::min(count, v.mv_size / sizeof count - 1), pages)) return Status::Ok();
  }
  return rc == MDB_NOTFOUND ? Status::Ok() : lmdb::Error(rc, "read free pages");
}

// The oldest transaction whose state somebody sees; the next one may use what was freed before it.
size_t OldestReader(MDB_env* env) {
  MDB_envinfo info;
  size_t oldest = mdb_env_info(env, &info) == 0 ? info.me_last_txnid : 0;
  const auto read_line = [](const char* line, void* to) {
    int pid;
    size_t transaction;
    // The heading has no numbers, and a slot that is not in use now "-" for the last one.
    if (sscanf(line, "%d %*x %zu", &pid, &transaction) == 2)
      *static_cast<size_t*>(to) = std::min(*static_cast<size_t*>(to), transaction);
    return 0;
  };
  mdb_reader_list(env, read_line, &oldest);
  return oldest;
}

// What is sure to fit, in pages. A run is of use until what is left of it is shorter than the largest value; and what
// is not longer than one run as a whole fits there anyway.
class SureRoom {
 public:
  SureRoom(uint64_t needed, uint64_t largest) : needed_(needed), largest_(largest) {}
  void AddRun(uint64_t pages) {
    if (pages >= needed_) sure_ = needed_;
    if (pages >= largest_) sure_ += pages - largest_ + 1;
  }
  bool Suffices() const { return sure_ >= needed_; }

 private:
  const uint64_t needed_, largest_;
  uint64_t sure_ = 0;
};

bool Holds(std::vector<size_t>* free, SureRoom room) {
  std::sort(free->begin(), free->end());
  for (size_t from = 0, to = 0; from < free->size() && !room.Suffices(); from = to) {
    for (to = from + 1; to < free->size() && (*free)[to] == (*free)[to - 1] + 1;) to++;
    room.AddRun(to - from);
  }
  return room.Suffices();
}

}  // namespace

Status FreeBytes(MDB_env* env, uint64_t* bytes) {
  *bytes = 0;
  MDB_stat stat;
  if (Status s = lmdb::Error(mdb_env_stat(env, &stat), "LMDB stat"); !s.ok()) return s;
  return EachFreeList(env, SIZE_MAX, [&](size_t count, const char*) {
    *bytes += count * stat.ms_psize;
    return true;
  });
}

Status RunsHold(MDB_env* env, uint64_t behind, uint64_t needed, uint64_t largest, bool* hold) {
  SureRoom room(needed, largest);
  room.AddRun(behind);
  *hold = room.Suffices();
  if (*hold) return Status::Ok();
  // Sorting is what takes time, so not after each entry.
  std::vector<size_t> free;
  size_t look_at = needed;
  const Status s = EachFreeList(env, OldestReader(env), [&](size_t count, const char* pages) {
    const size_t before = free.size();
    free.resize(before + count);
    memcpy(free.data() + before, pages, count * sizeof(size_t));
    if (free.size() < look_at) return true;
    look_at = 2 * free.size();
    *hold = Holds(&free, room);
    return !*hold;
  });
  if (s.ok() && !*hold) *hold = Holds(&free, room);
  return s;
}

}  // namespace concord
