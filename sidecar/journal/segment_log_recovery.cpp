// How a SegmentLog finds its end: at Open, and after a truncation. The rules in prose are in docs/journal.md.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <filesystem>

#include "core/bytes.h"
#include "sidecar/journal/segment_log.h"

namespace concord::journal {
namespace {

// state := version u32 | sealed_epoch u64 | cut_sequence u64 | group_offset u64 | zero_from u64 | zero_to u64
//          | group_header (0 or 32 bytes)
constexpr char kStateName[] = "state";
constexpr uint32_t kStateVersion = 1;
constexpr size_t kStateFixedSize = 44;

Status Damage(const std::string& path, uint64_t offset, std::string_view what) {
  return {Code::kCorruption, path + ", offset " + std::to_string(offset) + ": " + std::string(what)};
}

// The segments by sequence; leftovers of unfinished work are removed.
Status ListSegments(const std::string& directory, std::vector<uint64_t>* sequences) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".tmp") || name.ends_with(".spare")) {
      Status status = RemoveFile(entry.path().string());
      if (!status.ok()) return status;
    } else if (const uint64_t sequence = SegmentSequence(name); sequence != 0) {
      sequences->push_back(sequence);
    }
  }
  if (error) return ErrnoStatus("list", directory, error.value());
  std::sort(sequences->begin(), sequences->end());
  return Status::Ok();
}

// Reads all of a segment and checks its header.
Status LoadSegment(const std::string& path, uint64_t sequence, SegmentHeader* header, std::string* bytes) {
  FileDescriptor fd;
  Status status = OpenFile(path, O_RDONLY, &fd);
  if (!status.ok()) return status;
  struct stat info;
  if (::fstat(fd.get(), &info) != 0) return ErrnoStatus("stat", path, errno);
  status = ReadAt(fd.get(), path, 0, static_cast<size_t>(info.st_size), bytes);
  if (!status.ok()) return status;
  status = ParseSegmentHeader(*bytes, header);
  if (!status.ok()) return Damage(path, 0, status.message());
  if (header->sequence != sequence) return Damage(path, 0, "the header names another sequence than the file's name");
  if (header->size != bytes->size()) return Damage(path, bytes->size(), "the file has not the size its header tells");
  return Status::Ok();
}

}  // namespace

Status SegmentLog::LoadState() {
  std::string body;
  Status status = LoadSmallFile(options_.directory, kStateName, &body);
  if (status.code() == Code::kNotFound) return Status::Ok();
  if (!status.ok()) return status;
  const std::string path = options_.directory + "/" + kStateName;
  if (body.size() != kStateFixedSize && body.size() != kStateFixedSize + kGroupHeaderSize)
    return Damage(path, 8, "impossible size");
  if (LoadLe<uint32_t>(body.data()) != kStateVersion) return Damage(path, 8, "unknown version");
  sealed_epoch_ = LoadLe<uint64_t>(body.data() + 4);
  cut_ = {LoadLe<uint64_t>(body.data() + 12), LoadLe<uint64_t>(body.data() + 20), body.substr(kStateFixedSize),
          LoadLe<uint64_t>(body.data() + 28), LoadLe<uint64_t>(body.data() + 36)};
  return Status::Ok();
}

Status SegmentLog::SaveState() const {
  std::string body;
  AppendLe(&body, kStateVersion);
  AppendLe(&body, sealed_epoch_);
  AppendLe(&body, cut_.sequence);
  AppendLe(&body, cut_.group_offset);
  AppendLe(&body, cut_.zero_from);
  AppendLe(&body, cut_.zero_to);
  body.append(cut_.group_header);
  return SaveSmallFile(options_.directory, kStateName, body);
}

