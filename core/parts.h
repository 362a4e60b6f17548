// Values that are cut into parts because no chunk holds them whole (core/wire.h): how they are cut, and what may follow
// what. A value is complete where its parts are a chain from offset 0 to its total. A chain may go on from one chunk
// into the next; the place is a ValueCut, and the two sides of it must be equal.
//
// Pure: no I/O. Not thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/lsn.h"
#include "core/status.h"
#include "core/wire.h"

namespace concord {

// A place inside the value of a put: `offset` bytes of `total` are before it.
struct ValueCut {
  std::string key;
  Lsn explicit_lsn;
  uint32_t total;
  uint32_t offset;

  friend bool operator==(const ValueCut&, const ValueCut&) = default;
};

// The cut that `mutations` begin at; nullopt if they begin with a mutation of its own, or with none, or malformed.
std::optional<ValueCut> CutBefore(std::string_view mutations);
// The cut that they end at.
std::optional<ValueCut> CutBehind(std::string_view mutations);

// Follows mutations in their order.
class PartChain {
 public:
  PartChain() = default;
  // Goes on at a cut.
  explicit PartChain(std::optional<ValueCut> cut) : cut_(std::move(cut)) {}

  // kInvalid if the mutation cannot come here.
  Status Add(const Mutation& mutation) {
    if (mutation.op != MutationOp::kPutPart && !cut_) return Status::Ok();
    return AddPart(mutation);
  }
  // Where it stands; nullopt if every value is complete.
  const std::optional<ValueCut>& cut() const { return cut_; }

 private:
  Status AddPart(const Mutation& mutation);

  std::optional<ValueCut> cut_;
};

// True if a chunk holds the put of such a value, and nothing else, whole.
inline bool ChunkHolds(size_t key_size, size_t value_size) {
  return kChunkHeaderSize + kMutationHeaderSize + sizeof(Lsn) + key_size + value_size <= kMaxChunkBytes;
}

// Cuts one value. It points to the value, which must stay.
class PartWriter {
 public:
  PartWriter(std::string key, std::string_view value, Lsn explicit_lsn = kNoLsn)
      : key_(std::move(key)), value_(value), explicit_lsn_(explicit_lsn) {}

  // Appends the next part, as long as there is room for in the encoded chunk; nothing if there is hardly any. False if
  // the value is not complete: the next part belongs into the next chunk.
  bool AppendTo(std::string* chunk);
  // Whether anything has been appended.
  bool begun() const { return done_ > 0; }

 private:
  std::string key_;
  std::string_view value_;
  Lsn explicit_lsn_;
  size_t done_ = 0;
};

}  // namespace concord
