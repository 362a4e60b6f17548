// For tests of the gateway: a scripted adjudicator and storage on a real unix socket, and a channel to hand requests
// over.
#pragma once

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
#include "proto/adjudicator.grpc.pb.h"
#include "proto/storage.grpc.pb.h"

namespace concord::gateway_test {

constexpr int kSlots = 8;
constexpr size_t kBuffer = 4096;

inline std::atomic<int> wakes[kSlots];
inline std::vector<std::string> logged;  // by cc_gateway_drain_log

inline std::string WriteSet(uint8_t id, std::string_view value = "v") {
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

}  // namespace concord::gateway_test
