// The channel between backends and gateway; the protocol is told in channel_layout.h.
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <climits>
#include <cstring>
#include <ctime>

#include "bridge/channel_layout.h"
#include "bridge/view.h"
#include "core/lsn_page.h"

namespace concord {
namespace {

size_t RoundUp(size_t value, size_t to) { return (value + to - 1) / to * to; }

size_t SlotsOffset() { return RoundUp(sizeof(CcChannel), kCacheLine); }
size_t ReadyOffset(int slots) { return SlotsOffset() + sizeof(ChannelSlot) * static_cast<size_t>(slots); }
size_t BuffersOffset(int slots) {
  return RoundUp(ReadyOffset(slots) + (static_cast<size_t>(slots) + 63) / 64 * sizeof(uint64_t), 4096);
}

int64_t MonotonicUs() {
  timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return int64_t{ts.tv_sec} * 1000000 + ts.tv_nsec / 1000;
}

void CpuRelax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");
#endif
}

// Spins until `done` or for so many microseconds.
template <typename Done>
bool SpinUntil(int spin_us, Done done) {
  if (done()) return true;
  if (spin_us <= 0) return false;
  const int64_t until = MonotonicUs() + spin_us;
  do {
    for (int i = 0; i < 32; i++) {
      CpuRelax();
      if (done()) return true;
    }
  } while (MonotonicUs() < until);
  return false;
}

SlotState LoadState(ChannelSlot& slot) { return SlotState::Of(slot.state.load(std::memory_order_acquire)); }

bool Advance(ChannelSlot& slot, SlotState from, Phase to) {
  uint64_t expected = from.word();
  return slot.state.compare_exchange_strong(expected, SlotState{from.sequence, to}.word(), std::memory_order_acq_rel);
}

void WakePump(CcChannel& channel) { syscall(SYS_futex, &channel.work, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0); }

void SleepInPump(CcChannel& channel, uint32_t seen, PumpSleep how, int timeout_ms) {
  channel.pump_sleep.store(how);
  if (channel.work.load() == seen) {
    const timespec timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};
    syscall(SYS_futex, &channel.work, FUTEX_WAIT, seen, &timeout, nullptr, 0);
  }
  channel.pump_sleep.store(PumpSleep::kAwake);
}

void AnnounceReady(CcChannel& channel, int index, bool urgent) {
  channel.ready(index / 64).fetch_or(uint64_t{1} << (index % 64), std::memory_order_release);
  channel.work.fetch_add(1);
  const PumpSleep sleep = channel.pump_sleep.load();
  if (sleep == PumpSleep::kForWork || (sleep == PumpSleep::kForUrgentWork && urgent)) WakePump(channel);
}

void HandOver(CcChannel& channel, int index, SlotState filling) {
  ChannelSlot& slot = channel.slot(index);
  // All of a commit can wait for others like it; the next piece, and who reads, cannot.
  const bool urgent = slot.kind.load(std::memory_order_relaxed) != CC_REQ_COMMIT ||
                      slot.put.load(std::memory_order_relaxed) != slot.total.load(std::memory_order_relaxed);
  if (Advance(slot, filling, Phase::kPiece)) AnnounceReady(channel, index, urgent);
}

// Held for some tens of nanoseconds; nothing in between can raise.
class SpinGuard {
 public:
  explicit SpinGuard(std::atomic<uint32_t>& lock) : lock_(lock) {
    for (int tries = 0; lock_.exchange(1, std::memory_order_acquire) != 0; tries++) {
      if (tries % 64 == 63)
        sched_yield();
      else
        CpuRelax();
    }
  }
  ~SpinGuard() { lock_.store(0, std::memory_order_release); }
  SpinGuard(const SpinGuard&) = delete;
  SpinGuard& operator=(const SpinGuard&) = delete;

 private:
  std::atomic<uint32_t>& lock_;
};

LeasePartition& PartitionOf(CcChannel& channel, uint32_t key) {
  return channel.leases[(key * UINT32_C(2654435769) >> 16) % kLeasePartitions];
}

Lease* FindLease(LeasePartition& partition, uint32_t key) {
  for (Lease& lease : partition.leases)
    if (lease.used && lease.key == key) return &lease;
  return nullptr;
}

}  // namespace

std::vector<int> AttachGateway(CcChannel& channel) {
  channel.connected.store(0);
  std::vector<int> lost;
  for (int i = 0; i < channel.slots; i++) {
    ChannelSlot& slot = channel.slot(i);
    const SlotState state = LoadState(slot);
    const bool in_flight = state.phase == Phase::kWaiting || state.phase == Phase::kSent ||
                           ((state.phase == Phase::kFilling || state.phase == Phase::kPiece) && slot.taken.load() > 0);
    CcAnswer answer = {};
    answer.outcome = state.phase == Phase::kSent ? CC_OUT_LOST : CC_OUT_UNAVAILABLE;
    if (in_flight && Answer(channel, i, state.sequence, answer)) lost.push_back(i);
  }
  // What had been handed over and not begun to be taken is simply taken now.
  for (int w = 0; w < channel.ready_words(); w++) channel.ready(w).store(~uint64_t{0});
  channel.attached.store(1);
  return lost;
}

