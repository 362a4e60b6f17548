// What the tests of the adjudicator's service share: the process, a gateway, an LSN page.
#pragma once

#include <fcntl.h>
#include <grpc/grpc.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/key.h"
#include "sidecar/adjudicator/adjudicator_service.h"
#include "sidecar/adjudicator/test_journal.h"

namespace concord {

// Until the end of all tests: when its last user goes, gRPC shuts down, and that may wait 10 s for a poller of a
// client.
[[maybe_unused]] inline const bool grpc_stays = (grpc_init(), true);

class CountingMetastore : public Metastore {
 public:
  Status ReadLeader(Leader* leader) override {
    const std::lock_guard lock(mutex_);
    *leader = leader_;
    return Status::Ok();
  }
  Status AcquireLeadership(const Leader& self, uint64_t seen, uint64_t above, uint64_t* epoch) override {
    const std::lock_guard lock(mutex_);
    if (seen != leader_.epoch) return {Code::kConflict, "not the newest"};
    *epoch = std::max(seen, above) + 1;
    leader_ = {*epoch, self.id, self.address};
    return Status::Ok();
  }
  Status ReadMembership(Membership* membership) override {
    const std::lock_guard lock(mutex_);
    if (membership_.version == 0) return {Code::kNotFound, "none"};
    *membership = membership_;
    return Status::Ok();
  }
  Status WriteMembership(const Membership& membership, uint64_t epoch) override {
    const std::lock_guard lock(mutex_);
    if (epoch != leader_.epoch) return NotNewest(epoch, leader_.epoch);
    if (membership.version != membership_.version + 1) return {Code::kConflict, "another version"};
    if (refuse_next_.exchange(false)) return {Code::kUnavailable, "not written"};
    membership_ = membership;
    return lose_answer_.exchange(false) ? Status(Code::kUnavailable, "the answer was lost") : Status::Ok();
  }
  void Cancel() override {}

  void RefuseNextWrite() { refuse_next_ = true; }
  void LoseNextAnswer() { lose_answer_ = true; }

 private:
  std::mutex mutex_;  // guards the two after it
  Leader leader_;
  Membership membership_;
  std::atomic<bool> refuse_next_ = false, lose_answer_ = false;
};

inline Token MakeToken(uint64_t number) {
  Token token{};
  memcpy(token.data(), &number, sizeof number);
  return token;
}

inline std::string MakeWriteSet(uint64_t token, const std::vector<Check>& checks, size_t value_bytes = 8) {
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
  JournalEnsemble One() { return {{JournalPeer(journal_.stub())}, 1, nullptr}; }
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

inline grpc::StatusCode Offer(Process* process, const std::string& path) {
  grpc::ClientContext context;
  proto::OfferPageRequest request;
  request.set_path(path);
  proto::OfferPageReply reply;
  return process->stub->OfferPage(&context, request, &reply).error_code();
}

}  // namespace concord
