#include "sidecar/journal/append_link.h"

#include <atomic>
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

  bool Write(proto::AppendRequest request, proto::AppendReply*) override { return stream_->Write(request); }
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
  LocalAppend(journal::JournalNode* node, LocalSync sync) : node_(node), sync_(sync) {}

  bool Write(proto::AppendRequest request, proto::AppendReply* reply) override {
    if (!open()) return false;
    epoch_ = request.epoch();
    const bool frames = !request.frames().empty();
    Status status =
        node_->Submit({epoch_, request.committed_lsn(), request.write_quorum(), std::move(*request.mutable_frames()),
                       static_cast<int64_t>(request.lease_ms()), request.release()});
    // A gap means that the writer's view of the log is not the node's: its epoch is over, as with a fence.
    if (status.code() == Code::kInvalid) status = {Code::kStaleEpoch, status.message()};
    if (!status.ok()) return End(status);
    reply->set_heard_us(request.sent_us());
    reply->set_unfollowed(!node_->followed());
    if (sync_ == LocalSync::kInWrite) {
      while (SyncOne(reply) == Synced::kSome) {
      }
    } else if (frames) {
      const std::lock_guard lock(mutex_);
      submitted_ = true;
      changed_.notify_one();
    }
    return open();
  }

  bool Read(proto::AppendReply* reply) override {
    for (;;) {
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return submitted_ || ended_; });
        if (!submitted_) return false;
        submitted_ = false;
      }
      reply->Clear();
      const Synced synced = SyncOne(reply);
      if (synced == Synced::kSome) {
        const std::lock_guard lock(mutex_);
        submitted_ = true;  // there may be more by now
      }
      if (reply->synced_lsn() > told_lsn_) {
        told_lsn_ = reply->synced_lsn();
        return true;
      }
    }
  }

  void WritesDone() override { End(Status::Ok()); }
  void Cancel() override { End({Code::kShutdown, "the link was cancelled"}); }

  Status Finish() override {
    const std::lock_guard lock(mutex_);
    return status_;
  }

 private:
  enum class Synced : uint8_t { kSome, kAll, kFailed };

  // One group of what has been submitted; tells of it in the reply, and ends the link if that fails.
  Synced SyncOne(proto::AppendReply* reply) {
    for (;;) {
      Lsn synced = kNoLsn;
      Status failure;
      switch (node_->FlushOnce(epoch_, &synced, &failure)) {
        case journal::JournalNode::Flush::kSynced: return Acknowledge(synced, reply) ? Synced::kSome : Synced::kFailed;
        case journal::JournalNode::Flush::kNothing:
          return Acknowledge(node_->state().last_lsn, reply) ? Synced::kAll : Synced::kFailed;
        // A link of an epoch before, which is about to leave, or whoever seals or cuts; or Write helps.
        case journal::JournalNode::Flush::kBusy: std::this_thread::sleep_for(std::chrono::microseconds(100)); break;
        case journal::JournalNode::Flush::kFailed:
          // Before anything else: a Write may meet the gap that the refused frames leave, and this is why there is one.
          End(failure, /*is_cause=*/true);
          if (synced != kNoLsn) (void)Acknowledge(synced, reply);
          return Synced::kFailed;
      }
    }
  }

  bool open() {
    const std::lock_guard lock(mutex_);
    return !ended_;
  }
  // `synced` was read before: if the epoch still stands, no other leader has appended meanwhile, and it is all ours.
  bool Acknowledge(Lsn synced, proto::AppendReply* reply) {
    const Status fenced = node_->CheckEpoch(epoch_);
    if (!fenced.ok()) return End(fenced);
    reply->set_synced_lsn(synced);
    return true;
  }
  // False, for who ends it for a failure. `is_cause`: of what it may have been ended for already.
  bool End(Status status, bool is_cause = false) {
    {
      const std::lock_guard lock(mutex_);
      if (!ended_ || is_cause) status_ = std::move(status);
      ended_ = true;
      changed_.notify_one();
    }
    node_->LoseWriter(epoch_);
    return false;
  }

  journal::JournalNode* const node_;
  const LocalSync sync_;
  std::atomic<uint64_t> epoch_ = 0;
  Lsn told_lsn_ = kNoLsn;            // Read only
  std::mutex mutex_;                 // guards what follows
  std::condition_variable changed_;  // for the reader
  bool submitted_ = false;           // and perhaps not synced
  bool ended_ = false;
  Status status_;
};

}  // namespace

std::unique_ptr<AppendLink> OpenRemoteAppend(std::shared_ptr<proto::Journal::StubInterface> stub) {
  return std::make_unique<RemoteAppend>(std::move(stub));
}

std::unique_ptr<AppendLink> OpenLocalAppend(journal::JournalNode* node, LocalSync sync) {
  return std::make_unique<LocalAppend>(node, sync);
}

}  // namespace concord
