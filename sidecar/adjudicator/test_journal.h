// For tests: a journal node in memory, with the faults that tests want. Follows proto/journal.proto.
#pragma once

#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/frame.h"
#include "proto/journal.grpc.pb.h"
#include "sidecar/rpc/server.h"
#include "sidecar/rpc/status.h"

namespace concord {

class TestJournal final : public proto::Journal::Service {
 public:
  TestJournal() {
    // A real socket: within a process gRPC has a write wait until it is read.
    static std::atomic<int> made = 0;
    address_ = "unix-abstract:concord-test-journal-" + std::to_string(getpid()) + "-" + std::to_string(made++);
    grpc::ServerBuilder builder;
    SetServerLimits(&builder);
    builder.AddListeningPort(address_, grpc::InsecureServerCredentials());
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~TestJournal() override { server_->Shutdown(std::chrono::system_clock::now()); }

  std::shared_ptr<proto::Journal::StubInterface> stub() {
    return proto::Journal::NewStub(
        grpc::CreateCustomChannel(address_, grpc::InsecureChannelCredentials(), ChannelLimits()));
  }

  // ---- faults ----
  // Appends beyond this many more records fail so; nothing of the batch is kept.
  void FailAfter(int records, Status status) {
    const std::lock_guard lock(mutex_);
    fail_after_ = records;
    failure_ = std::move(status);
    changed_.notify_all();
  }
  void Heal() { FailAfter(-1, Status::Ok()); }
  void SetUnreachable(bool unreachable) {
    const std::lock_guard lock(mutex_);
    unreachable_ = unreachable;
  }
  // Holds appends back (nothing is synced) until false again.
  void Hold(bool hold) {
    const std::lock_guard lock(mutex_);
    hold_ = hold;
    changed_.notify_all();
  }
  // Keeps the records that are held back, but breaks the stream before it says so.
  void BreakAfterKeeping() {
    const std::lock_guard lock(mutex_);
    break_after_keeping_ = true;
    hold_ = false;
    changed_.notify_all();
  }

  // Says that nobody waits here for what becomes committed.
  void SetUnfollowed(bool unfollowed) { unfollowed_ = unfollowed; }

  // ---- the log ----
  struct Record {
    uint64_t epoch;
    Lsn lsn, prev_lsn;
    std::string record;
    bool operator==(const Record&) const = default;
  };
  std::vector<Record> log() {
    const std::lock_guard lock(mutex_);
    return log_;
  }
  void Put(uint64_t epoch, Lsn lsn, const std::string& record = "\x01") {
    const std::lock_guard lock(mutex_);
    log_.push_back({epoch, lsn, Last(), record});
  }
  void SetCommitted(Lsn lsn) {
    const std::lock_guard lock(mutex_);
    committed_ = lsn;
  }
  void TrimTo(Lsn lsn) {
    const std::lock_guard lock(mutex_);
    std::erase_if(log_, [&](const Record& r) { return r.lsn <= lsn; });
  }
  // Messages that want no answer, as they only tell what is committed.
  int news() const { return news_; }
  int with_frames() const { return with_frames_; }
  Lsn committed() {
    const std::lock_guard lock(mutex_);
    return committed_;
  }
  uint64_t requests() {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

  grpc::Status Seal(grpc::ServerContext*, const proto::SealRequest* request, proto::SealReply* reply) override {
    const std::lock_guard lock(mutex_);
    if (unreachable_) return {grpc::StatusCode::UNAVAILABLE, "unreachable"};
    if (request->epoch() <= sealed_) return ToGrpc({Code::kStaleEpoch, "sealed at " + std::to_string(sealed_)});
    sealed_ = request->epoch();
    changed_.notify_all();
    if (log_.empty()) return grpc::Status::OK;
    reply->set_last_epoch(log_.back().epoch);
    reply->set_last_lsn(log_.back().lsn);
    reply->set_first_lsn(log_.front().lsn);
    reply->set_committed_lsn(committed_);
    return grpc::Status::OK;
  }

  grpc::Status Truncate(grpc::ServerContext*, const proto::TruncateRequest* request, proto::TruncateReply*) override {
    const std::lock_guard lock(mutex_);
    if (request->epoch() < sealed_) return ToGrpc({Code::kStaleEpoch, "sealed"});
    while (!log_.empty() && log_.back().lsn > request->lsn()) log_.pop_back();
    return grpc::Status::OK;
  }

  grpc::Status Append(grpc::ServerContext* context,
                      grpc::ServerReaderWriter<proto::AppendReply, proto::AppendRequest>* stream) override {
    proto::AppendRequest request;
    while (stream->Read(&request)) {
      proto::AppendReply reply;
      {
        std::unique_lock lock(mutex_);
        while (hold_ && !context->IsCancelled()) changed_.wait_for(lock, std::chrono::milliseconds(10));
        requests_++;
        if (!request.frames().empty()) with_frames_++;
        if (unreachable_) return {grpc::StatusCode::UNAVAILABLE, "unreachable"};
        if (request.epoch() < sealed_) return ToGrpc({Code::kStaleEpoch, "sealed at " + std::to_string(sealed_)});
        std::vector<Record> records;
        std::string_view rest = request.frames();
        Frame frame;
        size_t consumed;
        while (ParseFrame(rest, &frame, &consumed).ok()) {
          if (frame.prev_lsn != (records.empty() ? Last() : records.back().lsn))
            return ToGrpc({Code::kStaleEpoch, "gap"});
          records.push_back({frame.epoch, frame.lsn, frame.prev_lsn, std::string(frame.record)});
          rest.remove_prefix(consumed);
        }
        if (!rest.empty()) return ToGrpc({Code::kInvalid, "bad frames"});
        if (fail_after_ >= 0 && static_cast<int>(records.size()) > fail_after_) return ToGrpc(failure_);
        if (fail_after_ >= 0) fail_after_ -= static_cast<int>(records.size());
        log_.insert(log_.end(), records.begin(), records.end());
        if (break_after_keeping_) {
          break_after_keeping_ = false;
          return {grpc::StatusCode::UNAVAILABLE, "broken off"};
        }
        committed_ = std::max<Lsn>(committed_, request.write_quorum() == 1 ? Last() : request.committed_lsn());
        reply.set_synced_lsn(Last());
        reply.set_heard_us(request.sent_us());
        reply.set_unfollowed(unfollowed_);
        if (request.lease_ms() > 0 && request.sent_us() == 0) {
          news_++;
          continue;
        }
      }
      stream->Write(reply);
    }
    return grpc::Status::OK;
  }

  grpc::Status Tail(grpc::ServerContext*, const proto::TailRequest* request,
                    grpc::ServerWriter<proto::TailReply>* writer) override {
    std::vector<Record> records = log();
    if (!records.empty() && request->after_lsn() < records.front().prev_lsn) return ToGrpc({Code::kTooOld, "trimmed"});
    for (const Record& record : records) {
      if (record.lsn <= request->after_lsn()) continue;
      proto::TailReply reply;
      AppendFrame(reply.mutable_frames(), record.epoch, record.lsn, record.prev_lsn, record.record);
      writer->Write(reply);
    }
    return grpc::Status::OK;
  }

  grpc::Status GetStatus(grpc::ServerContext*, const proto::JournalStatusRequest*,
                         proto::JournalStatus* reply) override {
    const std::lock_guard lock(mutex_);
    reply->set_sealed_epoch(sealed_);
    return grpc::Status::OK;
  }

 private:
  Lsn Last() const { return log_.empty() ? kNoLsn : log_.back().lsn; }  // needs mutex_

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Record> log_;
  Lsn committed_ = kNoLsn;
  uint64_t sealed_ = 0;
  uint64_t requests_ = 0;
  std::atomic<bool> unfollowed_ = false;
  std::atomic<int> news_ = 0;
  std::atomic<int> with_frames_ = 0;
  int fail_after_ = -1;
  Status failure_;
  bool unreachable_ = false;
  bool hold_ = false;
  bool break_after_keeping_ = false;
  std::string address_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace concord
