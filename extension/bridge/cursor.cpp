#include "bridge/cursor.h"

#include "bridge/registry.h"
#include "bridge/remote_state.h"

namespace concord::bridge {

namespace {

constexpr int kStepsBeforeSeek = 4;        // versions passed over one by one before a seek, about its price
constexpr size_t kMaxViewsForRefresh = 4;  // with more than these out, old ones are pinned by somebody else anyway
constexpr uint64_t kNewestVersion = 0;     // ~lsn, as keys have it
constexpr uint64_t kOldestVersion = UINT64_MAX;  // no commit has LSN 0

}  // namespace

CursorTuning cursor_tuning;

void ReplicaCursor::Move(const Position& position) {
  std::string key(position.key);  // it may lie in kept_key_ or in a view about to go
  kept_key_.swap(key);
  position_ = {position.kind, kept_key_};
  version_after_ = kNoLsn;
  placed_ = ahead_ = false;
}

void ReplicaCursor::KeepPosition() {
  if (position_.key.data() == kept_key_.data()) return;
  kept_key_.assign(position_.key);
  position_.key = kept_key_;
}

void ReplicaCursor::ReleaseView() {
  if (view_ == nullptr) return;
  Replica& replica = Replica::Get();
  if (view_->replica == &replica) {  // not one inherited by fork
    replica.GiveCursor(database_, cursor_);
    replica.Unpin(view_);
  }
  view_ = nullptr;
  cursor_ = nullptr;
  placed_ = ahead_ = false;
}

CcStatus ReplicaCursor::NotARecord(int rc) {
  past_end_ = rc == MDB_NOTFOUND;
  if (past_end_) return CC_OK;
  if (rc != 0) return LmdbError(rc, "read of the storage replica");
  if (key_.mv_size >= kPrefixSize && KeyPrefix(key()) == prefix_)
    return Fail(CC_CORRUPT, "key without a version in the storage replica");
  return CC_OK;
}

CcStatus ReplicaCursor::SeekRaw(std::string_view body, const uint64_t* version) {
  seek_key_.clear();
  AppendBe64(&seek_key_, prefix_);
  seek_key_.append(body);
  if (version != nullptr) AppendBe64(&seek_key_, *version);
  key_ = {seek_key_.size(), seek_key_.data()};
  return Step(MDB_SET_RANGE);
}

// Loads the first record after the gap that the position is.
CcStatus ReplicaCursor::PlaceForward() {
  std::string successor;
  std::string_view bound = position_.key;
  CcStatus status;
  switch (position_.kind) {
    case Position::Kind::kStart: return SeekRaw({}, nullptr);
    case Position::Kind::kAt: return SeekRaw(bound, &kOldestVersion);
    case Position::Kind::kAfterPrefixed:
      successor = PrefixSuccessor(bound);
      bound = successor;
      break;
    case Position::Kind::kEnd: {
      char next[kPrefixSize];
      StoreBe64(next, prefix_ + 1);
      key_ = {sizeof next, next};
      return Step(MDB_SET_RANGE);
    }
    default: break;
  }
  status = SeekRaw(bound, nullptr);
  if (status != CC_OK || !found_) return status;
  // A body that is a proper prefix of the bound lies before it, though its versions may lie behind.
  const bool passed = position_.kind == Position::Kind::kAfter ? body() <= bound : body() < bound;
  return passed ? SeekRaw(body(), &kOldestVersion) : CC_OK;
}

CcStatus ReplicaCursor::Place(bool backward) {
  if (view_ == nullptr) {
    Replica& replica = Replica::Get();
    CcView* view;
    CcStatus status = remote_state.only ? CC_UNAVAILABLE : replica.AcquireFor(prefix_, lsn_, &view);
    if (status != CC_OK) return status;
    status = replica.TakeCursor(view, database_, &cursor_);
    if (status != CC_OK) {
      replica.Unpin(view);
      return status;
    }
    view_ = view;
    steps_ = 0;
  } else {
    KeepPosition();
  }
  CcStatus status;
  if (backward && position_.kind == Position::Kind::kAt) {
    status = SeekRaw(position_.key, &kNewestVersion);
  } else {
    status = PlaceForward();
  }
  // LMDB's cursor is on the first record behind the gap, perhaps another storage's, or at the end of the database.
  if (status == CC_OK && backward) status = Step(past_end_ ? MDB_LAST : MDB_PREV);
  if (status != CC_OK) return status;
  placed_ = ahead_ = true;
  backward_ = backward;
  return CC_OK;
}

CcStatus ReplicaCursor::RefreshView(bool* moved) {
  *moved = false;
  const int64_t now = NowMs();
  if (now - view_->since_ms < cursor_tuning.view_ms) return CC_OK;
  Replica& replica = *view_->replica;
  if (replica.active_views() > kMaxViewsForRefresh || !replica.HasNewer(*view_)) return CC_OK;
  CcView* fresh;
  const CcStatus status = replica.AcquireFreshFor(prefix_, lsn_, &fresh);
  if (status == CC_TOO_OLD) return status;
  if (status != CC_OK) return CC_OK;  // the view at hand still serves
  KeepPosition();
  ReleaseView();
  const CcStatus taken = replica.TakeCursor(fresh, database_, &cursor_);
  if (taken != CC_OK) {
    replica.Unpin(fresh);
    return taken;
  }
  view_ = fresh;
  *moved = true;
  return CC_OK;
}

CcStatus ReplicaCursor::Finish(bool backward) {
  position_ = {backward ? Position::Kind::kStart : Position::Kind::kEnd, {}};
  ReleaseView();
  return CC_END;
}

CcStatus ReplicaCursor::Next(bool backward, CcEntry* entries, size_t room, size_t* count) {
  bool local_ready = true;
  if (remote_ != nullptr) [[unlikely]] {
    const CcStatus status = NextRemote(backward, entries, room, count, &local_ready);
    if (!local_ready) return status;
  }
  if (!placed_ || backward != backward_) {
    // At the end, the end again: no need to look.
    if (position_.kind == (backward ? Position::Kind::kStart : Position::Kind::kEnd)) return CC_END;
    const CcStatus status = Place(backward);
    if (GoesRemote(status)) [[unlikely]] {
      BeginRemote();
      const CcStatus remote = NextRemote(backward, entries, room, count, &local_ready);
      return local_ready ? Next(backward, entries, room, count) : remote;
    }
    if (status != CC_OK) return status;
  }
  return backward ? Backward(entries, room, count) : Forward(entries, room, count);
}

CcStatus ReplicaCursor::Forward(CcEntry* entries, size_t room, size_t* count) {
  int older = 0;
  int newer = 0;
  std::string_view newer_body;
  size_t filled = 0;
  for (;;) {
    CcStatus status = CC_OK;
    if (++steps_ >= cursor_tuning.steps_per_clock) {
      if (filled != 0) break;
      steps_ = 0;
      bool moved;
      status = RefreshView(&moved);
      if (status == CC_OK && moved) {
        newer = 0;
        newer_body = {};
        status = Place(false);
      }
      if (status != CC_OK) return status;
    }
    if (ahead_) {
      ahead_ = false;
    } else if ((status = Step(MDB_NEXT)) != CC_OK) {
      return status;
    }
    if (!found_) {
      if (filled == 0) return Finish(false);
      ahead_ = true;  // the end is what the next call finds
      break;
    }

    const std::string_view at = body();
    if (StandsOn(at)) {  // an older version of a key done with
      if (++older <= kStepsBeforeSeek) continue;
      older = 0;
      if ((status = SeekRaw(at, &kOldestVersion)) != CC_OK) return status;
      ahead_ = true;
      continue;
    }
    if (version() > lsn_) {
      if (at != newer_body) {
        newer = 0;
        newer_body = at;
      }
      if (++newer <= kStepsBeforeSeek) continue;
      newer = 0;
      const uint64_t visible = ~lsn_;
      if ((status = SeekRaw(at, &visible)) != CC_OK) return status;
      ahead_ = true;
      continue;
    }
    StandOn(at);
    older = 0;
    if (value_.mv_size == 0) continue;
    Fill(key_, value_, &entries[filled]);
    if (++filled == room) break;
  }
  *count = filled;
  return CC_OK;
}

CcStatus ReplicaCursor::Backward(CcEntry* entries, size_t room, size_t* count) {
  size_t filled = 0;
  for (;;) {
    CcStatus status = CC_OK;
    if (++steps_ >= cursor_tuning.steps_per_clock) {
      if (filled != 0) break;
      steps_ = 0;
      bool moved;
      status = RefreshView(&moved);
      if (status == CC_OK && moved) status = Place(true);
      if (status != CC_OK) return status;
    }
    // The record ahead, if any, is the oldest version of the key before the position.
    if (!ahead_ && (status = Step(MDB_PREV)) != CC_OK) return status;
    ahead_ = false;
    if (!found_) {
      if (filled == 0) return Finish(true);
      ahead_ = true;  // the end is what the next call finds
      break;
    }

    const std::string_view at = body();
    MDB_val best_key = {};
    MDB_val best_value = {};
    for (int passed = 1; found_ && SameBody(body(), at); passed++) {
      if (version() <= lsn_) {
        best_key = key_;
        best_value = value_;
      }
      if (passed > kStepsBeforeSeek) {
        const uint64_t visible = ~lsn_;
        if ((status = SeekRaw(at, &visible)) != CC_OK) return status;
        if (found_ && SameBody(body(), at)) {
          best_key = key_;
          best_value = value_;
        }
        if ((status = SeekRaw(at, &kNewestVersion)) != CC_OK) return status;
        if ((status = Step(MDB_PREV)) != CC_OK) return status;
        break;
      }
      if ((status = Step(MDB_PREV)) != CC_OK) return status;
    }
    ahead_ = true;
    StandOn(at);
    if (best_value.mv_size == 0) continue;  // none visible, or a tombstone
    Fill(best_key, best_value, &entries[filled]);
    if (++filled == room) break;
  }
  *count = filled;
  return CC_OK;
}

// ---- another machine's replica ----

void ReplicaCursor::BeginRemote() {
  KeepPosition();
  ReleaseView();
  placed_ = ahead_ = false;
  remote_ = std::make_unique<RemoteCursor>(prefix_, lsn_);
}

// Whether a scan that is placed anew has the replica of this machine to read again.
bool ReplicaCursor::IsLocalBetter() { return !remote_state.only && Replica::Get().HasApplied(lsn_); }

CcStatus ReplicaCursor::NextRemote(bool backward, CcEntry* entries, size_t room, size_t* count, bool* local_ready) {
  *local_ready = false;
  KeepPosition();  // the batch that its key lies in may go, also where nothing comes of it
  if (!placed_ || backward != backward_) {
    if (position_.kind == (backward ? Position::Kind::kStart : Position::Kind::kEnd)) return CC_END;
    remote_->Expect(expected_.get());
    remote_->Place(position_, backward);
    *local_ready = !remote_->IsAtHand() && IsLocalBetter();
    placed_ = true;
    backward_ = backward;
  }
  CcStatus status = CC_OK;
  if (!*local_ready) status = remote_->Next(entries, room, count, local_ready);
  if (*local_ready) {
    remote_.reset();
    placed_ = ahead_ = false;
    return CC_OK;
  }
  if (status == CC_END) {
    position_ = {backward ? Position::Kind::kStart : Position::Kind::kEnd, {}};
    return CC_END;
  }
  if (status != CC_OK) return status;
  const CcEntry& last = entries[*count - 1];
  StandOn({reinterpret_cast<const char*>(last.key), last.key_size});
  return CC_OK;
}

CcStatus ReplicaCursor::NextRemoteVersion(CcEntry* entry, bool* local_ready) {
  *local_ready = false;
  if (position_.kind == Position::Kind::kEnd) return CC_END;
  KeepPosition();
  const CcStatus status = remote_->NextVersion(position_, version_after_, !placed_, entry, local_ready);
  if (*local_ready) {
    KeepPosition();
    remote_.reset();
    placed_ = ahead_ = false;
    return CC_OK;
  }
  placed_ = true;
  backward_ = false;
  if (status == CC_END) {
    position_ = {Position::Kind::kEnd, {}};
    return CC_END;
  }
  if (status != CC_OK) {
    KeepPosition();
    return status;
  }
  StandOn({reinterpret_cast<const char*>(entry->key), entry->key_size});
  version_after_ = entry->lsn;
  return CC_OK;
}

CcStatus ReplicaCursor::NextVersion(CcEntry* entry) {
  CcStatus status = CC_OK;
  bool continues = false;  // among the versions of the key it stands on, which another machine's replica has begun
  if (remote_ != nullptr) [[unlikely]] {
    bool local_ready;
    status = NextRemoteVersion(entry, &local_ready);
    if (!local_ready) return status;
    continues = true;
  }
  for (;;) {
    bool moved = false;
    if (view_ != nullptr && ++steps_ >= cursor_tuning.steps_per_clock) {
      steps_ = 0;
      if ((status = RefreshView(&moved)) != CC_OK) return status;
    }
    if (continues && view_ == nullptr) {
      status = Place(false);  // for its view
      if (GoesRemote(status)) [[unlikely]] {
        BeginRemote();
        return NextVersion(entry);
      }
      if (status != CC_OK) return status;
      moved = true;
      continues = false;
    }
    if (moved && position_.kind == Position::Kind::kAt) {
      const uint64_t next_older = version_after_ != kNoLsn ? ~version_after_ + 1 : kNewestVersion;
      if ((status = SeekRaw(position_.key, &next_older)) != CC_OK) return status;
      placed_ = ahead_ = true;
      backward_ = false;
    } else if (moved || !placed_ || backward_) {
      if (position_.kind == Position::Kind::kEnd) return CC_END;
      status = Place(false);
      if (GoesRemote(status)) [[unlikely]] {
        BeginRemote();
        return NextVersion(entry);
      }
      if (status != CC_OK) return status;
    }
    if (!ahead_ && (status = Step(MDB_NEXT)) != CC_OK) return status;
    ahead_ = false;
    if (!found_) return Finish(false);
    // What lies under a version that the horizon has reached is garbage, swept or not.
    const uint64_t horizon = view_ != nullptr ? view_->horizon : kNoLsn;
    const bool garbage = StandsOn(body()) && version_after_ != kNoLsn && version_after_ <= horizon;
    if (!StandsOn(body())) version_after_ = kNoLsn;
    StandOn(body());
    if (version() > lsn_ || garbage) continue;
    version_after_ = version();
    Fill(key_, value_, entry);
    return CC_OK;
  }
}

}  // namespace concord::bridge

