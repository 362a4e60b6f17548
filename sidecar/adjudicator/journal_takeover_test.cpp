// Taking over ensembles of several nodes, with tails that differ.
#include "sidecar/adjudicator/journal_takeover.h"

#include <gtest/gtest.h>

#include <random>

#include "sidecar/adjudicator/test_journal.h"

namespace concord {
namespace {

struct Ensemble {
  explicit Ensemble(size_t nodes, uint32_t write_quorum) : nodes_(nodes) {
    journals.write_quorum = write_quorum;
    for (auto& node : nodes_) journals.nodes.push_back(node.stub());
  }
  TestJournal& operator[](size_t i) { return nodes_[i]; }

  Status TakeOver(uint64_t epoch) {
    replayed.clear();
    takeover = std::make_unique<JournalTakeover>(journals, epoch, JournalTakeover::Options{}, &cancellation);
    return takeover->Run([](Lsn) {},
                         [&](const Frame& frame) {
                           replayed.push_back(frame.lsn);
                           return Status::Ok();
                         });
  }

  std::vector<TestJournal> nodes_;
  JournalEnsemble journals;
  Cancellation cancellation;
  std::unique_ptr<JournalTakeover> takeover;
  std::vector<Lsn> replayed;
};

TEST(JournalTakeover, EmptyJournal) {
  Ensemble e(1, 1);
  ASSERT_TRUE(e.TakeOver(1).ok());
  EXPECT_EQ(e.takeover->last_lsn(), kNoLsn);
  EXPECT_TRUE(e.replayed.empty());
}

TEST(JournalTakeover, ReplaysTheWholeTail) {
  Ensemble e(1, 1);
  for (Lsn lsn : {10, 20, 30}) e[0].Put(1, lsn);
  ASSERT_TRUE(e.TakeOver(2).ok());
  EXPECT_EQ(e.replayed, (std::vector<Lsn>{10, 20, 30}));
  EXPECT_EQ(e.takeover->last_lsn(), 30u);
}

TEST(JournalTakeover, ReplaysATrimmedJournalFromItsFirst) {
  Ensemble e(1, 1);
  for (Lsn lsn : {10, 20, 30}) e[0].Put(1, lsn);
  e[0].TrimTo(20);
  const Status status = e.TakeOver(2);
  ASSERT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(e.replayed, (std::vector<Lsn>{30}));
}

TEST(JournalTakeover, ASealedEpochIsTold) {
  Ensemble e(1, 1);
  ASSERT_TRUE(e.TakeOver(7).ok());
  EXPECT_EQ(e.TakeOver(7).code(), Code::kStaleEpoch);
  EXPECT_EQ(e.takeover->sealed_epoch(), 7u);
}

TEST(JournalTakeover, ANodeOfAnotherClusterIsNotSealed) {
  Ensemble e(3, 2);
  const auto refuse = [](grpc::ClientContext*) { return Status(Code::kInvalid, "of another cluster"); };
  e.journals.nodes[1].meet = refuse;
  ASSERT_TRUE(e.TakeOver(5).ok());
  EXPECT_EQ(e.takeover->members().size(), 2u);
  e.journals.nodes[1].meet = {};
  ASSERT_TRUE(e.TakeOver(6).ok());
  Ensemble one(1, 1);
  one.journals.nodes[0].meet = refuse;
  const Status status = one.TakeOver(5);
  EXPECT_NE(status.message().find("of another cluster"), std::string::npos) << status.ToString();
  one.journals.nodes[0].meet = {};
  EXPECT_TRUE(one.TakeOver(1).ok()) << "no epoch was told to it";
}

TEST(JournalTakeover, TooFewNodes) {
  Ensemble e(3, 2);
  e[0].SetUnreachable(true);
  e[2].SetUnreachable(true);
  EXPECT_EQ(e.TakeOver(1).code(), Code::kNoQuorum);
  e[2].SetUnreachable(false);
  EXPECT_TRUE(e.TakeOver(2).ok());
  Ensemble half(2, 1);
  EXPECT_EQ(half.TakeOver(1).code(), Code::kInvalid);
}

TEST(JournalTakeover, DivergentTailsAreCutAndMissingOnesFilled) {
  Ensemble e(3, 2);
  for (int i = 0; i < 3; i++) {
    e[i].Put(1, 10);
    e[i].Put(1, 20);
    e[i].SetCommitted(10);
  }
  e[0].Put(1, 30);  // the leader of 1 reached only this node
  e[0].Put(1, 40);
  e[1].Put(2, 35);  // the leader of 2 never heard of that
  ASSERT_TRUE(e.TakeOver(3).ok());
  EXPECT_EQ(e[1].log().back().lsn, 35u);
  EXPECT_EQ(e[0].log(), e[1].log());
  EXPECT_EQ(e[2].log(), e[1].log());
  EXPECT_EQ(e.takeover->members().size(), 3u);
  EXPECT_EQ(e.replayed, (std::vector<Lsn>{10, 20, 35}));
}

TEST(JournalTakeover, ANodeTooFarBehindATrimmedSourceIsLeftOut) {
  Ensemble e(3, 2);
  for (int i = 0; i < 2; i++) {
    for (Lsn lsn : {10, 20, 30}) e[i].Put(1, lsn);
    e[i].TrimTo(20);
  }
  e[2].Put(1, 10);
  ASSERT_TRUE(e.TakeOver(2).ok());
  EXPECT_EQ(e.takeover->members().size(), 2u);
  EXPECT_EQ(e[2].log().size(), 1u);
}

// Leaders come and go at random, reaching random nodes; what reached a write quorum is never lost.
TEST(JournalTakeover, CommittedRecordsSurviveRandomLeaders) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  Ensemble e(3, 2);
  std::vector<Lsn> committed;
  Lsn lsn = 0;
  for (uint64_t epoch = 1; epoch <= 30; epoch++) {
    const size_t away = random() % 4;
    for (size_t i = 0; i < 3; i++) e[i].SetUnreachable(i == away);
    const Status status = e.TakeOver(epoch);
    ASSERT_TRUE(status.ok()) << status.ToString();
    for (const Lsn known : committed)
      ASSERT_NE(std::find(e.replayed.begin(), e.replayed.end(), known), e.replayed.end()) << known << " is lost";
    // This leader appends; each next record reaches no more nodes than the one before.
    std::vector<size_t> reached;
    for (size_t i = 0; i < 3; i++) {
      if (i != away) reached.push_back(i);
    }
    std::shuffle(reached.begin(), reached.end(), random);
    for (uint64_t n = random() % 5; n > 0 && !reached.empty(); n--) {
      lsn += 1 + random() % 10;
      for (const size_t i : reached) e[i].Put(epoch, lsn);
      if (reached.size() >= 2) committed.push_back(lsn);
      if (random() % 2 == 0) reached.pop_back();
    }
  }
}

}  // namespace
}  // namespace concord
