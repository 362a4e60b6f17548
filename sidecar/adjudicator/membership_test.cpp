// The journal's members are changed while commits go on.
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <thread>

#include "sidecar/adjudicator/failover_test_util.h"

namespace concord {
namespace {

class MembershipTest : public FailoverTest {
 protected:
  MembershipTest() {
    Membership first{1, {}, 2};
    for (Node& node : nodes_) first.journal.push_back(node.member());
    for (Node* node : {&nodes_[0], &nodes_[1], &nodes_[2], &fourth_, &fifth_}) known_[node->member().address] = node;
    EXPECT_TRUE(metastore_.WriteMembership(first, 0).ok());
  }
  JournalPeer Peer(const Member& member) {
    Node* const node = known_.at(member.address);
    return {node->stub(), member, [node, member](grpc::ClientContext*) {
              return node->member().id == member.id ? Status::Ok() : Status(Code::kInvalid, "another node");
            }};
  }
  std::unique_ptr<Process> StartMember() {
    AdjudicatorService::Options options;
    options.members = [this](JournalEnsemble* ensemble) {
      Membership members;
      const Status status = metastore_.ReadMembership(&members);
      for (const Member& member : members.journal) ensemble->nodes.push_back(Peer(member));
      ensemble->write_quorum = members.write_quorum;
      return status;
    };
    options.connect = [this](const Member& member) { return Peer(member); };
    options.members_poll_ms = 100;
    options.standby = true;
    JournalEnsemble ensemble;
    EXPECT_TRUE(options.members(&ensemble).ok());
    return std::make_unique<Process>(&metastore_, ensemble, options);
  }
  static Status Change(Process* process, const std::vector<Member>& add, const std::vector<Member>& remove,
                       uint32_t write_quorum = 0, int timeout_ms = 60'000) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(timeout_ms));
    proto::ChangeJournalRequest request;
    for (const Member& member : add) {
      request.add_add()->set_id(member.id);
      request.mutable_add(request.add_size() - 1)->set_address(member.address);
    }
    for (const Member& member : remove) request.add_remove(member.id);
    request.set_write_quorum(write_quorum);
    proto::ChangeJournalReply reply;
    return FromGrpc(process->stub->ChangeJournal(&context, request, &reply));
  }
  Membership Members() {
    Membership members;
    EXPECT_TRUE(metastore_.ReadMembership(&members).ok());
    return members;
  }
  Lsn Commit(Process* process, size_t bytes = 8) {
    Gateway gateway(process);
    const proto::Verdict verdict = gateway.CommitUntilDecided(MakeWriteSet(++token_, {}, bytes));
    EXPECT_EQ(verdict.outcome(), proto::COMMITTED) << verdict.message();
    return verdict.lsn();
  }

