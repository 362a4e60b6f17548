#include "core/frame.h"

#include "core/bytes.h"
#include "core/crc32c.h"
#include "core/wire.h"

namespace concord {
namespace {

uint32_t FrameCrc(const char* after_crc, size_t length, uint32_t size) {
  return Crc32c(Crc32c(0, after_crc, length), &size, sizeof size);
}

}  // namespace

void AppendFrame(std::string* to, uint64_t epoch, Lsn lsn, Lsn prev_lsn, std::string_view head, std::string_view rest) {
  const size_t start = to->size();
  const auto size = static_cast<uint32_t>(head.size() + rest.size());
  to->reserve(start + kFrameHeaderSize + size);
  AppendLe(to, size);
  AppendLe(to, uint32_t{0});
  AppendLe(to, epoch);
  AppendLe(to, lsn);
  AppendLe(to, prev_lsn);
  to->append(head);
  to->append(rest);
  StoreLe(to->data() + start + 4, FrameCrc(to->data() + start + 8, kFrameHeaderSize - 8 + size, size));
}

Status ParseFrame(std::string_view bytes, Frame* frame, size_t* consumed) {
  if (bytes.empty()) return {Code::kNotFound, "end of frames"};
  if (bytes.size() < 8) return {Code::kInvalid, "frame cut short in its header"};
  const auto size = LoadLe<uint32_t>(bytes.data());
  const auto crc = LoadLe<uint32_t>(bytes.data() + 4);
  if (size == 0 && crc == 0) return {Code::kNotFound, "end of frames"};
  if (size == 0 || size > kMaxRecordBytes) return {Code::kCorruption, "impossible frame size " + std::to_string(size)};
  if (bytes.size() < kFrameHeaderSize + size) return {Code::kInvalid, "frame cut short in its body"};
  if (FrameCrc(bytes.data() + 8, kFrameHeaderSize - 8 + size, size) != crc)
    return {Code::kCorruption, "checksum mismatch"};
  frame->epoch = LoadLe<uint64_t>(bytes.data() + 8);
  frame->lsn = LoadLe<Lsn>(bytes.data() + 16);
  frame->prev_lsn = LoadLe<Lsn>(bytes.data() + 24);
  frame->record = bytes.substr(kFrameHeaderSize, size);
  *consumed = kFrameHeaderSize + size;
  return Status::Ok();
}

}  // namespace concord
