// Against a real etcd, one for all tests that leave it as it was but for their own cluster's keys.
#include "sidecar/metastore/etcd_metastore.h"

#include <grpc/grpc.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <random>
#include <set>
#include <thread>

#include "sidecar/metastore/atomic_file.h"
#include "sidecar/metastore/etcd_server_test_util.h"
#include "sidecar/metastore/records.h"

namespace concord {
namespace {

// Until the end of all tests: when its last user goes, gRPC shuts down, and that may wait 10 s.
[[maybe_unused]] const bool grpc_stays = (grpc_init(), true);

const std::string kA(32, 'a'), kB(32, 'b'), kC(32, 'c');

std::string NewCluster() {
  static std::mt19937_64 random{std::random_device()()};
  char id[33];
  snprintf(id, sizeof id, "%016lx%016lx", random(), random());
  return id;
}

// Patient: these tests share two processors with others.
EtcdClient::Options At(std::vector<std::string> endpoints) {
  EtcdClient::Options options;
  options.endpoints = std::move(endpoints);
  options.connect_timeout_ms = 2000;
  options.call_timeout_ms = 10000;
  return options;
}

// As one who has read the newest epoch.
Status Acquire(Metastore* store, const std::string& id, uint64_t* epoch) {
  Leader newest;
  const Status status = store->ReadLeader(&newest);
  return status.ok() ? store->AcquireLeadership({0, id, "unix:/" + id}, newest.epoch, 0, epoch) : status;
}

int64_t ElapsedMs(std::chrono::steady_clock::time_point from) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - from).count();
}

class EtcdMetastoreTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    server_ = std::make_unique<EtcdServer>();
    server_->Start();
  }
  static void TearDownTestSuite() { server_.reset(); }

  static std::unique_ptr<EtcdServer> server_;
  const std::string cluster_ = NewCluster();
  EtcdMetastore store_{At({server_->endpoint()}), cluster_};
};
std::unique_ptr<EtcdServer> EtcdMetastoreTest::server_;

TEST_F(EtcdMetastoreTest, AnEpochIsAboveAllThatIsKnown) {
  Leader leader;
  ASSERT_TRUE(store_.ReadLeader(&leader).ok());
  EXPECT_EQ(leader.epoch, 0u);
  uint64_t epoch = 0;
  Status status = store_.AcquireLeadership({0, kA, "unix:/a"}, 0, 0, &epoch);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(epoch, 1u);
  ASSERT_TRUE(store_.AcquireLeadership({0, kB, "unix:/b"}, 1, 41, &epoch).ok());
  EXPECT_EQ(epoch, 42u);
  ASSERT_TRUE(store_.ReadLeader(&leader).ok());
  EXPECT_EQ(leader.epoch, 42u);
  EXPECT_EQ(leader.id, kB);
  EXPECT_EQ(leader.address, "unix:/b");
  EtcdMetastore other(At({server_->endpoint()}), NewCluster());
  ASSERT_TRUE(other.ReadLeader(&leader).ok());
  EXPECT_EQ(leader.epoch, 0u) << "of another cluster";
}

TEST_F(EtcdMetastoreTest, WhoHasNotSeenTheNewestEpochGetsNone) {
  uint64_t epoch = 0;
  EXPECT_EQ(store_.AcquireLeadership({0, kA, "unix:/a"}, 1, 0, &epoch).code(), Code::kConflict);
  ASSERT_TRUE(Acquire(&store_, kA, &epoch).ok());
  const Status status = store_.AcquireLeadership({0, kB, "unix:/b"}, 0, 7, &epoch);
  EXPECT_EQ(status.code(), Code::kConflict);
  EXPECT_EQ(status.message(), "epoch 0 is not the newest any more: that is 1");
  EXPECT_EQ(store_.AcquireLeadership({0, "b", "unix:/b"}, 1, 0, &epoch).code(), Code::kInvalid);
  EXPECT_EQ(store_.AcquireLeadership({0, kB, ""}, 1, 0, &epoch).code(), Code::kInvalid);
  EXPECT_EQ(epoch, 1u);
}

