// Taking frames from the journal into the memtable, and flushing them to LMDB, many transactions in one of LMDB's.
#include <algorithm>

#include "core/key.h"
#include "core/memtable.h"
#include "sidecar/storage/replica_batch.h"

namespace concord {
namespace {

constexpr size_t kFlushBytes = 2u << 20;  // of frames; less than the memtable has room for
constexpr int64_t kFlushUs = 500'000;     // after so long at the latest

bool IsSimple(const Mutation& mutation) {
  return (mutation.op == MutationOp::kPut || mutation.op == MutationOp::kDelete) && mutation.explicit_lsn == kNoLsn &&
         mutation.key.size() >= kPrefixSize && mutation.key.size() <= kMaxKey &&
         static_cast<uint8_t>(mutation.key[0]) <= 2;
}

}  // namespace

bool Replica::Memorise(const Frame& frame) {
  if (frame.epoch < std::max(epoch_, taken_epoch_) || frame.record.empty()) return false;
  const auto type = static_cast<RecordType>(frame.record[0]);
  if (type == RecordType::kEpochStart) return true;
  WriteSetView write_set;
  if (type != RecordType::kCommit || !WriteSetView::Parse(frame.record.substr(1), &write_set).ok()) return false;
  if (write_set.chunk_count() > 0 || staged_.contains(write_set.token())) return false;
  MutationReader reader(write_set.mutations());
  Mutation mutation;
  while (!reader.AtEnd()) {
    if (!reader.Next(&mutation).ok() || !IsSimple(mutation) || IsDropped(mutation.key)) return false;
    const std::string_view value = mutation.op == MutationOp::kPut ? mutation.value : std::string_view();
    if (!memtable_.Add(mutation.key, value, frame.lsn)) return false;
  }
  return true;
}

void Replica::PublishTaken(Lsn lsn) {
  memtable_.Publish(lsn);
  readable_.store(lsn);
  page_.Publish(lsn, applied());
}

Status Replica::Take(std::string_view frames) {
  if (closed_) return {Code::kShutdown, "the storage replica is closed"};
  Lsn taken = readable();
  for (std::string_view rest = frames; !rest.empty();) {
    Frame frame;
    size_t consumed;
    // What is wrong with it, applying it tells.
    const bool simple =
        options_.memtable && ParseFrame(rest, &frame, &consumed).ok() && frame.prev_lsn == taken && Memorise(frame);
    if (!simple) {
      taken_.append(frames);
      return Flush();
    }
    rest.remove_prefix(consumed);
    taken = frame.lsn;
    taken_epoch_ = frame.epoch;
  }
  if (taken_.empty()) taken_since_us_ = options_.steady_us();
  taken_.append(frames);
  if (taken != readable()) PublishTaken(taken);
  bool wanted;
  return FlushDue(&wanted) ? Flush() : Status::Ok();
}

bool Replica::FlushDue(bool* wanted) const {
  *wanted = !taken_.empty() && (memtable_.wanted() > applied() || waiters_.load() > 0);
  return *wanted || taken_.size() >= kFlushBytes ||
         (!taken_.empty() && options_.steady_us() - taken_since_us_ >= kFlushUs);
}

Status Replica::Flush(bool frugal) {
  if (taken_.empty()) return Status::Ok();
  if (Status s = ApplyNow(taken_, frugal); !s.ok()) return s;
  taken_.clear();
  return Status::Ok();
}

}  // namespace concord
