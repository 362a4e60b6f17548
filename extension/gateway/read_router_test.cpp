// The router on a clock of its own.
#include "gateway/read_router.h"

#include <gtest/gtest.h>

#include <random>

namespace concord {
namespace {

constexpr int64_t kMs = 1000;
constexpr Lsn kLsnPerMs = 4096 * 1000;

class ReadRouterTest : public testing::Test {
 protected:
  // All are usable and well, the first is the fastest.
  void SetUp() override {
    for (size_t i = 0; i < 3; i++) {
      router_.SetUsable(i, true);
      router_.Answered(i, ReadRouter::Size::kSmall, kApplied, static_cast<int64_t>(i + 1) * 200, now_);
    }
  }
  // Time passes, and all that are not in `silent` are heard of.
  void Pass(int64_t us, uint64_t silent = 0) {
    for (int64_t passed = 0; passed < us; passed += 10 * kMs) {
      now_ += 10 * kMs;
      for (size_t i = 0; i < 3; i++)
        if ((silent >> i & 1) == 0) router_.Heard(i, kNoLsn, now_);
    }
  }

  static constexpr Lsn kApplied = 1'000'000 * kLsnPerMs;
  int64_t now_ = 1'000'000'000;
  ReadRouter router_{3};
};

TEST_F(ReadRouterTest, TheFastestThatHasAppliedIt) {
  EXPECT_EQ(router_.Choose(kApplied, 0, now_), 0u);
  router_.Heard(2, kApplied + kLsnPerMs, now_);
  EXPECT_EQ(router_.Choose(kApplied, 0, now_), 0u);
  EXPECT_EQ(router_.Choose(kApplied + kLsnPerMs, 0, now_), 2u) << "the only one that is known to have it";
  EXPECT_EQ(router_.Choose(kApplied + 2 * kLsnPerMs, 0, now_), 0u) << "nobody has it yet: the fastest is to wait";
  EXPECT_EQ(router_.Choose(kNoLsn, 0, now_), 0u);
}

TEST_F(ReadRouterTest, OneThatLagsIsAskedAfterThoseThatDoNot) {
  router_.Heard(1, kApplied + 1000 * kLsnPerMs, now_);
  router_.Heard(2, kApplied + 1000 * kLsnPerMs, now_);
  const Lsn fresh = kApplied + 1001 * kLsnPerMs;
  EXPECT_EQ(router_.Choose(fresh, 0, now_), 1u);
  EXPECT_EQ(router_.Choose(fresh, 0b010, now_), 2u);
  EXPECT_EQ(router_.Choose(fresh, 0b110, now_), 0u) << "better than none";
  EXPECT_EQ(router_.Choose(fresh, 0b111, now_), std::nullopt);
}

TEST_F(ReadRouterTest, WhoFailsIsLeftAndTakenUpAgain) {
  router_.Failed(0, now_);
  EXPECT_EQ(router_.Choose(kApplied, 0, now_), 1u);
  EXPECT_EQ(router_.StateOf(0, now_), ReadRouter::State::kLeft);
  Pass(1 * kMs, 0b001);
  EXPECT_EQ(router_.Choose(kApplied, 0b110, now_), 0u) << "if there is no other, it is tried";
  router_.Heard(0, kApplied, now_);
  EXPECT_EQ(router_.Choose(kApplied, 0, now_), 0u);
  EXPECT_EQ(router_.StateOf(0, now_), ReadRouter::State::kWell);
}

TEST_F(ReadRouterTest, FailuresInARowAreLeftForLonger) {
  for (int i = 0; i < 20; i++) router_.Failed(0, now_);
  EXPECT_EQ(router_.StateOf(0, now_ + ReadRouter::kLeftMaxUs - kMs), ReadRouter::State::kLeft);
  EXPECT_NE(router_.StateOf(0, now_ + ReadRouter::kLeftMaxUs), ReadRouter::State::kLeft);
}

TEST_F(ReadRouterTest, ASilentOneIsLeftWithin100Ms) {
  Pass(50 * kMs, 0b001);
  EXPECT_EQ(router_.Choose(kApplied, 0, now_), 0u);
  Pass(60 * kMs, 0b001);
  EXPECT_EQ(router_.Choose(kApplied, 0, now_), 1u);
  EXPECT_EQ(router_.StateOf(0, now_), ReadRouter::State::kSilent);
  Pass(10 * kMs);
  EXPECT_EQ(router_.Choose(kApplied, 0, now_), 0u);
}

TEST_F(ReadRouterTest, WhenAllAreSilentItIsUsWhoDidNotListen) {
  now_ += 10'000 * kMs;
  for (size_t i = 0; i < 3; i++) EXPECT_EQ(router_.StateOf(i, now_), ReadRouter::State::kWell);
  EXPECT_EQ(router_.Choose(kApplied, 0, now_), 0u);
}

TEST_F(ReadRouterTest, WhoIsAskedSeldomMayBeSilentForLonger) {
  router_.SetHeardEvery(100 * kMs);
  Pass(250 * kMs, 0b001);
  EXPECT_EQ(router_.StateOf(0, now_), ReadRouter::State::kWell);
  Pass(100 * kMs, 0b001);
  EXPECT_EQ(router_.StateOf(0, now_), ReadRouter::State::kSilent);
}

TEST_F(ReadRouterTest, AnotherOneIsAskedBefore100Ms) {
  for (const auto size : {ReadRouter::Size::kSmall, ReadRouter::Size::kLarge}) {
    EXPECT_GE(router_.HedgeDelayUs(0, size), ReadRouter::kHedgeMinUs);
    for (int i = 0; i < 100; i++) router_.Answered(0, size, kApplied, 3'000 * kMs, now_);
    EXPECT_LT(router_.HedgeDelayUs(0, size), 100 * kMs);
  }
  router_.Answered(1, ReadRouter::Size::kSmall, kApplied, 50 * kMs, now_);
  EXPECT_GT(router_.HedgeDelayUs(1, ReadRouter::Size::kSmall), ReadRouter::kHedgeMinUs) << "a few times the average";
}

TEST_F(ReadRouterTest, WhoWasOvertakenIsNoFasterThanThat) {
  router_.Overtaken(0, ReadRouter::Size::kSmall, 15 * kMs, now_);
  EXPECT_EQ(router_.Choose(kApplied, 0, now_), 1u);
  for (int i = 0; i < 60; i++) router_.Answered(0, ReadRouter::Size::kSmall, kApplied, 100, now_);
  EXPECT_EQ(router_.Choose(kApplied, 0, now_), 0u) << "its figure comes down again";
}

TEST_F(ReadRouterTest, OthersAreProbedNowAndThen) {
  EXPECT_EQ(router_.Probe(0, now_), std::nullopt) << "all figures are new";
  Pass(ReadRouter::kFigureOldUs + 10 * kMs);
  router_.Answered(0, ReadRouter::Size::kSmall, kApplied, 200, now_);
  const auto first = router_.Probe(0, now_);
  ASSERT_TRUE(first);
  EXPECT_NE(*first, 0u);
  EXPECT_EQ(router_.Probe(0, now_), std::nullopt) << "not at once again";
  router_.Answered(*first, ReadRouter::Size::kSmall, kApplied, 200, now_);
  Pass(ReadRouter::kProbeEveryUs + 10 * kMs);
  const auto second = router_.Probe(0, now_);
  ASSERT_TRUE(second);
  EXPECT_EQ(*first + *second, 3u) << "the other one";
}

TEST_F(ReadRouterTest, OneThatIsNotOursIsNeverAsked) {
  router_.SetUsable(0, false);
  EXPECT_EQ(router_.Choose(kApplied, 0, now_), 1u);
  EXPECT_EQ(router_.Choose(kApplied, 0b110, now_), std::nullopt);
  Pass(ReadRouter::kFigureOldUs + 10 * kMs);
  for (int i = 0; i < 10; i++) {
    Pass(ReadRouter::kProbeEveryUs + 10 * kMs);
    EXPECT_NE(router_.Probe(1, now_), 0u);
  }
  EXPECT_EQ(router_.StateOf(0, now_), ReadRouter::State::kUnusable);
}

// Whatever happens, a usable one is found as long as there is one that was not asked, and it is the best of its kind.
TEST(ReadRouterRandomTest, AlwaysFindsOne) {
  for (uint32_t seed = 1; seed <= 200; seed++) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    ReadRouter router(4);
    bool usable[4] = {};
    int64_t now = 1'000'000;
    for (int step = 0; step < 300; step++) {
      now += random() % 200'000;
      const size_t i = random() % 4;
      const Lsn lsn = random() % 1000 * kLsnPerMs;
      switch (random() % 5) {
        case 0: router.SetUsable(i, usable[i] = random() % 3 != 0); break;
        case 1: router.Heard(i, lsn, now); break;
        case 2: router.Answered(i, ReadRouter::Size::kSmall, lsn, random() % 50'000, now); break;
        case 3: router.Failed(i, now); break;
        default: router.Overtaken(i, ReadRouter::Size::kSmall, random() % 100'000, now);
      }
      const uint64_t except = random() % 16;
      bool any = false;
      for (size_t r = 0; r < 4; r++) any = any || (usable[r] && (except >> r & 1) == 0);
      const auto chosen = router.Choose(lsn, except, now);
      ASSERT_EQ(chosen.has_value(), any);
      if (!chosen) continue;
      ASSERT_TRUE(usable[*chosen]);
      ASSERT_EQ(except >> *chosen & 1, 0u);
      for (size_t r = 0; r < 4; r++) {
        if (!usable[r] || (except >> r & 1) != 0 || router.StateOf(r, now) != ReadRouter::State::kWell) continue;
        // One that is well and has the LSN is preferred to any that has not, or is not.
        if (router.applied(r) >= lsn) {
          ASSERT_EQ(router.StateOf(*chosen, now), ReadRouter::State::kWell);
          ASSERT_GE(router.applied(*chosen), lsn);
          ASSERT_LE(router.latency_us(*chosen), router.latency_us(r));
        }
      }
    }
  }
}

}  // namespace
}  // namespace concord
