// Where a cursor or scan stands: always between two keys, or on one that it has returned (or passed as invisible). What
// lies after a position is the same whether asked of the replica or of the write set, so that the two can be merged and
// any scan can change its direction anywhere.
#pragma once

#include <string>
#include <string_view>

namespace concord::bridge {

// The least string greater than every string that begins with `prefix`; empty if there is none.
inline std::string PrefixSuccessor(std::string_view prefix) {
  std::string successor(prefix);
  while (!successor.empty() && static_cast<unsigned char>(successor.back()) == 0xff) successor.pop_back();
  if (!successor.empty()) successor.back()++;
  return successor;
}

struct Position {
  enum class Kind {
    kStart,          // before every key
    kEnd,            // after every key
    kBefore,         // before all bodies >= key
    kAfter,          // after all bodies <= key
    kAfterPrefixed,  // after all bodies <= key or beginning with it; some body can follow them, else it is kEnd
    kAt,             // on `key`, a whole body: what follows is > key, what precedes < key
  };
  Kind kind = Kind::kStart;
  std::string_view key;

  static Position Seek(std::string_view key, bool backward, bool prefix_match) {
    if (key.empty()) return {backward ? Kind::kEnd : Kind::kStart, {}};
    if (!backward) return {Kind::kBefore, key};
    if (!prefix_match) return {Kind::kAfter, key};
    if (key.find_first_not_of('\xff') == key.npos) return {Kind::kEnd, {}};
    return {Kind::kAfterPrefixed, key};
  }
};

}  // namespace concord::bridge
