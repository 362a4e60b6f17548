#include "gateway/gateway.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>

#include "core/key.h"
#include "core/pause_points.h"
#include "core/session.h"
#include "core/wire.h"
#include "gateway/connect.h"
#include "gateway/status_text.h"
#include "sidecar/metrics/metrics_server.h"
#include "sidecar/rpc/init.h"

namespace proto = concord::proto;
using concord::kReconnectPauseMaxMs;
using concord::MakeChannel;
using concord::OutRequest;
using concord::OutRequestPtr;
using concord::ReasonOf;
using concord::SplitAddresses;

namespace {

constexpr int kPumpSpinUs = 20;  // halved down to the next while it is in vain
constexpr int kPumpSpinMinUs = 2;
constexpr int kPumpSleepMs = 50;  // also the granularity of delayed sends
constexpr int kPumpHoldMs = concord::Outbox::kHoldUs / 1000;
constexpr int kCallTimeoutMs = 1000;
constexpr int kConnectMs = 100;
constexpr int kAskMs = 250;            // for an answer, where another adjudicator may be asked
constexpr int kReconnectPauseMs = 20;  // doubled up to the next
constexpr int kResendPauseMs = 20;     // after a verdict that nothing can be decided now
constexpr int kDropRetryMs = 1000;
constexpr uint32_t kDropsPerCommit = 1024;
constexpr uint32_t kAbandonsPerMessage = 256;
constexpr int kOfferEveryMs = 200;
constexpr size_t kReasonsTold = 16;  // of one trouble

int64_t NowUs() { return concord::BoottimeUs(); }

const concord::LsnPage* MapPage(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return nullptr;
  void* const memory = mmap(nullptr, concord::kLsnPageSize, PROT_READ, MAP_SHARED, fd, 0);
  close(fd);
  return memory == MAP_FAILED ? nullptr : static_cast<const concord::LsnPage*>(memory);
}

// Whether the reason is still to be told.
bool IsNew(const std::string& reason, std::set<std::string>* told) {
  return told->size() < kReasonsTold && told->insert(reason).second;
}

}  // namespace

CcGateway::Adjudicator::Adjudicator(const std::string& at)
    : address(at), calls(at), channel(MakeChannel(at)), stub(proto::Adjudicator::NewStub(channel)) {}

CcGateway::CcGateway(CcChannel& channel, const CcGatewayOptions& options)
    : channel_(channel),
      page_path_(options.page_path != nullptr ? options.page_path : ""),
      qp_id_(options.qp_id),
      report_ms_(std::max(options.report_ms, 10)),
      max_age_ms_(options.max_age_ms),
      meet_(options.meet),
      wake_(options.wake),
      log_function_(options.log),
      stats_(options.stats),
      shares_address_(options.storage_address == nullptr || strcmp(options.storage_address, options.address) == 0),
      outbox_(channel),
      partial_(static_cast<size_t>(channel.slots)) {
  for (const std::string& address : SplitAddresses(options.address))
    adjudicators_.push_back(std::make_unique<Adjudicator>(address));
  if (!page_path_.empty()) page_ = MapPage(page_path_);
  concord::ReplicaLinks::Options links;
  links.addresses = SplitAddresses(shares_address_ ? options.address : options.storage_address);
  if (shares_address_) links.first_channel = adjudicators_.front()->channel;
  links.qp_id = qp_id_;
  links.report_ms = report_ms_;
  links.lowest_read_lsn = [this] { return LowestReadLsn(); };
  links.meets = meet_ != nullptr;
  links.cluster_id = [this] {
    const std::lock_guard lock(mutex_);
    return cluster_;
  };
  if (options.reads_path != nullptr) links.reads_path = options.reads_path;
  replicas_ = std::make_unique<concord::ReplicaLinks>(&channel_, &log_, std::move(links));
  for (int slot : concord::AttachGateway(channel_)) wake_(slot);
  threads_.emplace_back([this] { Pump(); });
  threads_.emplace_back([this] { KeepSession(); });
  threads_.emplace_back([this] { AnswerReadLsn(); });
  threads_.emplace_back([this] { Keep(); });
  replicas_->Start();
}

CcGateway::~CcGateway() {
  metrics_.reset();
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    stopping_ = true;
    if (session_ != nullptr) session_->context.TryCancel();
  }
  changed_.notify_all();
  for (const auto& adjudicator : adjudicators_) adjudicator->calls.End();
  replicas_->Stop();
  concord::BumpWork(channel_);
  for (std::thread& thread : threads_) thread.join();
  replicas_.reset();
  concord::DetachGateway(channel_);
  if (page_ != nullptr) munmap(const_cast<concord::LsnPage*>(page_), concord::kLsnPageSize);
}

