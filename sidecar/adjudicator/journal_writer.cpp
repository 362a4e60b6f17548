#include "sidecar/adjudicator/journal_writer.h"

#include <algorithm>
#include <cassert>

#include "core/frame.h"
#include "core/lsn_page.h"
#include "sidecar/rpc/log.h"

namespace concord {
namespace {

constexpr int64_t kHeartbeatsPerLease = 5;
// The node's clock may run slower than ours by this part of the lease.
constexpr int64_t kClockDrift = 50;

}  // namespace

JournalWriter::JournalWriter(const std::vector<std::shared_ptr<proto::Journal::StubInterface>>& nodes,
                             const std::vector<size_t>& members, const Options& options,
                             std::function<void(Lsn)> on_committed, std::function<void(const Status&)> on_failed)
    : options_(options),
      on_committed_(std::move(on_committed)),
      on_failed_(std::move(on_failed)),
      alive_(members.size()),
      appended_(options.last_lsn),
      committed_(options.committed_lsn) {
  assert(members.size() >= options.write_quorum);
  // Nodes grant no longer one, and take a writer for lost that is silent for long.
  assert(options.lease_ms <= journal::WriterLease::kLeaseMsMax &&
         2 * options.lease_ms / kHeartbeatsPerLease <= journal::WriterLease::kSilenceMs);
  for (const auto& stub : nodes) {
    nodes_.push_back(std::make_unique<Node>());
    nodes_.back()->stub = stub;
    nodes_.back()->failed = true;
  }
  for (const size_t member : members) nodes_[member]->failed = false;
}

JournalWriter::~JournalWriter() { Stop(); }

void JournalWriter::Start() {
  // Opening one may wait for a connection.
  std::vector<std::unique_ptr<AppendLink>> links;
  for (const auto& node : nodes_) links.push_back(node->failed ? nullptr : OpenLink(*node));
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < nodes_.size(); i++) {
    if (links[i] != nullptr) Serve(nodes_[i].get(), std::move(links[i]));
  }
}

std::unique_ptr<AppendLink> JournalWriter::OpenLink(const Node& node) const {
  return options_.local_node != nullptr && nodes_.size() == 1 ? OpenLocalAppend(options_.local_node)
                                                              : OpenRemoteAppend(node.stub);
}

// Needs mutex_.
void JournalWriter::Serve(Node* node, std::unique_ptr<AppendLink> link) {
  node->link = std::move(link);
  node->ended = false;
  node->reader = std::thread([this, node] { ReadLoop(node); });
  node->writer = std::thread([this, node] { WriteLoop(node); });
}

