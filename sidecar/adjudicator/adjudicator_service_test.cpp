// The service over a real channel: verdicts, resends, step-downs, a full disk, LSN pages.
#include "sidecar/adjudicator/adjudicator_service.h"

#include <fcntl.h>
#include <grpc/grpc.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <map>

#include "core/key.h"
#include "sidecar/adjudicator/test_journal.h"
#include "sidecar/journal/journal_service.h"
#include "sidecar/journal/journal_test_util.h"
#include "sidecar/metastore/atomic_file.h"
#include "sidecar/testing/lossy_disk.h"

namespace concord {
namespace {

// Until the end of all tests: when its last user goes, gRPC shuts down, and that may wait 10 s for a poller of a
// client.
[[maybe_unused]] const bool grpc_stays = (grpc_init(), true);

class CountingMetastore : public Metastore {
 public:
  Status AcquireLeadership(uint64_t above, uint64_t* epoch) override {
    *epoch = epoch_ = std::max(epoch_, above) + 1;
    return Status::Ok();
  }

 private:
  uint64_t epoch_ = 0;  // only the leading thread asks
};

Token MakeToken(uint64_t number) {
  Token token{};
  memcpy(token.data(), &number, sizeof number);
  return token;
}

std::string MakeWriteSet(uint64_t token, const std::vector<Check>& checks, size_t value_bytes = 8) {
  std::string encoded_checks, mutations;
  for (const Check& check : checks) AppendCheck(&encoded_checks, check);
  AppendMutation(&mutations, MutationOp::kPut, RowKey(1, token), std::string(value_bytes, 'v'));
  return EncodeWriteSet(MakeToken(token), 0, 0, static_cast<uint32_t>(checks.size()), encoded_checks, 1, mutations);
}

// One process: a server with the service, led over the given journals.
class Process {
 public:
  Process(Metastore* metastore, const JournalEnsemble& journals, AdjudicatorService::Options options = {})
      : service(options, metastore) {
    grpc::ServerBuilder builder;
    SetServerLimits(&builder);
    builder.RegisterService(&service);
    // A socket, as gateways use: it buffers, where an in-process channel holds every write until it is read.
    static int count = 0;
    const std::string address =
        "unix-abstract:concord-test-" + std::to_string(getpid()) + "-" + std::to_string(count++);
    builder.AddListeningPort(address, grpc::InsecureServerCredentials());
    server = builder.BuildAndStart();
    stub = proto::Adjudicator::NewStub(Connect(address));
    EXPECT_TRUE(service.Start(journals).ok());
  }
  ~Process() {
    service.Stop();
    server->Shutdown(std::chrono::system_clock::now());
  }
  proto::AdjudicatorStatus GetStatus() {
    grpc::ClientContext context;
    proto::AdjudicatorStatus status;
    EXPECT_TRUE(stub->GetStatus(&context, {}, &status).ok());
    return status;
  }

