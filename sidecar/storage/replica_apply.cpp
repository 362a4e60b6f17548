// How a replica's writer applies journal frames.
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "core/bytes.h"
#include "core/key.h"
#include "core/pause_points.h"
#include "core/planted_bugs.h"
#include "sidecar/lsn_text.h"
#include "sidecar/rpc/log.h"
#include "sidecar/storage/meta.h"
#include "sidecar/storage/replica_batch.h"

namespace concord {
namespace {

constexpr uint64_t kPageBytes = 4096;
// A piece of a frugal batch; each mutation may copy a page or two of its own.
constexpr uint64_t kFrugalMutations = 1000;
constexpr uint64_t kFrugalBytes = 4u << 20;
constexpr uint64_t kCommitBytes = 8 * kPageBytes;  // what a small LMDB transaction writes besides its leaves, about

}  // namespace

Status Damaged(Lsn lsn, const std::string& what) {
  return {Code::kCorruption, "journal record at LSN " + LsnText(lsn) + ": " + what};
}

Status Replica::Apply(std::string_view frames, bool frugal) {
  if (Status s = Flush(frugal); !s.ok()) return s;
  return ApplyNow(frames, frugal);
}

Status Replica::ApplyNow(std::string_view frames, bool frugal) {
  if (closed_) return {Code::kShutdown, "the storage replica is closed"};
  cc_pause(CC_PAUSE_STORAGE_BEFORE_APPLY);
  Batch batch;
  if (Status s = BeginBatch(&batch, frugal); !s.ok()) return s;
  Status s = ApplyFrames(frames, &batch);
  if (s.ok()) s = CommitBatch(&batch);
  if (!s.ok()) AbortBatch(&batch);
  return s;
}

Status Replica::BeginBatch(Batch* batch, bool frugal) {
  batch->frugal = frugal;
  batch->horizon = AdvanceHorizon();
  batch->applied = applied();
  batch->epoch = epoch_;
  batch->mutations = 0;
  batch->bytes = 0;
  batch->parts = {};
  batch->unstaged.clear();
  if (Status s = batch->txn.Begin(env_.get(), 0); !s.ok()) return s;
  batch->writer.emplace(batch->txn.get(), dbs_, &counters_, &garbage_);
  return Status::Ok();
}

Status Replica::CommitBatch(Batch* batch) {
  MDB_txn* txn = batch->txn.get();
  if (Status s = counters_.Flush(txn, dbs_.meta); !s.ok()) return s;
  if (batch->horizon != published_horizon_) {
    if (Status s = WriteMeta(txn, dbs_.meta, kMetaHorizon, batch->horizon); !s.ok()) return s;
  }
  if (batch->applied != applied()) {
    if (Status s = WriteMeta(txn, dbs_.meta, kMetaApplied, batch->applied); !s.ok()) return s;
  }
  if (batch->epoch != epoch_) {
    if (Status s = WriteMeta(txn, dbs_.meta, kMetaEpoch, batch->epoch); !s.ok()) return s;
  }
  const Lsn staged_from = StagedFrom(*batch);
  if (staged_from != staged_from_) {
    if (Status s = WriteMeta(txn, dbs_.meta, kMetaStagedFrom, staged_from); !s.ok()) return s;
  }
  uint64_t spilled_bytes = 0;
  if (Status s = CountSpilled(txn, &spilled_bytes); !s.ok()) return s;
  const uint64_t changed_bytes = batch->writer->changed_bytes() + kCommitBytes;
  const uint64_t pruned = batch->writer->pruned();
  batch->writer.reset();
  page_.Prepare(mdb_txn_id(txn), batch->applied, batch->horizon);
  if (Planted(PlantedBug::kAppliedEarly)) Publish(batch->applied);
  if (Status s = batch->txn.Commit(); !s.ok()) return s;
  cc_pause(CC_PAUSE_STORAGE_APPLIED);
  KeepLength();

  published_horizon_ = batch->horizon;
  epoch_ = batch->epoch;
  staged_from_ = staged_from;
  spilled_bytes_ = spilled_bytes;
  for (const Lsn lsn : batch->unstaged) staging_.Remove(lsn);
  changed_bytes_ += changed_bytes;
  Publish(batch->applied);
  mutations_.fetch_add(batch->mutations, std::memory_order_relaxed);
  pruned_.fetch_add(pruned, std::memory_order_relaxed);
  return Status::Ok();
}

// LMDB does not write pages that a transaction allocated and gave back, and these may be the last ones. The batch is
// committed by now, so a failure is no error of it; the next one tries again.
void Replica::KeepLength() {
  MDB_envinfo info;
  int fd;
  struct stat file;
  if (mdb_env_info(env_.get(), &info) != 0 || info.me_last_pgno <= last_page_) return;
  const auto claimed = static_cast<off_t>((info.me_last_pgno + 1) * kPageBytes);
  if (mdb_env_get_fd(env_.get(), &fd) != 0 || fstat(fd, &file) != 0) return;
  if (file.st_size < claimed && ftruncate(fd, claimed) != 0) return;
  last_page_ = info.me_last_pgno;
}

void Replica::AbortBatch(Batch* batch) {
  batch->writer.reset();
  batch->txn.Abort();
  counters_.Forget();
  StartSweep();  // garbage may have been taken from the queue
  Status s = LoadDropping();
  if (s.ok()) s = LoadStaged();
  if (!s.ok())
    RoleLog("storage")->error("storage replica {}: what is being dropped or staged could not be read: {}", directory(),
                              s.ToString());
}

Status Replica::ContinueBatch(Batch* batch, uint64_t more) {
  const bool full = batch->frugal ? batch->mutations >= kFrugalMutations || batch->bytes + more >= kFrugalBytes
                                  : batch->bytes + more >= options_.transaction_bytes;
  if (batch->bytes == 0 || !full || batch->parts.cut()) return Status::Ok();
  if (Status s = CommitBatch(batch); !s.ok()) return s;
  if (batch->frugal) {
    Status s = CheckpointIfDue(/*force=*/true);
    if (s.ok()) s = FinishCheckpoint();
    if (!s.ok()) return s;
  }
  return BeginBatch(batch, batch->frugal);
}

void Replica::Publish(Lsn applied) {
  applied_.store(applied);
  memtable_.Flushed(applied);
  if (applied > readable()) {  // not from the memtable
    memtable_.PublishFlushed(applied);
    readable_.store(applied);
  }
  page_.Publish(readable(), applied);
  if (waiters_.load() == 0) return;
  { std::lock_guard lock(wait_mutex_); }  // a waiter is now either asleep or yet to look
  applied_changed_.notify_all();
}

Status Replica::ApplyFrames(std::string_view frames, Batch* batch) {
  while (!frames.empty()) {
    Frame frame;
    size_t consumed;
    if (Status s = ParseFrame(frames, &frame, &consumed); !s.ok())
      return {Code::kCorruption, "frames from the journal: " + s.message()};
    frames.remove_prefix(consumed);
    if (frame.lsn <= batch->applied) {
      if (Status s = CollectStaged(frame); !s.ok()) return s;
      continue;
    }
    if (frame.prev_lsn != batch->applied)
      return Damaged(frame.lsn,
                     "gap: it follows " + LsnText(frame.prev_lsn) + ", applied is " + LsnText(batch->applied));
    if (frame.epoch < batch->epoch) return Damaged(frame.lsn, "its epoch is lower than the one before it");
    if (Status s = ApplyRecord(frame, batch); !s.ok()) return s;
    journal_bytes_ += consumed;
    records_++;
    batch->applied = frame.lsn;
    batch->epoch = frame.epoch;
    if (Status s = ContinueBatch(batch); !s.ok()) return s;
  }
  return Status::Ok();
}

Status Replica::ApplyRecord(const Frame& frame, Batch* batch) {
  const std::string_view body = frame.record.substr(1);
  switch (static_cast<RecordType>(frame.record[0])) {
    case RecordType::kEpochStart: return Status::Ok();
    case RecordType::kCommit: return ApplyCommit(body, frame.lsn, batch);
    case RecordType::kChunk: return ApplyChunk(body, frame, batch);
    case RecordType::kAbandon: {
      Token token;
      if (Status s = ParseAbandon(body, frame.lsn, &token); !s.ok()) return s;
      return DeleteStaged(token, batch);
    }
  }
  return Damaged(frame.lsn, "unknown type " + std::to_string(static_cast<uint8_t>(frame.record[0])));
}

Status Replica::ApplyCommit(std::string_view body, Lsn lsn, Batch* batch) {
  WriteSetView write_set;
  if (Status s = WriteSetView::Parse(body, &write_set); !s.ok()) return Damaged(lsn, s.message());
  const bool staged = write_set.chunk_count() > 0 || staged_.contains(write_set.token());
  batch->values = write_set.mutations().size() + (staged ? staging_.bytes() + spilled_bytes_ : 0);
  if (staged) {
    if (Status s = ApplyStaged(write_set.token(), write_set.chunk_count(), lsn, batch); !s.ok()) return s;
  }
  if (Status s = ApplyMutations(write_set.mutations(), lsn, batch); !s.ok()) return s;
  if (batch->parts.cut()) return Damaged(lsn, "it ends inside a value");
  return staged ? DeleteStaged(write_set.token(), batch) : Status::Ok();
}

Status Replica::ApplyMutations(std::string_view mutations, Lsn lsn, Batch* batch) {
  MutationReader reader(mutations);
  Mutation mutation;
  while (!reader.AtEnd()) {
    if (Status s = reader.Next(&mutation); !s.ok()) return Damaged(lsn, s.message());
    const std::string_view key = mutation.key;
    if (key.size() < kPrefixSize || key.size() > kMaxKey || static_cast<uint8_t>(key[0]) > 2)
      return Damaged(lsn, "a key of " + std::to_string(key.size()) + " bytes that belongs nowhere");
    if (mutation.op == MutationOp::kPutPart || batch->parts.cut()) {
      if (Status s = ApplyPart(mutation, lsn, batch); !s.ok()) return s;
      continue;
    }
    batch->mutations++;
    batch->bytes += key.size() + mutation.value.size();
    if (mutation.op == MutationOp::kDropStorage) {
      if (KeySpace(key) == Space::kSystem) return Damaged(lsn, "drop of system keys");
      if (Status s = DropStorage(KeyStorage(key), lsn, batch); !s.ok()) return s;
      continue;
    }
    if (IsDropped(key)) continue;
    if (mutation.explicit_lsn != kNoLsn && mutation.explicit_lsn < lsn) building_[KeyPrefix(key)] = lsn;
    const std::string_view value = mutation.op == MutationOp::kPut ? mutation.value : std::string_view();
    if (Status s = batch->writer->Put(key, value, lsn, mutation.explicit_lsn, batch->horizon); !s.ok()) return s;
    if (batch->frugal) {
      if (Status s = ContinueBatch(batch); !s.ok()) return s;
    }
  }
  return Status::Ok();
}

// A value that comes in parts gets its place with the first one, whole. A large one has an LMDB transaction of its own,
// as it needs memory of its size until that is committed.
Status Replica::ApplyPart(const Mutation& part, Lsn lsn, Batch* batch) {
  const bool first = !batch->parts.cut();
  if (first) {
    if (part.total > batch->values) return Damaged(lsn, "a value in parts that is longer than all that has come");
    if (Status s = ContinueBatch(batch, part.total); !s.ok()) return s;
  }
  if (Status s = batch->parts.Add(part); !s.ok()) return Damaged(lsn, s.message());
  if (first) {
    batch->mutations++;
    batch->value = nullptr;
    batch->bytes += part.key.size();
    if (!IsDropped(part.key)) {
      if (part.explicit_lsn != kNoLsn && part.explicit_lsn < lsn) building_[KeyPrefix(part.key)] = lsn;
      Status s = batch->writer->Reserve(part.key, part.total, lsn, part.explicit_lsn, batch->horizon, &batch->value);
      if (!s.ok()) return s;
    }
  }
  if (batch->value != nullptr) memcpy(batch->value + part.offset, part.value.data(), part.value.size());
  batch->bytes += part.value.size();
  return Status::Ok();
}

Status Replica::DropStorage(StorageId storage, Lsn lsn, Batch* batch) {
  std::string key(1, kMetaDropping);
  AppendBe64(&key, Prefix(Space::kRow, storage));  // names the storage; its entries go as well
  MDB_val k = lmdb::Val(key), v{0, nullptr};
  if (Status s = lmdb::Error(mdb_put(batch->txn.get(), dbs_.meta, &k, &v, 0), "mark drop"); !s.ok()) return s;
  for (const Space space : {Space::kRow, Space::kEntry}) {
    if (Status s = batch->writer->EraseCounters(Prefix(space, storage)); !s.ok()) return s;
    building_.erase(Prefix(space, storage));
  }
  dropping_[storage] = lsn;
  return Status::Ok();
}

}  // namespace concord
