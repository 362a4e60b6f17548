// A storage replica: an LMDB environment (core/replica_layout.h) that applies journal frames and keeps every version
// that a read between its horizon and its applied LSN may need. README.md beside this file has the argument for
// checkpoints and for the horizon; docs/storage.md is for operators.
//
// Invariants:
//   - meta.applied, meta.horizon and the counters change in the LMDB transaction of the versions they speak of.
//   - A record is applied once: frames at or below the applied LSN are skipped; a large one may take several LMDB
//     transactions, of which only the last moves the applied LSN, and may be begun again after a crash.
//   - Staged chunks are in LMDB, or in the journal above replay_from() and, once that has been read again, in memory.
//   - Nothing is written before a checkpoint exists that can be gone back to.
//   - After an error nothing of the failed transaction remains, in the file or in memory: the same frames may be tried
//   again.
//
// Thread safety: Apply, Maintain, the checkpoint calls and Close belong to one thread, the writer. Everything else may
// be called from any thread.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/frame.h"
#include "core/memtable.h"
#include "core/replica_layout.h"
#include "core/replica_page.h"
#include "core/wire.h"
#include "sidecar/staged_chunks.h"
#include "sidecar/storage/checkpoint.h"
#include "sidecar/storage/lmdb.h"
#include "sidecar/storage/reader_leases.h"
#include "sidecar/storage/staging_area.h"
#include "sidecar/storage/storage_room.h"
#include "sidecar/storage/version_writer.h"

namespace concord {

struct ReplicaOptions {
  std::string directory;
  uint64_t map_bytes = kReplicaMapBytes;
  unsigned max_readers = 2048;
  // A file of at most so many bytes is checked page by page before it is opened; see start_check.h.
  uint64_t check_bytes = uint64_t{256} << 20;
  int64_t retention_us = 1'000'000;      // versions are kept that long even if nobody is known to need them
  int64_t restart_hold_us = 10'000'000;  // the horizon stands still that long after a start
  int64_t checkpoint_interval_us = 1'000'000;
  uint64_t checkpoint_bytes = 256u << 20;  // or sooner, when about as much has changed
  // Between rounds of collection, if little has piled up: of deleted keys, and of versions that are merely superseded.
  int64_t deleted_interval_us = 5'000'000;
  int64_t superseded_interval_us = 30'000'000;
  uint64_t transaction_bytes = 64u << 20;               // mutations in one LMDB transaction, about
  int64_t staged_lifetime_us = kStagedChunkLifetimeUs;  // another one for tests only
  // A staged chunk goes to LMDB when so much of the journal has come behind it, or after so long.
  uint64_t staging_bytes = 256u << 20;
  int64_t staging_us = 10'000'000;
  // Keeps what backends of this machine read in shared memory until it is flushed (Take).
  bool memtable = false;
  // For tests; the machine's own if empty.
  std::string boot_id;
  std::function<int64_t()> unix_us;
  std::function<int64_t()> steady_us;
};

struct ReplicaStatistics {
  Lsn applied, checkpoint, horizon;
  uint64_t map_bytes, used_bytes, versions, storages, storages_dropping, readers, mutations, pruned;
  uint64_t file_bytes, free_bytes, max_readers;
  uint64_t dead_versions;  // superseded, tombstones, and of storage being dropped
};

class Replica;

// One consistent look at the replica: a read transaction, with the applied LSN and horizon that it holds. It keeps
// LMDB from reusing pages, so it is to be short. Not thread-safe; returned to the replica's pool when it ends.
class ReplicaView {
 public:
  ReplicaView() = default;
  ReplicaView(ReplicaView&& other) noexcept = default;
  ReplicaView& operator=(ReplicaView&& other) noexcept;
  ~ReplicaView();

  MDB_txn* txn() const { return txn_.get(); }
  const Replica& replica() const { return *replica_; }
  MDB_dbi DbFor(std::string_view key) const;
  Lsn applied() const { return applied_; }
  Lsn horizon() const { return horizon_; }

