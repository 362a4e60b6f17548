#include "sidecar/adjudicator/log_equaliser.h"

#include <chrono>

#include "core/frame.h"
#include "sidecar/adjudicator/frame_tail.h"
#include "sidecar/rpc/status.h"

namespace concord {
namespace {

constexpr size_t kCopyBatchBytes = 4u << 20;

}  // namespace

Status LogEqualiser::Run(JournalStub* source, Lsn end, JournalStub* target, const proto::SealReply& sealed) {
  Lsn common = sealed.committed_lsn();
  Status status = FindCommon(source, target, sealed.last_lsn(), &common);
  if (status.ok() && sealed.last_lsn() > common) status = Truncate(target, common, /*restart=*/false);
  if (status.ok() && common != end) status = Copy(source, common, end, target);
  if (status.code() != Code::kTooOld) return status;
  return BeginLater(source, end, target, sealed.last_lsn());
}

Status LogEqualiser::BeginLater(JournalStub* source, Lsn end, JournalStub* target, Lsn target_end) {
  proto::JournalStatus known;
  {
    CancellableContext context(cancellation_);
    context->set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(terms_.call_timeout_ms));
    const Status asked = FromGrpc(source->GetStatus(context.get(), {}, &known));
    if (!asked.ok()) return asked;
  }
  Lsn common = known.base_lsn();
  Status status;
  if (target_end < common) {
    status = Truncate(target, common, /*restart=*/true);
  } else {
    status = FindCommon(source, target, target_end, &common);
    if (status.ok() && target_end > common) status = Truncate(target, common, /*restart=*/false);
  }
  return status.ok() && common != end ? Copy(source, common, end, target) : status;
}

Status LogEqualiser::FindCommon(JournalStub* source, JournalStub* target, Lsn target_end, Lsn* common) {
  if (target_end == *common) return Status::Ok();
  FrameTail ours(source, *common, cancellation_);
  FrameTail theirs(target, *common, cancellation_);
  for (;;) {
    Frame our_frame, their_frame;
    Status status = theirs.Next(&their_frame);
    if (status.ok()) status = ours.Next(&our_frame);
    if (status.code() == Code::kNotFound) return Status::Ok();
    if (!status.ok()) return status;
    stall_->Progress();
    if (our_frame.epoch != their_frame.epoch || our_frame.lsn != their_frame.lsn) return Status::Ok();
    *common = our_frame.lsn;
  }
}

Status LogEqualiser::Truncate(JournalStub* target, Lsn lsn, bool restart) {
  CancellableContext context(cancellation_);
  context->set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(terms_.call_timeout_ms));
  proto::TruncateRequest request;
  request.set_epoch(terms_.epoch);
  request.set_lsn(lsn);
  request.set_restart(restart);
  proto::TruncateReply reply;
  return FromGrpc(target->Truncate(context.get(), request, &reply));
}

Status LogEqualiser::Copy(JournalStub* source, Lsn after, Lsn end, JournalStub* target) {
  FrameTail tail(source, after, cancellation_);
  CancellableContext context(cancellation_);
  const auto stream = target->Append(context.get());
  proto::AppendRequest request;
  request.set_epoch(terms_.epoch);
  request.set_committed_lsn(terms_.committed_lsn);
  request.set_write_quorum(terms_.write_quorum);
  bool alive = true;
  for (Status status; alive && status.ok() && after != end;) {
    Lsn last = after;
    request.clear_frames();
    Frame frame;
    while (request.frames().size() < kCopyBatchBytes && last != end && (status = tail.Next(&frame)).ok()) {
      AppendFrame(request.mutable_frames(), frame.epoch, frame.lsn, frame.prev_lsn, frame.record);
      last = frame.lsn;
    }
    if (!status.ok() && status.code() != Code::kNotFound) {
      context->TryCancel();
      (void)stream->Finish();
      return status;
    }
    if (last == after) break;
    stall_->Progress();
    (void)stream->Write(request);  // if it is broken, Read tells
    // One batch at a time: this is the rare path, and so nothing piles up.
    proto::AppendReply reply;
    do {
      alive = stream->Read(&reply);
    } while (alive && !reply.failed() && reply.synced_lsn() < last);
    if (reply.synced_lsn() < last) break;  // the node has failed: Finish tells why
    stall_->Progress();
    after = last;
  }
  stream->WritesDone();
  const Status status = FromGrpc(stream->Finish());
  if (status.ok() && after != end) return {Code::kUnavailable, "a journal's tail ended early"};
  return status;
}

}  // namespace concord
