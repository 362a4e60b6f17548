#include "sidecar/adjudicator/journal_writer.h"

#include <algorithm>
#include <cassert>

#include "core/frame.h"
#include "sidecar/rpc/log.h"

namespace concord {

JournalWriter::JournalWriter(const std::vector<std::shared_ptr<proto::Journal::StubInterface>>& nodes,
                             const Options& options, std::function<void(Lsn)> on_committed,
                             std::function<void(const Status&)> on_failed)
    : options_(options),
      on_committed_(std::move(on_committed)),
      on_failed_(std::move(on_failed)),
      alive_(nodes.size()),
      committed_(options.committed_lsn) {
  assert(nodes.size() >= options.write_quorum);
  for (const auto& stub : nodes) {
    nodes_.push_back(std::make_unique<Node>());
    nodes_.back()->stub = stub;
  }
}

JournalWriter::~JournalWriter() { Stop(); }

void JournalWriter::Start() {
  for (const auto& node : nodes_) {
    node->link = options_.local_node != nullptr && nodes_.size() == 1 ? OpenLocalAppend(options_.local_node)
                                                                      : OpenRemoteAppend(node->stub);
  }
  for (const auto& node : nodes_) {
    node->reader = std::thread([this, n = node.get()] { ReadLoop(n); });
    node->writer = std::thread([this, n = node.get()] { WriteLoop(n); });
  }
}

void JournalWriter::Append(Lsn lsn, Lsn prev_lsn, std::string_view head, std::string_view rest) {
  const size_t size = kFrameHeaderSize + head.size() + rest.size();
  const std::lock_guard lock(mutex_);
  for (const auto& node : nodes_) {
    if (node->failed) continue;
    if (node->queue.empty() || node->queue.back().size() + size > kBatchBytes) node->queue.emplace_back();
    AppendFrame(&node->queue.back(), options_.epoch, lsn, prev_lsn, head, rest);
    node->queued_bytes += size;
    if (node->queued_bytes > options_.max_lag_bytes) {
      RoleLog("adjudicator")->warn("journal node given up for this epoch epoch={} reason=\"too slow\"", options_.epoch);
      Fail(node.get());
      node->link->Cancel();  // so that its reader ends
    }
  }
}

void JournalWriter::Flush(bool more_to_come) {
  std::unique_lock lock(mutex_);
  Node* const only = nodes_.size() == 1 ? nodes_[0].get() : nullptr;
  if (only != nullptr && (only->writing || !HasWork(*only))) return;  // who writes looks again
  if (only != nullptr && !more_to_come) WriteOne(only, &lock);
  if (only == nullptr || HasWork(*only)) changed_.notify_all();
}

// One request of what is queued. The lock is held at entry and exit, not while writing.
void JournalWriter::WriteOne(Node* node, std::unique_lock<std::mutex>* lock) {
  assert(!node->writing && HasWork(*node));
  node->writing = true;
  proto::AppendRequest request;
  request.set_epoch(options_.epoch);
  request.set_write_quorum(options_.write_quorum);
  request.set_committed_lsn(committed_);
  if (!node->queue.empty()) {
    node->queued_bytes -= node->queue.front().size();
    request.set_frames(std::move(node->queue.front()));
    node->queue.pop_front();
  }
  node->told_committed = committed_;
  lock->unlock();
  Lsn synced = kNoLsn;
  const bool written = node->link->Write(std::move(request), &synced);
  if (synced != kNoLsn) Acknowledge(node, synced);
  lock->lock();
  node->writing = false;
  if (!written) Fail(node);  // the stream is broken: the reader ends too, and learns why
  if (node->failed || stopping_) changed_.notify_all();
}

bool JournalWriter::HasWork(const Node& node) const {
  if (node.failed || lost_ || stopping_) return false;
  // A quorum of one commits by syncing; others must be told what is committed, also when nothing more is appended.
  return !node.queue.empty() || (options_.write_quorum > 1 && node.told_committed < committed_);
}

void JournalWriter::WriteLoop(Node* node) {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return (HasWork(*node) && !node->writing) || node->failed || lost_ || stopping_; });
    if (node->failed || lost_ || stopping_) return;
    WriteOne(node, &lock);
  }
}

void JournalWriter::ReadLoop(Node* node) {
  proto::AppendReply reply;
  while (node->link->Read(&reply)) {
    if (reply.synced_lsn() == kNoLsn) {
      // The node has failed and waits for us to be done, so that it can end the call with its reason.
      std::unique_lock lock(mutex_);
      Fail(node);
      changed_.wait(lock, [&] { return !node->writing; });
      lock.unlock();
      node->link->WritesDone();
      continue;
    }
    Acknowledge(node, reply.synced_lsn());
  }
  Status status;
  bool lost = false;
  {
    std::unique_lock lock(mutex_);
    Fail(node);
    changed_.wait(lock, [&] { return !node->writing; });
    lock.unlock();
    status = node->link->Finish();
    if (status.ok()) status = {Code::kUnavailable, "the journal node ended the stream"};
    lock.lock();
    alive_--;
    if (!stopping_)
      RoleLog("adjudicator")
          ->warn("journal node lost for this epoch epoch={} reason=\"{}\"", options_.epoch, status.ToString());
    // A fence is final even if a quorum seems to be left: another leader is taking over.
    if (!lost_ && (alive_ < options_.write_quorum || status.code() == Code::kStaleEpoch)) lost_ = lost = true;
    lost = lost && !stopping_;
    changed_.notify_all();
  }
  if (lost) on_failed_(status);
}

void JournalWriter::Acknowledge(Node* node, Lsn synced) {
  Lsn news = kNoLsn;
  {
    const std::lock_guard lock(mutex_);
    node->synced = std::max(node->synced, synced);
    const Lsn committed = Committed();
    if (committed > committed_ && !lost_ && !stopping_) {
      committed_ = news = committed;
      if (options_.write_quorum > 1) changed_.notify_all();
    }
  }
  if (news != kNoLsn) on_committed_(news);
}

// Needs mutex_. Nothing more is written to the node.
void JournalWriter::Fail(Node* node) {
  if (node->failed) return;
  node->failed = true;
  node->queue.clear();
  node->queued_bytes = 0;
  changed_.notify_all();
}

// Needs mutex_. What a failed node had synced stays synced.
Lsn JournalWriter::Committed() const {
  std::vector<Lsn> synced;
  for (const auto& node : nodes_) synced.push_back(node->synced);
  return QuorumLsn(std::move(synced), options_.write_quorum);
}

void JournalWriter::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  for (const auto& node : nodes_) {
    if (node->link != nullptr) node->link->Cancel();
  }
  for (const auto& node : nodes_) {
    if (node->reader.joinable()) node->reader.join();
    if (node->writer.joinable()) node->writer.join();
  }
  // A caller of Flush may still be in a callback.
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] {
    return std::none_of(nodes_.begin(), nodes_.end(), [](const auto& node) { return node->writing; });
  });
}

}  // namespace concord
