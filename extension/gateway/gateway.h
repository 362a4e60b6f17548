// The gateway: carries the requests of all backends of one server to the sidecar (channel.h, "gateway side").
//
// Four threads of its own, all signals blocked in them:
//   pump      takes requests out of the slots and writes them to the session, as many in one message as there are
//   session   connects, reads verdicts, gives them to the slots and wakes their backends; reconnects
//   read LSN  one ReadLsn call answers all that waited for one when it began
//   keeper    offers the LSN page, sends drops, answers status requests
// and those of ReplicaLinks, which has to do with the storage replicas.
//
// There may be several adjudicators, of which one leads at a time. The session thread asks them in turn; the keeper
// asks the others from time to time, since a leader that has lost its epoch without noticing (a stopped process) ends
// no session.
//
// While the sidecar is away nothing is refused: requests wait, and their backends' own time-outs bound that. What was
// sent and not answered is sent again in the next session, with the same token.
//
// Locks: mutex_ guards the queues between the threads and the current session; Session::write_mutex serializes writes
// with the end of the stream. answer_mutex_ serializes answers (channel_layout.h). None is held while another is taken.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "bridge/channel_layout.h"
#include "core/lsn_page.h"
#include "gateway/calls.h"
#include "gateway/log_queue.h"
#include "gateway/outbox.h"
#include "gateway/replica_links.h"
#include "proto/adjudicator.grpc.pb.h"
#include "proto/journal.grpc.pb.h"
#include "proto/sidecar.grpc.pb.h"
#include "proto/storage.grpc.pb.h"
#include "sidecar/metrics/histogram.h"

namespace concord {
class MetricSet;
class MetricsServer;
}  // namespace concord

struct CcGateway {
 public:
  CcGateway(CcChannel& channel, const CcGatewayOptions& options);
  ~CcGateway();
  CcGateway(const CcGateway&) = delete;
  CcGateway& operator=(const CcGateway&) = delete;

  static constexpr size_t kOutcomes = 11;  // of proto::Outcome

  void DrainLog() { log_.Drain(log_function_); }
  // The worker's loop: serves metrics there; empty: nowhere (gateway_metrics.cpp).
  void ServeMetrics(const std::string& address);

 private:
  using Stream = grpc::ClientReaderWriter<concord::proto::SessionRequest, concord::proto::SessionReply>;
  struct Session {
    grpc::ClientContext context;
    std::unique_ptr<Stream> stream;
    std::mutex write_mutex;
    bool broken = false;  // under write_mutex
  };
  struct Adjudicator {
    explicit Adjudicator(const std::string& at);
    const std::string address;
    concord::Calls calls;
    const std::shared_ptr<grpc::Channel> channel;
    const std::unique_ptr<concord::proto::Adjudicator::Stub> stub;
    std::atomic<bool> met = false;  // it has been of our cluster when a session was begun with it
    std::string distrust;           // session only: why the address is not connected to
  };
  struct Waiter {
    int slot;
    uint64_t sequence;
  };

  // pump
  void Pump();
  void Take(int slot);
  bool Send();

  // session
  void KeepSession();
  // The one that the session is with, or is sought at.
  Adjudicator& leader() { return *adjudicators_[leader_]; }
  bool IsTrusted();
  bool IsLeaderThere(concord::proto::ReadLsnReply* reply);
  bool AskReadLsn(Adjudicator* adjudicator, int timeout_ms, concord::proto::ReadLsnReply* reply);
  bool IsOurCluster();
  bool MayBeNewLeader(Adjudicator* other);
  bool RunSession();  // true if the adjudicator has let it in
  void OnVerdict(const concord::proto::Verdict& verdict);
  void OnDropVerdict(const concord::OutRequestPtr& request, const concord::proto::Verdict& verdict);
  void CountVerdict(const concord::OutRequest& request, const concord::proto::Verdict& verdict);
  void Reply(int slot, uint64_t sequence, const CcAnswer& answer, std::string_view text = {});

  void AnswerReadLsn();

  void Collect(concord::MetricSet* to);

  void SendDrops();  // keeper and session; drops_in_flight_ lets one in

  // keeper
  void Keep();
  concord::Lsn LowestReadLsn();
  void LearnCommitted();
  void LookForNewLeader();
  void OfferPage();
  std::string StatusText();

  // Sleeps, unless the gateway is to stop; false if it is.
  bool Pause(int ms);

  CcChannel& channel_;
  const std::string page_path_;
  const std::string qp_id_;
  const int report_ms_;
  const int64_t max_age_ms_;
  bool (*const meet_)(const char* cluster_id);
  void (*const wake_)(int slot);
  void (*const log_function_)(int level, const char* message);
  void (*const stats_)(CcServerStats* stats);

  concord::LogQueue log_;
  std::vector<std::unique_ptr<Adjudicator>> adjudicators_;
  std::atomic<size_t> leader_ = 0;
  const bool shares_address_;  // the only adjudicator's is the storage replica's
  concord::Outbox outbox_;
  std::unique_ptr<concord::ReplicaLinks> replicas_;
  const concord::LsnPage* page_ = nullptr;

  std::mutex answer_mutex_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stop_ = false;
  std::shared_ptr<Session> session_;  // null while there is none
  std::vector<Waiter> read_lsn_waiters_;
  std::vector<Waiter> status_waiters_;
  std::atomic<bool> stopping_ = false;         // stop_, for the pump
  std::atomic<bool> page_refused_ = false;     // by this session's leader
  std::atomic<uint64_t> known_committed_ = 0;  // learned anew for each report
  std::atomic<uint64_t> epoch_ = 0;            // of the leader that the last session was begun with
  std::string cluster_;                        // that one's; under mutex_
  std::atomic<bool> drops_in_flight_ = false;
  int64_t page_offered_us_ = 0;                  // keeper only
  uint64_t drop_sequence_ = 0;                   // of who set drops_in_flight_
  bool ever_connected_ = false;                  // session only
  std::set<std::string> session_troubles_;       // session only: why none was let in since the last that was
  bool foreign_ = false;                         // session only: the sidecar was of another cluster
  std::vector<concord::OutRequestPtr> partial_;  // pump only: requests of which pieces are missing, by slot

  std::atomic<uint64_t> verdicts_[kOutcomes] = {};
  std::atomic<uint64_t> read_lsn_calls_ = 0, sessions_lost_ = 0;
  concord::Histogram batch_requests_{concord::Histogram::kNumbers};
  concord::Histogram round_trip_us_{concord::Histogram::kMicroseconds};
  std::string metrics_address_;  // the worker's loop only, as the next
  uint64_t metrics_tried_us_ = 0;

  std::vector<std::thread> threads_;                 // last: they use all of the above
  std::unique_ptr<concord::MetricsServer> metrics_;  // and so do its threads
};