 private:
  friend class Replica;
  Replica* replica_ = nullptr;
  std::shared_ptr<Replica> keep_;  // the same, where it is shared: it may be replaced while this looks at it
  lmdb::Txn txn_;
  Lsn applied_ = kNoLsn;
  Lsn horizon_ = kNoLsn;
};

class Replica : public std::enable_shared_from_this<Replica> {
 public:
  // Opens or makes the environment; after a crash of the operating system it stands at its last checkpoint.
  static Status Open(ReplicaOptions options, std::unique_ptr<Replica>* replica);
  ~Replica();

  // ---- the writer ----

  // After which record of the journal Apply or Take goes on. Below readable() while staged chunks are to be found
  // again.
  Lsn resume_from() const { return std::min(readable(), collected_); }
  // After which record the journal is needed, to start again from the present state.
  Lsn replay_from() const { return std::min(applied(), staged_from_); }
  // Applies whole frames, in order. kNoSpace: nothing is lost, free space and try again. kCorruption: a gap, or bytes
  // that no adjudicator lets through; going on would make a wrong state. `frugal`: in small pieces with a checkpoint
  // after each, so that none needs more than the pages that the one before has given back; slow.
  // What was taken and not flushed is applied before.
  Status Apply(std::string_view frames, bool frugal = false);
  // As Apply, but rows and entries may stay in the memtable, where the backends of this machine read them, until they
  // are flushed. After kNoSpace all of the frames count as taken: it is Flush that is to be tried again.
  Status Take(std::string_view frames);
  // Applies what was taken.
  Status Flush(bool frugal = false);
  // Whether that is to be done now: somebody waits for it, or it has waited for long. `*wanted`: the former.
  bool FlushDue(bool* wanted) const;
  // Advances the horizon and removes up to `budget` superfluous versions. `*more`: there is more to do already.
  Status Maintain(size_t budget, bool* more);
  // Records applied by this process.
  uint64_t records() const { return records_; }
  // Begins a checkpoint if one is due (or `force`), without waiting for it; a failed earlier one is told here.
  Status CheckpointIfDue(bool force = false);
  // Sees to it that there is space in hand. kNoSpace: the disk is full; kTooLarge: the map is. See StorageRoom.
  Status CheckRoom() { return room_.Check(env_.get(), RoomForStaged()); }
  bool scarce() const { return room_.scarce(); }
  // Waits for the checkpoint under way.
  Status FinishCheckpoint() { return checkpointer_->Finish(); }
  // A last checkpoint and the clean mark; waiting readers get kShutdown. Views may go on, nothing is applied any more.
  Status Close();

  // ---- any thread ----

  Lsn applied() const { return applied_.load(std::memory_order_acquire); }
  // What can be read here: what is applied, and what was taken and will be as soon as it is asked for.
  Lsn readable() const { return readable_.load(std::memory_order_acquire); }
  bool has_memtable() const { return options_.memtable; }
  // Waits for at most so many microseconds until somebody wants more than `seen` to be flushed; up to where.
  Lsn AwaitWanted(Lsn seen, int64_t wait_us) const;
  uint64_t mutations() const { return mutations_.load(std::memory_order_relaxed); }  // by this process, as
  uint64_t pruned() const { return pruned_.load(std::memory_order_relaxed); }        // versions that were removed
  Lsn checkpoint() const { return checkpointer_->saved_lsn(); }
  // kUnavailable when the time is over, kShutdown when the replica closes.
  Status WaitApplied(Lsn lsn, int64_t wait_us);
  // Whether what is committed is to be applied at once: somebody reads here, or is about to.
  bool IsRead() const { return waiters_ > 0 || options_.steady_us() < read_until_us_.load(std::memory_order_relaxed); }
  // For the next two seconds.
  void ExpectReads();
  // Called when that begins, and must be quick. Empty: nobody is to know.
  void SetOnRead(std::function<void()> on_read);
  // The last checkpoint, to be copied; null before the first. Whoever holds it also holds the replica.
  std::shared_ptr<const HeldCheckpoint> HoldCheckpoint() const { return checkpointer_->Hold(); }
  // Bytes of the data file, as many as there are; what is missing is zeros.
  Status ReadFile(uint64_t offset, size_t size, std::string* bytes) const;
  // Wakes whoever waits for an applied LSN: they get kShutdown.
  void StopWaiting();
  // kUnavailable if no reader slot is free.
  Status OpenView(ReplicaView* view);
  // Tells the horizon, which holds as long as the lease. kTooLarge: there are too many leases.
  Status ReportReaders(const std::string& qp_id, Lsn lowest, int64_t lease_us, Lsn* horizon);
  std::vector<ReaderLeases::Listed> Readers() const { return leases_->List(options_.steady_us()); }
  Status Statistics(ReplicaStatistics* out);
  // Live rows and bytes of a storage prefix, as committed.
  Status Counters(uint64_t prefix, StorageCounters* out);
  const std::string& directory() const { return options_.directory; }
  const ReplicaDatabases& databases() const { return dbs_; }

