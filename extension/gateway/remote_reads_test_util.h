// For tests: reads of a backend through the gateway's socket from real replicas behind real services, which fail, hang
// and lag as the test says.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>

#include "bridge/remote.h"
#include "bridge/test_replica.h"
#include "gateway/replica_links.h"
#include "proto/sidecar.grpc.pb.h"
#include "sidecar/storage/replica_test_util.h"
#include "sidecar/storage/storage_service.h"

namespace concord {
inline constexpr uint64_t kRows = Prefix(Space::kRow, 5);
inline constexpr uint64_t kEntries = Prefix(Space::kEntry, 5);
inline constexpr uint64_t kPrefixes[] = {kRows, kRows + 1, kEntries - 1, kEntries, Prefix(Space::kEntry, UINT32_MAX)};

inline int read_timeout_ms = 30'000;
inline volatile int interrupted = 0;

// A replica's service, in front of which the test stands.
class ScriptedStorage : public proto::Storage::Service {
 public:
  ScriptedStorage(std::shared_ptr<Replica> replica, int64_t scan_steps_max)
      : slot_(std::move(replica)), real_(slot_, "storage-x", {}, {}, scan_steps_max) {}
  std::atomic<bool> hangs = false, fails = false;
  std::atomic<int> fail_percent = 0, slow_percent = 0;
  std::atomic<uint64_t> reads = 0;

