#include "sidecar/simulation/cluster.h"

#include <sys/stat.h>

#include <algorithm>

#include "sidecar/metastore/etcd_metastore.h"
#include "sidecar/simulation/disk.h"
#include "sidecar/simulation/journal_stub.h"

namespace concord::simulation {
namespace {

constexpr char kClusterId[] = "0123456789abcdef0123456789abcdef";
constexpr int64_t kDriftPpmMax = 5000;  // leases allow for two percent

std::string NodeId(int node) {
  std::string id(32, '0');
  id[30] = static_cast<char>('0' + node / 10);
  id[31] = static_cast<char>('0' + node % 10);
  return id;
}

}  // namespace

Cluster::Cluster(const ClusterOptions& options, std::function<void(const std::string&)> fail)
    : options_(options), fail_(std::move(fail)) {
  etcd_node_ = scheduler->AddNode("etcd");
  parts_.resize(2);
  if (options.together) {
    for (int i = 0; i < options.journals; i++)
      journals_.push_back(AddNode({Role::kJournal, Role::kStorage, Role::kAdjudicator}, "machine"));
    adjudicators_ = replicas_ = journals_;
    return;
  }
  for (int i = 0; i < options.journals; i++) journals_.push_back(AddNode({Role::kJournal}, "journal"));
  for (int i = 0; i < options.adjudicators; i++) adjudicators_.push_back(AddNode({Role::kAdjudicator}, "adjudicator"));
  for (int i = 0; i < options.replicas; i++) replicas_.push_back(AddNode({Role::kStorage}, "storage"));
}

int Cluster::AddNode(const std::vector<Role>& roles, const std::string& name) {
  const int node = scheduler->AddNode(name + std::to_string(parts_.size()));
  parts_.push_back({.roles = roles});
  Node& of = scheduler->node(node);
  of.alive = false;
  of.drift_ppm = static_cast<int64_t>(scheduler->Below(2 * kDriftPpmMax)) - kDriftPpmMax;
  of.wall_offset = static_cast<int64_t>(scheduler->Below(200)) * kMs;
  disk->Make(node);
  return node;
}

std::vector<int> Cluster::all() const {
  std::vector<int> nodes = journals_;
  if (options_.together) return nodes;
  nodes.insert(nodes.end(), adjudicators_.begin(), adjudicators_.end());
  nodes.insert(nodes.end(), replicas_.begin(), replicas_.end());
  return nodes;
}

void Cluster::Start() {
  etcd_.Serve(etcd_node_);
  for (const int node : all()) Start(node);
}

void Cluster::Start(int id) {
  Node& node = scheduler->node(id);
  node.alive = true;
  node.frozen_until = 0;
  Parts& parts = parts_[static_cast<size_t>(id)];
  parts.starts++;
  scheduler->Spawn(id, [this, id, roles = parts.roles] {
    for (const Role role : roles) {
      switch (role) {
        case Role::kJournal: OpenJournal(id); break;
        case Role::kAdjudicator: OpenAdjudicator(id); break;
        case Role::kStorage: OpenStorage(id); break;
      }
    }
  });
}

void Cluster::Kill(int id, bool machine) {
  scheduler->Kill(id);
  network->Died(id, machine);
  Parts& parts = parts_[static_cast<size_t>(id)];
  parts.journal = nullptr;
  parts.journal_service = nullptr;
  parts.adjudicator = nullptr;
  parts.storage = nullptr;
  if (machine) {
    parts.boots++;
    disk->AfterMachineCrash(id);
  } else {
    disk->AfterProcessCrash(id);
  }
}

Replica* Cluster::replica(int node) {
  StorageRole* const storage = parts_[static_cast<size_t>(node)].storage;
  return storage == nullptr ? nullptr : storage->replica().get();
}

JournalPeer Cluster::PeerFrom(int from, int node) const {
  JournalPeer peer = Peer(node);
  if (node == from) peer.node = parts_[static_cast<size_t>(node)].journal;
  return peer;
}

void Cluster::OpenJournal(int id) {
  journal::JournalNodeOptions options;
  options.log.directory = disk->Directory(id) + "/journal";
  options.log.segment_bytes = options_.segment_bytes;
  options.log.spare_segments_max = 2;
  options.log.allocate = [](int fd, uint64_t size) { return ftruncate(fd, static_cast<off_t>(size)) == 0 ? 0 : errno; };
  options.retention_ms = options_.retention_ms;
  std::unique_ptr<journal::JournalNode> node;
  const Status status = journal::JournalNode::Open(options, &node);
  if (!status.ok()) return fail_(scheduler->node(id).name + " cannot open: " + status.ToString());
  Parts& parts = parts_[static_cast<size_t>(id)];
  auto* const service = parts.journal_service = new journal::JournalService(node.get());
  parts.journal = node.release();
  network->Offer(id, "Journal.Seal", Unary<proto::SealRequest, proto::SealReply>([service](auto* c, auto* q, auto* r) {
                   return service->Seal(c, q, r);
                 }));
  network->Offer(id, "Journal.Truncate",
                 Unary<proto::TruncateRequest, proto::TruncateReply>([this, id, service](auto* c, auto* q, auto* r) {
                   // Before: the node may be killed when it has done so.
                   Lsn* const begun_anew = &parts_[static_cast<size_t>(id)].begun_anew;
                   if (q->restart()) *begun_anew = std::max<Lsn>(*begun_anew, q->lsn());
                   return service->Truncate(c, q, r);
                 }));
  network->Offer(id, "Journal.ReportCheckpoint",
                 Unary<proto::ReportCheckpointRequest, proto::ReportCheckpointReply>(
                     [service](auto* c, auto* q, auto* r) { return service->ReportCheckpoint(c, q, r); }));
  network->Offer(id, "Journal.GetStatus",
                 Unary<proto::JournalStatusRequest, proto::JournalStatus>(
                     [service](auto* c, auto* q, auto* r) { return service->GetStatus(c, q, r); }));
  network->Offer(id, "Journal.Append", [service](const CallPtr& call) {
    Serving serving(call);
    ServerStream<proto::AppendReply, proto::AppendRequest> stream(call);
    return service->ServeAppend(serving.context(), &stream);
  });
  network->Offer(id, "Journal.Tail", [service](const CallPtr& call) {
    Serving serving(call);
    std::string bytes;
    proto::TailRequest request;
    if (!call->ServerRead(&bytes) || !request.ParseFromString(bytes)) return grpc::Status::CANCELLED;
    ServerWriting<proto::TailReply> writer(call);
    return service->ServeTail(serving.context(), &request, &writer);
  });
}

void Cluster::OpenAdjudicator(int id) {
  AdjudicatorService::Options options;
  options.self = {0, NodeId(id), "node:" + std::to_string(id)};
  options.standby = true;
  options.page_registry = disk->Directory(id) + "/lsn_pages";
  options.limits.max_tokens = options_.max_tokens;
  options.limits.max_keys = options_.max_window_keys;
  auto* const metastore = new EtcdMetastore(std::make_unique<EtcdStub>(etcd_node_), kClusterId);
  auto* const service = new AdjudicatorService(options, metastore);
  parts_[static_cast<size_t>(id)].adjudicator = service;
  JournalEnsemble ensemble;
  for (const int node : journals_) ensemble.nodes.push_back(PeerFrom(id, node));
  ensemble.write_quorum = options_.write_quorum;
  const Status status = service->Start(ensemble);
  if (!status.ok()) return fail_(scheduler->node(id).name + " cannot start: " + status.ToString());
  network->Offer(id, "Adjudicator.ReadLsn",
                 Unary<proto::ReadLsnRequest, proto::ReadLsnReply>(
                     [service](auto* c, auto* q, auto* r) { return service->ReadLsn(c, q, r); }));
  network->Offer(id, "Adjudicator.OfferPage",
                 Unary<proto::OfferPageRequest, proto::OfferPageReply>(
                     [service](auto* c, auto* q, auto* r) { return service->OfferPage(c, q, r); }));
  network->Offer(id, "Adjudicator.HandOver",
                 Unary<proto::HandOverRequest, proto::HandOverReply>(
                     [service](auto* c, auto* q, auto* r) { return service->HandOver(c, q, r); }));
  network->Offer(id, "Adjudicator.Session", [service](const CallPtr& call) {
    Serving serving(call);
    ServerStream<proto::SessionReply, proto::SessionRequest> stream(call);
    return service->ServeSession(serving.context(), &stream);
  });
}

void Cluster::OpenStorage(int id) {
  Parts& parts = parts_[static_cast<size_t>(id)];
  StorageRoleOptions options;
  options.replica.directory = disk->Directory(id) + "/storage";
  options.replica.map_bytes = 32u << 20;
  options.replica.max_readers = 64;
  options.replica.boot_id = "boot" + std::to_string(parts.boots);
  options.applier.replica_id = "storage-" + NodeId(id);
  options.applier.on_failure = [this, id](const Status& status) {
    fail_(scheduler->node(id).name + " gives up: " + status.ToString());
  };
  mkdir(options.replica.directory.c_str(), 0700);
  std::unique_ptr<StorageRole> role;
  const Status status = StorageRole::Open(std::move(options), &role);
  if (!status.ok()) return fail_(scheduler->node(id).name + " cannot open: " + status.ToString());
  std::vector<JournalPeer> followed;
  for (size_t i = 0; i < journals_.size(); i++)
    followed.push_back(Peer(journals_[(i + static_cast<size_t>(id)) % journals_.size()]));
  if (parts.journal != nullptr) followed.insert(followed.begin(), PeerFrom(id, id));
  auto* const storage = parts.storage = role.release();
  storage->Start(followed, parts.journal);
  auto* const service = storage->service();
  network->Offer(id, "Storage.Get", Unary<proto::GetRequest, proto::GetReply>([service](auto* c, auto* q, auto* r) {
                   return service->Get(c, q, r);
                 }));
}

}  // namespace concord::simulation
