// The Adjudicator service: leads an epoch of the journal, decides what gateways send, answers when it is durable
// (docs/adjudicator.md).
//
// Where several processes may lead, those that do not stand by (standby.h): they let nobody in, follow the journal, and
// take over when its nodes say that nobody can lead.
//
// Threads: one of gRPC for each Session (reads requests, decides, writes to the journal), one that leads (takes over,
// releases what the local replica did not apply in time, takes over again), the journal writer's readers and the local
// replica's thread (settle what is durable and applied), and a watchdog. All of them but the watchdog write verdicts,
// so a client that does not read may hold them up; the watchdog renews the leases of the LSN pages and cancels that
// client. All state is under one mutex; no thread writes to a stream while it holds it. Lock order: this mutex, then
// those of SessionStream, JournalWriter, LsnPages.
//
// Invariants:
//  - A COMMITTED verdict leaves only after the journal has the record on a write quorum and the LSN pages show its LSN.
//  - Verdicts of commits leave in LSN order on each stream.
//  - Where the journal is not this process's own, the word that it gives for the newest committed LSN, by page and by
//    ReadLsn, is good for as long as a write quorum has promised to let nobody else commit (journal/writer_lease.h).
//  - When an append fails, what is in flight and not durable gets IN_DOUBT: the journal alone knows, and the next term,
//    this process's own or another's, reads it there by the token.
//  - Where the journal is this process's own, nobody else can commit. So a full disk and a failed sync end the commits,
//  and
//    not the word that this process gives for the newest committed LSN: reads go on (Vouching).
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "proto/adjudicator.grpc.pb.h"
#include "sidecar/adjudicator/adjudicator.h"
#include "sidecar/adjudicator/journal_rejoin.h"
#include "sidecar/adjudicator/journal_takeover.h"
#include "sidecar/adjudicator/journal_writer.h"
#include "sidecar/adjudicator/lsn_pages.h"
#include "sidecar/adjudicator/session_stream.h"
#include "sidecar/adjudicator/standby.h"
#include "sidecar/metastore/metastore.h"
#include "sidecar/metrics/histogram.h"
#include "sidecar/rpc/refusals.h"

namespace concord {

class MetricSet;

class AdjudicatorService final : public proto::Adjudicator::Service {
 public:
  struct Options {
    AdjudicatorLimits limits;
    JournalTakeover::Options takeover;
    size_t max_in_flight_bytes = 32u << 20;  // decided, not yet durable; above it sessions are not read
    size_t max_sessions = 256;               // of gateways at a time; each has a thread and requests unanswered
    std::string page_registry;               // see LsnPages
    Leader self;                             // the id and address that this process leads under
    // This process cannot lead, as its own journal or metastore cannot be written. May be empty: then the service goes
    // on trying. Not called for a journal that fails later: reads go on then.
    std::function<void(const Status&)> on_journal_broken;
    int backoff_ms_min = 20;  // between attempts to take over
    int backoff_ms_max = 1000;
    // Decided, not yet applied by the local replica, which keeps room in hand for it (StorageRoom), where that is
    // scarce; above it sessions are not read for a moment, then refused.
    size_t max_unapplied_bytes = 8u << 20;
    int unapplied_wait_ms = 1000;
    int full_tick_ms = 60'000;  // while the replica is full, LSNs go on so often: what nobody commits becomes old
    // Other processes may lead, too: the metastore and the journal are shared with them.
    bool standby = false;
    // The journal's members as of now; errors as Metastore::ReadMembership. Empty: those given to Start stay.
    std::function<Status(JournalEnsemble*)> members;
    // How one that is to become a member is reached. Empty: none can.
    std::function<JournalPeer(const Member&)> connect;
    int members_poll_ms = 2000;  // how often a standby looks at them
    int64_t lease_ms = 500;      // of a journal that is not this process's own
    int apply_grace_ms = 20;     // how long a durable record waits for the local replica; up to twice that
  };

  AdjudicatorService(const Options& options, Metastore* metastore);
  ~AdjudicatorService() override;

  // Begins to lead. The service may be registered with a server before, and answers UNAVAILABLE until it leads.
  Status Start(const JournalEnsemble& ensemble);
  // Lets what is in flight become durable for a moment, steps down, ends the sessions. Idempotent.
  void Stop();
  // For tests and start-up: true once this process leads.
  bool WaitUntilLeading(int timeout_ms);

