// How a SegmentLog finds its end: at Open, and after a truncation. The rules in prose are in docs/journal.md.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>

#include "sidecar/journal/segment_log.h"
#include "sidecar/journal/segment_scan.h"

namespace concord::journal {
namespace {

// The segments by sequence; leftovers of unfinished work are removed.
Status CleanAndListSegments(const std::string& directory, std::vector<uint64_t>* sequences) {
  std::vector<std::string> leftovers;
  Status status = ListSegments(directory, sequences, &leftovers);
  for (const std::string& path : leftovers) {
    if (status.ok()) status = RemoveFile(path);
  }
  return status;
}

}  // namespace

Status SegmentLog::LoadState() {
  SavedState saved;
  Status status = LoadSavedState(options_.directory, &saved);
  if (!status.ok()) return status;
  sealed_epoch_ = saved.sealed_epoch;
  cut_ = {saved.cut_sequence, saved.group_offset, std::move(saved.group_header), saved.zero_from, saved.zero_to};
  return Status::Ok();
}

Status SegmentLog::SaveState() const {
  return StoreSavedState(options_.directory, {.sealed_epoch = sealed_epoch_,
                                              .cut_sequence = cut_.sequence,
                                              .group_offset = cut_.group_offset,
                                              .zero_from = cut_.zero_from,
                                              .zero_to = cut_.zero_to,
                                              .group_header = cut_.group_header});
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
  Status status = CleanAndListSegments(options_.directory, &sequences);
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

Status SegmentLog::Recover() {
  std::vector<uint64_t> sequences;
  Status status = CleanAndListSegments(options_.directory, &sequences);
  if (!status.ok()) return status;
  std::deque<std::shared_ptr<Segment>> segments;
  SegmentScanner scanner;
  for (const uint64_t sequence : sequences) {
    auto segment = std::make_shared<Segment>();
    segment->path = options_.directory + "/" + SegmentName(sequence);
    segment->prev_lsn = segment->last_lsn = scanner.state().last_lsn;
    status = scanner.Next(segment->path, sequence, &segment->header, [&segment](const ScannedGroup& group) {
      segment->AddGroup(group.prev_lsn, group.first_lsn, group.last_lsn, group.size);
    });
    if (!status.ok()) return status;
    segments.push_back(std::move(segment));
  }
  status = scanner.Finish();
  if (!status.ok()) return status;
  const SegmentScanner::State& found = scanner.state();
  marked_ = found.marked;
  State state;
  state.base_lsn = found.base_lsn;
  state.first_lsn = found.first_lsn;
  state.last_lsn = found.last_lsn;
  state.last_epoch = found.last_epoch;
  state.committed_lsn = std::max(found.committed_lsn, found.base_lsn);  // what is trimmed is committed
  return OpenEnd(std::move(segments), state);
}

// Makes sure that what was found is on disk. After the crash of a mere process it may be in the page cache only. After
// a failed sync it may be there and be marked clean, so that another sync would succeed and do nothing: the last group,
// the only one that may not have been synced, is written again.
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
