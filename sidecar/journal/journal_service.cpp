#include "sidecar/journal/journal_service.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <optional>
#include <thread>

#include "sidecar/journal/tail_link.h"
#include "sidecar/lsn_text.h"
#include "sidecar/rpc/log.h"
#include "sidecar/rpc/status.h"
#include "sidecar/rpc/stream_read.h"

namespace concord::journal {
namespace {

constexpr size_t kTailBatchBytes = 1u << 20;
constexpr size_t kTailBatchBytesMax = 64u << 20;
// A follower that hears nothing for kTailSilence leaves.
constexpr std::chrono::milliseconds kGatherMax{300};
constexpr std::chrono::milliseconds kGatherStep{50};  // whether it still is to go on is asked so often
static_assert(kGatherMax + kTailHeartbeat < kTailSilence);
constexpr auto kFailureGrace = std::chrono::seconds(1);  // for a client to finish when it is told of a failure
// Behind a request so large, and behind one that was there already, the next mostly is on its way.
constexpr size_t kMoreComesBytes = 64u << 10;
constexpr auto kThereAlready = std::chrono::microseconds(20);

// A gap in Append means that the writer's view of the log is not ours: its epoch is over, as with a fence.
grpc::Status ToAppendGrpc(const Status& status) {
  grpc::Status out = ToGrpc(status);
  if (status.code() != Code::kInvalid) return out;
  return {grpc::StatusCode::FAILED_PRECONDITION, out.error_message(), out.error_details()};
}

// Whose turn it is to read from a stream that two threads serve.
class Turn {
 public:
  static constexpr auto kPatience = std::chrono::milliseconds(25);

  // Waits until the other one has given it, or has lent it for longer than kPatience.
  void Take(int who) {
    std::unique_lock lock(mutex_);
    const auto free = [&] {
      return holder_ == kNobody || holder_ == who || (lent_ && Clock::now() - lent_since_ >= kPatience);
    };
    // Asked again now and then, so that lending wakes nobody.
    while (!free()) given_.wait_for(lock, kPatience);
    holder_ = who;
    lent_ = false;
  }
  // By the one that has it: it means to be back at once.
  void Lend() {
    const std::lock_guard lock(mutex_);
    lent_ = true;
    lent_since_ = Clock::now();
  }
  void Give() {
    {
      const std::lock_guard lock(mutex_);
      holder_ = kNobody;
    }
    given_.notify_one();
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr int kNobody = -1;

  std::mutex mutex_;  // guards what follows
  std::condition_variable given_;
  int holder_ = kNobody;
  bool lent_ = false;
  Clock::time_point lent_since_;
};

Status ShuttingDown() { return {Code::kShutdown, "the journal is shutting down"}; }

}  // namespace

class JournalService::Registration {
 public:
  Registration(JournalService* service, grpc::ServerContext* context) : service_(service), context_(context) {
    const std::lock_guard lock(service_->mutex_);
    if (service_->stopping_) return;
    service_->streams_.insert(context_);
    accepted_ = true;
  }
  ~Registration() {
    const std::lock_guard lock(service_->mutex_);
    service_->streams_.erase(context_);
  }
  bool accepted() const { return accepted_; }

 private:
  JournalService* const service_;
  grpc::ServerContext* const context_;
  bool accepted_ = false;
};

class JournalService::AppendStream {
 public:
  AppendStream(JournalService* service, grpc::ServerContext* context, AppendStreamInterface* stream)
      : service_(service), node_(service->node_), context_(context), stream_(stream) {}

  Status Run() {
    std::thread other([this] { Serve(1); });
    Serve(0);
    other.join();
    Sync();
    service_->LeaveWriterSeat(context_, epoch_);
    const std::lock_guard lock(state_mutex_);
    return status_;
  }

 private:
  // Both threads: one request after another, and the sync of what has queued.
  void Serve(int who) {
    proto::AppendRequest request;
    while (ReadOne(who, &request)) Sync();
    const std::lock_guard lock(state_mutex_);
    readers_done_ = true;
    changed_.notify_all();
  }

