// The thread that follows the journal: it tails the frames after the applied LSN, applies what has arrived in one LMDB
// transaction, and between batches collects garbage and takes checkpoints. It also keeps the replica's lease on all
// journal nodes, so that nothing is trimmed that a restart would need.
//
// One journal node is followed at a time, as all of them tell the same. When its stream ends, or it says nothing for
// half a second, the next one is; and also when another one knows of a commit that has not come for a whole report
// interval: the one followed is cut off from the leader.
//
// A frame is applied by the thread that received it, and the time that it waits there is bounded by one slice of
// maintenance.
//
// Thread safety: Start and Stop from one thread; the rest from any.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "sidecar/journal/journal_peer.h"
#include "sidecar/journal/tail_link.h"
#include "sidecar/metrics/histogram.h"
#include "sidecar/rpc/cancellation.h"
#include "sidecar/storage/replica.h"

namespace concord {

struct ApplierOptions {
  std::string replica_id;
  int64_t lease_ms = 60'000;  // on the journal
  size_t first_journal = 0;   // which node is followed first, modulo how many there are: replicas share them out
  int64_t report_interval_us = 1'000'000;
  // While nobody reads the replica (Replica::IsRead) it takes what the journal has so often: each message costs both
  // some 50 us of processor time, however much it brings, and each LMDB transaction its own copies of shared pages.
  int gather_ms = 200;
  size_t max_batch_bytes = 4u << 20;  // of frames in one LMDB transaction
  size_t maintenance_budget = 256;    // versions removed in one slice, about a millisecond
  // Asked before each report: the journal nodes as of now, without the one of this process. Empty: they never change.
  std::function<Status(std::vector<JournalPeer>*)> members;
  // The replica cannot go on (damaged bytes, a failed sync, a journal of another cluster). Called once, from the
  // applier's thread.
  std::function<void(const Status&)> on_failure;
  // Asked before each report: whether this is no replica of the cluster any more. Then it holds back no journal.
  std::function<bool()> removed;
  // The journal no longer has what follows. Called from the applier's thread, which tries again now and then. Empty:
  // there is nothing but a backup to help.
  std::function<void()> on_fallen;
  // Everything up to the LSN is visible to readers, and the room for what is staged was looked at. Called at the start,
  // and from the applier's thread after each batch; must be quick.
  std::function<void(Lsn)> on_applied;
  // The replica's room has changed: why it is full (a literal), or null; `stuck`: it cannot apply what it has;
  // `scarce`: see StorageRoom. Called as on_applied is, and before it.
  std::function<void(const char* full_reason, bool stuck, bool scarce)> on_room;
};

class Applier {
 public:
  Applier(Replica* replica, ApplierOptions options) : replica_(replica), options_(std::move(options)) {}
  ~Applier() { Stop(); }

  // `local`: the first of the journal nodes, if it is of this process; its frames then come straight from it.
  void Start(const std::vector<JournalPeer>& peers, journal::JournalNode* local = nullptr);
  void Stop();

  // The newest commit that is known of.
  Lsn newest() const;
  const Histogram& apply_us() const { return apply_us_; }
  const Histogram& apply_records() const { return apply_records_; }
  // The journal no longer has what follows the applied LSN. While that is so no lease is asked for, as it would hold
  // back what is of no use; but for this one: from now on the journal is to keep what follows `lsn`. False if no node
  // has said that it does.
  bool fallen() const { return fallen_.load(std::memory_order_acquire); }
  bool Hold(Lsn lsn);
  void Release() { hold_.store(kNoLsn, std::memory_order_release); }
  bool removed() const { return removed_.load(std::memory_order_acquire); }

 private:
  struct Journal {
    explicit Journal(JournalPeer peer_, bool local_ = false)
        : peer(std::move(peer_)), local(local_), met(local_ || !peer.meet) {}
    const JournalPeer peer;
    const bool local;                // of this process
    std::atomic<bool> met;           // it is known to be ours
    std::atomic<bool> told = false;  // that it does not answer
    bool strange = false;            // of the applier's thread, logged: that it is not what it should be
  };
  using JournalPtr = std::shared_ptr<Journal>;

