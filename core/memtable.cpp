#include "core/memtable.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <ctime>

#include "core/key.h"
#include "core/shared_file.h"

namespace concord {
namespace {

constexpr uint64_t kMagic = UINT64_C(0x31424d434e4f43);  // "CONCMB1"
constexpr size_t kPage = 4096;
constexpr size_t kHeads = 1u << 16;
constexpr size_t kChanges = 1u << 12;
constexpr size_t kEntryAlign = 32;         // so that what is left at the ring's end has room for a header
constexpr uint32_t kPadding = UINT32_MAX;  // as a key's size: nothing up to the ring's end
// One entry; a larger value is better off in LMDB at once.
constexpr size_t kLargestEntry = kMemtableRingBytes / 16;

// Of an entry in the ring; key and value follow, each rounded up to 8 bytes.
struct EntryHeader {
  uint64_t previous;  // in the chain of its hash; below the ring's begin: the end
  Lsn lsn;
  uint32_t key_size;
  uint32_t value_size;
};
static_assert(sizeof(EntryHeader) == 24);

constexpr size_t RoundUp(size_t size, size_t to) { return (size + to - 1) & ~(to - 1); }
constexpr size_t EntrySize(size_t key, size_t value) {
  return RoundUp(sizeof(EntryHeader) + RoundUp(key, 8) + RoundUp(value, 8), kEntryAlign);
}

// Readers may look at bytes while they are written anew, and throw them away then: word by word, so that it is defined.
void StoreWords(std::atomic<uint64_t>* to, const char* from, size_t size) {
  for (size_t done = 0; done < size; done += sizeof(uint64_t)) {
    uint64_t word = 0;
    memcpy(&word, from + done, std::min(sizeof word, size - done));
    to[done / sizeof word].store(word, std::memory_order_relaxed);
  }
}

// `to` has room for the size rounded up to 8.
void LoadWords(char* to, const std::atomic<uint64_t>* from, size_t size) {
  for (size_t done = 0; done < size; done += sizeof(uint64_t)) {
    const uint64_t word = from[done / sizeof(uint64_t)].load(std::memory_order_relaxed);
    memcpy(to + done, &word, sizeof word);
  }
}

}  // namespace

// What readers write.
struct Memtable::Wishes {
  std::atomic<Lsn> wanted;
  std::atomic<uint32_t> bell;  // a futex
};

struct Memtable::Header {
  std::atomic<uint64_t> magic;
  std::atomic<uint64_t> generation;  // odd: one is being begun
  std::atomic<Lsn> newest;
  std::atomic<Lsn> floor;
  std::atomic<uint64_t> begin, end;  // of the ring; they only grow, the place is modulo its size
};

struct Memtable::Shared {
  union {
    Header header;
    char page[kPage];
  };
  std::atomic<Lsn> changes[kChanges];  // by a storage's hash: of its newest version
  std::atomic<uint64_t> heads[kHeads];
  std::atomic<uint64_t> ring[kMemtableRingBytes / sizeof(uint64_t)];
  char slack[kMaxKey + 1];  // a reader of what is being written anew may look so far beyond

