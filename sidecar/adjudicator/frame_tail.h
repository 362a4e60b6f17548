// The frames of a journal node after an LSN, up to what it has when the call begins, one after another.
// Used by one thread. A view of a frame is valid until the next call of Next.
#pragma once

#include <memory>
#include <string_view>

#include "core/frame.h"
#include "proto/journal.grpc.pb.h"
#include "sidecar/rpc/cancellation.h"
#include "sidecar/rpc/status.h"

namespace concord {

class FrameTail {
 public:
  FrameTail(proto::Journal::StubInterface* node, Lsn after, Cancellation* cancellation) : context_(cancellation) {
    proto::TailRequest request;
    request.set_after_lsn(after);
    request.set_until_end(true);
    stream_ = node->Tail(context_.get(), request);
  }
  ~FrameTail() {
    if (stream_ == nullptr) return;
    context_->TryCancel();
    while (stream_->Read(&reply_)) {
    }
    (void)stream_->Finish();
  }

  // kNotFound at the end; kTooOld if the node has trimmed what was asked for; kCorruption for a damaged frame.
  Status Next(Frame* frame) {
    while (rest_.empty()) {
      if (stream_ == nullptr) return {Code::kNotFound, "end of the journal"};
      if (!stream_->Read(&reply_)) {
        const Status status = FromGrpc(stream_->Finish());
        stream_.reset();
        if (!status.ok()) return status;
      } else {
        rest_ = reply_.frames();
      }
    }
    size_t consumed;
    const Status status = ParseFrame(rest_, frame, &consumed);
    if (!status.ok()) return {Code::kCorruption, "frame from a journal node: " + status.message()};
    rest_.remove_prefix(consumed);
    return Status::Ok();
  }

 private:
  CancellableContext context_;
  std::unique_ptr<grpc::ClientReaderInterface<proto::TailReply>> stream_;
  proto::TailReply reply_;
  std::string_view rest_;
};

}  // namespace concord
