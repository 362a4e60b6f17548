#include "sidecar/journal/tail_link.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "sidecar/journal/journal_test_util.h"

namespace concord::journal {
namespace {

constexpr int64_t kLongUs = 600'000'000;
constexpr int kLongMs = 600'000;

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
  constexpr int kGatherMs = 50;
  const auto tail = OpenLocalTail(node_.get(), kNoLsn, kGatherMs);
  EXPECT_FALSE(node_->followed());  // nobody waits
  Append(1, 1);
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(tail->Next(0, &frames_), TailLink::Event::kTimeout);  // the time begins
  Append(2, 2);
  EXPECT_EQ(tail->Next(0, &frames_), TailLink::Event::kTimeout);
  EXPECT_EQ(tail->Next(kLongUs, &frames_), TailLink::Event::kFrames);
  EXPECT_GE(std::chrono::steady_clock::now() - begun, std::chrono::milliseconds(kGatherMs));
  EXPECT_EQ(frames_, FrameRange(1, 1, 2));
  EXPECT_EQ(tail->Next(0, &frames_), TailLink::Event::kTimeout);
}

TEST_F(LocalTailTest, WhatHasGatheredIsReadWithoutPause) {
  constexpr Lsn kFrames = 40;
  Append(1, 1);
  ASSERT_TRUE(node_->Append({1, kNoLsn, 1, FrameRange(1, 2, kFrames, 100'000)}).ok());  // 4 MB: several pieces
  const auto tail = OpenLocalTail(node_.get(), kNoLsn, 50);
  ASSERT_EQ(tail->Next(kLongUs, &frames_), TailLink::Event::kFrames);
  while (tail->Next(0, &frames_) == TailLink::Event::kFrames) {
  }
  EXPECT_EQ(frames_, FrameRange(1, 1, 1) + FrameRange(1, 2, kFrames, 100'000));
}

TEST_F(LocalTailTest, CancelEndsTheGathering) {
  const auto tail = OpenLocalTail(node_.get(), kNoLsn, kLongMs);
  Append(1, 1);
  std::thread canceller([&tail] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    tail->Cancel();
  });
  EXPECT_EQ(tail->Next(kLongUs, &frames_), TailLink::Event::kEnd);
  canceller.join();
  EXPECT_TRUE(frames_.empty());
}

}  // namespace
}  // namespace concord::journal
