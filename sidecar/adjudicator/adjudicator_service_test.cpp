// The service over a real channel: verdicts, resends, step-downs, a full disk.
#include "sidecar/adjudicator/adjudicator_service.h"

#include <filesystem>
#include <functional>

#include "core/session.h"
#include "sidecar/adjudicator/adjudicator_test_util.h"
#include "sidecar/journal/journal_service.h"
#include "sidecar/journal/journal_test_util.h"
#include "sidecar/testing/lossy_disk.h"

namespace concord {
namespace {

TEST_F(AdjudicatorServiceTest, CommitsConflictsAndTooOld) {
  Process process(&metastore_, One());
  ASSERT_TRUE(process.service.WaitUntilLeading(60000));
  Gateway gateway(&process);
  const auto first = gateway.Commit(MakeWriteSet(1, {{5, 0, LockMode::kUpdate}}));
  EXPECT_EQ(first.outcome(), proto::COMMITTED);
  const auto second = gateway.Commit(MakeWriteSet(2, {{5, 0, LockMode::kUpdate}}));
  EXPECT_EQ(second.outcome(), proto::CONFLICT);
  EXPECT_EQ(second.conflict_hash(), 5u);
  EXPECT_EQ(gateway.Commit(MakeWriteSet(3, {{5, first.lsn(), LockMode::kUpdate}})).outcome(), proto::COMMITTED);
  EXPECT_EQ(gateway.Commit("garbage").outcome(), proto::INVALID);
  EXPECT_EQ(gateway.Commit(EncodeWriteSet(MakeToken(9), 0, 0, 0, "", 0, "")).outcome(), proto::COMMITTED);
  const auto status = process.GetStatus();
  EXPECT_EQ(status.commits(), 3u);
  EXPECT_EQ(status.conflicts(), 1u);
  EXPECT_EQ(status.committed_lsn(), gateway.order().back());
}

TEST_F(AdjudicatorServiceTest, PipelinedVerdictsComeInLsnOrder) {
  Process process(&metastore_, One());
  ASSERT_TRUE(process.service.WaitUntilLeading(60000));
  Gateway gateway(&process);
  journal_.Hold(true);
  const uint64_t before = journal_.requests();
  std::jthread release([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    journal_.Hold(false);
  });
  uint64_t id = 0;
  for (uint64_t i = 1; i <= 500; i++) id = gateway.Send(MakeWriteSet(i, {{i, 0, LockMode::kUpdate}}));
  gateway.Wait(id);
  EXPECT_EQ(gateway.order().size(), 500u);
  EXPECT_TRUE(std::is_sorted(gateway.order().begin(), gateway.order().end()));
  EXPECT_LE(journal_.requests() - before, 500u);
}

TEST_F(AdjudicatorServiceTest, AResendIsCommittedOnce) {
  Process process(&metastore_, One());
  ASSERT_TRUE(process.service.WaitUntilLeading(60000));
  const std::string write_set = MakeWriteSet(1, {{5, 0, LockMode::kUpdate}});
  Gateway second(&process);
  journal_.Hold(true);
  uint64_t pending;
  {
    Gateway first(&process);
    first.Send(write_set);
    pending = second.Send(MakeWriteSet(2, {}));
  }
  const uint64_t resent = second.Send(write_set);  // while it is pending
  journal_.Hold(false);
  const auto verdict = second.Wait(resent);
  EXPECT_EQ(verdict.outcome(), proto::COMMITTED);
  EXPECT_EQ(second.Wait(pending).outcome(), proto::COMMITTED);
  EXPECT_EQ(second.Commit(write_set).lsn(), verdict.lsn());  // when it is decided
  EXPECT_EQ(Commits(1), 1u);
}

TEST_F(AdjudicatorServiceTest, ABrokenAppendIsSettledFromTheJournal) {
  Process process(&metastore_, One());
  ASSERT_TRUE(process.service.WaitUntilLeading(60000));
  Gateway gateway(&process);
  for (uint64_t token = 1; token <= 20; token++) {
    // Odd ones are lost, even ones reach the log without the leader hearing of it.
    if (token % 2 == 1) {
      journal_.FailAfter(0, {Code::kIoError, "planted"});
    } else {
      journal_.Hold(true);
    }
    const std::string write_set =
        MakeWriteSet(token, {{7, gateway.order().empty() ? 0 : gateway.order().back(), LockMode::kUpdate}});
    const uint64_t id = gateway.Send(write_set);
    if (token % 2 == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      journal_.BreakAfterKeeping();
    }
    EXPECT_EQ(gateway.Wait(id).outcome(), proto::IN_DOUBT);
    journal_.Heal();
    EXPECT_EQ(gateway.CommitUntilDecided(write_set).outcome(), proto::COMMITTED) << token;
    EXPECT_EQ(Commits(token), 1u);
  }
  EXPECT_GT(process.GetStatus().epoch(), 20u);
}

// Of three nodes two are full; the third one has the commit, and is not there when the journal is read again.
TEST_F(AdjudicatorServiceTest, AFullDiskIsNotToldWhileAnotherNodeMayHaveTheCommit) {
  TestJournal second, third;
  Process process(&metastore_,
                  {{JournalPeer(journal_.stub()), JournalPeer(second.stub()), JournalPeer(third.stub())}, 2, nullptr});
  ASSERT_TRUE(process.service.WaitUntilLeading(60000));
  Gateway gateway(&process);
  const size_t before = third.log().size();
  for (TestJournal* full : {&journal_, &second}) full->FailAfter(0, {Code::kNoSpace, "planted"});
  const std::string write_set = MakeWriteSet(1, {});
  const uint64_t sent = gateway.Send(write_set);
  while (third.log().size() == before) std::this_thread::sleep_for(std::chrono::microseconds(100));
  third.SetUnreachable(true);
  EXPECT_NE(gateway.Wait(sent).outcome(), proto::NO_SPACE);
  EXPECT_NE(gateway.Commit(write_set).outcome(), proto::NO_SPACE);
  third.SetUnreachable(false);
  for (TestJournal* full : {&journal_, &second}) full->Heal();
  EXPECT_EQ(gateway.CommitUntilDecided(write_set).outcome(), proto::COMMITTED);
}

TEST_F(AdjudicatorServiceTest, AFullDiskIsToldOnceItIsCertain) {
  Process process(&metastore_, One());
  ASSERT_TRUE(process.service.WaitUntilLeading(60000));
  Gateway gateway(&process);
  journal_.FailAfter(0, {Code::kNoSpace, "planted"});
  const std::string write_set = MakeWriteSet(1, {});
  EXPECT_EQ(gateway.Commit(write_set).outcome(), proto::NO_SPACE);
  // Not even the start of an epoch fits: commits go on being told.
  EXPECT_EQ(gateway.CommitUntilDecided(MakeWriteSet(2, {})).outcome(), proto::NO_SPACE);
  journal_.Heal();
  ASSERT_TRUE(process.service.WaitUntilLeading(60000));
  EXPECT_EQ(gateway.CommitUntilDecided(write_set).outcome(), proto::COMMITTED);
  EXPECT_EQ(Commits(1), 1u);
  EXPECT_EQ(Commits(2), 0u);
}

TEST_F(AdjudicatorServiceTest, TheNextProcessKnowsWhatTheLastOneCommitted) {
  const std::string write_set = MakeWriteSet(1, {{5, 0, LockMode::kUpdate}});
  Lsn lsn;
  {
    Process process(&metastore_, One());
    ASSERT_TRUE(process.service.WaitUntilLeading(60000));
    Gateway gateway(&process);
    lsn = gateway.Commit(write_set).lsn();
  }
  Process process(&metastore_, One());
  ASSERT_TRUE(process.service.WaitUntilLeading(60000));
  Gateway gateway(&process);
  EXPECT_EQ(gateway.Commit(write_set).lsn(), lsn);
  EXPECT_EQ(gateway.Commit(MakeWriteSet(2, {{5, 0, LockMode::kUpdate}})).outcome(), proto::CONFLICT);
  EXPECT_GT(gateway.Commit(MakeWriteSet(3, {{5, lsn, LockMode::kUpdate}})).lsn(), lsn);
}

TEST_F(AdjudicatorServiceTest, AnotherLeaderFencesThisOne) {
  Process old_leader(&metastore_, One());
  ASSERT_TRUE(old_leader.service.WaitUntilLeading(60000));
  Gateway gateway(&old_leader);
  proto::SealRequest seal;
  seal.set_epoch(40);
  proto::SealReply reply;
  grpc::ClientContext context;
  ASSERT_TRUE(journal_.stub()->Seal(&context, seal, &reply).ok());
  const std::string write_set = MakeWriteSet(1, {});
  EXPECT_EQ(gateway.Commit(write_set).outcome(), proto::IN_DOUBT);
  // It takes over again by itself, above the epoch that fenced it.
  EXPECT_EQ(gateway.CommitUntilDecided(write_set).outcome(), proto::COMMITTED);
  EXPECT_GT(old_leader.GetStatus().epoch(), 40u);
}

TEST_F(AdjudicatorServiceTest, ChunksAndAbandons) {
  Process process(&metastore_, One());
  ASSERT_TRUE(process.service.WaitUntilLeading(60000));
  Gateway gateway(&process);
  std::string mutation;
  AppendMutation(&mutation, MutationOp::kPut, RowKey(1, 1), "value");
  const auto chunk = gateway.Wait(gateway.SendChunk(EncodeChunk(MakeToken(1), 0, 0, mutation)));
  EXPECT_EQ(chunk.outcome(), proto::COMMITTED);
  EXPECT_EQ(gateway.Commit(EncodeWriteSet(MakeToken(4), 0, 1, 0, "", 0, "")).outcome(), proto::INVALID) << "no chunk";
  EXPECT_GT(gateway.Commit(EncodeWriteSet(MakeToken(1), 0, 1, 0, "", 0, "")).lsn(), chunk.lsn());
  EXPECT_EQ(gateway.Wait(gateway.SendChunk(EncodeChunk(MakeToken(2), 0, 0, mutation))).outcome(), proto::COMMITTED);
  gateway.Abandon(2);
  EXPECT_EQ(gateway.Commit(MakeWriteSet(2, {})).outcome(), proto::INVALID);
  EXPECT_EQ(gateway.Wait(gateway.SendChunk("short")).outcome(), proto::INVALID);
  EXPECT_EQ(gateway.Commit(MakeWriteSet(3, {})).outcome(), proto::COMMITTED);
  EXPECT_EQ(static_cast<RecordType>(journal_.log().rbegin()[1].record[0]), RecordType::kAbandon);
}

TEST_F(AdjudicatorServiceTest, BackPressureHoldsTheSessionNotTheService) {
  AdjudicatorService::Options options;
  options.max_in_flight_bytes = 20000;
  Process process(&metastore_, One(), options);
  ASSERT_TRUE(process.service.WaitUntilLeading(60000));
  Gateway gateway(&process);
  uint64_t id = 0;
  for (uint64_t i = 1; i <= 200; i++) id = gateway.Send(MakeWriteSet(i, {}, 5000));
  EXPECT_EQ(gateway.Wait(id).outcome(), proto::COMMITTED);
  EXPECT_EQ(process.GetStatus().commits(), 200u);
}

// Sends while the journal holds everything back; the most that was decided meanwhile.
uint64_t DecidedWhileHeld(TestJournal* journal, Process* process, uint64_t expected,
                          const std::function<void()>& send) {
  journal->Hold(true);
  std::thread sender(send);  // the channel may hold it back, too
  uint64_t decided = 0;
  for (int quiet = 0; quiet < 20; quiet++) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    const uint64_t now = process->GetStatus().tokens();
    if (now != decided || now < expected) quiet = 0;
    decided = now;
  }
  journal->Hold(false);
  sender.join();
  return decided;
}

TEST_F(AdjudicatorServiceTest, WhatIsInFlightIsBounded) {
  AdjudicatorService::Options options;
  options.max_in_flight_bytes = 20000;
  Process process(&metastore_, One(), options);
  ASSERT_TRUE(process.service.WaitUntilLeading(60000));
  Gateway gateway(&process);
  uint64_t id = 0;
  const uint64_t decided = DecidedWhileHeld(&journal_, &process, 4, [&] {
    for (uint64_t i = 1; i <= 50; i++) id = gateway.Send(MakeWriteSet(i, {}, 5000));
  });
  EXPECT_EQ(decided, 4u) << "the fourth is over the limit, no other one may follow";
  EXPECT_EQ(gateway.Wait(id).outcome(), proto::COMMITTED);
}

TEST_F(AdjudicatorServiceTest, OneSessionHasSoManyRequestsUnanswered) {
  constexpr size_t kMessages = 18, kEach = 1000;
  static_assert(kMessages * kEach > SessionStream::kMaxUnanswered);
  Process process(&metastore_, One());
  ASSERT_TRUE(process.service.WaitUntilLeading(60000));
  Gateway gateway(&process);
  uint64_t id = 0;
  const uint64_t decided = DecidedWhileHeld(&journal_, &process, SessionStream::kMaxUnanswered, [&] {
    for (size_t message = 0; message < kMessages; message++) {
      std::vector<std::string> write_sets;
      for (size_t i = 1; i <= kEach; i++) write_sets.push_back(MakeWriteSet(message * kEach + i, {}));
      id = gateway.SendAll(write_sets);
    }
  });
  EXPECT_EQ(decided, SessionStream::kMaxUnanswered);
  EXPECT_EQ(gateway.Wait(id).outcome(), proto::COMMITTED);
}

TEST_F(AdjudicatorServiceTest, SoManySessionsAtATime) {
  AdjudicatorService::Options options;
  options.max_sessions = 2;
  Process process(&metastore_, One(), options);
  Gateway first(&process);
  EXPECT_EQ(first.CommitUntilDecided(MakeWriteSet(1, {})).outcome(), proto::COMMITTED);
  {
    Gateway second(&process);
    EXPECT_EQ(second.CommitUntilDecided(MakeWriteSet(2, {})).outcome(), proto::COMMITTED);
    grpc::ClientContext context;
    const auto third = process.stub->Session(&context);
    proto::SessionReply reply;
    EXPECT_FALSE(third->Read(&reply));
    EXPECT_FALSE(context.GetServerInitialMetadata().contains(kSessionAdmitted));
    const grpc::Status status = third->Finish();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
    EXPECT_EQ(status.error_message(), "the adjudicator has its 2 sessions already");
    EXPECT_EQ(first.Commit(MakeWriteSet(3, {})).outcome(), proto::COMMITTED);
  }
  {
    grpc::ClientContext context;
    const auto second = process.stub->Session(&context);
    second->WaitForInitialMetadata();  // comes unasked
    context.TryCancel();
    (void)second->Finish();
  }
  // One that ends makes room; its end is seen a moment later.
  for (int attempt = 0;; attempt++) {
    ASSERT_LT(attempt, 1000);
    grpc::ClientContext context;
    const auto stream = process.stub->Session(&context);
    proto::SessionRequest request;
    request.add_commits()->set_write_set(MakeWriteSet(4, {}));
    proto::SessionReply reply;
    const bool served = stream->Write(request) && stream->Read(&reply);
    context.TryCancel();
    while (stream->Read(&reply)) {
    }
    (void)stream->Finish();
    if (served) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

TEST_F(AdjudicatorServiceTest, ThreeNodesGoOnWithoutOne) {
  TestJournal second, third;
  Process process(&metastore_, {{journal_.stub(), second.stub(), third.stub()}, 2, nullptr});
  ASSERT_TRUE(process.service.WaitUntilLeading(60000));
  Gateway gateway(&process);
  for (uint64_t i = 1; i <= 100; i++) {
    if (i == 30) second.SetUnreachable(true);
    if (i == 60) third.Hold(true);  // the only other one is stuck: nothing may be committed
    const uint64_t id = gateway.Send(MakeWriteSet(i, {}));
    if (i == 60) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      EXPECT_LT(process.GetStatus().committed_lsn(), journal_.log().back().lsn);
      third.Hold(false);
    }
    EXPECT_EQ(gateway.Wait(id).outcome(), proto::COMMITTED);
  }
  EXPECT_EQ(journal_.log(), third.log());
}

// The journal that concordd uses, over the channel that it uses; its disk may be full.
class RealJournal {
 public:
  explicit RealJournal(const std::string& directory) {
    journal::JournalNodeOptions options;
    options.log.directory = directory + "/journal";
    options.log.segment_bytes = 1 << 20;
    options.log.allocate = [this](int fd, uint64_t size) { return full_ ? ENOSPC : journal::AllocateFile(fd, size); };
    EXPECT_TRUE(journal::JournalNode::Open(std::move(options), &node_).ok());
    service_ = std::make_unique<journal::JournalService>(node_.get());
    grpc::ServerBuilder builder;
    SetServerLimits(&builder);
    builder.RegisterService(service_.get());
    server_ = builder.BuildAndStart();
  }
  ~RealJournal() {
    service_->Stop();
    server_->Shutdown(std::chrono::system_clock::now());
  }
  // `local`: appended to without gRPC.
  JournalEnsemble ensemble(bool local = false) {
    return {{JournalPeer(proto::Journal::NewStub(server_->InProcessChannel(ChannelLimits())))},
            1,
            local ? node_.get() : nullptr};
  }
  void SetFull(bool full) { full_ = full; }

 private:
  std::atomic<bool> full_ = false;
  std::unique_ptr<journal::JournalNode> node_;
  std::unique_ptr<journal::JournalService> service_;
  std::unique_ptr<grpc::Server> server_;
};

TEST_F(AdjudicatorServiceTest, OverTheRealJournal) {
  journal::TemporaryDirectory directory;
  std::vector<Lsn> lsns;
  for (int life = 0; life < 3; life++) {
    RealJournal journal(directory.path());
    Process process(&metastore_, journal.ensemble(/*local=*/life == 1));
    ASSERT_TRUE(process.service.WaitUntilLeading(60000));
    Gateway gateway(&process);
    // What earlier lives committed is known: the same token, the same LSN.
    for (size_t i = 0; i < lsns.size(); i++)
      ASSERT_EQ(gateway.Commit(MakeWriteSet(i + 1, {{i, kNoLsn, LockMode::kUpdate}})).lsn(), lsns[i]);
    for (int i = 0; i < 300; i++) {
      const uint64_t token = lsns.size() + 1;
      const auto verdict = gateway.Commit(MakeWriteSet(token, {{token - 1, kNoLsn, LockMode::kUpdate}}, 1000));
      ASSERT_EQ(verdict.outcome(), proto::COMMITTED);
      if (!lsns.empty()) {
        ASSERT_GT(verdict.lsn(), lsns.back());
      }
      lsns.push_back(verdict.lsn());
      ASSERT_EQ(gateway.Commit(MakeWriteSet(10000 + token, {{token - 1, kNoLsn, LockMode::kUpdate}})).outcome(),
                proto::CONFLICT);
    }
    EXPECT_EQ(gateway.Commit(MakeWriteSet(20000 + life, {}, 8 << 20)).outcome(), proto::COMMITTED);
  }
}

class RealJournalTest : public AdjudicatorServiceTest, public ::testing::WithParamInterface<bool> {};

TEST_P(RealJournalTest, AFullDiskIsToldAndPasses) {
  journal::TemporaryDirectory directory;
  RealJournal journal(directory.path());
  Process process(&metastore_, journal.ensemble(/*local=*/GetParam()));
  ASSERT_TRUE(process.service.WaitUntilLeading(60000));
  Gateway gateway(&process);
  constexpr size_t kBytes = 300 << 10;
  journal.SetFull(true);
  uint64_t token = 0;
  proto::Outcome outcome = proto::COMMITTED;  // until the segments that were made before are full
  while (outcome == proto::COMMITTED && token < 20)
    outcome = gateway.Commit(MakeWriteSet(++token, {}, kBytes)).outcome();
  EXPECT_EQ(outcome, proto::NO_SPACE);
  // Who asked is told, and not that it might ask again. With a journal of another process, each one ends a term; with
  // our own, reads go on.
  EXPECT_TRUE(!GetParam() || process.service.WaitUntilLeading(0));
  for (int i = 0; i < 10; i++) ASSERT_EQ(gateway.Commit(MakeWriteSet(++token, {}, kBytes)).outcome(), proto::NO_SPACE);
  journal.SetFull(false);
  for (int i = 0; i < 50 && outcome != proto::COMMITTED; i++) {
    outcome = gateway.CommitUntilDecided(MakeWriteSet(token, {}, kBytes)).outcome();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  EXPECT_EQ(outcome, proto::COMMITTED);
  EXPECT_EQ(gateway.Commit(MakeWriteSet(++token, {}, kBytes)).outcome(), proto::COMMITTED);
}

// A verdict is a promise that a crash of the operating system does not break: whatever was not synced when it came is
// lost.
TEST_P(RealJournalTest, ACommittedVerdictSurvivesAnOperatingSystemCrash) {
  journal::TemporaryDirectory directory;
  journal::LossyDisk disk(directory.path() + "/journal");
  std::vector<std::pair<std::string, Lsn>> crashes;
  {
    RealJournal journal(directory.path());
    Process process(&metastore_, journal.ensemble(/*local=*/GetParam()));
    ASSERT_TRUE(process.service.WaitUntilLeading(60000));
    Gateway gateway(&process);
    disk.DelaySyncs(std::chrono::milliseconds(2));  // who does not wait for the sync answers before it
    for (uint64_t round = 0; round < 10; round++) {
      std::vector<uint64_t> sent;
      for (uint64_t i = 0; i < 4; i++) sent.push_back(gateway.Send(MakeWriteSet(1 + round * 4 + i, {})));
      for (const uint64_t id : sent) {
        const auto verdict = gateway.Wait(id);
        ASSERT_EQ(verdict.outcome(), proto::COMMITTED);
        if (id % 3 != 0) continue;
        crashes.emplace_back(directory.path() + "/crash" + std::to_string(id), verdict.lsn());
        disk.Image(crashes.back().first);
      }
    }
  }
  for (const auto& [image, lsn] : crashes) {
    journal::SegmentLogOptions options;
    options.directory = image;
    options.segment_bytes = 1 << 20;
    std::unique_ptr<journal::SegmentLog> log;
    const Status status = journal::SegmentLog::Open(options, &log);
    ASSERT_TRUE(status.ok()) << status.ToString();
    EXPECT_GE(log->state().last_lsn, lsn);
  }
}

INSTANTIATE_TEST_SUITE_P(LocalOrNot, RealJournalTest, ::testing::Bool());

}  // namespace
}  // namespace concord
