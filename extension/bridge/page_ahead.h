// Prefetching for whoever walks LMDB's records in order. Not thread-safe; holds no pointer that it follows.
#pragma once

#include <cstdint>

namespace concord::bridge {

// Asks the processor for the record one page ahead, as long as pages follow each other at a steady distance, as they do
// where rows were loaded in order. A record costs LMDB three loads that depend on each other; without this, most of a
// scan's time is waiting for the first one. A wrong guess costs nothing but the bandwidth: a prefetch never faults.
class PageAhead {
 public:
  void Passed(const void* record) {
    const auto at = reinterpret_cast<uintptr_t>(record);
    const uintptr_t page = at / kPageBytes;
    if (page != page_) {
      const uintptr_t stride = page - page_;
      steady_ = stride == stride_;
      stride_ = stride;
      page_ = page;
    }
    if (!steady_) return;
    const uintptr_t ahead = at + stride_ * kPageBytes;
    __builtin_prefetch(reinterpret_cast<const void*>(ahead));                    // key
    __builtin_prefetch(reinterpret_cast<const void*>(ahead + kCacheLineBytes));  // the value's first columns
  }

 private:
  static constexpr uintptr_t kPageBytes = 4096;
  static constexpr uintptr_t kCacheLineBytes = 64;

  uintptr_t page_ = 0;
  uintptr_t stride_ = 0;  // in pages, modulo the address space: backward is as good as forward
  bool steady_ = false;
};

}  // namespace concord::bridge