struct CcCursor : concord::bridge::Registered<CcCursor> {
  CcCursor(uint64_t prefix, uint64_t lsn) : cursor(prefix, lsn) {}
  concord::bridge::ReplicaCursor cursor;
};

namespace concord::bridge {

void CloseAllCursors() { Registered<CcCursor>::DeleteAll(); }
size_t LiveCursors() { return Registered<CcCursor>::Live(); }

extern "C" CcStatus cc_cursor_open(uint64_t prefix, uint64_t lsn, CcCursor** cursor) {
  return Guard([&] {
    *cursor = new CcCursor(prefix, lsn);
    return CC_OK;
  });
}

extern "C" CcStatus cc_cursor_seek(CcCursor* cursor, const void* key, size_t key_size, bool backward,
                                   bool prefix_match) {
  return Guard([&] {
    cursor->cursor.Move(Position::Seek({static_cast<const char*>(key), key_size}, backward, prefix_match));
    return CC_OK;
  });
}

extern "C" CcStatus cc_cursor_next_try(CcCursor* cursor, bool backward, CcEntry* entry) {
  return Guard([&] {
    size_t count;
    return cursor->cursor.Next(backward, entry, 1, &count);
  });
}

extern "C" CcStatus cc_cursor_next_version_try(CcCursor* cursor, CcEntry* entry) {
  return Guard([&] { return cursor->cursor.NextVersion(entry); });
}

extern "C" void cc_cursor_close(CcCursor* cursor) { delete cursor; }

}  // namespace concord::bridge
