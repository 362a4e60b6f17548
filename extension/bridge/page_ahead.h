// Prefetching for whoever walks LMDB's records in order. Not thread-safe; holds no pointer that it follows.
#pragma once

#include <cstdint>

namespace concord::bridge {

// A record costs LMDB three loads that depend on each other; most of a scan's time would be waiting for the first one.
// So the processor is asked for records early. As long as pages follow each other at a steady distance, as they do
// where rows were loaded in order, that is the record one page ahead; on a page that came unexpectedly, as where rows
// have been updated, it is the whole page. A wrong guess costs nothing but bandwidth: a prefetch never faults.
class PageAhead {
 public:
  // The walk begins here; perhaps it goes no further.
  void Start(const void* record) {
    page_ = PageOf(record);
    steady_ = false;
  }

  // A record that lies next in the order of keys.
  void Passed(const void* record) {
    const uintptr_t page = PageOf(record);
    if (page != page_) Enter(page);
    if (!steady_) return;
    const uintptr_t ahead = reinterpret_cast<uintptr_t>(record) + stride_ * kPageBytes;
    Prefetch(ahead);                    // key
    Prefetch(ahead + kCacheLineBytes);  // the value's first columns
  }

 private:
  static constexpr uintptr_t kPageBytes = 4096;
  static constexpr uintptr_t kCacheLineBytes = 64;

  static uintptr_t PageOf(const void* record) { return reinterpret_cast<uintptr_t>(record) / kPageBytes; }
  // An address by its number: it may lie behind the map, where no pointer may be formed by arithmetic.
  static void Prefetch(uintptr_t at) {
    __builtin_prefetch(reinterpret_cast<const void*>(at));  // NOLINT(performance-no-int-to-ptr): see above
  }

  void Enter(uintptr_t page) {
    const uintptr_t stride = page - page_;
    steady_ = stride == stride_;
    stride_ = stride;
    page_ = page;
    if (steady_) return;
    for (uintptr_t at = page * kPageBytes; at < (page + 1) * kPageBytes; at += kCacheLineBytes) Prefetch(at);
  }

  uintptr_t page_ = 0;
  uintptr_t stride_ = 0;  // in pages, modulo the address space: backward is as good as forward
  bool steady_ = false;
};

}  // namespace concord::bridge
