// The simulated disks: real files below one directory, of which it is known what a crash may leave.
//
// A sync takes virtual time and makes durable what the file, or the directory's list of names, was when it began. The
// crash of a process leaves all that was written; what was not synced is still at risk afterwards. The crash of an
// operating system leaves of each file what was synced and, sector by sector, by chance what was not; of each directory
// the names that were synced, or the present ones. (sidecar/testing/lossy_disk.h is the same idea for one directory.)
//
// A node that starts again does so on a copy, so that fibers of the dead one, and their maps, touch nothing of it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>

namespace concord::simulation {

class Disk {
 public:
  // Everything is below `root`, which is made.
  explicit Disk(std::string root);
  ~Disk();

  // Where the node's files are now.
  std::string Directory(int node) const;
  void Make(int node);
  // To be called while the node is dead.
  void AfterProcessCrash(int node);
  void AfterMachineCrash(int node);

  // A file that lasts, of nobody's disk; its path.
  std::string MakeShared(const std::string& name, size_t size) const;

  // Syncs of the node take up to so long.
  void SetSyncTime(int node, int64_t ns);

  // What fsync and fdatasync do.
  static int Sync(int fd);

 private:
  struct File;
  using FilePtr = std::shared_ptr<File>;
  using Names = std::map<std::string, FilePtr>;

  int SyncFd(int fd);
  FilePtr Find(const std::string& path);
  Names List(const std::string& directory);
  // Makes `to` out of `from`, and all that is below.
  void CopyAsIs(const std::string& from, const std::string& to);
  void CopyTorn(const std::string& from, const std::string& to);
  std::string Mix(const std::string& synced, const std::string& now);
  std::string NextDirectory(int node);

  const std::string root_;
  std::map<int, int> generations_;
  std::map<int, int64_t> sync_ns_;
  std::map<ino_t, FilePtr> files_;
  std::map<std::string, Names> synced_names_;  // by directory
};

extern Disk* disk;

}  // namespace concord::simulation