void DetachGateway(CcChannel& channel) {
  channel.connected.store(0);
  channel.attached.store(0);
}

void SetConnected(CcChannel& channel, bool connected) { channel.connected.store(connected ? 1 : 0); }

void CollectReady(CcChannel& channel, std::vector<int>* slots) {
  for (int w = 0; w < channel.ready_words(); w++) {
    if (channel.ready(w).load(std::memory_order_relaxed) == 0) continue;
    uint64_t bits = channel.ready(w).exchange(0, std::memory_order_acquire);
    while (bits != 0) {
      const int index = w * 64 + __builtin_ctzll(bits);
      bits &= bits - 1;
      if (index < channel.slots) slots->push_back(index);
    }
  }
}

size_t CountReady(CcChannel& channel) {
  size_t count = 0;
  for (int w = 0; w < channel.ready_words(); w++)
    count += static_cast<size_t>(std::popcount(channel.ready(w).load(std::memory_order_relaxed)));
  return count;
}

bool PeekPiece(CcChannel& channel, int index, Piece* piece) {
  ChannelSlot& slot = channel.slot(index);
  const SlotState state = LoadState(slot);
  if (state.phase != Phase::kPiece) return false;
  const size_t size = std::min<uint64_t>(slot.piece.load(std::memory_order_acquire), channel.buffer_bytes);
  *piece = {.sequence = state.sequence,
            .kind = static_cast<CcRequestKind>(slot.kind.load(std::memory_order_acquire)),
            .total = slot.total.load(std::memory_order_acquire),
            .end = slot.put.load(std::memory_order_acquire),
            .bytes = {channel.buffer(index), size}};
  // The fields are of one request if that is still there.
  return slot.state.load(std::memory_order_relaxed) == state.word();
}

bool ReleasePiece(CcChannel& channel, int index, const Piece& piece) {
  ChannelSlot& slot = channel.slot(index);
  const SlotState state = {piece.sequence, Phase::kPiece};
  if (slot.state.load(std::memory_order_acquire) != state.word()) return false;
  // A stale value left here by a race with a new request would only make a later gateway answer LOST for no need.
  slot.taken.store(std::max<uint64_t>(piece.end, 1), std::memory_order_relaxed);
  return Advance(slot, state, piece.last() ? Phase::kWaiting : Phase::kFilling);
}

bool Answer(CcChannel& channel, int index, uint64_t sequence, const CcAnswer& answer, std::string_view text) {
  ChannelSlot& slot = channel.slot(index);
  for (;;) {
    const SlotState state = LoadState(slot);
    if (state.sequence != sequence || state.phase == Phase::kIdle || state.phase == Phase::kAnswered) return false;
    const size_t text_size = std::min(text.size(), kChannelTextBytes - 1);
    slot.answer = answer;
    slot.answer.text_size = static_cast<uint32_t>(text_size);
    text.copy(slot.text, text_size);
    slot.text[text_size] = '\0';
    if (Advance(slot, state, Phase::kAnswered)) return true;
  }
}

bool MarkSent(CcChannel& channel, int index, uint64_t sequence) {
  ChannelSlot& slot = channel.slot(index);
  const SlotState waiting = {sequence, Phase::kWaiting};
  return Advance(slot, waiting, Phase::kSent) || LoadState(slot).word() == SlotState{sequence, Phase::kSent}.word();
}

bool IsWaited(CcChannel& channel, int index, uint64_t sequence) {
  const SlotState state = LoadState(channel.slot(index));
  return state.sequence == sequence && state.phase != Phase::kIdle && state.phase != Phase::kAnswered;
}

uint32_t WorkSeen(CcChannel& channel) { return channel.work.load(); }

bool AwaitWork(CcChannel& channel, uint32_t seen, int spin_us, int timeout_ms) {
  if (SpinUntil(spin_us, [&] { return channel.work.load(std::memory_order_relaxed) != seen; })) return true;
  SleepInPump(channel, seen, PumpSleep::kForWork, timeout_ms);
  return false;
}

void AwaitUrgentWork(CcChannel& channel, uint32_t seen, int timeout_ms) {
  SleepInPump(channel, seen, PumpSleep::kForUrgentWork, timeout_ms);
}

void BumpWork(CcChannel& channel) {
  channel.work.fetch_add(1);
  if (channel.pump_sleep.load() != PumpSleep::kAwake) WakePump(channel);
}

}  // namespace concord