  // False when the stream is over. Requests are submitted in their order, in the same turn as they are read.
  bool ReadOne(int who, proto::AppendRequest* request) {
    turn_.Take(who);
    bool more_comes = false;
    const bool taken = ReadInTurn(request, &more_comes);
    if (taken && !more_comes)
      turn_.Lend();
    else
      turn_.Give();
    return taken;
  }

  bool ReadInTurn(proto::AppendRequest* request, bool* more_comes) {
    const auto begun = std::chrono::steady_clock::now();
    bool unparsable = false;
    if (ended_ || !ReadFrom(stream_, request, &unparsable) ||
        ended_) {  // asked again: the other thread may have failed meanwhile
      ended_ = true;
      if (unparsable) Fail({Code::kInvalid, "a message that cannot be parsed"});
      return false;
    }
    Status status;
    if (!seated_) {
      status = service_->TakeWriterSeat(context_, request->epoch());
      seated_ = status.ok();
      epoch_ = request->epoch();
    }
    const bool heartbeat = request->frames().empty();
    *more_comes = request->frames().size() >= kMoreComesBytes ||
                  std::chrono::steady_clock::now() - begun < kThereAlready ||
                  node_->followed();  // what is committed is told during a sync
    AppendInput input{request->epoch(),
                      request->committed_lsn(),
                      request->write_quorum(),
                      std::move(*request->mutable_frames()),
                      static_cast<int64_t>(std::min<uint64_t>(request->lease_ms(), WriterLease::kLeaseMsMax)),
                      request->release()};
    if (status.ok()) status = node_->Submit(std::move(input));
    if (status.ok()) {
      Hear(request->sent_us(), heartbeat);
      return true;
    }
    ended_ = true;
    Fail(status);
    return false;
  }

  void Sync() {
    Lsn synced = kNoLsn;
    Status failure;
    while (true) {
      switch (node_->FlushOnce(epoch_, &synced, &failure)) {
        case JournalNode::Flush::kNothing:
        case JournalNode::Flush::kBusy: return;
        case JournalNode::Flush::kSynced: Acknowledge(synced); break;
        case JournalNode::Flush::kFailed:
          Acknowledge(synced);
          FailFlush(failure);
          return;
      }
    }
  }

  void Acknowledge(Lsn synced) {
    const std::lock_guard lock(write_mutex_);
    if (synced <= acknowledged_) return;  // the other thread's later sync was told first
    acknowledged_ = synced;
    Reply();
  }

  // A request was taken. Of one with frames that is told when they are synced.
  void Hear(uint64_t sent_us, bool answer) {
    if (sent_us == 0) return;
    const std::lock_guard lock(write_mutex_);
    heard_us_ = sent_us;
    if (answer) Reply();
  }

  // Needs write_mutex_.
  void Reply() {
    proto::AppendReply reply;
    reply.set_synced_lsn(acknowledged_);
    reply.set_heard_us(heard_us_);
    reply.set_unfollowed(!node_->followed());
    stream_->Write(reply);  // a client that has gone shows in Read
  }

  void Fail(const Status& status) {
    const std::lock_guard lock(state_mutex_);
    if (status_.ok()) status_ = status;
  }

  // The other thread may be in Read, and the call cannot end before it has come back. So the client is asked to finish;
  // a call of one that does not can only be cancelled, and its reason is lost.
  void FailFlush(const Status& status) {
    bool told;
    {
      // Not Fail: the other thread may have met the gap that the refused frames leave, and this is why there is one.
      const std::lock_guard lock(state_mutex_);
      status_ = status;
      told = std::exchange(told_failure_, true);
    }
    if (!told) {
      proto::AppendReply failed;
      failed.set_failed(true);
      const std::lock_guard lock(write_mutex_);
      stream_->Write(failed);
    }
    ended_ = true;     // not before: a client that is still writing is read from until it reads itself
    if (told) return;  // the other thread waits for this one
    std::unique_lock lock(state_mutex_);
    if (!changed_.wait_for(lock, kFailureGrace, [this] { return readers_done_; })) context_->TryCancel();
  }