bool CcGateway::Pause(int ms) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, std::chrono::milliseconds(ms), [this] { return stop_; });
  return !stop_;
}

// ---- pump ----

void CcGateway::Pump() {
  std::vector<int> ready;
  int spin_us = kPumpSpinUs;
  while (!stopping_) {
    const uint32_t seen = concord::WorkSeen(channel_);
    ready.clear();
    concord::CollectReady(channel_, &ready);
    for (int slot : ready) Take(slot);
    if (Send() || !ready.empty()) continue;
    if (outbox_.Holds()) {
      concord::AwaitUrgentWork(channel_, seen, kPumpHoldMs);
    } else {
      const bool came = concord::AwaitWork(channel_, seen, spin_us, kPumpSleepMs);
      spin_us = came ? kPumpSpinUs : std::max(kPumpSpinMinUs, spin_us / 2);
    }
  }
}

void CcGateway::Take(int slot) {
  concord::Piece piece;
  if (!concord::PeekPiece(channel_, slot, &piece)) return;
  if (piece.kind == CC_REQ_READ_LSN || piece.kind == CC_REQ_STATUS) {
    if (!concord::ReleasePiece(channel_, slot, piece)) return;
    const std::lock_guard lock(mutex_);
    (piece.kind == CC_REQ_STATUS ? status_waiters_ : read_lsn_waiters_).push_back({slot, piece.sequence});
    changed_.notify_all();
    return;
  }
  const size_t limit = concord::kMaxRecordBytes + concord::kMaxReadsBytes;
  if (piece.total > limit) {
    CcAnswer answer = {};
    answer.outcome = CC_OUT_INVALID;
    snprintf(answer.message, sizeof answer.message, "a request of %llu bytes is over the limit of %zu",
             static_cast<unsigned long long>(piece.total), limit);
    Reply(slot, piece.sequence, answer);
    return;
  }
  OutRequestPtr& partial = partial_[static_cast<size_t>(slot)];
  if (piece.first()) {
    partial = std::make_shared<OutRequest>();
    partial->slot = slot;
    partial->sequence = piece.sequence;
    partial->kind = piece.kind;
    partial->payload().reserve(piece.total);
  }
  if (partial == nullptr || partial->sequence != piece.sequence) return;  // its beginning was given up as we looked
  partial->payload().append(piece.bytes);
  if (!concord::ReleasePiece(channel_, slot, piece)) {
    partial.reset();
    return;
  }
  if (piece.last()) {
    cc_pause(CC_PAUSE_GATEWAY_TAKEN);
    outbox_.Add(std::move(partial));
  } else {
    wake_(slot);
  }
}

// True if anything was sent.
bool CcGateway::Send() {
  std::shared_ptr<Session> session;
  {
    const std::lock_guard lock(mutex_);
    session = session_;
  }
  if (session == nullptr) return false;
  const std::lock_guard lock(session->write_mutex);
  if (session->broken) return false;
  concord::Batch batch;
  outbox_.Fill(&batch, NowUs());
  uint32_t abandons = 0;
  concord::AbandonedToken token;
  while (abandons < kAbandonsPerMessage && channel_.abandons.Peek(abandons, &token)) {
    batch.message().add_abandons()->set_token(token.bytes, sizeof token.bytes);
    abandons++;
  }
  if (batch.size() == 0 && abandons == 0) return false;
  cc_pause(CC_PAUSE_GATEWAY_BEFORE_SEND);
  if (!session->stream->Write(batch.message())) {
    session->broken = true;  // the session thread sees the end too; all is sent again in the next
    return false;
  }
  cc_pause(CC_PAUSE_GATEWAY_SENT);
  channel_.abandons.Pop(abandons);
  channel_.batches.fetch_add(1, std::memory_order_relaxed);
  if (batch.size() > 0) batch_requests_.Observe(batch.size());
  channel_.bytes.fetch_add(batch.bytes(), std::memory_order_relaxed);
  channel_.resent.fetch_add(batch.resent(), std::memory_order_relaxed);
  return true;
}

// ---- session ----

