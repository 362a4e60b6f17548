#include "core/crc32c.h"

#include <array>

#include "core/bytes.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace concord {
namespace {

constexpr std::array<uint32_t, 256> MakeTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
    table[i] = crc;
  }
  return table;
}
constexpr auto kTable = MakeTable();

uint32_t Portable(uint32_t crc, const uint8_t* p, size_t size) {
  for (size_t i = 0; i < size; i++) crc = kTable[(crc ^ p[i]) & 0xff] ^ crc >> 8;
  return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t Hardware(uint32_t crc, const uint8_t* p, size_t size) {
  uint64_t wide = crc;
  for (; size >= 8; p += 8, size -= 8) wide = _mm_crc32_u64(wide, LoadLe<uint64_t>(p));
  crc = static_cast<uint32_t>(wide);
  for (; size > 0; p++, size--) crc = _mm_crc32_u8(crc, *p);
  return crc;
}
#endif

using Function = uint32_t (*)(uint32_t, const uint8_t*, size_t);

Function Choose() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("sse4.2")) return Hardware;
#endif
  return Portable;
}

}  // namespace

uint32_t Crc32c(uint32_t crc, const void* data, size_t size) {
  static const Function function = Choose();
  return ~function(~crc, static_cast<const uint8_t*>(data), size);
}

}  // namespace concord
