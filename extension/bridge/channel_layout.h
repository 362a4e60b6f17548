// The shared block behind channel.h, and what the gateway's threads do with it.
//
// A slot is a small state machine in one atomic word, (request sequence, phase):
//
//                    begin, buffer not full          hand-over                 last piece taken
//      idle ------------> filling -----------------> piece --------------------> waiting --------> sent
//        ^                   ^                         |                            |    to the      |
//        |                   +---- piece taken, more --+                            |    session     |
//        +---- cc_channel_answered ---- answered <----------------------------------+--- verdict ----+
//
// Up to `waiting` nobody but the gateway knows of the request, so the backend can withdraw it and be sure that nothing
// comes of it; the gateway moves it to `sent` before the first byte leaves. What needs no such certainty (read LSNs,
// status) is never `sent`.
//
// The gateway may answer early, from `filling` and `piece` too (a request that it cannot carry); the backend's puts are
// then swallowed. The buffer belongs to the backend in all phases but `piece`, the answer always to the gateway. A new
// request or a cancellation changes the sequence, whatever the phase. So:
//
//  - The gateway may be copying a piece while its backend gives up and fills the buffer anew. It then has copied
//  rubbish,
//    sees the other sequence when it wants to move the phase on, and throws the copy away (a seqlock).
//  - An answer is written only while its sequence stands, by one thread of the gateway at a time; a backend reads it
//  only
//    in `answered`. A late verdict finds another sequence and is dropped.
//
// A hand-over sets the slot's bit in `ready` and bumps `work`, the futex word that the gateway's pump sleeps on; the
// system call is made only if the pump says that it sleeps.
//
// A process that dies in the middle of any of this dies by a signal, and then Postgres makes the shared memory anew.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "bridge/channel.h"
#include "bridge/replica_table.h"

namespace concord {

inline constexpr size_t kCacheLine = 64;
inline constexpr size_t kChannelTextBytes = 4096;
inline constexpr size_t kTokenBytes = 16;
inline constexpr int kDropQueueEntries = 65536;  // more than the lock table lets one transaction drop
inline constexpr int kAbandonQueueEntries = 1024;
inline constexpr int kLeasePartitions = 64;
inline constexpr int kLeasesPerPartition = 64;

enum class Phase : uint8_t { kIdle, kFilling, kPiece, kWaiting, kSent, kAnswered };

struct SlotState {
  uint64_t sequence;
  Phase phase;

  uint64_t word() const { return sequence << 8 | static_cast<uint64_t>(phase); }
  static SlotState Of(uint64_t word) { return {word >> 8, static_cast<Phase>(word & 0xff)}; }
};

struct alignas(kCacheLine) ChannelSlot {
  std::atomic<uint64_t> state;
  std::atomic<uint64_t> read_lsn;
  std::atomic<int64_t> read_since_ms;  // as NowMs; of read_lsn
  std::atomic<int64_t> view_since_ms;  // of the oldest view pinned, 0 if there is none
  std::atomic<uint64_t> snapshot_lsn;
  // Written by the backend while `filling`. Stored with release and loaded by the gateway with acquire, so that one who
  // has seen a value of the next request finds another sequence afterwards.
  std::atomic<uint32_t> kind;
  std::atomic<uint64_t> total;  // of the request
  std::atomic<uint64_t> put;    // bytes of it put so far
  std::atomic<uint64_t> piece;  // bytes of it in the buffer
  // Written by the gateway only.
  std::atomic<uint64_t> taken;  // bytes of the request that it has taken; set back by the backend in `begin`
  CcAnswer answer;
  char text[kChannelTextBytes];
};

// Bounded queue of many producers and one consumer, who looks before he takes (Vyukov's bounded queue).
template <typename T, uint32_t kEntries>
class SharedQueue {
  static_assert((kEntries & (kEntries - 1)) == 0);

 public:
  void Init() {
    head_ = 0;
    tail_ = 0;
    for (uint32_t i = 0; i < kEntries; i++) cells_[i].turn = i;
  }

  bool Push(const T& value) {
    uint64_t at = tail_.load(std::memory_order_relaxed);
    for (;;) {
      Cell& cell = cells_[at % kEntries];
      const uint64_t turn = cell.turn.load(std::memory_order_acquire);
      if (turn == at) {
        if (!tail_.compare_exchange_weak(at, at + 1, std::memory_order_relaxed)) continue;
        cell.value = value;
        cell.turn.store(at + 1, std::memory_order_release);
        return true;
      }
      if (turn < at) return false;  // still holds the entry of a round before: full
      at = tail_.load(std::memory_order_relaxed);
    }
  }

  // The entry `ahead` places behind the oldest. False if there is none.
  bool Peek(uint32_t ahead, T* value) const {
    const uint64_t at = head_.load(std::memory_order_relaxed) + ahead;
    const Cell& cell = cells_[at % kEntries];
    if (ahead >= kEntries || cell.turn.load(std::memory_order_acquire) != at + 1) return false;
    *value = cell.value;
    return true;
  }

  // Not even an entry that is being pushed or popped. (Peek may see none while Pop is half done.)
  bool Empty() const { return head_.load(std::memory_order_acquire) == tail_.load(std::memory_order_acquire); }

  // Forgets the `count` oldest entries, all of which were peeked.
  void Pop(uint32_t count) {
    const uint64_t from = head_.load(std::memory_order_relaxed);
    for (uint64_t at = from; at < from + count; at++)
      cells_[at % kEntries].turn.store(at + kEntries, std::memory_order_release);
    head_.store(from + count, std::memory_order_release);
  }

