// Fixed-width integers to and from bytes: big-endian in keys (memcmp order is numeric order), little-endian in records.
// Pure functions; the caller owns the bounds.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>

namespace concord {

static_assert(std::endian::native == std::endian::little, "record formats are read in place on little-endian machines");

template <typename T>
inline void StoreLe(void* to, T value) {
  memcpy(to, &value, sizeof value);
}

template <typename T>
inline T LoadLe(const void* from) {
  T value;
  memcpy(&value, from, sizeof value);
  return value;
}

inline void StoreBe32(void* to, uint32_t value) { StoreLe(to, __builtin_bswap32(value)); }
inline void StoreBe64(void* to, uint64_t value) { StoreLe(to, __builtin_bswap64(value)); }
inline uint32_t LoadBe32(const void* from) { return __builtin_bswap32(LoadLe<uint32_t>(from)); }
inline uint64_t LoadBe64(const void* from) { return __builtin_bswap64(LoadLe<uint64_t>(from)); }

template <typename T>
inline void AppendLe(std::string* to, T value) {
  to->append(reinterpret_cast<const char*>(&value), sizeof value);
}

inline void AppendBe64(std::string* to, uint64_t value) { AppendLe(to, __builtin_bswap64(value)); }

}  // namespace concord
