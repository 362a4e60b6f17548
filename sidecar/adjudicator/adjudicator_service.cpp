#include "sidecar/adjudicator/adjudicator_service.h"

#include <algorithm>
#include <chrono>

#include "core/key.h"
#include "core/pause_points.h"
#include "core/session.h"
#include "sidecar/rpc/clock.h"
#include "sidecar/rpc/status.h"
#include "sidecar/rpc/stream_read.h"

namespace concord {
namespace {

proto::Outcome OutcomeOf(Code code) {
  switch (code) {
    case Code::kOk: return proto::COMMITTED;
    case Code::kConflict: return proto::CONFLICT;
    case Code::kReadConflict: return proto::READ_CONFLICT;
    case Code::kTooOld: return proto::TOO_OLD;
    case Code::kInvalid: return proto::INVALID;
    case Code::kOutcomeUnknown: return proto::OUTCOME_UNKNOWN;
    case Code::kNoSpace: return proto::NO_SPACE;
    case Code::kInDoubt: return proto::IN_DOUBT;
    case Code::kIoError: return proto::JOURNAL_FAILED;
    default: return proto::UNAVAILABLE;
  }
}

constexpr Decision kUnavailable{.code = Code::kUnavailable, .reason = "the adjudicator does not lead at the moment"};
constexpr Decision kNotStaged{.code = Code::kInDoubt, .reason = "the storage replica has not got all chunks yet"};
constexpr char kJournalFull[] = "the journal's disk is full";
constexpr char kReplicaBehind[] = "the storage replica's disk is almost full, and it has not caught up";
constexpr size_t kFrameCost = 128;  // of a record in the journal, besides its body, at most

// Nothing but drops of storage, and deletions of what the system keeps about it: it makes room where there is none.
bool OnlyDrops(const WriteSetView& write_set) {
  if (write_set.chunk_count() != 0) return false;
  Mutation mutation;
  for (MutationReader reader(write_set.mutations()); !reader.AtEnd();) {
    if (!reader.Next(&mutation).ok()) return false;
    const bool about = mutation.op == MutationOp::kDelete && KeySpace(mutation.key) == Space::kSystem;
    if (mutation.op != MutationOp::kDropStorage && !about) return false;
  }
  return true;
}

}  // namespace

AdjudicatorService::AdjudicatorService(const Options& options, Metastore* metastore)
    : options_(options), metastore_(metastore), pages_(options.page_registry) {}

AdjudicatorService::~AdjudicatorService() { Stop(); }

grpc::Status AdjudicatorService::ServeSession(grpc::ServerContext* context, SessionStream::Stream* stream) {
  const auto session = std::make_shared<SessionStream>(context, stream);
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return ToGrpc({Code::kShutdown, "the adjudicator is ending"});
    if (options_.standby && state_ != State::kLeading) return ToGrpc({Code::kUnavailable, "another adjudicator leads"});
    if (sessions_.size() >= options_.max_sessions) {
      const Status status(Code::kTooLarge,
                          "the adjudicator has its " + std::to_string(options_.max_sessions) + " sessions already");
      refusals_.Note("Session", status);
      return {grpc::StatusCode::RESOURCE_EXHAUSTED, status.message()};
    }
    sessions_.insert(session);
  }
  context->AddInitialMetadata(kSessionAdmitted, "1");
  stream->SendInitialMetadata();  // before the first verdict, which may be long in coming
  proto::SessionRequest request;
  bool unparsable;
  while (ReadFrom(stream, &request, &unparsable)) {
    // Requests that come while others are in flight come from many backends, and the next is about to.
    bool busy = request.commits_size() + request.chunks_size() > 1;
    if (!busy) {
      const std::lock_guard lock(mutex_);
      busy = !in_flight_.empty();
    }
    for (const auto& chunk : request.chunks()) HandleChunk(session, chunk);
    for (const auto& commit : request.commits()) HandleCommit(session, commit);
    for (const auto& abandon : request.abandons()) HandleAbandon(session, abandon);
    std::shared_ptr<JournalWriter> writer;
    {
      const std::lock_guard lock(mutex_);
      writer = writer_;
    }
    // Refusals first: they are ready, and a write to the journal may take a while.
    session->Flush();
    if (writer != nullptr) writer->Flush(/*more_to_come=*/busy);
  }
  session->Close();
  {
    const std::lock_guard lock(mutex_);
    sessions_.erase(session);
  }
  if (!unparsable) return grpc::Status::OK;
  const Status status(Code::kInvalid, "a message that cannot be parsed");
  refusals_.Note("Session", status);
  return ToGrpc(status);
}

