// The gateway's session: requests and verdicts, and which adjudicator it is with.
#include "gateway/gateway_test_util.h"
#include "gateway/socket_check.h"

namespace concord {
namespace {

using namespace gateway_test;

// A second adjudicator beside the one of the fixture, and one that is not there.
class GatewayOfManyTest : public GatewayTest {
 protected:
  void SetUp() override {
    GatewayTest::SetUp();
    StartServer();
    const std::string other = "unix:" + directory_ + "/other";
    grpc::ServerBuilder builder;
    builder.AddListeningPort(other, grpc::InsecureServerCredentials());
    builder.RegisterService(&other_);
    other_server_ = builder.BuildAndStart();
    ASSERT_NE(other_server_, nullptr);
    addresses_ = "unix:" + directory_ + "/nobody, " + address_ + "," + other;
  }
  void TearDown() override {
    GatewayTest::TearDown();
    other_server_->Shutdown(std::chrono::system_clock::now());
  }

  FakeAdjudicator other_;
  std::unique_ptr<grpc::Server> other_server_;
};

TEST_F(GatewayOfManyTest, FindsTheOneThatLeads) {
  adjudicator_.stands_by = true;
  StartGateway();
  EXPECT_EQ(Commit(0, WriteSet(1)).outcome, CC_COMMITTED);
  EXPECT_EQ(other_.tokens().size(), 1u);
  EXPECT_EQ(adjudicator_.tokens().size(), 0u);
}

TEST_F(GatewayOfManyTest, AsksTheNextLeaderWithTheSameToken) {
  other_.stands_by = true;
  StartGateway();
  EXPECT_EQ(Commit(0, WriteSet(1)).outcome, CC_COMMITTED);
  adjudicator_.break_session = adjudicator_.stands_by = true;
  Put(0, CC_REQ_COMMIT, WriteSet(2));
  EXPECT_TRUE(Eventually([&] { return adjudicator_.commits_seen == 2; }));
  other_.epoch = 2;
  other_.stands_by = false;
  EXPECT_EQ(Await(0).outcome, CC_COMMITTED);
  EXPECT_EQ(other_.tokens().size(), 1u);
  EXPECT_EQ(other_.tokens().begin()->first, adjudicator_.tokens().rbegin()->first);
}

// As a stopped process does: it takes what it is sent, and says nothing.
TEST_F(GatewayOfManyTest, LeavesALeaderThatHasBeenReplacedWithoutSayingSo) {
  other_.stands_by = true;
  adjudicator_.Follow([](const proto::CommitRequest&, proto::Verdict*) { return false; });
  StartGateway();
  Put(0, CC_REQ_COMMIT, WriteSet(1));
  ASSERT_TRUE(Eventually([&] { return adjudicator_.commits_seen == 1; }));
  other_.epoch = 2;
  other_.stands_by = false;
  EXPECT_EQ(Await(0).outcome, CC_COMMITTED);
  EXPECT_EQ(other_.tokens().size(), 1u);
}

// A standby that has not heard of the present epoch yet.
TEST_F(GatewayOfManyTest, StaysWithTheNewerEpoch) {
  other_.stands_by = true;
  adjudicator_.epoch = 5;
  StartGateway();
  AwaitConnected();
  other_.epoch = 4;
  other_.stands_by = false;
  usleep(200'000);
  EXPECT_EQ(Commit(0, WriteSet(1)).outcome, CC_COMMITTED);
  EXPECT_EQ(adjudicator_.tokens().size(), 1u);
  EXPECT_EQ(channel()->reconnects, 0u);
}

TEST_F(GatewayTest, ConnectsToNobodyWhoMayBeAnother) {
  const auto distrust = [this](uid_t user) { return SocketDistrust(address_, user); };
  EXPECT_EQ(distrust(geteuid()), "");  // not there yet
  StartServer();
  EXPECT_EQ(distrust(geteuid()), "");
  EXPECT_EQ(SocketDistrust("unix://" + directory_ + "/socket", geteuid()), "");
  EXPECT_EQ(SocketDistrust("127.0.0.1:4000", geteuid()), "");
  EXPECT_NE(SocketDistrust("unix-abstract:socket", geteuid()), "");
  if (geteuid() == 0) {
    ASSERT_EQ(chown((directory_ + "/socket").c_str(), 4711, 0), 0);
    EXPECT_NE(distrust(0).find("socket belongs to user 4711, and this server runs as user 0"), std::string::npos);
    EXPECT_EQ(distrust(4711), "");
    ASSERT_EQ(chown((directory_ + "/socket").c_str(), 0, 0), 0);
    EXPECT_EQ(distrust(4711), "");  // root's
    ASSERT_EQ(chown(directory_.c_str(), 4711, 0), 0);
    EXPECT_NE(distrust(4712).find(directory_ + " belongs to user 4711"), std::string::npos);
    ASSERT_EQ(chown(directory_.c_str(), 0, 0), 0);
  } else {
    EXPECT_NE(distrust(geteuid() + 1).find("belongs to user"), std::string::npos);
  }
  ASSERT_EQ(chmod(directory_.c_str(), 01777), 0);  // as /tmp: nobody can take another's socket away
  EXPECT_EQ(distrust(geteuid()), "");
  const std::string link = directory_ + ".link";
  ASSERT_EQ(symlink(address_.substr(5).c_str(), link.c_str()), 0);
  ASSERT_EQ(chmod(directory_.c_str(), 0720), 0);
  EXPECT_NE(SocketDistrust("unix:" + link, geteuid()), "");
  unlink(link.c_str());

  logged.clear();
  StartGateway();
  Put(0, CC_REQ_READ_LSN, {});
  EXPECT_TRUE(Eventually([&] {
    cc_gateway_drain_log(gateway_);
    return !logged.empty();
  }));
  usleep(600 * 1000);
  cc_gateway_drain_log(gateway_);
  ASSERT_EQ(logged.size(), 1u);  // it has tried again, and does not say so
  EXPECT_NE(logged[0].find("does not connect to the sidecar at \"" + address_), std::string::npos) << logged[0];
  EXPECT_NE(logged[0].find("may be written by others"), std::string::npos) << logged[0];
  EXPECT_EQ(adjudicator_.read_lsn_calls, 0);

  ASSERT_EQ(chmod(directory_.c_str(), 0700), 0);
  AwaitConnected();
  EXPECT_EQ(Await(0).outcome, CC_COMMITTED);
}

TEST_F(GatewayTest, CommitsOfManySlots) {
  StartServer();
  StartGateway();
  std::vector<std::thread> backends;
  std::atomic<int> committed = 0;
  for (int slot = 0; slot < kSlots; slot++)
    backends.emplace_back([&, slot] {
      for (int i = 0; i < 50; i++) {
        std::string write_set = WriteSet(static_cast<uint8_t>(slot), std::string(static_cast<size_t>(i) * 500, 'x'));
        write_set[9] = static_cast<char>(i);  // its own token
        committed += Commit(slot, write_set).outcome == CC_COMMITTED;
      }
    });
  for (auto& backend : backends) backend.join();
  EXPECT_EQ(committed, kSlots * 50);
  EXPECT_EQ(adjudicator_.tokens().size(), static_cast<size_t>(kSlots * 50));
  EXPECT_GT(wakes[0].load(), 0);
  CcChannelStats stats;
  cc_channel_stats(channel(), &stats);
  EXPECT_EQ(stats.commits, static_cast<uint64_t>(kSlots * 50));
  EXPECT_LE(stats.batches, stats.commits);
}

TEST_F(GatewayTest, VerdictsReachTheirSlots) {
  adjudicator_.Follow([](const proto::CommitRequest&, proto::Verdict* verdict) {
    verdict->set_outcome(proto::CONFLICT);
    verdict->set_conflict_hash(42);
    verdict->set_message(std::string(1000, 'm'));
    return true;
  });
  StartServer();
  StartGateway();
  const CcAnswer answer = Commit(3, WriteSet(1));
  EXPECT_EQ(answer.outcome, CC_CONFLICT);
  EXPECT_EQ(answer.conflict_hash, 42u);
  EXPECT_EQ(std::string(answer.message), std::string(255, 'm'));

  Put(4, CC_REQ_CHUNK, std::string(10 * kBuffer + 1, 'c'));
  EXPECT_EQ(Await(4).lsn, 10 * kBuffer + 1);
}

TEST_F(GatewayTest, ARequestOverTheLimitIsRefusedAtItsFirstPiece) {
  StartServer();
  StartGateway();
  const std::string piece(kBuffer, 'x');
  cc_channel_begin(channel(), 0, CC_REQ_COMMIT, kMaxRecordBytes + kMaxReadsBytes + 1);
  EXPECT_EQ(cc_channel_put(channel(), 0, piece.data(), piece.size()), piece.size());
  const CcAnswer answer = Await(0);
  EXPECT_EQ(answer.outcome, CC_OUT_INVALID);
  EXPECT_NE(std::string(answer.message).find("over the limit"), std::string::npos) << answer.message;
  EXPECT_EQ(Commit(0, WriteSet(1)).outcome, CC_COMMITTED);
}

TEST_F(GatewayTest, RequestsWaitForTheSidecar) {
  StartGateway();
  Put(0, CC_REQ_COMMIT, WriteSet(1));
  Put(1, CC_REQ_READ_LSN, "");
  usleep(200000);
  EXPECT_FALSE(cc_channel_connected(channel()));
  StartServer();
  EXPECT_EQ(Await(0).outcome, CC_COMMITTED);
  const CcAnswer read = Await(1);
  EXPECT_EQ(read.outcome, CC_COMMITTED);
  EXPECT_GE(read.lsn, 100u);
}

TEST_F(GatewayTest, UnansweredCommitIsSentAgainWithItsToken) {
  StartServer();
  StartGateway();
  AwaitConnected();
  adjudicator_.break_session = true;  // decides, and the answer is lost
  Put(0, CC_REQ_COMMIT, WriteSet(9));
  ASSERT_TRUE(Eventually([this] { return adjudicator_.broken >= 1; }));
  adjudicator_.break_session = false;
  const CcAnswer answer = Await(0);
  EXPECT_EQ(answer.outcome, CC_COMMITTED);
  EXPECT_GE(adjudicator_.commits_seen.load(), 2);
  EXPECT_EQ(adjudicator_.tokens().size(), 1u);
  EXPECT_EQ(answer.lsn, adjudicator_.tokens().begin()->second);
}

TEST_F(GatewayTest, ACommitInDoubtIsAskedForUntilItIsSettled) {
  std::atomic<int> seen = 0;
  adjudicator_.Follow([&](const proto::CommitRequest& commit, proto::Verdict* verdict) {
    const int attempt = ++seen;
    if (attempt == 3) return adjudicator_.Decide(commit.write_set(), verdict);
    // Once it was in flight, "nothing was decided" says nothing of it.
    verdict->set_outcome(attempt == 1 ? proto::IN_DOUBT : proto::UNAVAILABLE);
    return true;
  });
  StartServer();
  StartGateway();
  AwaitConnected();
  EXPECT_EQ(Commit(0, WriteSet(1)).outcome, CC_COMMITTED);
  EXPECT_EQ(seen, 3);
}

TEST_F(GatewayTest, UnavailableIsPassedOnOnlyIfNothingElseWasSent) {
  std::atomic<int> seen = 0;
  adjudicator_.Follow([&](const proto::CommitRequest& commit, proto::Verdict* verdict) {
    if (++seen % 3 != 0) {
      verdict->set_outcome(proto::UNAVAILABLE);
      return true;
    }
    return adjudicator_.Decide(commit.write_set(), verdict);
  });
  StartServer();
  StartGateway();
  AwaitConnected();
  EXPECT_EQ(Commit(0, WriteSet(1)).outcome, CC_OUT_UNAVAILABLE);
  seen = 0;
  adjudicator_.break_session = true;
  Put(0, CC_REQ_COMMIT, WriteSet(2));
  ASSERT_TRUE(Eventually([&] { return adjudicator_.broken >= 1; }));
  EXPECT_GE(seen, 1);
  adjudicator_.break_session = false;
  EXPECT_EQ(Await(0).outcome, CC_COMMITTED);
}

TEST_F(GatewayTest, ServerRestart) {
  StartServer();
  StartGateway();
  EXPECT_EQ(Commit(0, WriteSet(1)).outcome, CC_COMMITTED);
  StopServer();
  ASSERT_TRUE(Eventually([this] { return !cc_channel_connected(channel()); }));
  Put(0, CC_REQ_COMMIT, WriteSet(2));
  StartServer();
  EXPECT_EQ(Await(0).outcome, CC_COMMITTED);
  EXPECT_GE(adjudicator_.offers.load(), 2);
  CcChannelStats stats;
  cc_channel_stats(channel(), &stats);
  EXPECT_EQ(stats.reconnects, 1u);
  EXPECT_EQ(stats.sessions, 2u);
}

TEST_F(GatewayTest, ARefusedSessionIsToldOnceAndAskedForSeldom) {
  const auto told = [this](const std::string& what) {
    cc_gateway_drain_log(gateway_);
    return std::count_if(logged.begin(), logged.end(), [&](const auto& line) { return line.starts_with(what); });
  };
  logged.clear();
  adjudicator_.refuse_sessions = true;
  StartServer();
  StartGateway();
  Put(0, CC_REQ_COMMIT, WriteSet(1));
  ASSERT_TRUE(Eventually([this] { return adjudicator_.refused >= 5; }));
  const int before = adjudicator_.refused;
  usleep(1000 * 1000);
  EXPECT_LE(adjudicator_.refused, before + 6);
  EXPECT_EQ(told("got no session with the adjudicator at \"" + address_ + "\": scripted refusal"), 1);
  EXPECT_EQ(told("connected") + told("lost the session"), 0);
  adjudicator_.refuse_sessions = false;
  EXPECT_EQ(Await(0).outcome, CC_COMMITTED);
  EXPECT_EQ(told("connected"), 1);
  CcChannelStats stats;
  cc_channel_stats(channel(), &stats);
  EXPECT_EQ(stats.sessions, 1u);
  EXPECT_EQ(stats.reconnects, 0u);
}

// The log and the counters do not wait for a verdict, unless the leader is one that says nothing before.
TEST_F(GatewayTest, AnIdleSessionIsConnected) {
  const auto sessions = [this] {
    CcChannelStats stats;
    cc_channel_stats(channel(), &stats);
    return stats.sessions;
  };
  StartServer();
  StartGateway();
  EXPECT_TRUE(Eventually([&] { return sessions() == 1; }));
  StopGateway();
  adjudicator_.older = true;
  StartGateway();
  AwaitConnected();
  EXPECT_EQ(sessions(), 1u);
  EXPECT_EQ(Commit(0, WriteSet(1)).outcome, CC_COMMITTED);
  EXPECT_EQ(sessions(), 2u);
}

TEST_F(GatewayTest, GatewayRestartDisownsRequests) {
  adjudicator_.Follow([](const proto::CommitRequest&, proto::Verdict*) { return false; });
  StartServer();
  StartGateway();
  Put(0, CC_REQ_COMMIT, WriteSet(1));
  ASSERT_TRUE(Eventually([this] { return adjudicator_.commits_seen >= 1; }));
  StopGateway();
  EXPECT_FALSE(cc_channel_attached(channel()));
  StartGateway();
  EXPECT_EQ(Await(0).outcome, CC_OUT_LOST);
}

TEST_F(GatewayTest, CancelledRequestsAreForgotten) {
  StartGateway();
  for (int i = 0; i < 100; i++) {
    Put(0, CC_REQ_COMMIT, WriteSet(static_cast<uint8_t>(i)));
    usleep(500);
    cc_channel_cancel(channel(), 0);
  }
  StartServer();
  EXPECT_EQ(Commit(1, WriteSet(200)).outcome, CC_COMMITTED);
  EXPECT_EQ(adjudicator_.tokens().size(), 1u);
}

TEST_F(GatewayTest, WithdrawnRequestIsNeverSent) {
  StartGateway();
  Put(0, CC_REQ_COMMIT, WriteSet(1));
  usleep(20000);  // it is taken, and waits for a session
  EXPECT_TRUE(cc_channel_withdraw(channel(), 0));
  StartServer();
  EXPECT_EQ(Commit(1, WriteSet(2)).outcome, CC_COMMITTED);
  EXPECT_EQ(adjudicator_.tokens().size(), 1u);

  adjudicator_.Follow([](const proto::CommitRequest&, proto::Verdict*) { return false; });
  const int before = adjudicator_.commits_seen;
  Put(0, CC_REQ_COMMIT, WriteSet(3));
  ASSERT_TRUE(Eventually([&] { return adjudicator_.commits_seen > before; }));
  EXPECT_FALSE(cc_channel_withdraw(channel(), 0));
}

TEST_F(GatewayTest, StopsQuicklyWithoutASidecar) {
  StartGateway();
  Put(0, CC_REQ_READ_LSN, "");
  usleep(50000);
  StopGateway();  // or the test hangs
}

}  // namespace
}  // namespace concord
