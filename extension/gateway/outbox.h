// The commits and chunks that the gateway has taken and nobody has settled yet.
//
// At most one for each slot: a backend that begins a new request has given up the one before. So the outbox is bounded
// by what the backends hold, however long the sidecar is away. A request keeps its bytes until its verdict is there:
// when a session breaks it is sent again, with the same token, in the next.
//
// What is due is held back while more is under way than waits: the answers are about to come, and each message costs
// both sides some 30 us of processor time however many requests it carries. So a lone client never waits, many clients
// come in groups, and two groups overlap: one is written to the journal while the other gathers. (As Nagle's algorithm
// does for TCP, RFC 896, with the number of requests in place of bytes.) Chunks do not come in groups: they are neither
// held back nor counted.
//
// Thread-safe. No I/O.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "bridge/channel_layout.h"
#include "proto/adjudicator.pb.h"

namespace concord {

struct OutRequest {
  int slot;  // the number of slots for the gateway's own drops
  uint64_t sequence;
  CcRequestKind kind;
  proto::CommitRequest commit;  // one of the two, by kind; filled straight from the slot's buffer
  proto::ChunkRequest chunk;
  int sends = 0;           // sessions that it went through
  bool under_way = false;  // sent in this session, and no chunk
  int64_t not_before_us = 0;
  int64_t sent_us = 0;  // last
  uint32_t drops = 0;   // entries of the drop queue that it carries

  std::string& payload() { return kind == CC_REQ_CHUNK ? *chunk.mutable_chunk() : *commit.mutable_write_set(); }
};
using OutRequestPtr = std::shared_ptr<OutRequest>;

// The requests of one message; keeps them alive while the message borrows them.
class Batch {
 public:
  Batch() = default;
  ~Batch();
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;

  void Add(OutRequestPtr request);
  proto::SessionRequest& message() { return message_; }
  size_t bytes() const { return bytes_; }
  size_t size() const { return requests_.size(); }
  size_t resent() const { return resent_; }  // of them, sent before

 private:
  proto::SessionRequest message_;
  std::vector<OutRequestPtr> requests_;
  size_t bytes_ = 0;
  size_t resent_ = 0;
};

class Outbox {
 public:
  static constexpr size_t kBatchRequestsMax = 512;
  static constexpr size_t kBatchBytesMax = 4u << 20;
  static constexpr int64_t kHoldUs = 1000;

  explicit Outbox(CcChannel& channel) : channel_(channel), by_slot_(static_cast<size_t>(channel.slots) + 1) {}

  int own_slot() const { return channel_.slots; }
  // A complete request; takes the place of the slot's former one.
  void Add(OutRequestPtr request);
  // Moves what is due into a batch, or nothing if it is better held back: at most for kHoldUs, and until NeedsFill
  // after a Settle. Requests that nobody waits for any more are forgotten.
  void Fill(Batch* batch, int64_t now_us);
  // A verdict: the request leaves. Null if it was given up.
  OutRequestPtr Settle(uint64_t request_id);
  // True while Fill has held something back,
  bool Holds() const;
  // and true once enough is answered that it would not do so again.
  // `coming`: requests that wait to be added.
  bool NeedsFill(size_t coming) const;
  // How many there are.
  size_t Unanswered() const;
  // Settled after all not: to be sent again, not before the time.
  void Retry(OutRequestPtr request, int64_t not_before_us);
  // A new session: all that was sent and not settled is due again.
  void SendAllAgain();

 private:
  void Leave(const OutRequestPtr& request);
  bool IsCurrent(const OutRequestPtr& request) const { return by_slot_[static_cast<size_t>(request->slot)] == request; }

  CcChannel& channel_;
  mutable std::mutex mutex_;
  std::vector<OutRequestPtr> by_slot_;  // sent or queued
  std::deque<OutRequestPtr> queue_;     // to be sent
  size_t under_way_ = 0;                // of by_slot_
  int64_t held_since_us_ = 0;           // 0: nothing is held back
};

}  // namespace concord