// Said once for each reason.
bool CcGateway::IsTrusted() {
  std::string reason = leader().calls.Distrust();
  if (!reason.empty() && reason != leader().distrust)
    log_.Add(CC_LOG_WARNING, "does not connect to the sidecar at \"" + leader().address + "\": " + reason);
  leader().distrust = std::move(reason);
  return leader().distrust.empty();
}

// The channel being up is not enough: a leader must vouch for itself.
bool CcGateway::IsLeaderThere(proto::ReadLsnReply* reply) {
  const auto deadline = std::chrono::system_clock::now() + std::chrono::milliseconds(kConnectMs);
  if (!leader().channel->WaitForConnected(deadline)) return false;
  // One of several may be a stopped process, while another leads.
  return AskReadLsn(&leader(), adjudicators_.size() > 1 ? kAskMs : kCallTimeoutMs, reply);
}

bool CcGateway::AskReadLsn(Adjudicator* adjudicator, int timeout_ms, proto::ReadLsnReply* reply) {
  read_lsn_calls_.fetch_add(1, std::memory_order_relaxed);
  return adjudicator->calls
      .Run(timeout_ms,
           [&](grpc::ClientContext* context) {
             return adjudicator->stub->ReadLsn(context, proto::ReadLsnRequest(), reply);
           })
      .ok();
}

bool CcGateway::IsOurCluster() {
  if (meet_ == nullptr) return leader().met = true;
  const auto ask = [](const std::shared_ptr<grpc::Channel>& channel, concord::Calls* calls, proto::Info* info) {
    return calls->Run(kCallTimeoutMs, [&](grpc::ClientContext* context) {
      return proto::Sidecar::NewStub(channel)->GetInfo(context, proto::InfoRequest(), info);
    });
  };
  proto::Info info;
  if (!ask(leader().channel, &leader().calls, &info).ok()) return false;
  std::string foreign = meet_(info.cluster_id().c_str()) ? "" : leader().address;
  // Commits do not wait for a storage replica that is away. But the rows of another cluster's are not for reading.
  // Of several, one that is not ours is not read, which ReplicaLinks sees to.
  if (foreign.empty() && !shares_address_ && replicas_->size() == 1 &&
      ask(replicas_->channel(0), &replicas_->calls(0), &info).ok() && !meet_(info.cluster_id().c_str()))
    foreign = replicas_->calls(0).address();
  if (!foreign.empty() && !foreign_)
    log_.Add(CC_LOG_WARNING, "the sidecar at \"" + foreign + "\" serves cluster " + info.cluster_id() +
                                 ", which is not this server's; it is not used");
  foreign_ = !foreign.empty();
  leader().met = !foreign_;
  if (foreign_) return false;
  const std::lock_guard lock(mutex_);
  cluster_ = info.cluster_id();
  return true;
}

void CcGateway::KeepSession() {
  int pause_ms = kReconnectPauseMs;
  while (!stopping_) {
    proto::ReadLsnReply newest;
    if (IsTrusted() && IsLeaderThere(&newest) && IsOurCluster()) {
      known_committed_ = newest.committed_lsn();
      epoch_ = newest.epoch();
      if (RunSession()) pause_ms = kReconnectPauseMs;
    }
    leader_ = (leader_ + 1) % adjudicators_.size();
    if (!Pause(pause_ms)) return;
    // Of several, one is about to lead: who takes over needs no longer than a second.
    if (adjudicators_.size() == 1) pause_ms = std::min(pause_ms * 2, kReconnectPauseMaxMs);
  }
}

