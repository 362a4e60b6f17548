// The leader's pipelined appends to the journal nodes of its epoch (docs/adjudicator.md, "Appending").
//
// Everything queued while a write is under way goes in one request (at most kBatchBytes); and as a node syncs one
// group at a time, little is sent to it before it has acknowledged what it has: that would wait there, and cost a
// message of its own on each of the ways that a commit goes. (Nagle's rule, RFC 896.) So a node that follows has mostly
// taken all that it was sent; then whoever has something for it writes it, the thread that calls Flush or one that has
// heard an acknowledgement, and wakes nobody. For all else, heartbeats, much at once, a node that is slow, each node
// has a thread that writes, so that no node holds up another. A node of this process is handed its frames, and its
// reader, which of others waits for answers, syncs them. A single node is written to by the thread that calls Flush,
// which also syncs it if it is of this process and nobody else could lead; where commits come close together that
// thread had better go and take the next, as one write and one sync then carry many.
//
// A node that is not among the members, or fails, may join (JournalRejoin brings it up to date): BeginJoin says where
// its log must end, what follows that is queued for it; Join opens its stream. A node that was added is written to like
// the others, and counted only once the ensemble has been changed (JournalChange).
//
// With Options::lease_ms every node hears from the writer several times in that long, and the writer knows how long W
// of them have promised to wait for it (sidecar/journal/writer_lease.h).
//
// Thread-safe. Invariants:
//  - Frames go to every node in the order of Append.
//  - `on_committed` is called with L only when W nodes have synced every frame up to L; from BeginChange on, W of the
//    old ensemble and W of the new one.
//  - `on_failed` is called once, when fewer than W nodes are left or a member is sealed for a newer epoch; nothing is
//    committed after it.
// Callbacks come from the writer's own threads, or from one that is in Flush, with none of its locks held. Two calls of
// `on_committed` may come in either order. What may be queued is bounded by the caller, who knows what is not yet
// committed; a node that falls further behind than Options::max_lag_bytes is written to no more until it has joined
// again.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/lsn.h"
#include "core/status.h"
#include "proto/journal.grpc.pb.h"
#include "sidecar/adjudicator/quorum.h"
#include "sidecar/journal/append_link.h"
#include "sidecar/journal/journal_peer.h"

namespace concord {

class JournalWriter {
 public:
  static constexpr size_t kBatchBytes = 8u << 20;
  static constexpr size_t kWaitBytes = 64u << 10;    // more than that is not kept back
  static constexpr size_t kAtOnceBytes = 32u << 10;  // half of a new HTTP/2 stream's window (RFC 9113, 6.9.2)

  struct Options {
    uint64_t epoch = 0;
    uint32_t write_quorum = 1;  // of all nodes
    Lsn last_lsn = kNoLsn;      // where the log ends
    Lsn committed_lsn = kNoLsn;
    size_t max_lag_bytes = 256u << 20;
    int64_t lease_ms = 0;  // 0: there is no other who could lead, so none is needed
  };

  // `members`: of the nodes, those whose logs end at Options::last_lsn.
  JournalWriter(const std::vector<JournalPeer>& nodes, const std::vector<size_t>& members, const Options& options,
                std::function<void(Lsn)> on_committed, std::function<void(const Status&)> on_failed);
  ~JournalWriter();

  // Opens the streams.
  void Start();
  // Queues a frame of a record (core/frame.h). Never blocks.
  void Append(Lsn lsn, Lsn prev_lsn, std::string_view head, std::string_view rest);
  // Sees to it that what is queued is written. With a single node it may block as long as that needs, but if
  // `more_to_come`: the caller expects to queue more at once.
  void Flush(bool more_to_come);
  // Until when nobody else can have committed anything, in microseconds of BoottimeUs; 0: that is over, or has not
  // begun.
  int64_t LeaseUntilUs();
  // Joining, by one thread that has ended before Stop. The nodes that frames do not go to:
  std::vector<size_t> Absent();
  // Queues for one of them what is appended from now on. `*end`: the record before; `*source`: a member that has it
  // synced. Waits until there is one; false if the epoch ends first.
  bool BeginJoin(size_t node, Lsn* end, size_t* source);
  // Its log ends there: it is a member, unless it has fallen too far behind meanwhile.
  bool Join(size_t node);
  void AbandonJoin(size_t node);
  // From any thread: BeginJoin returns, and refuses from now on.
  void EndJoins();
  Lsn committed();
  // The most that any of the ensembles asks for.
  uint32_t write_quorum();