  Node fourth_, fifth_;
  std::map<std::string, Node*> known_;
  std::atomic<uint64_t> token_ = 0;
};

TEST_F(MembershipTest, ANodeIsReplacedWhileCommitsGoOn) {
  const auto leader = StartMember();
  ASSERT_TRUE(leader->service.WaitUntilLeading(20'000));
  AwaitAllNodes(leader.get());
  const uint64_t epoch = leader->GetStatus().epoch();
  std::atomic<bool> done = false;
  std::atomic<int> commits = 0;
  std::thread load([&] {
    Gateway gateway(leader.get());
    for (; !done; commits++)
      ASSERT_EQ(gateway.CommitUntilDecided(MakeWriteSet(++token_, {}, 1000)).outcome(), proto::COMMITTED);
  });
  const Status status = Change(leader.get(), {fourth_.member()}, {nodes_[0].member()});
  const int at_change = commits;
  EXPECT_TRUE(WaitFor([&] { return commits > at_change + 10; }));
  done = true;
  load.join();
  ASSERT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(leader->GetStatus().epoch(), epoch);
  EXPECT_EQ(Members().version, 2u);
  EXPECT_EQ(Members().journal, (std::vector<Member>{nodes_[1].member(), nodes_[2].member(), fourth_.member()}));

  // The new one counts, and the old one gets nothing.
  const Lsn old_end = nodes_[0].node()->state().last_lsn;
  nodes_[1].Down();
  const Lsn last = Commit(leader.get());
  EXPECT_EQ(fourth_.node()->state().last_lsn, last);
  EXPECT_EQ(nodes_[0].node()->state().last_lsn, old_end);
  nodes_[1].Up();
}

// The one that takes over knows the new members, also if it has read the old ones before.
TEST_F(MembershipTest, TheNextLeaderHasTheNewMembers) {
  auto first = StartMember();
  ASSERT_TRUE(first->service.WaitUntilLeading(20'000));
  const auto second = StartMember();
  AwaitAllNodes(first.get());
  ASSERT_TRUE(Change(first.get(), {fourth_.member()}, {nodes_[0].member()}).ok());
  AwaitAllNodes(first.get());
  nodes_[0].Down();
  nodes_[1].Down();
  const Lsn last = Commit(first.get());
  const uint64_t token = token_;
  first.reset();
  ASSERT_TRUE(second->service.WaitUntilLeading(20'000));
  Gateway gateway(second.get());
  EXPECT_EQ(gateway.CommitUntilDecided(MakeWriteSet(token, {})).lsn(), last);
}

TEST_F(MembershipTest, TheEnsembleGrowsAndShrinks) {
  const auto leader = StartMember();
  ASSERT_TRUE(leader->service.WaitUntilLeading(20'000));
  AwaitAllNodes(leader.get());
  ASSERT_TRUE(Change(leader.get(), {fourth_.member(), fifth_.member()}, {}).ok());
  EXPECT_EQ(Members().write_quorum, 3u);
  EXPECT_EQ(Members().journal.size(), 5u);
  nodes_[0].Down();
  nodes_[1].Down();
  Commit(leader.get());
  nodes_[0].Up();
  nodes_[1].Up();
  AwaitAllNodes(leader.get());
  ASSERT_TRUE(Change(leader.get(), {}, {nodes_[0].member(), nodes_[1].member(), nodes_[2].member()}, 2).ok());
  EXPECT_EQ(Members().journal, (std::vector<Member>{fourth_.member(), fifth_.member()}));
  for (Node& node : nodes_) node.Down();
  Commit(leader.get());
}

TEST_F(MembershipTest, ANewNodeBeginsWhereTheOthersHaveTrimmed) {
  const auto leader = StartMember();
  ASSERT_TRUE(leader->service.WaitUntilLeading(20'000));
  AwaitAllNodes(leader.get());
  for (int i = 0; i < 40; i++) Commit(leader.get(), 20'000);
  const Lsn checkpoint = Commit(leader.get());
  for (Node& node : nodes_) {
    ASSERT_TRUE(WaitFor([&] { return node.node()->state().committed_lsn >= checkpoint || Commit(leader.get()) == 0; }));
    Lsn trimmed = kNoLsn;
    ASSERT_TRUE(node.node()->ReportCheckpoint("replica", checkpoint, 600'000, &trimmed).ok());
    ASSERT_GT(trimmed, kNoLsn);
  }
  ASSERT_TRUE(Change(leader.get(), {fourth_.member()}, {nodes_[0].member()}).ok());
  EXPECT_GT(fourth_.node()->state().base_lsn, kNoLsn);
  nodes_[1].Down();
  const Lsn last = Commit(leader.get());
  EXPECT_EQ(fourth_.node()->state().last_lsn, last);
}

// A member that was away for so long that the others have trimmed what it lacks.
TEST_F(MembershipTest, ANodeThatWasAwayForLongBeginsAnew) {
  const auto leader = StartMember();
  ASSERT_TRUE(leader->service.WaitUntilLeading(20'000));
  AwaitAllNodes(leader.get());
  Commit(leader.get());
  nodes_[0].Down();
  for (int i = 0; i < 40; i++) Commit(leader.get(), 20'000);
  const Lsn checkpoint = Commit(leader.get());
  for (Node* node : {&nodes_[1], &nodes_[2]}) {
    ASSERT_TRUE(
        WaitFor([&] { return node->node()->state().committed_lsn >= checkpoint || Commit(leader.get()) == 0; }));
    Lsn trimmed = kNoLsn;
    ASSERT_TRUE(node->node()->ReportCheckpoint("replica", checkpoint, 600'000, &trimmed).ok());
    ASSERT_GT(trimmed, kNoLsn);
  }
  nodes_[0].Up();
  const Lsn last = Commit(leader.get());
  EXPECT_TRUE(WaitFor([&] { return nodes_[0].node()->state().last_lsn >= last; }));
  EXPECT_GT(nodes_[0].node()->state().base_lsn, kNoLsn);
}

TEST_F(MembershipTest, AChangeThatCannotBeLeavesAllAsItIs) {
  const auto leader = StartMember();
  ASSERT_TRUE(leader->service.WaitUntilLeading(20'000));
  const auto standby = StartMember();
  AwaitAllNodes(leader.get());
  EXPECT_EQ(Change(standby.get(), {fourth_.member()}, {}).code(), Code::kStaleEpoch);
  EXPECT_EQ(Change(leader.get(), {}, {fourth_.member()}).code(), Code::kConflict) << "no member";
  EXPECT_EQ(Change(leader.get(), {nodes_[0].member()}, {}).code(), Code::kInvalid) << "a member already";
  EXPECT_EQ(Change(leader.get(), {fourth_.member()}, {}, 2).code(), Code::kInvalid) << "half is not enough";
  EXPECT_EQ(Change(leader.get(), {{fifth_.member().id, fourth_.member().address}}, {}).code(), Code::kInvalid)
      << "another node";
  // It does not come, so the operator gives up.
  fourth_.Hang(true);
  EXPECT_FALSE(Change(leader.get(), {fourth_.member()}, {nodes_[0].member()}, 0, 1500).ok());
  const auto nodes_written = [&](int count) {
    return WaitFor([&] { return leader->GetStatus().journal_size() == count; });
  };
  EXPECT_TRUE(nodes_written(3)) << "given up";
  // Another one is under way.
  std::thread other([&] { (void)Change(leader.get(), {fourth_.member()}, {nodes_[0].member()}, 0, 5000); });
  EXPECT_TRUE(nodes_written(4));
  EXPECT_EQ(Change(leader.get(), {fifth_.member()}, {nodes_[0].member()}).code(), Code::kConflict);
  other.join();
  EXPECT_TRUE(nodes_written(3)) << "given up";
  fourth_.Hang(false);

  EXPECT_EQ(Members().journal.size(), 3u);
  nodes_[1].Down();
  Commit(leader.get());
  nodes_[1].Up();
  AwaitAllNodes(leader.get());
  EXPECT_TRUE(WaitFor([&] { return Change(leader.get(), {fourth_.member()}, {nodes_[0].member()}).ok(); }));
}

TEST_F(MembershipTest, TheMetastoreIsAskedUntilItAnswers) {
  const auto leader = StartMember();
  ASSERT_TRUE(leader->service.WaitUntilLeading(20'000));
  AwaitAllNodes(leader.get());
  metastore_.RefuseNextWrite();
  ASSERT_TRUE(Change(leader.get(), {fourth_.member()}, {nodes_[0].member()}).ok());
  EXPECT_EQ(Members().version, 2u);
  metastore_.LoseNextAnswer();
  ASSERT_TRUE(Change(leader.get(), {fifth_.member()}, {nodes_[1].member()}).ok());
  EXPECT_EQ(Members().version, 3u);
  EXPECT_EQ(Members().journal, (std::vector<Member>{nodes_[2].member(), fourth_.member(), fifth_.member()}));
}

// Another one has won an epoch, with the members of before: they stay.
TEST_F(MembershipTest, NobodyButTheNewestLeaderChangesThem) {
  const auto leader = StartMember();
  ASSERT_TRUE(leader->service.WaitUntilLeading(20'000));
  AwaitAllNodes(leader.get());
  uint64_t epoch = 0;
  ASSERT_TRUE(
      metastore_.AcquireLeadership({0, "another", "unix:/another"}, leader->GetStatus().epoch(), 0, &epoch).ok());
  EXPECT_EQ(Change(leader.get(), {fourth_.member()}, {nodes_[0].member()}).code(), Code::kConflict);
  EXPECT_EQ(Members().version, 1u);
  // It cannot know what a transaction of its own came to, so it ends its term, and reads the members anew.
  ASSERT_TRUE(WaitFor([&] { return leader->GetStatus().leads() && leader->GetStatus().epoch() > epoch; }));
  AwaitAllNodes(leader.get());
  nodes_[1].Down();
  Commit(leader.get());
}

}  // namespace
}  // namespace concord
