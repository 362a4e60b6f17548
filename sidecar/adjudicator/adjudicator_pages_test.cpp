// LSN pages, and a replica beside the service for which verdicts wait.
#include "sidecar/adjudicator/adjudicator_test_util.h"
#include "sidecar/metastore/atomic_file.h"

namespace concord {
namespace {

TEST_F(AdjudicatorServiceTest, PagesShowWhatIsCommittedBeforeItsVerdict) {
  LsnPageFile page;
  const std::string registry = page.path() + ".registry";
  AdjudicatorService::Options options;
  options.page_registry = registry;
  {
    Process process(&metastore_, One(), options);
    ASSERT_TRUE(process.service.WaitUntilLeading(60000));
    EXPECT_EQ(page.committed(), kNoLsn);
    ASSERT_EQ(Offer(&process, page.path()), grpc::StatusCode::OK);
    EXPECT_EQ(page.committed(), process.GetStatus().committed_lsn());
    Gateway gateway(&process);
    for (uint64_t i = 1; i <= 200; i++) {
      const Lsn lsn = gateway.Commit(MakeWriteSet(i, {})).lsn();
      ASSERT_GE(page.committed(), lsn);
    }
    // Stepping down withdraws it, leading again vouches anew.
    journal_.FailAfter(0, {Code::kIoError, "planted"});
    EXPECT_EQ(gateway.Commit(MakeWriteSet(1000, {})).outcome(), proto::IN_DOUBT);
    EXPECT_EQ(page.committed(), kNoLsn);
    journal_.Heal();
    const auto verdict = gateway.CommitUntilDecided(MakeWriteSet(1000, {}));
    EXPECT_GE(page.committed(), verdict.lsn());
    // Bad offers.
    EXPECT_EQ(Offer(&process, "relative"), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_EQ(Offer(&process, page.path() + ".none"), grpc::StatusCode::NOT_FOUND);
    ASSERT_EQ(ftruncate(page.fd(), 100), 0);
    EXPECT_EQ(Offer(&process, page.path()), grpc::StatusCode::INVALID_ARGUMENT);
    std::this_thread::sleep_for(std::chrono::milliseconds(LsnPages::kRenewMs + 200));  // the cut one is dropped
    ASSERT_EQ(ftruncate(page.fd(), kLsnPageSize), 0);
    EXPECT_EQ(Offer(&process, page.path()), grpc::StatusCode::OK);
    // A file of the right size that is something else is left as it is; a link is not followed.
    const std::string foreign = page.path() + ".foreign", link = page.path() + ".link";
    const std::string content(kLsnPageSize, 'x');
    ASSERT_TRUE(ReplaceFile(foreign, content).ok());
    EXPECT_EQ(Offer(&process, foreign), grpc::StatusCode::INVALID_ARGUMENT);
    ASSERT_EQ(symlink(page.path().c_str(), link.c_str()), 0);
    EXPECT_EQ(Offer(&process, link), grpc::StatusCode::NOT_FOUND);
    EXPECT_EQ(Offer(&process, "/dev/zero"), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_EQ(Offer(&process, std::string("/\n")), grpc::StatusCode::INVALID_ARGUMENT);
    std::string now;
    ASSERT_TRUE(ReadSmallFile(foreign, &now).ok());
    EXPECT_EQ(now, content);
    unlink(foreign.c_str());
    unlink((foreign + ".new").c_str());
    unlink(link.c_str());
  }
  EXPECT_EQ(page.committed(), kNoLsn);
  unlink(registry.c_str());
  unlink((registry + ".new").c_str());
}

// A replica beside the service: its thread is the test's.
class LocalReplicaTest : public AdjudicatorServiceTest {
 protected:
  void Lead(int grace_ms, size_t max_unapplied_bytes = 8u << 20, int unapplied_wait_ms = 60000) {
    AdjudicatorService::Options options;
    options.apply_grace_ms = grace_ms;
    options.max_unapplied_bytes = max_unapplied_bytes;
    options.unapplied_wait_ms = unapplied_wait_ms;
    options.full_tick_ms = 30;
    options.lease_ms = 0;  // as of the journal beside it
    process_ = std::make_unique<Process>(&metastore_, One(), options);
    ASSERT_TRUE(process_->service.WaitUntilLeading(60000));
    ASSERT_EQ(Offer(process_.get(), page_.path()), grpc::StatusCode::OK);
    gateway_ = std::make_unique<Gateway>(process_.get());
  }
  ~LocalReplicaTest() override {
    gateway_.reset();
    process_.reset();
  }
  // Until the journal has `records`, and the service has heard of it as far as one can tell.
  Lsn AwaitDurable(size_t records) {
    while (journal_.log().size() < records) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    return journal_.log().back().lsn;
  }

  static constexpr int kNever = 1000000;
  LsnPageFile page_;
  std::unique_ptr<Process> process_;
  std::unique_ptr<Gateway> gateway_;
};

TEST_F(LocalReplicaTest, VerdictsAndPagesWaitForIt) {
  Lead(kNever);
  const Lsn start = journal_.log().back().lsn;
  process_->service.OnLocalApplied(start);
  const uint64_t first = gateway_->Send(MakeWriteSet(1, {}));
  const Lsn first_lsn = AwaitDurable(2);
  EXPECT_EQ(page_.committed(), start);
  const uint64_t second = gateway_->Send(MakeWriteSet(2, {}));
  const uint64_t resent = gateway_->Send(MakeWriteSet(1, {}));  // durable, and owed all the same
  const Lsn second_lsn = AwaitDurable(3);
  EXPECT_EQ(page_.committed(), start);
  EXPECT_EQ(process_->GetStatus().committed_lsn(), start);
  EXPECT_TRUE(gateway_->order().empty());
  process_->service.OnLocalApplied(first_lsn);
  EXPECT_EQ(gateway_->Wait(first).lsn(), first_lsn);
  EXPECT_EQ(gateway_->Wait(resent).lsn(), first_lsn);
  EXPECT_EQ(gateway_->order().size(), 2u);
  EXPECT_EQ(page_.committed(), first_lsn);
  process_->service.OnLocalApplied(second_lsn);
  EXPECT_EQ(gateway_->Wait(second).lsn(), second_lsn);
  EXPECT_EQ(page_.committed(), second_lsn);
}

TEST_F(LocalReplicaTest, VerdictsGoWithoutItWhenTheGraceIsOver) {
  Lead(20);
  process_->service.OnLocalApplied(journal_.log().back().lsn);  // and never again
  for (uint64_t i = 1; i <= 10; i++) {
    const auto verdict = gateway_->Commit(MakeWriteSet(i, {}));
    ASSERT_EQ(verdict.outcome(), proto::COMMITTED);
    ASSERT_GE(page_.committed(), verdict.lsn());
  }
}

TEST_F(LocalReplicaTest, ThePageIsNeverBelowAnAnsweredVerdict) {
  Lead(5);
  std::jthread replica([&](std::stop_token stop) {
    for (uint64_t round = 0; !stop.stop_requested(); round++) {
      const auto log = journal_.log();
      process_->service.OnLocalApplied(log[log.size() - 1 - round % std::min<size_t>(log.size(), 4)].lsn);
      if (round % 50 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(15));  // later than the grace
    }
  });
  for (uint64_t i = 1; i <= 200; i++) {
    const Lsn lsn = gateway_->Commit(MakeWriteSet(i, {})).lsn();
    ASSERT_GE(page_.committed(), lsn);
  }
  EXPECT_TRUE(std::is_sorted(gateway_->order().begin(), gateway_->order().end()));
}

TEST_F(LocalReplicaTest, WhatIsDurableIsAnsweredWhenTheTermEnds) {
  Lead(kNever);
  process_->service.OnLocalApplied(journal_.log().back().lsn);
  const uint64_t durable = gateway_->Send(MakeWriteSet(1, {}));
  AwaitDurable(2);
  journal_.FailAfter(0, {Code::kIoError, "planted"});
  const uint64_t lost = gateway_->Send(MakeWriteSet(2, {}));
  EXPECT_EQ(gateway_->Wait(durable).outcome(), proto::COMMITTED);
  EXPECT_EQ(gateway_->Wait(lost).outcome(), proto::IN_DOUBT);
  journal_.Heal();
  // A new term does not wait for what the replica has still to do of the old one.
  ASSERT_TRUE(process_->service.WaitUntilLeading(60000));
  EXPECT_EQ(gateway_->Commit(MakeWriteSet(1, {})).outcome(), proto::COMMITTED);
}

// What a commit has staged will need its room at once. So it is not decided before the replica has the chunks, and has
// said whether there is room for them.
TEST_F(LocalReplicaTest, ACommitIsNotDecidedBeforeTheReplicaHasItsChunks) {
  Lead(20);
  process_->service.OnLocalRoom(nullptr, /*stuck=*/false, /*scarce=*/true);
  process_->service.OnLocalApplied(journal_.log().back().lsn);
  std::string mutation;
  AppendMutation(&mutation, MutationOp::kPut, RowKey(1, 1), "value");
  const auto commit = [](uint64_t token) { return EncodeWriteSet(MakeToken(token), 0, 1, 0, "", 0, ""); };

  const uint64_t chunk = gateway_->SendChunk(EncodeChunk(MakeToken(1), 0, 0, mutation));
  const Lsn staged = AwaitDurable(2);
  EXPECT_EQ(gateway_->Commit(commit(1)).outcome(), proto::IN_DOUBT);
  EXPECT_EQ(Commits(1), 0u);
  EXPECT_TRUE(gateway_->order().empty());  // the chunk is not answered either
  process_->service.OnLocalApplied(staged);
  EXPECT_EQ(gateway_->Wait(chunk).outcome(), proto::COMMITTED);
  EXPECT_EQ(gateway_->Commit(commit(1)).outcome(), proto::COMMITTED);

  const uint64_t too_much = gateway_->SendChunk(EncodeChunk(MakeToken(2), 0, 0, mutation));
  const Lsn full = AwaitDurable(4);
  process_->service.OnLocalRoom("planted", /*stuck=*/false, /*scarce=*/true);
  process_->service.OnLocalApplied(full);
  EXPECT_EQ(gateway_->Wait(too_much).outcome(), proto::COMMITTED);
  EXPECT_EQ(gateway_->Commit(commit(2)).outcome(), proto::NO_SPACE);
  EXPECT_EQ(Commits(2), 0u);
  // One that can never be committed is not to be asked again.
  process_->service.OnLocalRoom(nullptr, /*stuck=*/false, /*scarce=*/true);
  gateway_->SendChunk(EncodeChunk(MakeToken(4), 0, 0, mutation));
  EXPECT_EQ(gateway_->Commit(EncodeWriteSet(MakeToken(4), 0, 2, 0, "", 0, "")).outcome(), proto::INVALID);
  process_->service.OnLocalApplied(AwaitDurable(5));
  // Nobody waits for what is applied at once: there is room for that.
  EXPECT_EQ(gateway_->Wait(gateway_->SendChunk(EncodeChunk(MakeToken(3), 0, kChunkImmediate, mutation))).outcome(),
            proto::COMMITTED);
}

// The room that the replica keeps in hand is for so much that it has not applied yet, and no more.
TEST_F(LocalReplicaTest, NoMoreIsDecidedThanTheReplicaHasRoomForInHand) {
  Lead(20, 1u << 20);
  process_->service.OnLocalRoom(nullptr, /*stuck=*/false, /*scarce=*/true);
  process_->service.OnLocalApplied(journal_.log().back().lsn);
  std::vector<uint64_t> sent;
  for (uint64_t i = 1; i <= 10; i++) sent.push_back(gateway_->Send(MakeWriteSet(i, {}, 300 << 10)));
  gateway_->Wait(sent[3]);  // not applied, but the grace is over
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_EQ(journal_.log().size(), 5u);  // with the record that starts the epoch
  for (size_t i = 4; i < sent.size(); i++) {
    process_->service.OnLocalApplied(journal_.log().back().lsn);
    EXPECT_EQ(gateway_->Wait(sent[i]).outcome(), proto::COMMITTED);
  }
  // A full replica does not keep anybody waiting.
  for (uint64_t i = 11; i <= 20; i++) sent.push_back(gateway_->Send(MakeWriteSet(i, {}, 300 << 10)));
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  process_->service.OnLocalRoom("planted", /*stuck=*/false, /*scarce=*/true);
  EXPECT_EQ(gateway_->Wait(sent.back()).outcome(), proto::NO_SPACE);
}

TEST_F(LocalReplicaTest, AReplicaThatDoesNotFollowIsWaitedForOnce) {
  Lead(20, 1u << 20, /*unapplied_wait_ms=*/50);
  process_->service.OnLocalRoom(nullptr, /*stuck=*/false, /*scarce=*/true);
  process_->service.OnLocalApplied(journal_.log().back().lsn);
  for (uint64_t i = 1; i <= 4; i++)
    ASSERT_EQ(gateway_->Commit(MakeWriteSet(i, {}, 300 << 10)).outcome(), proto::COMMITTED);
  for (uint64_t i = 5; i <= 100; i++) ASSERT_EQ(gateway_->Commit(MakeWriteSet(i, {})).outcome(), proto::NO_SPACE);
  EXPECT_EQ(Commits(5), 0u);
  process_->service.OnLocalApplied(journal_.log().back().lsn);
  EXPECT_EQ(gateway_->Commit(MakeWriteSet(5, {})).outcome(), proto::COMMITTED);
}

TEST_F(LocalReplicaTest, WhereThereIsPlentyOfRoomNobodyWaitsForTheReplica) {
  Lead(20, 1u << 20);
  process_->service.OnLocalRoom(nullptr, /*stuck=*/false, /*scarce=*/false);
  process_->service.OnLocalApplied(journal_.log().back().lsn);  // and never again: it applies something large
  std::string mutation;
  AppendMutation(&mutation, MutationOp::kPut, RowKey(1, 1), "value");
  EXPECT_EQ(gateway_->Wait(gateway_->SendChunk(EncodeChunk(MakeToken(1), 0, 0, mutation))).outcome(), proto::COMMITTED);
  EXPECT_EQ(gateway_->Commit(EncodeWriteSet(MakeToken(1), 0, 1, 0, "", 0, "")).outcome(), proto::COMMITTED);
  for (uint64_t i = 2; i <= 10; i++)
    ASSERT_EQ(gateway_->Commit(MakeWriteSet(i, {}, 300 << 10)).outcome(), proto::COMMITTED);
}

// Chunks that nobody commits are forgotten when they are old, by the time of the journal: it must not stand still
// because they fill the disk.
TEST_F(LocalReplicaTest, TimeGoesOnWhileTheReplicaIsFull) {
  Lead(20);
  process_->service.OnLocalApplied(journal_.log().back().lsn);
  process_->service.OnLocalRoom("planted", /*stuck=*/false, /*scarce=*/true);
  AwaitDurable(4);
  process_->service.OnLocalRoom(nullptr, /*stuck=*/false, /*scarce=*/false);
  EXPECT_EQ(gateway_->Commit(MakeWriteSet(1, {})).outcome(), proto::COMMITTED);
}

// The frame may be of a later term than this one, which then has not heard of it yet.
TEST_F(LocalReplicaTest, WhatAReplicaHasAppliedDoesNotVouchForWhatIsInFlight) {
  Lead(20);
  const Lsn start = journal_.log().back().lsn;
  process_->service.OnLocalApplied(start);
  journal_.Hold(true);
  const uint64_t held = gateway_->Send(MakeWriteSet(1, {}));
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  process_->service.OnLocalApplied(start + 1);
  EXPECT_EQ(page_.committed(), start);
  journal_.Hold(false);
  EXPECT_EQ(gateway_->Wait(held).outcome(), proto::COMMITTED);
}

TEST_F(LocalReplicaTest, AClientThatDoesNotReadHoldsTheOthersUpForAMomentOnly) {
  Lead(20);
  process_->service.OnLocalApplied(journal_.log().back().lsn);
  // An in-process channel holds a write until it is read: the first verdict is stuck.
  const auto stub = proto::Adjudicator::NewStub(process_->server->InProcessChannel(ChannelLimits()));
  Gateway silent(stub.get());
  silent.Send(MakeWriteSet(1, {}));
  AwaitDurable(2);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_EQ(gateway_->Commit(MakeWriteSet(2, {})).outcome(), proto::COMMITTED);
  EXPECT_NE(page_.committed(), kNoLsn);
}

TEST_F(AdjudicatorServiceTest, PagesOfADeadProcessAreWithdrawnBeforeAnythingCommits) {
  LsnPageFile page;
  const std::string registry = page.path() + ".registry";
  // What a killed process leaves behind: a lease that still runs, and the registry.
  LsnPages dead(registry);
  ASSERT_TRUE(dead.Offer(page.path()).ok());
  dead.Lead(1, 77);
  ASSERT_EQ(page.committed(), 77u);
  AdjudicatorService::Options options;
  options.page_registry = registry;
  Process process(&metastore_, One(), options);
  EXPECT_EQ(page.committed(), kNoLsn);
  unlink(registry.c_str());
  unlink((registry + ".new").c_str());
}

}  // namespace
}  // namespace concord
