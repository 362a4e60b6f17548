// Checkpoints of an LMDB environment that is not synced at each commit: how a state is found again after the operating
// system crashed. README.md beside this file gives the argument; the invariants are
//
//   1. `meta.saved` describes a state C whose pages are all on disk.
//   2. While a write transaction runs, a read transaction is open at C, so LMDB reuses none of C's pages.
//   3. A clean mark, or the present boot id and device, in `meta.saved` means that the data file's own meta pages hold;
//      otherwise the saved ones are put back before LMDB opens the file.
//   4. Without a clean mark `meta.saved` speaks of one file only, known by inode and time of birth. Another one is a
//   copy
//      that may have been taken while the file was written, so that the pages of C need not be in it: it is refused.
//
//   meta.saved := magic u64 | version u32 | flags u32 (1 = clean) | page_size u32 | boot_id_size u32
//                 | checkpoint_lsn u64 | inode u64 | birth_ns u64 | device u64 | boot_id | meta page 0 | meta page 1
//                 | crc32c u32 (of all before it)
//
// Thread safety: Begin, Finish and MarkClean belong to the writer's thread, called between its write transactions; the
// sync runs in a thread of the Checkpointer's own, so applying goes on meanwhile. saved_lsn may be asked anywhere.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "core/lsn.h"
#include "core/status.h"
#include "sidecar/storage/lmdb.h"

namespace concord {

inline constexpr char kSavedMetaFile[] = "meta.saved";
inline constexpr char kCreatingFile[] = "creating";  // an environment that has no checkpoint yet: made anew at open
inline constexpr char kRestoreFile[] = "restore";    // a sync failed: put the saved meta pages back at the next open

// Which file it is. The device is apart: for some file systems its number is another one after each mount.
struct FileIdentity {
  uint64_t inode = 0;
  uint64_t birth_ns = 0;  // 0 where the file system does not tell
  uint64_t device = 0;

  bool SameFile(const FileIdentity& other) const { return inode == other.inode && birth_ns == other.birth_ns; }
};
Status ReadIdentity(const std::string& path, FileIdentity* identity);

struct SavedMeta {
  FileIdentity data;  // data.mdb
  std::string boot_id;
  bool clean = false;
  Lsn lsn = kNoLsn;
  uint32_t page_size = 0;
  std::string pages;  // meta pages 0 and 1
};

// A checkpoint with the read transaction that keeps its pages: as long as it is held, all bytes of the data file but
// the two meta pages, which `meta` has, may be read at leisure and make the state `meta.lsn` speaks of. It keeps LMDB
// from using pages again, so it is not to be held for long; and the environment must outlive it.
struct HeldCheckpoint {
  SavedMeta meta;
  uint64_t file_bytes = 0;
  lmdb::Txn pin;
};

// The running kernel's id; another one after each boot.
Status ReadBootId(std::string* boot_id);

Status SaveMeta(const std::string& directory, const SavedMeta& meta);
Status LoadMeta(const std::string& directory, SavedMeta* meta);

// Before LMDB opens `directory`: puts the checkpoint back if the data file cannot be trusted, clears away an
// environment that never was complete. `*fresh`: there is none, one is to be made; `*restored`: the state went back.
Status RecoverDirectory(const std::string& directory, const std::string& boot_id, bool* fresh, bool* restored);
// Makes a file with no content, or removes one, durably.
Status CreateMark(const std::string& directory, const char* name);
Status RemoveMark(const std::string& directory, const char* name);

class Checkpointer {
 public:
  Checkpointer(MDB_env* env, std::string directory, std::string boot_id);
  ~Checkpointer();

  // Takes the present committed state, whose applied LSN is `lsn`, as the next checkpoint and lets the thread sync and
  // save it. The about `changed_bytes` that are to be written go to the disk spread over `spread`. Does nothing if one
  // is under way.
  Status Begin(Lsn lsn, uint64_t changed_bytes, std::chrono::microseconds spread);
  // What has not been written yet of the one under way is written at once.
  void Hurry();
  // Waits for the one under way and says how it ended. A failed sync is for good: what the kernel dropped cannot be
  // synced again, so no state after the last checkpoint can be vouched for.
  Status Finish();
  bool busy() const { return busy_.load(std::memory_order_acquire); }
  bool failed() const { return failed_.load(std::memory_order_acquire); }
  // Status of the failed sync.
  Status status() const;
  // After a Finish with nothing applied since: the data file's own meta pages are whole. The last call.
  Status MarkClean();

  Lsn saved_lsn() const { return saved_lsn_.load(std::memory_order_acquire); }
  // The last one; null before the first. From any thread.
  std::shared_ptr<const HeldCheckpoint> Hold() const;

 private:
  void Run();
  // Hands what has changed to the disk bit by bit, so that the syncs of others, a commit's above all, do not queue
  // behind all of it; PostgreSQL's checkpoint_flush_after. An errno is a failed sync: the kernel may have dropped
  // pages.
  int Spread();
  Status SyncAndSave();

  MDB_env* const env_;
  const std::string directory_;
  const std::string boot_id_;

  lmdb::Txn next_pin_;  // at the state being synced; the thread's while busy_
  SavedMeta next_;      // likewise
  uint64_t next_bytes_ = 0;
  uint64_t next_changed_ = 0;
  std::chrono::microseconds next_spread_{};

  mutable std::mutex mutex_;
  std::shared_ptr<const HeldCheckpoint> held_;  // the state that meta.saved describes; guarded by mutex_
  std::condition_variable wake_;
  std::condition_variable done_;
  bool stop_ = false;
  bool requested_ = false;
  bool hurried_ = false;
  Status status_;
  std::atomic<bool> busy_ = false;
  std::atomic<bool> failed_ = false;
  std::atomic<Lsn> saved_lsn_ = kNoLsn;
  std::thread thread_;
};

}  // namespace concord