bool CcGateway::RunSession() {
  const auto session = std::make_shared<Session>();
  session->stream = leader().stub->Session(&session->context);
  page_refused_ = false;
  OfferPage();
  outbox_.SendAllAgain();
  {
    const std::lock_guard lock(mutex_);
    if (stop_) session->context.TryCancel();
    session_ = session;
  }
  concord::SetConnected(channel_, true);
  concord::BumpWork(channel_);

  // Requests do not wait for this. A leader that is older than the metadata lets in with its first reply.
  bool admitted = false;
  const auto admit = [&] {
    admitted = true;
    session_troubles_.clear();
    channel_.sessions.fetch_add(1, std::memory_order_relaxed);
    if (ever_connected_) channel_.reconnects.fetch_add(1, std::memory_order_relaxed);
    ever_connected_ = true;
    log_.Add(CC_LOG_INFO, "connected to the adjudicator at \"" + leader().address + "\"");
  };
  session->stream->WaitForInitialMetadata();
  if (session->context.GetServerInitialMetadata().contains(concord::kSessionAdmitted)) admit();

  proto::SessionReply reply;
  while (session->stream->Read(&reply)) {
    if (!admitted) admit();
    for (const proto::Verdict& verdict : reply.verdicts()) OnVerdict(verdict);
    if (outbox_.NeedsFill(concord::CountReady(channel_))) concord::BumpWork(channel_);
  }

  concord::SetConnected(channel_, false);
  if (admitted && !stopping_) sessions_lost_.fetch_add(1, std::memory_order_relaxed);
  {
    const std::lock_guard lock(mutex_);
    session_ = nullptr;
  }
  std::unique_lock write_lock(session->write_mutex, std::try_to_lock);
  if (!write_lock.owns_lock()) {
    session->context.TryCancel();  // ends the write that is under way
    write_lock.lock();
  }
  session->broken = true;
  const grpc::Status status = session->stream->Finish();
  write_lock.unlock();
  outbox_.SendAllAgain();  // nothing is under way any more for which the pump would hold others back
  if (admitted && !stopping_)
    log_.Add(CC_LOG_WARNING, "lost the session with the adjudicator at \"" + leader().address +
                                 "\": " + ReasonOf(status) + "; requests wait until it is back");
  else if (!stopping_ && IsNew(ReasonOf(status), &session_troubles_))
    log_.Add(CC_LOG_WARNING, "got no session with the adjudicator at \"" + leader().address +
                                 "\": " + ReasonOf(status) + "; requests wait until there is one");
  return admitted;
}

void CcGateway::OnVerdict(const proto::Verdict& verdict) {
  const OutRequestPtr request = outbox_.Settle(verdict.request_id());
  if (request == nullptr) return;
  CountVerdict(*request, verdict);
  if (request->slot == outbox_.own_slot()) {
    OnDropVerdict(request, verdict);
    return;
  }
  if (verdict.outcome() == proto::IN_DOUBT || (verdict.outcome() == proto::UNAVAILABLE && request->sends > 1)) {
    // It may be in the journal. "Nothing was decided" speaks for this sending only, not for an earlier one. Ask until
    // it is settled.
    outbox_.Retry(request, NowUs() + kResendPauseMs * 1000);
    return;
  }
  if (verdict.outcome() == proto::CONFLICT || verdict.outcome() == proto::READ_CONFLICT)
    channel_.conflicts.fetch_add(1, std::memory_order_relaxed);
  if (verdict.outcome() == proto::COMMITTED)
    (request->kind == CC_REQ_CHUNK ? channel_.chunks : channel_.commits).fetch_add(1, std::memory_order_relaxed);
  CcAnswer answer = {};
  answer.outcome = static_cast<CcOutcome>(verdict.outcome());
  answer.lsn = verdict.lsn();
  answer.conflict_hash = verdict.conflict_hash();
  snprintf(answer.message, sizeof answer.message, "%s", verdict.message().c_str());
  cc_pause(CC_PAUSE_GATEWAY_VERDICT);
  Reply(request->slot, request->sequence, answer);
}

void CcGateway::CountVerdict(const OutRequest& request, const proto::Verdict& verdict) {
  const auto outcome = static_cast<size_t>(verdict.outcome());
  if (outcome < kOutcomes) verdicts_[outcome].fetch_add(1, std::memory_order_relaxed);
  if (request.sends == 1)
    round_trip_us_.Observe(static_cast<uint64_t>(std::max<int64_t>(NowUs() - request.sent_us, 0)));
}

void CcGateway::Reply(int slot, uint64_t sequence, const CcAnswer& answer, std::string_view text) {
  bool answered;
  {
    const std::lock_guard lock(answer_mutex_);
    answered = concord::Answer(channel_, slot, sequence, answer, text);
  }
  if (!answered) return;
  cc_pause(CC_PAUSE_GATEWAY_ANSWERED);
  wake_(slot);
}

// ---- read LSN ----

