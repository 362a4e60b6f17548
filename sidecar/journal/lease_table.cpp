#include "sidecar/journal/lease_table.h"

#include <algorithm>

#include "core/bytes.h"

namespace concord::journal {
namespace {

constexpr uint32_t kVersion = 1;
constexpr uint64_t kLeaseMsMax = uint64_t{365} * 24 * 3600 * 1000;

}  // namespace

Status LeaseTable::Report(const std::string& replica_id, Lsn checkpoint_lsn, uint64_t lease_ms, int64_t now_ms,
                          bool* save) {
  *save = false;
  if (replica_id.empty() || replica_id.size() > kReplicaIdBytesMax)
    return {Code::kInvalid, "a replica's id has 1 to " + std::to_string(kReplicaIdBytesMax) + " bytes"};
  if (lease_ms == 0) {
    *save = leases_.erase(replica_id) > 0;
    return Status::Ok();
  }
  lease_ms = std::min(lease_ms, kLeaseMsMax);
  const auto found = leases_.find(replica_id);
  if (found == leases_.end() && leases_.size() >= kLeasesMax) return {Code::kTooLarge, "too many replicas have leases"};
  // A checkpoint on disk that is too low only delays trimming; one that is too high would lose records.
  *save = found == leases_.end() || found->second.lease_ms != lease_ms || checkpoint_lsn < found->second.checkpoint_lsn;
  leases_[replica_id] = {checkpoint_lsn, lease_ms, now_ms + static_cast<int64_t>(lease_ms)};
  return Status::Ok();
}

bool LeaseTable::Expire(int64_t now_ms) {
  return std::erase_if(leases_, [now_ms](const auto& entry) { return entry.second.ends_ms <= now_ms; }) > 0;
}

std::optional<Lsn> LeaseTable::LowestCheckpoint() const {
  std::optional<Lsn> lowest;
  for (const auto& [id, lease] : leases_) {
    lowest = std::min(lowest.value_or(lease.checkpoint_lsn), lease.checkpoint_lsn);
  }
  return lowest;
}

std::vector<LeaseTable::Listed> LeaseTable::List(int64_t now_ms) const {
  std::vector<Listed> out;
  for (const auto& [id, lease] : leases_) out.push_back({id, lease.checkpoint_lsn, lease.ends_ms - now_ms});
  return out;
}

std::string LeaseTable::Encode() const {
  std::string out;
  AppendLe(&out, kVersion);
  for (const auto& [id, lease] : leases_) {
    AppendLe(&out, static_cast<uint16_t>(id.size()));
    out.append(id);
    AppendLe(&out, lease.checkpoint_lsn);
    AppendLe(&out, lease.lease_ms);
  }
  return out;
}

Status LeaseTable::Decode(std::string_view bytes, int64_t now_ms, LeaseTable* out) {
  if (bytes.size() < 4) return {Code::kCorruption, "the lease table is cut short"};
  if (const auto version = LoadLe<uint32_t>(bytes.data()); version != kVersion)
    return {Code::kInvalid,
            "has version " + std::to_string(version) + ", this program reads " + std::to_string(kVersion)};
  bytes.remove_prefix(4);
  while (!bytes.empty()) {
    const size_t id_size = bytes.size() < 2 ? bytes.size() : LoadLe<uint16_t>(bytes.data());
    if (bytes.size() < 2 + id_size + 16) return {Code::kCorruption, "the lease table is cut short"};
    const std::string id(bytes.substr(2, id_size));
    const char* p = bytes.data() + 2 + id_size;
    const auto lease_ms = LoadLe<uint64_t>(p + 8);
    out->leases_[id] = {LoadLe<Lsn>(p), lease_ms, now_ms + static_cast<int64_t>(lease_ms)};
    bytes.remove_prefix(2 + id_size + 16);
  }
  return Status::Ok();
}

}  // namespace concord::journal
