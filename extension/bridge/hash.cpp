#include "bridge/hash.h"

#include <cstring>

#include "core/hash.h"
#include "core/key.h"

extern "C" uint64_t cc_key_hash(uint64_t prefix, const void* body, size_t body_size) {
  char key[concord::kMaxKey];
  if (body_size > sizeof key - concord::kPrefixSize) body_size = sizeof key - concord::kPrefixSize;
  concord::StoreBe64(key, prefix);
  memcpy(key + concord::kPrefixSize, body, body_size);
  return concord::KeyHash({key, concord::kPrefixSize + body_size});
}