  // A storage replica in this process has applied the journal up to `lsn`, and told its room as of that. Once there is
  // one, verdicts and the LSN pages wait for it (Options::apply_grace_ms): a reader on this machine then finds its read
  // LSN applied, and does not wait in many backends for what one thread is about to do.
  void OnLocalApplied(Lsn lsn);
  // That replica's room: why it can take no more (a literal), or null. `stuck`: it cannot even apply what is durable;
  // then nothing more is released, so that readers find what they are told to read. `scarce`: what is decided must
  // wait for its looks.
  void OnLocalRoom(const char* full_reason, bool stuck, bool scarce);

  // Adds this role's metrics (adjudicator_metrics.cpp).
  void Collect(MetricSet* to);

  grpc::Status Session(grpc::ServerContext* context,
                       grpc::ServerReaderWriter<proto::SessionReply, proto::SessionRequest>* stream) override {
    return ServeSession(context, stream);
  }
  // The same over a stream of any kind (simulation/).
  grpc::Status ServeSession(grpc::ServerContext* context, SessionStream::Stream* stream);
  grpc::Status ReadLsn(grpc::ServerContext* context, const proto::ReadLsnRequest* request,
                       proto::ReadLsnReply* reply) override;
  grpc::Status OfferPage(grpc::ServerContext* context, const proto::OfferPageRequest* request,
                         proto::OfferPageReply* reply) override;
  grpc::Status HandOver(grpc::ServerContext* context, const proto::HandOverRequest* request,
                        proto::HandOverReply* reply) override;
  grpc::Status ChangeJournal(grpc::ServerContext* context, const proto::ChangeJournalRequest* request,
                             proto::ChangeJournalReply* reply) override;
  grpc::Status GetStatus(grpc::ServerContext* context, const proto::AdjudicatorStatusRequest* request,
                         proto::AdjudicatorStatus* reply) override;

 private:
  using SessionPtr = std::shared_ptr<SessionStream>;

  enum class State : uint8_t {
    kDown,      // no journal
    kStarting,  // the first record of the epoch is on its way
    kLeading,
  };
  struct Waiter {
    SessionPtr session;  // null: nobody waits (abandons)
    uint64_t request_id = 0;
  };
  struct InFlight {
    Lsn lsn;
    size_t bytes;
    Waiter waiter;
    Token token;  // of a commit; zero for other records
    uint64_t decided_us = 0;
  };
  struct ChunkInFlight {
    Lsn lsn;
    Waiter waiter;
    bool staged;
  };

  // In flight when the journal failed: its process will not write again, so there is nobody to ask before a restart.
  static constexpr Decision kLost{
      .code = Code::kOutcomeUnknown,
      .reason = "the journal failed while it wrote this commit; after a restart it is known"};

  // Requests. Each returns with the verdict queued or the record in flight.
  void HandleCommit(const SessionPtr& session, const proto::CommitRequest& request);
  void HandleChunk(const SessionPtr& session, const proto::ChunkRequest& request);
  void HandleAbandon(const SessionPtr& session, const proto::AbandonRequest& request);
  // Waits until the journal can take more, and for a moment until the replica can; false if this process does not lead.
  // The lock is held at entry and exit.
  bool WaitForJournal(std::unique_lock<std::mutex>* lock);
  bool JournalCrowded() const { return in_flight_bytes_ >= options_.max_in_flight_bytes; }
  bool ReplicaCrowded() const { return replica_scarce_ && unapplied_bytes_ >= options_.max_unapplied_bytes; }
  // Whether the local replica has looked for room up to that record, or has plenty.
  bool HasRoomFor(Lsn lsn) const { return !local_replica_ || !replica_scarce_ || lsn <= local_applied_; }
  // What to answer when this process does not lead. Needs mutex_, as all that follow.
  Decision WhileDown(const WriteSetView& write_set) const;
  Decision WhileDown() const;
  // Null, or why a record of that size cannot be taken now. What is refused here was not decided, so nothing is undone.
  const char* NoRoomFor(size_t bytes, bool frees_space) const;
  bool Vouching() const;
  // Whether what is released may be told as the newest commit: nobody else can have committed anything yet.
  bool MayVouch() const;
  // How long that stays so. LsnPages::kForever, where the journal is this process's own.
  int64_t VouchUntilUs() const;
  void Send(RecordType type, std::string_view body, Lsn prev, Lsn lsn, const Waiter& waiter, const Token& token);
  static void Answer(const Waiter& waiter, const Decision& decision);
  void Count(const Decision& decision);