 private:
  struct Cell {
    std::atomic<uint64_t> turn;
    T value;
  };
  alignas(kCacheLine) std::atomic<uint64_t> head_;
  alignas(kCacheLine) std::atomic<uint64_t> tail_;
  Cell cells_[kEntries];
};

// What wakes the gateway's pump.
enum class PumpSleep : uint32_t { kAwake, kForWork, kForUrgentWork };

struct AbandonedToken {
  uint8_t bytes[kTokenBytes];
};

struct Lease {
  uint32_t key;
  bool used;
  uint64_t next;       // first id not taken yet
  uint64_t end;        // first id behind the lease
  uint64_t last_size;  // of the last lease of this key
};

// A key belongs to one partition, where its lease may stand anywhere; the lock covers the partition.
struct alignas(kCacheLine) LeasePartition {
  std::atomic<uint32_t> lock;
  Lease leases[kLeasesPerPartition];
};

}  // namespace concord

struct CcChannel {
  int slots;
  uint64_t buffer_bytes;
  uint64_t slots_offset;  // from the block's start: slots, ready bits, buffers
  uint64_t ready_offset;
  uint64_t buffers_offset;

  alignas(concord::kCacheLine) std::atomic<uint32_t> work;  // futex: grows with each hand-over
  std::atomic<concord::PumpSleep> pump_sleep;
  alignas(concord::kCacheLine) std::atomic<uint32_t> attached;
  std::atomic<uint32_t> connected;

  std::atomic<uint64_t> commits;
  std::atomic<uint64_t> conflicts;
  std::atomic<uint64_t> chunks;
  std::atomic<uint64_t> batches;
  std::atomic<uint64_t> reconnects;
  std::atomic<uint64_t> sessions;
  std::atomic<uint64_t> bytes;   // of requests, with those sent again
  std::atomic<uint64_t> resent;  // requests that went through more than one session, or were asked again

  concord::SharedQueue<uint32_t, concord::kDropQueueEntries> drops;
  concord::SharedQueue<concord::AbandonedToken, concord::kAbandonQueueEntries> abandons;
  concord::LeasePartition leases[concord::kLeasePartitions];
  concord::ReplicaTable replicas;

  concord::ChannelSlot& slot(int index) {
    return reinterpret_cast<concord::ChannelSlot*>(reinterpret_cast<char*>(this) + slots_offset)[index];
  }
  std::atomic<uint64_t>& ready(int word) {
    return reinterpret_cast<std::atomic<uint64_t>*>(reinterpret_cast<char*>(this) + ready_offset)[word];
  }
  int ready_words() const { return (slots + 63) / 64; }
  char* buffer(int index) {
    return reinterpret_cast<char*>(this) + buffers_offset + static_cast<uint64_t>(index) * buffer_bytes;
  }
};

namespace concord {

// One piece of a request, as it stands in a slot's buffer.
struct Piece {
  uint64_t sequence;
  CcRequestKind kind;
  uint64_t total;
  uint64_t end;  // bytes of the request up to and with this piece
  std::string_view bytes;

  bool first() const { return end == bytes.size(); }
  bool last() const { return end == total; }
};

// A gateway takes the channel over. Requests that an earlier one had sent are answered CC_OUT_LOST, those that it had
// merely begun to take CC_OUT_UNAVAILABLE; returns the slots whose backends are to be woken for that.
std::vector<int> AttachGateway(CcChannel& channel);
void DetachGateway(CcChannel& channel);
void SetConnected(CcChannel& channel, bool connected);

// Appends the slots that may have a piece to take, each once per hand-over.
void CollectReady(CcChannel& channel, std::vector<int>* slots);
// Looks at a slot's piece. The bytes are good only if ReleasePiece says so afterwards.
bool PeekPiece(CcChannel& channel, int slot, Piece* piece);
// Gives the buffer back; the backend is to be woken if more is to come. False if the request is not there any more: the
// bytes read were rubbish.
bool ReleasePiece(CcChannel& channel, int slot, const Piece& piece);
// Answers a request; the backend is then to be woken. False if nobody waits for it. One thread at a time.
bool Answer(CcChannel& channel, int slot, uint64_t sequence, const CcAnswer& answer, std::string_view text = {});
// To be called before a request goes to the session: from then on it cannot be withdrawn. False if nobody waits for it.
bool MarkSent(CcChannel& channel, int slot, uint64_t sequence);
// True while the backend still waits for the answer of this request.
bool IsWaited(CcChannel& channel, int slot, uint64_t sequence);

// What the pump has seen of the work so far; taken before it looks at the slots.
uint32_t WorkSeen(CcChannel& channel);
// Returns when there is work that was not `seen`: spins, then sleeps. Also returns when the time is over. True if the
// spinning saw it.
bool AwaitWork(CcChannel& channel, uint32_t seen, int spin_us, int timeout_ms);
// Sleeps until there is urgent work, or the time is over; may return early. Complete commits are not urgent: many of
// them make one waking.
void AwaitUrgentWork(CcChannel& channel, uint32_t seen, int timeout_ms);
// How many slots have something to take.
size_t CountReady(CcChannel& channel);
// Wakes the pump.
void BumpWork(CcChannel& channel);

}  // namespace concord
