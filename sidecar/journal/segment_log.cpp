#include "sidecar/journal/segment_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>

#include "core/bytes.h"
#include "core/pause_points.h"
#include "core/planted_bugs.h"
#include "core/wire.h"
#include "sidecar/lsn_text.h"

namespace concord::journal {
namespace {

constexpr uint64_t kIndexSpacingBytes = 64u << 10;
constexpr uint64_t kReadChunkBytes = 256u << 10;
constexpr size_t kGroupMemoryKeptBytes = 8u << 20;
constexpr uint64_t kPageBytes = 4096;

// What the log needs of a frame that was checked before, at the front of `frames`.
struct FramePlace {
  explicit FramePlace(std::string_view frames)
      : size(kFrameHeaderSize + LoadLe<uint32_t>(frames.data())),
        epoch(LoadLe<uint64_t>(frames.data() + 8)),
        lsn(LoadLe<Lsn>(frames.data() + 16)) {}
  size_t size;
  uint64_t epoch;
  Lsn lsn;
};

// Appends the frames in (after, limit] until `to` holds `bytes_max`; false when no later frame is wanted.
bool CopyFrames(std::string_view frames, Lsn after_lsn, Lsn limit_lsn, size_t bytes_max, std::string* to,
                Lsn* last_lsn) {
  size_t begin = 0, end = 0;
  bool more = true;
  while (end < frames.size()) {
    const FramePlace place(frames.substr(end));
    if (place.lsn <= after_lsn) {
      begin = end = end + place.size;
      continue;
    }
    const size_t taken = to->size() + (end - begin);
    if (place.lsn > limit_lsn || (taken > 0 && taken + place.size > bytes_max)) {
      more = false;
      break;
    }
    end += place.size;
    *last_lsn = place.lsn;
  }
  to->append(frames.substr(begin, end - begin));
  return more;
}

bool KnownType(std::string_view record) {
  return !record.empty() && record[0] >= static_cast<char>(RecordType::kEpochStart) &&
         record[0] <= static_cast<char>(RecordType::kAbandon);
}

}  // namespace

Status Batch::Parse(std::string frames, Batch* out) {
  Batch batch;
  size_t at = 0;
  while (at < frames.size()) {
    Frame frame;
    size_t size = 0;
    const Status status = ParseFrame(std::string_view(frames).substr(at), &frame, &size);
    if (!status.ok()) return {Code::kInvalid, "frame at byte " + std::to_string(at) + ": " + status.message()};
    const Lsn expected = at == 0 ? frame.prev_lsn : batch.last_lsn;
    if (frame.prev_lsn != expected || frame.lsn <= frame.prev_lsn || frame.epoch < batch.last_epoch || frame.epoch == 0)
      return {Code::kInvalid, "frame at byte " + std::to_string(at) + " does not follow the one before it"};
    batch.known_types = batch.known_types && KnownType(frame.record);
    if (at == 0) {
      batch.prev_lsn = frame.prev_lsn;
      batch.first_lsn = frame.lsn;
      batch.first_epoch = frame.epoch;
    }
    batch.last_lsn = frame.lsn;
    batch.last_epoch = frame.epoch;
    batch.records++;
    at += size;
  }
  if (at == 0) return {Code::kInvalid, "no frames"};
  batch.frames = std::move(frames);
  *out = std::move(batch);
  return Status::Ok();
}

void SegmentLog::Segment::AddGroup(Lsn prev, Lsn first, Lsn last, uint64_t size) {
  if (end == kFirstGroupOffset) prev_lsn = prev;
  if (first_lsn == kNoLsn) first_lsn = first;
  if (index.empty() || end >= index.back().second + kIndexSpacingBytes) index.emplace_back(prev, end);
  last_lsn = last;
  last_group = end;
  end += size;
}

SegmentLog::SegmentLog(SegmentLogOptions options)
    : options_(std::move(options)),
      pool_(options_.directory, options_.segment_bytes, options_.spare_segments_max, options_.allocate) {
  assert(options_.segment_bytes % 4096 == 0 && options_.segment_bytes > kFirstGroupOffset);
}

Status SegmentLog::Open(SegmentLogOptions options, std::unique_ptr<SegmentLog>* out) {
  if (options.segment_bytes % 4096 != 0 || options.segment_bytes <= kFirstGroupOffset)
    return {Code::kInvalid, "a journal segment is a multiple of 4096 bytes, at least 8192"};
  if (!options.sync_data) options.sync_data = ::fdatasync;
  Status status = CreateDirectory(options.directory);
  if (!status.ok()) return status;
  std::unique_ptr<SegmentLog> log(new SegmentLog(std::move(options)));
  log->failure_ = {Code::kUnavailable, "not open"};
  status = log->LoadState();
  if (status.ok()) status = log->ApplyCut();
  if (status.ok()) status = log->Recover();
  if (!status.ok()) return status;
  *out = std::move(log);
  return Status::Ok();
}

SegmentLog::~SegmentLog() {
  // Best effort: without it, damage to the last group would look like a torn write at the next Open.
  if (failure_.ok() && !marked_) (void)WriteMark();
}

Status SegmentLog::Append(std::span<const BatchRef> batches, Lsn committed_lsn) {
  if (!failure_.ok()) return failure_;
  Lsn chain = state_.last_lsn;
  uint64_t epoch = state_.last_epoch;
  for (const BatchRef& batch : batches) {
    if (batch->prev_lsn != chain || batch->first_epoch < epoch)
      return {Code::kInvalid,
              "frames after LSN " + LsnText(batch->prev_lsn) + " do not continue the log at " + std::to_string(chain)};
    chain = batch->last_lsn;
    epoch = batch->last_epoch;
  }

  size_t next = 0;            // batch
  size_t next_at = 0;         // byte in its frames, if an earlier part of it went into the segment before,
  uint64_t next_records = 0;  // and how many records that was
  while (next < batches.size()) {
    const Segment& active = *active_;
    const uint64_t left = active.header.size - active.end;
    const uint64_t room = left > kGroupHeaderSize ? left - kGroupHeaderSize : 0;
    group_.assign(kGroupHeaderSize, '\0');
    Lsn first_lsn = kNoLsn, last_lsn = kNoLsn;
    uint64_t last_epoch = 0;
    size_t first_size = 0;
    uint64_t records = 0;
    const size_t complete_from = next;
    while (next < batches.size()) {
      const Batch& batch = *batches[next];
      const std::string_view rest = std::string_view(batch.frames).substr(next_at);
      const FramePlace first(rest);
      if (first_size == 0) first_size = first.size;
      const uint64_t used = group_.size() - kGroupHeaderSize;
      if (used + rest.size() <= room) {
        if (first_lsn == kNoLsn) first_lsn = first.lsn;
        last_lsn = batch.last_lsn;
        last_epoch = batch.last_epoch;
        group_.append(rest);
        records += batch.records - next_records;
        next++;
        next_at = next_records = 0;
        continue;
      }
      size_t fitting = 0;
      while (fitting < rest.size()) {
        const FramePlace place(rest.substr(fitting));
        if (used + fitting + place.size > room) break;
        if (first_lsn == kNoLsn) first_lsn = place.lsn;
        last_lsn = place.lsn;
        last_epoch = place.epoch;
        fitting += place.size;
        records++;
        next_records++;
      }
      group_.append(rest.substr(0, fitting));
      next_at += fitting;
      break;
    }
    Status status;
    if (first_lsn == kNoLsn) {
      status = Roll(kFirstGroupOffset + kGroupHeaderSize + PadGroup(first_size));
    } else {
      status = WriteGroup(&group_, first_lsn, last_lsn, last_epoch, committed_lsn);
      if (status.ok()) observed_.records.Observe(records);
    }
    if (!status.ok()) {
      ClearCache();  // it may lack a part of a batch that did reach the log
      return status;
    }
    for (size_t i = complete_from; i < next; i++) AddToCache(batches[i]);
  }
  if (group_.capacity() > kGroupMemoryKeptBytes) group_ = {};
  return Status::Ok();
}

Status SegmentLog::Roll(uint64_t bytes_min) {
  const Segment& active = *active_;
  if (active.end == kFirstGroupOffset) {
    // Recovery takes a segment without any group for one that was never in use; say that this one was.
    Status status = WriteMark();
    if (!status.ok()) return status;
  }
  SegmentFile file;
  const uint64_t sequence = active.header.sequence + 1;
  Status status = pool_.Take(sequence, bytes_min, &file);
  if (!status.ok()) return status;
  auto segment = std::make_shared<Segment>();
  segment->path = std::move(file.path);
  segment->header = file.header;
  active_fd_ = std::move(file.fd);
  {
    std::lock_guard lock(mutex_);
    segment->prev_lsn = segment->last_lsn = state_.last_lsn;
    active_ = segment;
    segments_.push_back(std::move(segment));
    state_.segments++;
    state_.bytes += file.header.size;
  }
  pool_.Prepare(sequence + 1);
  return Status::Ok();
}

Status SegmentLog::WriteGroup(std::string* group, Lsn first_lsn, Lsn last_lsn, uint64_t last_epoch, Lsn committed_lsn) {
  Segment& active = *active_;
  SealGroup(group, active.header.salt, active.end, state_.last_lsn, committed_lsn);
  const uint64_t size = group->size();
  assert(active.end + size <= active.header.size);
  // A page that it enters is written whole: of a recycled segment the kernel has no pages, and would read the rest
  // first.
  const uint64_t last_page = (active.end + size - 1) / kPageBytes * kPageBytes;
  if (last_page >= active.end) group->resize(last_page + kPageBytes - active.end);
  cc_pause(CC_PAUSE_JOURNAL_BEFORE_WRITE);
  Status status = WriteAt(active_fd_.get(), active.path, *group, active.end);
  cc_pause(CC_PAUSE_JOURNAL_WRITTEN);
  const uint64_t sync_from_us = MonotonicUs();
  if (status.ok() && !Planted(PlantedBug::kAckBeforeSync) && options_.sync_data(active_fd_.get()) != 0) {
    status = ErrnoStatus("sync", active.path, errno);
    // Even for want of space: the pages may be marked clean now without having reached the disk.
    failure_ = {Code::kIoError, status.message()};
    return failure_;
  }
  if (!status.ok()) {
    if (status.code() != Code::kNoSpace) failure_ = status;
    return status;
  }
  observed_.sync_us.Observe(MonotonicUs() - sync_from_us);
  observed_.bytes.fetch_add(size, std::memory_order_relaxed);
  cc_pause(CC_PAUSE_JOURNAL_SYNCED);
  marked_ = first_lsn == kNoLsn;
  std::lock_guard lock(mutex_);
  active.AddGroup(state_.last_lsn, first_lsn, last_lsn, size);
  if (state_.first_lsn == kNoLsn) state_.first_lsn = first_lsn;
  state_.last_lsn = last_lsn;
  state_.last_epoch = last_epoch;
  state_.committed_lsn = std::max(state_.committed_lsn, committed_lsn);
  state_.syncs++;
  return Status::Ok();
}

Status SegmentLog::WriteMark() {
  const Segment& active = *active_;
  if (active.end + kGroupHeaderSize > active.header.size) return Status::Ok();
  std::string mark(kGroupHeaderSize, '\0');
  return WriteGroup(&mark, kNoLsn, state_.last_lsn, state_.last_epoch, state_.committed_lsn);
}

Status SegmentLog::SaveSealedEpoch(uint64_t epoch) {
  if (!failure_.ok()) return failure_;
  const uint64_t before = sealed_epoch_;
  sealed_epoch_ = epoch;
  const Status status = SaveState();
  if (!status.ok()) {
    sealed_epoch_ = before;
    return status;
  }
  std::lock_guard lock(mutex_);
  state_.sealed_epoch = epoch;
  return Status::Ok();
}

Status SegmentLog::Truncate(Lsn lsn) {
  const std::lock_guard files_lock(files_mutex_);
  if (!failure_.ok()) return failure_;
  if (lsn >= state_.last_lsn) return Status::Ok();
  if (lsn < state_.base_lsn) return {Code::kTooOld, "the journal before that LSN has been trimmed"};
  Status status = FindCut(lsn);
  if (status.ok()) status = pool_.Discard();
  if (status.ok()) status = SaveState();
  if (!status.ok()) {
    cut_ = {};
    return status;
  }
  // From here on only a new Open could tell how far we got.
  failure_ = {Code::kIoError, "the journal's truncation did not finish"};
  ClearCache();
  status = ApplyCut();
  if (status.ok()) status = Recover();
  return status;
}

Status SegmentLog::Restart(Lsn lsn) {
  const std::lock_guard files_lock(files_mutex_);
  if (!failure_.ok()) return failure_;
  if (lsn < state_.last_lsn) return {Code::kInvalid, "the journal has records above that LSN"};
  Status status = pool_.Discard();
  if (!status.ok()) return status;
  // From here on only a new Open could tell how far we got.
  failure_ = {Code::kIoError, "giving up the journal's records did not finish"};
  ClearCache();
  // The oldest first, as if they were trimmed; only a segment that was never used must not be the last that is left.
  auto segments = segments_;
  if (segments.size() > 1 && segments.back()->end == kFirstGroupOffset)
    std::rotate(segments.begin(), segments.end() - 1, segments.end());
  for (const auto& segment : segments) {
    if (status.ok()) status = RemoveFile(segment->path);
    if (status.ok()) status = SyncDirectory(options_.directory);
  }
  if (status.ok()) status = Recover();
  if (!status.ok()) return status;
  const std::lock_guard lock(mutex_);
  active_->prev_lsn = active_->last_lsn = state_.base_lsn = state_.last_lsn = lsn;
  return status;
}

Status SegmentLog::Trim(Lsn lsn) {
  const std::shared_lock files_lock(files_mutex_);
  while (true) {
    std::shared_ptr<Segment> oldest;
    {
      std::lock_guard lock(mutex_);
      const auto next = segments_.empty() ? segments_.end()
                                          : std::find_if(segments_.begin() + 1, segments_.end(),
                                                         [](const auto& s) { return s->first_lsn != kNoLsn; });
      if (next == segments_.end() || (*next)->first_lsn > lsn) return Status::Ok();
      state_.first_lsn = (*next)->first_lsn;
      oldest = std::move(segments_.front());
      segments_.pop_front();
      state_.base_lsn = segments_.front()->prev_lsn;
      state_.segments--;
      state_.bytes -= oldest->header.size;
    }
    // A reader still in the file must not see it overwritten: then it is only unlinked.
    Status status;
    if (oldest.use_count() == 1) {
      status = pool_.Recycle(oldest->path, oldest->header.sequence, oldest->header.size);
    } else {
      status = RemoveFile(oldest->path);
      if (status.ok()) status = SyncDirectory(options_.directory);
    }
    if (!status.ok()) return status;
  }
}

SegmentLog::State SegmentLog::state() const {
  std::lock_guard lock(mutex_);
  return state_;
}

uint64_t SegmentLog::Room() const {
  if (!pool_.NoSpace()) return UINT64_MAX;
  std::lock_guard lock(mutex_);
  return active_->header.size - active_->end;
}

void SegmentLog::AddToCache(const BatchRef& batch) {
  std::lock_guard lock(mutex_);
  cache_.push_back(batch);
  cache_bytes_ += batch->frames.size();
  while (cache_bytes_ > options_.cache_bytes_max) {
    cache_bytes_ -= cache_.front()->frames.size();
    cache_.pop_front();
  }
}

void SegmentLog::ClearCache() {
  std::lock_guard lock(mutex_);
  cache_.clear();
  cache_bytes_ = 0;
}

bool SegmentLog::ReadCache(Lsn after_lsn, Lsn limit_lsn, size_t bytes_max, std::string* frames, Lsn* last_lsn) const {
  std::vector<BatchRef> wanted;
  {
    std::lock_guard lock(mutex_);
    if (cache_.empty() || after_lsn < cache_.front()->prev_lsn) return false;
    auto batch = std::partition_point(cache_.begin(), cache_.end(),
                                      [after_lsn](const BatchRef& b) { return b->last_lsn <= after_lsn; });
    for (size_t bytes = 0; batch != cache_.end() && (*batch)->prev_lsn < limit_lsn && bytes < bytes_max; ++batch) {
      bytes += (*batch)->frames.size();
      wanted.push_back(*batch);
    }
  }
  for (const BatchRef& batch : wanted) {
    if (!CopyFrames(batch->frames, after_lsn, limit_lsn, bytes_max, frames, last_lsn)) break;
  }
  return true;
}

Status SegmentLog::Read(Lsn after_lsn, Lsn limit_lsn, size_t bytes_max, std::string* frames, Lsn* last_lsn) const {
  frames->clear();
  *last_lsn = kNoLsn;
  if (ReadCache(after_lsn, limit_lsn, bytes_max, frames, last_lsn)) return Status::Ok();
  const std::shared_lock files_lock(files_mutex_);
  std::shared_ptr<const Segment> segment;
  uint64_t start = 0, end = 0;
  {
    std::lock_guard lock(mutex_);
    if (after_lsn < state_.base_lsn)
      return {Code::kTooOld, "the journal up to LSN " + LsnText(state_.base_lsn) + " has been trimmed"};
    limit_lsn = std::min(limit_lsn, state_.last_lsn);
    if (after_lsn >= limit_lsn) return Status::Ok();
    const auto found = std::find_if(segments_.begin(), segments_.end(), [after_lsn](const auto& s) {
      return s->first_lsn != kNoLsn && s->last_lsn > after_lsn;
    });
    assert(found != segments_.end());
    segment = *found;
    end = segment->end;
    // The last indexed group that begins at or before the first frame wanted.
    const auto after = std::partition_point(segment->index.begin(), segment->index.end(),
                                            [after_lsn](const auto& entry) { return entry.first <= after_lsn; });
    start = after == segment->index.begin() ? kFirstGroupOffset : std::prev(after)->second;
  }
  const Status status = ReadFile(*segment, after_lsn, limit_lsn, bytes_max, start, end, frames, last_lsn);
  if (!status.ok() && after_lsn < state().base_lsn)
    return {Code::kTooOld, "the journal after LSN " + LsnText(after_lsn) + " was trimmed while it was read"};
  return status;
}

Status SegmentLog::ReadFile(const Segment& segment, Lsn after_lsn, Lsn limit_lsn, size_t bytes_max, uint64_t start,
                            uint64_t end, std::string* frames, Lsn* last_lsn) const {
  FileDescriptor fd;
  Status status = OpenFile(segment.path, O_RDONLY, &fd);
  std::string chunk;
  uint64_t chunk_bytes = kReadChunkBytes;
  while (status.ok() && start < end) {
    status = ReadAt(fd.get(), segment.path, start, std::min(chunk_bytes, end - start), &chunk);
    if (!status.ok()) return status;
    uint64_t at = 0;
    while (at < chunk.size()) {
      GroupHeader header;
      std::string_view group_frames;
      const std::string_view rest = std::string_view(chunk).substr(at);
      const bool cut_short = start + chunk.size() < end;
      if (rest.size() < kGroupHeaderSize && cut_short) break;
      const GroupState group = ParseGroup(rest, segment.header.salt, start + at, &header, &group_frames);
      if (group == GroupState::kTorn && cut_short && rest.size() - kGroupHeaderSize < PadGroup(header.frames_size)) {
        chunk_bytes = std::max(chunk_bytes, kGroupHeaderSize + PadGroup(header.frames_size));
        break;
      }
      if (group != GroupState::kWhole)
        return {Code::kCorruption, segment.path + ", offset " + std::to_string(start + at) + ": checksum mismatch"};
      if (!CopyFrames(group_frames, after_lsn, limit_lsn, bytes_max, frames, last_lsn)) return Status::Ok();
      at += kGroupHeaderSize + PadGroup(header.frames_size);
    }
    start += at;
  }
  return status;
}

}  // namespace concord::journal