  AdjudicatorService service;
  std::unique_ptr<grpc::Server> server;
  std::unique_ptr<proto::Adjudicator::Stub> stub;
};

// A gateway: sends, and collects verdicts by request id.
class Gateway {
 public:
  explicit Gateway(Process* process) : Gateway(process->stub.get()) {}
  explicit Gateway(proto::Adjudicator::Stub* stub) {
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(10));  // rather fail than hang
    stream_ = stub->Session(&context_);
  }
  ~Gateway() {
    context_.TryCancel();
    for (proto::SessionReply reply; stream_->Read(&reply);) {
    }
    (void)stream_->Finish();
  }
  uint64_t Send(const std::string& write_set) {
    proto::SessionRequest request;
    auto* commit = request.add_commits();
    commit->set_request_id(++last_id_);
    commit->set_write_set(write_set);
    EXPECT_TRUE(stream_->Write(request));
    return last_id_;
  }
  // In one message.
  uint64_t SendAll(const std::vector<std::string>& write_sets) {
    proto::SessionRequest request;
    for (const std::string& write_set : write_sets) {
      auto* commit = request.add_commits();
      commit->set_request_id(++last_id_);
      commit->set_write_set(write_set);
    }
    EXPECT_TRUE(stream_->Write(request));
    return last_id_;
  }
  uint64_t SendChunk(const std::string& chunk) {
    proto::SessionRequest request;
    request.add_chunks()->set_request_id(++last_id_);
    request.mutable_chunks(0)->set_chunk(chunk);
    EXPECT_TRUE(stream_->Write(request));
    return last_id_;
  }
  void Abandon(uint64_t token) {
    proto::SessionRequest request;
    const Token bytes = MakeToken(token);
    request.add_abandons()->set_token(bytes.data(), bytes.size());
    EXPECT_TRUE(stream_->Write(request));
  }
  proto::Verdict Wait(uint64_t id) {
    while (!verdicts_.contains(id)) {
      proto::SessionReply reply;
      if (!stream_->Read(&reply)) {
        ADD_FAILURE() << "the session ended";
        return {};
      }
      for (const auto& verdict : reply.verdicts()) {
        if (verdict.outcome() == proto::COMMITTED) order_.push_back(verdict.lsn());
        EXPECT_TRUE(verdicts_.emplace(verdict.request_id(), verdict).second) << "two verdicts";
      }
    }
    return verdicts_[id];
  }
  proto::Verdict Commit(const std::string& write_set) { return Wait(Send(write_set)); }
  // As gateways do: the same token until something is decided.
  proto::Verdict CommitUntilDecided(const std::string& write_set) {
    for (int attempt = 0; attempt < 500; attempt++) {
      const proto::Verdict verdict = Commit(write_set);
      if (verdict.outcome() != proto::UNAVAILABLE && verdict.outcome() != proto::IN_DOUBT) return verdict;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return {};
  }
  const std::vector<Lsn>& order() const { return order_; }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<proto::SessionRequest, proto::SessionReply>> stream_;
  uint64_t last_id_ = 0;
  std::map<uint64_t, proto::Verdict> verdicts_;
  std::vector<Lsn> order_;
};

class AdjudicatorServiceTest : public ::testing::Test {
 protected:
  JournalEnsemble One() { return {{journal_.stub()}, 1, nullptr}; }
  size_t Commits(uint64_t token) {
    size_t count = 0;
    for (const auto& record : journal_.log()) {
      WriteSetView view;
      if (static_cast<RecordType>(record.record[0]) == RecordType::kCommit &&
          WriteSetView::Parse(std::string_view(record.record).substr(1), &view).ok() &&
          view.token() == MakeToken(token))
        count++;
    }
    return count;
  }

  TestJournal journal_;
  CountingMetastore metastore_;
};

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
    return {{proto::Journal::NewStub(server_->InProcessChannel(ChannelLimits()))}, 1, local ? node_.get() : nullptr};
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

class LsnPageFile {
 public:
  LsnPageFile() {
    path_ = (std::filesystem::temp_directory_path() / "concord-page-XXXXXX").string();
    fd_ = mkstemp(path_.data());
    EXPECT_EQ(ftruncate(fd_, kLsnPageSize), 0);
    page_ = static_cast<LsnPage*>(mmap(nullptr, kLsnPageSize, PROT_READ, MAP_SHARED, fd_, 0));
  }
  ~LsnPageFile() {
    munmap(page_, kLsnPageSize);
    close(fd_);
    unlink(path_.c_str());
  }
  const std::string& path() const { return path_; }
  Lsn committed() const { return ReadCommitted(*page_); }
  int fd() const { return fd_; }

 private:
  std::string path_;
  int fd_;
  LsnPage* page_;
};

grpc::StatusCode Offer(Process* process, const std::string& path) {
  grpc::ClientContext context;
  proto::OfferPageRequest request;
  request.set_path(path);
  proto::OfferPageReply reply;
  return process->stub->OfferPage(&context, request, &reply).error_code();
}

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
