#include "core/parts.h"

#include <algorithm>

namespace concord {
namespace {

constexpr size_t kMinPartBytes = 4096;  // what is left of a chunk is not worth less

}  // namespace

std::optional<ValueCut> CutBefore(std::string_view mutations) {
  MutationReader reader(mutations);
  Mutation first;
  if (reader.AtEnd() || !reader.Next(&first).ok()) return std::nullopt;
  if (first.op != MutationOp::kPutPart || first.offset == 0) return std::nullopt;
  return ValueCut{std::string(first.key), first.explicit_lsn, first.total, first.offset};
}

std::optional<ValueCut> CutBehind(std::string_view mutations) {
  Mutation last{};
  for (MutationReader reader(mutations); !reader.AtEnd();) {
    if (!reader.Next(&last).ok()) return std::nullopt;
  }
  const size_t end = last.offset + last.value.size();
  if (last.op != MutationOp::kPutPart || end == last.total) return std::nullopt;
  return ValueCut{std::string(last.key), last.explicit_lsn, last.total, static_cast<uint32_t>(end)};
}

Status PartChain::AddPart(const Mutation& mutation) {
  if (mutation.op != MutationOp::kPutPart) return {Code::kInvalid, "a mutation inside a value that is not complete"};
  if (!cut_ && mutation.offset != 0) return {Code::kInvalid, "part of a value that has not begun"};
  if (cut_ && (mutation.offset != cut_->offset || mutation.total != cut_->total || mutation.key != cut_->key ||
               mutation.explicit_lsn != cut_->explicit_lsn))
    return {Code::kInvalid, "part of a value that does not continue the one before it"};
  const auto end = static_cast<uint32_t>(mutation.offset + mutation.value.size());
  if (end == mutation.total) {
    cut_.reset();
  } else if (cut_) {
    cut_->offset = end;
  } else {
    cut_ = ValueCut{std::string(mutation.key), mutation.explicit_lsn, mutation.total, end};
  }
  return Status::Ok();
}

bool PartWriter::AppendTo(std::string* chunk) {
  const size_t head = kMutationHeaderSize + (explicit_lsn_ != kNoLsn ? sizeof(Lsn) : 0) + key_.size() + kPartHeaderSize;
  const size_t rest = value_.size() - done_;
  const size_t used = chunk->size() + head;
  const size_t room = used < kMaxChunkBytes ? kMaxChunkBytes - used : 0;
  if (room < std::min(rest, kMinPartBytes)) return false;
  const size_t size = std::min(rest, room);
  chunk->reserve(used + size);
  AppendPart(chunk, key_, value_, done_, size, explicit_lsn_);
  done_ += size;
  return done_ == value_.size();
}

}  // namespace concord
