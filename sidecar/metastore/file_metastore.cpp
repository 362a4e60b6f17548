#include "sidecar/metastore/file_metastore.h"

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "core/crc32c.h"
#include "sidecar/metastore/atomic_file.h"

namespace concord {
namespace {

constexpr std::string_view kHead = "concord metastore 1\nepoch ";

std::string Encode(uint64_t epoch) {
  std::string out(kHead);
  out += std::to_string(epoch) + "\n";
  char crc[16];
  snprintf(crc, sizeof crc, "crc %08x\n", Crc32c(out));
  return out + crc;
}

}  // namespace

Status FileMetastore::Open() {
  const std::lock_guard lock(mutex_);
  std::string content;
  const Status status = ReadSmallFile(path_, &content);
  if (status.code() == Code::kNotFound) {
    open_ = true;
    return Status::Ok();
  }
  if (!status.ok()) return status;
  uint64_t epoch = 0;
  if (content.starts_with(kHead)) {
    std::from_chars(content.data() + kHead.size(), content.data() + content.size(), epoch);
  }
  // There is one way to write an epoch down, so the check is to write it again.
  if (epoch == 0 || content != Encode(epoch))
    return {Code::kCorruption, path_ + " is damaged: its check does not hold"};
  epoch_ = epoch;
  open_ = true;
  return Status::Ok();
}

Status FileMetastore::AcquireLeadership(uint64_t above, uint64_t* epoch) {
  const std::lock_guard lock(mutex_);
  if (!open_) return {Code::kUnavailable, path_ + " is not open"};
  // Counted up before the write: if that fails half way, the epoch may be in the file and is not given out again.
  epoch_ = std::max(epoch_, above) + 1;
  const Status status = ReplaceFile(path_, Encode(epoch_));
  if (status.ok()) *epoch = epoch_;
  return status;
}

}  // namespace concord
