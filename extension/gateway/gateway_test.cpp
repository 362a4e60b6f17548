// The gateway against a scripted adjudicator on a real unix socket.
#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "bridge/channel_layout.h"
#include "core/key.h"
#include "core/lsn_page.h"
#include "core/session.h"
#include "core/wire.h"
#include "gateway/socket_check.h"
#include "gateway/status_text.h"
#include "proto/adjudicator.grpc.pb.h"
#include "proto/storage.grpc.pb.h"

namespace concord {
namespace {

constexpr int kSlots = 8;
constexpr size_t kBuffer = 4096;

std::atomic<int> wakes[kSlots];
std::vector<std::string> logged;  // by cc_gateway_drain_log

std::string WriteSet(uint8_t id, std::string_view value = "v") {
  std::string mutations;
  AppendMutation(&mutations, MutationOp::kPut, RowKey(1, id), value);
  Token token = {};
  token[0] = id;
  return EncodeWriteSet(token, 1, 0, 0, {}, 1, mutations);
}

// Decides as the test says; by default commits everything, each token once.
class FakeAdjudicator : public proto::Adjudicator::Service {
 public:
  // What to do with a commit: a verdict, or false to leave it unanswered.
  using Script = std::function<bool(const proto::CommitRequest&, proto::Verdict*)>;
  void Follow(Script script) {
    const std::lock_guard lock(mutex_);
    script_ = std::move(script);
  }
  // With their LSNs: of the commits decided.
  std::map<std::string, uint64_t> tokens() {
    const std::lock_guard lock(mutex_);
    return tokens_;
  }
  // How many storages.
  size_t drops() {
    const std::lock_guard lock(mutex_);
    return dropped_.size();
  }
  std::atomic<bool> break_session = false, refuse_sessions = false, older = false, stands_by = false;
  std::atomic<uint64_t> epoch = 1;
  std::atomic<int> refused = 0, broken = 0;
  std::atomic<int> offers = 0, read_lsn_calls = 0, abandons = 0, commits_seen = 0;
  std::atomic<uint64_t> last_lsn = 100;

  grpc::Status Session(grpc::ServerContext* context,
                       grpc::ServerReaderWriter<proto::SessionReply, proto::SessionRequest>* stream) override {
    if (refuse_sessions) {
      refused++;
      return {grpc::StatusCode::RESOURCE_EXHAUSTED, "scripted refusal"};
    }
    if (!older) {
      context->AddInitialMetadata(kSessionAdmitted, "1");
      stream->SendInitialMetadata();
    }
    proto::SessionRequest request;
    while (stream->Read(&request)) {
      proto::SessionReply reply;
      abandons += request.abandons_size();
      for (const auto& commit : request.commits()) {
        commits_seen++;
        proto::Verdict verdict;
        verdict.set_request_id(commit.request_id());
        const Script script = CurrentScript();
        if (script ? script(commit, &verdict) : Decide(commit.write_set(), &verdict)) *reply.add_verdicts() = verdict;
      }
      for (const auto& chunk : request.chunks()) {
        proto::Verdict* verdict = reply.add_verdicts();
        verdict->set_request_id(chunk.request_id());
        verdict->set_outcome(proto::COMMITTED);
        verdict->set_lsn(chunk.chunk().size());
      }
      if (break_session) {
        broken++;
        return {grpc::StatusCode::UNAVAILABLE, "scripted end"};
      }
      if (reply.verdicts_size() > 0) stream->Write(reply);
    }
    return grpc::Status::OK;
  }

