// The part of AdjudicatorService that wins, holds and gives up an epoch, and settles what has become durable.
#include <algorithm>
#include <chrono>
#include <random>
#include <utility>

#include "core/pause_points.h"
#include "core/planted_bugs.h"
#include "sidecar/adjudicator/adjudicator_service.h"
#include "sidecar/lsn_text.h"
#include "sidecar/rpc/clock.h"
#include "sidecar/rpc/log.h"

namespace concord {
namespace {

constexpr int kDrainMs = 500;
constexpr int64_t kRenewalsPerLease = 10;
constexpr int kHandOverMs = 1000;

// Another process was faster, in the metastore or at the journal.
bool LostTheRace(const Status& status) {
  return status.code() == Code::kConflict || status.code() == Code::kStaleEpoch;
}

constexpr Decision kInDoubt{.code = Code::kInDoubt, .reason = "the journal failed before the verdict"};

}  // namespace

Status AdjudicatorService::Start(const JournalEnsemble& ensemble) {
  Status status = pages_.WithdrawLeftBehind();
  if (!status.ok()) return status;
  const std::lock_guard lock(mutex_);
  ensemble_ = ensemble;
  started_ = true;
  leader_ = std::thread([this] { LeadLoop(); });
  watchdog_ = std::thread([this] { WatchLoop(); });
  return Status::Ok();
}

void AdjudicatorService::Stop() {
  {
    std::unique_lock lock(mutex_);
    if (stopping_) return;
    stopping_ = true;
    if (standby_ != nullptr) standby_->Cancel();
    changed_.notify_all();
    progress_.notify_all();
    progress_.wait_for(lock, std::chrono::milliseconds(kDrainMs),
                       [&] { return state_ != State::kLeading || in_flight_.empty(); });
  }
  StepDown({Code::kShutdown, "the adjudicator is ending"});
  cancellation_.Cancel();
  std::set<SessionPtr> sessions;
  {
    const std::lock_guard lock(mutex_);
    sessions.swap(sessions_);
  }
  for (const SessionPtr& session : sessions) session->Cancel();
  if (leader_.joinable()) leader_.join();
  std::shared_ptr<Standby> standby;
  {
    const std::lock_guard lock(mutex_);
    standby = std::move(standby_);
    stopped_ = true;
    watch_.notify_all();
  }
  if (watchdog_.joinable()) watchdog_.join();
}

bool AdjudicatorService::WaitUntilLeading(int timeout_ms) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms), [&] { return state_ == State::kLeading; });
}

void AdjudicatorService::LeadLoop() {
  const auto log = RoleLog("adjudicator");
  int backoff_ms = options_.backoff_ms_min;
  std::string last_failure;
  for (;;) {
    if (options_.standby && !AwaitTurn()) return;
    const Status status = TakeOver();
    std::unique_lock lock(mutex_);
    if (status.ok()) {
      backoff_ms = options_.backoff_ms_min;
      last_failure.clear();
      // Also while Stop waits for what is in flight; it steps down after that.
      while (state_ == State::kLeading) {
        changed_.wait_for(lock, std::chrono::milliseconds(options_.apply_grace_ms),
                          [&] { return state_ != State::kLeading; });
        if (state_ != State::kLeading) break;
        const auto touched = ReleaseOverdue();
        const auto ticking = TickWhileFull() ? writer_ : nullptr;
        if (touched.empty() && ticking == nullptr) continue;
        lock.unlock();
        for (const SessionPtr& session : touched) session->Flush();
        if (ticking != nullptr) ticking->Flush(/*more_to_come=*/false);
        lock.lock();
      }
    } else if (!stopping_ && !(options_.standby && LostTheRace(status)) && status.ToString() != last_failure) {
      last_failure = status.ToString();
      log->error("cannot lead, so no commit is decided; will try again reason=\"{}\"", last_failure);
      if (status.code() == Code::kIoError && trouble_ != Code::kIoError && options_.on_journal_broken)
        options_.on_journal_broken(status);
    }
    const auto writer = std::move(writer_);
    auto rejoin = std::move(rejoin_);
    writer_.reset();
    if (writer != nullptr) writer->EndJoins();
    changed_.wait(lock, [&] { return !changing_journal_; });
    lock.unlock();
    rejoin.reset();
    if (writer != nullptr) writer->Stop();
    lock.lock();
    if (trouble_ == Code::kIoError) {
      log->critical(
          "the journal has stopped: {}. Reads go on, but no commit is accepted until the server is restarted; look at "
          "the disk first",
          down_reason_.message());
      changed_.wait(lock, [&] { return stopping_; });
    }
    // Whoever has handed over lets the others go first.
    const int pause_ms = std::exchange(handing_over_, false) ? kHandOverMs : backoff_ms;
    changed_.wait_for(lock, std::chrono::milliseconds(pause_ms), [&] { return stopping_; });
    if (stopping_) return;
    backoff_ms = std::min(backoff_ms * 2, options_.backoff_ms_max);
  }
}

