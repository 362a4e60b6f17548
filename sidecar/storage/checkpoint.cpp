#include "sidecar/storage/checkpoint.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "core/bytes.h"
#include "core/crc32c.h"
#include "core/memtable.h"
#include "core/planted_bugs.h"
#include "core/replica_page.h"
#include "sidecar/metastore/atomic_file.h"
#include "sidecar/rpc/log.h"

namespace concord {
namespace {

constexpr uint64_t kMagic = UINT64_C(0x31415445'4d434e4f);  // "ONCMETA1"
constexpr uint32_t kVersion = 2;
constexpr uint32_t kFlagClean = 1;
constexpr size_t kHeaderSize = 56;
constexpr uint64_t kPieceBytes = 64u << 10;  // of changed pages, at least; a piece is more of a large file
constexpr uint64_t kPiecesMin = 8;           // what a round of fewer would have is left to the sync
constexpr std::chrono::milliseconds kPiecePause{4};

Status Errno(const std::string& what) {
  const int error = errno;
  const Code code = error == ENOSPC || error == EDQUOT ? Code::kNoSpace : Code::kIoError;
  return {code, what + ": " + strerror(error)};
}

class Fd {
 public:
  Fd(const std::string& path, int flags) : fd_(open(path.c_str(), flags | O_CLOEXEC, 0600)) {}
  Fd(const Fd&) = delete;
  ~Fd() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }

 private:
  const int fd_;
};

Status SyncDirectory(const std::string& directory) {
  Fd fd(directory, O_RDONLY | O_DIRECTORY);
  if (fd.get() < 0 || fsync(fd.get()) != 0) return Errno(directory);
  return Status::Ok();
}

Status WriteAll(int fd, std::string_view bytes, off_t offset, const std::string& what) {
  while (!bytes.empty()) {
    const ssize_t written = pwrite(fd, bytes.data(), bytes.size(), offset);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return Errno(what);
    bytes.remove_prefix(static_cast<size_t>(written));
    offset += written;
  }
  return Status::Ok();
}

bool Exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

Status Remove(const std::string& path) {
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return Errno(path);
  return Status::Ok();
}

// What processes of this machine share, and nobody syncs.
Status RemoveShared(const std::string& directory) {
  Status status = Remove(directory + "/" + kReplicaPageFile);
  return status.ok() ? Remove(directory + "/" + kMemtableFile) : status;
}

// LMDB holds a shared lock on the first byte of lock.mdb as long as any process has the environment open. Taking the
// state back under such a process would give it wrong rows.
Status RequireNobodyElse(const std::string& directory) {
  const std::string path = directory + "/lock.mdb";
  Fd fd(path, O_RDWR);
  if (fd.get() < 0) return errno == ENOENT ? Status::Ok() : Errno(path);
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_len = 1;
  if (fcntl(fd.get(), F_SETLK, &lock) == 0) return Status::Ok();  // closing the file gives it back
  return {Code::kUnavailable,
          path + ": other processes have the replica open while its checkpoint must be restored; stop them first"};
}

Status Restore(const std::string& directory, const SavedMeta& meta) {
  if (Status s = RequireNobodyElse(directory); !s.ok()) return s;
  // They speak of a state that is gone, and nobody is to take it for that of the checkpoint.
  if (Status s = RemoveShared(directory); !s.ok()) return s;
  const std::string path = directory + "/data.mdb";
  Fd fd(path, O_RDWR);
  if (fd.get() < 0) return Errno(path);
  if (Status s = WriteAll(fd.get(), meta.pages, 0, path); !s.ok()) return s;
  if (fsync(fd.get()) != 0) return Errno(path);
  return Remove(directory + "/lock.mdb");
}

}  // namespace

Status ReadIdentity(const std::string& path, FileIdentity* identity) {
  struct statx info {};
  if (statx(AT_FDCWD, path.c_str(), 0, STATX_INO | STATX_BTIME, &info) != 0) return Errno(path);
  identity->inode = info.stx_ino;
  identity->birth_ns = 0;
  if ((info.stx_mask & STATX_BTIME) != 0)
    identity->birth_ns =
        static_cast<uint64_t>(info.stx_btime.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(info.stx_btime.tv_nsec);
  identity->device = uint64_t{info.stx_dev_major} << 32 | info.stx_dev_minor;
  return Status::Ok();
}

Status ReadBootId(std::string* boot_id) {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  if (!std::getline(file, *boot_id) || boot_id->empty())
    return {Code::kIoError, "/proc/sys/kernel/random/boot_id cannot be read"};
  return Status::Ok();
}

Status SaveMeta(const std::string& directory, const SavedMeta& meta) {
  std::string bytes;
  AppendLe(&bytes, kMagic);
  AppendLe(&bytes, kVersion);
  AppendLe(&bytes, meta.clean ? kFlagClean : uint32_t{0});
  AppendLe(&bytes, meta.page_size);
  AppendLe(&bytes, static_cast<uint32_t>(meta.boot_id.size()));
  AppendLe(&bytes, meta.lsn);
  AppendLe(&bytes, meta.data.inode);
  AppendLe(&bytes, meta.data.birth_ns);
  AppendLe(&bytes, meta.data.device);
  bytes += meta.boot_id;
  bytes += meta.pages;
  AppendLe(&bytes, Crc32c(bytes));

  return ReplaceFile(directory + "/" + kSavedMetaFile, bytes);
}

Status LoadMeta(const std::string& directory, SavedMeta* meta) {
  const std::string path = directory + "/" + kSavedMetaFile;
  std::ifstream file(path, std::ios::binary);
  if (!file) return {Code::kNotFound, path + ": " + strerror(errno)};
  const std::string bytes((std::istreambuf_iterator<char>(file)), {});
  const Status damaged(Code::kCorruption, path + ": damaged");
  if (bytes.size() < kHeaderSize + 4) return damaged;
  const std::string_view body(bytes.data(), bytes.size() - 4);
  if (Crc32c(body) != LoadLe<uint32_t>(body.data() + body.size())) return damaged;
  if (LoadLe<uint64_t>(bytes.data()) != kMagic) return damaged;
  if (const auto version = LoadLe<uint32_t>(bytes.data() + 8); version != kVersion)
    return {Code::kInvalid,
            path + " has version " + std::to_string(version) + ", this program reads " + std::to_string(kVersion)};
  meta->clean = (LoadLe<uint32_t>(bytes.data() + 12) & kFlagClean) != 0;
  meta->page_size = LoadLe<uint32_t>(bytes.data() + 16);
  const size_t boot_id_size = LoadLe<uint32_t>(bytes.data() + 20);
  meta->lsn = LoadLe<Lsn>(bytes.data() + 24);
  meta->data.inode = LoadLe<uint64_t>(bytes.data() + 32);
  meta->data.birth_ns = LoadLe<uint64_t>(bytes.data() + 40);
  meta->data.device = LoadLe<uint64_t>(bytes.data() + 48);
  if (body.size() != kHeaderSize + boot_id_size + size_t{2} * meta->page_size) return damaged;
  meta->boot_id = body.substr(kHeaderSize, boot_id_size);
  meta->pages = body.substr(kHeaderSize + boot_id_size);
  return Status::Ok();
}

Status CreateMark(const std::string& directory, const char* name) {
  const std::string path = directory + "/" + name;
  Fd fd(path, O_WRONLY | O_CREAT);
  if (fd.get() < 0 || fsync(fd.get()) != 0) return Errno(path);
  return SyncDirectory(directory);
}

Status RemoveMark(const std::string& directory, const char* name) {
  if (Status s = Remove(directory + "/" + name); !s.ok()) return s;
  return SyncDirectory(directory);
}

Status RecoverDirectory(const std::string& directory, const std::string& boot_id, bool* fresh, bool* restored) {
  *fresh = false;
  *restored = false;
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return {Code::kIoError, directory + ": " + error.message()};
  if (chmod(directory.c_str(), 0700) != 0) return Errno(directory);
  if (Status s = SyncDirectory(std::filesystem::path(directory + "/..").lexically_normal().string()); !s.ok()) return s;

  const std::string data = directory + "/data.mdb";
  if (Exists(directory + "/" + kCreatingFile) || (!Exists(data) && !Exists(directory + "/" + kSavedMetaFile))) {
    if (Status s = RequireNobodyElse(directory); !s.ok()) return s;
    if (Status s = CreateMark(directory, kCreatingFile); !s.ok()) return s;
    if (Status s = RemoveShared(directory); !s.ok()) return s;
    for (const char* name : {"/data.mdb", "/lock.mdb", "/meta.saved"}) {
      if (Status s = Remove(directory + name); !s.ok()) return s;
    }
    *fresh = true;
    return Status::Ok();
  }
  SavedMeta meta;
  Status loaded = LoadMeta(directory, &meta);
  if (loaded.code() == Code::kInvalid) return loaded;
  if (!loaded.ok() || !Exists(data)) return {Code::kCorruption, loaded.ok() ? data + " is missing" : loaded.message()};
  const bool sync_failed = Exists(directory + "/" + kRestoreFile);
  if (meta.boot_id != boot_id) {
    if (Status s = RemoveShared(directory); !s.ok()) return s;
  }
  if (meta.clean && !sync_failed) return Status::Ok();
  FileIdentity identity;
  if (Status s = ReadIdentity(data, &identity); !s.ok()) return s;
  if (!identity.SameFile(meta.data) && !sync_failed) {
    return {
        Code::kInvalid,
        data +
            ": a copy that was not taken of a stopped server, so it may hold a mixture of states. Stop the server "
            "cleanly and copy the whole Concord directory again, or restore such a copy. Only if it is certain that "
            "concordd did not run while this one was taken, make an empty file " +
            directory + "/" + kRestoreFile + " and start again: it then goes back to its last checkpoint"};
  }
  if (meta.boot_id == boot_id && meta.data.device == identity.device && !sync_failed) return Status::Ok();
  if (Status s = Restore(directory, meta); !s.ok()) return s;
  *restored = true;
  return sync_failed ? RemoveMark(directory, kRestoreFile) : Status::Ok();
}

Checkpointer::Checkpointer(MDB_env* env, std::string directory, std::string boot_id)
    : env_(env), directory_(std::move(directory)), boot_id_(std::move(boot_id)), thread_([this] { Run(); }) {}

Checkpointer::~Checkpointer() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

Status Checkpointer::Begin(Lsn lsn, uint64_t changed_bytes, std::chrono::microseconds spread) {
  if (busy()) return Status::Ok();
  if (failed()) return status();
  MDB_stat stat;
  if (Status s = lmdb::Error(mdb_env_stat(env_, &stat), "LMDB stat"); !s.ok()) return s;
  if (Status s = next_pin_.Begin(env_, MDB_RDONLY); !s.ok()) return s;
  // No write transaction runs now, so both meta pages stand still. LMDB writes them with pwrite on this same file.
  int fd;
  if (Status s = lmdb::Error(mdb_env_get_fd(env_, &fd), "LMDB file"); !s.ok()) return s;
  next_ = {.data = {}, .boot_id = boot_id_, .clean = false, .lsn = lsn, .page_size = stat.ms_psize, .pages = {}};
  if (Status s = ReadIdentity(directory_ + "/data.mdb", &next_.data); !s.ok()) return s;
  MDB_envinfo info;
  if (Status s = lmdb::Error(mdb_env_info(env_, &info), "LMDB info"); !s.ok()) return s;
  next_bytes_ = (info.me_last_pgno + 1) * stat.ms_psize;
  next_changed_ = changed_bytes;
  next_spread_ = spread / 2;  // in the first round; the others take as long together
  next_.pages.resize(size_t{2} * stat.ms_psize);
  if (pread(fd, next_.pages.data(), next_.pages.size(), 0) != static_cast<ssize_t>(next_.pages.size()))
    return Errno(directory_ + "/data.mdb");
  {
    std::lock_guard lock(mutex_);
    requested_ = true;
    hurried_ = false;
    busy_.store(true, std::memory_order_release);
  }
  wake_.notify_one();
  return Status::Ok();
}

void Checkpointer::Hurry() {
  {
    const std::lock_guard lock(mutex_);
    hurried_ = true;
  }
  wake_.notify_one();
}

Status Checkpointer::Finish() {
  Hurry();
  std::unique_lock lock(mutex_);
  done_.wait(lock, [this] { return !busy(); });
  return status_;
}

std::shared_ptr<const HeldCheckpoint> Checkpointer::Hold() const {
  const std::lock_guard lock(mutex_);
  return held_;
}

Status Checkpointer::status() const {
  std::lock_guard lock(mutex_);
  return status_;
}

Status Checkpointer::MarkClean() {
  if (Status s = Finish(); !s.ok()) return s;
  next_.clean = true;  // the thread has left it with the last checkpoint's pages
  return SaveMeta(directory_, next_);
}

void Checkpointer::Run() {
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stop_ || requested_; });
      if (!requested_) return;
      requested_ = false;
    }
    Status result = SyncAndSave();
    {
      std::lock_guard lock(mutex_);
      status_ = result;
      busy_.store(false, std::memory_order_release);
    }
    done_.notify_all();
  }
}

