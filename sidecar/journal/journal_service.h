// The Journal service (proto/journal.proto) over a JournalNode.
//
// An Append stream is served by two threads that do the same: the one whose turn it is waits for the next request and
// syncs it itself if nobody is syncing. It keeps its turn over a short sync, as the leader waits for the
// acknowledgement before it sends little more; so a request wakes one thread, gRPC's own. The other one takes the turn
// while a sync takes longer than some 25 to 50 ms, so that heartbeats are answered; where more is on its way, so that
// what arrives during a sync shares the next; and where a follower waits for what becomes committed, which the leader
// tells during a sync. One stream writes at a time: a newer one of the same or a higher epoch ends it.
//
// Thread-safe. Stop ends all streams and refuses new ones; call it before the server's Shutdown. The node must outlive
// the server.
#pragma once

#include <condition_variable>
#include <mutex>
#include <set>

#include "proto/journal.grpc.pb.h"
#include "sidecar/journal/journal_node.h"
#include "sidecar/rpc/refusals.h"

namespace concord {
class MetricSet;
}

namespace concord::journal {

class JournalService final : public proto::Journal::Service {
 public:
  explicit JournalService(JournalNode* node) : node_(node) {}

  void Stop();
  // Adds this role's metrics.
  void Collect(MetricSet* to);

  grpc::Status Seal(grpc::ServerContext* context, const proto::SealRequest* request, proto::SealReply* reply) override;
  grpc::Status Truncate(grpc::ServerContext* context, const proto::TruncateRequest* request,
                        proto::TruncateReply* reply) override;
  grpc::Status Append(grpc::ServerContext* context,
                      grpc::ServerReaderWriter<proto::AppendReply, proto::AppendRequest>* stream) override {
    return ServeAppend(context, stream);
  }
  grpc::Status Tail(grpc::ServerContext* context, const proto::TailRequest* request,
                    grpc::ServerWriter<proto::TailReply>* writer) override {
    return ServeTail(context, request, writer);
  }
  grpc::Status ReportCheckpoint(grpc::ServerContext* context, const proto::ReportCheckpointRequest* request,
                                proto::ReportCheckpointReply* reply) override;
  grpc::Status GetStatus(grpc::ServerContext* context, const proto::JournalStatusRequest* request,
                         proto::JournalStatus* reply) override;

  // The same over streams of any kind (simulation/).
  using AppendStreamInterface = grpc::ServerReaderWriterInterface<proto::AppendReply, proto::AppendRequest>;
  grpc::Status ServeAppend(grpc::ServerContext* context, AppendStreamInterface* stream);
  grpc::Status ServeTail(grpc::ServerContext* context, const proto::TailRequest* request,
                         grpc::ServerWriterInterface<proto::TailReply>* writer);

 private:
  class AppendStream;
  // A stream while it is served, so that Stop finds it.
  class Registration;

  Status TakeWriterSeat(grpc::ServerContext* context, uint64_t epoch);
  void LeaveWriterSeat(grpc::ServerContext* context, uint64_t epoch);
  bool stopping();

  JournalNode* const node_;
  RefusalLog refusals_{"journal"};
  std::mutex mutex_;  // guards what follows
  std::condition_variable seat_free_;
  bool stopping_ = false;
  std::set<grpc::ServerContext*> streams_;
  grpc::ServerContext* writer_ = nullptr;
};

}  // namespace concord::journal
