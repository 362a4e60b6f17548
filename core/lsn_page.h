// A page of shared memory by which an adjudicator leader on the same machine tells a query processor the newest
// committed LSN without a round trip. The query processor makes the file in its own data directory and offers it with
// the RPC Adjudicator.OfferPage; the leader maps it and publishes an LSN here before it answers any client with it, so
// a reader of a page with a valid lease has a strong read.
//
// Thread and process safety: fields are lock-free atomics. Several adjudicators of a machine may have the page mapped,
// and one that does not know yet that it is deposed may still write what it has committed, late: so `committed` only
// grows. While there is a lease, nobody else can have committed anything; a reader checks it first, then, and what it
// loads afterwards is as new or newer. The other way round, what it had loaded could be older than the lease.
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
  if (page.magic.load(std::memory_order_relaxed) != kLsnPageMagic) return kNoLsn;
  if (BoottimeUs() >= page.lease_until_us.load(std::memory_order_acquire)) return kNoLsn;
  return page.committed.load(std::memory_order_acquire);
}

inline void RaiseCommitted(LsnPage* page, Lsn committed) {
  Lsn seen = page->committed.load(std::memory_order_relaxed);
  while (seen < committed && !page->committed.compare_exchange_weak(seen, committed, std::memory_order_release)) {
  }
}

}  // namespace concord