Status SegmentLog::FindCut(Lsn lsn) {
  const auto found = std::find_if(segments_.begin(), segments_.end(), [lsn](const auto& segment) {
    return segment->first_lsn != kNoLsn && segment->last_lsn > lsn;
  });
  assert(found != segments_.end());
  const Segment& segment = **found;
  SegmentHeader segment_header;
  std::string bytes;
  Status status = LoadSegment(segment.path, segment.header.sequence, &segment_header, &bytes);
  if (!status.ok()) return status;
  uint64_t offset = kFirstGroupOffset;
  while (true) {
    GroupHeader header;
    std::string_view frames;
    if (ParseGroup(std::string_view(bytes).substr(offset), segment_header.salt, offset, &header, &frames) !=
        GroupState::kWhole)
      return Damage(segment.path, offset, "checksum mismatch");
    size_t kept = 0;
    while (kept < frames.size()) {
      Frame frame;
      size_t size = 0;
      status = ParseFrame(frames.substr(kept), &frame, &size);
      if (!status.ok()) return Damage(segment.path, offset + kGroupHeaderSize + kept, status.message());
      if (frame.lsn > lsn) break;
      kept += size;
    }
    if (kept < frames.size()) {
      cut_ = {segment.header.sequence, offset, {}, offset, segment.end};
      if (kept > 0) {
        std::string group(kGroupHeaderSize, '\0');
        group.append(frames.substr(0, kept));
        SealGroup(&group, segment_header.salt, offset, header.prev_lsn, header.committed_lsn);
        cut_.group_header = group.substr(0, kGroupHeaderSize);
        cut_.zero_from = offset + kGroupHeaderSize + kept;
      }
      return Status::Ok();
    }
    offset += kGroupHeaderSize + PadGroup(header.frames_size);
  }
}

Status SegmentLog::ApplyCut() {
  if (cut_.sequence == 0) return Status::Ok();
  std::vector<uint64_t> sequences;
  Status status = ListSegments(options_.directory, &sequences);
  for (const uint64_t sequence : sequences) {
    if (status.ok() && sequence > cut_.sequence) status = RemoveFile(options_.directory + "/" + SegmentName(sequence));
  }
  if (status.ok()) status = SyncDirectory(options_.directory);
  const std::string path = options_.directory + "/" + SegmentName(cut_.sequence);
  FileDescriptor fd;
  if (status.ok()) status = OpenFile(path, O_RDWR, &fd);
  if (status.ok()) status = WriteAt(fd.get(), path, cut_.group_header, cut_.group_offset);
  if (status.ok()) status = WriteZeros(fd.get(), path, cut_.zero_from, cut_.zero_to);
  if (status.ok() && ::fsync(fd.get()) != 0) status = ErrnoStatus("sync", path, errno);
  if (!status.ok()) return status;
  cut_ = {};
  return SaveState();
}

Status SegmentLog::ScanSegment(Segment* segment, const std::string& bytes, State* state) {
  const std::string_view all = bytes;
  while (true) {
    GroupHeader header;
    std::string_view frames;
    if (ParseGroup(all.substr(segment->end), segment->header.salt, segment->end, &header, &frames) !=
        GroupState::kWhole)
      break;
    if (header.prev_lsn != state->last_lsn) return Damage(segment->path, segment->end, "frames before it are missing");
    Lsn first_lsn = kNoLsn;
    for (size_t at = 0; at < frames.size();) {
      Frame frame;
      size_t size = 0;
      const Status status = ParseFrame(frames.substr(at), &frame, &size);
      const uint64_t offset = segment->end + kGroupHeaderSize + at;
      if (!status.ok()) return Damage(segment->path, offset, status.message());
      if (frame.prev_lsn != state->last_lsn || frame.lsn <= frame.prev_lsn || frame.epoch < state->last_epoch)
        return Damage(segment->path, offset, "the frame does not follow the one before it");
      if (first_lsn == kNoLsn) first_lsn = frame.lsn;
      state->last_lsn = frame.lsn;
      state->last_epoch = frame.epoch;
      at += size;
    }
    marked_ = frames.empty();
    if (state->first_lsn == kNoLsn) state->first_lsn = first_lsn;
    state->committed_lsn = std::max(state->committed_lsn, header.committed_lsn);
    segment->AddGroup(header.prev_lsn, first_lsn, state->last_lsn, kGroupHeaderSize + PadGroup(header.frames_size));
  }
  const uint64_t behind = segment->end + kGroupAlignment;
  if (behind < all.size() && ContainsGroupHeader(all.substr(behind), segment->header.salt, behind))
    return Damage(segment->path, segment->end, "a damaged group with later ones behind it");
  return Status::Ok();
}

