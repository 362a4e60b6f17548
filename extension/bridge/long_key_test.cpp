// Shortened columns: random ones around the limits, many of them with a long beginning in common, against their own
// order.
#include "core/long_key.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "bridge/encoding.h"
#include "core/key_encoding.h"

namespace concord {
namespace {

// The body of an entry: with a rowid, as of an index that is not unique, unless that is 0.
std::string Body(const std::string& columns, uint64_t rowid) {
  std::string body = columns;
  if (columns.size() > kWholeColumns) {
    body.resize(kShortenedColumns);
    cc_columns_shorten(columns.data(), columns.size(), reinterpret_cast<uint8_t*>(body.data()));
  }
  if (rowid != 0) AppendBe64(&body, rowid);
  return body;
}

std::string Shortened(void (*shorten)(CcKey*), std::string bound) {
  CcKey key = {reinterpret_cast<uint8_t*>(bound.data()), bound.size(), bound.size()};
  shorten(&key);
  bound.resize(key.size);
  return bound;
}

class LongKey : public testing::Test {
 protected:
  uint64_t Below(uint64_t limit) { return random_() % limit; }

  // One or two columns of text, with zero bytes in them, some of them descending.
  std::string Columns() {
    std::string out(3 * 4096, '\0');
    KeyWriter writer(reinterpret_cast<uint8_t*>(out.data()), 0, out.size());
    for (int column = 0; column < 2; ++column) {
      std::string text(lengths_[Below(lengths_.size())] + Below(5), 'a');
      const size_t random_bytes = std::min<size_t>(text.size(), Below(12));
      for (size_t i = 0; i < random_bytes; ++i) text[text.size() - 1 - Below(20) % text.size()] = "\0ab\xff"[Below(4)];
      writer.Byte(kPresent);
      const size_t from = writer.size();
      EncodeBytes(&writer, text.data(), text.size());
      if (descending_ && column == 1) writer.Invert(from);
    }
    out.resize(writer.size());
    return out;
  }

  const uint64_t seed_ = std::random_device()();
  std::mt19937_64 random_{seed_};
  bool descending_ = false;
  const std::vector<size_t> lengths_ = {0, 3, 225, 230, 460, 464, 468, 474, 482, 490, 1000, 2700};
};

TEST_F(LongKey, BodiesStandInOrderButForGroups) {
  SCOPED_TRACE("seed " + std::to_string(seed_));
  for (const bool descending : {false, true}) {
    for (const bool with_rowid : {false, true}) {
      descending_ = descending;
      std::map<std::string, std::string> bodies;  // by columns
      for (int i = 0; i < 400; ++i) {
        std::string columns = Columns();
        bodies.emplace(std::move(columns), "");
      }
      for (auto& [columns, body] : bodies) {
        body = Body(columns, with_rowid ? 1 + Below(1000) : 0);
        ASSERT_LE(body.size(), size_t{CC_MAX_ENTRY_BODY});
        ASSERT_EQ(IsShortened(body), columns.size() > kWholeColumns);
        ASSERT_EQ(columns.substr(0, kWholeColumns), body.substr(0, std::min(columns.size(), kWholeColumns)));
      }
      for (const auto& [left, left_body] : bodies) {
        for (const auto& [right, right_body] : bodies) {
          if (left == right) continue;
          ASSERT_NE(left_body, right_body);
          ASSERT_FALSE(left_body.starts_with(right_body));
          const bool group = left.size() > kWholeColumns && right.size() > kWholeColumns &&
                             left.compare(0, kWholeColumns, right, 0, kWholeColumns) == 0;
          if (!group) {
            ASSERT_EQ(left < right, left_body < right_body);
          }
        }
      }
    }
  }
}

TEST_F(LongKey, EqualColumnsHaveEqualBodies) {
  for (int i = 0; i < 100; ++i) {
    const std::string columns = Columns();
    const std::string copy = "x" + columns;  // at another address
    ASSERT_EQ(Body(columns, 0), Body(copy.substr(1), 0));
  }
}

TEST_F(LongKey, ShortenedBoundsLeaveNothingOut) {
  SCOPED_TRACE("seed " + std::to_string(seed_));
  std::vector<std::string> all;
  for (int i = 0; i < 300; ++i) all.push_back(Columns());
  for (int i = 0; i < 300; ++i) {
    // A bound is a key, a part of one, or the successor of one.
    std::string bound = all[Below(all.size())];
    if (Below(2) == 0) bound.resize(1 + Below(bound.size()));
    if (Below(2) == 0) {
      CcKey key = {reinterpret_cast<uint8_t*>(bound.data()), bound.size(), bound.size()};
      ASSERT_TRUE(cc_key_successor(&key));
      bound.resize(key.size);
    }
    const std::string low = Shortened(cc_bound_shorten_low, bound);
    const std::string high = Shortened(cc_bound_shorten_high, bound);
    if (bound.size() <= kWholeColumns) {
      ASSERT_EQ(low, bound);
      ASSERT_EQ(high, bound);
    }
    for (const std::string& columns : all) {
      const std::string body = Body(columns, Below(2) * 77);
      if (columns >= bound) {
        ASSERT_GE(body, low);
      } else {
        ASSERT_LT(body, high);
      }
      // Only of a group that the bound lies in is more read than is wanted.
      const bool group = bound.size() > kWholeColumns && columns.size() > kWholeColumns &&
                         bound.compare(0, kWholeColumns, columns, 0, kWholeColumns) == 0;
      if (!group) {
        ASSERT_EQ(columns >= bound, body >= low);
        ASSERT_EQ(columns < bound, body < high);
      }
    }
  }
}

}  // namespace
}  // namespace concord
