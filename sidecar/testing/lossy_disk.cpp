#include "sidecar/testing/lossy_disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

extern "C" {
int __real_fsync(int fd);
int __real_fdatasync(int fd);
int __wrap_fsync(int fd) { return concord::journal::LossyDisk::Sync(fd, __real_fsync); }
int __wrap_fdatasync(int fd) { return concord::journal::LossyDisk::Sync(fd, __real_fdatasync); }
}

namespace concord::journal {
namespace {

namespace fs = std::filesystem;
constexpr size_t kSectorBytes = 512;
std::atomic<LossyDisk*> current = nullptr;

std::string ReadAll(int fd) {
  std::string bytes;
  char buffer[65536];
  for (;;) {
    const ssize_t got = ::pread(fd, buffer, sizeof buffer, static_cast<off_t>(bytes.size()));
    if (got <= 0) return bytes;
    bytes.append(buffer, static_cast<size_t>(got));
  }
}

// A file of which `synced` is on disk and `now` in the page cache.
std::string Mix(const std::string& synced, const std::string& now, std::mt19937_64* random) {
  const uint64_t kept_of_4 = (*random)() % 5;  // none, some, all
  std::string mixed = synced;
  mixed.resize((*random)() % 4 < kept_of_4 ? now.size() : synced.size());
  for (size_t at = 0; at < std::min(mixed.size(), now.size()); at += kSectorBytes) {
    const size_t size = std::min({kSectorBytes, mixed.size() - at, now.size() - at});
    if ((*random)() % 4 < kept_of_4) mixed.replace(at, size, now, at, size);
  }
  return mixed;
}

}  // namespace

LossyDisk::LossyDisk(const std::string& directory) : directory_(fs::weakly_canonical(directory).string()) {
  EXPECT_EQ(current.exchange(this), nullptr);
}

LossyDisk::~LossyDisk() { current = nullptr; }

void LossyDisk::DelaySyncs(std::chrono::microseconds delay) {
  const std::lock_guard lock(mutex_);
  delay_ = delay;
}

void LossyDisk::OnSync(std::function<void()> hook) {
  std::unique_lock lock(mutex_);
  hook_ = std::move(hook);
  hooks_over_.wait(lock, [&] { return hooks_running_ == 0; });
}

int LossyDisk::Sync(int fd, int (*real)(int)) {
  LossyDisk* const disk = current;
  return disk == nullptr ? real(fd) : disk->Remember(fd);
}

int LossyDisk::Remember(int fd) {
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const std::string path = fs::read_symlink(link).string();
  struct stat info;
  EXPECT_EQ(::fstat(fd, &info), 0);
  const bool is_ours = path == directory_ || fs::path(path).parent_path() == directory_;
  std::function<void()> hook;
  std::chrono::microseconds delay{0};
  if (is_ours) {
    const std::lock_guard lock(mutex_);
    hook = hook_;
    delay = delay_;
    if (hook) hooks_running_++;
  }
  if (hook) {
    hook();
    const std::lock_guard lock(mutex_);
    if (--hooks_running_ == 0) hooks_over_.notify_all();
  }
  if (delay.count() > 0) std::this_thread::sleep_for(delay);
  const std::lock_guard lock(mutex_);
  if (S_ISDIR(info.st_mode)) {
    directories_.insert(path);
    if (path == directory_) entries_ = List(directory_);
  } else if (is_ours) {
    SyncedFile& file = files_[info.st_ino];
    if (!file.fd.valid()) {
      EXPECT_TRUE(OpenFile(link, O_RDONLY, &file.fd).ok());
    }
    file.bytes = ReadAll(file.fd.get());
  }
  return 0;
}

LossyDisk::Entries LossyDisk::List(const std::string& directory) {
  Entries entries;
  DIR* const stream = ::opendir(directory.c_str());
  if (stream == nullptr) return entries;
  while (const dirent* entry = ::readdir(stream)) {
    if (entry->d_type == DT_REG) entries.emplace(entry->d_name, entry->d_ino);
  }
  ::closedir(stream);
  return entries;
}

void LossyDisk::Image(const std::string& to, std::mt19937_64* random) {
  const std::lock_guard lock(mutex_);
  fs::remove_all(to);
  fs::create_directory(to);
  const Entries now = List(directory_);
  std::string path;
  for (const auto& [name, inode] : random != nullptr && (*random)() % 2 == 0 ? now : entries_) {
    const auto synced = files_.find(inode);
    std::string bytes = synced != files_.end() ? synced->second.bytes : "";
    if (random != nullptr) {
      path.assign(directory_).append("/").append(name);
      FileDescriptor unsynced;
      if (synced != files_.end()) {
        bytes = Mix(bytes, ReadAll(synced->second.fd.get()), random);
      } else if (const auto entry = now.find(name);
                 entry != now.end() && entry->second == inode && OpenFile(path, O_RDONLY, &unsynced).ok()) {
        bytes = Mix(bytes, ReadAll(unsynced.get()), random);
      }
    }
    path.assign(to).append("/").append(name);
    std::ofstream(path, std::ios::binary) << bytes;
  }
}

bool LossyDisk::Synced(const std::string& directory) {
  const std::lock_guard lock(mutex_);
  return directories_.contains(fs::canonical(directory).string());
}

}  // namespace concord::journal
