// A page of shared memory by which an adjudicator leader on the same machine tells a query processor the newest
// committed LSN without a round trip. The query processor makes the file in its own data directory and offers it with
// the RPC Adjudicator.OfferPage; the leader maps it and is its only writer. The leader publishes an LSN here before it
// answers any client with it, so a reader of a page with a valid lease has a strong read.
//
// Thread and process safety: fields are lock-free atomics; a reader takes `committed` first, then checks the lease.
#pragma once

#include <atomic>
#include <cstdint>
#include <ctime>

#include "core/lsn.h"

namespace concord {

inline constexpr uint64_t kLsnPageMagic = UINT64_C(0x31474150434e4f43);  // "CONCPAG1"
inline constexpr size_t kLsnPageSize = 4096;

struct LsnPage {
  std::atomic<uint64_t> magic;
  std::atomic<uint64_t> epoch;
  std::atomic<Lsn> committed;           // newest LSN known committed
  std::atomic<int64_t> lease_until_us;  // CLOCK_BOOTTIME microseconds; 0 = withdrawn
};
static_assert(std::atomic<uint64_t>::is_always_lock_free);

inline int64_t BoottimeUs() {
  timespec ts;
  clock_gettime(CLOCK_BOOTTIME, &ts);
  return int64_t{ts.tv_sec} * 1000000 + ts.tv_nsec / 1000;
}

// kNoLsn if the page is not vouched for by a leader now.
inline Lsn ReadCommitted(const LsnPage& page) {
  const Lsn committed = page.committed.load(std::memory_order_acquire);
  if (page.magic.load(std::memory_order_relaxed) != kLsnPageMagic) return kNoLsn;
  if (BoottimeUs() >= page.lease_until_us.load(std::memory_order_acquire)) return kNoLsn;
  return committed;
}

}  // namespace concord