void CcGateway::AnswerReadLsn() {
  std::vector<Waiter> waiters;
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      if (waiters.empty()) changed_.wait(lock, [this] { return stop_ || !read_lsn_waiters_.empty(); });
      if (stop_) return;
      waiters.insert(waiters.end(), read_lsn_waiters_.begin(), read_lsn_waiters_.end());
      read_lsn_waiters_.clear();
    }
    proto::ReadLsnReply reply;
    Adjudicator& from = leader();
    if (from.met && AskReadLsn(&from, adjudicators_.size() > 1 ? kAskMs : kCallTimeoutMs, &reply)) {
      CcAnswer answer = {};
      answer.outcome = CC_COMMITTED;
      answer.lsn = reply.committed_lsn();
      for (const Waiter& waiter : waiters) Reply(waiter.slot, waiter.sequence, answer);
      waiters.clear();
      continue;
    }
    std::erase_if(waiters, [this](const Waiter& w) { return !concord::IsWaited(channel_, w.slot, w.sequence); });
    if (!Pause(kReconnectPauseMs)) return;
  }
}

// ---- keeper ----

void CcGateway::Keep() {
  // Questions about the status must not keep the regular work from being done: leases hang on it.
  auto due = std::chrono::steady_clock::now();
  for (;;) {
    std::vector<Waiter> waiters;
    {
      std::unique_lock lock(mutex_);
      changed_.wait_until(lock, due, [this] { return stop_ || !status_waiters_.empty(); });
      if (stop_) return;
      waiters.swap(status_waiters_);
    }
    if (!waiters.empty()) {
      CcAnswer answer = {};
      answer.outcome = CC_COMMITTED;
      const std::string text = StatusText();
      for (const Waiter& waiter : waiters) Reply(waiter.slot, waiter.sequence, answer, text);
    }
    const auto now = std::chrono::steady_clock::now();
    if (now < due) continue;
    due = now + std::chrono::milliseconds(report_ms_);
    if (!cc_channel_connected(&channel_)) continue;
    LookForNewLeader();
    LearnCommitted();
    SendDrops();
    // A new epoch's leader does not know the page; nor does one that was restarted.
    if (page_ != nullptr && concord::ReadCommitted(*page_) == concord::kNoLsn && !page_refused_ &&
        NowUs() - page_offered_us_ > kOfferEveryMs * 1000)
      OfferPage();
  }
}

// Where nobody vouches for the page, whoever leads is asked.
void CcGateway::LearnCommitted() {
  concord::Lsn newest = page_ != nullptr ? concord::ReadCommitted(*page_) : concord::kNoLsn;
  proto::ReadLsnReply reply;
  Adjudicator& from = leader();
  if (newest == concord::kNoLsn && from.met && AskReadLsn(&from, kAskMs, &reply)) newest = reply.committed_lsn();
  uint64_t known = known_committed_;
  while (known < newest && !known_committed_.compare_exchange_weak(known, newest)) {
  }
}

concord::Lsn CcGateway::LowestReadLsn() {
  // What is committed first: who registers too late for this report asks again after that (xact/snapshot.c), and so
  // reads at this LSN or above. Up to there nothing goes before the next report, however late it is.
  concord::Lsn newest = page_ != nullptr ? concord::ReadCommitted(*page_) : concord::kNoLsn;
  if (newest == concord::kNoLsn) newest = known_committed_;
  const uint64_t lowest = cc_channel_lowest_read_lsn(&channel_, max_age_ms_);
  return lowest == 0 || (newest != concord::kNoLsn && newest < lowest) ? newest : lowest;
}

// A session with one that does not know that it is none any more would last.
void CcGateway::LookForNewLeader() {
  const size_t present = leader_;
  for (size_t i = 0; i < adjudicators_.size(); i++) {
    if (i == present || !MayBeNewLeader(adjudicators_[i].get())) continue;
    const std::lock_guard lock(mutex_);
    if (session_ != nullptr) session_->context.TryCancel();
  }
}

bool CcGateway::MayBeNewLeader(Adjudicator* other) {
  if (!other->calls.Distrust().empty() || other->channel->GetState(/*try_to_connect=*/true) != GRPC_CHANNEL_READY)
    return false;
  proto::ReadLsnReply reply;
  if (!AskReadLsn(other, kConnectMs, &reply) || reply.epoch() <= epoch_) return false;
  if (meet_ == nullptr) return true;
  proto::Info info;
  const grpc::Status status = other->calls.Run(kConnectMs, [&](grpc::ClientContext* context) {
    return proto::Sidecar::NewStub(other->channel)->GetInfo(context, proto::InfoRequest(), &info);
  });
  const std::lock_guard lock(mutex_);
  return status.ok() && info.cluster_id() == cluster_;
}