void AdjudicatorService::WatchLoop() {
  std::unique_lock lock(mutex_);
  const int64_t renew_ms = ensemble_.local_node != nullptr || options_.lease_ms == 0
                               ? LsnPages::kRenewMs
                               : std::min<int64_t>(options_.lease_ms / kRenewalsPerLease, LsnPages::kRenewMs);
  while (!watch_.wait_for(lock, std::chrono::milliseconds(renew_ms), [&] { return stopped_; })) {
    if (MayVouch()) pages_.Renew(Planted(PlantedBug::kPageOutlives) ? LsnPages::kForever : VouchUntilUs());
    for (const SessionPtr& session : sessions_) session->CancelIfStuck();
  }
}

// A term that ended for want of space goes on in its own epoch: another one could not be written down.
Status AdjudicatorService::AcquireEpoch(uint64_t* epoch) {
  {
    const std::lock_guard lock(mutex_);
    if (trouble_ == Code::kNoSpace && Vouching()) {
      *epoch = epoch_;
      return Status::Ok();
    }
  }
  Leader newest;
  const Status status = metastore_->ReadLeader(&newest);
  if (!status.ok()) return status;
  return metastore_->AcquireLeadership(options_.self, newest.epoch, epoch_above_, epoch);
}

Status AdjudicatorService::ReadMembers() {
  if (!options_.members) return Status::Ok();
  JournalEnsemble members;
  const Status status = options_.members(&members);
  if (!status.ok()) return status;
  const std::lock_guard lock(mutex_);
  if (ensemble_.HasMembersOf(members)) return status;
  RoleLog("adjudicator")
      ->info("the journal's members have changed nodes={} write_quorum={}", members.nodes.size(), members.write_quorum);
  ensemble_ = std::move(members);
  return status;
}

bool AdjudicatorService::AwaitTurn() {
  const Standby::Options options{.limits = options_.limits, .replay_us = options_.takeover.replay_us};
  for (;;) {
    (void)ReadMembers();  // where that fails, no epoch will be won either
    std::shared_ptr<Standby> standby;
    bool current = true;
    {
      std::unique_lock lock(mutex_);
      if (stopping_) return false;
      if (standby_ == nullptr) standby_ = std::make_shared<Standby>(ensemble_, options);
      standby = standby_;
      current = standby->ensemble().HasMembersOf(ensemble_);
    }
    if (current) {
      const Standby::Turn turn = standby->AwaitTurn(options_.members_poll_ms);
      if (turn == Standby::Turn::kCancelled) return false;
      if (turn != Standby::Turn::kMine) continue;
      // It may have watched nodes that are members no more.
      (void)ReadMembers();
      const std::lock_guard lock(mutex_);
      if (standby->ensemble().HasMembersOf(ensemble_)) return true;
      continue;
    }
    auto core = standby->Take();
    const std::lock_guard lock(mutex_);
    if (stopping_) return false;
    standby_ = std::make_shared<Standby>(ensemble_, options, std::move(core));
  }
}

