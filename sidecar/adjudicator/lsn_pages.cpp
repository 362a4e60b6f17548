#include "sidecar/adjudicator/lsn_pages.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "sidecar/metastore/atomic_file.h"

namespace concord {

struct LsnPages::Mapping {
  int fd = -1;
  LsnPage* page = nullptr;

  ~Mapping() {
    if (page != nullptr) munmap(page, kLsnPageSize);
    if (fd >= 0) close(fd);
  }

  static Status Open(const std::string& path, std::unique_ptr<Mapping>* out) {
    if (path.empty() || path[0] != '/') return {Code::kInvalid, "the path of an LSN page must be absolute"};
    auto mapping = std::make_unique<Mapping>();
    mapping->fd = open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (mapping->fd < 0) return {Code::kNotFound, "open " + path + ": " + strerror(errno)};
    struct stat info;
    if (fstat(mapping->fd, &info) != 0) return {Code::kIoError, "stat " + path + ": " + strerror(errno)};
    if (!S_ISREG(info.st_mode) || info.st_size != static_cast<off_t>(kLsnPageSize) || info.st_uid != geteuid())
      return {Code::kInvalid, path + " is not a file of " + std::to_string(kLsnPageSize) + " bytes owned by this user"};
    void* address = mmap(nullptr, kLsnPageSize, PROT_READ | PROT_WRITE, MAP_SHARED, mapping->fd, 0);
    if (address == MAP_FAILED) return {Code::kIoError, "mmap " + path + ": " + strerror(errno)};
    mapping->page = static_cast<LsnPage*>(address);
    // Whatever else has this size is not to be written into.
    const auto* bytes = static_cast<const char*>(address);
    if (mapping->page->magic.load(std::memory_order_relaxed) != kLsnPageMagic &&
        std::any_of(bytes, bytes + kLsnPageSize, [](char byte) { return byte != 0; }))
      return {Code::kInvalid, path + " is neither empty nor an LSN page"};
    *out = std::move(mapping);
    return Status::Ok();
  }

  // Writing to a mapping whose file was cut short would kill this process.
  bool StillThere() const {
    struct stat info;
    return fstat(fd, &info) == 0 && info.st_nlink > 0 && info.st_size >= static_cast<off_t>(kLsnPageSize);
  }
};

LsnPages::LsnPages(std::string registry) : registry_(std::move(registry)) {}

LsnPages::~LsnPages() { Withdraw(); }

Status LsnPages::WithdrawLeftBehind() {
  const std::lock_guard lock(mutex_);
  if (registry_.empty()) return Status::Ok();
  std::string paths;
  const Status status = ReadSmallFile(registry_, &paths);
  if (status.code() == Code::kNotFound) return Status::Ok();
  if (!status.ok()) return status;
  for (size_t begin = 0, end; (end = paths.find('\n', begin)) != std::string::npos; begin = end + 1) {
    std::unique_ptr<Mapping> mapping;
    // A page that cannot be opened any more cannot be read by a query processor that starts now either.
    if (Mapping::Open(paths.substr(begin, end - begin), &mapping).ok())
      mapping->page->lease_until_us.store(0, std::memory_order_release);
  }
  return ReplaceFile(registry_, "");
}

Status LsnPages::Offer(const std::string& path) {
  if (path.find('\n') != std::string::npos) return {Code::kInvalid, "line feed in the path of an LSN page"};
  std::unique_ptr<Mapping> mapping;
  Status status = Mapping::Open(path, &mapping);
  if (!status.ok()) return status;
  const std::lock_guard lock(mutex_);
  if (!pages_.contains(path)) {
    if (pages_.size() >= kMaxPages) return {Code::kTooLarge, "too many LSN pages are offered"};
    status = Remember(path);
    if (!status.ok()) return status;
  }
  if (leading_) Vouch(*mapping);
  pages_[path] = std::move(mapping);
  return Status::Ok();
}

void LsnPages::Lead(uint64_t epoch, Lsn committed, int64_t until_us) {
  const std::lock_guard lock(mutex_);
  leading_ = true;
  until_us_ = until_us;
  epoch_ = epoch;
  committed_ = committed;
  for (const auto& [path, mapping] : pages_) Vouch(*mapping);
}

void LsnPages::Publish(Lsn committed) {
  const std::lock_guard lock(mutex_);
  if (!leading_) return;
  committed_ = committed;
  for (const auto& [path, mapping] : pages_) RaiseCommitted(mapping->page, committed);
}

void LsnPages::Renew(int64_t until_us) {
  const std::lock_guard lock(mutex_);
  until_us_ = until_us;
  std::erase_if(pages_, [](const auto& entry) { return !entry.second->StillThere(); });
  if (!leading_) return;
  const int64_t until = LeaseUntilUs();
  for (const auto& [path, mapping] : pages_) mapping->page->lease_until_us.store(until, std::memory_order_release);
}

void LsnPages::Withdraw() {
  const std::lock_guard lock(mutex_);
  leading_ = false;
  for (const auto& [path, mapping] : pages_) {
    if (mapping->StillThere()) mapping->page->lease_until_us.store(0, std::memory_order_release);
  }
}

void LsnPages::Vouch(const Mapping& mapping) {
  LsnPage* page = mapping.page;
  page->epoch.store(epoch_, std::memory_order_relaxed);
  RaiseCommitted(page, committed_);
  page->magic.store(kLsnPageMagic, std::memory_order_release);
  page->lease_until_us.store(LeaseUntilUs(), std::memory_order_release);
}

Status LsnPages::Remember(const std::string& added) {
  if (registry_.empty()) return Status::Ok();
  std::string paths;
  for (const auto& [path, mapping] : pages_) paths += path + "\n";
  return ReplaceFile(registry_, paths + added + "\n");
}

}  // namespace concord