 private:
  static constexpr int64_t kReadsExpectedUs = 2'000'000;

  friend class ReplicaView;
  struct Batch;  // an LMDB write transaction and what goes with it

  explicit Replica(ReplicaOptions options) : options_(std::move(options)) {}
  Status OpenEnvironment();
  Status OpenDatabases(bool fresh);
  Status LoadState();
  Status CreateShared();
  Status LoadDropping();
  Status LoadStaged();

  Status BeginBatch(Batch* batch, bool frugal = false);
  Status CommitBatch(Batch* batch);
  // Commits and begins again when the batch would grow large with `more`; `applied` does not move but between records.
  Status ContinueBatch(Batch* batch, uint64_t more = 0);
  void AbortBatch(Batch* batch);
  // After each commit: the file is never shorter than its meta pages claim, so that readers can tell one that was cut.
  void KeepLength();
  // Puts all of a record into the memtable. False: LMDB is to have it at once.
  bool Memorise(const Frame& frame);
  void PublishTaken(Lsn lsn);
  Status ApplyNow(std::string_view frames, bool frugal);
  Status ApplyFrames(std::string_view frames, Batch* batch);
  Status ApplyRecord(const Frame& frame, Batch* batch);
  Status ApplyCommit(std::string_view body, Lsn lsn, Batch* batch);
  Status ApplyChunk(std::string_view body, const Frame& frame, Batch* batch);
  void Stage(const ChunkView& chunk, const Frame& frame);
  Status CollectStaged(const Frame& frame);
  // The LSN from which the journal has what the staging area holds once the batch is committed.
  Lsn StagedFrom(const Batch& batch) const;
  Status ApplyStaged(const Token& token, uint32_t count, Lsn lsn, Batch* batch);
  // Counts what is staged in LMDB, as committed with `txn`.
  Status CountSpilled(MDB_txn* txn, uint64_t* bytes) const;
  Status AddSpilledSequences(const Token& token, Batch* batch, std::set<uint32_t>* sequences);
  Status ReadSpilled(const Token& token, uint32_t sequence, Batch* batch, std::string* mutations);
  Status DeleteStaged(const Token& token, Batch* batch);
  bool IsToBeSpilled(Lsn lsn, const StagingArea::Chunk& chunk) const;
  // Writes to LMDB what has been in the staging area for long.
  Status SpillStaged();
  // What they all will need when they commit, those in LMDB and those in memory.
  StagedRoom RoomForStaged() const;
  Status Spill(const StagingArea::Chunk& chunk, Batch* batch);
  // Forgets the chunks of transactions that can no longer commit.
  Status ExpireStaged();
  Status ApplyMutations(std::string_view mutations, Lsn lsn, Batch* batch);
  Status ApplyPart(const Mutation& part, Lsn lsn, Batch* batch);
  bool IsDropped(std::string_view key) const {
    return !dropping_.empty() && KeySpace(key) != Space::kSystem && dropping_.contains(KeyStorage(key));
  }
  Status DropStorage(StorageId storage, Lsn lsn, Batch* batch);