  JournalService* const service_;
  JournalNode* const node_;
  grpc::ServerContext* const context_;
  AppendStreamInterface* const stream_;

  Turn turn_;            // to read from the stream, and to submit
  bool seated_ = false;  // of whose turn it is, as is
  uint64_t epoch_ = 0;   // of the first request
  std::atomic<bool> ended_ = false;

  std::mutex write_mutex_;  // the right to write to the stream
  Lsn acknowledged_ = kNoLsn;
  uint64_t heard_us_ = 0;

  std::mutex state_mutex_;
  std::condition_variable changed_;
  bool readers_done_ = false;  // one of the threads has left its loop
  bool told_failure_ = false;
  Status status_;
};

Status JournalService::TakeWriterSeat(grpc::ServerContext* context, uint64_t epoch) {
  // Before an older stream is ended: a fenced writer ends nobody.
  Status status = node_->CheckEpoch(epoch);
  if (!status.ok()) return status;
  std::unique_lock lock(mutex_);
  while (writer_ != nullptr && !stopping_) {
    writer_->TryCancel();
    seat_free_.wait(lock);
  }
  if (stopping_) return ShuttingDown();
  writer_ = context;
  return Status::Ok();
}

void JournalService::LeaveWriterSeat(grpc::ServerContext* context, uint64_t epoch) {
  const std::lock_guard lock(mutex_);
  if (writer_ != context) return;
  node_->LoseWriter(epoch);
  writer_ = nullptr;
  seat_free_.notify_all();
}

bool JournalService::stopping() {
  const std::lock_guard lock(mutex_);
  return stopping_;
}

void JournalService::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    for (grpc::ServerContext* stream : streams_) stream->TryCancel();
  }
  seat_free_.notify_all();
  node_->Shutdown();
}

grpc::Status JournalService::ServeAppend(grpc::ServerContext* context, AppendStreamInterface* stream) {
  const Registration registration(this, context);
  if (!registration.accepted()) return ToGrpc(ShuttingDown());
  const Status status = AppendStream(this, context, stream).Run();
  refusals_.Note("Append", status);
  return ToAppendGrpc(status);
}

grpc::Status JournalService::ServeTail(grpc::ServerContext* context, const proto::TailRequest* request,
                                       grpc::ServerWriterInterface<proto::TailReply>* writer) {
  const Registration registration(this, context);
  if (!registration.accepted()) return ToGrpc(ShuttingDown());
  const size_t bytes_max =
      request->max_batch_bytes() == 0 ? kTailBatchBytes : std::min(request->max_batch_bytes(), kTailBatchBytesMax);
  const std::chrono::milliseconds gather(std::min<uint64_t>(request->gather_ms(), kGatherMax.count()));
  std::optional<JournalNode::Follower> follower;
  if (gather.count() == 0 && !request->until_end()) follower.emplace(node_);
  const SegmentLog::State begun = node_->state();
  Lsn sent = request->after_lsn();
  Lsn limit = request->until_end() ? begun.last_lsn : begun.committed_lsn;
  // Told at once, also if there is nothing to send yet.
  if (sent < begun.base_lsn)
    return ToGrpc({Code::kTooOld, "the journal up to LSN " + LsnText(begun.base_lsn) + " has been trimmed"});
  proto::TailReply reply;
  while (!context->IsCancelled() && !stopping()) {
    if (limit <= sent) {
      if (request->until_end()) return grpc::Status::OK;
      limit = node_->WaitCommitted(sent, kTailHeartbeat);
      if (limit > sent) {
        if (gather.count() == 0) continue;
        // Not woken by every commit.
        for (auto left = gather; left.count() > 0 && !context->IsCancelled() && !stopping(); left -= kGatherStep)
          std::this_thread::sleep_for(std::min(left, kGatherStep));
        limit = node_->state().committed_lsn;
        continue;
      }
      reply.clear_frames();
      reply.set_committed_lsn(limit);
      if (!writer->Write(reply)) break;
      continue;
    }
    Lsn last = kNoLsn;
    const Status status = node_->Read(sent, limit, bytes_max, reply.mutable_frames(), &last);
    if (!status.ok()) {
      refusals_.Note("Tail", status);
      return ToGrpc(status);
    }
    if (last == kNoLsn) {  // cut by a truncation since we began
      if (request->until_end()) return grpc::Status::OK;
      limit = kNoLsn;
      continue;
    }
    reply.set_committed_lsn(request->until_end() ? node_->state().committed_lsn : limit);
    if (!writer->Write(reply)) break;
    sent = last;
  }
  return stopping() ? ToGrpc(ShuttingDown()) : grpc::Status(grpc::StatusCode::CANCELLED, "the client has gone");
}