Status AdjudicatorService::TakeOver() {
  uint64_t epoch = 0;
  Status status = AcquireEpoch(&epoch);
  // After the epoch is won: from then on who led before can change them no more.
  if (status.ok()) status = ReadMembers();
  if (!status.ok()) return status;

  JournalTakeover::Options options = options_.takeover;
  std::unique_ptr<Adjudicator> core;
  {
    std::unique_lock lock(mutex_);
    options.own_epoch = led_epoch_;
    const auto standby = std::move(standby_);
    standby_.reset();
    lock.unlock();
    if (standby != nullptr) core = standby->Take();
  }
  if (core == nullptr) core = std::make_unique<Adjudicator>(options_.limits);
  options.replayed = core->last_lsn();
  JournalTakeover takeover(ensemble_, epoch, options, &cancellation_);
  uint64_t frames = 0;
  status = takeover.Run([&](Lsn last_lsn) { core->Reset(last_lsn); },
                        [&](const Frame& frame) {
                          frames++;
                          return core->Replay(frame);
                        });
  std::unique_lock lock(mutex_);
  if (status.ok() && ensemble_.local_node == nullptr && !Planted(PlantedBug::kLeaseIgnored))
    progress_.wait_until(lock, takeover.lease_until(), [&] { return stopping_; });
  if (status.ok() && takeover.last_lsn() < committed_)
    status = {Code::kCorruption, "the journal ends at " + LsnText(takeover.last_lsn()) + ", but " +
                                     LsnText(committed_) + " was committed"};
  if (stopping_) status = {Code::kShutdown, "ending"};
  if (!status.ok()) {
    epoch_above_ = std::max(epoch_above_, takeover.sealed_epoch());
    down_reason_ = {Code::kUnavailable, "the adjudicator cannot lead: " + status.ToString()};
    core_.reset();
    const auto touched = SettleParked(/*leading=*/false);
    lock.unlock();
    for (const SessionPtr& session : touched) session->Flush();
    return status;
  }

  counted_.clear();
  written_.clear();
  int own_nodes = 0;
  for (const JournalPeer& peer : ensemble_.nodes) {
    counted_.push_back(written_.size());
    written_.push_back(peer.member);
    if (peer.node != nullptr) own_nodes++;
  }
  auto writer = std::make_shared<JournalWriter>(
      ensemble_.nodes, takeover.members(),
      JournalWriter::Options{.epoch = epoch,
                             .write_quorum = ensemble_.write_quorum,
                             .last_lsn = takeover.last_lsn(),
                             .committed_lsn = takeover.committed_lsn(),
                             .lease_ms = ensemble_.local_node != nullptr ? 0 : options_.lease_ms},
      [this, epoch](Lsn lsn) { OnCommitted(epoch, lsn); },
      [this, epoch](const Status& failure) { OnFailed(epoch, failure); });
  writer->Start();
  writer_ = writer;
  if (ensemble_.local_node == nullptr)
    rejoin_ = std::make_unique<JournalRejoin>(ensemble_.nodes, JournalRejoin::Options{.epoch = epoch}, writer.get());
  core_ = std::move(core);
  epoch_ = led_epoch_ = epoch;  // the leases before it are over
  state_ = State::kStarting;
  committed_ = durable_ = overdue_ = takeover.committed_lsn();
  // The log as found counts as committed once this record is: only then may its tokens be answered.
  const Lsn prev = core_->last_lsn();
  const Lsn start = core_->AssignLsn(NowUnixUs());
  Send(RecordType::kEpochStart, {}, prev, start, {}, {});
  lock.unlock();
  writer->Flush(/*more_to_come=*/false);
  lock.lock();
  progress_.wait(lock, [&] { return state_ != State::kStarting || committed_ >= start || stopping_; });
  const bool leading = state_ == State::kStarting && !stopping_;
  if (leading) {
    state_ = State::kLeading;
    terms_++;
    trouble_ = Code::kOk;
    vouches_ = true;
    pages_.Lead(epoch, committed_, VouchUntilUs());
    changed_.notify_all();
  }
  status = leading ? Status::Ok() : stopping_ ? Status(Code::kShutdown, "ending") : down_reason_;
  const Lsn window_start = leading ? core_->window().start() : kNoLsn;
  const auto touched = SettleParked(leading);
  lock.unlock();
  for (const SessionPtr& session : touched) session->Flush();
  if (!status.ok()) return status;
  RoleLog("adjudicator")
      ->info(
          "leading: decides commits epoch={} last_lsn={} window_start_lsn={} replayed_frames={} nodes={} own_nodes={}",
          epoch, LsnText(prev), LsnText(window_start), frames, takeover.members().size(), own_nodes);
  return Status::Ok();
}

void AdjudicatorService::OnCommitted(uint64_t epoch, Lsn lsn) {
  std::vector<SessionPtr> touched;
  {
    const std::lock_guard lock(mutex_);
    if (epoch != epoch_ || state_ == State::kDown || lsn <= durable_) return;
    durable_ = lsn;
    TimeDurable();
    touched = Release(Releasable());
    AnswerChunks(&touched);
  }
  for (const SessionPtr& session : touched) session->Flush();
}

void AdjudicatorService::TimeDurable() {
  const uint64_t now_us = MonotonicUs();
  for (; timed_ < in_flight_.size() && in_flight_[timed_].lsn <= durable_; timed_++) {
    const InFlight& record = in_flight_[timed_];
    if (record.token != Token{}) durable_us_.Observe(now_us - record.decided_us);
  }
}

