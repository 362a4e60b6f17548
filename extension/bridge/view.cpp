#include "bridge/view.h"

#include <pthread.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "bridge/remote_batch.h"
#include "bridge/remote_state.h"
#include "core/replica_layout.h"

namespace concord::bridge {

namespace {

constexpr int64_t kReplacedCheckMs = 100;
constexpr int64_t kFlushPatienceMs = 100;  // until another replica is read
constexpr int64_t kLeftMs = 1000;          // for so long
constexpr int64_t kFlushSliceUs = 10'000;  // between looks at interrupts that came just before
// The lock file gets its size from whoever opens it first, which is the sidecar, but for a race. So here too it must
// have room for all; it is a sparse file.
constexpr unsigned kMaxReaders = 1u << 17;
constexpr size_t kMaxIdleViews = 4;
constexpr size_t kMaxSpareCursors = 16;
// Both meta pages: less than that is a file still being made.
constexpr off_t kMinDataBytes = 2 * 4096;

Replica* instance = nullptr;

void ForgetAfterFork() { instance = nullptr; }

}  // namespace

int64_t NowMs() {
  timespec ts;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
  return int64_t{ts.tv_sec} * 1000 + ts.tv_nsec / 1000000;
}

CcStatus LmdbError(int rc, const char* what) {
  const char* text = mdb_strerror(rc);
  switch (rc) {
    case MDB_READERS_FULL: return Fail(CC_READERS_FULL, "%s: every reader slot of the storage replica is taken", what);
    case ENOENT:
    case ENOTDIR: return Fail(CC_UNAVAILABLE, "%s: %s", what, text);
    case ENOMEM: return Fail(CC_NO_MEMORY, "%s: %s", what, text);
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INCOMPATIBLE: return Fail(CC_CORRUPT, "%s: %s", what, text);
    default: return Fail(CC_IO_ERROR, "%s: %s", what, text);
  }
}

Replica& Replica::Get() {
  if (instance == nullptr) {
    static const int registered = pthread_atfork(nullptr, nullptr, ForgetAfterFork);
    (void)registered;
    instance = new Replica;
  }
  return *instance;
}

CcStatus Replica::Open(const char* path) {
  if (path_ != path) {
    path_ = path;
    if (env_ != nullptr) stale_ = true;
  } else if (env_ != nullptr && NowMs() - checked_replaced_ms_ >= kReplacedCheckMs) {
    CheckReplaced();
  }
  return EnsureOpen();
}

CcStatus Replica::EnsureOpen() {
  if (env_ != nullptr && memtable_ && !stale_) return CC_OK;
  if (env_ != nullptr) {
    if (!active_.empty()) return Fail(CC_UNAVAILABLE, "the storage replica in \"%s\" was replaced", path_.c_str());
    CloseEnvironment();
  }
  if (path_.empty()) return Fail(CC_UNAVAILABLE, "no storage replica is open");
  const CcStatus status = OpenEnvironment();
  if (status != CC_OK) CloseEnvironment();
  return status;
}

CcStatus Replica::OpenEnvironment() {
  const std::string data = path_ + "/data.mdb";
  struct stat file;
  if (stat(data.c_str(), &file) != 0) return LmdbError(errno, data.c_str());
  if (file.st_size < kMinDataBytes) return Fail(CC_UNAVAILABLE, "\"%s\" is not initialised yet", data.c_str());

  // The replica is replaced by one in another directory (sidecar/storage/snapshot_copy.h): the table of readers, the
  // page and the file have to be of the same one.
  struct stat directory, directory_then;
  if (stat(path_.c_str(), &directory) != 0) return LmdbError(errno, path_.c_str());
  int rc = mdb_env_create(&env_);
  if (rc != 0) return LmdbError(rc, "mdb_env_create");
  mdb_env_set_mapsize(env_, kReplicaMapBytes);
  mdb_env_set_maxdbs(env_, kReplicaDatabases);
  mdb_env_set_maxreaders(env_, kMaxReaders);
  rc = mdb_env_open(env_, path_.c_str(), MDB_RDONLY | MDB_NOTLS, 0600);
  if (rc != 0) return LmdbError(rc, data.c_str());
  // Before the file's length is asked for: it only grows.
  MDB_envinfo info;
  MDB_stat pages;
  if ((rc = mdb_env_info(env_, &info)) != 0 || (rc = mdb_env_stat(env_, &pages)) != 0)
    return LmdbError(rc, data.c_str());
  mdb_filehandle_t fd;
  if (mdb_env_get_fd(env_, &fd) != 0 || fstat(fd, &file) != 0) return LmdbError(errno, data.c_str());
  // A page that is not there would be a SIGBUS. The writer makes the file as long as it claims to be right after each
  // commit.
  if (static_cast<uint64_t>(file.st_size) / pages.ms_psize <= info.me_last_pgno)
    return Fail(CC_UNAVAILABLE, "\"%s\" has been cut: it has %llu bytes, and its last page is %zu", data.c_str(),
                static_cast<unsigned long long>(file.st_size), info.me_last_pgno);
  device_ = file.st_dev;
  inode_ = file.st_ino;
  checked_replaced_ms_ = NowMs();
  const CcStatus status = OpenDatabases();
  if (status != CC_OK) return status;
  // Last: LMDB's lock keeps the replica from being taken back to a checkpoint, and these from being made anew.
  Status shared = page_.Open(path_);
  if (shared.ok()) shared = memtable_.Open(path_);
  if (!shared.ok())
    return Fail(shared.code() == Code::kNotFound ? CC_UNAVAILABLE : CC_IO_ERROR, "%s", shared.message().c_str());
  if (stat(path_.c_str(), &directory_then) != 0 || directory_then.st_ino != directory.st_ino)
    return Fail(CC_UNAVAILABLE, "the storage replica in \"%s\" was replaced", path_.c_str());
  return CC_OK;
}

CcStatus Replica::OpenDatabases() {
  MDB_txn* txn;
  int rc = mdb_txn_begin(env_, nullptr, MDB_RDONLY, &txn);
  if (rc == MDB_READERS_FULL) {
    int dead;
    mdb_reader_check(env_, &dead);
    rc = mdb_txn_begin(env_, nullptr, MDB_RDONLY, &txn);
  }
  if (rc != 0) return LmdbError(rc, path_.c_str());

  const struct {
    const char* name;
    MDB_dbi* handle;
  } wanted[] = {{kDbRows, &databases_[0]}, {kDbEntries, &databases_[1]}, {kDbMeta, &meta_}};
  CcStatus status = CC_OK;
  for (const auto& database : wanted) {
    rc = mdb_dbi_open(txn, database.name, 0, database.handle);
    if (rc == 0) continue;
    status = rc == MDB_NOTFOUND ? Fail(CC_UNAVAILABLE, "\"%s\" is not initialised yet", path_.c_str())
                                : LmdbError(rc, path_.c_str());
    break;
  }
  if (status == CC_OK) {
    MDB_val key = {strlen(kMetaFormat), const_cast<char*>(kMetaFormat)};
    MDB_val value;
    rc = mdb_get(txn, meta_, &key, &value);
    if (rc == MDB_NOTFOUND) {
      status = Fail(CC_UNAVAILABLE, "\"%s\" is not initialised yet", path_.c_str());
    } else if (rc != 0) {
      status = LmdbError(rc, path_.c_str());
    } else if (value.mv_size != sizeof(uint32_t) || LoadLe<uint32_t>(value.mv_data) != kReplicaFormat) {
      status = Fail(CC_CORRUPT, "\"%s\" has format %u, this server reads format %u", path_.c_str(),
                    value.mv_size == sizeof(uint32_t) ? LoadLe<uint32_t>(value.mv_data) : 0, kReplicaFormat);
    }
  }
  // The commit of a read transaction is what makes its database handles last.
  if (status != CC_OK) {
    mdb_txn_abort(txn);
  } else if ((rc = mdb_txn_commit(txn)) != 0) {
    status = LmdbError(rc, path_.c_str());
  }
  return status;
}

void Replica::CloseEnvironment() {
  for (auto& spare : spare_cursors_) {
    for (MDB_cursor* cursor : spare) mdb_cursor_close(cursor);
    std::vector<MDB_cursor*>().swap(spare);
  }
  for (const auto& view : views_) {
    for (const PointCursor& point : view->cursors) {
      if (point.cursor != nullptr) mdb_cursor_close(point.cursor);
    }
    if (view->txn != nullptr && !slots_lost_) mdb_txn_abort(view->txn);
  }
  active_.clear();
  idle_.clear();
  views_.clear();
  if (env_ != nullptr) mdb_env_close(env_);
  env_ = nullptr;
  page_ = ReplicaPageMapping();
  memtable_.Close();
  stale_ = slots_lost_ = false;
  known_txn_id_ = 0;
  absent_.Forget();
}

void Replica::Close() {
  Reset();
  CloseEnvironment();
}

void Replica::CheckReplaced() {
  checked_replaced_ms_ = NowMs();
  struct stat file;
  // Our descriptor keeps the old inode's number from being given to a new file.
  if (stat((path_ + "/data.mdb").c_str(), &file) != 0 || file.st_dev != device_ || file.st_ino != inode_) stale_ = true;
}

int Replica::Begin(CcView* view) {
  if (view->txn != nullptr) return mdb_txn_renew(view->txn);
  int rc = mdb_txn_begin(env_, nullptr, MDB_RDONLY, &view->txn);
  if (rc == MDB_READERS_FULL) {
    int dead;
    mdb_reader_check(env_, &dead);
    rc = mdb_txn_begin(env_, nullptr, MDB_RDONLY, &view->txn);
  }
  return rc;
}

CcStatus Replica::Activate(CcView** out) {
  CcStatus status = EnsureOpen();
  if (status != CC_OK) return status;
  if (idle_.empty()) {
    views_.push_back(std::make_unique<CcView>(CcView{.replica = this}));
    idle_.push_back(views_.back().get());
  }
  active_.reserve(views_.size());
  idle_.reserve(views_.size());
  CcView* view = idle_.back();
  const int rc = Begin(view);
  if (rc == MDB_BAD_RSLOT) {
    // Somebody took us for dead and cleared our slots. Nothing of ours is pinned any more: begin again from nothing.
    stale_ = slots_lost_ = true;
    return active_.empty() ? Activate(out) : Fail(CC_IO_ERROR, "the storage replica's reader slots were lost");
  }
  if (rc != 0) return LmdbError(rc, "read transaction of the storage replica");
  idle_.pop_back();
  view->txn_id = mdb_txn_id(view->txn);
  view->since_ms = NowMs();
  for (PointCursor& point : view->cursors) point.renewed = false;
  status = LoadState(view);
  if (status != CC_OK) {
    Deactivate(view);
    return status;
  }
  *out = view;
  return CC_OK;
}

CcStatus Replica::LoadState(CcView* view) {
  // LMDB knows it too, on pages that this process would have to map first.
  Lsn applied, horizon;
  if (view->txn_id != known_txn_id_ && page_.Find(view->txn_id, &applied, &horizon)) {
    known_txn_id_ = view->txn_id;
    known_applied_ = applied;
    known_horizon_ = horizon;
  } else if (view->txn_id != known_txn_id_) {
    Lsn state[2] = {kNoLsn, kNoLsn};
    const char* const names[2] = {kMetaApplied, kMetaHorizon};
    for (int i = 0; i < 2; i++) {
      std::string_view value;
      const CcStatus status = ReadMeta(*view, names[i], &value);
      if (status == CC_END) continue;
      if (status != CC_OK) return status;
      if (value.size() != sizeof(Lsn)) return Fail(CC_CORRUPT, "\"%s\": malformed meta value", path_.c_str());
      state[i] = LoadLe<Lsn>(value.data());
    }
    known_txn_id_ = view->txn_id;
    known_applied_ = state[0];
    known_horizon_ = state[1];
  }
  view->applied = known_applied_;
  view->horizon = known_horizon_;
  return CC_OK;
}

void Replica::Deactivate(CcView* view) {
  mdb_txn_reset(view->txn);
  view->pins = 0;
  if (idle_.size() < kMaxIdleViews) {
    idle_.push_back(view);
    return;
  }
  for (const PointCursor& point : view->cursors) {
    if (point.cursor != nullptr) mdb_cursor_close(point.cursor);
  }
  if (!slots_lost_) mdb_txn_abort(view->txn);
  std::erase_if(views_, [&](const auto& owned) { return owned.get() == view; });
}

CcStatus Replica::Serves(const CcView& view, uint64_t prefix, Lsn lsn) const {
  if (lsn < view.horizon) return Fail(CC_TOO_OLD, "the versions of this snapshot may have been removed");
  if (view.applied >= lsn) return CC_OK;
  if (prefix != kAllStorages && memtable_.FindChange(prefix, view.applied, lsn) == Memtable::Answer::kView)
    return CC_OK;
  return Fail(CC_NOT_APPLIED, "the storage replica has not applied the read LSN yet");
}

CcStatus Replica::AcquireFreshFor(uint64_t prefix, Lsn lsn, CcView** out) {
  CcView* view;
  CcStatus status = AcquireNewest(&view);
  if (status != CC_OK) return status;
  status = Serves(*view, prefix, lsn);
  if (status == CC_OK)
    *out = view;
  else
    Unpin(view);
  return status;
}

CcStatus Replica::AcquireFor(uint64_t prefix, Lsn lsn, CcView** out) {
  if (!active_.empty()) {
    CcView* view = active_.back();
    const CcStatus status = Serves(*view, prefix, lsn);
    if (status == CC_OK) {
      view->pins++;
      *out = view;
    }
    if (status != CC_NOT_APPLIED) {
      EndAwait();
      return status;
    }
  }
  for (;;) {
    CcStatus status = AcquireFreshFor(prefix, lsn, out);
    if (status != CC_NOT_APPLIED) {
      EndAwait();
      return status;
    }
    if ((status = AwaitFlush(lsn)) != CC_OK) return status;
  }
}

CcStatus Replica::AcquireForKey(std::string_view key, Lsn lsn, CcView** out) {
  for (int behind = 0;;) {
    CcView* view;
    CcStatus status = CC_OK;
    if (!active_.empty() && active_.back()->applied >= lsn) {
      view = active_.back();
      view->pins++;
    } else if ((status = AcquireNewest(&view)) != CC_OK) {
      return status;
    }
    if (lsn < view->horizon) status = Fail(CC_TOO_OLD, "the versions of this snapshot may have been removed");
    if (status != CC_OK || view->applied >= lsn) {
      EndAwait();
      if (status != CC_OK) Unpin(view);
      *out = view;
      return status;
    }
    Memtable::Version recent{};
    switch (memtable_.Find(key, view->applied, lsn, &recent)) {
      case Memtable::Answer::kView:
        EndAwait();
        *out = view;
        return CC_OK;
      case Memtable::Answer::kBehind:
        Unpin(view);
        // There is a newer one, or will be.
        if (++behind > 1 && (status = AwaitFlush(lsn)) != CC_OK) return status;
        break;
      case Memtable::Answer::kFound: {
        Unpin(view);
        EndAwait();
        if (recent.size == 0) return CC_END;
        RemoteBytes bytes(static_cast<char*>(malloc((recent.size + 7) / 8 * 8)));
        if (bytes == nullptr) throw std::bad_alloc();
        if (!memtable_.Read(recent, bytes.get())) break;  // it is in LMDB meanwhile
        BatchEntry entry{};
        entry.lsn = recent.lsn;
        *out = RemoteBatch::MakeValue(std::move(bytes), entry, recent.size)->view();
        return CC_OK;
      }
      case Memtable::Answer::kNotThere:
        Unpin(view);
        if ((status = AwaitFlush(lsn)) != CC_OK) return status;
        break;
    }
  }
}

void Replica::EndAwait() {
  if (awaited_ == kNoLsn) return;
  awaited_ = kNoLsn;
  TellWaiting(CC_WAITS_NOT);
}

CcStatus Replica::AwaitFlush(Lsn lsn) {
  const int64_t now = NowMs();
  // A replica that stands still may be one that is no longer there.
  if (now - checked_replaced_ms_ >= kReplacedCheckMs) CheckReplaced();
  if (awaited_ != lsn) {
    awaited_ = lsn;
    awaited_since_ms_ = now;
  }
  // Where there are others they are asked, at once if this one has forgotten what it had taken.
  const bool readable = page_.readable() >= lsn;
  const int64_t patience_ms = remote_state.enabled ? (readable && now >= left_until_ms_ ? kFlushPatienceMs : 0)
                              : remote_state.options.timeout_ms != nullptr ? *remote_state.options.timeout_ms
                                                                           : 0;
  if (now - awaited_since_ms_ >= patience_ms) {
    EndAwait();
    if (patience_ms > 0) left_until_ms_ = now + kLeftMs;
    return Fail(CC_NOT_APPLIED, "the storage replica has not applied the read LSN yet");
  }
  TellWaiting(CC_WAITS_FLUSH);
  if (readable) {
    memtable_.Want(lsn);
    page_.AwaitApplied(lsn, kFlushSliceUs);
  } else {
    page_.AwaitReadable(lsn, kFlushSliceUs);
  }
  const volatile int* const interrupted = remote_state.options.interrupted;
  return interrupted != nullptr && *interrupted != 0 ? CC_INTERRUPTED : CC_OK;
}

CcStatus Replica::AcquireNewest(CcView** out) {
  if (active_.empty() || stale_ || HasNewer(*active_.back())) {
    CcView* view;
    const CcStatus status = Activate(&view);
    if (status != CC_OK) return status;
    active_.push_back(view);
    PublishViews();
  }
  *out = active_.back();
  (*out)->pins++;
  return CC_OK;
}

void Replica::Unpin(CcView* view) {
  if (view->pins == 0 || --view->pins > 0) return;
  std::erase(active_, view);
  PublishViews();
  Deactivate(view);
}

void Replica::Reset() {
  EndAwait();
  while (!active_.empty()) {
    CcView* view = active_.back();
    active_.pop_back();
    Deactivate(view);
  }
  PublishViews();
}

CcStatus Replica::Readable(Lsn* lsn) {
  const CcStatus status = EnsureOpen();
  if (status == CC_OK) *lsn = page_.readable();
  return status;
}

bool Replica::IsReadable(Lsn lsn) {
  if (HasApplied(lsn)) return true;
  return page_ && NowMs() >= left_until_ms_ && page_.readable() >= lsn;
}

bool Replica::HasApplied(Lsn lsn) {
  if (!active_.empty() && active_.back()->applied >= lsn) return true;
  if (env_ == nullptr && NowMs() - tried_open_ms_ < kReplacedCheckMs) return false;
  tried_open_ms_ = NowMs();
  return EnsureOpen() == CC_OK && page_.applied() >= lsn;
}

void Replica::Await(Lsn lsn, int64_t wait_us) {
  if (page_) return page_.AwaitReadable(lsn, wait_us);
  const timespec wait = {static_cast<time_t>(wait_us / 1'000'000), static_cast<long>(wait_us % 1'000'000) * 1000};
  nanosleep(&wait, nullptr);
}

bool Replica::HasNewer(const CcView& view) const {
  MDB_envinfo info;
  return mdb_env_info(env_, &info) == 0 && info.me_last_txnid != view.txn_id;
}

CcStatus Replica::UsePointCursor(CcView* view, int database, PointCursor** out) {
  PointCursor& point = view->cursors[database];
  if (!point.renewed) {
    const int rc = point.cursor == nullptr ? mdb_cursor_open(view->txn, databases_[database], &point.cursor)
                                           : mdb_cursor_renew(view->txn, point.cursor);
    if (rc != 0) return LmdbError(rc, "cursor of the storage replica");
    point.renewed = true;
    point.stands_on = nullptr;
  }
  *out = &point;
  return CC_OK;
}

CcStatus Replica::TakeCursor(CcView* view, int database, MDB_cursor** out) {
  auto& spare = spare_cursors_[database];
  spare.reserve(kMaxSpareCursors);  // so that giving back cannot fail
  int rc;
  if (spare.empty()) {
    rc = mdb_cursor_open(view->txn, databases_[database], out);
  } else {
    *out = spare.back();
    rc = mdb_cursor_renew(view->txn, *out);
    if (rc == 0) spare.pop_back();
  }
  return rc == 0 ? CC_OK : LmdbError(rc, "cursor of the storage replica");
}

void Replica::GiveCursor(int database, MDB_cursor* cursor) {
  auto& spare = spare_cursors_[database];
  if (spare.size() < kMaxSpareCursors) {
    spare.push_back(cursor);
  } else {
    mdb_cursor_close(cursor);
  }
}

CcStatus Replica::ReadMeta(const CcView& view, std::string_view key, std::string_view* value) const {
  MDB_val mdb_key = {key.size(), const_cast<char*>(key.data())};
  MDB_val mdb_value;
  const int rc = mdb_get(view.txn, meta_, &mdb_key, &mdb_value);
  if (rc == MDB_NOTFOUND) return CC_END;
  if (rc != 0) return LmdbError(rc, "meta data of the storage replica");
  *value = {static_cast<const char*>(mdb_value.mv_data), mdb_value.mv_size};
  return CC_OK;
}

CcStatus Replica::ScanMeta(const CcView& view, std::string_view from,
                           const std::function<bool(std::string_view, std::string_view)>& take) const {
  MDB_cursor* opened;
  int rc = mdb_cursor_open(view.txn, meta_, &opened);
  if (rc != 0) return LmdbError(rc, "meta data of the storage replica");
  const std::unique_ptr<MDB_cursor, decltype(&mdb_cursor_close)> cursor(opened, mdb_cursor_close);
  MDB_val key = {from.size(), const_cast<char*>(from.data())};
  MDB_val value;
  for (rc = mdb_cursor_get(opened, &key, &value, MDB_SET_RANGE); rc == 0;
       rc = mdb_cursor_get(opened, &key, &value, MDB_NEXT)) {
    const std::string_view name{static_cast<const char*>(key.mv_data), key.mv_size};
    if (name[0] != from[0] || !take(name, {static_cast<const char*>(value.mv_data), value.mv_size})) return CC_OK;
  }
  return rc == MDB_NOTFOUND ? CC_OK : LmdbError(rc, "meta data of the storage replica");
}

}  // namespace concord::bridge
