#include "core/large_memory.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>

namespace concord {
namespace {

size_t RoundUp(size_t bytes) { return (bytes + kHugePageBytes - 1) & ~(kHugePageBytes - 1); }

}  // namespace

void* AllocateLarge(size_t bytes, Pages pages) {
  if (bytes < kHugePageBytes) return operator new(bytes);
  if (bytes > SIZE_MAX / 2) throw std::bad_alloc();
  // The kernel aligns to small pages: what is too much on either side goes back.
  const size_t size = RoundUp(bytes);
  void* const mapped = mmap(nullptr, size + kHugePageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  char* const begin = static_cast<char*>(mapped);
  const size_t before = RoundUp(reinterpret_cast<uintptr_t>(begin)) - reinterpret_cast<uintptr_t>(begin);
  if (before != 0) munmap(begin, before);
  if (before != kHugePageBytes) munmap(begin + before + size, kHugePageBytes - before);
  if (pages == Pages::kHuge) madvise(begin + before, size, MADV_HUGEPAGE);
  return begin + before;
}

void PopulateAhead(char* begin, char* end) noexcept {
  constexpr uintptr_t kPage = 4096;
  const uintptr_t from = (reinterpret_cast<uintptr_t>(begin) + kPage - 1) & ~(kPage - 1);
  const uintptr_t to = reinterpret_cast<uintptr_t>(end) & ~(kPage - 1);
  if (from < to) (void)madvise(reinterpret_cast<void*>(from), to - from, MADV_POPULATE_WRITE);
}

void FreeLarge(void* memory, size_t bytes) noexcept {
  if (bytes < kHugePageBytes) {
    operator delete(memory);
  } else {
    munmap(memory, RoundUp(bytes));
  }
}

}  // namespace concord
