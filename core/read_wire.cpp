#include "core/read_wire.h"

#include "core/key.h"

namespace concord {

namespace {

constexpr size_t kScanHeaderSize = 28;  // behind the request's

bool Cut(std::string_view* from, size_t size, std::string_view* out) {
  if (from->size() < size) return false;
  *out = from->substr(0, size);
  from->remove_prefix(size);
  return true;
}

bool ParseScan(std::string_view body, ReadRequestView* out) {
  if (body.size() < kScanHeaderSize) return false;
  out->max_entries = LoadLe<uint32_t>(body.data());
  out->rows_of = LoadLe<uint64_t>(body.data() + 4);
  out->after = LoadLe<uint64_t>(body.data() + 12);
  const size_t low = LoadLe<uint16_t>(body.data() + 20);
  const size_t high = LoadLe<uint16_t>(body.data() + 22);
  const size_t stop = LoadLe<uint16_t>(body.data() + 24);
  body.remove_prefix(kScanHeaderSize);
  return Cut(&body, low, &out->bounds.low) && Cut(&body, high, &out->bounds.high) &&
         Cut(&body, stop, &out->bounds.stop) && body.empty() && low >= kPrefixSize;
}

bool CutSized(std::string_view* from, std::string_view* out) {
  std::string_view size;
  return Cut(from, 2, &size) && Cut(from, LoadLe<uint16_t>(size.data()), out);
}

bool ParseMany(std::string_view body) {
  size_t count = 0;
  for (std::string_view bytes; !body.empty(); count++) {
    ReadRequestView scan;
    if (!CutSized(&body, &bytes) || bytes.empty() || static_cast<ReadKind>(bytes[0]) != ReadKind::kScan ||
        !ReadRequestView::Parse(bytes, &scan) || (scan.flags & kReadVersions) != 0)
      return false;
  }
  return count > 0 && count <= kMaxScansInOne;
}

}  // namespace

bool ReadRequestView::Parse(std::string_view bytes, ReadRequestView* out) {
  if (bytes.size() < kReadHeaderSize || bytes.size() > kMaxReadRequestBytes) return false;
  *out = {};
  out->kind = static_cast<ReadKind>(bytes[0]);
  out->flags = static_cast<uint8_t>(bytes[1]);
  out->limit = LoadLe<uint32_t>(bytes.data() + 4);
  std::string_view body = bytes.substr(kReadHeaderSize);
  switch (out->kind) {
    case ReadKind::kGet: out->keys = body; return true;
    case ReadKind::kScan: return ParseScan(body, out);
    case ReadKind::kPart:
      if (body.size() < 16) return false;
      out->after = LoadLe<uint64_t>(body.data());
      out->offset = LoadLe<uint64_t>(body.data() + 8);
      out->key = body.substr(16);
      return true;
    case ReadKind::kCounters:
    case ReadKind::kStorages:
      if (body.size() != 8) return false;
      out->after = LoadLe<uint64_t>(body.data());
      return true;
    case ReadKind::kMany: out->requests = body; return ParseMany(body);
  }
  return false;
}

bool ReadRequestView::NextKey(std::string_view* next) { return CutSized(&keys, next); }

bool ReadRequestView::NextRequest(std::string_view* next) { return CutSized(&requests, next); }

void AppendReadHeader(std::string* to, ReadKind kind, uint8_t flags, uint32_t limit) {
  to->push_back(static_cast<char>(kind));
  to->push_back(static_cast<char>(flags));
  AppendLe<uint16_t>(to, 0);
  AppendLe<uint32_t>(to, limit);
}

void AppendReadKey(std::string* to, std::string_view key) {
  AppendLe<uint16_t>(to, static_cast<uint16_t>(key.size()));
  to->append(key);
}

void AppendReadRequest(std::string* to, std::string_view request) { AppendReadKey(to, request); }

std::string EncodeScan(uint8_t flags, uint32_t limit, uint32_t max_entries, uint64_t rows_of, uint64_t after,
                       const ScanBounds& bounds) {
  std::string to;
  to.reserve(kReadHeaderSize + kScanHeaderSize + bounds.low.size() + bounds.high.size() + bounds.stop.size());
  AppendReadHeader(&to, ReadKind::kScan, flags, limit);
  AppendLe<uint32_t>(&to, max_entries);
  AppendLe<uint64_t>(&to, rows_of);
  AppendLe<uint64_t>(&to, after);
  AppendLe<uint16_t>(&to, static_cast<uint16_t>(bounds.low.size()));
  AppendLe<uint16_t>(&to, static_cast<uint16_t>(bounds.high.size()));
  AppendLe<uint16_t>(&to, static_cast<uint16_t>(bounds.stop.size()));
  AppendLe<uint16_t>(&to, 0);
  to.append(bounds.low).append(bounds.high).append(bounds.stop);
  return to;
}

std::string EncodePart(uint32_t limit, uint64_t version, uint64_t offset, std::string_view key) {
  std::string to;
  AppendReadHeader(&to, ReadKind::kPart, 0, limit);
  AppendLe<uint64_t>(&to, version);
  AppendLe<uint64_t>(&to, offset);
  to.append(key);
  return to;
}

std::string EncodeReadNumber(ReadKind kind, uint32_t limit, uint64_t number) {
  std::string to;
  AppendReadHeader(&to, kind, 0, limit);
  AppendLe<uint64_t>(&to, number);
  return to;
}

BatchWriter::BatchWriter(Lsn applied, Lsn horizon) {
  AppendLe<uint64_t>(&bytes_, applied);
  AppendLe<uint64_t>(&bytes_, horizon);
  bytes_.append(8, '\0');
}

void BatchWriter::Add(const BatchEntry& entry) {
  AppendLe<uint64_t>(&bytes_, entry.lsn);
  AppendLe<uint64_t>(&bytes_, entry.value_size);
  AppendLe<uint32_t>(&bytes_, static_cast<uint32_t>(entry.value.size()));
  AppendLe<uint16_t>(&bytes_, static_cast<uint16_t>(entry.key.size()));
  AppendLe<uint16_t>(&bytes_, entry.flags);
  bytes_.append(entry.key).append(PaddedTo8(entry.key.size()) - entry.key.size(), '\0');
  bytes_.append(entry.value).append(PaddedTo8(entry.value.size()) - entry.value.size(), '\0');
  count_++;
}

std::string BatchWriter::Finish(bool more) {
  StoreLe<uint32_t>(bytes_.data() + 16, count_);
  StoreLe<uint32_t>(bytes_.data() + 20, more ? kBatchMore : 0);
  return std::move(bytes_);
}

bool BatchReader::Open(std::string_view bytes, BatchReader* out) {
  if (bytes.size() < kBatchHeaderSize) return false;
  out->applied_ = LoadLe<uint64_t>(bytes.data());
  out->horizon_ = LoadLe<uint64_t>(bytes.data() + 8);
  out->count_ = LoadLe<uint32_t>(bytes.data() + 16);
  out->flags_ = LoadLe<uint32_t>(bytes.data() + 20);
  out->rest_ = bytes.substr(kBatchHeaderSize);
  return true;
}

bool BatchReader::Next(BatchEntry* entry) {
  std::string_view header;
  if (!Cut(&rest_, kBatchEntryHeaderSize, &header)) return false;
  entry->lsn = LoadLe<uint64_t>(header.data());
  entry->value_size = LoadLe<uint64_t>(header.data() + 8);
  const size_t here = LoadLe<uint32_t>(header.data() + 16);
  const size_t key_size = LoadLe<uint16_t>(header.data() + 20);
  entry->flags = LoadLe<uint16_t>(header.data() + 22);
  std::string_view padding;
  return Cut(&rest_, key_size, &entry->key) && Cut(&rest_, PaddedTo8(key_size) - key_size, &padding) &&
         Cut(&rest_, here, &entry->value) && Cut(&rest_, PaddedTo8(here) - here, &padding) &&
         (here <= entry->value_size || (entry->flags & kEntryAbsent) != 0);
}

}  // namespace concord
