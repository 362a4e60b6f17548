// gRPC face of a storage replica: reads at an LSN for query processors on other machines, reports of their readers,
// and status.
//
// A scan holds an LMDB read transaction only while it fills one batch, never while it waits for the client to take it:
// the LSN is the snapshot, and the horizon is checked again with each new transaction.
//
// Thread-safe; gRPC calls it from many threads.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <string>
#include <utility>

#include "proto/storage.grpc.pb.h"
#include "sidecar/rpc/refusals.h"
#include "sidecar/storage/read_batch.h"
#include "sidecar/storage/replica_slot.h"
#include "sidecar/storage/snapshot_source.h"

namespace concord {

class StorageService final : public proto::Storage::Service {
 public:
  // `replica_id`: its name on the journal. `add_status`: what is known beside the replica. `scan_steps_max`: of a Read.
  StorageService(const ReplicaSlot& replica, std::string replica_id,
                 std::function<void(proto::StorageStatus*)> add_status = {}, SnapshotLimits limits = {},
                 int64_t scan_steps_max = kScanStepsMax)
      : replica_(replica),
        replica_id_(std::move(replica_id)),
        add_status_(std::move(add_status)),
        scan_steps_max_(scan_steps_max),
        source_(limits) {}

  uint64_t refused_calls() const { return refusals_.count(); }

  grpc::Status Get(grpc::ServerContext*, const proto::GetRequest* request, proto::GetReply* reply) override;
  grpc::Status Scan(grpc::ServerContext* context, const proto::ScanRequest* request,
                    grpc::ServerWriter<proto::ScanReply>* writer) override;
  grpc::Status Read(grpc::ServerContext*, const proto::ReadRequest* request, proto::ReadReply* reply) override;
  grpc::Status ReportReaders(grpc::ServerContext*, const proto::ReportReadersRequest* request,
                             proto::ReportReadersReply* reply) override;
  grpc::Status GetStatus(grpc::ServerContext*, const proto::StorageStatusRequest*,
                         proto::StorageStatus* reply) override;
  grpc::Status Snapshot(grpc::ServerContext* context, const proto::SnapshotRequest*,
                        grpc::ServerWriter<proto::SnapshotPart>* writer) override {
    return source_.Send(replica_.get(), replica_id_, context, writer);
  }

 private:
  grpc::Status Refuse(const char* method, const Status& status);
  // A view that has applied `read_lsn` and, if `needs_versions`, still can be read at it.
  grpc::Status OpenAt(Lsn read_lsn, uint64_t wait_ms, ReplicaView* view, bool needs_versions = true);

  const ReplicaSlot& replica_;
  const std::string replica_id_;
  const std::function<void(proto::StorageStatus*)> add_status_;
  const int64_t scan_steps_max_;
  SnapshotSource source_;
  RefusalLog refusals_{"storage"};
};

}  // namespace concord