void AdjudicatorService::OnLocalApplied(Lsn lsn) {
  std::vector<SessionPtr> touched;
  {
    const std::lock_guard lock(mutex_);
    local_replica_ = true;
    local_applied_ = lsn;
    replica_late_ = false;
    for (; !unapplied_.empty() && unapplied_.front().first <= lsn; unapplied_.pop_front())
      unapplied_bytes_ -= unapplied_.front().second;
    progress_.notify_all();
    if (state_ == State::kLeading) {
      touched = Release(Releasable());
      AnswerChunks(&touched);
    }
  }
  for (const SessionPtr& session : touched) session->Flush();
}

Lsn AdjudicatorService::Releasable() const {
  // While starting, the replica may have a long journal to replay; nobody waits for it then.
  return local_replica_ && state_ == State::kLeading ? std::min(durable_, local_applied_) : durable_;
}

void AdjudicatorService::OnLocalRoom(const char* full_reason, bool stuck, bool scarce) {
  const std::lock_guard lock(mutex_);
  replica_full_ = full_reason;
  replica_stuck_ = stuck;
  replica_scarce_ = scarce;
  progress_.notify_all();
}

bool AdjudicatorService::TickWhileFull() {
  const int64_t now_us = NowUnixUs();
  if (handing_over_ || replica_full_ == nullptr || now_us - full_tick_us_ < int64_t{options_.full_tick_ms} * 1000)
    return false;
  full_tick_us_ = now_us;
  if (NoRoomFor(sizeof(Token), /*frees_space=*/true) != nullptr) return false;
  Token nobody;
  for (uint8_t& byte : nobody) byte = static_cast<uint8_t>(std::random_device()());
  const Lsn prev = core_->last_lsn();
  const auto [decision, fresh] = core_->Abandon(nobody, now_us);
  if (fresh)
    Send(RecordType::kAbandon, {reinterpret_cast<const char*>(nobody.data()), nobody.size()}, prev, decision.lsn, {},
         {});
  return fresh;
}

bool AdjudicatorService::MayVouch() const {
  return Vouching() || (state_ == State::kLeading && vouches_ &&
                        (BoottimeUs() < VouchUntilUs() || Planted(PlantedBug::kVouchesForever)));
}

int64_t AdjudicatorService::VouchUntilUs() const {
  return ensemble_.local_node != nullptr ? LsnPages::kForever : writer_ == nullptr ? 0 : writer_->LeaseUntilUs();
}

// Nobody else can write to a journal that is this process's own, as long as it has not been sealed by another.
bool AdjudicatorService::Vouching() const {
  return trouble_ != Code::kOk && ensemble_.local_node != nullptr && !stopping_ &&
         ensemble_.local_node->CheckEpoch(epoch_).ok();
}

std::vector<AdjudicatorService::SessionPtr> AdjudicatorService::ReleaseOverdue() {
  if (replica_stuck_) return {};
  auto touched = Release(overdue_);
  overdue_ = durable_;
  return touched;
}

void AdjudicatorService::AnswerChunks(std::vector<SessionPtr>* touched) {
  for (; !chunks_.empty() && chunks_.front().lsn <= durable_; chunks_.pop_front()) {
    const auto& [lsn, waiter, staged] = chunks_.front();
    if (staged && !HasRoomFor(lsn)) break;
    Answer(waiter, {.code = Code::kOk, .lsn = lsn});
    if (std::find(touched->begin(), touched->end(), waiter.session) == touched->end())
      touched->push_back(waiter.session);
  }
}

std::vector<AdjudicatorService::SessionPtr> AdjudicatorService::Release(Lsn lsn) {
  std::vector<SessionPtr> touched;
  if (lsn <= committed_) return touched;
  cc_pause(CC_PAUSE_ADJUDICATOR_BEFORE_VERDICT);
  committed_ = lsn;
  core_->Settle(lsn);
  // Before anybody hears of it: a reader that starts after a verdict must read at or above it.
  if (state_ == State::kLeading) pages_.Publish(lsn);
  const auto answer = [&](const Waiter& waiter, Lsn at) {
    if (waiter.session == nullptr) return;
    Answer(waiter, {.code = Code::kOk, .lsn = at});
    if (std::find(touched.begin(), touched.end(), waiter.session) == touched.end()) touched.push_back(waiter.session);
  };
  for (; !in_flight_.empty() && in_flight_.front().lsn <= lsn; in_flight_.pop_front()) {
    const InFlight& done = in_flight_.front();
    in_flight_bytes_ -= done.bytes;
    if (timed_ > 0) timed_--;
    if (done.token != Token{}) commits_++;
    answer(done.waiter, done.lsn);
  }
  while (!attached_.empty() && attached_.begin()->first <= lsn) {
    answer(attached_.begin()->second, attached_.begin()->first);
    attached_.erase(attached_.begin());
  }
  progress_.notify_all();
  return touched;
}

