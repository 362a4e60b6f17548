#include "core/write_set_copy.h"

#include "core/bytes.h"

namespace concord {

namespace {

class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  bool done() const { return bytes_.empty(); }
  bool Bytes(uint64_t size, std::string_view* bytes) {
    if (size > bytes_.size()) return false;
    *bytes = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return true;
  }
  template <typename T>
  bool Number(T* number) {
    std::string_view bytes;
    if (!Bytes(sizeof(T), &bytes)) return false;
    *number = LoadLe<T>(bytes.data());
    return true;
  }

 private:
  std::string_view bytes_;
};

}  // namespace

std::string WriteSetCopy::Make(const WriteSet& from) {
  std::string copy;
  copy.reserve(from.bytes());
  for (const auto& [prefix, storage] : from.storages_) {
    AppendLe<uint64_t>(&copy, prefix);
    AppendLe<uint64_t>(&copy, storage.keys.size());
    for (const auto& [head, chain] : storage.keys) {
      uint32_t versions = 0;
      for (const auto* version = chain->oldest; version != nullptr; version = version->newer) versions++;
      AppendLe<uint8_t>(&copy, chain->base_absent);
      AppendLe<uint32_t>(&copy, versions);
      AppendLe<uint32_t>(&copy, chain->body_size);
      copy.append(chain->body());
      for (const auto* version = chain->oldest; version != nullptr; version = version->newer) {
        AppendLe<uint32_t>(&copy, version->cid);
        AppendLe<uint8_t>(&copy, version->deleted());
        AppendLe<uint64_t>(&copy, version->alias);
        AppendLe<uint64_t>(&copy, version->bytes().size());
        copy.append(version->bytes());
      }
    }
  }
  return copy;
}

Status WriteSetCopy::Take(std::string_view copy, WriteSet* to) {
  const Status broken{Code::kInvalid, "broken copy of a write set"};
  Reader reader(copy);
  while (!reader.done()) {
    uint64_t prefix, keys;
    if (!reader.Number(&prefix) || !reader.Number(&keys)) return broken;
    for (; keys > 0; keys--) {
      uint8_t base_absent;
      uint32_t versions, body_size;
      std::string_view body;
      if (!reader.Number(&base_absent) || !reader.Number(&versions) || !reader.Number(&body_size) ||
          !reader.Bytes(body_size, &body)) {
        return broken;
      }
      for (; versions > 0; versions--) {
        uint32_t cid;
        uint8_t deleted;
        uint64_t alias, size;
        std::string_view value;
        if (!reader.Number(&cid) || !reader.Number(&deleted) || !reader.Number(&alias) || !reader.Number(&size) ||
            !reader.Bytes(size, &value)) {
          return broken;
        }
        Status status =
            deleted != 0 ? to->Delete(prefix, body, cid) : to->Put(prefix, body, value, cid, base_absent != 0, nullptr);
        if (!status.ok()) return status;
        if (alias != 0) to->Name(prefix, body, alias);
      }
    }
  }
  return Status::Ok();
}

}  // namespace concord
