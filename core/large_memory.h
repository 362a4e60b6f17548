// Memory for what grows with a transaction or with the load. Each page of 4 KiB that is touched for the first time
// costs a fault, in a virtual machine several microseconds; a load of a million rows touches a hundred thousand of
// them, and spent more on that than on the rows.
//
// Huge pages, where the kernel gives them, are for tables that are read at random. Small ones, many at a time
// (PopulateAhead), are for what is filled once from its begin to its end: a huge page is mostly one that nobody has
// used for long, which a virtual machine's host may have taken back, and then filling it costs eight times as much (2.3
// ms a MiB were measured, against 0.3).
//
// Thread-safe. Throws std::bad_alloc.
#pragma once

#include <cassert>
#include <cstddef>
#include <memory>
#include <type_traits>

namespace concord {

inline constexpr size_t kHugePageBytes = 2u << 20;

enum class Pages { kHuge, kSmall };

// From 2 MiB on a mapping of its own, which goes back to the system when it is freed.
void* AllocateLarge(size_t bytes, Pages pages = Pages::kHuge);
// `bytes`: as they were asked for.
void FreeLarge(void* memory, size_t bytes) noexcept;

// Makes the kernel give the pages between now, if it can do so at once (Linux 5.14). A hint.
void PopulateAhead(char* begin, char* end) noexcept;

// An array of what needs neither a beginning nor an end; its elements are not initialised.
template <typename T>
struct LargeArrayFree {
  size_t count;
  void operator()(T* array) const noexcept { FreeLarge(array, count * sizeof(T)); }
};
template <typename T>
using LargeArray = std::unique_ptr<T[], LargeArrayFree<T>>;

template <typename T>
LargeArray<T> MakeLargeArray(size_t count, Pages pages = Pages::kHuge) {
  static_assert(std::is_trivially_default_constructible_v<T> && std::is_trivially_destructible_v<T>);
  assert(alignof(T) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__ || count * sizeof(T) >= kHugePageBytes);
  return {static_cast<T*>(AllocateLarge(count * sizeof(T), pages)), {count}};
}

// For containers of one large array.
template <typename T>
struct LargeAllocator {
  using value_type = T;

  LargeAllocator() = default;
  template <typename U>
  LargeAllocator(const LargeAllocator<U>&) noexcept {}  // NOLINT(google-explicit-constructor): containers convert it

  T* allocate(size_t count) { return static_cast<T*>(AllocateLarge(count * sizeof(T))); }
  void deallocate(T* memory, size_t count) noexcept { FreeLarge(memory, count * sizeof(T)); }

  friend bool operator==(const LargeAllocator&, const LargeAllocator&) { return true; }
};

}  // namespace concord