  std::atomic<uint64_t>* at(uint64_t position) { return &ring[position % kMemtableRingBytes / sizeof(uint64_t)]; }
  EntryHeader HeaderAt(uint64_t position) {
    EntryHeader entry;
    char words[sizeof entry];
    LoadWords(words, at(position), sizeof entry);
    memcpy(&entry, words, sizeof entry);
    return entry;
  }
};

Status Memtable::Map(const std::string& path, int fd, bool writable) {
  Close();
  void* const wishes = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (wishes == MAP_FAILED) return SharedFileError(path, errno);
  void* const shared = mmap(nullptr, sizeof(Shared), PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd, kPage);
  if (shared == MAP_FAILED) {
    const int error = errno;
    munmap(wishes, kPage);
    return SharedFileError(path, error);
  }
  wishes_ = static_cast<Wishes*>(wishes);
  shared_ = static_cast<Shared*>(shared);
  return Status::Ok();
}

void Memtable::Close() {
  if (shared_ == nullptr) return;
  munmap(wishes_, kPage);
  munmap(shared_, sizeof(Shared));
  wishes_ = nullptr;
  shared_ = nullptr;
}

Status Memtable::Create(const std::string& directory, Lsn applied, bool adds) {
  const std::string path = directory + "/" + kMemtableFile;
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return SharedFileError(path, errno);
  constexpr off_t kSize = kPage + sizeof(Shared);
  Status status = AllocateSharedFile(path, fd, adds ? kSize : off_t{2 * kPage});
  if (status.ok() && ftruncate(fd, kSize) != 0) status = SharedFileError(path, errno);
  if (status.ok()) status = Map(path, fd, /*writable=*/true);
  close(fd);
  if (!status.ok()) return status;
  Header& header = shared_->header;
  const uint64_t generation = header.generation.load(std::memory_order_relaxed) | 1;
  header.generation.store(generation, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);
  // What a writer that died had begun lies behind the end, and no chain leads there.
  const uint64_t end =
      std::max(header.end.load(std::memory_order_relaxed), uint64_t{kMemtableRingBytes}) + kMemtableRingBytes;
  const uint64_t begin = end - end % kMemtableRingBytes;
  header.floor.store(applied, std::memory_order_relaxed);
  header.newest.store(applied, std::memory_order_relaxed);
  header.begin.store(begin, std::memory_order_relaxed);
  header.end.store(begin, std::memory_order_relaxed);
  wishes_->wanted.store(applied);  // by the dead, of the one before
  header.magic.store(kMagic, std::memory_order_relaxed);
  header.generation.store(generation + 1, std::memory_order_release);
  std::atomic_thread_fence(std::memory_order_release);  // as in MakeRoom
  flushed_ = applied;
  return Status::Ok();
}

Status Memtable::Open(const std::string& directory) {
  const std::string path = directory + "/" + kMemtableFile;
  int fd;
  Status status = OpenSharedFile(path, O_RDWR, kPage + sizeof(Shared), &fd);
  if (!status.ok()) return status;
  status = Map(path, fd, /*writable=*/false);
  close(fd);
  if (status.ok() && shared_->header.magic.load(std::memory_order_acquire) != kMagic) {
    Close();
    status = {Code::kNotFound, path + " is not initialised yet"};
  }
  return status;
}

std::atomic<uint64_t>& Memtable::HeadOf(std::string_view key) const {
  return shared_->heads[XXH3_64bits(key.data(), key.size()) % kHeads];
}

std::atomic<Lsn>& Memtable::ChangeOf(uint64_t prefix) const {
  return shared_->changes[XXH3_64bits(&prefix, sizeof prefix) % kChanges];
}

// Gives up entries at the ring's begin, so that it holds `size` bytes more behind `end`.
bool Memtable::MakeRoom(uint64_t end, size_t size) {
  Header& header = shared_->header;
  uint64_t begin = header.begin.load(std::memory_order_relaxed);
  Lsn floor = kNoLsn;
  while (end + size - begin > kMemtableRingBytes) {
    const EntryHeader entry = shared_->HeaderAt(begin);
    if (entry.key_size == kPadding) {
      begin += kMemtableRingBytes - begin % kMemtableRingBytes;
      continue;
    }
    if (entry.lsn > flushed_) return false;
    floor = entry.lsn;
    begin += EntrySize(entry.key_size, entry.value_size);
  }
  if (begin == header.begin.load(std::memory_order_relaxed)) return true;
  // Who sees the begin sees the floor; and who reads bytes that are written from now on sees the begin.
  if (floor > header.floor.load(std::memory_order_relaxed)) header.floor.store(floor, std::memory_order_relaxed);
  header.begin.store(begin, std::memory_order_release);
  std::atomic_thread_fence(std::memory_order_release);
  return true;
}

bool Memtable::Add(std::string_view key, std::string_view value, Lsn lsn) {
  if (value.size() > kLargestEntry || EntrySize(key.size(), value.size()) > kLargestEntry) return false;
  Header& header = shared_->header;
  const size_t size = EntrySize(key.size(), value.size());
  uint64_t end = header.end.load(std::memory_order_relaxed);
  const size_t left = kMemtableRingBytes - end % kMemtableRingBytes;
  if (left < size) {
    if (!MakeRoom(end, left)) return false;
    const EntryHeader padding = {0, lsn, kPadding, 0};
    StoreWords(shared_->at(end), reinterpret_cast<const char*>(&padding), sizeof padding);
    end += left;
    header.end.store(end, std::memory_order_relaxed);
  }
  if (!MakeRoom(end, size)) return false;
  std::atomic<uint64_t>& head = HeadOf(key);
  const EntryHeader entry = {head.load(std::memory_order_relaxed), lsn, static_cast<uint32_t>(key.size()),
                             static_cast<uint32_t>(value.size())};
  std::atomic<uint64_t>* to = shared_->at(end);
  StoreWords(to, reinterpret_cast<const char*>(&entry), sizeof entry);
  to += sizeof entry / sizeof *to;
  StoreWords(to, key.data(), key.size());
  StoreWords(to + RoundUp(key.size(), 8) / sizeof *to, value.data(), value.size());
  header.end.store(end + size, std::memory_order_relaxed);
  head.store(end, std::memory_order_release);
  ChangeOf(KeyPrefix(key)).store(lsn, std::memory_order_relaxed);
  return true;
}

void Memtable::Publish(Lsn lsn) { shared_->header.newest.store(lsn, std::memory_order_release); }

void Memtable::PublishFlushed(Lsn lsn) {
  flushed_ = lsn;
  shared_->header.floor.store(lsn, std::memory_order_relaxed);
  shared_->header.newest.store(lsn, std::memory_order_release);
}

template <typename Body>
Memtable::Answer Memtable::InOneGeneration(Lsn lsn, Body&& body) const {
  Header& header = shared_->header;
  for (;;) {
    const uint64_t generation = header.generation.load(std::memory_order_acquire);
    if (generation % 2 != 0 || header.newest.load(std::memory_order_acquire) < lsn) return Answer::kNotThere;
    const Answer answer = body(header);
    std::atomic_thread_fence(std::memory_order_acquire);
    if (header.generation.load(std::memory_order_relaxed) == generation) return answer;
  }
}

Memtable::Answer Memtable::Find(std::string_view key, Lsn applied, Lsn lsn, Version* version) const {
  char found_key[kMaxKey + sizeof(uint64_t)];
  return InOneGeneration(lsn, [&](Header& header) {
    version->lsn = kNoLsn;
    for (uint64_t at = HeadOf(key).load(std::memory_order_acquire);;) {
      if (at < header.begin.load(std::memory_order_acquire)) break;
      const EntryHeader entry = shared_->HeaderAt(at);
      const bool same_size = entry.key_size == key.size();
      if (same_size) LoadWords(found_key, shared_->at(at) + sizeof entry / sizeof(uint64_t), entry.key_size);
      std::atomic_thread_fence(std::memory_order_acquire);
      if (at < header.begin.load(std::memory_order_acquire)) break;  // and the floor is no older than that
      if (entry.lsn <= applied) break;                               // and all before it
      if (same_size && entry.lsn <= lsn && memcmp(found_key, key.data(), key.size()) == 0) {
        *version = {at, at + sizeof entry + RoundUp(entry.key_size, 8), entry.lsn, entry.value_size};
        break;
      }
      at = entry.previous;
    }
    const Lsn floor = header.floor.load(std::memory_order_acquire);
    if (version->lsn > floor) return Answer::kFound;
    return floor <= applied ? Answer::kView : Answer::kBehind;
  });
}

bool Memtable::Read(const Version& version, char* to) const {
  LoadWords(to, shared_->at(version.value), version.size);
  std::atomic_thread_fence(std::memory_order_acquire);
  return version.at >= shared_->header.begin.load(std::memory_order_relaxed);
}

Memtable::Answer Memtable::FindChange(uint64_t prefix, Lsn applied, Lsn lsn) const {
  return InOneGeneration(lsn, [&](Header& header) {
    const bool changed = ChangeOf(prefix).load(std::memory_order_relaxed) > applied;
    return changed || header.floor.load(std::memory_order_acquire) > applied ? Answer::kBehind : Answer::kView;
  });
}

void Memtable::Want(Lsn lsn) const {
  Lsn wanted = wishes_->wanted.load(std::memory_order_relaxed);
  while (wanted < lsn && !wishes_->wanted.compare_exchange_weak(wanted, lsn)) {
  }
  if (wanted >= lsn) return;
  wishes_->bell.fetch_add(1);
  syscall(SYS_futex, &wishes_->bell, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

Lsn Memtable::wanted() const { return wishes_->wanted.load(std::memory_order_acquire); }

Lsn Memtable::AwaitWanted(Lsn seen, int64_t wait_us) const {
  const uint32_t bell = wishes_->bell.load();
  const timespec timeout = {static_cast<time_t>(wait_us / 1'000'000), static_cast<long>(wait_us % 1'000'000) * 1000};
  if (wanted() <= seen) syscall(SYS_futex, &wishes_->bell, FUTEX_WAIT, bell, &timeout, nullptr, 0);
  return wanted();
}

}  // namespace concord
