#include "sidecar/journal/append_link.h"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "sidecar/rpc/status.h"

namespace concord {
namespace {

class RemoteAppend : public AppendLink {
 public:
  explicit RemoteAppend(std::shared_ptr<proto::Journal::StubInterface> stub)
      : stub_(std::move(stub)), stream_(stub_->Append(&context_)) {}

  bool Write(proto::AppendRequest request, Lsn*) override { return stream_->Write(request); }
  bool Read(proto::AppendReply* reply) override { return stream_->Read(reply); }
  void WritesDone() override { stream_->WritesDone(); }
  Status Finish() override { return FromGrpc(stream_->Finish()); }
  void Cancel() override { context_.TryCancel(); }

 private:
  const std::shared_ptr<proto::Journal::StubInterface> stub_;
  grpc::ClientContext context_;
  const std::unique_ptr<grpc::ClientReaderWriterInterface<proto::AppendRequest, proto::AppendReply>> stream_;
};

class LocalAppend : public AppendLink {
 public:
  explicit LocalAppend(journal::JournalNode* node) : node_(node) {}

  bool Write(proto::AppendRequest request, Lsn* acknowledged) override {
    if (!open()) return false;
    const uint64_t epoch = request.epoch();
    Status status =
        node_->Submit({epoch, request.committed_lsn(), request.write_quorum(), std::move(*request.mutable_frames())});
    while (status.ok()) {
      Lsn synced = kNoLsn;
      switch (node_->FlushOnce(&synced, &status)) {
        case journal::JournalNode::Flush::kSynced: status = Acknowledge(epoch, synced, acknowledged); break;
        case journal::JournalNode::Flush::kNothing:
          status = Acknowledge(epoch, node_->state().last_lsn, acknowledged);
          if (status.ok()) return open();
          break;
        // Only a link of an epoch before can be writing; it is about to leave.
        case journal::JournalNode::Flush::kBusy: std::this_thread::sleep_for(std::chrono::microseconds(100)); break;
        case journal::JournalNode::Flush::kFailed:
          if (synced != kNoLsn) (void)Acknowledge(epoch, synced, acknowledged);
          break;
      }
    }
    End(status);
    return false;
  }

  bool Read(proto::AppendReply*) override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return ended_; });
    return false;
  }

  void WritesDone() override { End(Status::Ok()); }
  void Cancel() override { End({Code::kShutdown, "the link was cancelled"}); }

  Status Finish() override {
    const std::lock_guard lock(mutex_);
    return status_;
  }

 private:
  bool open() {
    const std::lock_guard lock(mutex_);
    return !ended_;
  }
  // `synced` was read before: if the epoch still stands, no other leader has appended meanwhile, and it is all ours.
  Status Acknowledge(uint64_t epoch, Lsn synced, Lsn* acknowledged) const {
    Status fenced = node_->CheckEpoch(epoch);
    if (fenced.ok()) *acknowledged = synced;
    return fenced;
  }
  void End(Status status) {
    const std::lock_guard lock(mutex_);
    if (!ended_) status_ = std::move(status);
    ended_ = true;
    changed_.notify_one();
  }

  journal::JournalNode* const node_;
  std::mutex mutex_;                 // guards what follows
  std::condition_variable changed_;  // for the reader
  bool ended_ = false;
  Status status_;
};

}  // namespace

std::unique_ptr<AppendLink> OpenRemoteAppend(std::shared_ptr<proto::Journal::StubInterface> stub) {
  return std::make_unique<RemoteAppend>(std::move(stub));
}

std::unique_ptr<AppendLink> OpenLocalAppend(journal::JournalNode* node) { return std::make_unique<LocalAppend>(node); }

}  // namespace concord
