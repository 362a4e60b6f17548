// When the outbox sends and when it holds back.
#include "gateway/outbox.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>

namespace concord {
namespace {

constexpr int kSlots = 600;  // more than go into one message
constexpr size_t kBuffer = 64;

class OutboxTest : public testing::Test {
 protected:
  OutboxTest()
      : memory_(std::aligned_alloc(4096, (cc_channel_size(kSlots, kBuffer) + 4095) / 4096 * 4096), std::free),
        channel_(static_cast<CcChannel*>(memory_.get())) {
    cc_channel_init(channel_, kSlots, kBuffer);
    outbox_ = std::make_unique<Outbox>(*channel_);
  }

  // A backend commits; the pump takes it. The request's id.
  uint64_t Add(int slot, size_t bytes = 5, CcRequestKind kind = CC_REQ_COMMIT) {
    cc_channel_begin(channel_, slot, kind, 5);
    EXPECT_EQ(cc_channel_put(channel_, slot, "hello", 5), 5u);
    Piece piece;
    EXPECT_TRUE(PeekPiece(*channel_, slot, &piece));
    auto request = std::make_shared<OutRequest>();
    request->slot = slot;
    request->sequence = piece.sequence;
    request->kind = kind;
    request->payload().append(bytes, 'x');
    EXPECT_TRUE(ReleasePiece(*channel_, slot, piece));
    outbox_->Add(request);
    return kind == CC_REQ_CHUNK ? request->chunk.request_id() : request->commit.request_id();
  }
  size_t Sent(int64_t now_us) {
    Batch batch;
    outbox_->Fill(&batch, now_us);
    return batch.size();
  }

  const std::unique_ptr<void, decltype(&std::free)> memory_;
  CcChannel* const channel_;
  std::unique_ptr<Outbox> outbox_;
};

TEST_F(OutboxTest, ALoneRequestGoesAtOnce) {
  for (int64_t now = 0; now < 3; now++) {
    const uint64_t id = Add(0);
    EXPECT_EQ(Sent(now), 1u);
    EXPECT_NE(outbox_->Settle(id), nullptr);
  }
}

TEST_F(OutboxTest, FewerThanAreUnderWayAreHeldUntilAnswersCome) {
  const uint64_t first = Add(0), second = Add(1);
  EXPECT_EQ(Sent(10), 2u);
  Add(2);
  EXPECT_EQ(Sent(20), 0u);
  EXPECT_TRUE(outbox_->Holds());
  EXPECT_FALSE(outbox_->NeedsFill(0));
  EXPECT_TRUE(outbox_->NeedsFill(1));  // what waits to be added counts
  EXPECT_NE(outbox_->Settle(first), nullptr);
  EXPECT_TRUE(outbox_->NeedsFill(0));  // one waits, one is under way
  EXPECT_EQ(Sent(30), 1u);
  EXPECT_FALSE(outbox_->Holds());
  EXPECT_NE(outbox_->Settle(second), nullptr);
}

TEST_F(OutboxTest, AsManyAsAreUnderWayGo) {
  Add(0);
  EXPECT_EQ(Sent(10), 1u);
  Add(1);
  EXPECT_EQ(Sent(20), 1u);
  Add(2);
  EXPECT_EQ(Sent(30), 0u);
  Add(3);
  EXPECT_EQ(Sent(40), 2u);
}

TEST_F(OutboxTest, NothingIsHeldForLong) {
  Add(0);
  Add(1);
  EXPECT_EQ(Sent(10), 2u);
  Add(2);
  EXPECT_EQ(Sent(20), 0u);
  EXPECT_EQ(Sent(20 + Outbox::kHoldUs - 1), 0u);
  EXPECT_EQ(Sent(20 + Outbox::kHoldUs), 1u);
}

TEST_F(OutboxTest, ChunksNeitherWaitNorAreWaitedFor) {
  const uint64_t first = Add(0, 5, CC_REQ_CHUNK);
  Add(1, 5, CC_REQ_CHUNK);
  EXPECT_EQ(Sent(10), 2u);
  // A lone commit beside a load.
  const uint64_t commit = Add(2);
  EXPECT_EQ(Sent(20), 1u);
  EXPECT_NE(outbox_->Settle(first), nullptr);
  Add(0, 5, CC_REQ_CHUNK);
  EXPECT_EQ(Sent(30), 1u);
  // What is held back goes with the next chunk.
  Add(3);
  Add(4);
  EXPECT_EQ(Sent(40), 2u);
  Add(5);
  EXPECT_EQ(Sent(50), 0u);
  Add(6, 5, CC_REQ_CHUNK);
  EXPECT_EQ(Sent(60), 2u);
  EXPECT_FALSE(outbox_->Holds());
  EXPECT_NE(outbox_->Settle(commit), nullptr);
}

TEST_F(OutboxTest, WhatIsGivenUpIsNotUnderWay) {
  Add(0);
  Add(1);
  EXPECT_EQ(Sent(10), 2u);
  // Both backends have given up and begun anew.
  Add(0);
  EXPECT_EQ(Sent(20), 1u);
  Add(1);
  EXPECT_EQ(Sent(30), 1u);
}

TEST_F(OutboxTest, ANewSessionSendsAllAtOnce) {
  Add(0);
  Add(1);
  EXPECT_EQ(Sent(10), 2u);
  Add(2);
  EXPECT_EQ(Sent(20), 0u);
  outbox_->SendAllAgain();
  EXPECT_EQ(Sent(30), 3u);
}

TEST_F(OutboxTest, ARetryIsUnderWayOnlyWhenSentAgain) {
  const uint64_t id = Add(0);
  EXPECT_EQ(Sent(10), 1u);
  const OutRequestPtr request = outbox_->Settle(id);
  ASSERT_NE(request, nullptr);
  outbox_->Retry(request, 1000);
  EXPECT_EQ(Sent(500), 0u);
  Add(1);
  EXPECT_EQ(Sent(600), 1u);
  EXPECT_EQ(Sent(1000), 1u);
  EXPECT_EQ(request->sends, 2);
}

TEST_F(OutboxTest, AMessageHasSoManyRequests) {
  static_assert(kSlots > Outbox::kBatchRequestsMax && kSlots < 2 * Outbox::kBatchRequestsMax);
  for (int slot = 0; slot < kSlots; slot++) Add(slot);
  EXPECT_EQ(Sent(0), Outbox::kBatchRequestsMax);
  EXPECT_EQ(Sent(Outbox::kHoldUs), 0u);
  EXPECT_EQ(Sent(2 * Outbox::kHoldUs), kSlots - Outbox::kBatchRequestsMax);
}

TEST_F(OutboxTest, AMessageHasSoManyBytes) {
  for (int slot = 0; slot < 5; slot++) Add(slot, Outbox::kBatchBytesMax / 2 - 1);
  Add(5, 3 * Outbox::kBatchBytesMax);
  // The one that goes over the limit is the last.
  EXPECT_EQ(Sent(0), 3u);
  EXPECT_EQ(Sent(0), 3u);
}

}  // namespace
}  // namespace concord
