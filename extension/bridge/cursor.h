// A cursor over the keys of one storage in the local replica, visible as of an LSN (replica.h, CcCursor).
//
// LMDB holds every version of a key, newest first. Forward, the first version not newer than the LSN is the visible one
// and the rest of the key is passed over; backward, versions come oldest first and the last one not newer counts. More
// than a few versions to pass over are skipped by a seek. The bodies of one storage are prefix-free (fixed columns in
// self-delimiting encodings), hence the versions of one key are neighbours.
//
// Entries are read in batches, each from one view: what the batch costs is shared by its rows, and the processor
// overlaps their cache misses. Neighbours in key order mostly lie on neighbouring pages of the file; PageAhead makes
// use of that.
//
// The cursor holds a pinned view only while it stands on or beside a record. A position (position.h) is enough to place
// it anew in another view, which it does from time to time so that a long scan does not keep LMDB from reusing pages.
#pragma once

#include <lmdb.h>

#include <cstring>
#include <memory>
#include <string>

#include "bridge/page_ahead.h"
#include "bridge/position.h"
#include "bridge/remote_cursor.h"
#include "bridge/view.h"
#include "core/bytes.h"

namespace concord::bridge {

// When a scan moves to a fresh view. Variables, so that tests can make it happen at every step.
struct CursorTuning {
  unsigned steps_per_clock = 256;  // records between looks at the clock
  int64_t view_ms = 100;           // how long a scan keeps a view
};
extern CursorTuning cursor_tuning;

// Neighbouring bodies differ at their end, if at all: looked at first, that decides without a call.
inline bool SameBody(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  const size_t size = a.size();
  if (size < sizeof(uint32_t)) return a == b;
  if (size < sizeof(uint64_t)) {
    const size_t rest = size - sizeof(uint32_t);
    return LoadLe<uint32_t>(a.data() + rest) == LoadLe<uint32_t>(b.data() + rest) &&
           LoadLe<uint32_t>(a.data()) == LoadLe<uint32_t>(b.data());
  }
  const size_t rest = size - sizeof(uint64_t);
  return LoadLe<uint64_t>(a.data() + rest) == LoadLe<uint64_t>(b.data() + rest) &&
         (rest == 0 || memcmp(a.data(), b.data(), rest) == 0);
}

class ReplicaCursor {
 public:
  ReplicaCursor(uint64_t prefix, Lsn lsn) : prefix_(prefix), lsn_(lsn), database_(DatabaseOf(prefix)) {}
  ReplicaCursor(const ReplicaCursor&) = delete;
  ReplicaCursor& operator=(const ReplicaCursor&) = delete;
  ~ReplicaCursor() { ReleaseView(); }

  // Only notes the position; the key is copied. LMDB is asked at the next Next.
  void Move(const Position& position);
  // Up to `room` entries, all of one view, which the cursor holds until the next call. *count is at least 1 with CC_OK.
  CcStatus Next(bool backward, CcEntry* entries, size_t room, size_t* count);
  // Gives the view back until the next call; the position stays.
  void Rest() {
    KeepPosition();
    ReleaseView();
    remote_.reset();
    placed_ = false;
  }
  // Not to be mixed with Next without a Move between.
  CcStatus NextVersion(CcEntry* entry);
  // What the next reads are for; it holds from the next Move on.
  void Expect(ScanExpectation expectation) {
    if (expected_ == nullptr) expected_ = std::make_unique<ScanExpectation>();  // remote_ knows where it is
    *expected_ = std::move(expectation);
  }

 private:
  std::string_view key() const { return {static_cast<const char*>(key_.mv_data), key_.mv_size}; }
  std::string_view body() const { return key().substr(kPrefixSize, key_.mv_size - kPrefixSize - kVersionSize); }
  Lsn version() const { return VersionLsn(key()); }

  // LMDB's operations: they load key_ and value_ and set found_ and past_end_. Step is in every scan's inner loop.
  [[gnu::always_inline]] CcStatus Step(MDB_cursor_op op) {
    const CcStatus status = Loaded(mdb_cursor_get(cursor_, &key_, &value_, op));
    if (found_) op == MDB_NEXT || op == MDB_PREV ? page_ahead_.Passed(key_.mv_data) : page_ahead_.Start(key_.mv_data);
    return status;
  }
  CcStatus SeekRaw(std::string_view body, const uint64_t* version);
  [[gnu::always_inline]] CcStatus Loaded(int rc) {
    found_ = past_end_ = false;
    if (rc != 0 || key_.mv_size < kPrefixSize + kVersionSize) return NotARecord(rc);
    if (KeyPrefix(key()) != prefix_) return CC_OK;
    found_ = true;
    return CC_OK;
  }
  CcStatus NotARecord(int rc);

  // Loads the first record after the position (forward) or the last one before it.
  CcStatus Place(bool backward);
  CcStatus PlaceForward();
  // Moves to a newer view if this one has been held for long; the position is kept, *moved says that nothing is loaded.
  CcStatus RefreshView(bool* moved);
  CcStatus Forward(CcEntry* entries, size_t room, size_t* count);
  CcStatus Backward(CcEntry* entries, size_t room, size_t* count);
  CcStatus Finish(bool backward);
  void StandOn(std::string_view body) { position_ = {Position::Kind::kAt, body}; }
  bool StandsOn(std::string_view body) const {
    return position_.kind == Position::Kind::kAt && SameBody(position_.key, body);
  }
  [[gnu::always_inline]] void Fill(const MDB_val& key, const MDB_val& value, CcEntry* entry) const {
    entry->key = static_cast<const uint8_t*>(key.mv_data) + kPrefixSize;
    entry->key_size = key.mv_size - kPrefixSize - kVersionSize;
    entry->value = static_cast<const uint8_t*>(value.mv_data);
    entry->value_size = value.mv_size;
    entry->lsn = VersionLsn({static_cast<const char*>(key.mv_data), key.mv_size});
    entry->view = view_;
  }
  void KeepPosition();
  void ReleaseView();

  // What the replica of this machine cannot serve. *local_ready: it can now, and nothing was read.
  CcStatus NextRemote(bool backward, CcEntry* entries, size_t room, size_t* count, bool* local_ready);
  CcStatus NextRemoteVersion(CcEntry* entry, bool* local_ready);
  void BeginRemote();
  bool IsLocalBetter();

  const uint64_t prefix_;
  const Lsn lsn_;
  const int database_;
  PageAhead page_ahead_;
  Position position_;  // its key lies in the map of view_, in the batch of remote_, or in kept_key_
  std::string kept_key_;
  Lsn version_after_ = kNoLsn;  // NextVersion: the version of the position's key returned last
  CcView* view_ = nullptr;
  MDB_cursor* cursor_ = nullptr;
  bool placed_ = false;  // LMDB's cursor agrees with the position
  bool ahead_ = false;   // key_ and value_ are the next record to look at
  bool backward_ = false;
  bool found_ = false;     // key_ and value_ are a record of this storage
  bool past_end_ = false;  // LMDB's cursor has run off the database
  MDB_val key_ = {};
  MDB_val value_ = {};
  std::string seek_key_;
  unsigned steps_ = 0;
  std::unique_ptr<RemoteCursor> remote_;  // while another machine's replica is read
  std::unique_ptr<ScanExpectation> expected_;
};

// For cc_replica_reset.
void CloseAllCursors();
void CloseAllScans();
size_t LiveCursors();
size_t LiveScans();

}  // namespace concord::bridge
