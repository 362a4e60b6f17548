// The backend's read set, for the C++ side of the bridge. See read_set.h.
#pragma once

#include <string>
#include <string_view>

#include "core/key.h"
#include "core/read_set.h"

namespace concord::bridge {

// nullptr where nothing is noted.
ReadSet* OwnReads();
// All that was read, what open scans have passed included, encoded for the commit; empty if nothing was. Stays good
// until the next call.
std::string_view EncodedReads(Lsn read_lsn);

// A scan that is closed had no memory to note what it has passed: the transaction must not commit.
void LoseReads();
// Open scans note what they have passed.
void NoteOpenScans();

inline std::string FullKey(uint64_t prefix, std::string_view body) {
  std::string key;
  key.reserve(kPrefixSize + body.size() + 1);
  AppendBe64(&key, prefix);
  key.append(body);
  return key;
}

// The bounds of keys low <= body < high; no high: to the end of the storage.
inline std::string HighBound(uint64_t prefix, const void* high, size_t high_size) {
  return high == nullptr ? FullKey(prefix + 1, {}) : FullKey(prefix, {static_cast<const char*>(high), high_size});
}

}  // namespace concord::bridge
