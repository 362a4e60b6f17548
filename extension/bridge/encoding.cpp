#include "bridge/encoding.h"

#include "core/key.h"
#include "core/key_encoding.h"
#include "core/long_key.h"

static_assert(CC_MAX_ENTRY_BODY == concord::kMaxKey - concord::kPrefixSize);
static_assert(CC_WHOLE_COLUMNS == concord::kWholeColumns && CC_SHORTENED_COLUMNS == concord::kShortenedColumns);
static_assert(CC_NULL_FIRST == concord::kNullFirst && CC_PRESENT == concord::kPresent &&
              CC_NULL_LAST == concord::kNullLast);

namespace {

template <typename Encode>
inline void With(CcKey* key, Encode encode) {
  concord::KeyWriter writer(key->data, key->size, key->capacity);
  encode(&writer);
  key->size = writer.size();
}

}  // namespace

extern "C" {

using concord::KeyWriter;

void cc_key_byte(CcKey* key, uint8_t byte) {
  With(key, [&](KeyWriter* to) { to->Byte(byte); });
}
void cc_key_raw(CcKey* key, const void* bytes, size_t size) {
  With(key, [&](KeyWriter* to) { to->Raw(bytes, size); });
}
void cc_key_uint16(CcKey* key, uint16_t value) {
  With(key, [&](KeyWriter* to) { to->Be16(value); });
}
void cc_key_uint32(CcKey* key, uint32_t value) {
  With(key, [&](KeyWriter* to) { to->Be32(value); });
}
void cc_key_uint64(CcKey* key, uint64_t value) {
  With(key, [&](KeyWriter* to) { to->Be64(value); });
}
void cc_key_int16(CcKey* key, int16_t value) {
  With(key, [&](KeyWriter* to) { concord::EncodeInt16(to, value); });
}
void cc_key_int32(CcKey* key, int32_t value) {
  With(key, [&](KeyWriter* to) { concord::EncodeInt32(to, value); });
}
void cc_key_int64(CcKey* key, int64_t value) {
  With(key, [&](KeyWriter* to) { concord::EncodeInt64(to, value); });
}
void cc_key_float4(CcKey* key, float value) {
  With(key, [&](KeyWriter* to) { concord::EncodeFloat4(to, value); });
}
void cc_key_float8(CcKey* key, double value) {
  With(key, [&](KeyWriter* to) { concord::EncodeFloat8(to, value); });
}
void cc_key_bytes(CcKey* key, const void* bytes, size_t size) {
  With(key, [&](KeyWriter* to) { concord::EncodeBytes(to, bytes, size); });
}
void cc_key_blank_padded(CcKey* key, const void* bytes, size_t size) {
  With(key, [&](KeyWriter* to) { concord::EncodeBlankPadded(to, bytes, size); });
}
void cc_key_bits(CcKey* key, const void* bytes, size_t bit_count) {
  With(key, [&](KeyWriter* to) { concord::EncodeBits(to, bytes, bit_count); });
}
bool cc_key_numeric(CcKey* key, const void* body, size_t size) {
  bool valid = false;
  With(key, [&](KeyWriter* to) { valid = concord::EncodeNumeric(to, body, size); });
  return valid;
}
void cc_key_interval(CcKey* key, int32_t months, int32_t days, int64_t microseconds) {
  With(key, [&](KeyWriter* to) { concord::EncodeInterval(to, months, days, microseconds); });
}
void cc_key_timetz(CcKey* key, int64_t microseconds, int32_t zone) {
  With(key, [&](KeyWriter* to) { concord::EncodeTimeTz(to, microseconds, zone); });
}
void cc_key_network(CcKey* key, uint8_t family, uint8_t netmask_bits, const void* address) {
  With(key, [&](KeyWriter* to) { concord::EncodeNetwork(to, family, netmask_bits, address); });
}
void cc_key_invert(CcKey* key, size_t from) {
  With(key, [&](KeyWriter* to) { to->Invert(from); });
}

bool cc_key_successor(CcKey* key) {
  if (key->size > key->capacity) key->size = key->capacity;
  while (key->size > 0) {
    if (key->data[key->size - 1] != 0xFF) {
      ++key->data[key->size - 1];
      return true;
    }
    --key->size;
  }
  return false;
}

void cc_columns_shorten(const void* columns, size_t size, uint8_t* out) {
  concord::ShortenColumns({static_cast<const char*>(columns), size}, out);
}

void cc_bound_shorten_low(CcKey* low) {
  if (low->size > CC_WHOLE_COLUMNS) low->size = CC_WHOLE_COLUMNS;
}

void cc_bound_shorten_high(CcKey* high) {
  if (high->size <= CC_WHOLE_COLUMNS) return;
  high->size = CC_WHOLE_COLUMNS;
  cc_key_successor(high);  // there is one: a column begins with a marker byte below FF
}

}  // extern "C"
