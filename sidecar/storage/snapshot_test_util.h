// Journal and replicas in one process, for tests of copying: a journal that trims whatever its leases let it, and
// replicas, each with a server of its own.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "sidecar/journal/lease_table.h"
#include "sidecar/rpc/server.h"
#include "sidecar/storage/replica_model.h"
#include "sidecar/storage/storage_role.h"

namespace concord {

template <typename Condition>
bool Eventually(Condition condition) {
  for (int i = 0; i < 6000; i++) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

class TrimmingJournal final : public proto::Journal::Service {
 public:
  grpc::Status Tail(grpc::ServerContext* context, const proto::TailRequest* request,
                    grpc::ServerWriter<proto::TailReply>* writer) override {
    std::unique_lock lock(mutex_);
    if (request->after_lsn() < trimmed_) return {grpc::StatusCode::OUT_OF_RANGE, "trimmed"};
    size_t next = 0;
    while (next < log_.size() && log_.lsn(next) <= request->after_lsn()) next++;
    while (!context->IsCancelled()) {
      if (next == log_.size()) {
        changed_.wait_for(lock, std::chrono::milliseconds(10));
        continue;
      }
      proto::TailReply reply;
      reply.set_frames(std::string(log_.Frames(next, log_.size())));
      next = log_.size();
      lock.unlock();
      writer->Write(reply);
      lock.lock();
    }
    return grpc::Status::OK;
  }
  grpc::Status ReportCheckpoint(grpc::ServerContext*, const proto::ReportCheckpointRequest* request,
                                proto::ReportCheckpointReply* reply) override {
    const std::lock_guard lock(mutex_);
    bool save = false;
    EXPECT_TRUE(leases_.Report(request->replica_id(), request->checkpoint_lsn(), request->lease_ms(), 0, &save).ok());
    trimmed_ = std::max(trimmed_, std::min(leases_.LowestCheckpoint().value_or(kNoLsn), log_.last()));
    reply->set_trimmed_lsn(trimmed_);
    reply->set_committed_lsn(log_.last());
    return grpc::Status::OK;
  }

  Lsn Put(const std::string& key, const std::string& value) {
    const std::lock_guard lock(mutex_);
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    const Lsn lsn =
        log_.Put(key, value, NextLsn(log_.last(), std::chrono::duration_cast<std::chrono::microseconds>(now).count()));
    changed_.notify_all();
    return lsn;
  }
  Lsn last() {
    const std::lock_guard lock(mutex_);
    return log_.last();
  }
  Lsn trimmed() {
    const std::lock_guard lock(mutex_);
    return trimmed_;
  }
  // Below which nothing is kept for this replica; nothing if it has no lease.
  std::optional<Lsn> LeaseOf(const std::string& replica_id) {
    const std::lock_guard lock(mutex_);
    for (const auto& lease : leases_.List(0))
      if (lease.replica_id == replica_id) return lease.checkpoint_lsn;
    return {};
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  FrameLog log_;
  journal::LeaseTable leases_;
  Lsn trimmed_ = kNoLsn;
};

// A server of one service, on a loopback port; ends its calls when it goes.
class TestServer {
 public:
  explicit TestServer(grpc::Service* service) {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(service);
    server_ = builder.BuildAndStart();
    address_ = "127.0.0.1:" + std::to_string(port);
  }
  ~TestServer() { server_->Shutdown(std::chrono::system_clock::now()); }
  const std::string& address() const { return address_; }
  // Connected: on a busy machine the first attempt may be given up, and with it the call that made it.
  std::shared_ptr<grpc::Channel> Channel() const {
    auto channel = Connect(address_);
    EXPECT_TRUE(channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(60)));
    return channel;
  }
  StoragePeer Peer() const { return {{"", address_}, proto::Storage::NewStub(Channel()), {}}; }

 private:
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

class TestReplica {
 public:
  TestReplica(std::string name, const TestServer& journal) : name_(std::move(name)), journal_(journal) {
    options_.replica.directory = directory_.path() + "/storage";
    options_.replica.map_bytes = uint64_t{1} << 30;
    options_.replica.max_readers = 126;
    options_.replica.retention_us = 3'600'000'000;
    options_.replica.restart_hold_us = 0;
    options_.replica.checkpoint_interval_us = 10'000;
    options_.applier.replica_id = name_;
    options_.applier.report_interval_us = 20'000;
    options_.applier.on_failure = [](const Status& failure) { ADD_FAILURE() << failure.ToString(); };
    options_.copy_retry_ms = 20;
  }
  ~TestReplica() { Stop(); }

  StorageRoleOptions& options() { return options_; }
  void CopyFrom(std::vector<StoragePeer> peers) {
    options_.peers = [peers](std::vector<StoragePeer>* out) { return *out = peers, Status::Ok(); };
  }
  void Start() {
    const Status s = StorageRole::Open(options_, &role_);
    ASSERT_TRUE(s.ok()) << s.ToString();
    first_ = role_->replica();
    server_ = std::make_unique<TestServer>(role_->service());
    role_->Start({JournalPeer(proto::Journal::NewStub(journal_.Channel()))});
  }
  void Stop() {
    if (role_ == nullptr) return;
    role_->StopFollowing();
    server_.reset();
    const Status s = role_->Stop();
    EXPECT_TRUE(s.ok()) << s.ToString();
    first_.reset();
    role_.reset();
  }
  // The one that there is now.
  std::shared_ptr<Replica> replica() { return role_->replica(); }
  std::shared_ptr<Replica> first() { return first_; }
  const TestServer& server() const { return *server_; }
  std::string directory() const { return options_.replica.directory; }
  proto::StorageStatus Status_() {
    grpc::ClientContext context;
    proto::StorageStatus status;
    const grpc::Status s = proto::Storage::NewStub(server_->Channel())->GetStatus(&context, {}, &status);
    EXPECT_TRUE(s.ok()) << s.error_message();
    return status;
  }

 private:
  const std::string name_;
  const TestServer& journal_;
  TemporaryDirectory directory_;
  StorageRoleOptions options_;
  std::unique_ptr<StorageRole> role_;
  std::unique_ptr<TestServer> server_;
  std::shared_ptr<Replica> first_;
};

}  // namespace concord