grpc::Status JournalService::Seal(grpc::ServerContext*, const proto::SealRequest* request, proto::SealReply* reply) {
  JournalNode::SealResult result{};
  const Status status = node_->Seal(request->epoch(), &result);
  refusals_.Note("Seal", status);
  if (!status.ok()) return ToGrpc(status);
  reply->set_last_epoch(result.last_epoch);
  reply->set_last_lsn(result.last_lsn);
  reply->set_first_lsn(result.first_lsn);
  reply->set_committed_lsn(result.committed_lsn);
  reply->set_lease_left_ms(static_cast<uint64_t>(result.lease_left_ms));
  reply->set_lease_epoch(result.lease_epoch);
  if (!result.is_new) return grpc::Status::OK;  // its leader is still at it
  RoleLog("journal")->info("sealed: takes records of the newest epoch only epoch={} last_epoch={} last_lsn={}",
                           request->epoch(), result.last_epoch, LsnText(result.last_lsn));
  return grpc::Status::OK;
}

grpc::Status JournalService::Truncate(grpc::ServerContext*, const proto::TruncateRequest* request,
                                      proto::TruncateReply*) {
  const Status status = request->restart() ? node_->Restart(request->epoch(), request->lsn())
                                           : node_->Truncate(request->epoch(), request->lsn());
  refusals_.Note("Truncate", status);
  if (status.ok())
    RoleLog("journal")->info("{} epoch={} lsn={}",
                             request->restart() ? "begins anew: what it lacked has been trimmed elsewhere"
                                                : "truncated: what followed was never committed",
                             request->epoch(), LsnText(request->lsn()));
  return ToGrpc(status);
}

grpc::Status JournalService::ReportCheckpoint(grpc::ServerContext*, const proto::ReportCheckpointRequest* request,
                                              proto::ReportCheckpointReply* reply) {
  Lsn trimmed = kNoLsn;
  const Status status =
      node_->ReportCheckpoint(request->replica_id(), request->checkpoint_lsn(), request->lease_ms(), &trimmed);
  refusals_.Note("ReportCheckpoint", status);
  if (!status.ok()) return ToGrpc(status);
  reply->set_trimmed_lsn(trimmed);
  reply->set_committed_lsn(node_->state().committed_lsn);
  return grpc::Status::OK;
}

grpc::Status JournalService::GetStatus(grpc::ServerContext*, const proto::JournalStatusRequest*,
                                       proto::JournalStatus* reply) {
  const SegmentLog::State state = node_->state();
  reply->set_epoch(state.last_epoch);
  reply->set_sealed_epoch(state.sealed_epoch);
  reply->set_first_lsn(state.first_lsn);
  reply->set_last_lsn(state.last_lsn);
  reply->set_synced_lsn(state.last_lsn);
  reply->set_committed_lsn(state.committed_lsn);
  reply->set_segments(state.segments);
  reply->set_bytes(state.bytes);
  reply->set_syncs(state.syncs);
  reply->set_base_lsn(state.base_lsn);
  const JournalNode::Writer writer = node_->writer();
  reply->set_writer_live(writer.live);
  reply->set_lease_left_ms(static_cast<uint64_t>(writer.lease_left_ms));
  for (const LeaseTable::Listed& lease : node_->Leases()) {
    proto::ReplicaLease* to = reply->add_leases();
    to->set_replica_id(lease.replica_id);
    to->set_checkpoint_lsn(lease.checkpoint_lsn);
    to->set_left_ms(lease.left_ms);
  }
  return grpc::Status::OK;
}

}  // namespace concord::journal
