// The 64-bit hash of an unversioned key under which the adjudicator knows it. XXH3 (xxHash 0.8, stable output). Two
// keys with one hash only cost a needless conflict, never a missed one.
#pragma once

#include <xxhash.h>

#include <cstdint>
#include <string_view>

namespace concord {

inline uint64_t KeyHash(std::string_view key) { return XXH3_64bits(key.data(), key.size()); }

}  // namespace concord
