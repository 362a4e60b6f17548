// Index keys that are longer than storage's keys may be.
//
// The columns of an entry stand in its body whole if they have at most kWholeColumns bytes. Longer ones are shortened:
//
//   shortened := first kWholeColumns bytes of the columns | XXH128 of all of the columns, big-endian
//
// Columns are prefix-free, so bodies differ, and stand in the order of their columns, wherever those differ within the
// first kWholeColumns bytes. Columns that share these, and are longer all of them, are a group: it lies together, in
// the order of the hashes. Whoever wants a group in order must sort it by the columns themselves. Equal columns have
// equal bodies; that different ones have, if they are of one group, needs a collision of the hash.
//
// A body tells by its length whether it is shortened, with a rowid or without.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/key.h"

namespace concord {

inline constexpr size_t kColumnsHashSize = 16;
inline constexpr size_t kEntryRowidSize = 8;
inline constexpr size_t kWholeColumns = kMaxKey - kPrefixSize - kColumnsHashSize - kEntryRowidSize;  // 471
inline constexpr size_t kShortenedColumns = kWholeColumns + kColumnsHashSize;
static_assert(kWholeColumns + kEntryRowidSize < kShortenedColumns);

inline bool IsShortened(std::string_view entry_body) { return entry_body.size() >= kShortenedColumns; }

// Columns longer than kWholeColumns as kShortenedColumns bytes; `out` may be where the columns are.
void ShortenColumns(std::string_view columns, uint8_t* out);

}  // namespace concord
