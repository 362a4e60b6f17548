// A journal node without its network: who may append, what is committed, who is woken, what is trimmed.
//
// Appending is two steps, so that the thread that brings frames can also be the one that syncs them, without a wake-up
// in between. Submit checks frames and queues them. FlushOnce takes all that has queued and makes it durable with one
// sync, unless another thread is doing so; then that thread, by calling FlushOnce until it has nothing to do, takes the
// rest along with its next sync. Whoever calls Submit must call FlushOnce until it returns kNothing or kBusy.
//
// Thread-safe. Invariants:
//  - Nothing is accepted below the sealed epoch, nor above it: an epoch begins with Seal. A Seal that has returned is
//  on
//    disk, and no frame of an earlier epoch gets in after it.
//  - committed <= synced, both never fall (Truncate refuses to cut what is committed).
//  - Readers see committed frames only, unless they ask for the synced ones.
//  - A frame above the lowest checkpoint of the live leases is never trimmed, nor is anything while there is no lease.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/lsn.h"
#include "core/status.h"
#include "sidecar/journal/lease_table.h"
#include "sidecar/journal/segment_log.h"
#include "sidecar/journal/writer_lease.h"

namespace concord::journal {

struct JournalNodeOptions {
  SegmentLogOptions log;
  size_t queue_bytes_max = 64u << 20;  // of frames not yet synced; one request more is always let in
  size_t group_bytes_max = 4u << 20;   // of one sync; one request is never split
  // Records younger than this stay, whatever was checkpointed: a new adjudicator reads them.
  int64_t retention_ms = 60'000;
  int64_t silence_ms = WriterLease::kSilenceMs;  // of a writer that is taken for lost then
};

struct AppendInput {
  uint64_t epoch = 0;
  Lsn committed_lsn = kNoLsn;  // what the writer knows to be on a quorum
  uint32_t write_quorum = 0;
  std::string frames;  // may be empty
  int64_t lease_ms = 0;
  bool release = false;
};

// Who has leases, of the file beside the segments. kNotFound: there is none; kInvalid: of another version.
Status LoadLeases(const std::string& directory, LeaseTable* out);

class JournalNode {
 public:
  static Status Open(JournalNodeOptions options, std::unique_ptr<JournalNode>* out);
  ~JournalNode();

  struct SealResult {
    uint64_t last_epoch;
    Lsn last_lsn, first_lsn, committed_lsn;
    int64_t lease_left_ms;
    uint64_t lease_epoch;
    bool is_new;  // not sealed in this epoch before
  };
  // kStaleEpoch if a higher epoch was seen. Frames of earlier epochs that are queued and not written are refused.
  // Nothing is trimmed from then on until the epoch's first frames come: whoever sealed reads from first_lsn on.
  Status Seal(uint64_t epoch, SealResult* result);
  // Cuts what lies above `lsn`. Of the sealed epoch only; kInvalid if that is committed.
  Status Truncate(uint64_t epoch, Lsn lsn);
  // Gives up the whole log, which then goes on after `lsn`; of the sealed epoch only. Another node has trimmed what
  // came before, so it is committed. kInvalid if the log has more than that.
  Status Restart(uint64_t epoch, Lsn lsn);

  // kStaleEpoch: fenced. kInvalid: a gap, garbage, or an epoch that did not begin with Seal. kNoSpace passes, kIoError
  // stays. With frames it waits (and helps to sync) while the queue is full.
  Status Submit(AppendInput input);
  enum class Flush { kNothing, kBusy, kSynced, kFailed };
  // Of the writer of that epoch; what another's has queued is left to it. kSynced: `*synced_lsn` is the new end.
  // kFailed:
  // `*failure` tells why; all that was queued is refused. kBusy: somebody else is at the log, perhaps with what this
  // writer has queued.
  Flush FlushOnce(uint64_t epoch, Lsn* synced_lsn, Status* failure);
  // Submit, and wait until it is synced; for callers with one request at a time.
  Status Append(AppendInput input);
  // Ok if a writer of this epoch is welcome now.
  Status CheckEpoch(uint64_t epoch) const;
  // The stream of this epoch's writer has ended.
  void LoseWriter(uint64_t epoch);
  struct Writer {
    bool live;
    int64_t lease_left_ms;
  };
  Writer writer() const;

  // Waits until something after `after_lsn` is committed. The committed LSN then; also on timeout and shutdown.
  Lsn WaitCommitted(Lsn after_lsn, std::chrono::milliseconds timeout);
  // As SegmentLog::Read; the caller names a limit that is committed or synced.
  Status Read(Lsn after_lsn, Lsn limit_lsn, size_t bytes_max, std::string* frames, Lsn* last_lsn) const;

  // While there is one, somebody waits for what becomes committed.
  class Follower {
   public:
    explicit Follower(JournalNode* node) : node_(node) { node_->followers_++; }
    ~Follower() { node_->followers_--; }
    Follower(const Follower&) = delete;
    Follower& operator=(const Follower&) = delete;

   private:
    JournalNode* const node_;
  };
  bool followed() const { return followers_ > 0; }

  // A replica's lease, and trimming what nobody needs any more.
  Status ReportCheckpoint(const std::string& replica_id, Lsn checkpoint_lsn, uint64_t lease_ms, Lsn* trimmed_lsn);

  // As SegmentLog::Room.
  uint64_t Room() const { return log_->Room(); }
  std::vector<LeaseTable::Listed> Leases() const;

  const SegmentLog::Observed& observed() const { return log_->observed(); }
  SegmentLog::State state() const;  // committed_lsn: as far as this node knows, not only what is on disk

  // Wakes all waiters; whatever waits or comes later ends with kShutdown. Reading and Status go on.
  void Shutdown();

 private:
  JournalNode(JournalNodeOptions options, std::unique_ptr<SegmentLog> log, LeaseTable leases);

  static Status Check(AppendInput* input, BatchRef* batch);
  Status Enqueue(const AppendInput& input, BatchRef batch, uint64_t* drops);
  Status CheckEpochLocked(uint64_t epoch) const;
  void DropQueue(Status why);
  Status Cut(uint64_t epoch, Lsn lsn, bool restart);
  void AdvanceCommitted();
  void LeaveWriterSeat();

  const JournalNodeOptions options_;
  const std::unique_ptr<SegmentLog> log_;
  std::atomic<int> followers_ = 0;

  mutable std::mutex mutex_;           // guards what follows
  std::condition_variable progress_;   // the writer's seat became free, the queue shorter, synced_lsn_ higher
  std::condition_variable committed_;  // committed_lsn_ higher
  bool writing_ = false;               // the writer's seat: some thread uses the log's writing half
  bool shutdown_ = false;
  uint64_t sealed_epoch_;
  std::deque<BatchRef> queue_;
  size_t queue_bytes_ = 0;
  Lsn accepted_lsn_;  // the end of the queue, or of the log if it is empty
  uint64_t accepted_epoch_;
  uint64_t drops_ = 0;  // how often the queue was refused
  Status drop_reason_;
  Lsn synced_lsn_;
  Lsn committed_lsn_;
  Lsn writer_committed_lsn_ = kNoLsn;
  uint32_t write_quorum_ = 0;  // of the writer; 0 until it has told
  bool taking_over_ = false;   // sealed, and nothing was appended since
  WriterLease writer_lease_;

  mutable std::mutex trim_mutex_;  // held over a trim; taken before mutex_
  LeaseTable leases_;              // guarded by trim_mutex_
};

}  // namespace concord::journal