void AdjudicatorService::HandleCommit(const SessionPtr& session, const proto::CommitRequest& request) {
  if (!session->Admit()) return;
  const Waiter waiter{session, request.request_id()};
  std::string_view bytes = request.write_set();
  ReadsView reads;
  WriteSetView write_set;
  Status status = ReadsView::Cut(&bytes, &reads);
  if (status.ok()) status = WriteSetView::Parse(bytes, &write_set);
  if (status.ok()) status = CheckWriteSet(write_set);
  if (status.ok() && bytes.size() >= kMaxRecordBytes)
    status = {Code::kTooLarge, "write set over the limit of a record"};
  refusals_.Note("Session.commit", status);
  if (!status.ok()) return session->Queue(waiter.request_id, proto::INVALID, 0, 0, status.message().c_str());

  cc_pause(CC_PAUSE_ADJUDICATOR_RECEIVED);
  std::unique_lock lock(mutex_);
  if (!WaitForJournal(&lock)) return Answer(waiter, WhileDown(write_set));
  const char* full = NoRoomFor(bytes.size(), replica_full_ != nullptr && OnlyDrops(write_set));
  if (full != nullptr && core_->NeverCommitted(write_set))
    return Answer(waiter, {.code = Code::kNoSpace, .reason = full});
  // Chunks are answered once the replica has looked for room, so this is for those that an earlier leader answered.
  const ChunkTable& chunks = core_->chunks();
  if (!HasRoomFor(chunks.Newest(write_set.token())) &&
      chunks.Probe(write_set.token(), write_set.chunk_count(), CutBefore(write_set.mutations())) ==
          ChunkTable::Result::kComplete)
    return Answer(waiter, kNotStaged);
  // There may be another leader, of whose commits a page of this machine tells.
  if (core_->SawMore(write_set, reads) && !MayVouch()) return Answer(waiter, kUnavailable);
  const Lsn prev = core_->last_lsn();
  const auto [decision, fresh] = core_->Commit(write_set, NowUnixUs(), reads);
  if (fresh) Count(decision);
  if (fresh && decision.code == Code::kInvalid) refusals_.Note("Session.commit", {decision.code, decision.reason});
  if (fresh && decision.code == Code::kOk) {
    cc_pause(CC_PAUSE_ADJUDICATOR_DECIDED);
    Send(RecordType::kCommit, bytes, prev, decision.lsn, waiter, write_set.token());
  } else if (core_->Pending(decision)) {
    attached_.emplace(decision.lsn, waiter);
  } else {
    Answer(waiter, decision);
  }
}

void AdjudicatorService::HandleChunk(const SessionPtr& session, const proto::ChunkRequest& request) {
  if (!session->Admit()) return;
  const Waiter waiter{session, request.request_id()};
  ChunkView chunk;
  Status status = ChunkView::Parse(request.chunk(), &chunk);
  if (status.ok()) status = CheckChunk(chunk);
  if (status.ok() && request.chunk().size() >= kMaxRecordBytes) status = {Code::kTooLarge, "chunk over the limit"};
  refusals_.Note("Session.chunk", status);
  if (!status.ok()) return session->Queue(waiter.request_id, proto::INVALID, 0, 0, status.message().c_str());

  cc_pause(CC_PAUSE_ADJUDICATOR_CHUNK);
  std::unique_lock lock(mutex_);
  if (!WaitForJournal(&lock)) return Answer(waiter, WhileDown());
  if (const char* full = NoRoomFor(request.chunk().size(), false); full != nullptr)
    return Answer(waiter, {.code = Code::kNoSpace, .reason = full});
  const Lsn prev = core_->last_lsn();
  const auto [decision, fresh] = core_->Chunk(chunk, NowUnixUs());
  if (!fresh) return Answer(waiter, decision);
  Send(RecordType::kChunk, request.chunk(), prev, decision.lsn, {}, {});
  chunks_.push_back({decision.lsn, waiter, (chunk.flags & kChunkImmediate) == 0});
}

void AdjudicatorService::HandleAbandon(const SessionPtr&, const proto::AbandonRequest& request) {
  Token token;
  if (request.token().size() != token.size())
    return refusals_.Note("Session.abandon",
                          {Code::kInvalid, "a token of " + std::to_string(request.token().size()) + " bytes"});
  memcpy(token.data(), request.token().data(), token.size());
  std::unique_lock lock(mutex_);
  // Lost if nobody leads: it is no more than a hint that lets replicas forget sooner.
  if (!WaitForJournal(&lock) || NoRoomFor(request.token().size(), true) != nullptr) return;
  const Lsn prev = core_->last_lsn();
  const auto [decision, fresh] = core_->Abandon(token, NowUnixUs());
  if (fresh) Send(RecordType::kAbandon, request.token(), prev, decision.lsn, {}, {});
}

Decision AdjudicatorService::WhileDown() const {
  if (state_ != State::kDown || core_ == nullptr) return kUnavailable;
  if (trouble_ == Code::kNoSpace) return {.code = Code::kNoSpace, .reason = kJournalFull};
  return {.code = Code::kIoError, .reason = "the journal has stopped after a failed write or sync"};
}

Decision AdjudicatorService::WhileDown(const WriteSetView& write_set) const {
  const Decision decision = WhileDown();
  if (decision.code == Code::kUnavailable || core_->NeverCommitted(write_set)) return decision;
  const Decision* known = core_->tokens().Find(write_set.token());
  if (known != nullptr && !core_->Pending(*known)) return *known;
  // The next term will know. There is none in this process once the journal has failed.
  return trouble_ == Code::kNoSpace ? kUnavailable : kLost;
}

