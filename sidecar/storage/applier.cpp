#include "sidecar/storage/applier.h"

#include <algorithm>
#include <chrono>

#include "sidecar/lsn_text.h"
#include "sidecar/rpc/log.h"

namespace concord {
namespace {

constexpr int64_t kBackoffMinUs = 10'000;
constexpr int64_t kBackoffMaxUs = 1'000'000;
constexpr int64_t kNoSpaceRetryUs = 1'000'000;
constexpr int kMeetMs = 1000;
constexpr int64_t kTrimmedRetryUs = 10'000'000;
constexpr int64_t kIdleTickUs = 100'000;        // horizon and checkpoints when nothing arrives
constexpr int64_t kMaintenancePauseUs = 1'000;  // between slices when there is more to do and nothing arrives
constexpr int64_t kBusyMaintenanceUs = 10'000;  // at least so often when frames never cease,
constexpr int64_t kBusyBacklogUs = 2'000;       // and so often when the last slice has left work
constexpr size_t kTakeBytes = 64u << 10;        // frames that the memtable is for
constexpr int64_t kFlushLookUs = 100'000;
// So long after somebody has waited for a flush, all is applied at once: whatever is read there is read again.
constexpr int64_t kEagerUs = 100'000;

int64_t SteadyUs() {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

void Applier::Start(const std::vector<JournalPeer>& peers, journal::JournalNode* local) {
  local_ = local;
  for (const JournalPeer& peer : peers)
    journals_.push_back(std::make_shared<Journal>(peer, local != nullptr && journals_.empty()));
  started_us_ = SteadyUs();
  started_at_ = replica_->readable();
  if (local != nullptr) replay_to_ = local->state().last_lsn;
  // Before anybody leads: it is to be known what there is and what there is not. A failure is met again by Maintain.
  (void)CheckRoom();
  if (options_.on_applied) options_.on_applied(replica_->resume_from());
  replica_->SetOnRead([this] { OnRead(); });
  thread_ = std::thread([this] { Run(); });
  if (replica_->has_memtable()) flusher_ = std::thread([this] { FlushLoop(); });
  reporter_ = std::thread([this] { ReportLoop(); });
}

void Applier::OnRead() {
  const std::lock_guard lock(mutex_);
  if (tail_ == nullptr || !gathers_) return;
  hurried_ = true;
  tail_->Cancel();
}

void Applier::Stop() {
  if (thread_.joinable()) replica_->SetOnRead({});  // which may be gone when this is called again
  {
    std::lock_guard lock(mutex_);
    stopping_.store(true, std::memory_order_release);
    if (tail_ != nullptr) tail_->Cancel();
  }
  calls_.Cancel();
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
  if (flusher_.joinable()) flusher_.join();
  if (reporter_.joinable()) reporter_.join();
}

std::shared_ptr<TailLink> Applier::OpenTail(const JournalPtr& journal, Lsn after_lsn, int gather_ms) {
  std::lock_guard lock(mutex_);
  if (stopping()) return nullptr;
  tail_ = journal->local            ? OpenLocalTail(local_, after_lsn, gather_ms)
          : journal->peer.open_tail ? journal->peer.open_tail(after_lsn, gather_ms)
                                    : OpenRemoteTail(journal->peer.stub.get(), after_lsn, gather_ms);
  gathers_ = gather_ms > 0;
  // Who meant the one before would have cancelled this one.
  hurried_ = GatherMs() != gather_ms;
  if (hurried_ || std::find(journals_.begin(), journals_.end(), followed_) == journals_.end()) tail_->Cancel();
  return tail_;
}

std::vector<Applier::JournalPtr> Applier::Journals() {
  const std::lock_guard lock(mutex_);
  return journals_;
}

Applier::JournalPtr Applier::NextJournal(const JournalPtr& last) {
  const std::lock_guard lock(mutex_);
  if (last == nullptr) return followed_ = journals_[options_.first_journal % journals_.size()];
  const auto found = std::find(journals_.begin(), journals_.end(), last);
  const bool has_next = found != journals_.end() && found + 1 != journals_.end();
  return followed_ = has_next ? *(found + 1) : journals_.front();
}

void Applier::RefreshMembers() {
  std::vector<JournalPeer> members;
  if (!options_.members || !options_.members(&members).ok()) return;
  const std::lock_guard lock(mutex_);
  std::vector<JournalPtr> journals;
  if (journals_.front()->local) journals.push_back(journals_.front());
  for (const JournalPeer& member : members) {
    const auto known = std::find_if(journals_.begin(), journals_.end(), [&](const JournalPtr& journal) {
      return !journal->local && journal->peer.member == member.member;
    });
    journals.push_back(known != journals_.end() ? *known : std::make_shared<Journal>(member));
  }
  if (journals.empty() || journals == journals_) return;
  RoleLog("storage")->info("the journal's members have changed nodes={}", members.size());
  journals_ = std::move(journals);
  // One that is no member any more gets nothing more.
  if (std::find(journals_.begin(), journals_.end(), followed_) == journals_.end() && tail_ != nullptr) tail_->Cancel();
}

void Applier::CloseTail() {
  std::lock_guard lock(mutex_);
  tail_.reset();
}

bool Applier::Sleep(int64_t us) {
  std::unique_lock lock(mutex_);
  wake_.wait_for(lock, std::chrono::microseconds(us), [this] { return stopping(); });
  return !stopping();
}

Status Applier::Meet(Journal* journal) {
  Status status;
  if (journal->peer.meet) {
    CancellableContext context(&calls_);
    context->set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(kMeetMs));
    status = journal->peer.meet(context.get());
  }
  journal->met.store(status.ok(), std::memory_order_release);
  return status;
}

void Applier::Run() {
  int64_t backoff_us = kBackoffMinUs;
  size_t in_vain = 0;    // nodes in a row that brought nothing,
  bool trimmed = false;  // and one of them no longer has what is needed
  JournalPtr journal;
  while (!stopping()) {
    const size_t nodes = Journals().size();
    journal = NextJournal(journal);
    const Lsn before = replica_->readable();
    Status ended = Meet(journal.get());
    // One of several that is not what it should be is left out, as by a leader.
    Status status = ended.code() == Code::kInvalid && nodes == 1 ? ended : Status::Ok();
    if (ended.code() == Code::kInvalid && status.ok() && !journal->strange) {
      journal->strange = true;
      RoleLog("storage")->error("a journal node is not followed reason=\"{}\"", ended.message());
    }
    if (ended.ok()) {
      for (bool again = true; again && ended.ok();) {
        const int gather_ms = GatherMs();
        const auto tail = OpenTail(journal, replica_->resume_from(), gather_ms);
        if (tail == nullptr) return;
        again = false;
        status = Follow(tail.get(), gather_ms, &again);
        if (status.ok() && !again && !stopping()) ended = tail->Finish();
        CloseTail();
        if (again) ended = Meet(journal.get());
      }
      // What answers there next may be another process.
      if (journal->peer.meet) journal->met.store(false, std::memory_order_release);
    }
    if (stopping()) return;
    if (status.ok()) {
      const std::lock_guard lock(writer_mutex_);
      status = flush_status_;
    }
    if (!status.ok()) {
      RoleLog("storage")->critical("storage replica {} stops at LSN {}: {}", replica_->directory(),
                                   LsnText(replica_->applied()), status.ToString());
      if (options_.on_failure) options_.on_failure(status);
      return;
    }
    if (replica_->readable() != before) {
      backoff_us = kBackoffMinUs;
      in_vain = 0;
      trimmed = false;
      fallen_.store(false, std::memory_order_release);
    }
    in_vain++;
    trimmed = trimmed || ended.code() == Code::kTooOld;
    if (trimmed && in_vain >= nodes) {
      Fall(ended);
      backoff_us = kTrimmedRetryUs;
      in_vain = 0;
      trimmed = false;
    } else {
      RoleLog("storage")->debug("tail of the journal ended: {}", ended.ToString());
    }
    if (Status s = Maintain(); !s.ok())
      RoleLog("storage")->error("storage replica {}: maintenance failed and is tried again: {}", replica_->directory(),
                                s.ToString());
    if (!Sleep(backoff_us)) return;
    backoff_us = std::min(backoff_us * 2, kBackoffMaxUs);
  }
}

void Applier::Fall(const Status& trimmed) {
  const bool before = fallen_.exchange(true, std::memory_order_acq_rel);
  if (options_.on_fallen) {
    if (!before)
      RoleLog("storage")->warn(
          "storage replica {} is at LSN {}, and the journal has trimmed what follows; it copies another replica ({})",
          replica_->directory(), LsnText(replica_->applied()), trimmed.message());
    options_.on_fallen();
    return;
  }
  RoleLog("storage")->error(
      "storage replica {} is at LSN {}, and the journal has trimmed what follows; stop the server, restore a "
      "backup of the whole Concord directory, and start again ({})",
      replica_->directory(), LsnText(replica_->applied()), trimmed.message());
}

int Applier::GatherMs() const { return replica_->IsRead() ? 0 : options_.gather_ms; }

Status Applier::Follow(TailLink* tail, int gather_ms, bool* again) {
  std::string frames;
  int64_t wait_us = 0;
  for (;;) {
    if (GatherMs() != gather_ms) {
      *again = !stopping();
      return Status::Ok();
    }
    if (frames.capacity() > 4 * options_.max_batch_bytes) frames = {};
    frames.clear();
    TailLink::Event event = tail->Next(wait_us, &frames);
    if (event == TailLink::Event::kEnd) {
      const std::lock_guard lock(mutex_);
      *again = hurried_ && !stopping();
      return Status::Ok();
    }
    if (event == TailLink::Event::kFrames) {
      // What has queued up meanwhile goes into the same LMDB transaction.
      while (frames.size() < options_.max_batch_bytes && event == TailLink::Event::kFrames)
        event = tail->Next(0, &frames);
      if (Status s = ApplyWithRetry(frames); !s.ok()) return s;
      if (stopping() || event == TailLink::Event::kEnd) return Status::Ok();
      wait_us = kMaintenancePauseUs;
      if (SteadyUs() - maintained_us_ < (more_maintenance_ ? kBusyBacklogUs : kBusyMaintenanceUs)) continue;
    } else {
      TellCaughtUp();
    }
    if (Status s = Maintain(); !s.ok()) return s;
    wait_us = more_maintenance_ ? kMaintenancePauseUs : kIdleTickUs;
  }
}

void Applier::TellCaughtUp() {
  if (caught_up_ || replica_->readable() < replay_to_) return;
  caught_up_ = true;
  RoleLog("storage")->info("storage replica {} has caught up with the journal from LSN {} to {} in {} ms",
                           replica_->directory(), LsnText(started_at_), LsnText(replica_->readable()),
                           (SteadyUs() - started_us_) / 1000);
}

Status Applier::ApplyWithRetry(std::string_view frames) {
  const std::unique_lock lock(writer_mutex_);
  if (!flush_status_.ok()) return flush_status_;
  const Measured measured(this);
  // What many rows come in is of no use in the memtable; and where reads have to have it flushed at once, neither.
  const bool takes =
      replica_->has_memtable() && GatherMs() == 0 && frames.size() <= kTakeBytes && SteadyUs() >= eager_until_us_;
  Status s = takes ? replica_->Take(frames) : replica_->Apply(frames);
  if (s.code() == Code::kNoSpace && !takes)
    s = RetryFrugally(s, [&] { return replica_->Apply(frames, /*frugal=*/true); });
  else if (s.code() == Code::kNoSpace)
    s = RetryFrugally(s, [&] { return replica_->Flush(/*frugal=*/true); });
  if (!s.ok() || stopping()) return s;
  const Status room = CheckRoom();
  if (options_.on_applied) options_.on_applied(replica_->resume_from());
  return room;
}

template <typename Again>
Status Applier::RetryFrugally(Status s, Again&& again) {
  while (s.code() == Code::kNoSpace) {
    TellRoom(s, /*stuck=*/true);
    // A checkpoint sets free the pages of the one before it.
    Status c = replica_->CheckpointIfDue(/*force=*/true);
    if (c.ok()) c = replica_->FinishCheckpoint();
    if (!c.ok() && c.code() != Code::kNoSpace && c.code() != Code::kUnavailable) return c;
    if (!Sleep(kNoSpaceRetryUs)) return Status::Ok();
    s = again();
  }
  return s;
}

void Applier::FlushLoop() {
  Lsn seen = kNoLsn;
  while (!stopping()) {
    seen = replica_->AwaitWanted(seen, kFlushLookUs);
    const std::unique_lock lock(writer_mutex_);
    bool wanted;
    if (!replica_->FlushDue(&wanted)) continue;
    if (wanted) eager_until_us_ = SteadyUs() + kEagerUs;
    const Measured measured(this);
    Status s = replica_->Flush();
    if (s.code() == Code::kNoSpace) s = RetryFrugally(s, [&] { return replica_->Flush(/*frugal=*/true); });
    flush_status_ = s.ok() ? CheckRoom() : s;
    if (!flush_status_.ok()) return;
  }
}

Status Applier::CheckRoom() {
  const Status room = replica_->CheckRoom();
  if (!room.ok() && room.code() != Code::kNoSpace && room.code() != Code::kTooLarge) return room;
  TellRoom(room, /*stuck=*/false);
  return Status::Ok();
}

void Applier::TellRoom(const Status& room, bool stuck) {
  const bool scarce = replica_->scarce();
  if (room.code() == room_ && stuck == stuck_ && scarce == scarce_) return;
  if (room.code() == room_ && stuck == stuck_) {
    // Nothing that anybody has to know.
  } else if (room.ok()) {
    RoleLog("storage")->info("storage replica {} has space again", replica_->directory());
  } else {
    RoleLog("storage")->error("storage replica {} {}: {}", replica_->directory(),
                              stuck              ? "waits for space, and newer commits with it"
                              : options_.on_room ? "is full, so commits are refused"
                                                 : "is almost full, and soon cannot follow the journal",
                              room.message());
  }
  room_ = room.code();
  stuck_ = stuck;
  scarce_ = scarce;
  const char* reason = room.ok()                        ? nullptr
                       : room.code() == Code::kTooLarge ? "the storage replica has reached concord.storage_limit"
                                                        : "the storage replica's disk is full";
  if (options_.on_room) options_.on_room(reason, stuck, scarce);
}

Status Applier::Maintain() {
  const std::unique_lock lock(writer_mutex_);
  if (!flush_status_.ok()) return flush_status_;
  if (Status s = CheckRoom(); !s.ok()) return s;
  Status s = replica_->Maintain(options_.maintenance_budget, &more_maintenance_);
  if (s.code() == Code::kNoSpace || s.code() == Code::kUnavailable) {
    more_maintenance_ = false;
    s = Status::Ok();  // no space: applying will meet it too, and says so; no reader slot free: there will be
  }
  maintained_us_ = SteadyUs();
  if (!s.ok()) return s;
  s = replica_->CheckpointIfDue();
  return s.code() == Code::kUnavailable || s.code() == Code::kNoSpace ? Status::Ok() : s;
}

Lsn Applier::newest() const {
  const Lsn told = newest_.load(std::memory_order_acquire);
  const journal::JournalNode* const local = local_;
  return local != nullptr ? std::max(told, local->state().committed_lsn) : told;
}

void Applier::ReportLoop() {
  Lsn applied = kNoLsn;    // a round ago
  Lsn committed = kNoLsn;  // as some node said then
  do {
    RefreshMembers();
    const std::vector<JournalPtr> journals = Journals();
    if (journals.size() > 1 && committed > applied && replica_->readable() == applied) {
      const std::lock_guard lock(mutex_);
      if (tail_ != nullptr) tail_->Cancel();
    }
    applied = replica_->readable();
    committed = kNoLsn;
    AskWhetherRemoved();
    for (const JournalPtr& journal : journals) {
      proto::ReportCheckpointReply reply;
      if (!stopping() && Report(journal.get(), &reply)) committed = std::max<Lsn>(committed, reply.committed_lsn());
    }
    newest_.store(std::max(committed, newest_.load(std::memory_order_relaxed)), std::memory_order_release);
  } while (Sleep(options_.report_interval_us));
}

void Applier::AskWhetherRemoved() {
  const bool removed = options_.removed && options_.removed();
  if (removed_.exchange(removed, std::memory_order_acq_rel) == removed) return;
  if (removed)
    RoleLog("storage")->warn(
        "storage replica {} has been removed from the cluster: it holds back no journal any more, and answers as long "
        "as it can follow; stop it",
        replica_->directory());
  else
    RoleLog("storage")->info("storage replica {} is one of the cluster again", replica_->directory());
}

bool Applier::Hold(Lsn lsn) {
  hold_.store(lsn, std::memory_order_release);
  bool kept = false;
  for (const JournalPtr& journal : Journals()) {
    proto::ReportCheckpointReply reply;
    if (!stopping() && Report(journal.get(), &reply)) kept = kept || reply.trimmed_lsn() <= lsn;
  }
  return kept;
}

bool Applier::Report(Journal* journal, proto::ReportCheckpointReply* reply) {
  // One that is not followed is met here.
  if (!journal->met.load(std::memory_order_acquire) && !Meet(journal).ok()) return false;
  const std::lock_guard lock(report_mutex_);
  CancellableContext context(&calls_);
  context->set_deadline(std::chrono::system_clock::now() + std::chrono::microseconds(options_.report_interval_us));
  const Lsn hold = hold_.load(std::memory_order_acquire);
  const bool needs = !removed() && (hold != kNoLsn || !fallen());
  proto::ReportCheckpointRequest request;
  request.set_replica_id(options_.replica_id);
  request.set_checkpoint_lsn(hold != kNoLsn ? hold : replica_->checkpoint());
  request.set_lease_ms(needs ? static_cast<uint64_t>(options_.lease_ms) : 0);
  const grpc::Status status = journal->peer.stub->ReportCheckpoint(context.get(), request, reply);
  if (!status.ok() && !journal->told)
    RoleLog("storage")->info("the journal was not told of the checkpoint and keeps its records until it is: {}",
                             status.error_message());
  journal->told = !status.ok();
  return status.ok();
}

}  // namespace concord
