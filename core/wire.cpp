#include "core/wire.h"

#include <cassert>

#include "core/key.h"

namespace concord {
namespace {

// All of a mutation but its value, of which `value_size` bytes follow.
void AppendHead(std::string* to, MutationOp op, std::string_view key, size_t value_size, Lsn explicit_lsn) {
  assert(key.size() <= UINT16_MAX && value_size <= kMaxValueBytes);
  const bool has_lsn = explicit_lsn != kNoLsn;
  char head[kMutationHeaderSize + sizeof(Lsn)];
  head[0] = static_cast<char>(static_cast<uint8_t>(op) | (has_lsn ? kExplicitLsn : 0));
  StoreLe(head + 1, static_cast<uint16_t>(key.size()));
  StoreLe(head + 3, static_cast<uint32_t>(value_size));
  if (has_lsn) StoreLe(head + kMutationHeaderSize, explicit_lsn);
  to->append(head, kMutationHeaderSize + (has_lsn ? sizeof(Lsn) : 0)).append(key);
}

// Splits what a part has for its value.
Status ReadPart(Mutation* part) {
  if (part->value.size() <= kPartHeaderSize) return {Code::kInvalid, "part of a value without a byte of it"};
  part->total = LoadLe<uint32_t>(part->value.data());
  part->offset = LoadLe<uint32_t>(part->value.data() + sizeof part->total);
  part->value.remove_prefix(kPartHeaderSize);
  if (part->total > kMaxValueBytes) return {Code::kTooLarge, "mutation value over the limit"};
  if (part->offset >= part->total || part->value.size() > part->total - part->offset)
    return {Code::kInvalid, "part of a value that reaches beyond its end"};
  return Status::Ok();
}

}  // namespace

void AppendMutation(std::string* to, MutationOp op, std::string_view key, std::string_view value, Lsn explicit_lsn) {
  AppendHead(to, op, key, value.size(), explicit_lsn);
  to->append(value);
}

void AppendPart(std::string* to, std::string_view key, std::string_view value, size_t offset, size_t size,
                Lsn explicit_lsn) {
  assert(size > 0 && offset + size <= value.size() && value.size() <= kMaxValueBytes);
  AppendHead(to, MutationOp::kPutPart, key, kPartHeaderSize + size, explicit_lsn);
  AppendLe(to, static_cast<uint32_t>(value.size()));
  AppendLe(to, static_cast<uint32_t>(offset));
  to->append(value, offset, size);
}

uint32_t AppendStorageDrop(std::string* to, uint32_t storage_id) {
  for (const Space space : {Space::kRow, Space::kEntry}) {
    std::string prefix;
    AppendBe64(&prefix, Prefix(space, storage_id));
    AppendMutation(to, MutationOp::kDropStorage, prefix, {});
  }
  AppendMutation(to, MutationOp::kDelete, RowidCounterKey(storage_id), {});
  return 3;
}

void AppendCheck(std::string* to, const Check& check) {
  char bytes[kCheckSize];
  StoreLe(bytes, check.key_hash);
  StoreLe(bytes + 8, check.observed);
  StoreLe(bytes + 16, static_cast<uint8_t>(check.mode));
  to->append(bytes, sizeof bytes);
}

Status MutationReader::Next(Mutation* out) {
  if (rest_.size() < kMutationHeaderSize) return {Code::kInvalid, "mutation cut short in its header"};
  const auto raw_op = static_cast<uint8_t>(rest_[0]);
  const auto op = static_cast<uint8_t>(raw_op & ~kExplicitLsn);
  const size_t key_size = LoadLe<uint16_t>(rest_.data() + 1);
  const size_t value_size = LoadLe<uint32_t>(rest_.data() + 3);
  const size_t lsn_size = raw_op & kExplicitLsn ? sizeof(Lsn) : 0;
  if (op < 1 || op > 4) return {Code::kInvalid, "unknown mutation op " + std::to_string(op)};
  if (value_size > kMaxValueBytes) return {Code::kTooLarge, "mutation value over the limit"};
  if (rest_.size() < kMutationHeaderSize + lsn_size + key_size + value_size)
    return {Code::kInvalid, "mutation cut short in its body"};
  out->op = static_cast<MutationOp>(op);
  out->explicit_lsn = lsn_size != 0 ? LoadLe<Lsn>(rest_.data() + kMutationHeaderSize) : kNoLsn;
  out->key = rest_.substr(kMutationHeaderSize + lsn_size, key_size);
  out->value = rest_.substr(kMutationHeaderSize + lsn_size + key_size, value_size);
  rest_.remove_prefix(kMutationHeaderSize + lsn_size + key_size + value_size);
  return out->op == MutationOp::kPutPart ? ReadPart(out) : Status::Ok();
}

Status WriteSetView::Parse(std::string_view bytes, WriteSetView* out) {
  if (bytes.size() < kWriteSetHeaderSize) return {Code::kInvalid, "write set shorter than its header"};
  const char* p = bytes.data();
  if (static_cast<uint8_t>(p[0]) != kWriteSetVersion)
    return {Code::kInvalid, "unknown write set version " + std::to_string(static_cast<uint8_t>(p[0]))};
  if (p[1] != 0 || LoadLe<uint16_t>(p + 2) != 0) return {Code::kInvalid, "unknown flags of a write set"};
  out->check_count_ = LoadLe<uint32_t>(p + 4);
  memcpy(out->token_.data(), p + 8, out->token_.size());
  out->read_lsn_ = LoadLe<Lsn>(p + 24);
  out->chunk_count_ = LoadLe<uint32_t>(p + 32);
  out->mutation_count_ = LoadLe<uint32_t>(p + 36);
  const size_t checks_size = static_cast<size_t>(out->check_count_) * kCheckSize;
  if (bytes.size() - kWriteSetHeaderSize < checks_size) return {Code::kInvalid, "write set cut short in its checks"};
  out->checks_ = bytes.substr(kWriteSetHeaderSize, checks_size);
  out->mutations_ = bytes.substr(kWriteSetHeaderSize + checks_size);
  for (uint32_t i = 0; i < out->check_count_; i++) {
    if (static_cast<uint8_t>(out->checks_[i * kCheckSize + 16]) >= kLockModes)
      return {Code::kInvalid, "unknown lock mode in a check"};
  }
  return Status::Ok();
}

Check WriteSetView::check(uint32_t index) const {
  assert(index < check_count_);
  const char* p = checks_.data() + static_cast<size_t>(index) * kCheckSize;
  return {LoadLe<uint64_t>(p), LoadLe<Lsn>(p + 8), static_cast<LockMode>(p[16])};
}

void AppendWriteSetHeader(std::string* to, const Token& token, Lsn read_lsn, uint32_t chunk_count, uint32_t check_count,
                          uint32_t mutation_count) {
  AppendLe(to, kWriteSetVersion);
  AppendLe(to, uint8_t{0});
  AppendLe(to, uint16_t{0});
  AppendLe(to, check_count);
  to->append(reinterpret_cast<const char*>(token.data()), token.size());
  AppendLe(to, read_lsn);
  AppendLe(to, chunk_count);
  AppendLe(to, mutation_count);
}

std::string EncodeWriteSet(const Token& token, Lsn read_lsn, uint32_t chunk_count, uint32_t check_count,
                           std::string_view checks, uint32_t mutation_count, std::string_view mutations) {
  assert(checks.size() == check_count * kCheckSize);
  std::string out;
  out.reserve(kWriteSetHeaderSize + checks.size() + mutations.size());
  AppendWriteSetHeader(&out, token, read_lsn, chunk_count, check_count, mutation_count);
  out.append(checks);
  out.append(mutations);
  return out;
}

Status ReadsView::Cut(std::string_view* commit, ReadsView* out) {
  *out = {};
  if (commit->empty() || static_cast<uint8_t>((*commit)[0]) != kReadsTag) return Status::Ok();
  if (commit->size() < kReadsHeaderSize) return {Code::kInvalid, "reads shorter than their header"};
  const char* p = commit->data();
  const auto count = LoadLe<uint32_t>(p + 9);
  const auto size = LoadLe<uint32_t>(p + 13);
  if (size > kMaxReadsBytes) return {Code::kTooLarge, "reads over the limit"};
  if (commit->size() - kReadsHeaderSize < size) return {Code::kInvalid, "reads cut short"};
  // Each takes its header at least, so the count, which is not believed, makes room for no more than there can be.
  if (count > size / kRangeHeaderSize) return {Code::kInvalid, "more ranges than there is room for"};
  out->read_lsn_ = LoadLe<Lsn>(p + 1);
  out->ranges_.reserve(count);
  std::string_view rest = commit->substr(kReadsHeaderSize, size);
  for (uint32_t i = 0; i < count; i++) {
    if (rest.size() < kRangeHeaderSize) return {Code::kInvalid, "range cut short in its header"};
    const size_t low_size = LoadLe<uint16_t>(rest.data());
    const size_t high_size = LoadLe<uint16_t>(rest.data() + 2);
    if (low_size > kMaxBoundBytes || high_size > kMaxBoundBytes) return {Code::kTooLarge, "bound over the limit"};
    if (rest.size() < RangeSize(low_size, high_size)) return {Code::kInvalid, "range cut short in its bounds"};
    const KeyRange range{rest.substr(kRangeHeaderSize, low_size), rest.substr(kRangeHeaderSize + low_size, high_size)};
    rest.remove_prefix(RangeSize(low_size, high_size));
    if (range.low >= range.high) return {Code::kInvalid, "range without a key"};
    if (i > 0 && range.low <= out->ranges_.back().high) return {Code::kInvalid, "ranges out of order"};
    out->ranges_.push_back(range);
  }
  if (!rest.empty()) return {Code::kInvalid, "more bytes than ranges"};
  commit->remove_prefix(kReadsHeaderSize + size);
  return Status::Ok();
}

void AppendReadsHeader(std::string* to, Lsn read_lsn, uint32_t range_count, uint32_t size) {
  AppendLe(to, kReadsTag);
  AppendLe(to, read_lsn);
  AppendLe(to, range_count);
  AppendLe(to, size);
}

void AppendRange(std::string* to, const KeyRange& range) {
  assert(range.low < range.high && range.low.size() <= kMaxBoundBytes && range.high.size() <= kMaxBoundBytes);
  AppendLe(to, static_cast<uint16_t>(range.low.size()));
  AppendLe(to, static_cast<uint16_t>(range.high.size()));
  to->append(range.low).append(range.high);
}

Status ChunkView::Parse(std::string_view bytes, ChunkView* out) {
  if (bytes.size() < kChunkHeaderSize) return {Code::kInvalid, "chunk shorter than its header"};
  memcpy(out->token.data(), bytes.data(), out->token.size());
  out->sequence = LoadLe<uint32_t>(bytes.data() + 16);
  out->flags = static_cast<uint8_t>(bytes[20]);
  out->mutations = bytes.substr(kChunkHeaderSize);
  return Status::Ok();
}

void AppendChunkHeader(std::string* to, const Token& token, uint32_t sequence, uint8_t flags) {
  to->append(reinterpret_cast<const char*>(token.data()), token.size());
  AppendLe(to, sequence);
  AppendLe(to, flags);
}

std::string EncodeChunk(const Token& token, uint32_t sequence, uint8_t flags, std::string_view mutations) {
  std::string out;
  out.reserve(kChunkHeaderSize + mutations.size());
  AppendChunkHeader(&out, token, sequence, flags);
  out.append(mutations);
  return out;
}

}  // namespace concord
