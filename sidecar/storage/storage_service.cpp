#include "sidecar/storage/storage_service.h"

#include <algorithm>
#include <string>

#include "core/key.h"
#include "sidecar/lsn_text.h"
#include "sidecar/storage/read_batch.h"
#include "sidecar/storage/version_reader.h"

namespace concord {
namespace {

constexpr uint64_t kDefaultBatchBytes = 256u << 10;
constexpr uint64_t kMaxBatchBytes = 2u << 20;  // gRPC refuses messages over 4 MiB by default,
constexpr uint64_t kMaxPartBytes = 1u << 20;   // so a value over that comes in parts
constexpr uint64_t kMaxWaitMs = 60'000;
constexpr int kMaxBatchEntries = 10'000;  // so that a transaction stays short
constexpr int64_t kMaxLeaseMs = 3'600'000;
constexpr size_t kMaxIdBytes = 8192;          // a host's name and a path
constexpr uint64_t kMaxGetBytes = 64u << 20;  // fits into a message of ours

grpc::Status ToGrpc(const Status& s) {
  grpc::StatusCode code = grpc::StatusCode::INTERNAL;
  switch (s.code()) {
    case Code::kOk: return grpc::Status::OK;
    case Code::kTooOld: code = grpc::StatusCode::OUT_OF_RANGE; break;
    case Code::kUnavailable:
    case Code::kShutdown: code = grpc::StatusCode::UNAVAILABLE; break;
    case Code::kInvalid: code = grpc::StatusCode::INVALID_ARGUMENT; break;
    case Code::kNotFound: code = grpc::StatusCode::NOT_FOUND; break;
    case Code::kNoSpace:
    case Code::kTooLarge: code = grpc::StatusCode::RESOURCE_EXHAUSTED; break;
    case Code::kCorruption: code = grpc::StatusCode::DATA_LOSS; break;
    default: break;
  }
  return {code, s.message()};
}

// `what`: the key, or the bound, that is meant.
Status CheckKey(const std::string& key, const char* what) {
  if (key.size() < kPrefixSize || key.size() > kMaxKey)
    return {Code::kInvalid, std::string(what) + " of " + std::to_string(key.size()) + " bytes"};
  if (KeySpace(key) > Space::kEntry) return {Code::kInvalid, std::string(what) + " of an unknown space"};
  return Status::Ok();
}

// Adds what one entry carries of a value from `*offset` on, and moves that: to 0 once the value is complete. Returns
// the number of bytes.
uint64_t AddEntry(const VisibleVersion& version, uint64_t* offset, proto::ScanReply* reply) {
  const std::string_view part = version.value.substr(*offset, kMaxPartBytes);
  proto::Entry* entry = reply->add_entries();
  entry->set_key(version.key.data(), version.key.size());
  entry->set_lsn(version.lsn);
  entry->set_value(part.data(), part.size());
  entry->set_offset(*offset);
  entry->set_rest(version.value.size() - *offset - part.size());
  *offset = entry->rest() == 0 ? 0 : *offset + part.size();
  return version.key.size() + part.size() + 16;
}

}  // namespace

grpc::Status StorageService::Refuse(const char* method, const Status& status) {
  refusals_.Note(method, status);
  return ToGrpc(status);
}

grpc::Status StorageService::OpenAt(Lsn read_lsn, uint64_t wait_ms, ReplicaView* view, bool needs_versions) {
  const auto wait_us = static_cast<int64_t>(std::min(wait_ms, kMaxWaitMs)) * 1000;
  if (Status s = replica_->WaitApplied(read_lsn, wait_us); !s.ok()) {
    return s.code() == Code::kShutdown ? ToGrpc(s) : grpc::Status(grpc::StatusCode::DEADLINE_EXCEEDED, s.message());
  }
  if (Status s = replica_->OpenView(view); !s.ok()) return ToGrpc(s);
  if (needs_versions && read_lsn < view->horizon())
    return ToGrpc({Code::kTooOld,
                   "read LSN " + LsnText(read_lsn) + " lies below the replica's horizon " + LsnText(view->horizon())});
  return grpc::Status::OK;
}

grpc::Status StorageService::Get(grpc::ServerContext*, const proto::GetRequest* request, proto::GetReply* reply) {
  for (const std::string& key : request->keys())
    if (Status s = CheckKey(key, "a key"); !s.ok()) return Refuse("Get", s);
  ReplicaView view;
  if (grpc::Status s = OpenAt(request->read_lsn(), request->wait_ms(), &view); !s.ok()) return s;
  uint64_t bytes = 0;
  for (const std::string& key : request->keys()) {
    VisibleVersion version;
    const Status s = ReadVersion(view.txn(), view.DbFor(key), key, request->read_lsn(), &version);
    proto::Value* value = reply->add_values();
    if (s.code() == Code::kNotFound) continue;
    if (!s.ok()) return ToGrpc(s);
    bytes += version.value.size();
    if (bytes > kMaxGetBytes)
      return Refuse("Get", {Code::kTooLarge, "too many bytes in one Get; ask for fewer keys, or scan"});
    value->set_found(true);
    value->set_lsn(version.lsn);
    value->set_value(version.value.data(), version.value.size());
  }
  return grpc::Status::OK;
}

grpc::Status StorageService::Scan(grpc::ServerContext* context, const proto::ScanRequest* request,
                                  grpc::ServerWriter<proto::ScanReply>* writer) {
  if (Status s = CheckKey(request->lower(), "a scan's lower bound"); !s.ok()) return Refuse("Scan", s);
  // One database holds rows, the other the rest: a range belongs to one of them, and ends with its space at the latest.
  const auto space = static_cast<uint8_t>(KeySpace(request->lower()));
  std::string upper = request->upper();
  if (upper.empty() || static_cast<uint8_t>(upper[0]) > space) upper.assign(1, static_cast<char>(space + 1));

  uint64_t batch_bytes = request->max_batch_bytes() == 0 ? kDefaultBatchBytes : request->max_batch_bytes();
  batch_bytes = std::min(batch_bytes, kMaxBatchBytes);
  uint64_t left = request->limit() == 0 ? ~uint64_t{0} : request->limit();
  VersionCursor cursor(request->lower(), upper, request->read_lsn(), request->reverse());
  uint64_t wait_ms = request->wait_ms();
  std::string cut_key;  // of the last entry, if a part of its value is still to be sent,
  uint64_t cut_at = 0;  // from here on
  bool end = false;
  while (!end) {
    proto::ScanReply reply;
    {
      ReplicaView view;
      if (grpc::Status s = OpenAt(request->read_lsn(), wait_ms, &view); !s.ok()) return s;
      wait_ms = 0;
      if (Status s = cursor.Open(view.txn(), view.DbFor(request->lower())); !s.ok()) return ToGrpc(s);
      for (uint64_t bytes = 0; bytes < batch_bytes && reply.entries_size() < kMaxBatchEntries;) {
        VisibleVersion version;
        Status s;
        if (cut_at > 0) {
          s = ReadVersion(view.txn(), view.DbFor(cut_key), cut_key, request->read_lsn(), &version);
        } else {
          s = left == 0 ? Status(Code::kNotFound, "limit reached") : cursor.Next(&version);
          if (s.code() == Code::kNotFound) {
            end = true;
            break;
          }
          left--;
        }
        if (!s.ok()) {
          cursor.Close();
          return ToGrpc(s);
        }
        bytes += AddEntry(version, &cut_at, &reply);
        if (cut_at > 0) cut_key = version.key;
      }
      cursor.Close();
    }
    if (reply.entries_size() > 0 && !writer->Write(reply)) return grpc::Status::CANCELLED;
    if (context->IsCancelled()) return grpc::Status::CANCELLED;
  }
  return grpc::Status::OK;
}

grpc::Status StorageService::Read(grpc::ServerContext*, const proto::ReadRequest* request, proto::ReadReply* reply) {
  ReplicaView view;
  const grpc::Status opened = OpenAt(request->read_lsn(), request->wait_ms(), &view, IsOfVersions(request->request()));
  if (!opened.ok()) return opened;
  const Status s =
      FillBatch(view.replica(), view, request->read_lsn(), request->request(), reply->mutable_batch(), scan_steps_max_);
  if (s.code() == Code::kInvalid) return Refuse("Read", s);
  reply->set_applied_lsn(view.applied());
  return ToGrpc(s);
}

grpc::Status StorageService::ReportReaders(grpc::ServerContext*, const proto::ReportReadersRequest* request,
                                           proto::ReportReadersReply* reply) {
  if (request->qp_id().empty() || request->qp_id().size() > kMaxIdBytes)
    return Refuse("ReportReaders",
                  {Code::kInvalid, "a query processor's id has 1 to " + std::to_string(kMaxIdBytes) + " bytes"});
  const auto lease_ms = static_cast<int64_t>(std::min<uint64_t>(request->lease_ms(), kMaxLeaseMs));
  Lsn horizon = kNoLsn;
  const Status status =
      replica_->ReportReaders(request->qp_id(), request->lowest_read_lsn(), lease_ms * 1000, &horizon);
  if (!status.ok()) return Refuse("ReportReaders", status);
  if (request->reads()) replica_->ExpectReads();
  reply->set_horizon_lsn(horizon);
  reply->set_applied_lsn(replica_->readable());
  return grpc::Status::OK;
}

grpc::Status StorageService::GetStatus(grpc::ServerContext*, const proto::StorageStatusRequest*,
                                       proto::StorageStatus* reply) {
  ReplicaStatistics statistics;
  if (Status s = replica_->Statistics(&statistics); !s.ok()) return ToGrpc(s);
  reply->set_applied_lsn(replica_->readable());
  reply->set_checkpoint_lsn(statistics.checkpoint);
  reply->set_horizon_lsn(statistics.horizon);
  reply->set_map_bytes(statistics.map_bytes);
  reply->set_used_bytes(statistics.used_bytes);
  reply->set_versions(statistics.versions);
  reply->set_storages(statistics.storages);
  reply->set_storages_dropping(statistics.storages_dropping);
  reply->set_readers(statistics.readers);
  reply->set_mutations(statistics.mutations);
  reply->set_pruned(statistics.pruned);
  reply->set_path(replica_->directory());
  for (const ReaderLeases::Listed& lease : replica_->Readers()) {
    proto::ReaderLease* to = reply->add_reader_leases();
    to->set_qp_id(lease.qp_id);
    to->set_lowest_read_lsn(lease.lowest);
    to->set_left_ms(lease.left_us / 1000);
  }
  reply->set_file_bytes(statistics.file_bytes);
  reply->set_free_bytes(statistics.free_bytes);
  reply->set_max_readers(statistics.max_readers);
  reply->set_dead_versions(statistics.dead_versions);
  reply->set_replica_id(replica_id_);
  if (add_status_) add_status_(reply);
  return grpc::Status::OK;
}

}  // namespace concord