  // Of one LMDB transaction, or several: how long it took, and for how many records.
  class Measured {
   public:
    explicit Measured(Applier* applier)
        : applier_(applier), from_us_(MonotonicUs()), records_(applier->replica_->records()) {}
    ~Measured() {
      const uint64_t records = applier_->replica_->records() - records_;
      if (records == 0) return;
      applier_->apply_us_.Observe(MonotonicUs() - from_us_);
      applier_->apply_records_.Observe(records);
    }
    Measured(const Measured&) = delete;
    Measured& operator=(const Measured&) = delete;

   private:
    Applier* const applier_;
    const uint64_t from_us_;
    const uint64_t records_;
  };

  void Run();
  std::vector<JournalPtr> Journals();
  // The one after `last` in their order, or the first.
  JournalPtr NextJournal(const JournalPtr& last);
  void RefreshMembers();
  // Whether a journal node may be spoken to: asked before anything else is said to it.
  Status Meet(Journal* journal);
  void Fall(const Status& trimmed);
  // Until the stream ends, or an error that ends the applier; or until `gather_ms` is not the right one any more: then
  // `*again`.
  Status Follow(TailLink* tail, int gather_ms, bool* again);
  int GatherMs() const;
  // The replica is read: the stream is opened anew at once, if it gathers.
  void OnRead();
  Status ApplyWithRetry(std::string_view frames);
  // After kNoSpace: `again` until there is space, or this is stopping.
  template <typename Again>
  Status RetryFrugally(Status s, Again&& again);
  // Flushes what the replica has taken when a reader waits for it, or after a while.
  void FlushLoop();
  // Says once how long the journal took to replay, up to where it ended at the start.
  void TellCaughtUp();
  // One slice, and a checkpoint if due.
  Status Maintain();
  void ReportLoop();
  // To one journal node, from any thread; false if it does not answer.
  bool Report(Journal* journal, proto::ReportCheckpointReply* reply);
  void AskWhetherRemoved();
  Status CheckRoom();
  // Tells and logs a change.
  void TellRoom(const Status& room, bool stuck);
  // A link that Stop cancels; null when stopping.
  std::shared_ptr<TailLink> OpenTail(const JournalPtr& journal, Lsn after_lsn, int gather_ms);
  void CloseTail();
  // False when stopping.
  bool Sleep(int64_t us);
  bool stopping() const { return stopping_.load(std::memory_order_acquire); }

  Replica* const replica_;
  const ApplierOptions options_;
  std::atomic<journal::JournalNode*> local_ = nullptr;
  std::atomic<Lsn> newest_ = kNoLsn;  // as a journal node has told
  Histogram apply_us_{Histogram::kMicroseconds};
  Histogram apply_records_{Histogram::kNumbers};
  std::mutex writer_mutex_;     // over what the replica's writer does: the applier's thread and the flusher
  Status flush_status_;         // under writer_mutex_: why the applier is to end
  int64_t eager_until_us_ = 0;  // likewise
  bool more_maintenance_ = true;
  int64_t maintained_us_ = 0;
  int64_t started_us_ = 0;
  Lsn started_at_ = kNoLsn;  // applied then
  Lsn replay_to_ = kNoLsn;   // the local journal's end then
  bool caught_up_ = false;
  Code room_ = Code::kOk;  // as told last: kNoSpace, kTooLarge, or Ok; logged once, not at every retry
  bool stuck_ = false;
  bool scarce_ = false;

  std::atomic<bool> stopping_ = false;
  std::atomic<bool> fallen_ = false;
  std::atomic<bool> removed_ = false;
  std::atomic<Lsn> hold_ = kNoLsn;
  Cancellation calls_;
  std::mutex report_mutex_;  // over a report: what is said later is to come later
  std::mutex mutex_;         // guards what follows
  std::condition_variable wake_;
  std::vector<JournalPtr> journals_;
  JournalPtr followed_;
  std::shared_ptr<TailLink> tail_;  // what Stop cancels
  bool gathers_ = false;            // that one,
  bool hurried_ = false;            // and it was ended so that one that does not is opened
  std::thread thread_;
  std::thread flusher_;
  std::thread reporter_;
};

}  // namespace concord
