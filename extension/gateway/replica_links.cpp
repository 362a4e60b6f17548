#include "gateway/replica_links.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>

#include "bridge/view.h"
#include "core/lsn_page.h"
#include "gateway/connect.h"
#include "gateway/read_server.h"
#include "proto/sidecar.grpc.pb.h"

namespace concord {

namespace {

constexpr int kCallTimeoutMs = 1000;
constexpr int kReadersLeaseMs = 10000;
constexpr int kInUseMs = 10;             // between two questions while reads go through the gateway,
constexpr int64_t kInUseUs = 2'000'000;  // which they do as long as one was so little ago
constexpr int64_t kLookAgainUs = 1'000'000;
constexpr int64_t kLookMs = 50;      // how soon that is noticed
constexpr size_t kReasonsTold = 16;  // of one trouble

// Whether a directory gives its replica that name, on the journal: by its own id, or in a cluster by the node's. The
// map lies in a folder there.
bool IsNamed(const std::string& map, const std::string& name) {
  for (const char* kind : {"replica_id", "node_id"}) {
    std::ifstream file(std::filesystem::path(map).parent_path() / kind);
    for (std::string line; std::getline(file, line);)
      if (line.starts_with("id ") && "storage-" + line.substr(3) == name) return true;
  }
  return false;
}

}  // namespace

ReplicaLinks::ReplicaLinks(CcChannel* channel, LogQueue* log, Options options)
    : channel_(channel), log_(log), options_(std::move(options)), maps_(options_.addresses.size()) {
  std::vector<RemoteReads::Replica> replicas;
  ReplicaTable& table = channel_->replicas;
  for (const std::string& address : options_.addresses) {
    if (links_.size() == CC_REPLICAS_MAX) break;
    auto link = std::make_unique<Link>(address);
    link->channel = links_.empty() && options_.first_channel ? options_.first_channel : MakeChannel(address);
    Calls* const calls = &link->calls;
    replicas.push_back({address, link->channel, [calls] { return calls->Distrust(); }});
    SharedReplica& shared = table.replicas[links_.size()];
    shared.address.Set(address);
    shared.id.Set("");
    shared.trouble.Set("");
    shared.state = CC_REPLICA_UNKNOWN;
    shared.is_local = 0;
    shared.heard_ms = 0;
    links_.push_back(std::move(link));
  }
  table.count = static_cast<uint32_t>(links_.size());
  reads_ = std::make_unique<RemoteReads>(std::move(replicas), &table.read_counters, [this] {
    if (server_ != nullptr) server_->Wake();
  });
  server_ = std::make_unique<ReadServer>(reads_.get());
}

void ReplicaLinks::Start() {
  if (!options_.reads_path.empty()) {
    if (const std::string trouble = server_->Start(options_.reads_path); !trouble.empty())
      log_->Add(CC_LOG_WARNING, "no reads go to replicas of other machines: " + trouble);
  }
  for (size_t i = 0; i < links_.size(); i++) links_[i]->thread = std::thread([this, i] { Run(i); });
}

void ReplicaLinks::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  for (const auto& link : links_) link->calls.End();
}

ReplicaLinks::~ReplicaLinks() {
  Stop();
  for (const auto& link : links_)
    if (link->thread.joinable()) link->thread.join();
  server_->Stop();
  reads_->Stop();  // their ends wake the server, whose descriptors go with it
}

bool ReplicaLinks::InUse() const { return BoottimeUs() - reads_->used_us() < kInUseUs; }

bool ReplicaLinks::Pause(int64_t ms) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, std::chrono::milliseconds(ms), [this] { return stop_; });
  return !stop_;
}

void ReplicaLinks::Run(size_t replica) {
  Link& link = *links_[replica];
  for (;;) {
    std::string trouble;
    const bool in_use = InUse();
    const int64_t every_ms = in_use ? std::min(kInUseMs, options_.report_ms) : options_.report_ms;
    reads_->WithRouter([&](ReadRouter& router) { router.SetHeardEvery(every_ms * 1000); });
    if (link.met || (link.met = Meet(replica, &trouble))) link.met = Report(replica, kCallTimeoutMs, &trouble);
    if (link.met && link.look_again_us != 0 && BoottimeUs() >= link.look_again_us) LookForMap(replica);
    Publish(replica, trouble);
    // A first read makes it come sooner.
    for (int64_t left_ms = every_ms; left_ms > 0 && InUse() == in_use; left_ms -= kLookMs)
      if (!Pause(std::min<int64_t>(left_ms, kLookMs))) return;
  }
}

// Whether it is of our cluster, and whether its map lies on this machine.
bool ReplicaLinks::Meet(size_t replica, std::string* trouble) {
  Link& link = *links_[replica];
  if (options_.meets) {
    const std::string ours = options_.cluster_id();
    if (ours.empty()) return false;  // nobody has told us yet
    proto::Info info;
    const grpc::Status status = link.calls.Run(kCallTimeoutMs, [&](grpc::ClientContext* context) {
      return proto::Sidecar::NewStub(link.channel)->GetInfo(context, proto::InfoRequest(), &info);
    });
    if (!status.ok()) {
      *trouble = ReasonOf(status);
      reads_->WithRouter([&](ReadRouter& router) { router.Failed(replica, BoottimeUs()); });
      return false;
    }
    if (info.cluster_id() != ours) {
      *trouble = "it is of cluster " + info.cluster_id() + ", which is not this server's; it is not used";
      reads_->WithRouter([&](ReadRouter& router) { router.SetUsable(replica, false); });
      {
        const std::lock_guard lock(mutex_);
        maps_[replica].clear();
      }
      SetLocal();
      return false;
    }
  }
  LookForMap(replica);
  reads_->WithRouter([&](ReadRouter& router) { router.SetUsable(replica, true); });
  return true;
}

