#include "sidecar/storage/snapshot_source.h"

#include <algorithm>
#include <chrono>

#include "core/crc32c.h"
#include "sidecar/lsn_text.h"
#include "sidecar/rpc/log.h"
#include "sidecar/rpc/stall_guard.h"
#include "sidecar/rpc/status.h"

namespace concord {
namespace {

using Clock = std::chrono::steady_clock;

class Counted {
 public:
  explicit Counted(std::atomic<int>* count) : count_(count), before_(count->fetch_add(1)) {}
  ~Counted() { count_->fetch_sub(1); }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
  int before() const { return before_; }

 private:
  std::atomic<int>* const count_;
  const int before_;
};

}  // namespace

grpc::Status SnapshotSource::Send(const std::shared_ptr<Replica>& replica, const std::string& replica_id,
                                  grpc::ServerContext* context, grpc::ServerWriter<proto::SnapshotPart>* writer) {
  const Counted counted(&copies_);
  if (counted.before() >= limits_.copies_max)
    return {grpc::StatusCode::RESOURCE_EXHAUSTED, "other replicas are copying this one; try again later"};
  const std::shared_ptr<const HeldCheckpoint> held = replica->HoldCheckpoint();
  if (held == nullptr) return {grpc::StatusCode::UNAVAILABLE, "the replica has no checkpoint yet"};
  const SavedMeta& meta = held->meta;
  if (meta.lsn == kNoLsn) return {grpc::StatusCode::UNAVAILABLE, "the replica is empty"};
  RoleLog("storage")->info("another replica copies this one lsn={} bytes={}", LsnText(meta.lsn), held->file_bytes);

  const auto begun = Clock::now();
  StallGuard guard([context] { context->TryCancel(); }, limits_.stall_ms);
  proto::SnapshotPart part;
  part.mutable_head()->set_lsn(meta.lsn);
  part.mutable_head()->set_file_bytes(held->file_bytes);
  part.mutable_head()->set_page_size(meta.page_size);
  part.mutable_head()->set_replica_id(replica_id);
  Status why;
  for (uint64_t offset = 0;;) {
    if (!writer->Write(part)) {
      why = {Code::kUnavailable, "the receiver has gone, or takes nothing"};
      break;
    }
    guard.Progress();
    if (part.end()) {
      RoleLog("storage")->info("another replica has copied this one lsn={} bytes={}", LsnText(meta.lsn), offset);
      return grpc::Status::OK;
    }
    const auto took_ms = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begun).count();
    if (took_ms > limits_.grace_ms + static_cast<int64_t>(offset / limits_.bytes_per_ms_min)) {
      why = {Code::kUnavailable, "the receiver is too slow"};
      break;
    }
    part.Clear();
    part.set_offset(offset);
    if (offset == held->file_bytes) {
      part.set_end(true);
      continue;
    }
    std::string* const bytes = part.mutable_bytes();
    const size_t size = std::min<uint64_t>(limits_.part_bytes, held->file_bytes - offset);
    why = replica->ReadFile(offset, size, bytes);
    if (!why.ok()) break;
    // Of the meta pages the file has newer ones.
    if (offset < meta.pages.size())
      bytes->replace(0, std::min(size, meta.pages.size() - offset), meta.pages, offset,
                     std::min(size, meta.pages.size() - offset));
    part.set_crc32c(Crc32c(*bytes));
    offset += size;
  }
  RoleLog("storage")->warn("a copy of this replica for another one ends before its time reason=\"{}\"", why.message());
  return ToGrpc(why);
}

}  // namespace concord
