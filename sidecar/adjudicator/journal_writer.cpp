#include "sidecar/adjudicator/journal_writer.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "core/frame.h"
#include "core/lsn_page.h"
#include "core/planted_bugs.h"
#include "sidecar/rpc/log.h"

namespace concord {
namespace {

constexpr int64_t kHeartbeatsPerLease = 5;
constexpr int64_t kSyncsAveraged = 8;
constexpr int64_t kWritingUs = 1000;   // a write under way is looked at again so soon, when a heartbeat is due
constexpr size_t kRequestBytes = 100;  // of a request, and what HTTP/2 adds, without its frames
// The node's clock may run slower than ours by this part of the lease.
constexpr int64_t kClockDrift = 50;

}  // namespace

JournalWriter::JournalWriter(const std::vector<JournalPeer>& nodes, const std::vector<size_t>& members,
                             const Options& options, std::function<void(Lsn)> on_committed,
                             std::function<void(const Status&)> on_failed)
    : options_(options),
      on_committed_(std::move(on_committed)),
      on_failed_(std::move(on_failed)),
      appended_(options.last_lsn),
      committed_(options.committed_lsn) {
  assert(members.size() >= options.write_quorum);
  // Nodes grant no longer one, and take a writer for lost that is silent for long.
  assert(options.lease_ms <= journal::WriterLease::kLeaseMsMax &&
         2 * options.lease_ms / kHeartbeatsPerLease <= journal::WriterLease::kSilenceMs);
  for (const JournalPeer& peer : nodes) nodes_.push_back(std::make_unique<Node>(peer));
  Quorum all{{}, options.write_quorum};
  for (size_t i = 0; i < nodes.size(); i++) all.nodes.push_back(i);
  quorums_ = {std::move(all)};
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
  if (node.peer.node == nullptr) return OpenRemoteAppend(node.peer.stub);
  return OpenLocalAppend(node.peer.node, options_.lease_ms == 0 ? LocalSync::kInWrite : LocalSync::kInRead);
}

// Needs mutex_.
void JournalWriter::Serve(Node* node, std::unique_ptr<AppendLink> link) {
  node->link = std::move(link);
  node->ended = false;
  node->followed = true;
  node->unheard_bytes = 0;
  node->reader = std::thread([this, node] { ReadLoop(node); });
  node->writer = std::thread([this, node] { WriteLoop(node); });
}

void JournalWriter::Append(Lsn lsn, Lsn prev_lsn, std::string_view head, std::string_view rest) {
  const size_t size = kFrameHeaderSize + head.size() + rest.size();
  const std::lock_guard lock(mutex_);
  appended_ = lsn;
  for (const auto& node : nodes_) {
    if (node->failed && !node->joining) continue;
    if (node->queue.empty() || node->queue.back().frames.size() + size > kBatchBytes) node->queue.emplace_back();
    AppendFrame(&node->queue.back().frames, options_.epoch, lsn, prev_lsn, head, rest);
    node->queue.back().last_lsn = lsn;
    node->queued_bytes += size;
    if (node->queued_bytes <= options_.max_lag_bytes) continue;
    if (!node->failed) {
      RoleLog("adjudicator")
          ->warn("journal node falls behind, and is to catch up epoch={} reason=\"too slow\"", options_.epoch);
      CancelLink(node.get());
    }
    Fail(node.get());
  }
}

void JournalWriter::Flush(bool more_to_come) {
  std::unique_lock lock(mutex_);
  Node* const only = nodes_.size() == 1 ? nodes_[0].get() : nullptr;
  if (only == nullptr) return WriteAll(&lock);
  if (only->writing || !HasWork(*only)) return;  // who writes looks again
  if (!more_to_come) WriteOne(only, &lock);
  WakeWriters();
}

// Whether a write to the node is sure not to wait: what it is not known to have taken is little.
bool JournalWriter::TakesAtOnce(const Node& node) const {
  return !node.writing && node.unheard_bytes + node.queued_bytes < kAtOnceBytes;
}

// Writes what the nodes take at once, and leaves the rest to their threads. The lock as for WriteOne.
void JournalWriter::WriteAll(std::unique_lock<std::mutex>* lock) {
  for (size_t i = 0; i < nodes_.size(); i++) {  // there may be more after a write
    Node* const node = nodes_[i].get();
    if (HasWork(*node) && TakesAtOnce(*node)) WriteOne(node, lock);
    if (HasWork(*node) && !node->writing) node->work.notify_one();
  }
}

// After a change of what is committed, or of what a node waits for. Without the lock.
void JournalWriter::GoOn(Lsn news) {
  {
    std::unique_lock lock(mutex_);
    if (nodes_.size() > 1)
      WriteAll(&lock);
    else
      WakeWriters();
  }
  // Not before: it may have to wait for a client.
  if (news != kNoLsn) on_committed_(news);
}

// Whether frames are to be written now.
bool JournalWriter::FramesDue(const Node& node) const {
  return !node.queue.empty() && (node.sent_lsn <= node.synced || node.queued_bytes >= kWaitBytes || releasing_);
}

// One request of what is queued. The lock is held at entry and exit, not while writing.
void JournalWriter::WriteOne(Node* node, std::unique_lock<std::mutex>* lock) {
  assert(!node->writing && HasWork(*node));
  node->writing = true;
  proto::AppendRequest request;
  request.set_epoch(options_.epoch);
  request.set_write_quorum(MostOfQuorums());
  request.set_committed_lsn(committed_);
  const int64_t now_us = BoottimeUs();
  const bool frames = FramesDue(*node);
  if (options_.lease_ms > 0) {
    node->released = releasing_;
    request.set_release(releasing_);
    request.set_lease_ms(releasing_ ? 0 : static_cast<uint64_t>(options_.lease_ms));
    // What only tells how far all is committed comes with every commit, and need not be answered.
    if (releasing_ || frames || now_us >= HeartbeatDueUs(*node)) {
      node->asked_us = now_us;
      request.set_sent_us(static_cast<uint64_t>(now_us));
    }
  }
  if (frames) {
    Piece& piece = node->queue.front();
    node->queued_bytes -= piece.frames.size();
    node->sent_lsn = piece.last_lsn;
    if (node->frames_us == 0) {
      node->frames_us = now_us;
      node->timed_lsn = piece.last_lsn;
    }
    node->unheard_bytes += piece.frames.size();
    request.set_frames(std::move(piece.frames));
    node->queue.pop_front();
  }
  node->unheard_bytes += kRequestBytes;
  node->told_committed = committed_;
  lock->unlock();
  proto::AppendReply reply;
  const bool written = node->link->Write(std::move(request), &reply);
  if (reply.synced_lsn() != kNoLsn) Acknowledge(node, reply.synced_lsn());
  lock->lock();
  Hear(node, reply);
  node->writing = false;
  if (!written) Fail(node);                     // the stream is broken: the reader ends too, and learns why
  if (HasWork(*node)) node->work.notify_one();  // its own thread may have waited for us
  if (node->failed || stopping_) changed_.notify_all();
}

bool JournalWriter::HasWork(const Node& node) const {
  if (node.failed || lost_ || stopping_) return false;
  if (releasing_) return !node.released || !node.queue.empty();
  if (FramesDue(node)) return true;
  // A quorum of one commits by syncing; others must be told what is committed: at once, or by the next heartbeat.
  if (nodes_.size() > 1 && node.told_committed < committed_ && (node.followed || options_.lease_ms == 0)) return true;
  return options_.lease_ms > 0 && BoottimeUs() >= HeartbeatDueUs(node);
}

// Needs mutex_.
void JournalWriter::WakeWriters() {
  for (const auto& node : nodes_) {
    if (node->failed || lost_ || stopping_ || HasWork(*node)) node->work.notify_one();
  }
}

int64_t JournalWriter::HeartbeatEveryUs() const { return options_.lease_ms * 1000 / kHeartbeatsPerLease; }

int64_t JournalWriter::HeartbeatDueUs(const Node& node) const { return node.asked_us + HeartbeatEveryUs(); }

void JournalWriter::WriteLoop(Node* node) {
  std::unique_lock lock(mutex_);
  for (;;) {
    const auto ready = [&] { return (HasWork(*node) && !node->writing) || node->failed || lost_ || stopping_; };
    if (!ready()) {
      // A heartbeat is due only when nobody is writing, and no more once the lease is given back.
      if (options_.lease_ms == 0 || releasing_) {
        node->work.wait(lock);
      } else {
        const int64_t wait_us = std::max(HeartbeatDueUs(*node) - BoottimeUs(), kWritingUs);
        node->work.wait_for(lock, std::chrono::microseconds(wait_us));
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
    {
      const std::lock_guard lock(mutex_);
      Hear(node, reply);
    }
    Acknowledge(node, reply.synced_lsn());
  }
  Status status;
  bool lost = false;
  Lsn news = kNoLsn;
  {
    std::unique_lock lock(mutex_);
    Fail(node);
    changed_.wait(lock, [&] { return !node->writing; });
    lock.unlock();
    status = node->link->Finish();
    if (status.ok()) status = {Code::kUnavailable, "the journal node ended the stream"};
    lock.lock();
    node->ended = true;
    if (change_ == Change::kBeginning && !HasQuorum()) news = GoBack();
    if (!stopping_)
      RoleLog("adjudicator")->warn("journal node lost epoch={} reason=\"{}\"", options_.epoch, status.ToString());
    // A fence is final even if a quorum seems to be left: another leader is taking over.
    if (!lost_ && (!HasQuorum() || (status.code() == Code::kStaleEpoch && Counted(*node)))) lost_ = lost = true;
    lost = lost && !stopping_;
    WakeWriters();
    changed_.notify_all();
  }
  GoOn(news);
  if (lost) on_failed_(status);
}

// Needs mutex_. That it has taken a request, if it says so.
void JournalWriter::Hear(Node* node, const proto::AppendReply& reply) {
  if (reply.heard_us() == 0) return;
  node->followed = !reply.unfollowed();
  node->heard_us = std::max(node->heard_us, static_cast<int64_t>(reply.heard_us()));
  if (node->heard_us >= node->asked_us) node->unheard_bytes = 0;
  if (releasing_ || change_ == Change::kBeginning) changed_.notify_all();
}

void JournalWriter::Acknowledge(Node* node, Lsn synced) {
  Lsn news = kNoLsn;
  {
    const std::lock_guard lock(mutex_);
    if (synced > node->synced) {
      node->synced = synced;
      if (options_.lease_ms == 0 && synced >= node->sent_lsn) node->unheard_bytes = 0;
      if (node->frames_us != 0 && synced >= node->timed_lsn) {
        const int64_t us = BoottimeUs() - std::exchange(node->frames_us, 0);
        node->sync_us = node->sync_us == 0 ? us : (node->sync_us * (kSyncsAveraged - 1) + us) / kSyncsAveraged;
      }
      if (change_ == Change::kBeginning ||
          std::any_of(nodes_.begin(), nodes_.end(), [](const auto& other) { return other->joining; }))
        changed_.notify_all();
    }
    news = Advance();
  }
  GoOn(news);
}

// Needs mutex_.
Lsn JournalWriter::Advance() {
  const Lsn committed = Committed();
  if (committed <= committed_ || lost_ || stopping_) return kNoLsn;
  return committed_ = committed;
}

// Needs mutex_. Its reader ends.
void JournalWriter::CancelLink(Node* node) {
  if (node->link != nullptr) node->link->Cancel();
}

// Needs mutex_. Nothing more is written to the node.
void JournalWriter::Fail(Node* node) {
  node->failed = true;
  node->joining = false;
  node->queue.clear();
  node->queued_bytes = 0;
  node->frames_us = 0;
  node->work.notify_one();
  changed_.notify_all();
}

// Needs mutex_. What a failed node had synced stays synced.
Lsn JournalWriter::Committed() const {
  const auto synced = [this](size_t node) { return nodes_[node]->synced; };
  if (Planted(PlantedBug::kOneIsAQuorum)) return Quorum{quorums_.front().nodes, 1}.Reached(synced);
  assert(!quorums_.empty());
  Lsn committed = std::numeric_limits<Lsn>::max();
  for (const Quorum& quorum : quorums_) committed = std::min(committed, quorum.Reached(synced));
  return committed;
}

// Needs mutex_.
bool JournalWriter::Counted(const Node& node) const {
  return std::any_of(quorums_.begin(), quorums_.end(), [&](const Quorum& quorum) {
    return std::any_of(quorum.nodes.begin(), quorum.nodes.end(), [&](size_t i) { return nodes_[i].get() == &node; });
  });
}

// Needs mutex_.
bool JournalWriter::HasQuorum() const {
  return std::all_of(quorums_.begin(), quorums_.end(), [this](const Quorum& quorum) {
    return quorum.Reached([this](size_t node) { return nodes_[node]->ended ? 0 : 1; }) != 0;
  });
}

std::vector<size_t> JournalWriter::Absent() {
  std::vector<size_t> absent;
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < nodes_.size(); i++) {
    if (nodes_[i]->ended && !nodes_[i]->retired) absent.push_back(i);
  }
  return absent;
}

bool JournalWriter::BeginJoin(size_t node, Lsn* end, size_t* source) {
  Node* joining = nullptr;
  {
    const std::lock_guard lock(mutex_);
    joining = nodes_[node].get();
  }
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
  const auto over = [&] { return !joining->joining || joining->retired || joins_ended_ || lost_ || stopping_; };
  changed_.wait(lock, [&] { return found() != nodes_.end() || over(); });
  if (over()) {
    Fail(joining);
    return false;
  }
  *source = static_cast<size_t>(found() - nodes_.begin());
  return true;
}

bool JournalWriter::Join(size_t node) {
  Node* joining = nullptr;
  {
    const std::lock_guard lock(mutex_);
    joining = nodes_[node].get();
  }
  auto link = OpenLink(*joining);  // not under the lock: it may wait for a connection
  {
    const std::lock_guard lock(mutex_);
    if (joining->joining && !joining->retired && !lost_ && !stopping_) {
      joining->joining = joining->failed = false;
      joining->told_committed = joining->sent_lsn = kNoLsn;
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

uint32_t JournalWriter::write_quorum() {
  const std::lock_guard lock(mutex_);
  return MostOfQuorums();
}

// Needs mutex_. A node takes what it has synced for committed where one is a quorum: no more once there is another
// node, that may become a member.
uint32_t JournalWriter::MostOfQuorums() const {
  uint32_t most = nodes_.size() > 1 ? 2 : 1;
  for (const Quorum& quorum : quorums_) most = std::max(most, quorum.write_quorum);
  return most;
}

// Needs mutex_. From both ensembles to the old one, of which the metastore has not been asked for another. What that
// makes committed.
Lsn JournalWriter::GoBack() {
  quorums_.resize(1);
  change_ = Change::kNone;
  changed_.notify_all();
  return Advance();
}

size_t JournalWriter::AddNode(const JournalPeer& peer) {
  const std::lock_guard lock(mutex_);
  nodes_.push_back(std::make_unique<Node>(peer));
  return nodes_.size() - 1;
}

bool JournalWriter::AwaitJoined(const std::vector<size_t>& nodes, int timeout_ms) {
  std::unique_lock lock(mutex_);
  const auto joined = [&] {
    return std::all_of(nodes.begin(), nodes.end(), [&](size_t i) {
      const Node& node = *nodes_[i];
      return !node.failed && !node.ended && (options_.lease_ms == 0 || node.heard_us != 0);
    });
  };
  changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms), [&] { return joined() || Ended(); });
  return joined() && !Ended();
}

bool JournalWriter::BeginChange(const Quorum& next, int timeout_ms) {
  Lsn news = kNoLsn;
  {
    std::unique_lock lock(mutex_);
    const Lsn committed = committed_;
    const int64_t promised_us = options_.lease_ms > 0 ? LeaseUntil() : 0;
    quorums_.push_back(next);
    change_ = Change::kBeginning;
    if (!HasQuorum()) news = GoBack();
    const auto over = [&] { return change_ != Change::kBeginning || Ended(); };
    const auto ready = [&] {
      return Committed() >= committed && (options_.lease_ms == 0 || LeaseUntil() >= promised_us);
    };
    changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms), [&] { return over() || ready(); });
    if (!over() && ready()) {
      change_ = Change::kAsked;
      return true;
    }
    if (change_ == Change::kBeginning) news = GoBack();
  }
  GoOn(news);
  return false;
}

void JournalWriter::EndChange(bool adopt) {
  Lsn news = kNoLsn;
  {
    const std::lock_guard lock(mutex_);
    if (quorums_.size() == 2) quorums_.erase(adopt ? quorums_.begin() : quorums_.begin() + 1);
    change_ = Change::kNone;
    for (const auto& node : nodes_) {
      if (Counted(*node)) continue;
      node->retired = true;
      CancelLink(node.get());
      Fail(node.get());
    }
    news = Advance();
  }
  GoOn(news);
}

bool JournalWriter::ended() {
  const std::lock_guard lock(mutex_);
  return Ended();
}

std::vector<JournalWriter::NodeState> JournalWriter::Nodes() {
  const std::lock_guard lock(mutex_);
  std::vector<NodeState> states;
  for (const auto& node : nodes_)
    states.push_back({.retired = node->retired,
                      .counted = Counted(*node),
                      .written = !node->failed && !node->ended,
                      .synced = node->synced,
                      .queued_bytes = node->queued_bytes,
                      .sync_us = node->sync_us});
  return states;
}

void JournalWriter::Release(int wait_ms) {
  std::unique_lock lock(mutex_);
  releasing_ = true;
  WakeWriters();
  changed_.notify_all();
  changed_.wait_for(lock, std::chrono::milliseconds(wait_ms), [this] {
    return lost_ || stopping_ || std::all_of(nodes_.begin(), nodes_.end(), [](const auto& node) {
             return node->failed || (node->released && node->heard_us >= node->asked_us);
           });
  });
}

int64_t JournalWriter::LeaseUntilUs() {
  if (options_.lease_ms == 0) return std::numeric_limits<int64_t>::max();
  const std::lock_guard lock(mutex_);
  return LeaseUntil();
}

// Needs mutex_.
int64_t JournalWriter::LeaseUntil() const {
  if (lost_ || stopping_ || releasing_ || !HasQuorum()) return 0;
  int64_t oldest_us = std::numeric_limits<int64_t>::max();
  for (const Quorum& quorum : quorums_)
    oldest_us = std::min(oldest_us, quorum.Reached([this](size_t node) { return nodes_[node]->heard_us; }));
  const int64_t lease_us = options_.lease_ms * 1000;
  return oldest_us == 0 ? 0 : oldest_us + lease_us - lease_us / kClockDrift;
}

void JournalWriter::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    WakeWriters();
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
