#include "sidecar/journal/journal_node.h"

#include <algorithm>
#include <vector>

#include "core/lsn_page.h"
#include "core/planted_bugs.h"
#include "sidecar/journal/file.h"
#include "sidecar/lsn_text.h"

namespace concord::journal {
namespace {

constexpr uint64_t kEpochJumpMax = uint64_t{1} << 32;  // more attempts to lead than anybody makes

constexpr char kLeasesName[] = "leases";

int64_t SteadyMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// For leases: it goes on while the machine sleeps.
int64_t BoottimeMs() { return BoottimeUs() / 1000; }

int64_t UnixUs() {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

Status LoadLeases(const std::string& directory, LeaseTable* out) {
  std::string saved;
  Status status = LoadSmallFile(directory, kLeasesName, &saved);
  if (!status.ok()) return status;
  status = LeaseTable::Decode(saved, SteadyMs(), out);
  if (status.ok()) return status;
  return {status.code(),
          directory + "/" + kLeasesName + (status.code() == Code::kInvalid ? " " : ", offset 8: ") + status.message()};
}

Status JournalNode::Open(JournalNodeOptions options, std::unique_ptr<JournalNode>* out) {
  std::unique_ptr<SegmentLog> log;
  Status status = SegmentLog::Open(options.log, &log);
  if (!status.ok()) return status;
  LeaseTable leases;
  status = LoadLeases(options.log.directory, &leases);
  if (!status.ok() && status.code() != Code::kNotFound) return status;
  out->reset(new JournalNode(std::move(options), std::move(log), std::move(leases)));
  return Status::Ok();
}

JournalNode::JournalNode(JournalNodeOptions options, std::unique_ptr<SegmentLog> log, LeaseTable leases)
    : options_(std::move(options)),
      log_(std::move(log)),
      writer_lease_(log_->state().sealed_epoch, BoottimeMs(), options_.silence_ms),
      leases_(std::move(leases)) {
  const SegmentLog::State state = log_->state();
  sealed_epoch_ = state.sealed_epoch;
  accepted_lsn_ = synced_lsn_ = state.last_lsn;
  accepted_epoch_ = state.last_epoch;
  committed_lsn_ = state.committed_lsn;
}

JournalNode::~JournalNode() {
  Shutdown();
  std::unique_lock lock(mutex_);
  progress_.wait(lock, [this] { return !writing_; });
}

Status JournalNode::Seal(uint64_t epoch, SealResult* result) {
  if (epoch == 0) return {Code::kInvalid, "epochs begin at 1"};
  const std::lock_guard trim_lock(trim_mutex_);
  std::unique_lock lock(mutex_);
  // It could not be taken back, and epochs would run out.
  if (epoch > sealed_epoch_ && epoch - sealed_epoch_ > kEpochJumpMax)
    return {Code::kInvalid, "epoch " + std::to_string(epoch) + " is too far above " + std::to_string(sealed_epoch_)};
  if (epoch > sealed_epoch_ && !shutdown_) {
    // In memory first, and at once: the old writer cannot keep us from the seat, and should saving fail, we refuse more
    // than we must and have promised nothing.
    sealed_epoch_ = epoch;
    write_quorum_ = 0;
    writer_committed_lsn_ = kNoLsn;
    DropQueue({Code::kStaleEpoch, "fenced by epoch " + std::to_string(epoch)});
  }
  progress_.wait(lock, [this] { return !writing_ || shutdown_; });
  Status status = CheckEpochLocked(epoch);
  if (!status.ok()) return status;
  const bool is_new = epoch > log_->state().sealed_epoch;
  if (is_new) {
    writing_ = true;
    lock.unlock();
    status = log_->SaveSealedEpoch(epoch);
    lock.lock();
    LeaveWriterSeat();
    if (status.ok()) status = CheckEpochLocked(epoch);
    if (!status.ok()) return status;
  }
  const SegmentLog::State state = log_->state();
  if (queue_.empty()) {
    accepted_lsn_ = state.last_lsn;
    accepted_epoch_ = state.last_epoch;
  }
  taking_over_ = true;
  const int64_t now_ms = BoottimeMs();
  writer_lease_.Seal(epoch, now_ms);
  *result = {state.last_epoch,
             state.last_lsn,
             state.first_lsn,
             committed_lsn_,
             writer_lease_.LeftMs(now_ms),
             writer_lease_.lease_epoch(),
             is_new};
  return Status::Ok();
}

Status JournalNode::Truncate(uint64_t epoch, Lsn lsn) { return Cut(epoch, lsn, /*restart=*/false); }

Status JournalNode::Restart(uint64_t epoch, Lsn lsn) { return Cut(epoch, lsn, /*restart=*/true); }

Status JournalNode::Cut(uint64_t epoch, Lsn lsn, bool restart) {
  const std::lock_guard trim_lock(trim_mutex_);
  std::unique_lock lock(mutex_);
  progress_.wait(lock, [this] { return !writing_ || shutdown_; });
  Status status = CheckEpochLocked(epoch);
  if (!status.ok()) return status;
  if (lsn < committed_lsn_) return {Code::kInvalid, "the journal is committed up to LSN " + LsnText(committed_lsn_)};
  DropQueue({Code::kInvalid, "the journal was truncated"});
  writing_ = true;
  lock.unlock();
  status = restart ? log_->Restart(lsn) : log_->Truncate(lsn);
  lock.lock();
  const SegmentLog::State state = log_->state();
  accepted_lsn_ = synced_lsn_ = state.last_lsn;
  accepted_epoch_ = state.last_epoch;
  if (status.ok() && restart) {
    committed_lsn_ = lsn;
    committed_.notify_all();
  }
  LeaveWriterSeat();
  return status;
}

Status JournalNode::Submit(AppendInput input) {
  BatchRef batch;
  uint64_t drops = 0;
  const Status status = Check(&input, &batch);
  return status.ok() ? Enqueue(input, std::move(batch), &drops) : status;
}

Status JournalNode::Check(AppendInput* input, BatchRef* batch) {
  if (input->write_quorum == 0) return {Code::kInvalid, "the write quorum is missing"};
  if (input->frames.empty()) return Status::Ok();
  auto parsed = std::make_shared<Batch>();
  const Status status = Batch::Parse(std::move(input->frames), parsed.get());
  if (!status.ok()) return status;
  // Replicas and the next leader would stop at it.
  if (!parsed->known_types) return {Code::kInvalid, "a record of no known type"};
  *batch = std::move(parsed);
  return Status::Ok();
}

Status JournalNode::Enqueue(const AppendInput& input, BatchRef batch, uint64_t* drops) {
  std::unique_lock lock(mutex_);
  while (batch != nullptr && queue_bytes_ >= options_.queue_bytes_max && !shutdown_ && input.epoch == sealed_epoch_) {
    if (writing_) {
      progress_.wait(lock);
      continue;
    }
    lock.unlock();
    Lsn synced = kNoLsn;
    Status failure;
    const bool failed = FlushOnce(input.epoch, &synced, &failure) == Flush::kFailed;
    lock.lock();
    if (failed) return failure;
  }
  Status status = CheckEpochLocked(input.epoch);
  if (!status.ok()) return status;
  *drops = drops_;
  if (batch != nullptr) {
    if (batch->last_epoch > input.epoch)
      return {Code::kInvalid, "a frame of epoch " + std::to_string(batch->last_epoch) + " from a writer of epoch " +
                                  std::to_string(input.epoch)};
    if (batch->prev_lsn != accepted_lsn_ || batch->first_epoch < accepted_epoch_)
      return {Code::kInvalid, "a gap: frames after LSN " + LsnText(batch->prev_lsn) + " to a journal that ends at " +
                                  LsnText(accepted_lsn_)};
    accepted_lsn_ = batch->last_lsn;
    accepted_epoch_ = batch->last_epoch;
    queue_bytes_ += batch->frames.size();
    queue_.push_back(std::move(batch));
    taking_over_ = false;
  }
  writer_lease_.Hear(input.epoch, input.lease_ms, BoottimeMs());
  if (input.release) writer_lease_.Release(input.epoch);
  write_quorum_ = input.write_quorum;
  writer_committed_lsn_ = std::max(writer_committed_lsn_, input.committed_lsn);
  AdvanceCommitted();
  return Status::Ok();
}

JournalNode::Flush JournalNode::FlushOnce(uint64_t epoch, Lsn* synced_lsn, Status* failure) {
  std::unique_lock lock(mutex_);
  if (epoch < sealed_epoch_ && !Planted(PlantedBug::kFenceOff)) return Flush::kNothing;
  if (writing_) return Flush::kBusy;
  if (queue_.empty()) return Flush::kNothing;
  writing_ = true;
  std::vector<BatchRef> group;
  size_t bytes = 0;
  do {
    bytes += queue_.front()->frames.size();
    group.push_back(std::move(queue_.front()));
    queue_.pop_front();
  } while (!queue_.empty() && bytes + queue_.front()->frames.size() <= options_.group_bytes_max);
  queue_bytes_ -= bytes;
  const Lsn committed = committed_lsn_;
  lock.unlock();
  const Status status = log_->Append(group, committed);
  lock.lock();
  synced_lsn_ = log_->state().last_lsn;
  AdvanceCommitted();
  if (!status.ok()) DropQueue(status);
  LeaveWriterSeat();
  *synced_lsn = synced_lsn_;
  if (status.ok()) return Flush::kSynced;
  *failure = status;
  return Flush::kFailed;
}

Status JournalNode::Append(AppendInput input) {
  BatchRef batch;
  uint64_t drops = 0;
  Status status = Check(&input, &batch);
  const Lsn end = batch ? batch->last_lsn : kNoLsn;
  if (status.ok()) status = Enqueue(input, std::move(batch), &drops);
  if (!status.ok()) return status;
  while (true) {
    Lsn synced = kNoLsn;
    const Flush flush = FlushOnce(input.epoch, &synced, &status);
    if (flush == Flush::kSynced) continue;
    std::unique_lock lock(mutex_);
    progress_.wait(
        lock, [&] { return synced_lsn_ >= end || drops_ != drops || shutdown_ || (!writing_ && !queue_.empty()); });
    if (synced_lsn_ >= end) return Status::Ok();
    if (drops_ != drops) return drop_reason_;
    if (shutdown_) return {Code::kShutdown, "the journal is shutting down"};
  }
}

Status JournalNode::CheckEpoch(uint64_t epoch) const {
  const std::lock_guard lock(mutex_);
  return CheckEpochLocked(epoch);
}

void JournalNode::LoseWriter(uint64_t epoch) {
  const std::lock_guard lock(mutex_);
  writer_lease_.Leave(epoch);
}

JournalNode::Writer JournalNode::writer() const {
  const std::lock_guard lock(mutex_);
  const int64_t now_ms = BoottimeMs();
  return {writer_lease_.Live(now_ms), writer_lease_.LeftMs(now_ms)};
}

Status JournalNode::CheckEpochLocked(uint64_t epoch) const {
  if (shutdown_) return {Code::kShutdown, "the journal is shutting down"};
  if (epoch < sealed_epoch_ && !Planted(PlantedBug::kFenceOff))
    return {Code::kStaleEpoch, "epoch " + std::to_string(epoch) + " is fenced by " + std::to_string(sealed_epoch_)};
  if (epoch > sealed_epoch_) return {Code::kInvalid, "epoch " + std::to_string(epoch) + " has not been sealed here"};
  return Status::Ok();
}

// Needs mutex_. Back to what the log has.
void JournalNode::DropQueue(Status why) {
  const SegmentLog::State state = log_->state();
  accepted_lsn_ = state.last_lsn;
  accepted_epoch_ = state.last_epoch;
  queue_.clear();
  queue_bytes_ = 0;
  drops_++;
  drop_reason_ = std::move(why);
}

// Needs mutex_.
void JournalNode::AdvanceCommitted() {
  if (write_quorum_ == 0) return;
  const Lsn known = write_quorum_ == 1 || Planted(PlantedBug::kTailsUncommitted)
                        ? synced_lsn_
                        : std::min(writer_committed_lsn_, synced_lsn_);
  if (known <= committed_lsn_) return;
  committed_lsn_ = known;
  committed_.notify_all();
}

// Needs mutex_.
void JournalNode::LeaveWriterSeat() {
  writing_ = false;
  progress_.notify_all();
}

Lsn JournalNode::WaitCommitted(Lsn after_lsn, std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  committed_.wait_for(lock, timeout, [&] { return committed_lsn_ > after_lsn || shutdown_; });
  return committed_lsn_;
}

Status JournalNode::Read(Lsn after_lsn, Lsn limit_lsn, size_t bytes_max, std::string* frames, Lsn* last_lsn) const {
  return log_->Read(after_lsn, limit_lsn, bytes_max, frames, last_lsn);
}

Status JournalNode::ReportCheckpoint(const std::string& replica_id, Lsn checkpoint_lsn, uint64_t lease_ms,
                                     Lsn* trimmed_lsn) {
  const std::lock_guard trim_lock(trim_mutex_);
  bool save = false;
  Status status = leases_.Report(replica_id, checkpoint_lsn, lease_ms, SteadyMs(), &save);
  if (!status.ok()) return status;
  if (leases_.Expire(SteadyMs())) save = true;
  if (save) status = SaveSmallFile(options_.log.directory, kLeasesName, leases_.Encode());
  if (!status.ok()) return status;
  const std::optional<Lsn> checkpoint = leases_.LowestCheckpoint();
  if (checkpoint.has_value()) {
    Lsn limit = std::min(*checkpoint, LsnFromUnixUs(UnixUs() - options_.retention_ms * 1000));
    {
      const std::lock_guard lock(mutex_);
      limit = taking_over_ ? kNoLsn : std::min(limit, committed_lsn_);
    }
    status = log_->Trim(limit);
  }
  *trimmed_lsn = log_->state().base_lsn;
  return status;
}

std::vector<LeaseTable::Listed> JournalNode::Leases() const {
  const std::lock_guard lock(trim_mutex_);
  return leases_.List(SteadyMs());
}

SegmentLog::State JournalNode::state() const {
  SegmentLog::State state = log_->state();
  const std::lock_guard lock(mutex_);
  state.sealed_epoch = sealed_epoch_;
  state.committed_lsn = committed_lsn_;
  return state;
}

void JournalNode::Shutdown() {
  {
    const std::lock_guard lock(mutex_);
    shutdown_ = true;
  }
  progress_.notify_all();
  committed_.notify_all();
}

}  // namespace concord::journal