void AdjudicatorService::OnFailed(uint64_t epoch, const Status& status) {
  {
    const std::lock_guard lock(mutex_);
    if (epoch != epoch_) return;
    if (status.code() == Code::kStaleEpoch) epoch_above_ = std::max(epoch_above_, epoch_);
  }
  StepDown(status);
}

void AdjudicatorService::StepDown(const Status& reason) {
  std::vector<SessionPtr> touched;
  {
    const std::lock_guard lock(mutex_);
    if (state_ == State::kDown) {
      if (stopping_) {
        pages_.Withdraw();
        down_reason_ = reason;
      }
    } else {
      if (!stopping_)
        RoleLog("adjudicator")
            ->warn("stepping down: decides no commits epoch={} reason=\"{}\"", epoch_, reason.ToString());
      const bool ours = ensemble_.local_node != nullptr;
      const bool full = reason.code() == Code::kNoSpace;
      const bool failed = reason.code() == Code::kIoError && ours;
      trouble_ = full || failed ? reason.code() : Code::kOk;
      // First of all: nobody may take this process's word for the newest commit any more.
      if (!Vouching()) pages_.Withdraw();
      // What is durable is committed, whoever leads next; only the local replica was still waited for.
      touched = Release(durable_);
      AnswerChunks(&touched);
      // With it, what was never in flight can be told from what was: once all of the journal has been read. Of several
      // nodes one that did not answer may have more.
      const bool all_read = ours || (state_ == State::kStarting && ensemble_.nodes.size() == 1);
      if (trouble_ == Code::kOk || !all_read) core_.reset();
      if (state_ == State::kStarting && Vouching()) pages_.Lead(epoch_, committed_);
      state_ = State::kDown;
      down_reason_ = reason.code() == Code::kShutdown || full
                         ? reason
                         : Status(Code::kUnavailable, "the adjudicator stepped down: " + reason.ToString());
      for (const auto& [lsn, waiter, staged] : chunks_) in_flight_.push_back({lsn, 0, waiter, {}});
      for (InFlight& lost : in_flight_) {
        if (lost.waiter.session == nullptr) continue;
        if (full) {
          parked_.push_back(std::move(lost));
        } else {
          Answer(lost.waiter, failed ? kLost : kInDoubt);
          touched.push_back(lost.waiter.session);
        }
      }
      chunks_.clear();
      for (const auto& [lsn, waiter] : attached_) {
        Answer(waiter, failed ? kLost : kInDoubt);
        touched.push_back(waiter.session);
      }
      in_flight_.clear();
      timed_ = 0;
      attached_.clear();
      in_flight_bytes_ = 0;
    }
  }
  changed_.notify_all();
  progress_.notify_all();
  std::sort(touched.begin(), touched.end());
  touched.erase(std::unique(touched.begin(), touched.end()), touched.end());
  for (const SessionPtr& session : touched) session->Flush();
  if (!options_.standby) return;
  // Their clients are to look for the leader.
  const std::lock_guard lock(mutex_);
  for (const SessionPtr& session : sessions_) session->Cancel();
}

// Needs mutex_. Answers what was in flight when the disk was found full, now that the journal has been read again: what
// is not in it was not committed, and never will be under that request. If that could not be found out, who asked has
// to ask again. Returns whom to flush.
std::vector<AdjudicatorService::SessionPtr> AdjudicatorService::SettleParked(bool leading) {
  std::vector<SessionPtr> touched;
  for (const InFlight& parked : parked_) {
    Decision decision = kInDoubt;
    if (core_ != nullptr) {
      const Decision* known = core_->tokens().Find(parked.token);
      if (parked.token == Token{} || known == nullptr) {
        decision = {.code = Code::kNoSpace, .reason = "the journal's disk is full"};
      } else if (leading) {
        decision = *known;
      }
    }
    Answer(parked.waiter, decision);
    touched.push_back(parked.waiter.session);
  }
  parked_.clear();
  return touched;
}

}  // namespace concord