const char* AdjudicatorService::NoRoomFor(size_t bytes, bool frees_space) const {
  if (replica_full_ != nullptr && !frees_space) return replica_full_;
  if (ReplicaCrowded() && !frees_space) return kReplicaBehind;
  const auto* node = ensemble_.local_node;
  const size_t records = in_flight_.size() + 1;
  return node != nullptr && in_flight_bytes_ + bytes + records * kFrameCost > node->Room() ? kJournalFull : nullptr;
}

bool AdjudicatorService::WaitForJournal(std::unique_lock<std::mutex>* lock) {
  const auto replica_deadline =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(options_.unapplied_wait_ms);
  const auto can_take_more = [&] {
    return state_ != State::kLeading ||
           (!handing_over_ &&
            (replica_full_ != nullptr || (!JournalCrowded() && (!ReplicaCrowded() || replica_late_))));
  };
  while (!can_take_more()) {
    // Nothing becomes durable that nobody has written yet.
    const auto writer = writer_;
    lock->unlock();
    writer->Flush(/*more_to_come=*/false);
    lock->lock();
    if (JournalCrowded() || handing_over_) {
      progress_.wait(*lock, [&] { return (!JournalCrowded() && !handing_over_) || can_take_more(); });
    } else {
      replica_late_ = !progress_.wait_until(*lock, replica_deadline, can_take_more);
    }
  }
  return state_ == State::kLeading && !stopping_;
}

void AdjudicatorService::Send(RecordType type, std::string_view body, Lsn prev, Lsn lsn, const Waiter& waiter,
                              const Token& token) {
  const char head = static_cast<char>(type);
  const size_t size = kFrameHeaderSize + 1 + body.size();
  in_flight_.push_back({lsn, size, waiter, token, MonotonicUs()});
  in_flight_bytes_ += size;
  if (local_replica_) {
    unapplied_.emplace_back(lsn, size);
    unapplied_bytes_ += size;
  }
  writer_->Append(lsn, prev, {&head, 1}, body);
}

void AdjudicatorService::Answer(const Waiter& waiter, const Decision& decision) {
  if (waiter.session == nullptr) return;
  waiter.session->Queue(waiter.request_id, OutcomeOf(decision.code), decision.lsn, decision.conflict_hash,
                        decision.reason);
}

void AdjudicatorService::Count(const Decision& decision) {
  if (decision.code == Code::kConflict || decision.code == Code::kReadConflict) conflicts_++;
  if (decision.code == Code::kTooOld) too_old_++;
}

grpc::Status AdjudicatorService::ReadLsn(grpc::ServerContext*, const proto::ReadLsnRequest*,
                                         proto::ReadLsnReply* reply) {
  const std::lock_guard lock(mutex_);
  if (!MayVouch())
    return ToGrpc(
        state_ != State::kLeading
            ? down_reason_
            : Status(Code::kUnavailable, "too few journal nodes have confirmed lately that this is the leader"));
  reply->set_committed_lsn(committed_);
  reply->set_epoch(epoch_);
  return grpc::Status::OK;
}

grpc::Status AdjudicatorService::OfferPage(grpc::ServerContext*, const proto::OfferPageRequest* request,
                                           proto::OfferPageReply*) {
  const Status status = pages_.Offer(request->path());
  refusals_.Note("OfferPage", status);
  return ToGrpc(status);
}

grpc::Status AdjudicatorService::GetStatus(grpc::ServerContext*, const proto::AdjudicatorStatusRequest*,
                                           proto::AdjudicatorStatus* reply) {
  const std::lock_guard lock(mutex_);
  reply->set_epoch(epoch_);
  reply->set_leads(state_ == State::kLeading);
  reply->set_committed_lsn(committed_);
  reply->set_commits(commits_);
  reply->set_conflicts(conflicts_);
  reply->set_too_old(too_old_);
  if (writer_ != nullptr) {
    const auto nodes = writer_->Nodes();
    for (size_t i = 0; i < nodes.size(); i++) {
      if (nodes[i].retired) continue;
      auto* node = reply->add_journal();
      node->set_id(written_[i].id);
      node->set_address(written_[i].address);
      node->set_counted(nodes[i].counted);
      node->set_written(nodes[i].written);
      node->set_synced_lsn(nodes[i].synced);
      node->set_queued_bytes(nodes[i].queued_bytes);
      node->set_sync_us(static_cast<uint64_t>(nodes[i].sync_us));
    }
  }
  if (standby_ != nullptr) reply->set_followed_lsn(standby_->followed());
  if (core_ == nullptr) return grpc::Status::OK;
  reply->set_window_start_lsn(core_->window().start());
  reply->set_window_keys(core_->window().keys());
  reply->set_tokens(core_->tokens().tokens());
  reply->set_range_window_start_lsn(core_->ranges().start());
  reply->set_range_window_bytes(core_->ranges().bytes());
  return grpc::Status::OK;
}

}  // namespace concord
