#include "core/long_key.h"

#include <xxhash.h>

#include <cstring>

namespace concord {

void ShortenColumns(std::string_view columns, uint8_t* out) {
  XXH128_canonical_t hash;
  XXH128_canonicalFromHash(&hash, XXH3_128bits(columns.data(), columns.size()));
  memmove(out, columns.data(), kWholeColumns);
  static_assert(sizeof hash == kColumnsHashSize);
  memcpy(out + kWholeColumns, &hash, sizeof hash);
}

}  // namespace concord