  bool Decide(const std::string& bytes, proto::Verdict* verdict) {
    WriteSetView view;
    if (!WriteSetView::Parse(bytes, &view).ok()) {
      verdict->set_outcome(proto::INVALID);
      return true;
    }
    const std::lock_guard lock(mutex_);
    MutationReader reader(view.mutations());
    for (Mutation mutation; !reader.AtEnd() && reader.Next(&mutation).ok();)
      if (mutation.op == MutationOp::kDropStorage) dropped_.insert(KeyStorage(mutation.key));
    uint64_t& lsn = tokens_[std::string(view.token().begin(), view.token().end())];
    if (lsn == 0) lsn = ++last_lsn;
    verdict->set_outcome(proto::COMMITTED);
    verdict->set_lsn(lsn);
    return true;
  }

  grpc::Status ReadLsn(grpc::ServerContext*, const proto::ReadLsnRequest*, proto::ReadLsnReply* reply) override {
    if (stands_by) return {grpc::StatusCode::UNAVAILABLE, "another one leads"};
    read_lsn_calls++;
    reply->set_committed_lsn(last_lsn);
    reply->set_epoch(epoch);
    return grpc::Status::OK;
  }
  grpc::Status OfferPage(grpc::ServerContext*, const proto::OfferPageRequest*, proto::OfferPageReply*) override {
    offers++;
    return grpc::Status::OK;
  }
  grpc::Status GetStatus(grpc::ServerContext*, const proto::AdjudicatorStatusRequest*,
                         proto::AdjudicatorStatus* reply) override {
    reply->set_epoch(7);
    return grpc::Status::OK;
  }

 private:
  Script CurrentScript() {
    const std::lock_guard lock(mutex_);
    return script_;
  }

  std::mutex mutex_;
  Script script_;
  std::map<std::string, uint64_t> tokens_;
  std::set<uint32_t> dropped_;
};

class FakeStorage : public proto::Storage::Service {
 public:
  std::atomic<uint64_t> lowest = 0;
  std::atomic<bool> fail = false;
  std::atomic<int> reports = 0;
  grpc::Status ReportReaders(grpc::ServerContext*, const proto::ReportReadersRequest* request,
                             proto::ReportReadersReply*) override {
    reports++;
    if (fail) return {grpc::StatusCode::UNAVAILABLE, "scripted failure"};
    lowest = request->lowest_read_lsn();
    return grpc::Status::OK;
  }
};

class GatewayTest : public testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/gateway-test-XXXXXX";
    ASSERT_NE(mkdtemp(pattern), nullptr);
    directory_ = pattern;
    address_ = "unix:" + directory_ + "/socket";
    page_path_ = directory_ + "/page";
    const int fd = open(page_path_.c_str(), O_RDWR | O_CREAT, 0600);
    ASSERT_EQ(ftruncate(fd, kLsnPageSize), 0);
    close(fd);
    const size_t size = cc_channel_size(kSlots, kBuffer);
    memory_.reset(static_cast<char*>(std::aligned_alloc(4096, (size + 4095) / 4096 * 4096)));
    cc_channel_init(channel(), kSlots, kBuffer);
  }
  void TearDown() override {
    StopGateway();
    StopServer();
    std::system(("rm -rf " + directory_).c_str());
  }

  CcChannel* channel() { return reinterpret_cast<CcChannel*>(memory_.get()); }

  void StartServer() {
    grpc::ServerBuilder builder;
    builder.SetMaxReceiveMessageSize(-1);
    builder.AddListeningPort(address_, grpc::InsecureServerCredentials());
    builder.RegisterService(&adjudicator_);
    builder.RegisterService(&storage_);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
  }
  void StopServer() {
    if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
    server_.reset();
  }
  void StartGateway() {
    CcGatewayOptions options = {};
    options.address = (addresses_.empty() ? address_ : addresses_).c_str();
    options.storage_address = addresses_.empty() ? nullptr : address_.c_str();
    options.page_path = page_path_.c_str();
    options.qp_id = "test";
    options.report_ms = 20;
    options.wake = [](int slot) { wakes[slot]++; };
    options.log = [](int, const char* message) { logged.emplace_back(message); };
    gateway_ = cc_gateway_start(channel(), &options);
    ASSERT_NE(gateway_, nullptr);
  }
  void StopGateway() {
    if (gateway_ != nullptr) cc_gateway_stop(gateway_);
    gateway_ = nullptr;
  }