  Status DropSlices(size_t* budget, Batch* batch);
  Status DropRange(uint64_t prefix, size_t* budget, Batch* batch);
  Status CollectGarbage(size_t* budget, Batch* batch);
  bool GarbageReady(Lsn horizon) const;
  // Whether a round of the deleted keys, or of the superseded versions, may begin.
  bool RoundDue(bool deleted, Lsn horizon) const;
  void BeginGarbageRound(Lsn horizon);
  bool DropReady(Lsn horizon) const;
  // Looks at some versions, in key order over both databases, and queues the keys that have garbage.
  Status Sweep(size_t budget);
  void StartSweep();
  Lsn AdvanceHorizon();
  void Publish(Lsn applied);
  void ReturnView(lmdb::Txn txn);

  const ReplicaOptions options_;
  lmdb::Env env_;
  ReplicaDatabases dbs_{};
  std::unique_ptr<ReaderLeases> leases_;
  std::unique_ptr<Checkpointer> checkpointer_;

  // The writer's.
  bool closed_ = false;
  StorageRoom room_;
  uint64_t epoch_ = 0;
  uint64_t last_page_ = 0;  // up to which the file is known to reach
  Lsn published_horizon_ = kNoLsn;
  ReplicaPageMapping page_;
  Memtable memtable_;
  std::string taken_;           // frames that follow applied(), not flushed
  int64_t taken_since_us_ = 0;  // the oldest of them
  uint64_t taken_epoch_ = 0;    // of the newest
  CounterCache counters_;
  Garbage garbage_;
  std::vector<std::string> garbage_round_;  // keys being collected, in key order
  size_t garbage_round_at_ = 0;
  int64_t deleted_round_us_ = 0;  // when the last round of each began
  int64_t superseded_round_us_ = 0;
  std::map<StorageId, Lsn> dropping_;  // LSN of the drop: reads below it are still served
  std::map<Token, Lsn> staged_;        // newest chunk of each undecided token, or later
  std::set<Token> spilled_;            // those of them that have chunks in LMDB
  uint64_t spilled_bytes_ = 0;         // these take, about
  StagingArea staging_;
  Lsn staged_from_ = kNothingStaged;  // as committed
  Lsn collected_ = kNothingStaged;    // below applied(): the journal is being read again, and has been up to here
  uint64_t journal_bytes_ = 0;        // applied by this process
  uint64_t records_ = 0;              // likewise
  std::map<uint64_t, Lsn> building_;  // prefix -> record that last wrote versions older than itself there
  bool sweeping_ = true;              // a new process knows nothing about garbage: look at everything once
  bool sweep_again_ = false;          // something was missed while the sweep was under way
  bool sweep_entries_ = false;        // the sweep has done the rows
  std::string sweep_last_;            // versioned key at which it stands
  uint64_t changed_bytes_ = 0;        // since the last checkpoint began
  int64_t checkpoint_begun_us_ = 0;
  std::string told_checkpoint_;  // why the last one failed, as logged
  int64_t looked_around_us_ = 0;

  std::atomic<Lsn> applied_ = kNoLsn;
  std::atomic<Lsn> readable_ = kNoLsn;
  std::atomic<uint64_t> mutations_ = 0;
  std::atomic<uint64_t> pruned_ = 0;

  std::mutex wait_mutex_;
  std::function<void()> on_read_;  // under wait_mutex_
  std::condition_variable applied_changed_;
  std::atomic<int> waiters_ = 0;
  std::atomic<int64_t> read_until_us_ = 0;  // as is known
  bool stopping_ = false;                   // under wait_mutex_

  std::mutex pool_mutex_;
  std::vector<lmdb::Txn> pool_;
};

}  // namespace concord
