// Two adjudicators over three real journal nodes: which of them leads, vouches and waits.
#include <gtest/gtest.h>

#include <thread>

#include "sidecar/adjudicator/failover_test_util.h"

namespace concord {
namespace {

TEST_F(FailoverTest, AStandbyLeavesALeaderAloneAndFollowsIt) {
  const auto first = Start();
  ASSERT_TRUE(first->service.WaitUntilLeading(20'000));
  const auto second = Start();
  EXPECT_FALSE(second->service.WaitUntilLeading(1000));
  EXPECT_FALSE(Leads(second.get()));
  EXPECT_TRUE(Leads(first.get()));
  Gateway gateway(first.get());
  EXPECT_EQ(gateway.Commit(MakeWriteSet(1, {})).outcome(), proto::COMMITTED);
  // Who stands by lets nobody in.
  grpc::ClientContext context;
  const auto stream = second->stub->Session(&context);
  proto::SessionReply reply;
  EXPECT_FALSE(stream->Read(&reply));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(FailoverTest, AStandbyTakesOverWithWhatItHasFollowed) {
  auto first = Start();
  ASSERT_TRUE(first->service.WaitUntilLeading(20'000));
  // Who had not followed would know nothing of the tokens: so little is replayed.
  AdjudicatorService::Options options;
  options.takeover.replay_us = 1;
  const auto second = Start(500, options);
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  Lsn last = kNoLsn;
  {
    Gateway gateway(first.get());
    for (uint64_t token = 1; token <= 20; token++) last = gateway.Commit(MakeWriteSet(token, {})).lsn();
  }
  const uint64_t epoch = first->GetStatus().epoch();
  first.reset();
  ASSERT_TRUE(second->service.WaitUntilLeading(20'000));
  EXPECT_GT(second->GetStatus().epoch(), epoch);
  Gateway gateway(second.get());
  for (uint64_t token = 1; token <= 20; token++) {  // each is known, and none is committed twice
    const proto::Verdict verdict = gateway.Commit(MakeWriteSet(token, {}));
    EXPECT_EQ(verdict.outcome(), proto::COMMITTED);
    EXPECT_LE(verdict.lsn(), last);
  }
  EXPECT_GT(gateway.Commit(MakeWriteSet(21, {})).lsn(), last);
}

// However long it stands by, it takes no more memory than a leader.
TEST_F(FailoverTest, AStandbyForgetsAsALeaderDoes) {
  auto first = Start();
  ASSERT_TRUE(first->service.WaitUntilLeading(20'000));
  AdjudicatorService::Options options;
  options.limits.max_tokens = 10;
  const auto second = Start(500, options);
  {
    Gateway gateway(first.get());
    for (uint64_t token = 1; token <= 100; token++) gateway.Commit(MakeWriteSet(token, {}));
  }
  first.reset();
  ASSERT_TRUE(second->service.WaitUntilLeading(20'000));
  // What the standby had not followed yet was not settled at the takeover: it goes with the next commit.
  Gateway(second.get()).Commit(MakeWriteSet(101, {}));
  EXPECT_LE(second->GetStatus().tokens(), 10u);
}

// Whoever answers at a node's address is asked who it is, before it is believed that nobody leads.
TEST_F(FailoverTest, AStandbyBelievesNoStranger) {
  JournalEnsemble strangers = Ensemble();
  for (JournalPeer& peer : strangers.nodes)
    peer.meet = [](grpc::ClientContext*) { return Status(Code::kInvalid, "another node"); };
  AdjudicatorService::Options options;
  options.standby = true;
  const Process standby(&metastore_, strangers, options);
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  Leader newest;
  ASSERT_TRUE(metastore_.ReadLeader(&newest).ok());
  EXPECT_EQ(newest.epoch, 0u);
}

TEST_F(FailoverTest, ALeaderHandsOverToAStandby) {
  constexpr int64_t kLeaseMs = 1000;
  const auto first = Start(kLeaseMs);
  ASSERT_TRUE(first->service.WaitUntilLeading(20'000));
  const auto second = Start(kLeaseMs);
  LsnPageFile page;
  ASSERT_EQ(Offer(first.get(), page.path()), grpc::StatusCode::OK);
  Lsn last = kNoLsn;
  {
    Gateway gateway(first.get());
    last = gateway.Commit(MakeWriteSet(1, {})).lsn();
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(300));  // the standby has asked each node
  grpc::ClientContext context;
  proto::HandOverReply reply;
  ASSERT_TRUE(first->stub->HandOver(&context, {}, &reply).ok());
  EXPECT_EQ(page.committed(), kNoLsn);
  EXPECT_FALSE(Leads(first.get()));
  ASSERT_TRUE(second->service.WaitUntilLeading(20'000));
  Gateway gateway(second.get());
  EXPECT_LE(gateway.Commit(MakeWriteSet(1, {})).lsn(), last);
  EXPECT_FALSE(first->service.WaitUntilLeading(1500));
  EXPECT_TRUE(Leads(second.get()));
  // Who does not lead has nothing to hand over.
  grpc::ClientContext again;
  EXPECT_EQ(first->stub->HandOver(&again, {}, &reply).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
}

TEST_F(FailoverTest, ALeaderWithoutAStandbyLeadsAgainAfterItHasHandedOver) {
  const auto only = Start();
  ASSERT_TRUE(only->service.WaitUntilLeading(20'000));
  const uint64_t epoch = only->GetStatus().epoch();
  grpc::ClientContext context;
  proto::HandOverReply reply;
  ASSERT_TRUE(only->stub->HandOver(&context, {}, &reply).ok());
  EXPECT_EQ(reply.epoch(), epoch);
  for (Node& node : nodes_) {
    EXPECT_EQ(node.node()->writer().lease_left_ms, 0);
    EXPECT_FALSE(node.node()->writer().live);
  }
  ASSERT_TRUE(only->service.WaitUntilLeading(20'000));
  EXPECT_GT(only->GetStatus().epoch(), epoch);
}

TEST_F(FailoverTest, ANodeDownIsNoReasonToTakeOver) {
  const auto first = Start();
  ASSERT_TRUE(first->service.WaitUntilLeading(20'000));
  const auto second = Start();
  AwaitAllNodes(first.get());
  nodes_[2].Down();
  EXPECT_FALSE(second->service.WaitUntilLeading(1000));
  Gateway gateway(first.get());
  EXPECT_EQ(gateway.Commit(MakeWriteSet(1, {})).outcome(), proto::COMMITTED);
}

TEST_F(FailoverTest, WithoutAQuorumNobodyVouchesAndAllGoesOnWhenItIsBack) {
  const auto first = Start();
  ASSERT_TRUE(first->service.WaitUntilLeading(20'000));
  nodes_[1].Down();
  nodes_[2].Down();
  EXPECT_TRUE(WaitFor([&] { return !Leads(first.get()); }));
  EXPECT_FALSE(first->service.WaitUntilLeading(500));
  nodes_[1].Up();
  EXPECT_TRUE(first->service.WaitUntilLeading(20'000));
  Gateway gateway(first.get());
  EXPECT_EQ(gateway.CommitUntilDecided(MakeWriteSet(1, {})).outcome(), proto::COMMITTED);
}

TEST_F(FailoverTest, ANodeThatComesBackCatchesUp) {
  const auto leader = Start();
  ASSERT_TRUE(leader->service.WaitUntilLeading(20'000));
  Gateway gateway(leader.get());
  uint64_t token = 0;
  const auto commit = [&] {
    const proto::Verdict verdict = gateway.CommitUntilDecided(MakeWriteSet(++token, {}, 1000));
    EXPECT_EQ(verdict.outcome(), proto::COMMITTED) << verdict.message();
    return verdict.lsn();
  };
  const uint64_t epoch = leader->GetStatus().epoch();
  AwaitAllNodes(leader.get());
  // Each in turn, so that no two nodes would do without the third that has come back.
  for (int down = 0; down < 3; down++) {
    nodes_[down].Down();
    for (int i = 0; i < 20; i++) commit();
    nodes_[down].Up();
    const Lsn last = commit();
    EXPECT_TRUE(WaitFor([&] { return nodes_[down].node()->state().last_lsn >= last; })) << down;
    AwaitAllNodes(leader.get());
  }
  EXPECT_EQ(leader->GetStatus().epoch(), epoch);
}

// The nodes cannot tell a leader that has died from one that is cut off, so its lease is waited for.
TEST_F(FailoverTest, ANewLeaderWaitsForTheLeaseOfTheOldOne) {
  constexpr int64_t kLeaseMs = 900;
  auto first = Start(kLeaseMs);
  ASSERT_TRUE(first->service.WaitUntilLeading(20'000));
  const auto second = Start(kLeaseMs);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  const auto ended = Clock::now();  // the last lease was asked for at most two fifths of it ago
  first.reset();
  ASSERT_TRUE(second->service.WaitUntilLeading(20'000));
  EXPECT_GE(MsSince(ended), kLeaseMs / 2);
}

// Of three nodes one does not answer anybody, and keeps its connections: nobody waits for it.
TEST_F(FailoverTest, ANodeThatHangsHoldsUpNoTakeover) {
  auto first = Start();
  ASSERT_TRUE(first->service.WaitUntilLeading(20'000));
  const auto second = Start();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  nodes_[1].Hang(true);
  const auto begin = Clock::now();
  first.reset();
  EXPECT_TRUE(second->service.WaitUntilLeading(20'000));
  EXPECT_LT(MsSince(begin), 2900);  // less than the call to the node that hangs takes to fail
  Gateway gateway(second.get());
  EXPECT_EQ(gateway.CommitUntilDecided(MakeWriteSet(1, {})).outcome(), proto::COMMITTED);
  nodes_[1].Hang(false);
}

class LeaseTest : public AdjudicatorServiceTest {};

// The journal hears nothing and says nothing, as when the network is cut: the leader does not know that it is none.
TEST_F(LeaseTest, ALeaderVouchesForNothingWhenItsLeaseIsOver) {
  Process process(&metastore_, One());
  ASSERT_TRUE(process.service.WaitUntilLeading(20'000));
  LsnPageFile page;
  ASSERT_EQ(Offer(&process, page.path()), grpc::StatusCode::OK);
  const auto vouches = [&] {
    grpc::ClientContext context;
    proto::ReadLsnReply reply;
    return process.stub->ReadLsn(&context, {}, &reply).ok();
  };
  const auto become = [&](bool wanted) {
    for (const auto begin = Clock::now(); MsSince(begin) < 20'000;) {
      if (vouches() == wanted && (page.committed() != kNoLsn) == wanted) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  };
  EXPECT_TRUE(become(true));
  std::this_thread::sleep_for(std::chrono::milliseconds(1500));  // it is renewed without any commit
  EXPECT_TRUE(vouches());
  journal_.Hold(true);
  EXPECT_TRUE(become(false));
  EXPECT_TRUE(process.GetStatus().leads());
  journal_.Hold(false);
  EXPECT_TRUE(become(true));
}

// The page of this machine may tell of commits under the next leader already, while sessions with this one last.
TEST_F(LeaseTest, WhatWasReadUnderTheNextLeaderIsNotRefusedByThisOne) {
  Process process(&metastore_, One());
  ASSERT_TRUE(process.service.WaitUntilLeading(20'000));
  LsnPageFile page;
  ASSERT_EQ(Offer(&process, page.path()), grpc::StatusCode::OK);
  std::string mutations;
  AppendMutation(&mutations, MutationOp::kPut, RowKey(1, 7), "v");
  const auto commit = [&](uint64_t token) {
    Gateway gateway(&process);
    return gateway.Commit(EncodeWriteSet(MakeToken(token), Lsn{1} << 63, 0, 0, {}, 1, mutations)).outcome();
  };
  EXPECT_EQ(commit(1), proto::INVALID) << "there is no other leader";
  journal_.Hold(true);
  for (const auto begin = Clock::now(); page.committed() != kNoLsn && MsSince(begin) < 20'000;)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(commit(2), proto::UNAVAILABLE);
  journal_.Hold(false);
}

}  // namespace
}  // namespace concord
