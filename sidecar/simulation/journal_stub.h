// The Journal service of a simulated node, as its clients have it.
#pragma once

#include <memory>
#include <string>

#include "proto/journal.grpc.pb.h"
#include "sidecar/journal/journal_peer.h"
#include "sidecar/journal/tail_link.h"
#include "sidecar/rpc/status.h"
#include "sidecar/simulation/network.h"

namespace concord::simulation {

// Without the asynchronous half, which nobody uses here.
class JournalStub final : public proto::Journal::StubInterface {
 public:
  explicit JournalStub(int server) : server_(server) {}

  grpc::Status Seal(grpc::ClientContext* context, const proto::SealRequest& request, proto::SealReply* reply) override {
    return CallUnary(context, server_, "Journal.Seal", request, reply);
  }
  grpc::Status Truncate(grpc::ClientContext* context, const proto::TruncateRequest& request,
                        proto::TruncateReply* reply) override {
    return CallUnary(context, server_, "Journal.Truncate", request, reply);
  }
  grpc::Status ReportCheckpoint(grpc::ClientContext* context, const proto::ReportCheckpointRequest& request,
                                proto::ReportCheckpointReply* reply) override {
    return CallUnary(context, server_, "Journal.ReportCheckpoint", request, reply);
  }
  grpc::Status GetStatus(grpc::ClientContext* context, const proto::JournalStatusRequest& request,
                         proto::JournalStatus* reply) override {
    return CallUnary(context, server_, "Journal.GetStatus", request, reply);
  }

 private:
  template <typename T>
  using Unary = grpc::ClientAsyncResponseReaderInterface<T>*;
  using Context = grpc::ClientContext*;
  using Queue = grpc::CompletionQueue*;

  grpc::ClientReaderWriterInterface<proto::AppendRequest, proto::AppendReply>* AppendRaw(Context context) override {
    return new ClientStream<proto::AppendRequest, proto::AppendReply>(
        network->Begin(context, server_, "Journal.Append"));
  }
  grpc::ClientReaderInterface<proto::TailReply>* TailRaw(Context context, const proto::TailRequest& request) override {
    const CallPtr call = network->Begin(context, server_, "Journal.Tail");
    call->ClientWrite(Bytes(request));
    call->ClientWritesDone();
    return new ClientReading<proto::TailReply>(call);
  }

  Unary<proto::SealReply> AsyncSealRaw(Context, const proto::SealRequest&, Queue) override { return nullptr; }
  Unary<proto::SealReply> PrepareAsyncSealRaw(Context, const proto::SealRequest&, Queue) override { return nullptr; }
  Unary<proto::TruncateReply> AsyncTruncateRaw(Context, const proto::TruncateRequest&, Queue) override {
    return nullptr;
  }
  Unary<proto::TruncateReply> PrepareAsyncTruncateRaw(Context, const proto::TruncateRequest&, Queue) override {
    return nullptr;
  }
  grpc::ClientAsyncReaderWriterInterface<proto::AppendRequest, proto::AppendReply>* AsyncAppendRaw(Context, Queue,
                                                                                                   void*) override {
    return nullptr;
  }
  grpc::ClientAsyncReaderWriterInterface<proto::AppendRequest, proto::AppendReply>* PrepareAsyncAppendRaw(
      Context, Queue) override {
    return nullptr;
  }
  grpc::ClientAsyncReaderInterface<proto::TailReply>* AsyncTailRaw(Context, const proto::TailRequest&, Queue,
                                                                   void*) override {
    return nullptr;
  }
  grpc::ClientAsyncReaderInterface<proto::TailReply>* PrepareAsyncTailRaw(Context, const proto::TailRequest&,
                                                                          Queue) override {
    return nullptr;
  }
  Unary<proto::ReportCheckpointReply> AsyncReportCheckpointRaw(Context, const proto::ReportCheckpointRequest&,
                                                               Queue) override {
    return nullptr;
  }
  Unary<proto::ReportCheckpointReply> PrepareAsyncReportCheckpointRaw(Context, const proto::ReportCheckpointRequest&,
                                                                      Queue) override {
    return nullptr;
  }
  Unary<proto::JournalStatus> AsyncGetStatusRaw(Context, const proto::JournalStatusRequest&, Queue) override {
    return nullptr;
  }
  Unary<proto::JournalStatus> PrepareAsyncGetStatusRaw(Context, const proto::JournalStatusRequest&, Queue) override {
    return nullptr;
  }

  const int server_;
};

// In place of the link over a completion queue (journal/tail_link.cpp), with the same answers.
class SimulatedTail final : public TailLink {
 public:
  SimulatedTail(int server, Lsn after_lsn, int gather_ms) : call_(network->Begin(&context_, server, "Journal.Tail")) {
    proto::TailRequest request;
    request.set_after_lsn(after_lsn);
    request.set_gather_ms(static_cast<uint64_t>(gather_ms));
    call_->ClientWrite(Bytes(request));
    call_->ClientWritesDone();
  }
  ~SimulatedTail() override { call_->Cancel(); }

  Event Next(int64_t wait_us, std::string* frames) override {
    const int64_t until = scheduler->now() + wait_us * kUs;
    for (;;) {
      if (!call_->WaitReadable(until)) return Event::kTimeout;
      std::string bytes;
      proto::TailReply reply;
      if (!call_->ClientRead(&bytes) || !reply.ParseFromString(bytes)) return Event::kEnd;
      frames->append(reply.frames());
      if (!frames->empty()) return Event::kFrames;
    }
  }
  Status Finish() override { return FromGrpc(call_->Finish()); }
  void Cancel() override { context_.TryCancel(); }

 private:
  grpc::ClientContext context_;
  const CallPtr call_;
};

inline JournalPeer Peer(int server) {
  JournalPeer peer(std::make_shared<JournalStub>(server));
  peer.open_tail = [server](Lsn after_lsn, int gather_ms) {
    return std::make_unique<SimulatedTail>(server, after_lsn, gather_ms);
  };
  return peer;
}

}  // namespace concord::simulation