void CcGateway::OfferPage() {
  if (page_ == nullptr) return;
  page_offered_us_ = NowUs();
  proto::OfferPageRequest request;
  request.set_path(page_path_);
  proto::OfferPageReply reply;
  Adjudicator& to = leader();
  const grpc::Status status = to.calls.Run(
      kCallTimeoutMs, [&](grpc::ClientContext* context) { return to.stub->OfferPage(context, request, &reply); });
  switch (status.error_code()) {
    case grpc::StatusCode::UNIMPLEMENTED:
    case grpc::StatusCode::NOT_FOUND:
    case grpc::StatusCode::INVALID_ARGUMENT:
      page_refused_ = true;
      log_.Add(CC_LOG_INFO,
               "each read asks the sidecar for the newest commit, which is slower, as it does not write this server's "
               "concord.page: " +
                   status.error_message());
      break;
    default: break;  // offered again while nobody vouches for the page
  }
}

void CcGateway::SendDrops() {
  if (drops_in_flight_.exchange(true)) return;
  std::string mutations;
  uint32_t drops = 0, mutation_count = 0;
  uint32_t storage_id;
  while (drops < kDropsPerCommit && channel_.drops.Peek(drops, &storage_id)) {
    mutation_count += concord::AppendStorageDrop(&mutations, storage_id);
    drops++;
  }
  concord::Token token;
  if (drops == 0 || getrandom(token.data(), token.size(), 0) != static_cast<ssize_t>(token.size())) {
    drops_in_flight_ = false;
    return;
  }
  auto request = std::make_shared<OutRequest>();
  request->slot = outbox_.own_slot();
  request->sequence = ++drop_sequence_;
  request->kind = CC_REQ_COMMIT;
  request->drops = drops;
  request->payload() = concord::EncodeWriteSet(token, known_committed_, 0, 0, {}, mutation_count, mutations);
  outbox_.Add(std::move(request));
  concord::BumpWork(channel_);
}

void CcGateway::OnDropVerdict(const OutRequestPtr& request, const proto::Verdict& verdict) {
  // Under this token that is the answer for good. Dropping once more does no harm: under another one, at the next tick.
  if (verdict.outcome() == proto::OUTCOME_UNKNOWN) {
    drops_in_flight_ = false;
    return;
  }
  if (verdict.outcome() != proto::COMMITTED && verdict.outcome() != proto::INVALID) {
    outbox_.Retry(request, NowUs() + kDropRetryMs * 1000);
    return;
  }
  if (verdict.outcome() == proto::INVALID)
    log_.Add(CC_LOG_WARNING,
             "the adjudicator refused to drop storage, which the sweeper will look for: " + verdict.message());
  channel_.drops.Pop(request->drops);
  drops_in_flight_ = false;
  SendDrops();  // there may be more of them than one commit carries
}

std::string CcGateway::StatusText() {
  std::string text = "gateway.connected=" + std::string(cc_channel_connected(&channel_) ? "1" : "0") + "\n";
  const auto ask = [&](concord::Calls* calls, std::string_view part, auto call, auto request, auto reply) {
    const grpc::Status status =
        calls->Run(kCallTimeoutMs, [&](grpc::ClientContext* context) { return call(context, request, &reply); });
    if (status.ok())
      concord::AppendStatus(&text, part, reply);
    else
      text.append(part).append(".error=").append(status.error_message()).append("\n");
  };
  Adjudicator& at = leader();
  const auto journal = proto::Journal::NewStub(at.channel);
  ask(
      &at.calls, "adjudicator", [&](auto... a) { return at.stub->GetStatus(a...); }, proto::AdjudicatorStatusRequest(),
      proto::AdjudicatorStatus());
  ask(
      &at.calls, "journal", [&](auto... a) { return journal->GetStatus(a...); }, proto::JournalStatusRequest(),
      proto::JournalStatus());
  const size_t shown = replicas_->shown();
  const auto storage = proto::Storage::NewStub(replicas_->channel(shown));
  ask(
      &replicas_->calls(shown), "storage", [&](auto... a) { return storage->GetStatus(a...); },
      proto::StorageStatusRequest(), proto::StorageStatus());
  return text;
}

// ---- the C face ----

CcGateway* cc_gateway_start(CcChannel* channel, const CcGatewayOptions* options) {
  try {
    concord::InitRpc();
    return new CcGateway(*channel, *options);
  } catch (...) {
    return nullptr;
  }
}

void cc_gateway_drain_log(CcGateway* gateway) { gateway->DrainLog(); }

void cc_gateway_stop(CcGateway* gateway) { delete gateway; }