int Checkpointer::Spread() {
  int fd;
  if (mdb_env_get_fd(env_, &fd) != 0) return 0;
  const uint64_t first = std::min<uint64_t>(next_changed_ / kPieceBytes, next_spread_ / kPiecePause);
  // The writer goes on: each round has what has changed during the one before, and takes half as long.
  for (uint64_t pieces = first; pieces >= kPiecesMin; pieces /= 2) {
    struct stat info;
    if (fstat(fd, &info) != 0) return 0;
    const uint64_t size = static_cast<uint64_t>(info.st_size) / pieces + 1;
    for (uint64_t piece = 0; piece < pieces; piece++) {
      if (sync_file_range(fd, static_cast<off_t>(piece * size), static_cast<off_t>(size), SYNC_FILE_RANGE_WRITE) != 0 &&
          errno != EINTR)
        return errno == ENOSYS || errno == EINVAL || errno == ESPIPE ? 0 : errno;  // not for this file: all at once
      std::unique_lock lock(mutex_);
      if (wake_.wait_for(lock, kPiecePause, [this] { return stop_ || hurried_; })) return 0;
    }
  }
  return 0;
}

Status Checkpointer::SyncAndSave() {
  int rc = Spread();
  if (rc == 0) rc = mdb_env_sync(env_, 1);
  if (rc != 0) {
    failed_.store(true, std::memory_order_release);
    // If even this mark cannot be written, the message below is what remains.
    if (!CreateMark(directory_, kRestoreFile).ok())
      RoleLog("storage")->critical(
          "the file {}/{}, which makes the next start go back to the checkpoint, cannot be made; make it by hand",
          directory_, kRestoreFile);
    return {Code::kIoError, directory_ +
                                "/data.mdb: sync failed, the state returns to the last checkpoint at the next "
                                "start: " +
                                mdb_strerror(rc)};
  }
  // A saved file that cannot be written costs nothing but a longer replay: the old pin stays, the next one tries again.
  if (Status s = SaveMeta(directory_, next_); !s.ok()) {
    next_pin_.Abort();
    return s;
  }
  if (Planted(PlantedBug::kCheckpointUnpinned)) next_pin_.Abort();
  auto held = std::make_shared<HeldCheckpoint>();
  held->meta = next_;
  held->file_bytes = next_bytes_;
  held->pin = std::move(next_pin_);
  {
    // The one before ends here, unless somebody else holds it.
    std::shared_ptr<const HeldCheckpoint> before = std::move(held);
    const std::lock_guard lock(mutex_);
    held_.swap(before);
  }
  saved_lsn_.store(next_.lsn, std::memory_order_release);
  return Status::Ok();
}

}  // namespace concord
