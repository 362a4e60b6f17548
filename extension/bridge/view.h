// The replica's LMDB environment as this process has it mapped, and its pool of views.
//
// A view is a read transaction with a pin count: active while pinned, reset (its LMDB pages given back, its reader slot
// kept) at the last unpin, renewed when it is wanted again. Active views stand in order of age; the newest serves
// whoever asks for an LSN that it has applied.
//
// Invariants: the environment is open whenever a view is active, and is closed or opened anew only when none is. LMDB
// handles never outlive a fork: the child starts without a replica, and what it inherited is never touched again,
// because ending an inherited transaction would free the parent's reader slot.
//
// Not thread-safe; one backend, one thread.
#pragma once

#include <lmdb.h>
#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bridge/absent_range.h"
#include "bridge/error.h"
#include "bridge/page_ahead.h"
#include "core/key.h"
#include "core/lsn.h"
#include "core/memtable.h"
#include "core/replica_page.h"

namespace concord::bridge {
class RemoteBatch;
class Replica;
inline constexpr int kVersionedDatabases = 2;  // rows, entries
inline constexpr uint64_t kAllStorages = UINT64_MAX;

// A view's cursor for point reads.
struct PointCursor {
  MDB_cursor* cursor = nullptr;
  bool renewed = false;             // it belongs to the view's transaction
  const char* stands_on = nullptr;  // the mapped key of the row version that it stands on, if that is known
  PageAhead page_ahead;
};
}  // namespace concord::bridge

struct CcView {
  concord::bridge::Replica* replica;
  concord::bridge::RemoteBatch* remote = nullptr;  // not a view of the map, but of an answer (remote_batch.h)
  MDB_txn* txn = nullptr;
  size_t txn_id = 0;
  concord::Lsn applied = concord::kNoLsn;
  concord::Lsn horizon = concord::kNoLsn;
  int pins = 0;
  int64_t since_ms = 0;  // when it became active
  concord::bridge::PointCursor cursors[concord::bridge::kVersionedDatabases] = {};
};

namespace concord::bridge {

// Coarse monotonic clock: some nanoseconds a call, some milliseconds exact.
int64_t NowMs();

// Which of the two versioned databases a storage lives in.
inline int DatabaseOf(uint64_t prefix) { return static_cast<Space>(prefix >> 56) == Space::kRow ? 0 : 1; }

class Replica {
 public:
  // This process' replica. After a fork, a new one.
  static Replica& Get();

  CcStatus Open(const char* path);
  // These pin the view once for the caller.

  // The newest state, whatever it has applied.
  CcStatus AcquireNewest(CcView** view);
  // A view that has every version of the storage (kAllStorages: of any) up to `lsn`. That may take a flush of the
  // memtable, which is waited for; CC_INTERRUPTED: there are interrupts to serve meanwhile.
  CcStatus AcquireFor(uint64_t prefix, Lsn lsn, CcView** view);
  // The same without waiting, from the newest state there is: else CC_NOT_APPLIED.
  CcStatus AcquireFreshFor(uint64_t prefix, Lsn lsn, CcView** view);
  // A view that has the newest version of a key up to `lsn`, if there is one; or, if the memtable has it, a view of a
  // copy (remote_batch.h), whose only entry it is. CC_END: it is a tombstone there. CC_INTERRUPTED as above.
  CcStatus AcquireForKey(std::string_view key, Lsn lsn, CcView** view);
  void Pin(CcView* view) { view->pins++; }
  void Unpin(CcView* view);
  // Unpins everything.
  void Reset();
  // Reset, and the environment closed; the next read opens it again.
  void Close();

  // Up to where the replica can be read by now.
  CcStatus Readable(Lsn* lsn);
  // True if there is a replica on this machine that can be read at `lsn`, and was not waited for in vain lately. Looks
  // at the file now and then only.
  bool IsReadable(Lsn lsn);
  // True if no read at `lsn` has to wait for it.
  bool HasApplied(Lsn lsn);
  // Sleeps for at most so many microseconds, until a signal, or until the replica can perhaps be read at `lsn`.
  void Await(Lsn lsn, int64_t wait_us);
  // True if LMDB has committed anything since the view began.
  bool HasNewer(const CcView& view) const;
  // Where to tell since when (NowMs) a view has been pinned, 0 if none is.
  void PublishTo(std::atomic<int64_t>* since_ms) {
    published_ = since_ms;
    PublishViews();
  }
  size_t active_views() const { return active_.size(); }
  void CountPins(size_t* views, size_t* pins) const {
    *views = active_.size();
    *pins = 0;
    for (const CcView* view : active_) *pins += static_cast<size_t>(view->pins);
  }

  // A cursor of the view's own for point reads; it may stand anywhere.
  CcStatus UsePointCursor(CcView* view, int database, PointCursor** cursor);
  // A cursor for one user, to be given back.
  CcStatus TakeCursor(CcView* view, int database, MDB_cursor** cursor);
  void GiveCursor(int database, MDB_cursor* cursor);

  // Keys of which nothing needs to be asked.
  AbsentRange& absent() { return absent_; }

  // A value of the meta database; CC_END if it is not there.
  CcStatus ReadMeta(const CcView& view, std::string_view key, std::string_view* value) const;
  // The entries of the meta database from `from` on whose key begins with the same byte, until `take` returns false.
  CcStatus ScanMeta(const CcView& view, std::string_view from,
                    const std::function<bool(std::string_view key, std::string_view value)>& take) const;

 private:
  CcStatus EnsureOpen();
  CcStatus OpenEnvironment();
  CcStatus OpenDatabases();
  void CloseEnvironment();
  // Marks the environment stale if another file has taken its place.
  void CheckReplaced();
  CcStatus Serves(const CcView& view, uint64_t prefix, Lsn lsn) const;
  // CC_OK: to be tried again.
  CcStatus AwaitFlush(Lsn lsn);
  void EndAwait();
  // An activated view, not yet in active_. Its pin count is 0.
  CcStatus Activate(CcView** view);
  int Begin(CcView* view);
  CcStatus LoadState(CcView* view);
  void Deactivate(CcView* view);
  void PublishViews() {
    if (published_ != nullptr)
      published_->store(active_.empty() ? 0 : active_.front()->since_ms, std::memory_order_relaxed);
  }

  std::atomic<int64_t>* published_ = nullptr;
  std::string path_;
  MDB_env* env_ = nullptr;
  ReplicaPageMapping page_;  // these go with it
  Memtable memtable_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
  bool stale_ = false;       // replaced on disk, or its reader slots are lost
  bool slots_lost_ = false;  // transactions must not be ended: their slots may be somebody else's
  int64_t checked_replaced_ms_ = 0;
  int64_t tried_open_ms_ = 0;
  Lsn awaited_ = kNoLsn;  // to be flushed
  int64_t awaited_since_ms_ = 0;
  int64_t left_until_ms_ = 0;  // others are asked at once, as it was waited for in vain
  MDB_dbi databases_[kVersionedDatabases] = {};
  MDB_dbi meta_ = 0;
  std::vector<std::unique_ptr<CcView>> views_;
  std::vector<CcView*> active_;  // oldest first
  std::vector<CcView*> idle_;
  std::vector<MDB_cursor*> spare_cursors_[kVersionedDatabases];
  AbsentRange absent_;
  // applied and horizon of the newest LMDB transaction seen
  size_t known_txn_id_ = 0;
  Lsn known_applied_ = kNoLsn;
  Lsn known_horizon_ = kNoLsn;
};

// An LMDB error as a CcStatus with text.
CcStatus LmdbError(int rc, const char* what);

}  // namespace concord::bridge
