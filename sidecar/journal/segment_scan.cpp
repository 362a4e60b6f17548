#include "sidecar/journal/segment_scan.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "core/bytes.h"
#include "core/frame.h"
#include "sidecar/journal/file.h"

namespace concord::journal {
namespace {

// state := version u32 | sealed_epoch u64 | cut_sequence u64 | group_offset u64 | zero_from u64 | zero_to u64
//          | group_header (0 or 32 bytes)
constexpr uint32_t kStateVersion = 1;
constexpr size_t kStateFixedSize = 44;

}  // namespace

Status Damage(const std::string& path, uint64_t offset, std::string_view what) {
  return {Code::kCorruption, path + ", offset " + std::to_string(offset) + ": " + std::string(what)};
}

Status ListSegments(const std::string& directory, std::vector<uint64_t>* sequences,
                    std::vector<std::string>* leftovers) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".tmp") || name.ends_with(".spare")) {
      leftovers->push_back(entry.path().string());
    } else if (const uint64_t sequence = SegmentSequence(name); sequence != 0) {
      sequences->push_back(sequence);
    }
  }
  if (error) return ErrnoStatus("list", directory, error.value());
  std::sort(sequences->begin(), sequences->end());
  return Status::Ok();
}

Status LoadSegment(const std::string& path, uint64_t sequence, SegmentHeader* header, std::string* bytes) {
  FileDescriptor fd;
  Status status = OpenFile(path, O_RDONLY, &fd);
  if (!status.ok()) return status;
  struct stat info;
  if (::fstat(fd.get(), &info) != 0) return ErrnoStatus("stat", path, errno);
  status = ReadAt(fd.get(), path, 0, static_cast<size_t>(info.st_size), bytes);
  if (!status.ok()) return status;
  status = ParseSegmentHeader(*bytes, header);
  if (!status.ok()) return {status.code(), Damage(path, 0, status.message()).message()};
  if (header->sequence != sequence) return Damage(path, 0, "the header names another sequence than the file's name");
  if (header->size != bytes->size()) return Damage(path, bytes->size(), "the file has not the size its header tells");
  return Status::Ok();
}

Status LoadSavedState(const std::string& directory, SavedState* state) {
  std::string body;
  const Status status = LoadSmallFile(directory, kStateName, &body);
  if (status.code() == Code::kNotFound) return Status::Ok();
  if (!status.ok()) return status;
  const std::string path = directory + "/" + kStateName;
  if (body.size() < kStateFixedSize) return Damage(path, 8, "impossible size");
  if (const auto version = LoadLe<uint32_t>(body.data()); version != kStateVersion)
    return {Code::kInvalid,
            path + " has version " + std::to_string(version) + ", this program reads " + std::to_string(kStateVersion)};
  if (body.size() != kStateFixedSize && body.size() != kStateFixedSize + kGroupHeaderSize)
    return Damage(path, 8, "impossible size");
  *state = {.sealed_epoch = LoadLe<uint64_t>(body.data() + 4),
            .cut_sequence = LoadLe<uint64_t>(body.data() + 12),
            .group_offset = LoadLe<uint64_t>(body.data() + 20),
            .zero_from = LoadLe<uint64_t>(body.data() + 28),
            .zero_to = LoadLe<uint64_t>(body.data() + 36),
            .group_header = body.substr(kStateFixedSize)};
  return Status::Ok();
}

Status StoreSavedState(const std::string& directory, const SavedState& state) {
  std::string body;
  AppendLe(&body, kStateVersion);
  AppendLe(&body, state.sealed_epoch);
  AppendLe(&body, state.cut_sequence);
  AppendLe(&body, state.group_offset);
  AppendLe(&body, state.zero_from);
  AppendLe(&body, state.zero_to);
  body.append(state.group_header);
  return SaveSmallFile(directory, kStateName, body);
}

Status SegmentScanner::Next(const std::string& path, uint64_t sequence, SegmentHeader* header,
                            const std::function<void(const ScannedGroup&)>& on_group) {
  const bool is_first = first_sequence_ == 0;
  if (!is_first && sequence != sequence_ + 1) return Damage(path, 0, "the segment before it is missing");
  std::string bytes;
  Status status = LoadSegment(path, sequence, header, &bytes);
  if (!status.ok()) return status;
  const std::string_view all = bytes;

  uint64_t offset = kFirstGroupOffset;
  for (;;) {
    GroupHeader group_header;
    std::string_view frames;
    const GroupState state = ParseGroup(all.substr(offset), header->salt, offset, &group_header, &frames);
    if (state == GroupState::kTorn) state_.torn = true;
    if (state != GroupState::kWhole) break;
    if (offset == kFirstGroupOffset) {
      if (is_first) {
        state_.base_lsn = state_.last_lsn = group_header.prev_lsn;
      } else if (group_header.prev_lsn != state_.last_lsn || end_ == kFirstGroupOffset) {
        return Damage(path_, end_, "damaged or missing, but a later segment follows");
      }
    }
    ScannedGroup group;
    status = ScanGroup(path, offset, group_header, frames, &group);
    if (!status.ok()) return status;
    on_group(group);
    offset += group.size;
  }
  const uint64_t behind = offset + kGroupAlignment;
  if (behind < all.size() && ContainsGroupHeader(all.substr(behind), header->salt, behind))
    return Damage(path, offset, "a damaged group with later ones behind it");

  if (is_first) {
    first_sequence_ = sequence;
    first_path_ = path;
  }
  sequence_ = sequence;
  path_ = path;
  end_ = offset;
  return Status::Ok();
}

Status SegmentScanner::ScanGroup(const std::string& path, uint64_t offset, const GroupHeader& header,
                                 std::string_view frames, ScannedGroup* group) {
  if (header.prev_lsn != state_.last_lsn) return Damage(path, offset, "frames before it are missing");
  group->first_lsn = kNoLsn;
  for (size_t at = 0; at < frames.size();) {
    Frame frame;
    size_t size = 0;
    const Status status = ParseFrame(frames.substr(at), &frame, &size);
    const uint64_t frame_offset = offset + kGroupHeaderSize + at;
    if (!status.ok()) return Damage(path, frame_offset, status.message());
    if (frame.prev_lsn != state_.last_lsn || frame.lsn <= frame.prev_lsn || frame.epoch < state_.last_epoch ||
        frame.epoch == 0)
      return Damage(path, frame_offset, "the frame does not follow the one before it");
    if (group->first_lsn == kNoLsn) group->first_lsn = frame.lsn;
    state_.last_lsn = frame.lsn;
    state_.last_epoch = frame.epoch;
    state_.frames++;
    at += size;
  }
  state_.marked = frames.empty();
  if (state_.first_lsn == kNoLsn) state_.first_lsn = group->first_lsn;
  state_.committed_lsn = std::max(state_.committed_lsn, header.committed_lsn);
  group->prev_lsn = header.prev_lsn;
  group->last_lsn = state_.last_lsn;
  group->offset = offset;
  group->size = kGroupHeaderSize + PadGroup(header.frames_size);
  group->frames = frames;
  return Status::Ok();
}

Status SegmentScanner::Finish() const {
  if (state_.last_lsn == kNoLsn && first_sequence_ > 1)
    return Damage(first_path_, kFirstGroupOffset, "no valid group in a journal that was trimmed");
  return Status::Ok();
}

}  // namespace concord::journal
