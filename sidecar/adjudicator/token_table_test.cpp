#include "sidecar/adjudicator/token_table.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace concord {
namespace {

Token MakeToken(uint64_t number) {
  Token token{};
  memcpy(token.data() + 8, &number, sizeof number);
  return token;
}

TEST(TokenTable, KeepsTheFirstVerdict) {
  TokenTable table;
  EXPECT_EQ(table.Find(MakeToken(1)), nullptr);
  table.Insert(MakeToken(1), {.code = Code::kOk, .lsn = 10});
  table.Insert(MakeToken(2), {.code = Code::kConflict, .conflict_hash = 77});
  EXPECT_EQ(table.Find(MakeToken(1))->lsn, 10u);
  EXPECT_EQ(table.Find(MakeToken(2))->conflict_hash, 77u);
  EXPECT_TRUE(table.Pending(*table.Find(MakeToken(1))));
  EXPECT_FALSE(table.Pending(*table.Find(MakeToken(2))));
  table.Settle(10);
  EXPECT_FALSE(table.Pending(*table.Find(MakeToken(1))));
}

TEST(TokenTable, PendingOnesAreNeverEvicted) {
  TokenTable table(2);
  for (uint64_t i = 1; i <= 5; i++) table.Insert(MakeToken(i), {.code = Code::kOk, .lsn = i});
  EXPECT_EQ(table.tokens(), 5u);
  EXPECT_EQ(table.floor(), kNoLsn);
  table.Settle(4);
  table.Insert(MakeToken(6), {.code = Code::kOk, .lsn = 6});
  EXPECT_EQ(table.tokens(), 2u);
  EXPECT_EQ(table.floor(), 4u);
  EXPECT_EQ(table.Find(MakeToken(4)), nullptr);
  EXPECT_NE(table.Find(MakeToken(5)), nullptr);
}

// Model: every token ever, with its number in the order of decision.
TEST(TokenTable, AgreesWithTheModel) {
  const uint64_t base = std::random_device{}();
  for (uint64_t seed = base; seed < base + 100; seed++) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    const size_t max_tokens = 1 + random() % 50;
    TokenTable table(max_tokens);
    std::map<uint64_t, Decision> all;
    Lsn lsn = 0;
    Lsn settled = 0;
    for (int step = 0; step < 3000; step++) {
      const uint64_t number = random() % 400;
      if (random() % 4 == 0) table.Settle(settled = settled + (lsn - settled) * (random() % 3) / 2);
      const Decision* found = table.Find(MakeToken(number));
      const auto known = all.find(number);
      if (found != nullptr) {
        ASSERT_NE(known, all.end());
        ASSERT_EQ(found->code, known->second.code);
        ASSERT_EQ(found->lsn, known->second.lsn);
        continue;
      }
      if (known != all.end()) {
        // Evicted: it was settled, and a commit lies at or below the floor.
        ASSERT_TRUE(known->second.code != Code::kOk || known->second.lsn <= std::min(table.floor(), settled));
      }
      const Decision decision = random() % 3 == 0 ? Decision{.code = Code::kConflict} : Decision{.lsn = ++lsn};
      table.Insert(MakeToken(number), decision);
      all[number] = decision;
      if (settled == lsn) {
        ASSERT_LE(table.tokens(), max_tokens);
      }
    }
  }
}

}  // namespace
}  // namespace concord
