// Order-preserving encodings of index columns: memcmp of two encodings is the order of btree's comparison function for
// the type, and equal values have equal encodings however they are written (1.0 and 1.00, -0 and 0, 'a' and 'a ').
//
//   column  := 01 | 02 value | 03                 01: NULL of a NULLS FIRST column, 03: NULL of a NULLS LAST column
//   value   := bytes of one of the functions below, all of them inverted in a DESC column
//   bytes   := (byte except 00 | 00 FF)* 00 01    so that a shorter string comes first and nothing is a prefix of
//   another numeric := 10 -Infinity | 20 ~(magnitude) | 30 zero | 40 magnitude | 50 +Infinity | 60 NaN magnitude :=
//   weight u16be (+ 8000) | (base-10000 digit + 1) u16be ... | 0000 network := family | network address, host bits zero
//   | netmask bits | whole address
//
// No encoding is a prefix of another of the same column, so columns can be strung together and a key's columns are a
// prefix that no other key shares. Nothing is decoded: an entry carries the values themselves.
//
// Pure and allocation-free. A KeyWriter that runs out of room goes on counting, so the caller learns the size needed
// and the bytes written are a true prefix. Functions may be called from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace concord {

class KeyWriter {
 public:
  KeyWriter(uint8_t* data, size_t size, size_t capacity) : data_(data), size_(size), capacity_(capacity) {}

  // May exceed the capacity.
  size_t size() const { return size_; }

  void Byte(uint8_t byte) {
    if (size_ < capacity_) data_[size_] = byte;
    ++size_;
  }
  void Raw(const void* bytes, size_t count) {
    if (size_ < capacity_) memcpy(data_ + size_, bytes, count < capacity_ - size_ ? count : capacity_ - size_);
    size_ += count;
  }
  void Be16(uint16_t value) { Swapped(__builtin_bswap16(value)); }
  void Be32(uint32_t value) { Swapped(__builtin_bswap32(value)); }
  void Be64(uint64_t value) { Swapped(__builtin_bswap64(value)); }
  // Inverts all that was written from `from` on.
  void Invert(size_t from) {
    for (size_t i = from; i < size_ && i < capacity_; ++i) data_[i] = ~data_[i];
  }

 private:
  template <typename T>
  void Swapped(T value) {
    Raw(&value, sizeof value);
  }

  uint8_t* data_;
  size_t size_;
  size_t capacity_;
};

inline constexpr uint8_t kNullFirst = 0x01;
inline constexpr uint8_t kPresent = 0x02;
inline constexpr uint8_t kNullLast = 0x03;

inline void EncodeInt16(KeyWriter* key, int16_t value) { key->Be16(static_cast<uint16_t>(value) ^ 0x8000u); }
inline void EncodeInt32(KeyWriter* key, int32_t value) { key->Be32(static_cast<uint32_t>(value) ^ 0x80000000u); }
inline void EncodeInt64(KeyWriter* key, int64_t value) { key->Be64(static_cast<uint64_t>(value) ^ 1ull << 63); }

// -0 is 0; every NaN is one value, above all others.
void EncodeFloat4(KeyWriter* key, float value);
void EncodeFloat8(KeyWriter* key, double value);

// Strings of any bytes, in the order of memcmp, the shorter one first.
void EncodeBytes(KeyWriter* key, const void* bytes, size_t size);
// The same with trailing blanks left out.
void EncodeBlankPadded(KeyWriter* key, const void* bytes, size_t size);
// bit and varbit: by bytes, then by length. Bits past `bit_count` are zero.
void EncodeBits(KeyWriter* key, const void* bytes, size_t bit_count);

// A numeric as PostgreSQL stores it, without the length word. False if the bytes are none.
bool EncodeNumeric(KeyWriter* key, const void* body, size_t size);

// By the span it covers, months of 30 days and days of 24 hours.
void EncodeInterval(KeyWriter* key, int32_t months, int32_t days, int64_t microseconds);
// By the moment in UTC, then by zone (seconds west of UTC).
void EncodeTimeTz(KeyWriter* key, int64_t microseconds, int32_t zone);
// `address`: 4 bytes if `family` is 2 (IPv4), 16 if it is 3 (IPv6).
void EncodeNetwork(KeyWriter* key, uint8_t family, uint8_t netmask_bits, const void* address);

}  // namespace concord
