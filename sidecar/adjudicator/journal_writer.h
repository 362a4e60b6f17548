// The leader's pipelined appends to the journal nodes of its epoch (docs/adjudicator.md, "Appending").
//
// Everything queued while a write is under way goes in one request (at most kBatchBytes). Each node has a thread that
// writes, so that a slow one holds nobody up. With one node the thread that calls Flush may write instead, which saves
// a wake-up where commits come one by one; where they come close together it had better go and take the next, as one
// write and one sync then carry many.
//
// Thread-safe. Invariants:
//  - Frames go to every node in the order of Append.
//  - `on_committed` is called with L only when W nodes have synced every frame up to L.
//  - `on_failed` is called once, when fewer than W nodes are left; nothing is committed after it.
// Callbacks come from the writer's own threads, or from one that is in Flush, with none of its locks held. What may be
// queued is bounded by the caller, who knows what is not yet committed; a node that falls further behind than
// Options::max_lag_bytes is given up.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
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

namespace concord {

class JournalWriter {
 public:
  static constexpr size_t kBatchBytes = 8u << 20;

  struct Options {
    uint64_t epoch = 0;
    uint32_t write_quorum = 1;
    Lsn committed_lsn = kNoLsn;
    size_t max_lag_bytes = 256u << 20;
    // The only node, if it is of this process: appended to without gRPC.
    journal::JournalNode* local_node = nullptr;
  };

  // All nodes end at the same record.
  JournalWriter(const std::vector<std::shared_ptr<proto::Journal::StubInterface>>& nodes, const Options& options,
                std::function<void(Lsn)> on_committed, std::function<void(const Status&)> on_failed);
  ~JournalWriter();

  // Opens the streams.
  void Start();
  // Queues a frame of a record (core/frame.h). Never blocks.
  void Append(Lsn lsn, Lsn prev_lsn, std::string_view head, std::string_view rest);
  // Sees to it that what is queued is written. `more_to_come`: the caller expects to queue more at once, so it is not
  // held up; otherwise it may block as long as a single node needs.
  void Flush(bool more_to_come);
  // Ends the streams and the threads; no callback comes after it. Not from a callback.
  void Stop();

 private:
  struct Node {
    std::shared_ptr<proto::Journal::StubInterface> stub;
    std::unique_ptr<AppendLink> link;
    std::deque<std::string> queue;  // frames, in pieces of at most about kBatchBytes
    size_t queued_bytes = 0;
    Lsn told_committed = kNoLsn;
    Lsn synced = kNoLsn;
    bool writing = false;  // some thread is in link->Write
    bool failed = false;
    std::thread reader;
    std::thread writer;
  };

  void WriteOne(Node* node, std::unique_lock<std::mutex>* lock);
  void WriteLoop(Node* node);
  void ReadLoop(Node* node);
  void Acknowledge(Node* node, Lsn synced);
  bool HasWork(const Node& node) const;
  void Fail(Node* node);
  Lsn Committed() const;

  const Options options_;
  const std::function<void(Lsn)> on_committed_;
  const std::function<void(const Status&)> on_failed_;

  std::mutex mutex_;                 // guards everything below, and Node's fields but its link and threads
  std::condition_variable changed_;  // work for a writer thread, or `writing` has become false
  std::vector<std::unique_ptr<Node>> nodes_;
  size_t alive_ = 0;
  Lsn committed_ = kNoLsn;
  bool lost_ = false;  // fewer than W nodes are left
  bool stopping_ = false;
};

}  // namespace concord
