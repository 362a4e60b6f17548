// For tests: adjudicators over three real journal nodes that can be taken down, and hang.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "sidecar/adjudicator/adjudicator_test_util.h"
#include "sidecar/journal/journal_service.h"
#include "sidecar/journal/journal_test_util.h"

namespace concord {

using Clock = std::chrono::steady_clock;

inline int64_t MsSince(Clock::time_point from) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - from).count();
}

// Takes every message and answers none of them while it hangs.
class HangingJournal final : public proto::Journal::Service {
 public:
  explicit HangingJournal(journal::JournalNode* node) : service_(node) {}
  void Hang(bool hang) {
    hangs_ = hang;
    hangs_.notify_all();
  }
  void Stop() {
    Hang(false);
    service_.Stop();
  }
  grpc::Status Seal(grpc::ServerContext* context, const proto::SealRequest* request, proto::SealReply* reply) override {
    Wait();
    return service_.Seal(context, request, reply);
  }
  grpc::Status Truncate(grpc::ServerContext* context, const proto::TruncateRequest* request,
                        proto::TruncateReply* reply) override {
    Wait();
    return service_.Truncate(context, request, reply);
  }
  grpc::Status Append(grpc::ServerContext* context,
                      grpc::ServerReaderWriter<proto::AppendReply, proto::AppendRequest>* stream) override {
    return service_.Append(context, stream);
  }
  grpc::Status Tail(grpc::ServerContext* context, const proto::TailRequest* request,
                    grpc::ServerWriter<proto::TailReply>* writer) override {
    Wait();
    return service_.Tail(context, request, writer);
  }
  grpc::Status GetStatus(grpc::ServerContext* context, const proto::JournalStatusRequest* request,
                         proto::JournalStatus* reply) override {
    Wait();
    return service_.GetStatus(context, request, reply);
  }

 private:
  void Wait() { hangs_.wait(true); }

  journal::JournalService service_;
  std::atomic<bool> hangs_ = false;
};

// A journal node behind a socket. Down: nobody reaches it; its disk stays. It keeps nothing for long.
class Node {
 public:
  Node() : address_("unix-abstract:concord-node-" + std::to_string(getpid()) + "-" + std::to_string(count_++)) { Up(); }
  ~Node() { Down(); }

  void Up() {
    journal::JournalNodeOptions options;
    options.log.directory = directory_.path();
    options.log.segment_bytes = 65536;
    options.retention_ms = 0;
    options.silence_ms = 10'000;  // a leader that the machine has no time for is not dead
    ASSERT_TRUE(journal::JournalNode::Open(options, &node_).ok());
    service_ = std::make_unique<HangingJournal>(node_.get());
    grpc::ServerBuilder builder;
    SetServerLimits(&builder);
    builder.RegisterService(service_.get());
    builder.AddListeningPort(address_, grpc::InsecureServerCredentials());
    server_ = builder.BuildAndStart();
  }
  void Down() {
    if (server_ == nullptr) return;
    service_->Stop();
    server_->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(200));
    server_.reset();
    service_.reset();
    node_.reset();
  }
  void Hang(bool hang) { service_->Hang(hang); }
  std::shared_ptr<JournalStub> stub() { return proto::Journal::NewStub(Connect(address_)); }
  journal::JournalNode* node() { return node_.get(); }
  Member member() const { return {id_, address_}; }

 private:
  static inline int count_ = 0;
  const std::string address_;
  const std::string id_ = std::string(26, 'a') + std::to_string(100'000 + count_);
  journal::TemporaryDirectory directory_;
  std::unique_ptr<journal::JournalNode> node_;
  std::unique_ptr<HangingJournal> service_;
  std::unique_ptr<grpc::Server> server_;
};

class FailoverTest : public ::testing::Test {
 protected:
  JournalEnsemble Ensemble() {
    JournalEnsemble ensemble;
    for (Node& node : nodes_) ensemble.nodes.push_back(node.stub());
    ensemble.write_quorum = 2;
    return ensemble;
  }
  std::unique_ptr<Process> Start(int64_t lease_ms = 500, AdjudicatorService::Options options = {}) {
    options.standby = true;
    options.lease_ms = lease_ms;
    return std::make_unique<Process>(&metastore_, Ensemble(), options);
  }
  static bool Leads(Process* process) {
    grpc::ClientContext context;
    proto::ReadLsnReply reply;
    return process->stub->ReadLsn(&context, {}, &reply).ok();
  }
  static bool WaitFor(const std::function<bool()>& condition, int limit_ms = 20'000) {
    for (const auto begin = Clock::now(); MsSince(begin) < limit_ms;) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }

  // A node that is slow to be sealed joins a moment later.
  static void AwaitAllNodes(Process* leader) {
    ASSERT_TRUE(WaitFor([&] {
      const proto::AdjudicatorStatus status = leader->GetStatus();
      return status.leads() && std::all_of(status.journal().begin(), status.journal().end(),
                                           [](const auto& node) { return node.written(); });
    }));
  }

  Node nodes_[3];
  CountingMetastore metastore_;
};

}  // namespace concord
