// For tests: a disk that forgets what was not synced when the operating system crashes.
//
// While one lives, it sees every fsync and fdatasync of the test program (the linker sends them here, see
// sidecar/CMakeLists.txt; so it is the calls that are observed, not what the code says about them). They do not reach
// the real disk: a sync remembers the file's bytes, or the directory's entries, of the moment when it began.
//
// Thread-safe. Invariant: an image never has more than what a crash at the moment of the call could leave: with all
// unsynced writes lost (Image), or each sector of them, and the directory's new entries, kept or lost at random.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <string>

#include "sidecar/journal/file.h"

namespace concord::journal {

class LossyDisk {
 public:
  // Watches the files right in `directory`; it need not exist yet.
  explicit LossyDisk(const std::string& directory);
  ~LossyDisk();
  LossyDisk(const LossyDisk&) = delete;
  LossyDisk& operator=(const LossyDisk&) = delete;

  // Syncs of the directory's files take so long, and only then see its bytes. Who does not wait for them is found out.
  void DelaySyncs(std::chrono::microseconds delay);
  // Called at the beginning of each sync in the directory, from the thread that syncs; of several at once, if they sync
  // at once. When OnSync returns, no call of the hook before is under way any more. Not from within a hook.
  void OnSync(std::function<void()> hook);

  // Makes `to` what a crash now would leave of the directory. Without `random`, nothing that was not synced.
  void Image(const std::string& to, std::mt19937_64* random = nullptr);
  // Whether the entries of that directory, which may be any, have been synced.
  bool Synced(const std::string& directory);

  // For the linker's wrappers.
  static int Sync(int fd, int (*real)(int));

 private:
  using Entries = std::map<std::string, ino_t>;
  struct SyncedFile {
    std::string bytes;
    FileDescriptor fd;  // so that the inode's number is not given to another file
  };

  static Entries List(const std::string& directory);
  int Remember(int fd);

  const std::string directory_;
  std::mutex mutex_;  // guards what follows
  std::chrono::microseconds delay_{0};
  std::function<void()> hook_;
  int hooks_running_ = 0;
  std::condition_variable hooks_over_;
  std::map<ino_t, SyncedFile> files_;
  Entries entries_;
  std::set<std::string> directories_;  // all that were synced
};

}  // namespace concord::journal
