#include "sidecar/storage/applier.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>

namespace concord {
namespace {

constexpr int64_t kBackoffMinUs = 10'000;
constexpr int64_t kBackoffMaxUs = 1'000'000;
constexpr int64_t kNoSpaceRetryUs = 1'000'000;
constexpr int64_t kTrimmedRetryUs = 10'000'000;
constexpr int64_t kIdleTickUs = 100'000;        // horizon and checkpoints when nothing arrives
constexpr int64_t kMaintenancePauseUs = 1'000;  // between slices when there is more to do and nothing arrives
constexpr int64_t kBusyMaintenanceUs = 10'000;  // at least so often when frames never cease,
constexpr int64_t kBusyBacklogUs = 2'000;       // and so often when the last slice has left work

int64_t SteadyUs() {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

// An asynchronous stream, of which one read is always outstanding.
class Applier::Tail {
 public:
  enum class Event { kFrames, kTimeout, kEnd };

  Tail(proto::Journal::Stub* stub, grpc::ClientContext* context, Lsn after_lsn) : context_(context) {
    proto::TailRequest request;
    request.set_after_lsn(after_lsn);
    reader_ = stub->PrepareAsyncTail(context, request, &queue_);
    reader_->StartCall(this);
  }

  ~Tail() {
    context_->TryCancel();
    queue_.Shutdown();
    void* tag;
    bool ok;
    while (queue_.Next(&tag, &ok)) {
    }
  }

  // Appends the next reply's frames to `frames` if one comes within `wait_us`.
  Event Next(int64_t wait_us, std::string* frames) {
    // gRPC rounds deadlines up to a millisecond, so a mere look needs one that is long over.
    const auto deadline = wait_us == 0 ? std::chrono::system_clock::time_point()
                                       : std::chrono::system_clock::now() + std::chrono::microseconds(wait_us);
    for (;;) {
      void* tag;
      bool ok;
      const auto status = queue_.AsyncNext(&tag, &ok, deadline);
      if (status == grpc::CompletionQueue::TIMEOUT) return Event::kTimeout;
      if (status == grpc::CompletionQueue::SHUTDOWN || !ok) return Event::kEnd;
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

  // Only after kEnd: no read is outstanding then.
  grpc::Status Finish() {
    grpc::Status result;
    reader_->Finish(&result, this);
    void* tag;
    bool ok;
    queue_.Next(&tag, &ok);
    return result;
  }

 private:
  grpc::ClientContext* const context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::ClientAsyncReader<proto::TailReply>> reader_;
  proto::TailReply reply_;
  bool started_ = false;
};

void Applier::Start(std::shared_ptr<grpc::Channel> journal) {
  stub_ = proto::Journal::NewStub(std::move(journal));
  thread_ = std::thread([this] { Run(); });
  reporter_ = std::thread([this] { ReportLoop(); });
}

void Applier::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_.store(true, std::memory_order_release);
    if (stream_ != nullptr) stream_->TryCancel();
    if (report_ != nullptr) report_->TryCancel();
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
  if (reporter_.joinable()) reporter_.join();
}

std::shared_ptr<grpc::ClientContext> Applier::Register(std::shared_ptr<grpc::ClientContext>* as) {
  std::lock_guard lock(mutex_);
  if (stopping()) return nullptr;
  return *as = std::make_shared<grpc::ClientContext>();
}

bool Applier::Sleep(int64_t us) {
  std::unique_lock lock(mutex_);
  wake_.wait_for(lock, std::chrono::microseconds(us), [this] { return stopping(); });
  return !stopping();
}

void Applier::Run() {
  int64_t backoff_us = kBackoffMinUs;
  while (!stopping()) {
    const auto context = Register(&stream_);
    if (context == nullptr) return;
    const Lsn before = replica_->applied();
    Status status;
    grpc::Status ended;
    {
      Tail tail(stub_.get(), context.get(), before);
      status = Follow(&tail);
      if (status.ok() && !stopping()) ended = tail.Finish();
    }
    if (stopping()) return;
    if (!status.ok()) {
      spdlog::critical("storage replica {} stops at LSN {:#x}: {}", replica_->directory(), replica_->applied(),
                       status.ToString());
      if (options_.on_failure) options_.on_failure(status);
      return;
    }
    if (replica_->applied() != before) backoff_us = kBackoffMinUs;
    if (ended.error_code() == grpc::StatusCode::OUT_OF_RANGE) {
      spdlog::error(
          "storage replica {} is at LSN {:#x}, and the journal has trimmed what follows; stop concordd, replace the "
          "directory by a copy of another replica's, or restore a backup, and start again ({})",
          replica_->directory(), replica_->applied(), ended.error_message());
      backoff_us = kTrimmedRetryUs;
    } else {
      spdlog::debug("tail of the journal ended: {}", ended.error_message());
    }
    if (Status s = Maintain(); !s.ok()) spdlog::error("storage replica {}: {}", replica_->directory(), s.ToString());
    if (!Sleep(backoff_us)) return;
    backoff_us = std::min(backoff_us * 2, kBackoffMaxUs);
  }
}

Status Applier::Follow(Tail* tail) {
  std::string frames;
  int64_t wait_us = 0;
  for (;;) {
    frames.clear();
    Tail::Event event = tail->Next(wait_us, &frames);
    if (event == Tail::Event::kEnd) return Status::Ok();
    if (event == Tail::Event::kFrames) {
      // What has queued up meanwhile goes into the same LMDB transaction.
      while (frames.size() < options_.max_batch_bytes && event == Tail::Event::kFrames) event = tail->Next(0, &frames);
      if (Status s = ApplyWithRetry(frames); !s.ok()) return s;
      if (stopping() || event == Tail::Event::kEnd) return Status::Ok();
      wait_us = kMaintenancePauseUs;
      if (SteadyUs() - maintained_us_ < (more_maintenance_ ? kBusyBacklogUs : kBusyMaintenanceUs)) continue;
    }
    if (Status s = Maintain(); !s.ok()) return s;
    wait_us = more_maintenance_ ? kMaintenancePauseUs : kIdleTickUs;
  }
}

Status Applier::ApplyWithRetry(std::string_view frames) {
  for (;;) {
    const Status s = replica_->Apply(frames);
    if (s.code() != Code::kNoSpace) {
      if (s.ok()) {
        last_trouble_ = Code::kOk;
        if (options_.on_applied) options_.on_applied(replica_->applied());
      }
      return s;
    }
    if (std::exchange(last_trouble_, s.code()) != s.code())
      spdlog::error("storage replica {} waits for space: {}", replica_->directory(), s.ToString());
    // A checkpoint sets free the pages of the one before it.
    if (Status c = replica_->CheckpointIfDue(/*force=*/true); !c.ok()) return c;
    if (!Sleep(kNoSpaceRetryUs)) return Status::Ok();
  }
}

Status Applier::Maintain() {
  Status s = replica_->Maintain(options_.maintenance_budget, &more_maintenance_);
  if (s.code() == Code::kNoSpace) {
    more_maintenance_ = false;
    s = Status::Ok();  // applying will meet it too, and says so
  }
  maintained_us_ = SteadyUs();
  if (!s.ok()) return s;
  s = replica_->CheckpointIfDue();
  return s.code() == Code::kUnavailable || s.code() == Code::kNoSpace ? Status::Ok() : s;
}

void Applier::ReportLoop() {
  bool told = false;
  do {
    const auto context = Register(&report_);
    if (context == nullptr) return;
    context->set_deadline(std::chrono::system_clock::now() + std::chrono::microseconds(options_.report_interval_us));
    proto::ReportCheckpointRequest request;
    proto::ReportCheckpointReply reply;
    request.set_replica_id(options_.replica_id);
    request.set_checkpoint_lsn(replica_->checkpoint());
    request.set_lease_ms(static_cast<uint64_t>(options_.lease_ms));
    const grpc::Status s = stub_->ReportCheckpoint(context.get(), request, &reply);
    if (!s.ok() && !std::exchange(told, true)) spdlog::info("checkpoint not reported: {}", s.error_message());
    if (s.ok()) told = false;
  } while (Sleep(options_.report_interval_us));
}

}  // namespace concord
