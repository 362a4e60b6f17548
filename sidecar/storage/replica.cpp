// Opening, closing and reading a replica; what the writer does is in replica_apply.cpp and replica_maintain.cpp.
#include "sidecar/storage/replica.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>

#include "core/bytes.h"
#include "core/shared_file.h"
#include "sidecar/lsn_text.h"
#include "sidecar/rpc/log.h"
#include "sidecar/storage/free_pages.h"
#include "sidecar/storage/meta.h"
#include "sidecar/storage/start_check.h"

namespace concord {
namespace {

constexpr size_t kPooledViews = 64;

template <typename Clock>
int64_t NowUs() {
  return std::chrono::duration_cast<std::chrono::microseconds>(Clock::now().time_since_epoch()).count();
}

// Reader slots that a read transaction holds now; me_numreaders is how many were ever used.
uint64_t ReadersInUse(MDB_env* env) {
  uint64_t count = 0;
  const auto count_line = [](const char* line, void* to) {
    int pid;
    // The first line is a heading; a slot that is kept for its thread's next transaction shows "-" for its own.
    if (sscanf(line, "%d", &pid) == 1) ++*static_cast<uint64_t*>(to);
    return 0;
  };
  mdb_reader_list(env, count_line, &count);
  return count;
}

// Room for LMDB's table of readers, which is written through a map, in a backend as well: LMDB only makes the file
// longer. Its size is LMDB's to set.
Status AllocateReaders(const std::string& directory, unsigned readers) {
  const std::string path = directory + "/lock.mdb";
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return lmdb::Error(errno, "open " + path);
  constexpr off_t kReaderBytes = 64;
  constexpr off_t kHeaderBytes = 4096;  // at most
  const Status status = AllocateSharedFile(path, fd, kHeaderBytes + kReaderBytes * static_cast<off_t>(readers));
  close(fd);  // LMDB has no lock on it yet, which this would take away
  return status;
}

}  // namespace

ReplicaView& ReplicaView::operator=(ReplicaView&& other) noexcept {
  if (txn_) replica_->ReturnView(std::move(txn_));
  replica_ = other.replica_;
  txn_ = std::move(other.txn_);
  keep_ = std::move(other.keep_);
  applied_ = other.applied_;
  horizon_ = other.horizon_;
  return *this;
}

ReplicaView::~ReplicaView() {
  if (txn_) replica_->ReturnView(std::move(txn_));
}

MDB_dbi ReplicaView::DbFor(std::string_view key) const {
  return !key.empty() && KeySpace(key) == Space::kRow ? replica_->dbs_.rows : replica_->dbs_.entries;
}

Status Replica::Open(ReplicaOptions options, std::unique_ptr<Replica>* out) {
  if (!options.unix_us) options.unix_us = NowUs<std::chrono::system_clock>;
  if (!options.steady_us) options.steady_us = NowUs<std::chrono::steady_clock>;
  if (options.boot_id.empty()) {
    if (Status s = ReadBootId(&options.boot_id); !s.ok()) return s;
  }
  bool fresh, restored;
  if (Status s = RecoverDirectory(options.directory, options.boot_id, &fresh, &restored); !s.ok()) return s;

  if (!fresh) {
    if (Status s = CheckBeforeOpen(options.directory, options.check_bytes); !s.ok()) return s;
  }

  std::unique_ptr<Replica> replica(new Replica(std::move(options)));
  if (Status s = replica->OpenEnvironment(); !s.ok()) return s;
  if (Status s = replica->OpenDatabases(fresh); !s.ok()) return s;
  if (Status s = replica->LoadState(); !s.ok()) return s;
  if (Status s = replica->CreateShared(); !s.ok()) return s;

  // Before anything is written: a state to go back to.
  replica->checkpointer_ =
      std::make_unique<Checkpointer>(replica->env_.get(), replica->options_.directory, replica->options_.boot_id);
  if (Status s = replica->CheckpointIfDue(/*force=*/true); !s.ok()) return s;
  if (Status s = replica->FinishCheckpoint(); !s.ok()) return s;
  if (fresh) {
    if (Status s = RemoveMark(replica->options_.directory, kCreatingFile); !s.ok()) return s;
  }
  if (restored)
    RoleLog("storage")->warn(
        "storage replica {} went back to its checkpoint {}: the machine restarted or a sync failed",
        replica->options_.directory, LsnText(replica->applied()));
  *out = std::move(replica);
  return Status::Ok();
}

Status Replica::OpenEnvironment() {
  if (Status s = lmdb::Error(mdb_env_create(env_.out()), "LMDB create"); !s.ok()) return s;
  mdb_env_set_mapsize(env_.get(), options_.map_bytes);
  mdb_env_set_maxdbs(env_.get(), kReplicaDatabases);
  mdb_env_set_maxreaders(env_.get(), options_.max_readers);
  // Not MDB_WRITEMAP: a full disk would be a SIGBUS. MDB_NOSYNC: see checkpoint.h. MDB_NORDAHEAD: most reads are seeks.
  if (Status s = AllocateReaders(options_.directory, options_.max_readers); !s.ok()) return s;
  const unsigned flags = MDB_NOTLS | MDB_NOSYNC | MDB_NOMEMINIT | MDB_NORDAHEAD;
  return lmdb::Error(mdb_env_open(env_.get(), options_.directory.c_str(), flags, 0600), "open " + options_.directory);
}

Status Replica::OpenDatabases(bool fresh) {
  // An existing environment is only read here: it may not be written before its first checkpoint.
  lmdb::Txn txn;
  if (Status s = txn.Begin(env_.get(), fresh ? 0 : MDB_RDONLY); !s.ok()) return s;
  const std::pair<const char*, MDB_dbi*> databases[] = {
      {kDbRows, &dbs_.rows}, {kDbEntries, &dbs_.entries}, {kDbMeta, &dbs_.meta}, {kDbStaged, &dbs_.staged}};
  for (const auto& [name, dbi] : databases) {
    if (Status s = lmdb::Error(mdb_dbi_open(txn.get(), name, fresh ? MDB_CREATE : 0, dbi), name); !s.ok())
      return {s.code() == Code::kNotFound ? Code::kCorruption : s.code(), options_.directory + ": " + s.message()};
  }
  if (fresh) {
    for (const char* name : {kMetaApplied, kMetaHorizon, kMetaEpoch}) {
      if (Status s = WriteMeta(txn.get(), dbs_.meta, name, uint64_t{0}); !s.ok()) return s;
    }
    if (Status s = WriteMeta(txn.get(), dbs_.meta, kMetaStagedFrom, kNothingStaged); !s.ok()) return s;
    if (Status s = WriteMeta(txn.get(), dbs_.meta, kMetaFormat, kReplicaFormat); !s.ok()) return s;
  }
  return txn.Commit();  // of a read transaction too: that is what keeps the database handles
}

Status Replica::LoadState() {
  lmdb::Txn txn;
  if (Status s = txn.Begin(env_.get(), MDB_RDONLY); !s.ok()) return s;
  uint32_t format = 0;
  Lsn applied = kNoLsn;
  if (Status s = ReadMeta(txn.get(), dbs_.meta, kMetaFormat, &format); !s.ok()) return s;
  if (format != kReplicaFormat)
    return {Code::kInvalid, options_.directory + "/data.mdb has format " + std::to_string(format) +
                                ", this program reads " + std::to_string(kReplicaFormat)};
  if (Status s = ReadMeta(txn.get(), dbs_.meta, kMetaApplied, &applied); !s.ok()) return s;
  if (Status s = ReadMeta(txn.get(), dbs_.meta, kMetaHorizon, &published_horizon_); !s.ok()) return s;
  if (Status s = ReadMeta(txn.get(), dbs_.meta, kMetaEpoch, &epoch_); !s.ok()) return s;
  if (Status s = ReadMeta(txn.get(), dbs_.meta, kMetaStagedFrom, &staged_from_); !s.ok()) return s;
  applied_.store(applied);
  readable_.store(applied);
  collected_ = staged_from_ < applied ? staged_from_ : kNothingStaged;
  leases_ = std::make_unique<ReaderLeases>(published_horizon_, options_.steady_us() + options_.restart_hold_us);
  txn.Abort();
  if (Status s = LoadDropping(); !s.ok()) return s;
  return LoadStaged();
}

Status Replica::CreateShared() {
  MDB_envinfo info;
  if (Status s = lmdb::Error(mdb_env_info(env_.get(), &info), "LMDB info"); !s.ok()) return s;
  // Before the page, by which readers know that all is there.
  if (Status s = memtable_.Create(options_.directory, applied(), options_.memtable); !s.ok()) return s;
  if (Status s = page_.Create(options_.directory); !s.ok()) return s;
  page_.Prepare(info.me_last_txnid, applied(), published_horizon_);
  page_.Publish(applied(), applied());
  return Status::Ok();
}

Status Replica::LoadDropping() {
  dropping_.clear();
  lmdb::Txn txn;
  if (Status s = txn.Begin(env_.get(), MDB_RDONLY); !s.ok()) return s;
  lmdb::Cursor cursor;
  if (Status s = cursor.Open(txn.get(), dbs_.meta); !s.ok()) return s;
  const std::string from(1, kMetaDropping);
  MDB_val k = lmdb::Val(from), v;
  int rc = mdb_cursor_get(cursor.get(), &k, &v, MDB_SET_RANGE);
  for (; rc == 0; rc = mdb_cursor_get(cursor.get(), &k, &v, MDB_NEXT)) {
    const std::string_view key = lmdb::View(k);
    if (key[0] != kMetaDropping) break;
    // Which drop it was is not kept; that it was no later than now is enough.
    if (key.size() == 1 + kPrefixSize) dropping_[KeyStorage(key.substr(1))] = applied();
  }
  return rc == 0 || rc == MDB_NOTFOUND ? Status::Ok() : lmdb::Error(rc, "read drops");
}

Status Replica::Close() {
  StopWaiting();
  if (closed_) return Status::Ok();
  const Status flushed = Flush();  // if not, the journal has it
  closed_ = true;
  // The one under way may be of an older state.
  if (Status s = FinishCheckpoint(); !s.ok() && checkpointer_->failed()) return s;
  if (!flushed.ok() && flushed.code() != Code::kNoSpace) return flushed;
  if (Status s = checkpointer_->Begin(replay_from(), changed_bytes_, {}); !s.ok()) return s;
  return checkpointer_->MarkClean();
}

Replica::~Replica() {
  StopWaiting();
  if (checkpointer_ != nullptr) (void)checkpointer_->Finish();
  checkpointer_.reset();
  pool_.clear();
}

Status Replica::WaitApplied(Lsn lsn, int64_t wait_us) {
  if (applied() >= lsn) return Status::Ok();
  ExpectReads();
  std::unique_lock lock(wait_mutex_);
  waiters_++;
  memtable_.Want(std::min(lsn, readable()));  // what comes later is flushed at once while somebody waits
  const bool reached = applied_changed_.wait_for(lock, std::chrono::microseconds(wait_us),
                                                 [&] { return stopping_ || applied() >= lsn; });
  waiters_--;
  if (applied() >= lsn) return Status::Ok();
  if (reached) return {Code::kShutdown, "the storage replica is closing"};
  return {Code::kUnavailable, "the storage replica has not applied the read LSN in time"};
}

Lsn Replica::AwaitWanted(Lsn seen, int64_t wait_us) const { return memtable_.AwaitWanted(seen, wait_us); }

void Replica::ExpectReads() {
  const bool known = IsRead();
  read_until_us_.store(options_.steady_us() + kReadsExpectedUs, std::memory_order_relaxed);
  if (known) return;
  const std::lock_guard lock(wait_mutex_);
  if (on_read_) on_read_();
}

void Replica::SetOnRead(std::function<void()> on_read) {
  const std::lock_guard lock(wait_mutex_);
  on_read_ = std::move(on_read);
}

void Replica::StopWaiting() {
  {
    std::lock_guard lock(wait_mutex_);
    stopping_ = true;
  }
  applied_changed_.notify_all();
}

Status Replica::OpenView(ReplicaView* view) {
  *view = ReplicaView();
  lmdb::Txn txn;
  {
    std::lock_guard lock(pool_mutex_);
    if (!pool_.empty()) {
      txn = std::move(pool_.back());
      pool_.pop_back();
    }
  }
  if (Status s = txn ? txn.Renew() : txn.Begin(env_.get(), MDB_RDONLY); !s.ok()) return s;
  if (Status s = ReadMeta(txn.get(), dbs_.meta, kMetaApplied, &view->applied_); !s.ok()) return s;
  if (Status s = ReadMeta(txn.get(), dbs_.meta, kMetaHorizon, &view->horizon_); !s.ok()) return s;
  view->replica_ = this;
  view->keep_ = weak_from_this().lock();
  view->txn_ = std::move(txn);
  return Status::Ok();
}

void Replica::ReturnView(lmdb::Txn txn) {
  txn.Reset();
  std::lock_guard lock(pool_mutex_);
  if (pool_.size() < kPooledViews) pool_.push_back(std::move(txn));
}

Status Replica::ReadFile(uint64_t offset, size_t size, std::string* bytes) const {
  int fd;
  if (Status s = lmdb::Error(mdb_env_get_fd(env_.get(), &fd), "LMDB file"); !s.ok()) return s;
  bytes->assign(size, '\0');
  for (size_t at = 0; at < size;) {
    const ssize_t got = pread(fd, bytes->data() + at, size - at, static_cast<off_t>(offset + at));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return {Code::kIoError, options_.directory + "/data.mdb: " + strerror(errno)};
    if (got == 0) break;
    at += static_cast<size_t>(got);
  }
  return Status::Ok();
}

Status Replica::ReportReaders(const std::string& qp_id, Lsn lowest, int64_t lease_us, Lsn* horizon) {
  return leases_->Report(qp_id, lowest, lease_us, options_.steady_us(), horizon);
}

Status Replica::Counters(uint64_t prefix, StorageCounters* out) {
  ReplicaView view;
  if (Status s = OpenView(&view); !s.ok()) return s;
  CounterCache cache;
  StorageCounters* counters;
  if (Status s = cache.Load(view.txn(), dbs_.meta, prefix, &counters); !s.ok()) return s;
  *out = *counters;
  return Status::Ok();
}

Status Replica::Statistics(ReplicaStatistics* out) {
  *out = {};
  ReplicaView view;
  if (Status s = OpenView(&view); !s.ok()) return s;
  MDB_envinfo info;
  if (Status s = lmdb::Error(mdb_env_info(env_.get(), &info), "LMDB info"); !s.ok()) return s;
  for (const MDB_dbi dbi : {dbs_.rows, dbs_.entries, dbs_.meta, dbs_.staged}) {
    MDB_stat stat;
    if (Status s = lmdb::Error(mdb_stat(view.txn(), dbi, &stat), "LMDB stat"); !s.ok()) return s;
    out->used_bytes += (stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages) * stat.ms_psize;
    if (dbi == dbs_.rows || dbi == dbs_.entries) out->versions += stat.ms_entries;
  }
  lmdb::Cursor cursor;
  if (Status s = cursor.Open(view.txn(), dbs_.meta); !s.ok()) return s;
  MDB_val k, v;
  uint64_t current = 0;
  int rc = mdb_cursor_get(cursor.get(), &k, &v, MDB_FIRST);
  for (; rc == 0; rc = mdb_cursor_get(cursor.get(), &k, &v, MDB_NEXT)) {
    const std::string_view key = lmdb::View(k);
    if (key.size() != 1 + kPrefixSize) continue;
    if (key[0] == kMetaCounter && v.mv_size >= sizeof(uint64_t)) {
      out->storages++;
      current += LoadLe<uint64_t>(lmdb::View(v).data());
    }
    if (key[0] == kMetaDropping) out->storages_dropping++;
  }
  if (rc != MDB_NOTFOUND) return lmdb::Error(rc, "read counters");
  out->dead_versions = out->versions - std::min(current, out->versions);
  out->applied = view.applied();
  out->horizon = view.horizon();
  out->checkpoint = checkpoint();
  out->map_bytes = info.me_mapsize;
  MDB_stat environment;
  if (Status s = lmdb::Error(mdb_env_stat(env_.get(), &environment), "LMDB stat"); !s.ok()) return s;
  out->file_bytes = (info.me_last_pgno + 1) * environment.ms_psize;
  if (Status s = FreeBytes(env_.get(), &out->free_bytes); !s.ok()) return s;
  out->readers = ReadersInUse(env_.get());
  out->max_readers = info.me_maxreaders;
  out->mutations = mutations_.load();
  out->pruned = pruned_.load();
  return Status::Ok();
}

}  // namespace concord