using namespace concord;

size_t cc_channel_size(int slots, size_t buffer_bytes) {
  return BuffersOffset(slots) + static_cast<size_t>(slots) * buffer_bytes;
}

void cc_channel_init(CcChannel* channel, int slots, size_t buffer_bytes) {
  assert(slots > 0 && buffer_bytes >= 1);
  memset(static_cast<void*>(channel), 0, BuffersOffset(slots));
  channel->slots = slots;
  channel->buffer_bytes = buffer_bytes;
  channel->slots_offset = SlotsOffset();
  channel->ready_offset = ReadyOffset(slots);
  channel->buffers_offset = BuffersOffset(slots);
  channel->drops.Init();
  channel->abandons.Init();
}

void cc_channel_begin(CcChannel* channel, int index, CcRequestKind kind, size_t total) {
  ChannelSlot& slot = channel->slot(index);
  const SlotState filling = {LoadState(slot).sequence + 1, Phase::kFilling};
  // First take the slot away from the request before, then change what that one's pieces were told by.
  slot.state.store(SlotState{filling.sequence, Phase::kIdle}.word(), std::memory_order_seq_cst);
  slot.kind.store(kind, std::memory_order_release);
  slot.total.store(total, std::memory_order_release);
  slot.put.store(0, std::memory_order_release);
  slot.piece.store(0, std::memory_order_release);
  slot.taken.store(0, std::memory_order_relaxed);
  slot.state.store(filling.word(), std::memory_order_release);
  if (total == 0) HandOver(*channel, index, filling);
}

size_t cc_channel_put(CcChannel* channel, int index, const void* data, size_t size) {
  ChannelSlot& slot = channel->slot(index);
  const SlotState state = LoadState(slot);
  if (state.phase == Phase::kAnswered) return size;  // refused or lost half-way: the answer tells
  if (state.phase != Phase::kFilling) return 0;
  const uint64_t total = slot.total.load(std::memory_order_relaxed);
  uint64_t put = slot.put.load(std::memory_order_relaxed);
  uint64_t piece = slot.piece.load(std::memory_order_relaxed);
  if (piece == channel->buffer_bytes) piece = 0;  // the gateway has emptied it
  const size_t taken = std::min({size, total - put, channel->buffer_bytes - piece});
  memcpy(channel->buffer(index) + piece, data, taken);
  slot.piece.store(piece += taken, std::memory_order_release);
  slot.put.store(put += taken, std::memory_order_release);
  const bool complete = put == total;
  if (complete && slot.kind.load(std::memory_order_relaxed) == CC_REQ_ABANDON) {
    AbandonedToken token;
    if (piece == sizeof token.bytes) {
      memcpy(token.bytes, channel->buffer(index), sizeof token.bytes);
      // When the queue is full the chunks of this token stay until the adjudicator forgets it by itself.
      if (channel->abandons.Push(token)) BumpWork(*channel);
    }
    Advance(slot, state, Phase::kIdle);
  } else if (taken > 0 && (complete || piece == channel->buffer_bytes)) {
    HandOver(*channel, index, state);
  }
  return taken;
}

bool cc_channel_emptied(CcChannel* channel, int index, int spin_us) {
  ChannelSlot& slot = channel->slot(index);
  return SpinUntil(spin_us, [&] {
    const Phase phase = LoadState(slot).phase;
    return phase == Phase::kFilling || phase == Phase::kAnswered;
  });
}

bool cc_channel_answered(CcChannel* channel, int index, int spin_us, CcAnswer* answer) {
  ChannelSlot& slot = channel->slot(index);
  if (!SpinUntil(spin_us, [&] { return LoadState(slot).phase == Phase::kAnswered; })) return false;
  *answer = slot.answer;
  Advance(slot, LoadState(slot), Phase::kIdle);
  return true;
}

const char* cc_channel_text(CcChannel* channel, int index) { return channel->slot(index).text; }

void cc_channel_cancel(CcChannel* channel, int index) {
  ChannelSlot& slot = channel->slot(index);
  slot.state.store(SlotState{LoadState(slot).sequence + 1, Phase::kIdle}.word(), std::memory_order_seq_cst);
}

bool cc_channel_withdraw(CcChannel* channel, int index) {
  ChannelSlot& slot = channel->slot(index);
  for (;;) {
    const SlotState state = LoadState(slot);
    if (state.phase == Phase::kIdle) return true;
    if (state.phase == Phase::kSent || state.phase == Phase::kAnswered) return false;
    uint64_t expected = state.word();
    const SlotState idle = {state.sequence + 1, Phase::kIdle};
    if (slot.state.compare_exchange_strong(expected, idle.word(), std::memory_order_seq_cst)) return true;
  }
}

