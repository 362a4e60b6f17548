#include "sidecar/adjudicator/changed_keys.h"

#include "core/key.h"

namespace concord {

void ChangedKeys::Add(std::string_view mutations) {
  Mutation mutation;
  for (MutationReader reader(mutations); !all_ && !reader.AtEnd() && reader.Next(&mutation).ok();) {
    // The parts of a value come one after another, in every chunk that it takes.
    if (mutation.op == MutationOp::kPutPart && mutation.offset != 0) continue;
    if (coarse_ || mutation.op == MutationOp::kDropStorage) {
      AddStorage(KeyPrefix(mutation.key));
      continue;
    }
    AppendLe(&keys_, static_cast<uint16_t>(mutation.key.size()));
    keys_.append(mutation.key);
    if (keys_.size() > kMaxBytes) Coarsen();
  }
}

void ChangedKeys::AddStorages(std::string_view mutations) {
  Mutation mutation;
  for (MutationReader reader(mutations); !all_ && !reader.AtEnd() && reader.Next(&mutation).ok();) {
    if (mutation.explicit_lsn == kNoLsn) AddStorage(KeyPrefix(mutation.key));
  }
}

void ChangedKeys::AddStorage(uint64_t prefix) {
  if (prefix == last_storage_ && !storages_.empty()) return;
  storages_.insert(prefix);
  last_storage_ = prefix;
  if (storages_.size() > kMaxStorages) AddAll();
}

void ChangedKeys::AddAll() {
  Clear();
  all_ = true;
}

void ChangedKeys::Coarsen() {
  std::string keys;
  keys.swap(keys_);
  coarse_ = true;
  for (std::string_view rest = keys; !rest.empty();) {
    const size_t size = LoadLe<uint16_t>(rest.data());
    AddStorage(KeyPrefix(rest.substr(sizeof(uint16_t), size)));
    rest.remove_prefix(sizeof(uint16_t) + size);
  }
}

void ChangedKeys::Clear() {
  keys_.clear();
  storages_.clear();
  coarse_ = all_ = false;
}

}  // namespace concord
