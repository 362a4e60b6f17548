#include "sidecar/journal/writer_lease.h"

#include <gtest/gtest.h>

namespace concord::journal {
namespace {

TEST(WriterLease, LastsFromTheLastMessage) {
  WriterLease lease(0, 1000);
  EXPECT_EQ(lease.LeftMs(1000), 0);
  EXPECT_FALSE(lease.Live(1000));
  lease.Seal(1, 1000);
  lease.Hear(1, 500, 1000);
  lease.Hear(1, 500, 1200);
  EXPECT_EQ(lease.LeftMs(1300), 400);
  EXPECT_EQ(lease.lease_epoch(), 1u);
  EXPECT_EQ(lease.LeftMs(1700), 0);
}

TEST(WriterLease, OutlastsTheSealThatEndsItsEpoch) {
  WriterLease lease(0, 0);
  lease.Seal(1, 0);
  lease.Hear(1, 500, 100);
  lease.Seal(2, 200);
  EXPECT_EQ(lease.LeftMs(200), 400);
  EXPECT_EQ(lease.lease_epoch(), 1u);
  lease.Hear(1, 500, 300);  // fenced: nothing is added
  EXPECT_EQ(lease.LeftMs(300), 300);
  lease.Hear(2, 500, 700);
  EXPECT_EQ(lease.lease_epoch(), 2u);
  EXPECT_EQ(lease.LeftMs(700), 500);
}

// A third leader that seals before the second has begun must wait for the first one's lease, and does not take it for
// the second one's.
TEST(WriterLease, OfTwoSealsTheNewerEpochMayHaveIt) {
  WriterLease lease(0, 0);
  lease.Seal(1, 0);
  lease.Hear(1, 500, 100);
  lease.Seal(2, 150);
  lease.Seal(3, 200);
  EXPECT_EQ(lease.LeftMs(200), 400);
  EXPECT_EQ(lease.lease_epoch(), 2u);
}

TEST(WriterLease, ANodeThatHasForgottenCountsTheLongest) {
  WriterLease lease(7, 5000);
  lease.Seal(8, 5200);
  EXPECT_EQ(lease.LeftMs(5200), WriterLease::kLeaseMsMax - 200);
  EXPECT_EQ(lease.lease_epoch(), 7u);
}

TEST(WriterLease, NoLeaseIsLongerThanThat) {
  WriterLease lease(0, 0);
  lease.Seal(1, 0);
  lease.Hear(1, 60'000, 0);
  EXPECT_EQ(lease.LeftMs(0), WriterLease::kLeaseMsMax);
}

TEST(WriterLease, WhatIsGivenBackIsOver) {
  WriterLease lease(1, 0);
  lease.Seal(2, 0);
  lease.Release(1);  // not the writer
  EXPECT_EQ(lease.LeftMs(0), WriterLease::kLeaseMsMax);
  lease.Hear(2, 500, 2000);
  lease.Release(2);
  EXPECT_EQ(lease.LeftMs(2000), 0);
  EXPECT_FALSE(lease.Live(2000));
}

TEST(WriterLease, AWriterIsThereUntilItIsSilentOrLeaves) {
  WriterLease lease(0, 0);
  lease.Seal(1, 0);
  EXPECT_TRUE(lease.Live(WriterLease::kTakeoverMs - 1));
  EXPECT_FALSE(lease.Live(WriterLease::kTakeoverMs));
  lease.Hear(1, 500, 2000);
  EXPECT_TRUE(lease.Live(2000 + WriterLease::kSilenceMs - 1));
  EXPECT_FALSE(lease.Live(2000 + WriterLease::kSilenceMs));
  lease.Hear(1, 500, 3000);
  lease.Leave(1);
  EXPECT_FALSE(lease.Live(3000));
  EXPECT_EQ(lease.LeftMs(3000), 500);
  lease.Seal(2, 3000);
  lease.Leave(1);  // the old stream's end comes late
  EXPECT_TRUE(lease.Live(3000));
}

}  // namespace
}  // namespace concord::journal