void ReplicaLinks::LookForMap(size_t replica) {
  Link& link = *links_[replica];
  proto::StorageStatus status;
  const grpc::Status asked = link.calls.Run(kCallTimeoutMs, [&](grpc::ClientContext* context) {
    return reads_->stub(replica).GetStatus(context, proto::StorageStatusRequest(), &status);
  });
  link.look_again_us = asked.ok() ? 0 : BoottimeUs() + kLookAgainUs;
  if (!asked.ok()) return;
  channel_->replicas.replicas[replica].id.Set(status.replica_id());
  // The path alone says nothing: another machine's may be called the same.
  const bool is_here = !status.replica_id().empty() && !status.path().empty() &&
                       IsNamed(status.path(), status.replica_id()) &&
                       access((status.path() + "/data.mdb").c_str(), R_OK) == 0;
  {
    const std::lock_guard lock(mutex_);
    maps_[replica] = is_here ? status.path() : "";
    link.asked_status = true;
  }
  SetLocal();
}

void ReplicaLinks::SetLocal() {
  ReplicaTable& table = channel_->replicas;
  const std::lock_guard lock(mutex_);
  const auto found = std::find_if(maps_.begin(), maps_.end(), [](const std::string& map) { return !map.empty(); });
  const bool asked_all = std::all_of(links_.begin(), links_.end(), [](const auto& link) { return link->asked_status; });
  const CcLocalReplica local = found != maps_.end() ? CC_LOCAL_PATH : asked_all ? CC_LOCAL_NONE : CC_LOCAL_UNKNOWN;
  char known[CC_REPLICA_PATH_SIZE];
  table.local_path.Get(known, sizeof known);
  const std::string path = found != maps_.end() ? *found : "";
  for (size_t i = 0; i < links_.size(); i++)
    table.replicas[i].is_local = found != maps_.end() && static_cast<size_t>(found - maps_.begin()) == i ? 1 : 0;
  if (table.local == static_cast<uint32_t>(local) && path == known) return;
  table.local_path.Set(path);
  table.local = local;
  table.local_version.fetch_add(1, std::memory_order_release);
}

bool ReplicaLinks::Report(size_t replica, int timeout_ms, std::string* trouble) {
  Link& link = *links_[replica];
  proto::ReportReadersRequest request;
  request.set_qp_id(options_.qp_id);
  request.set_lowest_read_lsn(options_.lowest_read_lsn());
  request.set_lease_ms(static_cast<uint64_t>(std::max(kReadersLeaseMs, options_.report_ms * 10)));
  request.set_reads(channel_->replicas.replicas[replica].is_local != 0 || InUse());
  proto::ReportReadersReply reply;
  const int64_t begun_us = BoottimeUs();
  const grpc::Status status = link.calls.Run(timeout_ms, [&](grpc::ClientContext* context) {
    return reads_->stub(replica).ReportReaders(context, request, &reply);
  });
  const int64_t now = BoottimeUs();
  reads_->WithRouter([&](ReadRouter& router) {
    if (!status.ok())
      router.Failed(replica, now);
    else if (router.latency_us(replica) == 0)
      router.Answered(replica, ReadRouter::Size::kSmall, reply.applied_lsn(), now - begun_us, now);
    else
      router.Heard(replica, reply.applied_lsn(), now);
  });
  if (status.ok()) {
    channel_->replicas.replicas[replica].horizon = reply.horizon_lsn();
    link.troubles.clear();
    return true;
  }
  *trouble = ReasonOf(status);
  return false;
}

void ReplicaLinks::Publish(size_t replica, const std::string& trouble) {
  Link& link = *links_[replica];
  SharedReplica& shared = channel_->replicas.replicas[replica];
  {
    const std::lock_guard lock(mutex_);
    if (stop_) return;
  }
  // While there is no session it is said why, and that is enough.
  if (!trouble.empty() && cc_channel_connected(channel_) && link.troubles.size() < kReasonsTold &&
      link.troubles.insert(trouble).second)
    log_->Add(CC_LOG_WARNING, "could not report read LSNs to storage at \"" + link.address + "\": " + trouble);
  shared.trouble.Set(trouble);
  const int64_t now = BoottimeUs();
  reads_->WithRouter([&](ReadRouter& router) {
    shared.applied = router.applied(replica);
    shared.latency_us = router.latency_us(replica);
    shared.state = static_cast<uint32_t>(router.StateOf(replica, now));
    if (router.heard_us(replica) != 0) shared.heard_ms = bridge::NowMs() - (now - router.heard_us(replica)) / 1000;
  });
}

size_t ReplicaLinks::shown() const {
  size_t shown = 0;
  for (size_t i = links_.size(); i-- > 0;) {
    const SharedReplica& shared = channel_->replicas.replicas[i];
    if (shared.is_local != 0) return i;
    if (shared.state == CC_REPLICA_WELL) shown = i;
  }
  return shown;
}

}  // namespace concord
