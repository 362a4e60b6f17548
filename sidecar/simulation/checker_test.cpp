// The checker is given wrong histories of each kind, and one that is right.
#include "sidecar/simulation/checker.h"

#include <gtest/gtest.h>

#include "core/frame.h"
#include "core/key.h"

namespace concord::simulation {
namespace {

class CheckerTest : public ::testing::Test {
 protected:
  // Appends to row 1, having read `seen` of it at `read_lsn`.
  Transaction& Append(Lsn read_lsn, const List& seen, Lsn lsn) {
    Transaction transaction;
    transaction.number = history_.transactions.size() + 1;
    transaction.token[0] = static_cast<uint8_t>(transaction.number);
    transaction.read_lsn = read_lsn;
    transaction.reads[1] = seen;
    transaction.appends = {1};
    transaction.outcome = Transaction::Outcome::kCommitted;
    transaction.lsn = lsn;
    history_.transactions.push_back(transaction);
    return history_.transactions.back();
  }

  void Record(Lsn lsn, Lsn prev_lsn, const Transaction& transaction) {
    List list = transaction.reads.at(1);
    list.push_back(transaction.number);
    std::string mutations, frame;
    AppendMutation(&mutations, MutationOp::kPut, RowKey(kListStorage, 1), EncodeList(list));
    const char type = static_cast<char>(RecordType::kCommit);
    AppendFrame(&frame, 1, lsn, prev_lsn, {&type, 1},
                EncodeWriteSet(transaction.token, transaction.read_lsn, 0, 0, "", 1, mutations));
    history_.journal[lsn] = frame;
  }

  void Good() {
    Record(10, 0, Append(5, {}, 10));
    Record(20, 10, Append(10, {1}, 20));
  }

  std::string Violation() const {
    const auto violations = Check(history_, nullptr);
    return violations.empty() ? "" : violations[0];
  }

  History history_;
};

TEST_F(CheckerTest, AGoodHistory) {
  Good();
  EXPECT_EQ(Violation(), "");
  Versions versions;
  EXPECT_TRUE(Check(history_, &versions).empty());
  EXPECT_EQ(At(versions, 1, 9), List());
  EXPECT_EQ(At(versions, 1, 19), List({1}));
  EXPECT_EQ(At(versions, 1, 20), List({1, 2}));
  EXPECT_EQ(At(versions, 2, 20), List());
}

TEST_F(CheckerTest, ALostCommit) {
  Good();
  Append(20, {1, 2}, 30);
  EXPECT_NE(Violation().find("is lost"), std::string::npos);
}

TEST_F(CheckerTest, ACommitAtAnotherLsn) {
  Good();
  history_.transactions[1].lsn = 21;
  EXPECT_NE(Violation().find("and is at"), std::string::npos);
}

TEST_F(CheckerTest, ARefusedOneThatIsCommitted) {
  Good();
  history_.transactions[1].outcome = Transaction::Outcome::kRefused;
  EXPECT_NE(Violation().find("was refused"), std::string::npos);
}

TEST_F(CheckerTest, OneCommittedTwice) {
  Good();
  Record(30, 20, history_.transactions[1]);
  EXPECT_NE(Violation().find("committed twice"), std::string::npos);
}

TEST_F(CheckerTest, ALostUpdate) {
  Good();
  Record(30, 20, Append(10, {1}, 30));
  EXPECT_NE(Violation().find("overwrites an update"), std::string::npos);
}

TEST_F(CheckerTest, AGapInTheJournal) {
  Good();
  Record(30, 25, Append(20, {1, 2}, 30));
  EXPECT_NE(Violation().find("gap"), std::string::npos);
}

TEST_F(CheckerTest, ACommitOfNobody) {
  Good();
  history_.transactions.pop_back();
  EXPECT_NE(Violation().find("of nobody"), std::string::npos);
}

TEST_F(CheckerTest, AReadOfAnotherVersion) {
  Good();
  history_.transactions[0].read_lsn = 20;
  EXPECT_NE(Violation().find("reads row 1"), std::string::npos);
}

TEST_F(CheckerTest, AReadBelowWhatWasAcknowledged) {
  Good();
  history_.transactions[1].newest_acknowledged = 11;
  EXPECT_NE(Violation().find("acknowledged before"), std::string::npos);
}

TEST_F(CheckerTest, AReadAboveTheJournal) {
  Good();
  history_.newest_vouched = 21;
  EXPECT_NE(Violation().find("vouched for and is lost"), std::string::npos);
}

TEST_F(CheckerTest, ASerializableOneWhoseReadsChanged) {
  Good();
  Transaction& third = Append(20, {1, 2}, 30);
  Record(30, 20, third);
  // It has read row 2 as well, which nobody has written yet, and which the fourth writes before it commits.
  third.reads[2] = {};
  third.serializable = true;
  EXPECT_EQ(Violation(), "");
  history_.transactions[2].reads[1] = {1};
  history_.transactions[2].read_lsn = 10;
  EXPECT_NE(Violation().find("is serializable"), std::string::npos);
}

TEST_F(CheckerTest, WhatWasMetUnderWay) {
  Good();
  history_.Violation("a part gave up");
  EXPECT_EQ(Violation(), "a part gave up");
}

}  // namespace
}  // namespace concord::simulation
