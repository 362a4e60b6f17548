// What this transaction has read of other machines' replicas: single keys, and the small batches that lookups in an
// index begin with. A version of a key as of an LSN never changes, so what is found here is exact; an inner side of a
// join that is asked for the same key again asks nobody.
//
// It keeps the batches that the answers came in, up to kMaxBytes; then it forgets all. Not thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>

#include "bridge/remote_batch.h"

namespace concord::bridge {

class RemoteCache {
 public:
  struct Found {
    RemoteBatch* batch = nullptr;
    BatchEntry entry;  // its value may be cut
  };

  static RemoteCache& Get();

  // The answer about a key as of an LSN; nullptr if it is not known. Good until the next call that adds.
  const Found* Key(Lsn lsn, std::string_view key) const;
  // Whatever a batch says of keys, if `keys`, and of rows.
  void AddKeys(Lsn lsn, RemoteBatch* batch, bool keys);
  RemoteBatch* Scan(Lsn lsn, std::string_view request) const;
  void AddScan(Lsn lsn, std::string_view request, RemoteBatch* batch);
  void Clear();
  // Forgets all now if it would with so many bytes more.
  void MakeRoom(size_t bytes) {
    if (bytes_ + bytes > kMaxBytes) Clear();
  }

 private:
  static constexpr size_t kMaxBytes = 16u << 20;

  static std::string Name(Lsn lsn, std::string_view bytes) {
    std::string name(reinterpret_cast<const char*>(&lsn), sizeof lsn);
    return name.append(bytes);
  }
  void Keep(RemoteBatch* batch);

  std::unordered_map<std::string, Found> keys_;
  std::unordered_map<std::string, RemoteBatch*> scans_;
  std::unordered_map<RemoteBatch*, int> kept_;
  size_t bytes_ = 0;
};

}  // namespace concord::bridge
