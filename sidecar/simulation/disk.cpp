#include "sidecar/simulation/disk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <vector>

#include "sidecar/simulation/scheduler.h"

namespace concord::simulation {

namespace fs = std::filesystem;

namespace {

constexpr size_t kSectorBytes = 512;
constexpr int64_t kSyncNs = 300 * kUs;

std::string ReadAll(int fd) {
  std::string bytes;
  char buffer[65536];
  for (;;) {
    const ssize_t got = pread(fd, buffer, sizeof buffer, static_cast<off_t>(bytes.size()));
    if (got <= 0) return bytes;
    bytes.append(buffer, static_cast<size_t>(got));
  }
}

void WriteFile(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
  chmod(path.c_str(), 0600);
}

// LMDB makes it anew, as it does after a crash of the machine; after one of the process the slots of dead readers
// would be cleared.
bool IsForgotten(const std::string& name) { return name == "lock.mdb"; }

std::vector<fs::path> Children(const std::string& directory) {
  std::vector<fs::path> children;
  for (const auto& entry : fs::directory_iterator(directory)) children.push_back(entry.path());
  std::sort(children.begin(), children.end());
  return children;
}

}  // namespace

Disk* disk = nullptr;

struct Disk::File {
  ~File() {
    if (fd >= 0) close(fd);
  }
  std::string Now() const { return fd >= 0 ? ReadAll(fd) : last; }

  int fd = -1;  // keeps the inode's number from being given to another file
  std::string synced;
  uint64_t synced_at = 0;  // number of the sync
  std::string last;        // of a file that is gone, and may come back
};

Disk::Disk(std::string root) : root_(std::move(root)) {
  fs::remove_all(root_);
  fs::create_directories(root_);
  disk = this;
}

Disk::~Disk() {
  disk = nullptr;
  fs::remove_all(root_);
}

std::string Disk::Directory(int node) const {
  const auto found = generations_.find(node);
  const int generation = found == generations_.end() ? 0 : found->second;
  return root_ + "/" + std::to_string(node) + "." + std::to_string(generation);
}

void Disk::Make(int node) { fs::create_directories(Directory(node)); }

std::string Disk::MakeShared(const std::string& name, size_t size) const {
  std::string path = root_;
  path.append("/").append(name);
  WriteFile(path, std::string(size, '\0'));
  return path;
}

std::string Disk::NextDirectory(int node) {
  generations_[node]++;
  return Directory(node);
}

void Disk::SetSyncTime(int node, int64_t ns) { sync_ns_[node] = ns; }

int Disk::Sync(int fd) { return disk == nullptr ? 0 : disk->SyncFd(fd); }

Disk::FilePtr Disk::Find(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return nullptr;
  FilePtr& file = files_[info.st_ino];
  if (file == nullptr) {
    file = std::make_shared<File>();
    file->fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  }
  return file;
}

Disk::Names Disk::List(const std::string& directory) {
  Names names;
  for (const fs::path& path : Children(directory)) {
    if (fs::is_regular_file(path) && !IsForgotten(path.filename())) names[path.filename()] = Find(path);
  }
  return names;
}

int Disk::SyncFd(int fd) {
  char link[4096];
  const ssize_t size = readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), link, sizeof link);
  const std::string path(link, size > 0 ? static_cast<size_t>(size) : 0);
  if (!path.starts_with(root_)) return 0;
  static uint64_t syncs = 0;
  const uint64_t number = ++syncs;
  struct stat info;
  if (fstat(fd, &info) != 0) return -1;
  const bool is_directory = S_ISDIR(info.st_mode);
  Names names;
  FilePtr file;
  std::string bytes;
  if (is_directory) {
    names = List(path);
  } else {
    file = Find("/proc/self/fd/" + std::to_string(fd));
    bytes = file->Now();  // `fd` may be for writing only
  }
  const auto slow = sync_ns_.find(scheduler->current_node());
  const int64_t longest = slow != sync_ns_.end() ? slow->second : kSyncNs;
  scheduler->Sleep(longest / 4 + static_cast<int64_t>(scheduler->Below(static_cast<uint64_t>(longest))));
  if (is_directory) {
    synced_names_[path] = std::move(names);
  } else if (number > file->synced_at) {
    file->synced = std::move(bytes);
    file->synced_at = number;
  }
  return 0;
}

void Disk::AfterProcessCrash(int node) {
  const std::string from = Directory(node);
  CopyAsIs(from, NextDirectory(node));
}

void Disk::AfterMachineCrash(int node) {
  const std::string from = Directory(node);
  CopyTorn(from, NextDirectory(node));
}

void Disk::CopyAsIs(const std::string& from, const std::string& to) {
  fs::create_directories(to);
  chmod(to.c_str(), 0700);
  std::map<FilePtr, FilePtr> copies;  // looked up only
  for (const auto& [name, file] : List(from)) {
    std::string path = to;
    path.append("/").append(name);
    WriteFile(path, file->Now());
    const FilePtr copy = Find(path);
    copy->synced = file->synced;
    copy->synced_at = file->synced_at;
    copies[file] = copy;
  }
  if (const auto names = synced_names_.find(from); names != synced_names_.end()) {
    Names synced;
    for (const auto& [name, file] : names->second) {
      FilePtr& copy = copies[file];
      if (copy == nullptr) {
        copy = std::make_shared<File>();
        copy->synced = file->synced;
        copy->last = file->Now();
      }
      synced[name] = copy;
    }
    synced_names_[to] = std::move(synced);
  }
  for (const fs::path& path : Children(from)) {
    if (fs::is_directory(path)) CopyAsIs(path, to + "/" + path.filename().string());
  }
}

void Disk::CopyTorn(const std::string& from, const std::string& to) {
  fs::create_directories(to);
  chmod(to.c_str(), 0700);
  const Names present = List(from);
  const auto synced = synced_names_.find(from);
  const bool as_synced = scheduler->Chance(500);
  for (const auto& [name, file] : as_synced ? synced != synced_names_.end() ? synced->second : Names() : present) {
    std::string path = to;
    path.append("/").append(name);
    WriteFile(path, Mix(file->synced, file->Now()));
    const FilePtr copy = Find(path);
    copy->synced = copy->Now();
  }
  synced_names_[to] = List(to);
  for (const fs::path& path : Children(from)) {
    if (fs::is_directory(path)) CopyTorn(path, to + "/" + path.filename().string());
  }
}

// A file of which `synced` is on disk and `now` in the page cache.
std::string Disk::Mix(const std::string& synced, const std::string& now) {
  const uint64_t kept_of_4 = scheduler->Below(5);  // none, some, all
  std::string mixed = synced;
  mixed.resize(scheduler->Below(4) < kept_of_4 ? now.size() : synced.size());
  for (size_t at = 0; at < std::min(mixed.size(), now.size()); at += kSectorBytes) {
    const size_t size = std::min({kSectorBytes, mixed.size() - at, now.size() - at});
    if (scheduler->Below(4) < kept_of_4) mixed.replace(at, size, now, at, size);
  }
  return mixed;
}

}  // namespace concord::simulation