void JournalWriter::Append(Lsn lsn, Lsn prev_lsn, std::string_view head, std::string_view rest) {
  const size_t size = kFrameHeaderSize + head.size() + rest.size();
  const std::lock_guard lock(mutex_);
  appended_ = lsn;
  for (const auto& node : nodes_) {
    if (node->failed && !node->joining) continue;
    if (node->queue.empty() || node->queue.back().size() + size > kBatchBytes) node->queue.emplace_back();
    AppendFrame(&node->queue.back(), options_.epoch, lsn, prev_lsn, head, rest);
    node->queued_bytes += size;
    if (node->queued_bytes <= options_.max_lag_bytes) continue;
    if (!node->failed) {
      RoleLog("adjudicator")
          ->warn("journal node falls behind, and is to catch up epoch={} reason=\"too slow\"", options_.epoch);
      node->link->Cancel();  // so that its reader ends
    }
    Fail(node.get());
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
  node->sent_us = BoottimeUs();
  if (options_.lease_ms > 0) {
    node->released = releasing_;
    request.set_release(releasing_);
    request.set_lease_ms(releasing_ ? 0 : static_cast<uint64_t>(options_.lease_ms));
    request.set_sent_us(static_cast<uint64_t>(node->sent_us));
  }
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
  // Its own thread waits for the end of what another one writes, and then for the next heartbeat.
  if (node->failed || stopping_ || options_.lease_ms > 0) changed_.notify_all();
}

bool JournalWriter::HasWork(const Node& node) const {
  if (node.failed || lost_ || stopping_) return false;
  if (releasing_) return !node.released || !node.queue.empty();
  // A quorum of one commits by syncing; others must be told what is committed, also when nothing more is appended.
  return !node.queue.empty() || (options_.write_quorum > 1 && node.told_committed < committed_) ||
         (options_.lease_ms > 0 && BoottimeUs() >= HeartbeatDueUs(node));
}

int64_t JournalWriter::HeartbeatDueUs(const Node& node) const {
  return node.sent_us + options_.lease_ms * 1000 / kHeartbeatsPerLease;
}

void JournalWriter::WriteLoop(Node* node) {
  std::unique_lock lock(mutex_);
  for (;;) {
    const auto ready = [&] { return (HasWork(*node) && !node->writing) || node->failed || lost_ || stopping_; };
    if (!ready()) {
      // A heartbeat is due only when nobody is writing, and no more once the lease is given back.
      if (options_.lease_ms == 0 || node->writing || releasing_) {
        changed_.wait(lock);
      } else {
        changed_.wait_for(lock, std::chrono::microseconds(HeartbeatDueUs(*node) - BoottimeUs()));
      }
      continue;
    }
    if (node->failed || lost_ || stopping_) return;
    WriteOne(node, &lock);
  }
}

void JournalWriter::ReadLoop(Node* node) {
  proto::AppendReply reply;
  while (node->link->Read(&reply)) {
    if (reply.failed()) {
      // The node has failed and waits for us to be done, so that it can end the call with its reason.
      std::unique_lock lock(mutex_);
      Fail(node);
      changed_.wait(lock, [&] { return !node->writing; });
      lock.unlock();
      node->link->WritesDone();
      continue;
    }
    if (reply.heard_us() != 0) {
      const std::lock_guard lock(mutex_);
      node->heard_us = std::max(node->heard_us, static_cast<int64_t>(reply.heard_us()));
      if (releasing_) changed_.notify_all();
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
    node->ended = true;
    if (!stopping_)
      RoleLog("adjudicator")->warn("journal node lost epoch={} reason=\"{}\"", options_.epoch, status.ToString());
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
    if (synced > node->synced) {
      node->synced = synced;
      if (std::any_of(nodes_.begin(), nodes_.end(), [](const auto& other) { return other->joining; }))
        changed_.notify_all();
    }
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
  node->failed = true;
  node->joining = false;
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

std::vector<size_t> JournalWriter::Absent() {
  std::vector<size_t> absent;
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < nodes_.size(); i++) {
    if (nodes_[i]->ended) absent.push_back(i);
  }
  return absent;
}

bool JournalWriter::BeginJoin(size_t node, Lsn* end, size_t* source) {
  Node* const joining = nodes_[node].get();
  // They have left their loops, or are about to.
  if (joining->reader.joinable()) joining->reader.join();
  if (joining->writer.joinable()) joining->writer.join();
  std::unique_lock lock(mutex_);
  joining->joining = true;
  joining->join_end = *end = appended_;
  // One is enough: this one may be what is missing for a quorum.
  const auto found = [&] {
    return std::find_if(nodes_.begin(), nodes_.end(),
                        [&](const auto& member) { return !member->failed && member->synced >= *end; });
  };
  const auto over = [&] { return !joining->joining || joins_ended_ || lost_ || stopping_; };
  changed_.wait(lock, [&] { return found() != nodes_.end() || over(); });
  if (over()) {
    Fail(joining);
    return false;
  }
  *source = static_cast<size_t>(found() - nodes_.begin());
  return true;
}

bool JournalWriter::Join(size_t node) {
  Node* const joining = nodes_[node].get();
  auto link = OpenLink(*joining);  // not under the lock: it may wait for a connection
  {
    const std::lock_guard lock(mutex_);
    if (joining->joining && !lost_ && !stopping_) {
      joining->joining = joining->failed = false;
      joining->told_committed = kNoLsn;
      alive_++;
      Serve(joining, std::move(link));
    }
  }
  if (link == nullptr) {
    Acknowledge(joining, joining->join_end);
    return true;
  }
  link->Cancel();
  for (proto::AppendReply reply; link->Read(&reply);) {
  }
  (void)link->Finish();
  return false;
}

void JournalWriter::AbandonJoin(size_t node) {
  const std::lock_guard lock(mutex_);
  Fail(nodes_[node].get());
}

void JournalWriter::EndJoins() {
  const std::lock_guard lock(mutex_);
  joins_ended_ = true;
  changed_.notify_all();
}

Lsn JournalWriter::committed() {
  const std::lock_guard lock(mutex_);
  return committed_;
}

void JournalWriter::Release(int wait_ms) {
  std::unique_lock lock(mutex_);
  releasing_ = true;
  changed_.notify_all();
  changed_.wait_for(lock, std::chrono::milliseconds(wait_ms), [this] {
    return lost_ || stopping_ || std::all_of(nodes_.begin(), nodes_.end(), [](const auto& node) {
             return node->failed || (node->released && node->heard_us >= node->sent_us);
           });
  });
}

int64_t JournalWriter::LeaseUntilUs() {
  if (options_.lease_ms == 0) return std::numeric_limits<int64_t>::max();
  const std::lock_guard lock(mutex_);
  if (lost_ || stopping_ || releasing_ || alive_ < options_.write_quorum) return 0;
  std::vector<int64_t> heard;
  for (const auto& node : nodes_) heard.push_back(node->heard_us);
  std::nth_element(heard.begin(), heard.begin() + (options_.write_quorum - 1), heard.end(), std::greater<>());
  const int64_t oldest_us = heard[options_.write_quorum - 1];
  const int64_t lease_us = options_.lease_ms * 1000;
  return oldest_us == 0 ? 0 : oldest_us + lease_us - lease_us / kClockDrift;
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
