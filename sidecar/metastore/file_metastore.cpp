#include "sidecar/metastore/file_metastore.h"

#include <algorithm>
#include <charconv>

#include "sidecar/metastore/atomic_file.h"

namespace concord {
namespace {

constexpr std::string_view kHead = "concord metastore 1\nepoch ";

std::string Encode(uint64_t epoch) { return WithCheckLine(std::string(kHead) + std::to_string(epoch) + "\n"); }

}  // namespace

Status ReadMetastoreFile(const std::string& path, uint64_t* epoch) {
  *epoch = 0;
  std::string content;
  Status status = ReadSmallFile(path, &content);
  if (status.code() == Code::kNotFound) return Status::Ok();
  if (status.ok()) status = CheckTextFile(path, "concord metastore", 1, content);
  if (!status.ok()) return status;
  if (content.starts_with(kHead)) {
    std::from_chars(content.data() + kHead.size(), content.data() + content.size(), *epoch);
  }
  // There is one way to write an epoch down, so the check is to write it again.
  if (*epoch == 0 || content != Encode(*epoch))
    return {Code::kCorruption, path + " is damaged: its check does not hold"};
  return Status::Ok();
}

Status FileMetastore::Open() {
  const std::lock_guard lock(mutex_);
  const Status status = ReadMetastoreFile(path_, &epoch_);
  open_ = status.ok();
  return status;
}

Status FileMetastore::ReadLeader(Leader* leader) {
  const std::lock_guard lock(mutex_);
  if (!open_) return {Code::kUnavailable, path_ + " is not open"};
  *leader = {epoch_, {}, {}};
  return Status::Ok();
}

Status FileMetastore::AcquireLeadership(const Leader&, uint64_t seen, uint64_t above, uint64_t* epoch) {
  const std::lock_guard lock(mutex_);
  if (!open_) return {Code::kUnavailable, path_ + " is not open"};
  if (seen != epoch_) return NotNewest(seen, epoch_);
  // Counted up before the write: if that fails half way, the epoch may be in the file and is not given out again.
  epoch_ = std::max(epoch_, above) + 1;
  const Status status = ReplaceFile(path_, Encode(epoch_));
  if (status.ok()) *epoch = epoch_;
  return status;
}

Status FileMetastore::ReadMembership(Membership*) {
  return {Code::kNotFound, path_ + " has no membership: it is of one machine"};
}

Status FileMetastore::WriteMembership(const Membership&, uint64_t) {
  return {Code::kInvalid, path_ + " takes no membership: it is of one machine"};
}

}  // namespace concord