bool cc_channel_connected(CcChannel* channel) { return channel->connected.load() != 0; }

bool cc_channel_attached(CcChannel* channel) { return channel->attached.load() != 0; }

bool cc_channel_drops_waiting(CcChannel* channel) { return !channel->drops.Empty(); }

bool cc_channel_idle(CcChannel* channel) {
  if (cc_channel_drops_waiting(channel)) return false;
  for (int i = 0; i < channel->slots; i++) {
    const Phase phase = LoadState(channel->slot(i)).phase;
    if (phase == Phase::kPiece || phase == Phase::kWaiting || phase == Phase::kSent) return false;
  }
  return true;
}

bool cc_channel_drop_storage(CcChannel* channel, uint32_t storage_id) { return channel->drops.Push(storage_id); }

void cc_channel_set_read_lsn(CcChannel* channel, int index, uint64_t lsn) {
  ChannelSlot& slot = channel->slot(index);
  const uint64_t before = slot.read_lsn.load(std::memory_order_relaxed);
  if (lsn != 0 && (before == 0 || before < lsn)) slot.read_since_ms.store(concord::bridge::NowMs());
  // Sequentially consistent: who registers and then looks at the horizon must not be seen the other way round.
  slot.read_lsn.store(lsn);
}

void cc_channel_set_snapshot_lsn(CcChannel* channel, int index, uint64_t lsn) {
  channel->slot(index).snapshot_lsn.store(lsn);
}

uint64_t cc_channel_snapshot_lsn(CcChannel* channel, int index) { return channel->slot(index).snapshot_lsn.load(); }

void cc_channel_reader(CcChannel* channel, int index, CcReader* reader) {
  const ChannelSlot& slot = channel->slot(index);
  const int64_t now = concord::bridge::NowMs();
  const int64_t view_since = slot.view_since_ms.load();
  reader->read_lsn = slot.read_lsn.load();
  reader->age_ms = reader->read_lsn == 0 ? 0 : now - slot.read_since_ms.load();
  reader->view_age_ms = view_since == 0 ? -1 : now - view_since;
}

void cc_channel_publish_views(CcChannel* channel, int index) {
  concord::bridge::Replica::Get().PublishTo(&channel->slot(index).view_since_ms);
}

uint64_t cc_channel_lowest_read_lsn(CcChannel* channel, int64_t max_age_ms) {
  uint64_t lowest = 0;
  const int64_t oldest_ms = max_age_ms == 0 ? 0 : concord::bridge::NowMs() - max_age_ms;
  for (int i = 0; i < channel->slots; i++) {
    const uint64_t lsn = channel->slot(i).read_lsn.load();
    if (lsn != 0 && (lowest == 0 || lsn < lowest) && channel->slot(i).read_since_ms.load() >= oldest_ms) lowest = lsn;
  }
  return lowest;
}

bool cc_lease_take(CcChannel* channel, uint32_t key, uint64_t count, uint64_t* first) {
  LeasePartition& partition = PartitionOf(*channel, key);
  const SpinGuard guard(partition.lock);
  Lease* lease = FindLease(partition, key);
  if (lease == nullptr || lease->end - lease->next < count) return false;
  *first = lease->next;
  lease->next += count;
  return true;
}

bool cc_lease_add(CcChannel* channel, uint32_t key, uint64_t first, uint64_t count, uint64_t taken) {
  LeasePartition& partition = PartitionOf(*channel, key);
  const SpinGuard guard(partition.lock);
  Lease* lease = FindLease(partition, key);
  if (lease == nullptr) {
    Lease* const end = partition.leases + kLeasesPerPartition;
    lease = std::find_if(partition.leases, end, [](const Lease& candidate) { return !candidate.used; });
    if (lease == end) return false;
  }
  *lease = {key, true, first + taken, first + count, count};
  return true;
}

uint64_t cc_lease_last_size(CcChannel* channel, uint32_t key) {
  LeasePartition& partition = PartitionOf(*channel, key);
  const SpinGuard guard(partition.lock);
  const Lease* lease = FindLease(partition, key);
  return lease == nullptr ? 0 : lease->last_size;
}

void cc_lease_forget(CcChannel* channel, uint32_t key) {
  LeasePartition& partition = PartitionOf(*channel, key);
  const SpinGuard guard(partition.lock);
  if (Lease* lease = FindLease(partition, key)) lease->used = false;
}

void cc_channel_stats(CcChannel* channel, CcChannelStats* stats) {
  *stats = {channel->commits.load(),    channel->conflicts.load(), channel->chunks.load(), channel->batches.load(),
            channel->reconnects.load(), channel->sessions.load(),  channel->bytes.load(),  channel->resent.load()};
}

uint64_t cc_page_committed(const void* page) { return ReadCommitted(*static_cast<const LsnPage*>(page)); }
