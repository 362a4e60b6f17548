// A page of shared memory by which a storage replica tells the processes of its machine that map it how far it is. It
// is the file replica.page beside data.mdb; the replica's writer makes it before its first commit and is the only one
// who writes it. What it says stands in LMDB too, but on pages that each commit writes anew, of which each reader would
// have to map every one; and nobody can sleep on them.
//
// Invariants:
//   - `applied` is stored after the commit to LMDB: a read transaction that begins after it was loaded has as much.
//     `readable` is at least that; what is above `applied` is in the memtable (core/memtable.h).
//   - The state of an LMDB transaction is stored before it commits, so whoever reads at a transaction finds its state
//     here, or another one's in its place, but never a wrong one. After a crash in between, the next writer forgets all
//     of it before it commits that number again.
//
// Thread and process safety: fields are lock-free atomics; each state is a seqlock whose sequence is the number.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "core/lsn.h"
#include "core/status.h"

namespace concord {

inline constexpr uint64_t kReplicaPageMagic = UINT64_C(0x31475052434e4f43);  // "CONCRPG1"
inline constexpr size_t kReplicaPageSize = 4096;
inline constexpr char kReplicaPageFile[] = "replica.page";

// What LMDB transaction `txn_id` holds. 0: none.
struct ReplicaPageState {
  std::atomic<uint64_t> txn_id;
  std::atomic<Lsn> applied;
  std::atomic<Lsn> horizon;
};

struct ReplicaPage {
  static constexpr size_t kStates = 128;

  std::atomic<uint64_t> magic;
  std::atomic<Lsn> readable;
  std::atomic<Lsn> applied;
  std::atomic<uint32_t> advances;  // a futex: changes whenever one of these does
  uint32_t reserved;
  ReplicaPageState states[kStates];  // of transaction n at n % kStates
};
static_assert(sizeof(ReplicaPage) <= kReplicaPageSize && std::atomic<uint64_t>::is_always_lock_free);

// The page as this process has it mapped.
class ReplicaPageMapping {
 public:
  ReplicaPageMapping() = default;
  ReplicaPageMapping(ReplicaPageMapping&& other) noexcept : page_(std::exchange(other.page_, nullptr)) {}
  ReplicaPageMapping& operator=(ReplicaPageMapping&& other) noexcept {
    std::swap(page_, other.page_);
    return *this;
  }
  ~ReplicaPageMapping();

  // For the writer: makes the file if need be, with space for it, and forgets what it says.
  Status Create(const std::string& directory);
  // For readers. kNotFound: the file is not there, or not finished yet.
  Status Open(const std::string& directory);

  explicit operator bool() const { return page_ != nullptr; }

  // ---- the writer ----

  // Before LMDB transaction `txn_id` commits.
  void Prepare(uint64_t txn_id, Lsn applied, Lsn horizon);
  // After it has, or after the page has been made. Wakes who waits, if that is news.
  void Publish(Lsn readable, Lsn applied);

  // ---- readers ----

  Lsn readable() const { return page_->readable.load(std::memory_order_acquire); }
  Lsn applied() const { return page_->applied.load(std::memory_order_acquire); }
  // What a transaction that one reads at holds. False: it is not told here (any more), LMDB knows.
  bool Find(uint64_t txn_id, Lsn* applied, Lsn* horizon) const;
  // Sleeps until `lsn` is perhaps readable, or applied: at most `wait_us` microseconds, or until a signal.
  void AwaitReadable(Lsn lsn, int64_t wait_us) const { Await(page_->readable, lsn, wait_us); }
  void AwaitApplied(Lsn lsn, int64_t wait_us) const { Await(page_->applied, lsn, wait_us); }

 private:
  Status Map(const std::string& path, int fd, bool writable);
  void Await(const std::atomic<Lsn>& reached, Lsn lsn, int64_t wait_us) const;

  ReplicaPage* page_ = nullptr;
};

}  // namespace concord
