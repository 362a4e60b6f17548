#include "core/key_encoding.h"

#include <bit>
#include <cmath>

#include "core/bytes.h"

namespace concord {
namespace {

// PostgreSQL's numeric header (src/backend/utils/adt/numeric.c, "Interpretation of high bits"); part of its disk
// format.
constexpr uint16_t kNumericKind = 0xC000;
constexpr uint16_t kNumericNegative = 0x4000;
constexpr uint16_t kNumericShort = 0x8000;
constexpr uint16_t kNumericSpecial = 0xC000;
constexpr uint16_t kNumericSpecialKind = 0xF000;
constexpr uint16_t kNumericPositiveInfinity = 0xD000;
constexpr uint16_t kNumericNegativeInfinity = 0xF000;
constexpr uint16_t kNumericShortNegative = 0x2000;
constexpr uint16_t kNumericShortWeight = 0x003F;
constexpr uint16_t kNumericShortWeightSign = 0x0040;

constexpr int64_t kMicrosecondsPerDay = 86400ll * 1000000;

// Sign bit set: all bits inverted; otherwise the sign bit alone.
template <typename Bits>
Bits OrderedFloatBits(Bits bits) {
  constexpr Bits sign = Bits{1} << (sizeof(Bits) * 8 - 1);
  return bits & sign ? static_cast<Bits>(~bits) : static_cast<Bits>(bits | sign);
}

}  // namespace

void EncodeFloat4(KeyWriter* key, float value) {
  if (std::isnan(value)) return key->Be32(UINT32_MAX);
  key->Be32(OrderedFloatBits(std::bit_cast<uint32_t>(value == 0 ? 0.0f : value)));
}

void EncodeFloat8(KeyWriter* key, double value) {
  if (std::isnan(value)) return key->Be64(UINT64_MAX);
  key->Be64(OrderedFloatBits(std::bit_cast<uint64_t>(value == 0 ? 0.0 : value)));
}

void EncodeBytes(KeyWriter* key, const void* bytes, size_t size) {
  const auto* next = static_cast<const uint8_t*>(bytes);
  const uint8_t* end = next + size;
  while (next < end) {
    const auto* zero = static_cast<const uint8_t*>(memchr(next, 0, end - next));
    if (zero == nullptr) {
      key->Raw(next, end - next);
      break;
    }
    key->Raw(next, zero - next);
    key->Be16(0x00FF);
    next = zero + 1;
  }
  key->Be16(0x0001);
}

void EncodeBlankPadded(KeyWriter* key, const void* bytes, size_t size) {
  const auto* text = static_cast<const char*>(bytes);
  while (size > 0 && text[size - 1] == ' ') --size;
  EncodeBytes(key, bytes, size);
}

void EncodeBits(KeyWriter* key, const void* bytes, size_t bit_count) {
  EncodeBytes(key, bytes, (bit_count + 7) / 8);
  key->Byte(static_cast<uint8_t>(bit_count == 0 ? 0 : (bit_count - 1) % 8 + 1));
}

bool EncodeNumeric(KeyWriter* key, const void* body, size_t size) {
  const auto* bytes = static_cast<const uint8_t*>(body);
  if (size < 2) return false;
  const uint16_t header = LoadLe<uint16_t>(bytes);
  const uint16_t kind = header & kNumericKind;
  if (kind == kNumericSpecial) {
    switch (header & kNumericSpecialKind) {
      case kNumericPositiveInfinity: key->Byte(0x50); break;
      case kNumericNegativeInfinity: key->Byte(0x10); break;
      default: key->Byte(0x60); break;
    }
    return true;
  }

  bool negative;
  int weight;
  size_t header_size;
  if (kind == kNumericShort) {
    negative = header & kNumericShortNegative;
    weight = header & kNumericShortWeight;
    if (header & kNumericShortWeightSign) weight -= kNumericShortWeightSign;
    header_size = 2;
  } else {
    if (size < 4) return false;
    negative = kind == kNumericNegative;
    weight = LoadLe<int16_t>(bytes + 2);
    header_size = 4;
  }
  const uint8_t* digits = bytes + header_size;
  size_t count = (size - header_size) / 2;
  const auto digit = [&](size_t i) { return LoadLe<uint16_t>(digits + 2 * i); };
  while (count > 0 && digit(count - 1) == 0) --count;
  while (count > 0 && digit(0) == 0) {
    digits += 2;
    --count;
    --weight;
  }
  if (count == 0) {
    key->Byte(0x30);
    return true;
  }

  key->Byte(negative ? 0x20 : 0x40);
  const size_t from = key->size();
  key->Be16(static_cast<uint16_t>(weight + 0x8000));
  for (size_t i = 0; i < count; ++i) key->Be16(static_cast<uint16_t>(digit(i) + 1));
  key->Be16(0);
  if (negative) key->Invert(from);
  return true;
}

void EncodeInterval(KeyWriter* key, int32_t months, int32_t days, int64_t microseconds) {
  // At most 73 bits: 80 are written.
  __extension__ using Int128 = __int128;
  const Int128 span = static_cast<Int128>(months * int64_t{30} + days) * kMicrosecondsPerDay + microseconds;
  key->Be16(static_cast<uint16_t>(static_cast<int64_t>(span >> 64) ^ 0x8000));
  key->Be64(static_cast<uint64_t>(span));
}

void EncodeTimeTz(KeyWriter* key, int64_t microseconds, int32_t zone) {
  // Unsigned, which wraps: no time of day comes near, but whatever bytes a value has, they have one encoding.
  EncodeInt64(
      key, static_cast<int64_t>(static_cast<uint64_t>(microseconds) + static_cast<uint64_t>(zone * int64_t{1000000})));
  EncodeInt32(key, zone);
}

void EncodeNetwork(KeyWriter* key, uint8_t family, uint8_t netmask_bits, const void* address) {
  // Zeroed host bits let the network compare first over the bits that both have, then the shorter netmask come first.
  const size_t size = family == 2 ? 4 : 16;
  uint8_t network[16] = {};
  memcpy(network, address, size);
  const size_t whole = netmask_bits / 8;
  if (whole < size) {
    network[whole] &= static_cast<uint8_t>(0xFF00 >> netmask_bits % 8);
    memset(network + whole + 1, 0, size - whole - 1);
  }
  key->Byte(family);
  key->Raw(network, size);
  key->Byte(netmask_bits);
  key->Raw(address, size);
}

}  // namespace concord