  grpc::Status Read(grpc::ServerContext* context, const proto::ReadRequest* request, proto::ReadReply* reply) override {
    reads++;
    const int dice = static_cast<int>(dice_.fetch_add(7919) % 100);
    if (dice < slow_percent) std::this_thread::sleep_for(std::chrono::milliseconds(30));
    while (hangs && !context->IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (fails || dice < fail_percent) return {grpc::StatusCode::UNAVAILABLE, "scripted failure"};
    return real_.Read(context, request, reply);
  }
  grpc::Status ReportReaders(grpc::ServerContext* context, const proto::ReportReadersRequest* request,
                             proto::ReportReadersReply* reply) override {
    while (hangs && !context->IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (fails) return {grpc::StatusCode::UNAVAILABLE, "scripted failure"};
    return real_.ReportReaders(context, request, reply);
  }
  grpc::Status GetStatus(grpc::ServerContext* context, const proto::StorageStatusRequest* request,
                         proto::StorageStatus* reply) override {
    return real_.GetStatus(context, request, reply);
  }

 private:
  ReplicaSlot slot_;
  StorageService real_;
  std::atomic<uint64_t> dice_ = 0;
};

class FakeSidecar : public proto::Sidecar::Service {
 public:
  std::string cluster = "ours";
  grpc::Status GetInfo(grpc::ServerContext*, const proto::InfoRequest*, proto::Info* info) override {
    info->set_cluster_id(cluster);
    return grpc::Status::OK;
  }
};

struct Member {
  TemporaryDirectory directory;
  std::shared_ptr<Replica> replica;
  std::unique_ptr<ScriptedStorage> storage;
  FakeSidecar sidecar;
  std::unique_ptr<grpc::Server> server;
  size_t applied = 0;  // records

  std::string address() const { return "unix:" + directory.path() + "/socket"; }
};

// Writes go to a map of all versions and to the members.
class RemoteReadsFixture : public testing::Test, protected bridge::RandomKeys {
 protected:
  // Of the first replica; the others have more: scans that give up go on at any of them.
  explicit RemoteReadsFixture(int64_t scan_steps_max = 5) : RandomKeys(1, 60), scan_steps_max_(scan_steps_max) {}
  void SetUp() override {
    const size_t size = cc_channel_size(4, 4096);
    memory_.reset(static_cast<char*>(std::aligned_alloc(4096, (size + 4095) / 4096 * 4096)));
    cc_channel_init(channel(), 4, 4096);
    for (Member& member : members_) {
      ReplicaOptions options;
      options.directory = member.directory.path() + "/replica";
      options.map_bytes = uint64_t{1} << 30;
      options.max_readers = 126;
      options.retention_us = 0;
      options.restart_hold_us = 0;
      options.boot_id = "boot";
      options.unix_us = [] { return kLsnEpochUnixUs; };
      std::unique_ptr<Replica> replica;
      const Status s = Replica::Open(options, &replica);
      member.replica = std::move(replica);
      ASSERT_TRUE(s.ok()) << s.ToString();
      member.storage = std::make_unique<ScriptedStorage>(member.replica, scan_steps_max_);
      scan_steps_max_ *= 8;
    }
  }
  void TearDown() override {
    cc_replica_close();
    cc_remote_set(false, false);
    links_.reset();
    for (Member& member : members_) {
      if (member.storage != nullptr) member.storage->hangs = false;
      if (member.replica != nullptr) member.replica->StopWaiting();
      if (member.server != nullptr) member.server->Shutdown(std::chrono::system_clock::now());
      member.server.reset();
      if (member.replica != nullptr) (void)member.replica->Close();
    }
    read_timeout_ms = 30'000;
    interrupted = 0;
  }

  void Serve(Member* member) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(member->address(), grpc::InsecureServerCredentials());
    builder.RegisterService(member->storage.get());
    builder.RegisterService(&member->sidecar);
    member->server = builder.BuildAndStart();
    ASSERT_NE(member->server, nullptr);
  }
  void Start(bool await = true) {
    ReplicaLinks::Options options;
    for (Member& member : members_) {
      Serve(&member);
      options.addresses.push_back(member.address());
    }
    options.qp_id = "qp";
    options.report_ms = 20;
    options.lowest_read_lsn = [] { return Lsn{1}; };
    options.cluster_id = [] { return std::string("ours"); };
    options.reads_path = socket_ = members_[0].directory.path() + "/reads";
    links_ = std::make_unique<ReplicaLinks>(channel(), &log_, std::move(options));
    links_->Start();
    const CcRemoteOptions remote = {socket_.c_str(), &interrupted, &read_timeout_ms, nullptr};
    cc_remote_setup(&remote);
    cc_serve_interrupts = [] {};  // a slow machine makes waits look around
    cc_remote_set(true, true);
    if (!await) return;
    ASSERT_TRUE(Eventually([&] { return StatesAre(CC_REPLICA_WELL); }));
  }
  bool StatesAre(CcReplicaState state) {
    for (int i = 0; i < 3; i++)
      if (StateOf(i) != state) return false;
    return true;
  }
  CcReplicaState StateOf(int i) {
    CcReplicaInfo info;
    cc_channel_replica(channel(), i, &info);
    return info.state;
  }
  static bool Eventually(const std::function<bool()>& what) {
    for (int i = 0; i < 6000; i++) {
      if (what()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }
  CcReadStats Stats() {
    CcReadStats stats;
    cc_channel_read_stats(channel(), &stats);
    return stats;
  }

  CcChannel* channel() { return reinterpret_cast<CcChannel*>(memory_.get()); }
  static std::string Key(uint64_t prefix, std::string_view body) {
    std::string key;
    AppendBe64(&key, prefix);
    return key.append(body);
  }
  void Write(const std::string& key, const std::string& value) {
    model_.Write(key, value.empty() ? log_frames_.Delete(key) : log_frames_.Put(key, value), value);
  }
  void WriteSome() {
    for (uint32_t n = 1 + Random(60); n-- > 0;) {
      const uint64_t prefix = kPrefixes[Random(std::size(kPrefixes))];
      const std::string key = Key(prefix, RandomBody(prefix));
      for (uint32_t versions = Random(10) == 0 ? 12 : 1; versions-- > 0;)
        Write(key, Random(4) == 0 ? std::string() : std::string(8 + Random(Random(8) == 0 ? 20'000 : 60), 'v'));
    }
    ApplyAll();
  }
  void ApplyAll() {
    for (Member& member : members_) Apply(&member);
  }
  void Apply(Member* member) {
    if (member->applied == log_frames_.size()) return;
    const Status s = member->replica->Apply(log_frames_.Frames(member->applied, log_frames_.size()));
    ASSERT_TRUE(s.ok()) << s.ToString();
    member->applied = log_frames_.size();
  }
  // Bodies of a storage as of an LSN.
  std::map<std::string, std::pair<Lsn, std::string>> Visible(uint64_t prefix, Lsn lsn) {
    std::map<std::string, std::pair<Lsn, std::string>> visible;
    for (const VersionModel::Row& row : model_.Scan(Key(prefix, ""), Key(prefix + 1, ""), lsn, false))
      visible[row.key.substr(kPrefixSize)] = {row.lsn, row.value};
    return visible;
  }

  int64_t scan_steps_max_;
  std::array<Member, 3> members_;
  FrameLog log_frames_;
  VersionModel model_;
  LogQueue log_;
  std::unique_ptr<char, decltype(&free)> memory_{nullptr, free};
  std::string socket_;
  std::unique_ptr<ReplicaLinks> links_;
};

}  // namespace concord
