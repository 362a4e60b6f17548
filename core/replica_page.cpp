#include "core/replica_page.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>
#include <ctime>

#include "core/shared_file.h"

namespace concord {
namespace {

std::string PathIn(const std::string& directory) { return directory + "/" + kReplicaPageFile; }

// The kernel knows a futex by its address as a plain word.
uint32_t* FutexWord(const std::atomic<uint32_t>& word) {
  return reinterpret_cast<uint32_t*>(const_cast<std::atomic<uint32_t>*>(&word));
}

}  // namespace

ReplicaPageMapping::~ReplicaPageMapping() {
  if (page_ != nullptr) munmap(page_, kReplicaPageSize);
}

Status ReplicaPageMapping::Map(const std::string& path, int fd, bool writable) {
  void* const mapped = mmap(nullptr, kReplicaPageSize, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
  if (mapped == MAP_FAILED) return SharedFileError(path, errno);
  if (page_ != nullptr) munmap(page_, kReplicaPageSize);
  page_ = static_cast<ReplicaPage*>(mapped);
  return Status::Ok();
}

Status ReplicaPageMapping::Create(const std::string& directory) {
  const std::string path = PathIn(directory);
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return SharedFileError(path, errno);
  // Never a new file while there is one: readers have it mapped.
  Status status = AllocateSharedFile(path, fd, kReplicaPageSize);
  if (status.ok() && ftruncate(fd, kReplicaPageSize) != 0) status = SharedFileError(path, errno);
  if (status.ok()) status = Map(path, fd, /*writable=*/true);
  close(fd);
  if (!status.ok()) return status;
  for (ReplicaPageState& state : page_->states) state.txn_id.store(0, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);
  return Status::Ok();
}

Status ReplicaPageMapping::Open(const std::string& directory) {
  const std::string path = PathIn(directory);
  int fd;
  Status status = OpenSharedFile(path, O_RDONLY, kReplicaPageSize, &fd);
  if (!status.ok()) return status;
  status = Map(path, fd, /*writable=*/false);
  close(fd);
  if (status.ok() && page_->magic.load(std::memory_order_acquire) != kReplicaPageMagic) {
    *this = ReplicaPageMapping();
    status = {Code::kNotFound, path + " is not initialised yet"};
  }
  return status;
}

void ReplicaPageMapping::Prepare(uint64_t txn_id, Lsn applied, Lsn horizon) {
  ReplicaPageState& state = page_->states[txn_id % ReplicaPage::kStates];
  state.txn_id.store(0, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);
  state.applied.store(applied, std::memory_order_relaxed);
  state.horizon.store(horizon, std::memory_order_relaxed);
  state.txn_id.store(txn_id, std::memory_order_release);
}

void ReplicaPageMapping::Publish(Lsn readable, Lsn applied) {
  page_->magic.store(kReplicaPageMagic, std::memory_order_release);
  if (page_->readable.load(std::memory_order_relaxed) == readable &&
      page_->applied.load(std::memory_order_relaxed) == applied)
    return;
  page_->applied.store(applied, std::memory_order_release);
  page_->readable.store(readable, std::memory_order_release);
  page_->advances.fetch_add(1, std::memory_order_release);
  syscall(SYS_futex, FutexWord(page_->advances), FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

bool ReplicaPageMapping::Find(uint64_t txn_id, Lsn* applied, Lsn* horizon) const {
  const ReplicaPageState& state = page_->states[txn_id % ReplicaPage::kStates];
  if (state.txn_id.load(std::memory_order_acquire) != txn_id) return false;
  *applied = state.applied.load(std::memory_order_relaxed);
  *horizon = state.horizon.load(std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_acquire);
  return state.txn_id.load(std::memory_order_relaxed) == txn_id;
}

void ReplicaPageMapping::Await(const std::atomic<Lsn>& reached, Lsn lsn, int64_t wait_us) const {
  const uint32_t seen = page_->advances.load(std::memory_order_acquire);
  if (reached.load(std::memory_order_acquire) >= lsn) return;
  const timespec timeout = {static_cast<time_t>(wait_us / 1'000'000), static_cast<long>(wait_us % 1'000'000) * 1000};
  syscall(SYS_futex, FutexWord(page_->advances), FUTEX_WAIT, seen, &timeout, nullptr, 0);
}

}  // namespace concord