  // Changing the ensemble, by one thread that has ended before Stop. The new node's index; it is Absent.
  size_t AddNode(const JournalPeer& peer);
  // Waits until all of them are written to; false after `timeout_ms`, or if the epoch has ended: see ended().
  bool AwaitJoined(const std::vector<size_t>& nodes, int timeout_ms);
  // Counts both ensembles, and waits until the new one has all that was committed, and has promised to wait for this
  // leader for as long as the old one had. False if that takes too long, the epoch ends, or too few of the new one are
  // left: then only the old one is counted. Commits need both meanwhile.
  bool BeginChange(const Quorum& next, int timeout_ms);
  // Counts only the new ensemble from now on, or the old one again. Nodes that are in no ensemble are written to no
  // more.
  void EndChange(bool adopt);
  bool ended();

  // How each node does, in the order of their indexes.
  struct NodeState {
    bool retired = false;  // of no more account
    bool counted = false;
    bool written = false;  // it has all before what is queued for it
    Lsn synced = kNoLsn;
    size_t queued_bytes = 0;
    int64_t sync_us = 0;  // from a write to its acknowledgement, a moving average; 0: not known
  };
  std::vector<NodeState> Nodes();

  // Gives the lease back: the caller vouches for nothing any more, and appends nothing more. Waits until the nodes have
  // taken that, for `wait_ms` at most.
  void Release(int wait_ms);
  // Ends the streams and the threads; no callback comes after it. Not from a callback.
  void Stop();

 private:
  enum class Change : uint8_t { kNone, kBeginning, kAsked };  // kAsked: there is no way back but the metastore's answer
  struct Piece {
    std::string frames;  // about kBatchBytes at most
    Lsn last_lsn = kNoLsn;
  };
  struct Node {
    explicit Node(JournalPeer peer_) : peer(std::move(peer_)) {}

    const JournalPeer peer;
    std::unique_ptr<AppendLink> link;
    std::deque<Piece> queue;
    std::condition_variable work;  // for its writer thread
    size_t queued_bytes = 0;
    Lsn told_committed = kNoLsn;
    bool followed = true;      // to tell it: somebody waits for it there
    size_t unheard_bytes = 0;  // sent, and not known to have been taken
    Lsn synced = kNoLsn;
    int64_t asked_us = 0;  // when the last request that asks for an answer was sent,
    int64_t heard_us = 0;  // and the last that is known to have been taken
    bool released = false;
    bool writing = false;  // some thread is in link->Write
    bool failed = true;    // no stream, or an ended one
    bool ended = true;     // and its threads have nothing more to do with it
    bool retired = false;  // in no ensemble any more
    int64_t sync_us = 0;
    Lsn sent_lsn = kNoLsn;   // of the last frame that was sent
    Lsn timed_lsn = kNoLsn;  // what is timed: all up to this,
    int64_t frames_us = 0;   // sent then; 0: nothing is
    bool joining = false;    // then: its frames are queued,
    Lsn join_end = kNoLsn;   // what follows this one
    std::thread reader;
    std::thread writer;
  };

  std::unique_ptr<AppendLink> OpenLink(const Node& node) const;
  void Serve(Node* node, std::unique_ptr<AppendLink> link);
  bool FramesDue(const Node& node) const;
  bool TakesAtOnce(const Node& node) const;
  void WriteOne(Node* node, std::unique_lock<std::mutex>* lock);
  void WriteAll(std::unique_lock<std::mutex>* lock);
  void GoOn(Lsn news);
  void WriteLoop(Node* node);
  void ReadLoop(Node* node);
  void Hear(Node* node, const proto::AppendReply& reply);
  void Acknowledge(Node* node, Lsn synced);
  bool HasWork(const Node& node) const;
  void WakeWriters();
  int64_t HeartbeatEveryUs() const;
  int64_t HeartbeatDueUs(const Node& node) const;
  void Fail(Node* node);
  void CancelLink(Node* node);
  Lsn Committed() const;
  bool Counted(const Node& node) const;
  bool HasQuorum() const;
  bool Ended() const { return joins_ended_ || lost_ || stopping_; }  // needs mutex_
  // What follows from who is counted, and from what they have synced: the committed LSN, if it has risen.
  Lsn Advance();
  Lsn GoBack();
  uint32_t MostOfQuorums() const;
  int64_t LeaseUntil() const;

  const Options options_;
  const std::function<void(Lsn)> on_committed_;
  const std::function<void(const Status&)> on_failed_;

  std::mutex mutex_;                 // guards everything below, and Node's fields but its link and threads
  std::condition_variable changed_;  // for all but the writer threads
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<Quorum> quorums_;  // one; two while the ensemble is being changed
  Change change_ = Change::kNone;
  Lsn appended_ = kNoLsn;
  Lsn committed_ = kNoLsn;
  bool lost_ = false;  // on_failed has been called, or is about to be
  bool stopping_ = false;
  bool joins_ended_ = false;
  bool releasing_ = false;
};

}  // namespace concord
