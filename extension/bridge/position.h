// Where a cursor or scan stands: always between two keys, or on one that it has returned (or passed as invisible). What
// lies after a position is the same whether asked of the replica or of the write set, so that the two can be merged and
// any scan can change its direction anywhere.
#pragma once

#include <string>
#include <string_view>

namespace concord::bridge {

struct Position {
  enum class Kind {
    kStart,          // before every key
    kEnd,            // after every key
    kBefore,         // before all bodies >= key
    kAfter,          // after all bodies <= key
    kAfterPrefixed,  // after all bodies <= key or beginning with it
    kAt,             // on `key`, a whole body: what follows is > key, what precedes < key
  };
  Kind kind = Kind::kStart;
  std::string_view key;

  static Position Seek(std::string_view key, bool backward, bool prefix_match) {
    if (key.empty()) return {backward ? Kind::kEnd : Kind::kStart, {}};
    if (!backward) return {Kind::kBefore, key};
    return {prefix_match ? Kind::kAfterPrefixed : Kind::kAfter, key};
  }
};

// The least string greater than every string that begins with `prefix`; empty if there is none.
inline std::string PrefixSuccessor(std::string_view prefix) {
  std::string successor(prefix);
  while (!successor.empty() && static_cast<unsigned char>(successor.back()) == 0xff) successor.pop_back();
  if (!successor.empty()) successor.back()++;
  return successor;
}

}  // namespace concord::bridge
