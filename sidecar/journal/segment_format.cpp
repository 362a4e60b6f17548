#include "sidecar/journal/segment_format.h"

#include <cassert>
#include <cstdio>

#include "core/bytes.h"
#include "core/crc32c.h"

namespace concord::journal {
namespace {

constexpr uint64_t kSegmentMagic = 0x4d47534a43435f01;
constexpr uint32_t kGroupMagic = 0x47524a43;  // "CJRG"
constexpr std::string_view kSuffix = ".segment";

uint32_t HeaderCrc(const char* header, uint64_t salt, uint64_t offset) {
  uint32_t crc = Crc32c(0, &salt, sizeof salt);
  crc = Crc32c(crc, &offset, sizeof offset);
  return Crc32c(crc, header + 8, kGroupHeaderSize - 8);
}

bool HasGroupHeader(std::string_view bytes, uint64_t salt, uint64_t offset) {
  return bytes.size() >= kGroupHeaderSize && LoadLe<uint32_t>(bytes.data()) == kGroupMagic &&
         LoadLe<uint32_t>(bytes.data() + 4) == HeaderCrc(bytes.data(), salt, offset);
}

}  // namespace

std::string EncodeSegmentHeader(const SegmentHeader& header) {
  std::string tail;
  AppendLe(&tail, header.sequence);
  AppendLe(&tail, header.salt);
  AppendLe(&tail, header.size);
  std::string out;
  AppendLe(&out, kSegmentMagic);
  AppendLe(&out, kSegmentVersion);
  AppendLe(&out, Crc32c(Crc32c(out), tail.data(), tail.size()));
  return out + tail;
}

Status ParseSegmentHeader(std::string_view bytes, SegmentHeader* header) {
  if (bytes.size() < kSegmentHeaderSize) return {Code::kCorruption, "segment shorter than its header"};
  if (LoadLe<uint64_t>(bytes.data()) != kSegmentMagic) return {Code::kCorruption, "not a journal segment"};
  if (LoadLe<uint32_t>(bytes.data() + 12) !=
      Crc32c(Crc32c(bytes.substr(0, 12)), bytes.data() + 16, kSegmentHeaderSize - 16))
    return {Code::kCorruption, "checksum mismatch in the segment header"};
  const auto version = LoadLe<uint32_t>(bytes.data() + 8);
  if (version != kSegmentVersion)
    return {Code::kInvalid,
            "segment version " + std::to_string(version) + ", this program reads " + std::to_string(kSegmentVersion)};
  header->sequence = LoadLe<uint64_t>(bytes.data() + 16);
  header->salt = LoadLe<uint64_t>(bytes.data() + 24);
  header->size = LoadLe<uint64_t>(bytes.data() + 32);
  return Status::Ok();
}

void SealGroup(std::string* group, uint64_t salt, uint64_t offset, Lsn prev_lsn, Lsn committed_lsn) {
  assert(group->size() >= kGroupHeaderSize && offset % kGroupAlignment == 0);
  const auto frames_size = static_cast<uint32_t>(group->size() - kGroupHeaderSize);
  group->resize(PadGroup(group->size()), '\0');
  char* p = group->data();
  StoreLe(p, kGroupMagic);
  StoreLe(p + 8, frames_size);
  StoreLe(p + 12, Crc32c(0, p + kGroupHeaderSize, group->size() - kGroupHeaderSize));
  StoreLe(p + 16, prev_lsn);
  StoreLe(p + 24, committed_lsn);
  StoreLe(p + 4, HeaderCrc(p, salt, offset));
}

GroupState ParseGroup(std::string_view bytes, uint64_t salt, uint64_t offset, GroupHeader* header,
                      std::string_view* frames) {
  if (!HasGroupHeader(bytes, salt, offset)) return GroupState::kNone;
  header->frames_size = LoadLe<uint32_t>(bytes.data() + 8);
  header->prev_lsn = LoadLe<Lsn>(bytes.data() + 16);
  header->committed_lsn = LoadLe<Lsn>(bytes.data() + 24);
  const uint64_t padded = PadGroup(header->frames_size);
  if (bytes.size() - kGroupHeaderSize < padded) return GroupState::kTorn;
  if (Crc32c(bytes.substr(kGroupHeaderSize, padded)) != LoadLe<uint32_t>(bytes.data() + 12)) return GroupState::kTorn;
  *frames = bytes.substr(kGroupHeaderSize, header->frames_size);
  return GroupState::kWhole;
}

bool ContainsGroupHeader(std::string_view bytes, uint64_t salt, uint64_t offset) {
  for (size_t at = 0; at + kGroupHeaderSize <= bytes.size(); at += kGroupAlignment) {
    if (HasGroupHeader(bytes.substr(at), salt, offset + at)) return true;
  }
  return false;
}

std::string SegmentName(uint64_t sequence) {
  char name[32];
  snprintf(name, sizeof name, "%016llx", static_cast<unsigned long long>(sequence));
  return std::string(name).append(kSuffix);
}

uint64_t SegmentSequence(std::string_view name) {
  if (name.size() != 16 + kSuffix.size() || !name.ends_with(kSuffix)) return 0;
  uint64_t sequence = 0;
  for (const char c : name.substr(0, 16)) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) return 0;
    sequence = sequence << 4 | static_cast<uint64_t>(digit);
  }
  return sequence;
}

}  // namespace concord::journal