Status SegmentLog::Recover() {
  std::vector<uint64_t> sequences;
  Status status = ListSegments(options_.directory, &sequences);
  if (!status.ok()) return status;
  std::deque<std::shared_ptr<Segment>> segments;
  State state;
  marked_ = true;
  for (const uint64_t sequence : sequences) {
    auto segment = std::make_shared<Segment>();
    segment->path = options_.directory + "/" + SegmentName(sequence);
    std::string bytes;
    if (!segments.empty() && sequence != segments.back()->header.sequence + 1)
      return Damage(segment->path, 0, "the segment before it is missing");
    status = LoadSegment(segment->path, sequence, &segment->header, &bytes);
    if (!status.ok()) return status;
    GroupHeader first;
    std::string_view frames;
    if (ParseGroup(std::string_view(bytes).substr(kFirstGroupOffset), segment->header.salt, kFirstGroupOffset, &first,
                   &frames) == GroupState::kWhole) {
      if (segments.empty()) {
        state.base_lsn = state.last_lsn = first.prev_lsn;
      } else if (first.prev_lsn != state.last_lsn || segments.back()->end == kFirstGroupOffset) {
        return Damage(segments.back()->path, segments.back()->end, "damaged or missing, but a later segment follows");
      }
    }
    segment->prev_lsn = segment->last_lsn = state.last_lsn;
    status = ScanSegment(segment.get(), bytes, &state);
    if (!status.ok()) return status;
    segments.push_back(std::move(segment));
  }
  if (state.last_lsn == kNoLsn && !segments.empty() && segments.front()->header.sequence > 1)
    return Damage(segments.front()->path, kFirstGroupOffset, "no valid group in a journal that was trimmed");
  return OpenEnd(std::move(segments), state);
}

// Makes sure that what was found is on disk. After the crash of a mere process it may be in the page cache only. After a
// failed sync it may be there and be marked clean, so that another sync would succeed and do nothing: the last group, the
// only one that may not have been synced, is written again.
Status SegmentLog::SecureEnd(const Segment& last) {
  Status status;
  if (last.end > last.last_group) {
    std::string group;
    status = ReadAt(active_fd_.get(), last.path, last.last_group, last.end - last.last_group, &group);
    if (status.ok()) status = WriteAt(active_fd_.get(), last.path, group, last.last_group);
  }
  if (status.ok() && options_.sync_data(active_fd_.get()) != 0) status = ErrnoStatus("sync", last.path, errno);
  return status;
}

Status SegmentLog::OpenEnd(std::deque<std::shared_ptr<Segment>> segments, State state) {
  Status status;
  // Prepared but not yet in use when the process ended.
  while (segments.size() > 1 && segments.back()->end == kFirstGroupOffset) {
    const Segment& unused = *segments.back();
    status = pool_.Recycle(unused.path, unused.header.sequence, unused.header.size);
    if (!status.ok()) return status;
    segments.pop_back();
  }
  if (segments.empty()) {
    SegmentFile file;
    status = pool_.Take(1, 0, &file);
    if (!status.ok()) return status;
    auto segment = std::make_shared<Segment>();
    segment->path = std::move(file.path);
    segment->header = file.header;
    active_fd_ = std::move(file.fd);
    segments.push_back(std::move(segment));
  } else {
    status = OpenFile(segments.back()->path, O_RDWR, &active_fd_);
    if (!status.ok()) return status;
    status = SecureEnd(*segments.back());
    if (!status.ok()) return status;
  }
  state.segments = segments.size();
  for (const auto& segment : segments) state.bytes += segment->header.size;
  // Frames of an epoch are proof enough that it was sealed.
  sealed_epoch_ = std::max(sealed_epoch_, state.last_epoch);
  state.sealed_epoch = sealed_epoch_;
  {
    std::lock_guard lock(mutex_);
    state.committed_lsn = std::min(std::max(state.committed_lsn, state_.committed_lsn), state.last_lsn);
    state.syncs = state_.syncs;
    active_ = segments.back();
    segments_ = std::move(segments);
    state_ = state;
  }
  const uint64_t next = active_->header.sequence + 1;
  failure_ = {};
  if (!marked_) status = WriteMark();
  if (status.ok()) pool_.Prepare(next);
  return status;
}

}  // namespace concord::journal
