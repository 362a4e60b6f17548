// What a replica's writer does between batches: horizon, garbage, drops, checkpoints.

#include <algorithm>
#include <chrono>

#include "core/bytes.h"
#include "core/key.h"
#include "sidecar/rpc/log.h"
#include "sidecar/storage/replica_batch.h"

namespace concord {
namespace {

constexpr int64_t kLookAroundUs = 5'000'000;  // for dead readers and expired chunks
constexpr int64_t kSpreadUsMost = 800'000;    // of a checkpoint
constexpr size_t kGarbageRoundKeys = 1u << 18;
constexpr size_t kGarbageRoundBytes = 8u << 20;
// Superseded versions of more keys than that are left to the writes that come to their pages, so much longer.
constexpr size_t kFewGarbageBytes = 64u << 10;
constexpr int64_t kManyWaitTimes = 10;
constexpr size_t kDroppedAsOne =
    16;  // versions of a storage dropped, which lie side by side, cost what one elsewhere does

}  // namespace

Lsn Replica::AdvanceHorizon() {
  const Lsn aged = LsnFromUnixUs(options_.unix_us() - options_.retention_us);
  return leases_->Advance(applied(), aged, options_.steady_us());
}

bool Replica::RoundDue(bool deleted, Lsn horizon) const {
  const GarbageQueue& queue = deleted ? garbage_.deleted : garbage_.superseded;
  const int64_t waited_us = options_.steady_us() - (deleted ? deleted_round_us_ : superseded_round_us_);
  const int64_t interval_us = deleted                             ? options_.deleted_interval_us
                              : queue.bytes() <= kFewGarbageBytes ? options_.superseded_interval_us
                                                                  : options_.superseded_interval_us * kManyWaitTimes;
  std::string_view key;
  return (waited_us >= interval_us || queue.bytes() >= kGarbageRoundBytes) && queue.Front(horizon, &key);
}

bool Replica::GarbageReady(Lsn horizon) const {
  return garbage_round_at_ < garbage_round_.size() || RoundDue(true, horizon) || RoundDue(false, horizon);
}

// What superseded versions there are on a page that is written goes with that (VersionWriter). For the others: each
// leaf that a deletion touches is copied and written again. Taking many keys at once and in key order, several fall
// into one leaf, and a row updated a thousand times is looked at once.
void Replica::BeginGarbageRound(Lsn horizon) {
  garbage_round_.clear();
  garbage_round_at_ = 0;
  // If both are due, they take turns.
  const bool deleted =
      RoundDue(true, horizon) && (!RoundDue(false, horizon) || deleted_round_us_ <= superseded_round_us_);
  (deleted ? deleted_round_us_ : superseded_round_us_) = options_.steady_us();
  GarbageQueue* const queue = garbage_.QueueFor(deleted);
  for (std::string_view key; garbage_round_.size() < kGarbageRoundKeys && queue->Front(horizon, &key); queue->Pop())
    garbage_round_.emplace_back(key);
  std::sort(garbage_round_.begin(), garbage_round_.end());
  garbage_round_.erase(std::unique(garbage_round_.begin(), garbage_round_.end()), garbage_round_.end());
}

bool Replica::DropReady(Lsn horizon) const {
  for (const auto& [storage, lsn] : dropping_) {
    if (lsn <= horizon) return true;
  }
  return false;
}

Status Replica::Maintain(size_t budget, bool* more) {
  *more = false;
  if (closed_) return {Code::kShutdown, "the storage replica is closed"};
  const int64_t now_us = options_.steady_us();
  if (now_us - looked_around_us_ >= kLookAroundUs) {
    looked_around_us_ = now_us;
    int dead = 0;
    if (Status s = lmdb::Error(mdb_reader_check(env_.get(), &dead), "LMDB reader check"); !s.ok()) return s;
    if (dead > 0)
      RoleLog("storage")->info("storage replica {}: cleared {} reader slots of processes that have ended", directory(),
                               dead);
    if (Status s = ExpireStaged(); !s.ok()) return s;
  }
  if (Status s = SpillStaged(); !s.ok()) return s;
  if (garbage_.TakeOverflowed()) StartSweep();
  if (sweeping_ && !garbage_.Full()) {
    if (Status s = Sweep(budget); !s.ok()) return s;
  }
  const Lsn horizon = AdvanceHorizon();
  if (GarbageReady(horizon) || DropReady(horizon)) {
    Batch batch;
    if (Status s = BeginBatch(&batch); !s.ok()) return s;
    Status s = DropSlices(&budget, &batch);
    if (s.ok()) s = CollectGarbage(&budget, &batch);
    if (s.ok()) s = CommitBatch(&batch);
    if (!s.ok()) {
      AbortBatch(&batch);
      return s;
    }
  }
  *more = GarbageReady(horizon) || DropReady(horizon) || (sweeping_ && !garbage_.Full());
  return Status::Ok();
}

Status Replica::DropSlices(size_t* budget, Batch* batch) {
  for (auto it = dropping_.begin(); it != dropping_.end() && *budget > 0;) {
    const auto [storage, lsn] = *it;
    if (lsn > batch->horizon) {
      ++it;
      continue;
    }
    for (const Space space : {Space::kRow, Space::kEntry}) {
      if (Status s = DropRange(Prefix(space, storage), budget, batch); !s.ok()) return s;
    }
    if (*budget == 0) return Status::Ok();  // perhaps not done; looked at again in the next slice
    std::string key(1, kMetaDropping);
    AppendBe64(&key, Prefix(Space::kRow, storage));
    MDB_val k = lmdb::Val(key);
    if (Status s = lmdb::Error(mdb_del(batch->txn.get(), dbs_.meta, &k, nullptr), "unmark drop"); !s.ok()) return s;
    it = dropping_.erase(it);
  }
  return Status::Ok();
}

Status Replica::DropRange(uint64_t prefix, size_t* budget, Batch* batch) {
  lmdb::Cursor cursor;
  if (Status s = cursor.Open(batch->txn.get(), dbs_.ForPrefix(prefix)); !s.ok()) return s;
  char from[kPrefixSize];
  StoreBe64(from, prefix);
  MDB_val k{sizeof from, from}, v;
  int rc = mdb_cursor_get(cursor.get(), &k, &v, MDB_SET_RANGE);
  size_t dropped = 0;
  for (; rc == 0 && *budget > 0; rc = mdb_cursor_get(cursor.get(), &k, &v, MDB_NEXT)) {
    if (KeyPrefix(lmdb::View(k)) != prefix) return Status::Ok();
    if (Status s = lmdb::Error(mdb_cursor_del(cursor.get(), 0), "drop"); !s.ok()) return s;
    if (++dropped % kDroppedAsOne == 0) --*budget;
  }
  return rc == 0 || rc == MDB_NOTFOUND ? Status::Ok() : lmdb::Error(rc, "drop");
}

Status Replica::CollectGarbage(size_t* budget, Batch* batch) {
  while (*budget > 0 && GarbageReady(batch->horizon)) {
    if (garbage_round_at_ == garbage_round_.size()) BeginGarbageRound(batch->horizon);
    const std::string& key = garbage_round_[garbage_round_at_];
    // Older versions of a copied row may still be on their way; its tombstone must meet them. It goes to the queue of
    // those that are looked at sooner, as nobody knows any more which it came from.
    const auto building = building_.find(KeyPrefix(key));
    if (building != building_.end()) {
      if (building->second > batch->horizon) {
        garbage_.deleted.Push(building->second, key);
        garbage_round_at_++;
        --*budget;
        continue;
      }
      building_.erase(building);
    }
    size_t removed;
    if (Status s = batch->writer->Prune(key, batch->horizon, *budget, &removed); !s.ok()) return s;
    if (removed < *budget) garbage_round_at_++;
    *budget -= std::min(*budget, std::max<size_t>(removed, 1));  // a tombstone may have gone beyond it
  }
  return Status::Ok();
}

void Replica::StartSweep() {
  if (sweeping_) {
    sweep_again_ = true;
    return;
  }
  sweeping_ = true;
  sweep_entries_ = false;
  sweep_last_.clear();
}

Status Replica::Sweep(size_t budget) {
  lmdb::Txn txn;
  if (Status s = txn.Begin(env_.get(), MDB_RDONLY); !s.ok()) return s;
  lmdb::Cursor cursor;
  if (Status s = cursor.Open(txn.get(), sweep_entries_ ? dbs_.entries : dbs_.rows); !s.ok()) return s;
  MDB_val k = lmdb::Val(sweep_last_), v;
  int rc = mdb_cursor_get(cursor.get(), &k, &v, sweep_last_.empty() ? MDB_FIRST : MDB_SET_RANGE);
  if (rc == 0 && lmdb::View(k) == sweep_last_) rc = mdb_cursor_get(cursor.get(), &k, &v, MDB_NEXT);
  std::string_view last = sweep_last_;  // then a place in the map, which stands still for this transaction
  bool queued = false;                  // the key of `last` is in the queue already
  for (; rc == 0 && budget > 0; rc = mdb_cursor_get(cursor.get(), &k, &v, MDB_NEXT), budget--) {
    const std::string_view versioned = lmdb::View(k);
    const bool same_key = !last.empty() && UnversionedKey(last) == UnversionedKey(versioned);
    if (!same_key) queued = false;
    if (!queued && (same_key || v.mv_size == 0)) {
      garbage_.QueueFor(!same_key)->Push(VersionLsn(same_key ? last : versioned), UnversionedKey(versioned));
      queued = true;
    }
    last = versioned;
  }
  sweep_last_ = std::string(last);
  if (rc == 0) return Status::Ok();
  if (rc != MDB_NOTFOUND) return lmdb::Error(rc, "sweep");
  sweep_last_.clear();
  if (!sweep_entries_) {
    sweep_entries_ = true;
    return Status::Ok();
  }
  sweep_entries_ = false;
  sweeping_ = std::exchange(sweep_again_, false);
  return Status::Ok();
}

Status Replica::CheckpointIfDue(bool force) {
  if (checkpointer_->failed()) return checkpointer_->status();
  if (checkpointer_->busy()) {
    if (changed_bytes_ >= options_.checkpoint_bytes) checkpointer_->Hurry();
    return Status::Ok();
  }
  const int64_t now_us = options_.steady_us();
  const bool due = changed_bytes_ >= options_.checkpoint_bytes ||
                   (now_us - checkpoint_begun_us_ >= options_.checkpoint_interval_us &&
                    (changed_bytes_ > 0 || !checkpointer_->status().ok()));
  if (!due && !force) return Status::Ok();
  const Status last = checkpointer_->status();
  if (!last.ok() && last.message() != told_checkpoint_)
    RoleLog("storage")->warn("storage replica {}: the last checkpoint was not taken and is tried again: {}",
                             directory(), last.ToString());
  told_checkpoint_ = last.message();
  if (Status s = checkpointer_->Begin(
          replay_from(), changed_bytes_,
          std::chrono::microseconds(std::min(kSpreadUsMost, options_.checkpoint_interval_us / 5 * 4)));
      !s.ok())
    return s;
  checkpoint_begun_us_ = now_us;
  changed_bytes_ = 0;
  return Status::Ok();
}

}  // namespace concord
