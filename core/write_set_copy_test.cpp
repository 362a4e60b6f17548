#include "core/write_set_copy.h"

#include <gtest/gtest.h>

#include <random>

#include "core/bytes.h"

namespace concord {
namespace {

std::string RowBody(uint64_t rowid) {
  std::string body(8, 0);
  StoreBe64(body.data(), rowid);
  return body;
}

// Everything that a reader can ask of one key, at every command.
void ExpectSame(const WriteSet& original, const WriteSet& copy, uint64_t prefix, std::string_view body,
                uint32_t commands) {
  const WriteSet::Chain* a = original.Find(prefix, body);
  const WriteSet::Chain* b = copy.Find(prefix, body);
  ASSERT_EQ(a == nullptr, b == nullptr);
  if (a == nullptr) return;
  EXPECT_EQ(a->base_absent, b->base_absent);
  for (uint32_t cid = 0; cid <= commands; cid++) {
    const WriteSet::Version* x = a->Visible(cid);
    const WriteSet::Version* y = b->Visible(cid);
    ASSERT_EQ(x == nullptr, y == nullptr);
    if (x == nullptr) continue;
    EXPECT_EQ(x->deleted(), y->deleted());
    EXPECT_EQ(x->bytes(), y->bytes());
    EXPECT_EQ(x->cid, y->cid);
    EXPECT_EQ(x->alias, y->alias);
    if (x->alias == 0) continue;
    uint64_t named_prefix, rowid;
    const WriteSet::Chain* chain;
    const WriteSet::Version* version;
    ASSERT_TRUE(copy.FindAlias(y->alias, &named_prefix, &rowid, &chain, &version));
    EXPECT_EQ(named_prefix, prefix);
    EXPECT_EQ(RowBody(rowid), body);
    EXPECT_EQ(version, y);
  }
}

TEST(WriteSetCopyTest, ReadersSeeTheSame) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  constexpr uint32_t kCommands = 20;
  constexpr uint64_t kKeys = 30;
  const uint64_t prefixes[] = {Prefix(Space::kRow, 7), Prefix(Space::kRow, 8), Prefix(Space::kEntry, 9)};

  for (int round = 0; round < 50; round++) {
    WriteSet original;
    for (uint32_t cid = 0; cid < kCommands; cid++) {
      if (random() % 4 == 0) original.SubBegin(cid + 1);
      for (int i = 0; i < 10; i++) {
        const uint64_t prefix = prefixes[random() % 3];
        const std::string body = RowBody(random() % kKeys);
        uint64_t alias;
        if (random() % 4 == 0) {
          ASSERT_TRUE(original.Delete(prefix, body, cid).ok());
        } else {
          ASSERT_TRUE(original
                          .Put(prefix, body, std::string(1 + random() % 40, 'v'), cid, random() % 2 == 0,
                               random() % 2 == 0 ? &alias : nullptr)
                          .ok());
        }
      }
      if (random() % 4 == 0) original.SubAbort(cid + 1);
      if (random() % 8 == 0) original.Forget(prefixes[random() % 3]);
    }

    const std::string bytes = WriteSetCopy::Make(original);
    WriteSet copy;
    ASSERT_TRUE(WriteSetCopy::Take(bytes, &copy).ok());
    for (const uint64_t prefix : prefixes) {
      ASSERT_EQ(original.Keys(prefix) == nullptr, copy.Keys(prefix) == nullptr);
      if (original.Keys(prefix) != nullptr) {
        EXPECT_EQ(original.Keys(prefix)->size(), copy.Keys(prefix)->size());
      }
      for (uint64_t key = 0; key < kKeys; key++) ExpectSame(original, copy, prefix, RowBody(key), kCommands);
    }

    WriteSet cut;
    if (!bytes.empty()) {
      EXPECT_FALSE(WriteSetCopy::Take(std::string_view(bytes).substr(0, bytes.size() - 1), &cut).ok());
    }
  }
}

}  // namespace
}  // namespace concord