  // Leadership.
  void LeadLoop();
  void WatchLoop();
  // Waits until nobody else leads. False when stopping.
  bool AwaitTurn();
  Status ReadMembers();
  Status TakeOver();
  Status AcquireEpoch(uint64_t* epoch);
  void StepDown(const Status& reason);
  std::vector<SessionPtr> SettleParked(bool leading);
  void OnCommitted(uint64_t epoch, Lsn lsn);
  // Observes what has become durable, in the order of LSNs.
  void TimeDurable();
  // What may be told now, of what is durable.
  Lsn Releasable() const;
  // Answers the chunks that are durable and, if staged, known to the local replica; adds their sessions to those to be
  // flushed.
  void AnswerChunks(std::vector<SessionPtr>* touched);
  // Publishes and answers up to `lsn`. Returns the sessions to be flushed once the lock is given back.
  std::vector<SessionPtr> Release(Lsn lsn);
  // Releases what the local replica did not apply in time.
  std::vector<SessionPtr> ReleaseOverdue();
  // A record that decides nothing, so that time goes on in the journal: staged chunks grow old by it. True if there is
  // one to be written.
  bool TickWhileFull();
  void OnFailed(uint64_t epoch, const Status& status);

  const Options options_;
  Metastore* const metastore_;
  LsnPages pages_;
  RefusalLog refusals_{"adjudicator"};
  Histogram durable_us_{Histogram::kMicroseconds};
  Cancellation cancellation_;
  std::thread leader_;
  std::thread watchdog_;

  std::mutex mutex_;                  // guards everything below
  std::condition_variable changed_;   // state, stop
  std::condition_variable progress_;  // something was released; state, stop. Apart, as it comes with every commit
  std::condition_variable watch_;     // the watchdog's end
  JournalEnsemble ensemble_;
  std::vector<size_t> counted_;    // its nodes' indexes in the writer
  std::vector<Member> written_;    // the writer's nodes
  bool changing_journal_ = false;  // ChangeJournal uses writer_ and rejoin_
  State state_ = State::kDown;
  bool stopping_ = false;
  bool stopped_ = false;
  bool started_ = false;
  std::shared_ptr<Standby> standby_;  // while another process leads, and then of the takeover
  bool handing_over_ = false;         // takes nothing more
  bool vouches_ = true;               // false: it has given that up while it still leads
  uint64_t led_epoch_ = 0;            // the newest that this process has led, or begun to
  uint64_t epoch_ = 0;
  uint64_t epoch_above_ = 0;    // what a journal node is sealed at
  Lsn committed_ = kNoLsn;      // released: published, verdicts up to it are queued
  Lsn durable_ = kNoLsn;        // on the write quorum
  Lsn overdue_ = kNoLsn;        // durable at the last tick of the leading thread
  bool local_replica_ = false;  // there is a replica in this process, and
  Lsn local_applied_ = kNoLsn;  // it has applied this
  Code trouble_ = Code::kOk;    // kNoSpace, kIoError (of our own journal): why the last term ended
  const char* replica_full_ = nullptr;
  bool replica_stuck_ = false;
  bool replica_scarce_ = false;
  bool replica_late_ = false;          // it was waited for in vain, and has applied nothing since
  int64_t full_tick_us_ = 0;           // of the last record while it was full
  std::unique_ptr<Adjudicator> core_;  // while starting or leading; in kDown only with trouble_
  std::shared_ptr<JournalWriter> writer_;
  std::unique_ptr<JournalRejoin> rejoin_;  // of the writer
  Status down_reason_{Code::kUnavailable, "not started"};
  std::deque<InFlight> in_flight_;  // in LSN order
  size_t in_flight_bytes_ = 0;
  size_t timed_ = 0;                              // of in_flight_, from its front: what was observed in durable_us_
  std::deque<ChunkInFlight> chunks_;              // in LSN order
  std::deque<std::pair<Lsn, size_t>> unapplied_;  // records of this term that the local replica has not applied: bytes
  size_t unapplied_bytes_ = 0;
  std::multimap<Lsn, Waiter> attached_;  // resends of commits in flight
  std::deque<InFlight> parked_;          // in flight when the disk was found full; settled at the next takeover
  std::set<SessionPtr> sessions_;
  uint64_t commits_ = 0, conflicts_ = 0, too_old_ = 0;
  uint64_t terms_ = 0;
};

}  // namespace concord