TEST_F(EtcdMetastoreTest, OfManyWhoWantAnEpochOneGetsIt) {
  constexpr int kThreads = 4, kEach = 25;
  std::mutex mutex;
  std::set<uint64_t> epochs;
  std::atomic<int> conflicts = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; i++) {
    threads.emplace_back([&, id = std::string(32, static_cast<char>('a' + i))] {
      EtcdMetastore store(At({server_->endpoint()}), cluster_);
      uint64_t last = 0;
      for (int got = 0; got < kEach;) {
        uint64_t epoch = 0;
        const Status status = Acquire(&store, id, &epoch);
        if (status.code() == Code::kConflict) {
          conflicts++;
          continue;
        }
        ASSERT_TRUE(status.ok()) << status.message();
        EXPECT_GT(epoch, last);
        last = epoch;
        const std::lock_guard lock(mutex);
        EXPECT_TRUE(epochs.insert(epoch).second) << "twice: " << epoch;
        got++;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(epochs.size(), size_t{kThreads} * kEach);
  EXPECT_EQ(*epochs.rbegin(), epochs.size()) << "nothing was left out, as no answer was lost";
  EXPECT_GT(conflicts, 0);
}

TEST_F(EtcdMetastoreTest, TheMembershipIsReplacedByItsNextVersionOnly) {
  Membership membership;
  EXPECT_EQ(store_.ReadMembership(&membership).code(), Code::kNotFound);
  const Membership first{1, {{kA, "a:1"}}, 1};
  EXPECT_EQ(store_.WriteMembership({2, first.journal, 1}, 0).code(), Code::kConflict);
  ASSERT_TRUE(store_.WriteMembership(first, 0).ok());
  EXPECT_EQ(store_.WriteMembership(first, 0).code(), Code::kConflict) << "the same again";
  EXPECT_EQ(store_.WriteMembership({3, first.journal, 1}, 0).code(), Code::kConflict);
  EXPECT_EQ(store_.WriteMembership({2, first.journal, 2}, 0).code(), Code::kInvalid);
  ASSERT_TRUE(store_.WriteMembership({2, {{kA, "a:1"}, {kB, "b:1"}, {kC, "c:1"}}, 2}, 0).ok());
  ASSERT_TRUE(store_.ReadMembership(&membership).ok());
  EXPECT_EQ(membership.version, 2u);
  ASSERT_EQ(membership.journal.size(), 3u);
  EXPECT_EQ(membership.journal[2].address, "c:1");
  EXPECT_EQ(membership.write_quorum, 2u);

  std::atomic<int> written = 0, conflicts = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; i++) {
    threads.emplace_back([&] {
      const Status status = store_.WriteMembership({3, {{kA, "a:1"}}, 1}, 0);
      if (status.ok()) written++;
      if (status.code() == Code::kConflict) conflicts++;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(written, 1);
  EXPECT_EQ(conflicts, 3);
}

TEST_F(EtcdMetastoreTest, TheMembershipIsReplacedByTheNewestLeaderOnly) {
  uint64_t epoch = 0;
  ASSERT_TRUE(store_.WriteMembership({1, {{kA, "a:1"}}, 1}, 0).ok());
  ASSERT_TRUE(store_.AcquireLeadership({0, kA, "unix:/a"}, 0, 0, &epoch).ok());
  EXPECT_EQ(store_.WriteMembership({2, {{kB, "b:1"}}, 1}, epoch - 1).code(), Code::kConflict);
  EXPECT_EQ(store_.WriteMembership({2, {{kB, "b:1"}}, 1}, epoch + 1).code(), Code::kConflict);
  EXPECT_TRUE(store_.WriteMembership({2, {{kB, "b:1"}}, 1}, epoch).ok());
  // Another one leads between the look and the write.
  EtcdClient client(At({server_->endpoint()}));
  std::string value;
  int64_t leader = 0, members = 0;
  ASSERT_TRUE(client.Get(LeaderKey(cluster_), &value, &leader).ok());
  ASSERT_TRUE(client.Get(MembershipKey(cluster_), &value, &members).ok());
  ASSERT_TRUE(store_.AcquireLeadership({0, kB, "unix:/b"}, epoch, 0, &epoch).ok());
  EXPECT_EQ(client.Replace(MembershipKey(cluster_), members, "stale", {{LeaderKey(cluster_), leader}}).code(),
            Code::kConflict);
  Membership membership;
  ASSERT_TRUE(store_.ReadMembership(&membership).ok());
  EXPECT_EQ(membership.version, 2u);
}

// Each process has a key, which goes when it is not written any more.
TEST_F(EtcdMetastoreTest, ProcessesAreListedWhileTheyReport) {
  std::vector<LiveProcess> processes;
  ASSERT_TRUE(store_.ListProcesses(&processes).ok());
  EXPECT_TRUE(processes.empty());
  EtcdMetastore other(At({server_->endpoint()}), NewCluster());
  ASSERT_TRUE(other.ReportProcess({kC, "unix:/c", {"storage"}, "1"}, 600).ok());
  ASSERT_TRUE(store_.ReportProcess({kB, "unix:/b", {"storage"}, "1"}, 1).ok());
  for (int i = 0; i < 3; i++)
    ASSERT_TRUE(store_.ReportProcess({kA, "unix:/a" + std::to_string(i), {"adjudicator"}, "1"}, i == 0 ? 1 : 600).ok());
  ASSERT_TRUE(store_.ListProcesses(&processes).ok());
  ASSERT_GE(processes.size(), 1u);
  EXPECT_EQ(processes[0].id, kA);
  EXPECT_EQ(processes[0].address, "unix:/a2");
  for (int i = 0; i < 600 && processes.size() > 1; i++) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    ASSERT_TRUE(store_.ListProcesses(&processes).ok());
  }
  ASSERT_EQ(processes.size(), 1u) << "the time of one is over";
  EXPECT_EQ(processes[0].id, kA) << "and the other one's was written again";
}

TEST_F(EtcdMetastoreTest, WhatIsNotUnderstoodIsNotWrittenOver) {
  EtcdClient client(At({server_->endpoint()}));
  ASSERT_TRUE(client.Replace("/concord/" + cluster_ + "/leader", 0, "garbage", {}).ok());
  ASSERT_TRUE(client.Replace("/concord/" + cluster_ + "/members", 0, "garbage", {}).ok());
  uint64_t epoch = 0;
  Leader leader;
  Membership membership;
  EXPECT_EQ(store_.ReadLeader(&leader).code(), Code::kCorruption);
  EXPECT_EQ(store_.AcquireLeadership({0, kA, "unix:/a"}, 0, 0, &epoch).code(), Code::kCorruption);
  EXPECT_EQ(store_.ReadMembership(&membership).code(), Code::kCorruption);
  EXPECT_EQ(store_.WriteMembership({1, {{kA, "a:1"}}, 1}, 0).code(), Code::kCorruption);
}

// Passes calls on to etcd, and keeps the answers to transactions.
class AnswersLost : public etcdserverpb::KV::Service {
 public:
  explicit AnswersLost(const std::string& etcd)
      : etcd_(etcdserverpb::KV::NewStub(grpc::CreateChannel(etcd, grpc::InsecureChannelCredentials()))) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~AnswersLost() override { server_->Shutdown(std::chrono::system_clock::now()); }
  std::string endpoint() const { return "127.0.0.1:" + std::to_string(port_); }

  grpc::Status Range(grpc::ServerContext*, const etcdserverpb::RangeRequest* request,
                     etcdserverpb::RangeResponse* response) override {
    grpc::ClientContext context;
    return etcd_->Range(&context, *request, response);
  }
  grpc::Status Txn(grpc::ServerContext*, const etcdserverpb::TxnRequest* request,
                   etcdserverpb::TxnResponse* response) override {
    grpc::ClientContext context;
    EXPECT_TRUE(etcd_->Txn(&context, *request, response).ok());
    return {grpc::StatusCode::UNAVAILABLE, "the answer is lost"};
  }

 private:
  std::unique_ptr<etcdserverpb::KV::Stub> etcd_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

TEST_F(EtcdMetastoreTest, AnEpochWhoseAnswerWasLostIsNobodys) {
  const AnswersLost lossy(server_->endpoint());
  EtcdMetastore alone(At({lossy.endpoint()}), cluster_);
  uint64_t epoch = 0;
  Status status = alone.AcquireLeadership({0, kA, "unix:/a"}, 0, 0, &epoch);
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_EQ(status.message(), "etcd does not answer: " + lossy.endpoint() + ": the answer is lost");
  EXPECT_EQ(alone.AcquireLeadership({0, kA, "unix:/a"}, 0, 0, &epoch).code(), Code::kConflict);
  EtcdMetastore two(At({lossy.endpoint(), server_->endpoint()}), cluster_);
  EXPECT_EQ(two.AcquireLeadership({0, kA, "unix:/a"}, 1, 0, &epoch).code(), Code::kConflict);
  EXPECT_EQ(epoch, 0u);
  Leader leader;
  ASSERT_TRUE(two.ReadLeader(&leader).ok());
  EXPECT_EQ(leader.epoch, 2u);
  EXPECT_EQ(leader.id, kA);
  ASSERT_TRUE(two.AcquireLeadership({0, kA, "unix:/a"}, 2, 0, &epoch).ok());
  EXPECT_EQ(epoch, 3u);
}

TEST_F(EtcdMetastoreTest, ADeadEndpointCostsLittle) {
  auto options = At({"127.0.0.1:" + std::to_string(FreePort()), server_->endpoint()});
  options.connect_timeout_ms = 1000;
  EtcdMetastore store(options, cluster_);
  for (int i = 0; i < 3; i++) {
    uint64_t epoch = 0;
    const auto from = std::chrono::steady_clock::now();
    const Status status = Acquire(&store, kA, &epoch);
    EXPECT_TRUE(status.ok()) << status.message();
    EXPECT_LT(ElapsedMs(from), 5000);
  }
  options.endpoints.pop_back();
  EtcdMetastore dead(options, cluster_);
  Leader leader;
  const Status status = dead.ReadLeader(&leader);
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_NE(status.message().find(options.endpoints[0] + ": "), std::string::npos) << status.message();
  EXPECT_NE(status.message().find("Connection refused"), std::string::npos) << status.message();
}

TEST_F(EtcdMetastoreTest, CallsAreBoundedAndCancelled) {
  EtcdServer server;
  server.Start();
  auto options = At({server.endpoint()});
  options.call_timeout_ms = 1500;
  EtcdMetastore hasty(options, cluster_);
  EtcdMetastore patient(At({server.endpoint()}), cluster_);
  Leader leader;
  ASSERT_TRUE(patient.ReadLeader(&leader).ok());
  server.Pause();
  const Status status = hasty.ReadLeader(&leader);
  EXPECT_EQ(status.code(), Code::kUnavailable) << status.message();
  std::thread canceller([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    patient.Cancel();
  });
  const auto from = std::chrono::steady_clock::now();
  EXPECT_EQ(patient.ReadLeader(&leader).code(), Code::kShutdown);
  EXPECT_LT(ElapsedMs(from), 5000);
  canceller.join();
  server.Continue();
  EXPECT_EQ(patient.ReadLeader(&leader).code(), Code::kShutdown) << "those that follow too";
}

// Killed at random moments while two acquire; whatever was returned was returned once, and ascends.
TEST(EtcdMetastore, EpochsAscendOverKills) {
  EtcdServer server;
  server.Start();
  const std::string cluster = NewCluster();
  std::atomic<bool> done = false;
  std::mutex mutex;
  std::set<uint64_t> epochs;
  std::atomic<int> failures = 0;
  std::vector<std::thread> threads;
  for (const std::string& id : {kA, kB}) {
    threads.emplace_back([&, id] {
      auto options = At({server.endpoint()});
      options.connect_timeout_ms = 200;
      EtcdMetastore store(options, cluster);
      uint64_t last = 0;
      while (!done) {
        uint64_t epoch = 0;
        const Status status = Acquire(&store, id, &epoch);
        if (status.ok()) {
          EXPECT_GT(epoch, last);
          last = epoch;
          const std::lock_guard lock(mutex);
          EXPECT_TRUE(epochs.insert(epoch).second) << "twice: " << epoch;
        } else {
          EXPECT_TRUE(status.code() == Code::kConflict || status.code() == Code::kUnavailable) << status.ToString();
          if (status.code() == Code::kUnavailable) failures++;
          std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
      }
    });
  }
  const auto wait_until = [](const std::function<bool()>& condition) {
    for (int i = 0; i < 30000 && !condition(); i++) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_TRUE(condition());
  };
  const auto acquired = [&] {
    const std::lock_guard lock(mutex);
    return epochs.size();
  };
  for (int kills = 0;; kills++) {
    wait_until([&, before = acquired()] { return acquired() >= before + 10; });
    if (kills == 3) break;
    server.Kill();
    wait_until([&, before = failures.load()] { return failures > before; });
    server.Start();
  }
  done = true;
  for (std::thread& thread : threads) thread.join();
}

void Shell(const std::string& command) {
  ASSERT_EQ(system(("( " + command + " ) >/dev/null 2>&1").c_str()), 0) << command;
}

TEST(EtcdMetastore, UsersAndTheirTokens) {
  EtcdServer server;
  server.Start();
  const std::string cluster = NewCluster();
  auto options = At({server.endpoint()});
  options.user = "concord";
  options.password = "secret";
  EtcdMetastore store(options, cluster);
  uint64_t epoch = 0;
  ASSERT_TRUE(Acquire(&store, kA, &epoch).ok()) << "users are not enabled yet";

  const std::string etcdctl = "ETCDCTL_API=3 etcdctl --endpoints=" + server.endpoint() + " ";
  Shell(etcdctl + "user add root:root && " + etcdctl + "user grant-role root root && " + etcdctl +
        "user add concord:secret && " + etcdctl + "user add another:x && " + etcdctl + "role add concord && " +
        etcdctl + "role grant-permission --prefix concord readwrite /concord/ && " + etcdctl +
        "user grant-role concord concord && " + etcdctl + "auth enable");
  ASSERT_TRUE(Acquire(&store, kA, &epoch).ok()) << "now they are";
  EXPECT_EQ(epoch, 2u);
  // A new password, if it is the old one too, ends the tokens.
  Shell("echo secret | " + etcdctl + "--user=root:root user passwd --interactive=false concord");
  Status status = Acquire(&store, kA, &epoch);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(epoch, 3u);
  server.Kill();
  server.Start();
  status = Acquire(&store, kA, &epoch);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(epoch, 4u);

  Leader leader;
  EtcdMetastore nobody(At({server.endpoint()}), cluster);
  status = nobody.ReadLeader(&leader);
  EXPECT_EQ(status.code(), Code::kInvalid);
  EXPECT_EQ(status.message(), "etcd at " + server.endpoint() + " refuses: etcdserver: user name is empty");
  options.password = "wrong";
  EtcdMetastore wrong(options, cluster);
  status = wrong.ReadLeader(&leader);
  EXPECT_EQ(status.code(), Code::kInvalid);
  EXPECT_NE(status.message().find("invalid user ID or password"), std::string::npos) << status.message();
  options.user = "another";
  options.password = "x";
  EtcdMetastore another(options, cluster);
  status = another.ReadLeader(&leader);
  EXPECT_EQ(status.code(), Code::kInvalid);
  EXPECT_NE(status.message().find("permission denied"), std::string::npos) << status.message();
}

TEST(EtcdMetastore, Tls) {
  EtcdServer server;
  const std::string path = server.directory() + "/";
  const std::string make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 ";
  for (const std::string ca : {"ca", "other"})
    Shell(make + "-subj /CN=" + ca + " -keyout " + path + ca + ".key -out " + path + ca + ".crt");
  for (const std::string name : {"server", "client"})
    Shell(make + "-subj /CN=" + name + " -addext basicConstraints=CA:FALSE -addext subjectAltName=IP:127.0.0.1 -CA " +
          path + "ca.crt -CAkey " + path + "ca.key -keyout " + path + name + ".key -out " + path + name + ".crt");
  server.Start({"--cert-file=" + path + "server.crt", "--key-file=" + path + "server.key", "--client-cert-auth",
                "--trusted-ca-file=" + path + "ca.crt"});
  auto options = At({server.endpoint()});
  ASSERT_TRUE(ReadSmallFile(path + "ca.crt", &options.ca).ok());
  ASSERT_TRUE(ReadSmallFile(path + "client.crt", &options.certificate).ok());
  ASSERT_TRUE(ReadSmallFile(path + "client.key", &options.key).ok());
  const std::string cluster = NewCluster();
  EtcdMetastore store(options, cluster);
  uint64_t epoch = 0;
  const Status status = Acquire(&store, kA, &epoch);
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(epoch, 1u);

  Leader leader;
  options.connect_timeout_ms = 100;  // these never are
  auto plain = At({server.endpoint()});
  plain.connect_timeout_ms = 100;
  EXPECT_EQ(EtcdMetastore(plain, cluster).ReadLeader(&leader).code(), Code::kUnavailable) << "no TLS";
  auto no_certificate = options;
  no_certificate.certificate = no_certificate.key = "";
  EXPECT_EQ(EtcdMetastore(no_certificate, cluster).ReadLeader(&leader).code(), Code::kUnavailable);
  auto foreign = options;
  ASSERT_TRUE(ReadSmallFile(path + "other.crt", &foreign.ca).ok());
  EXPECT_EQ(EtcdMetastore(foreign, cluster).ReadLeader(&leader).code(), Code::kUnavailable) << "another CA";
}

TEST(EtcdMetastore, OneOfThreeMayBeDead) {
  EtcdServer a("a"), b("b"), c("c");
  const std::string members = a.initial_member() + "," + b.initial_member() + "," + c.initial_member();
  for (EtcdServer* server : {&a, &b, &c}) server->Launch(members);
  for (EtcdServer* server : {&a, &b, &c}) ASSERT_TRUE(server->WaitUntilReady());
  EtcdMetastore store(At({a.endpoint(), b.endpoint(), c.endpoint()}), NewCluster());
  uint64_t epoch = 0;
  Status status = Acquire(&store, kA, &epoch);
  ASSERT_TRUE(status.ok()) << status.message();
  a.Kill();
  // If that was their leader, the others need a moment to elect one.
  for (int i = 0; i < 100; i++) {
    status = Acquire(&store, kB, &epoch);
    if (status.ok()) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_GE(epoch, 2u);
  Leader leader;
  ASSERT_TRUE(store.ReadLeader(&leader).ok());
  EXPECT_EQ(leader.epoch, epoch);
  // One of three alone knows nothing for sure.
  b.Kill();
  auto options = At({c.endpoint()});
  options.call_timeout_ms = 1000;
  EXPECT_EQ(EtcdMetastore(options, NewCluster()).ReadLeader(&leader).code(), Code::kUnavailable);
}

}  // namespace
}  // namespace concord
