// Writes row and entry versions inside one LMDB write transaction, and keeps what hangs on them: the live-row counters
// of each storage and the list of what a later horizon makes superfluous.
//
// Invariants: a key's newest version decides the counters (live: value not empty). Prune removes a version only if no
// read at or above the horizon can see it: everything older than the newest version at or below the horizon, and that
// one too if it is a tombstone.
//
// Not thread-safe; belongs to the replica's writer.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/key.h"
#include "core/lsn.h"
#include "core/status.h"
#include "sidecar/storage/lmdb.h"

namespace concord {

struct ReplicaDatabases {
  MDB_dbi rows;
  MDB_dbi entries;
  MDB_dbi meta;
  MDB_dbi staged;
  MDB_dbi ForPrefix(uint64_t prefix) const {
    return prefix >> 56 == static_cast<uint8_t>(Space::kRow) ? rows : entries;
  }
};

struct StorageCounters {
  uint64_t rows = 0;
  uint64_t bytes = 0;
};

// meta's counters in memory: loaded when first touched, written back before each commit, forgotten after an abort.
class CounterCache {
 public:
  Status Load(MDB_txn* txn, MDB_dbi meta, uint64_t prefix, StorageCounters** counters);
  Status Flush(MDB_txn* txn, MDB_dbi meta);
  Status Erase(MDB_txn* txn, MDB_dbi meta, uint64_t prefix);
  void Forget() {
    cached_.clear();
    dirty_.clear();
  }

 private:
  struct Cached {
    StorageCounters value;
    bool dirty = false;
  };
  std::unordered_map<uint64_t, Cached> cached_;
  std::vector<uint64_t> dirty_;
};

// Keys that have, or are, a superseded version, in the order in which the horizon will free them. Bounded: what does
// not fit is left to a sweep over everything.
class GarbageQueue {
 public:
  explicit GarbageQueue(size_t max_bytes) : max_bytes_(max_bytes) {}

  void Push(Lsn ready, std::string_view key);
  // The oldest key whose time has come, if any; valid until Pop.
  bool Front(Lsn horizon, std::string_view* key) const;
  void Pop();
  size_t bytes() const { return bytes_; }
  bool Full() const { return bytes_ > max_bytes_ / 2; }  // a sweep is to wait; writes may still push
  bool TakeOverflowed() { return std::exchange(overflowed_, false); }

 private:
  struct Block {
    std::string bytes;  // {ready u64, key size u16, key}*
    size_t read = 0;
  };
  const size_t max_bytes_;
  std::deque<Block> blocks_;
  size_t bytes_ = 0;
  bool overflowed_ = false;
};

// By how soon it is to go: each read of a range steps over the deleted keys in it, while an older version behind a
// current one is in hardly anybody's way.
struct Garbage {
  GarbageQueue deleted{24u << 20};
  GarbageQueue superseded{40u << 20};

  GarbageQueue* QueueFor(bool tombstone) { return tombstone ? &deleted : &superseded; }
  bool Full() const { return deleted.Full() || superseded.Full(); }
  bool TakeOverflowed() {
    const bool overflowed = deleted.TakeOverflowed();
    return superseded.TakeOverflowed() || overflowed;
  }
};

class VersionWriter {
 public:
  VersionWriter(MDB_txn* txn, const ReplicaDatabases& dbs, CounterCache* counters, Garbage* garbage)
      : txn_(txn), dbs_(dbs), counters_(counters), garbage_(garbage) {}

  // Writes `value` (empty: a tombstone) as the version of `key` at `explicit_lsn`, or at `record_lsn` if that is not
  // given or not lower. Idempotent. Versions of the key that `horizon` has made superfluous go with it.
  Status Put(std::string_view key, std::string_view value, Lsn record_lsn, Lsn explicit_lsn, Lsn horizon) {
    MDB_val v = lmdb::Val(value);
    return Write(key, &v, 0, record_lsn, explicit_lsn, horizon);
  }
  // Puts a value of `size` bytes that the caller writes to *room before the next change of the LMDB transaction.
  Status Reserve(std::string_view key, size_t size, Lsn record_lsn, Lsn explicit_lsn, Lsn horizon, char** room) {
    MDB_val v = {size, nullptr};
    Status s = Write(key, &v, MDB_RESERVE, record_lsn, explicit_lsn, horizon);
    *room = static_cast<char*>(v.mv_data);
    return s;
  }

  // Removes what no read at or above `horizon` needs of `key`, at most `budget` versions (at least one if there is
  // one).
  Status Prune(std::string_view key, Lsn horizon, size_t budget, size_t* removed);

  // The storage is being dropped: it counts nothing any more.
  Status EraseCounters(uint64_t prefix);

  uint64_t changed_bytes() const { return changed_bytes_; }  // about as many as a checkpoint will have to write
  uint64_t pruned() const { return pruned_; }

 private:
  // Keys strictly between `low`, the last key put, and `high` are known not to exist: sorted loads need not look.
  struct Table {
    lmdb::Cursor cursor;
    std::string low;
    std::string high;
    bool gap = false;
    bool gap_to_end = false;
  };

  Status Write(std::string_view key, MDB_val* value, unsigned flags, Lsn record_lsn, Lsn explicit_lsn, Lsn horizon);
  Status Open(uint64_t prefix, Table** table);
  static bool InGap(const Table& table, std::string_view key, std::string_view versioned);
  // Removes superseded versions that stand on the page of `put`, which is written anyway, as heap does when it prunes a
  // page. A version that a collection removes costs a page of its own.
  Status PrunePage(MDB_cursor* cursor, std::string_view put, Lsn horizon);
  // With the cursor at the newest version of `key` at or below the horizon.
  Status PruneHere(MDB_cursor* cursor, std::string_view key, size_t budget, size_t* removed);

  MDB_txn* const txn_;
  const ReplicaDatabases& dbs_;
  CounterCache* const counters_;
  Garbage* const garbage_;
  std::array<Table, 2> tables_;
  uint64_t last_prefix_ = ~uint64_t{0};
  StorageCounters* last_counters_ = nullptr;
  uint64_t changed_bytes_ = 0;
  uint64_t pruned_ = 0;
};

}  // namespace concord