  static bool Eventually(const std::function<bool()>& condition, int timeout_ms = 10000) {
    for (int i = 0; i < timeout_ms; i++) {
      if (condition()) return true;
      usleep(1000);
    }
    return condition();
  }
  void AwaitConnected() {
    ASSERT_TRUE(Eventually([this] { return cc_channel_connected(channel()); }));
  }

  void Put(int slot, CcRequestKind kind, std::string_view bytes) {
    cc_channel_begin(channel(), slot, kind, bytes.size());
    while (!bytes.empty()) {
      const size_t taken = cc_channel_put(channel(), slot, bytes.data(), bytes.size());
      bytes.remove_prefix(taken);
      if (taken == 0) usleep(100);
    }
  }
  CcAnswer Await(int slot) {
    CcAnswer answer = {};
    answer.outcome = CC_OUTCOME_NONE;
    Eventually([&] { return cc_channel_answered(channel(), slot, 0, &answer); });
    return answer;
  }
  CcAnswer Commit(int slot, const std::string& write_set) {
    Put(slot, CC_REQ_COMMIT, write_set);
    return Await(slot);
  }

  struct Free {
    void operator()(char* p) const { std::free(p); }
  };
  std::string directory_, address_, page_path_;
  std::string addresses_;  // of several adjudicators
  std::unique_ptr<char, Free> memory_;
  FakeAdjudicator adjudicator_;
  FakeStorage storage_;
  std::unique_ptr<grpc::Server> server_;
  CcGateway* gateway_ = nullptr;
};

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

TEST_F(GatewayTest, ManyDropsAreAllSentBeforeTheChannelIsIdle) {
  constexpr uint32_t kDrops = 20000;
  StartServer();
  StartGateway();
  AwaitConnected();
  for (uint32_t id = 1; id <= kDrops; id++) ASSERT_TRUE(cc_channel_drop_storage(channel(), id));
  EXPECT_TRUE(Eventually([this] { return cc_channel_idle(channel()); }));
  EXPECT_EQ(adjudicator_.drops(), kDrops);
}

// Tokens are remembered for so many commits: what was seen before them cannot be told from a commit that is forgotten.
TEST_F(GatewayTest, DropsGoOnWhenTheSessionIsOld) {
  StartServer();
  StartGateway();
  AwaitConnected();
  std::atomic<uint64_t> floor = 0;
  std::set<std::string> undecided;  // as an adjudicator does, by token
  adjudicator_.Follow([&](const proto::CommitRequest& commit, proto::Verdict* verdict) {
    WriteSetView view;
    EXPECT_TRUE(WriteSetView::Parse(commit.write_set(), &view).ok());
    const std::string token(view.token().begin(), view.token().end());
    if (view.read_lsn() >= floor && !undecided.contains(token)) return adjudicator_.Decide(commit.write_set(), verdict);
    undecided.insert(token);
    verdict->set_outcome(proto::OUTCOME_UNKNOWN);
    return true;
  });
  adjudicator_.last_lsn = 1000;
  floor = 900;
  for (uint32_t id = 1; id <= 3; id++) {
    ASSERT_TRUE(cc_channel_drop_storage(channel(), id));
    EXPECT_TRUE(Eventually([this] { return cc_channel_idle(channel()); }));
    EXPECT_EQ(adjudicator_.drops(), id);
    // A drop that is on its way when all that is known is forgotten.
    adjudicator_.last_lsn += 1000;
    floor += 1000;
  }
  adjudicator_.Follow({});
}

