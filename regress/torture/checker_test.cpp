// The checker of the torture run itself: each kind of wrong that it is there for must be seen, and a good history must
// pass.
#include "checker.h"

#include <gtest/gtest.h>

namespace torture {
namespace {

class CheckerTest : public testing::Test {
 protected:
  // An insert of the client, sent and answered at these times; `lsn` 0: not in the journal.
  Op& Add(int64_t number, uint64_t lsn, int64_t sent_us, int64_t answered_us,
          Outcome outcome = Outcome::kAcknowledged) {
    Op op;
    op.id = {1, number};
    op.key = number;
    op.outcome = outcome;
    op.sent_us = sent_us;
    op.answered_us = answered_us;
    ops_.push_back(op);
    if (lsn != 0) committed_[op.id] = {op.id, lsn, 1};
    return ops_.back();
  }
  // What the checker says of the history.
  std::string Said() {
    testing::internal::CaptureStderr();
    checker_.CheckHistory(ops_, committed_);
    return testing::internal::GetCapturedStderr();
  }
  std::string Compared(std::vector<std::string> expected, std::vector<std::string> rows) {
    testing::internal::CaptureStderr();
    checker_.CompareRows("items by owner >= 0", std::move(expected), std::move(rows));
    return testing::internal::GetCapturedStderr();
  }

  Checker checker_;
  std::vector<Op> ops_;
  std::map<OpId, Committed> committed_;
};

TEST_F(CheckerTest, AGoodHistoryPasses) {
  Add(1, 100, 10, 20).read_lsn = 150;
  ops_.back().read_us = 25;
  Add(2, 200, 30, 40);
  Add(3, 0, 50, 60, Outcome::kRefused);
  Add(4, 0, 70, 80, Outcome::kUnknown);
  Add(5, 300, 90, 95, Outcome::kUnknown);
  EXPECT_EQ(Said(), "");
  EXPECT_EQ(Compared({"2|1", "1|1"}, {"1|1", "2|1"}), "");
  EXPECT_EQ(checker_.wrongs(), 0);
  EXPECT_EQ(checker_.counts().acknowledged, 2);
  EXPECT_EQ(checker_.counts().unknown_committed, 1);
}

TEST_F(CheckerTest, ALostAcknowledgementIsSeen) {
  Add(1, 100, 10, 20);
  Add(2, 0, 30, 40);
  EXPECT_EQ(Said(), "WRONG: <op 1.2> was acknowledged and is not there\n");
  EXPECT_EQ(checker_.wrongs(), 1);
}

TEST_F(CheckerTest, ARefusedOneThatIsThereIsSeen) {
  Add(1, 100, 10, 20, Outcome::kRefused).error = "40001";
  EXPECT_EQ(Said(), "WRONG: <op 1.1> was refused and is there: 40001\n");
}

TEST_F(CheckerTest, APartIsSeen) {
  Op& op = Add(1, 100, 10, 20);
  op.kind = Kind::kBatch;
  op.amount = 3;
  committed_[op.id].rows = 2;
  EXPECT_EQ(Said(), "WRONG: <op 1.1> has 2 rows instead of 3\n");
}

TEST_F(CheckerTest, WhatNobodyDidIsSeen) {
  committed_[{7, 1}] = {{7, 1}, 100, 1};
  EXPECT_EQ(Said(), "WRONG: <op 7.1> is there, and nobody did it\n");
}

TEST_F(CheckerTest, SwappedLsnsAreSeen) {
  Add(1, 200, 10, 20);
  Add(2, 100, 30, 40);
  EXPECT_EQ(Said(), "WRONG: <op 1.2> was sent after <op 1.1> had its answer, at a higher LSN\n");
}

TEST_F(CheckerTest, OverlappingOnesMayHaveAnyOrder) {
  Add(1, 200, 10, 35);
  Add(2, 100, 30, 40);
  EXPECT_EQ(Said(), "");
}

TEST_F(CheckerTest, AReadLsnBelowItsCommitIsSeen) {
  Add(1, 200, 10, 20).read_lsn = 150;
  ops_.back().read_us = 25;
  EXPECT_EQ(Said(), "WRONG: a read LSN is below the commit of <op 1.1> before it\n");
}

TEST_F(CheckerTest, AReadLsnAboveALaterCommitIsSeen) {
  Add(1, 100, 10, 20).read_lsn = 300;
  ops_.back().read_us = 25;
  Add(2, 200, 30, 40);
  EXPECT_EQ(Said(), "WRONG: <op 1.2> was sent after <op 1.1> had its answer, at a higher LSN\n");
}

TEST_F(CheckerTest, TwoAtOneLsnAreSeen) {
  Add(1, 100, 10, 20);
  Add(2, 100, 15, 20);
  EXPECT_EQ(Said(), "WRONG: two transactions at one LSN: <op 1.2>\n");
}

TEST_F(CheckerTest, AKeyThatWasThereTwiceIsSeen) {
  Add(1, 100, 10, 20);
  Add(2, 200, 30, 40).key = 1;
  EXPECT_EQ(Said(), "WRONG: <op 1.2> inserted key 1, which was there\n");
}

TEST_F(CheckerTest, AMissingIndexEntryIsSeen) {
  EXPECT_EQ(Compared({"1|1", "2|1", "3|1"}, {"3|1", "1|1"}), "WRONG: items by owner >= 0: missing 2|1\n");
  EXPECT_EQ(Compared({"1|1"}, {"1|1", "1|1"}), "WRONG: items by owner >= 0: surplus 1|1\n");
  EXPECT_EQ(checker_.wrongs(), 2);
}

}  // namespace
}  // namespace torture
