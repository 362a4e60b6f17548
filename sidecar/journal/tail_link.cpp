#include "sidecar/journal/tail_link.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>

#include "sidecar/rpc/status.h"

namespace concord {
namespace {

constexpr size_t kLocalBatchBytes = 1u << 20;
constexpr size_t kMoreKeptBytes = 2 * kLocalBatchBytes;

// An asynchronous stream, of which one read is always outstanding: its frames are handled by the thread that receives
// them.
class RemoteTail : public TailLink {
 public:
  RemoteTail(proto::Journal::StubInterface* stub, Lsn after_lsn, int gather_ms) {
    proto::TailRequest request;
    request.set_after_lsn(after_lsn);
    request.set_gather_ms(static_cast<uint64_t>(gather_ms));
    reader_ = stub->PrepareAsyncTail(&context_, request, &queue_);
    reader_->StartCall(this);
  }

  ~RemoteTail() override {
    context_.TryCancel();
    queue_.Shutdown();
    void* tag;
    bool ok;
    while (queue_.Next(&tag, &ok)) {
    }
  }

  Event Next(int64_t wait_us, std::string* frames) override {
    // gRPC rounds deadlines up to a millisecond, so a mere look needs one that is long over.
    const auto deadline = wait_us == 0 ? std::chrono::system_clock::time_point()
                                       : std::chrono::system_clock::now() + std::chrono::microseconds(wait_us);
    for (;;) {
      void* tag;
      bool ok;
      const auto status = queue_.AsyncNext(&tag, &ok, deadline);
      if (status == grpc::CompletionQueue::TIMEOUT) {
        silence_ += std::chrono::microseconds(wait_us);
        if (silence_ < kTailSilence) return Event::kTimeout;
        silent_ = true;
        context_.TryCancel();
        queue_.Next(&tag, &ok);  // what is outstanding
        return Event::kEnd;
      }
      if (status == grpc::CompletionQueue::SHUTDOWN || !ok) return Event::kEnd;
      silence_ = {};
      if (!started_) {
        started_ = true;
        reader_->Read(&reply_, this);
        continue;
      }
      if (frames->empty()) {
        frames->swap(*reply_.mutable_frames());
      } else {
        frames->append(reply_.frames());
      }
      reply_.Clear();
      reader_->Read(&reply_, this);
      if (!frames->empty()) return Event::kFrames;  // empty: only tells committed_lsn
    }
  }

  // No read is outstanding after kEnd.
  Status Finish() override {
    grpc::Status result;
    reader_->Finish(&result, this);
    void* tag;
    bool ok;
    queue_.Next(&tag, &ok);
    return silent_ ? Status(Code::kUnavailable, "the journal node has fallen silent") : FromGrpc(result);
  }

  void Cancel() override { context_.TryCancel(); }

 private:
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::ClientAsyncReaderInterface<proto::TailReply>> reader_;
  proto::TailReply reply_;
  bool started_ = false;
  bool silent_ = false;
  std::chrono::microseconds silence_{};  // for which it was listened to in vain
};

class LocalTail : public TailLink {
 public:
  LocalTail(journal::JournalNode* node, Lsn after_lsn, int gather_ms)
      : node_(node), gather_(gather_ms), after_(after_lsn) {
    if (gather_ms == 0) follower_.emplace(node);
    limit_ = node->state().committed_lsn;  // what is there need not gather
  }

  Event Next(int64_t wait_us, std::string* frames) override {
    const auto until = Clock::now() + std::chrono::microseconds(wait_us);
    const int64_t wait_ms = (wait_us + 999) / 1000;
    if (limit_ <= after_ && !cancelled()) {
      limit_ = node_->WaitCommitted(after_, std::chrono::milliseconds(wait_ms));
      if (limit_ > after_ && gather_.count() > 0) gathered_at_ = Clock::now() + gather_;
    }
    if (gathered_at_.has_value()) Gather(until);
    if (cancelled()) return Event::kEnd;
    if (limit_ <= after_ || gathered_at_.has_value()) return Event::kTimeout;
    // Memory that was touched before: the faults of fresh pages cost more than the copying.
    std::string* const read = frames->empty() ? frames : &more_;
    Lsn last = kNoLsn;
    status_ = node_->Read(after_, limit_, kLocalBatchBytes, read, &last);
    if (!status_.ok()) return Event::kEnd;
    if (last == kNoLsn) {  // cut by a truncation meanwhile
      limit_ = kNoLsn;
      return Event::kTimeout;
    }
    after_ = last;
    if (read == &more_) {
      frames->append(more_);
      if (more_.capacity() > kMoreKeptBytes) more_ = {};
    }
    return Event::kFrames;
  }

  Status Finish() override { return status_.ok() ? Status(Code::kShutdown, "the tail was cancelled") : status_; }
  // Noticed at once while it gathers, and at the latest when the wait of Next is over.
  void Cancel() override {
    const std::lock_guard lock(mutex_);
    cancelled_.store(true);
    wake_.notify_all();
  }

 private:
  using Clock = std::chrono::steady_clock;

  bool cancelled() const { return cancelled_.load(); }

  // Until `until` at the latest.
  void Gather(Clock::time_point until) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait_until(lock, std::min(until, *gathered_at_), [this] { return cancelled(); });
    }
    if (Clock::now() < *gathered_at_) return;
    gathered_at_.reset();
    limit_ = node_->state().committed_lsn;
  }

  journal::JournalNode* const node_;
  const std::chrono::milliseconds gather_;
  std::optional<journal::JournalNode::Follower> follower_;  // somebody waits, unless this gathers
  Lsn after_;
  Lsn limit_ = kNoLsn;
  std::optional<Clock::time_point> gathered_at_;  // when what gathers is to be read
  std::string more_;                              // between two reads for its memory only
  Status status_;
  std::mutex mutex_;  // over waiting and waking
  std::condition_variable wake_;
  std::atomic<bool> cancelled_ = false;
};

}  // namespace

std::unique_ptr<TailLink> OpenRemoteTail(proto::Journal::StubInterface* stub, Lsn after_lsn, int gather_ms) {
  return std::make_unique<RemoteTail>(stub, after_lsn, gather_ms);
}

std::unique_ptr<TailLink> OpenLocalTail(journal::JournalNode* node, Lsn after_lsn, int gather_ms) {
  return std::make_unique<LocalTail>(node, after_lsn, gather_ms);
}

}  // namespace concord