TEST_F(GatewayTest, DropsAbandonsReadersAndPage) {
  StartGateway();
  for (uint32_t id = 1; id <= 150; id++) ASSERT_TRUE(cc_channel_drop_storage(channel(), id));
  Put(2, CC_REQ_ABANDON, "0123456789abcdef");
  cc_channel_set_read_lsn(channel(), 5, 77);
  StartServer();
  EXPECT_TRUE(Eventually([this] { return adjudicator_.drops() == 150; }));
  EXPECT_TRUE(Eventually([this] { return adjudicator_.abandons == 1; }));
  EXPECT_TRUE(Eventually([this] { return storage_.lowest == 77; }));
  // Nobody vouches for the page, so it is offered again and again.
  EXPECT_TRUE(Eventually([this] { return adjudicator_.offers >= 3; }));
}

// A reader that begins between two reports must find its versions, however long the gateway takes for the next one.
TEST_F(GatewayTest, WithoutReadersTheNewestLsnIsReported) {
  const int fd = open(page_path_.c_str(), O_RDWR);
  auto* page = static_cast<LsnPage*>(mmap(nullptr, kLsnPageSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  close(fd);
  ASSERT_NE(page, MAP_FAILED);
  page->committed = 500;
  page->lease_until_us = BoottimeUs() + 3'600'000'000;
  page->magic = kLsnPageMagic;
  StartServer();
  StartGateway();
  EXPECT_TRUE(Eventually([this] { return storage_.lowest == 500; }));
  cc_channel_set_read_lsn(channel(), 5, 77);
  EXPECT_TRUE(Eventually([this] { return storage_.lowest == 77; }));
  cc_channel_set_read_lsn(channel(), 5, 0);
  page->committed = 501;
  EXPECT_TRUE(Eventually([this] { return storage_.lowest == 501; }));
  page->lease_until_us = 0;  // nobody vouches for it
  // Who asks for the newest one registers it later than that, and has to find its versions.
  adjudicator_.last_lsn = 600;
  EXPECT_TRUE(Eventually([this] { return storage_.lowest == 600; }));
  adjudicator_.last_lsn = 700;
  EXPECT_TRUE(Eventually([this] { return storage_.lowest == 700; }));
  cc_channel_set_read_lsn(channel(), 5, 650);
  EXPECT_TRUE(Eventually([this] { return storage_.lowest == 650; }));
  munmap(page, kLsnPageSize);
}

TEST_F(GatewayTest, ReportsThatFailAreToldOnceForEachReason) {
  const auto told = [this] {
    cc_gateway_drain_log(gateway_);
    return std::count_if(logged.begin(), logged.end(), [this](const std::string& line) {
      return line == "could not report read LSNs to storage at \"" + address_ + "\": scripted failure";
    });
  };
  const auto await_reports = [this](int more) {
    const int before = storage_.reports;
    EXPECT_TRUE(Eventually([&] { return storage_.reports >= before + more; }));
  };
  logged.clear();
  storage_.fail = true;
  StartServer();
  StartGateway();
  await_reports(4);
  EXPECT_EQ(told(), 1);
  storage_.fail = false;
  await_reports(3);
  storage_.fail = true;
  await_reports(4);
  EXPECT_EQ(told(), 2);
}

TEST_F(GatewayTest, StatusNamesEachPart) {
  StartServer();
  StartGateway();
  AwaitConnected();
  Put(0, CC_REQ_STATUS, "");
  const CcAnswer answer = Await(0);
  ASSERT_EQ(answer.outcome, CC_COMMITTED);
  const std::string text(cc_channel_text(channel(), 0), answer.text_size);
  EXPECT_NE(text.find("gateway.connected=1\n"), std::string::npos) << text;
  EXPECT_NE(text.find("adjudicator.epoch=7\n"), std::string::npos) << text;
  EXPECT_NE(text.find("journal.error="), std::string::npos) << text;
}

TEST_F(GatewayTest, StopsQuicklyWithoutASidecar) {
  StartGateway();
  Put(0, CC_REQ_READ_LSN, "");
  usleep(50000);
  StopGateway();  // or the test hangs
}

}  // namespace
}  // namespace concord
