#include "sidecar/journal/tail_link.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "sidecar/journal/journal_test_util.h"

namespace concord::journal {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kShortMs = 50;
constexpr int kLongMs = 120'000;
constexpr int64_t kLongUs = int64_t{1000} * kLongMs;

class LocalTailTest : public testing::Test {
 protected:
  void SetUp() override {
    JournalNodeOptions options;
    options.log.directory = directory_.path() + "/journal";
    ASSERT_TRUE(JournalNode::Open(options, &node_).ok());
    JournalNode::SealResult sealed{};
    ASSERT_TRUE(node_->Seal(1, &sealed).ok());
  }
  void Append(Lsn first, Lsn last) { ASSERT_TRUE(node_->Append(Input(1, first, last)).ok()); }

  TemporaryDirectory directory_;
  std::unique_ptr<JournalNode> node_;
  std::string frames_;
};

TEST_F(LocalTailTest, BringsAtOnceWhatIsCommitted) {
  const auto tail = OpenLocalTail(node_.get(), kNoLsn, 0);
  EXPECT_EQ(tail->Next(0, &frames_), TailLink::Event::kTimeout);
  Append(1, 2);
  EXPECT_EQ(tail->Next(kLongUs, &frames_), TailLink::Event::kFrames);
  EXPECT_EQ(frames_, FrameRange(1, 1, 2));
  EXPECT_TRUE(node_->followed());
}

TEST_F(LocalTailTest, GathersForSoLong) {
  const auto patient = OpenLocalTail(node_.get(), kNoLsn, kLongMs);
  const auto tail = OpenLocalTail(node_.get(), kNoLsn, kShortMs);
  EXPECT_FALSE(node_->followed());  // nobody waits
  Append(1, 1);
  EXPECT_EQ(patient->Next(0, &frames_), TailLink::Event::kTimeout);  // its time begins
  Append(2, 2);
  EXPECT_EQ(patient->Next(1000, &frames_), TailLink::Event::kTimeout);

  const auto begun = Clock::now();
  EXPECT_EQ(tail->Next(kLongUs, &frames_), TailLink::Event::kFrames);
  EXPECT_GE(Clock::now() - begun, std::chrono::milliseconds(kShortMs));
  EXPECT_EQ(frames_, FrameRange(1, 1, 2));
  EXPECT_EQ(tail->Next(0, &frames_), TailLink::Event::kTimeout);
}

TEST_F(LocalTailTest, WhatWasThereIsReadAtOnce) {
  constexpr Lsn kFrames = 40;
  ASSERT_TRUE(node_->Append({1, kNoLsn, 1, FrameRange(1, 1, kFrames, 100'000)}).ok());  // 4 MB: several pieces
  const auto tail = OpenLocalTail(node_.get(), kNoLsn, kLongMs);
  while (tail->Next(0, &frames_) == TailLink::Event::kFrames) {
  }
  EXPECT_EQ(frames_, FrameRange(1, 1, kFrames, 100'000));
}

TEST_F(LocalTailTest, CancelEndsTheGathering) {
  const auto tail = OpenLocalTail(node_.get(), kNoLsn, kLongMs);
  Append(1, 1);
  std::thread canceller([&tail] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    tail->Cancel();
  });
  const auto begun = Clock::now();
  EXPECT_EQ(tail->Next(kLongUs, &frames_), TailLink::Event::kEnd);
  EXPECT_LT(Clock::now() - begun, std::chrono::milliseconds(kLongMs));
  canceller.join();
  EXPECT_TRUE(frames_.empty());
}

}  // namespace
}  // namespace concord::journal
