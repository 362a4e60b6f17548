#include "bridge/remote_cache.h"

namespace concord::bridge {

namespace {
constexpr size_t kEntryOverheadBytes = 160;  // of a key that is remembered
}

RemoteCache& RemoteCache::Get() {
  static RemoteCache* const cache = new RemoteCache;  // never destroyed, as what it keeps is closed otherwise
  return *cache;
}

const RemoteCache::Found* RemoteCache::Key(Lsn lsn, std::string_view key) const {
  if (keys_.empty()) return nullptr;
  const auto found = keys_.find(Name(lsn, key));
  return found == keys_.end() ? nullptr : &found->second;
}

void RemoteCache::Keep(RemoteBatch* batch) {
  if (bytes_ > kMaxBytes) Clear();
  if (!kept_.emplace(batch, 1).second) return;
  batch->Pin();
  bytes_ += batch->size();
}

void RemoteCache::AddKeys(Lsn lsn, RemoteBatch* batch, bool keys) {
  Keep(batch);
  const auto add = [&](const BatchEntry& entry) {
    bytes_ += kEntryOverheadBytes;
    keys_[Name(lsn, entry.key)] = {batch, entry};
  };
  if (keys)
    for (const BatchEntry& entry : batch->entries()) add(entry);
  for (const BatchEntry& row : batch->rows()) add(row);
}

RemoteBatch* RemoteCache::Scan(Lsn lsn, std::string_view request) const {
  if (scans_.empty()) return nullptr;
  const auto found = scans_.find(Name(lsn, request));
  return found == scans_.end() ? nullptr : found->second;
}

void RemoteCache::AddScan(Lsn lsn, std::string_view request, RemoteBatch* batch) {
  Keep(batch);
  bytes_ += kEntryOverheadBytes;
  scans_[Name(lsn, request)] = batch;
}

void RemoteCache::Clear() {
  keys_.clear();
  scans_.clear();
  const auto kept = std::move(kept_);
  kept_.clear();
  bytes_ = 0;
  for (const auto& [batch, one] : kept) batch->Unpin();
}

}  // namespace concord::bridge
