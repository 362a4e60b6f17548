// concordd: the sidecar. One process with any of the three roles, on one socket. See --help.
//
// Order of starting: directory lock, journal, storage, server, then the adjudicator, which takes the journal over.
// Order of ending: adjudicator, storage, journal; each may need the one that ends after it.
#include <grpcpp/grpcpp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sidecar/adjudicator/adjudicator_service.h"
#include "sidecar/concordd_options.h"
#include "sidecar/journal/journal_members.h"
#include "sidecar/journal/journal_service.h"
#include "sidecar/lsn_text.h"
#include "sidecar/metastore/etcd_metastore.h"
#include "sidecar/metastore/file_metastore.h"
#include "sidecar/metastore/identity.h"
#include "sidecar/metastore/presence.h"
#include "sidecar/metrics/metrics_server.h"
#include "sidecar/rpc/address.h"
#include "sidecar/rpc/clock.h"
#include "sidecar/rpc/config_file.h"
#include "sidecar/rpc/credentials.h"
#include "sidecar/rpc/directory_lock.h"
#include "sidecar/rpc/end_report.h"
#include "sidecar/rpc/init.h"
#include "sidecar/rpc/log.h"
#include "sidecar/rpc/refusal_interceptor.h"
#include "sidecar/rpc/server.h"
#include "sidecar/rpc/service_manager.h"
#include "sidecar/rpc/shutdown.h"
#include "sidecar/rpc/sidecar_service.h"
#include "sidecar/rpc/status.h"
#include "sidecar/rpc/tls_log.h"
#include "sidecar/storage/start_check.h"
#include "sidecar/storage/storage_members.h"
#include "sidecar/storage/storage_role.h"
#include "sidecar/version.h"

namespace concord {
namespace {

constexpr unsigned kStopSecondsMax = 10;  // then the process ends without more ado; everything survives that

constexpr int kLeadingWaitMs = 1000;
constexpr int kJoinWaitMs = 10000;  // for a journal to say of which cluster it is
constexpr int kJoinRetryMs = 100;
constexpr int kMembersRetryMs = 200;

enum ExitCode { kExitOk = 0, kExitFailed = 1, kExitUsage = 2, kExitLocked = 3, kExitOpen = 4, kExitListen = 5 };

// Removes the socket that a dead process left behind. Refuses if somebody still answers there, or others could put
// another one in its place.
Status RemoveStaleSocket(const std::string& path) {
  struct stat info;
  const std::string parent = std::filesystem::path(path).parent_path().string();
  if (!parent.empty() && stat(parent.c_str(), &info) == 0 && (info.st_mode & 022) != 0 && (info.st_mode & S_ISVTX) == 0)
    return {Code::kInvalid, parent + " may be written by others, so a socket in it is not safe; chmod go-w it"};
  if (lstat(path.c_str(), &info) != 0) return Status::Ok();
  if (!S_ISSOCK(info.st_mode)) return {Code::kInvalid, path + " exists and is not a socket"};
  if (info.st_uid != geteuid()) return {Code::kInvalid, path + " is a socket of another user"};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool answered = fd >= 0 && connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  if (fd >= 0) close(fd);
  if (answered) return {Code::kUnavailable, "another process listens on " + path};
  unlink(path.c_str());
  return Status::Ok();
}

// Which process is at the other end, and of which cluster.
Status AskInfo(const std::shared_ptr<grpc::Channel>& channel, grpc::ClientContext* context, proto::Info* info) {
  return FromGrpc(proto::Sidecar::NewStub(channel)->GetInfo(context, {}, info));
}

// The cluster of a new directory without a journal: that of the journal it is to follow.
Status JoinCluster(const ConcorddOptions& options, ShutdownSignal* shutdown, std::string* id) {
  if (options.metastore.etcd())
    return {Code::kInvalid, options.directory + " is new; name the cluster that it joins with --join-cluster"};
  Status status;
  for (int waited_ms = 0; waited_ms < kJoinWaitMs; waited_ms += kJoinRetryMs) {
    for (const std::string& address : options.journal_addresses) {
      grpc::ClientContext context;
      context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(kJoinRetryMs));
      proto::Info info;
      status = AskInfo(Connect(address), &context, &info);
      if (!status.ok()) continue;
      *id = info.cluster_id();
      RoleLog("concordd")->info("a new directory joins the cluster of its journal cluster={} journal={}", *id, address);
      return status;
    }
    if (!shutdown->Wait(kJoinRetryMs).empty()) return {Code::kShutdown, "ending"};
  }
  return {Code::kInvalid, options.directory + " is new, and joins the cluster of its journal, which does not answer: " +
                              status.message() + ". Start the journal first, or name the cluster with --join-cluster"};
}

void TellOfTls(const Status& status) {
  if (status.ok())
    RoleLog("concordd")->info("the TLS files have changed and count for new connections");
  else
    RoleLog("concordd")->error("the TLS files do not count, those before them do reason=\"{}\"", status.message());
}

// Milliseconds since it was made, or since the last lap.
class Stopwatch {
 public:
  int64_t Lap() {
    const auto now = std::chrono::steady_clock::now();
    return std::chrono::duration_cast<std::chrono::milliseconds>(now - std::exchange(from_, now)).count();
  }

 private:
  std::chrono::steady_clock::time_point from_ = std::chrono::steady_clock::now();
};

// The roles of this process, started and ended in order.
class Concordd {
 public:
  Concordd(const ConcorddOptions& options, const std::string& cluster_id, const std::string& node_id,
           ShutdownSignal* shutdown, EndReport* end)
      : options_(options),
        cluster_id_(cluster_id),
        node_id_(node_id),
        shutdown_(shutdown),
        end_(end),
        sidecar_(Info()),
        members_({.cluster_id = cluster_id,
                  .node_id = node_id,
                  .directory = options.directory,
                  // A mistake in the configuration, so the process ends.
                  .on_foreign = [shutdown](const Status& foreign) { shutdown->Fail(foreign); }}),
        replicas_({.cluster_id = cluster_id,
                   .node_id = node_id,
                   .directory = options.directory,
                   .addresses = options.peers,
                   .members = options.metastore.etcd() ? &members_ : nullptr}) {}

  ExitCode Start() {
    Status status = OpenRoles();
    if (!status.ok()) {
      end_->Send(status);
      log_->critical("cannot open dir=\"{}\" reason=\"{}\"", options_.directory, status.ToString());
      return kExitOpen;
    }
    status = Listen();
    // Before the roles start, which may have to wait for others.
    if (status.ok() && !options_.metrics_listen.empty())
      status = MetricsServer::Start(
          options_.metrics_listen, [this](MetricSet* to) { Collect(to); }, &metrics_);
    if (!status.ok()) {
      end_->Send(status);
      log_->critical("cannot listen address={} reason=\"{}\"", options_.ListenText(), status.ToString());
      return kExitListen;
    }
    status = StartRoles();
    if (status.code() == Code::kShutdown) return kExitOk;
    ready_ = status.ok();
    if (!status.ok()) {
      end_->Send(status);
      log_->critical("cannot start reason=\"{}\"", status.ToString());
      return kExitOpen;
    }
    return kExitOk;
  }

  // False also after a Start that was told to end while it waited.
  bool ready() const { return ready_; }
  // What the start took; the storage replica tells by itself when it has caught up.
  std::string StartTimes() const {
    return "journal_ms=" + std::to_string(journal_ms_) + " storage_ms=" + std::to_string(storage_ms_) +
           " leading_ms=" + std::to_string(leading_ms_);
  }

  // Also after a Start that failed half way.
  bool Stop() {
    bool clean = true;
    if (metastore_ != nullptr) metastore_->Cancel();
    presence_.reset();
    if (adjudicator_ != nullptr) adjudicator_->Stop();  // first, as another one may wait to lead
    metrics_.reset();
    if (storage_ != nullptr && server_ != nullptr) storage_->StopFollowing();
    if (journal_ != nullptr) journal_->Stop();
    if (server_ != nullptr) {
      server_->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(200));
      server_->Wait();
    }
    if (storage_ != nullptr) {
      const Status status = storage_->Stop();
      if (!status.ok()) log_->error("storage did not stop cleanly reason=\"{}\"", status.ToString());
      clean = status.ok();
    }
    // gRPC unlinks its socket itself.
    server_.reset();
    return clean;
  }

 private:
  proto::Info Info() const {
    proto::Info info;
    info.set_version(kVersion);
    info.set_pid(static_cast<uint64_t>(getpid()));
    info.set_cluster_id(cluster_id_);
    info.set_node_id(node_id_);
    info.set_directory(options_.directory);
    for (const std::string& role : options_.roles) info.add_roles(role);
    info.set_started_unix_us(NowUnixUs());
    return info;
  }

  void Collect(MetricSet* to) {
    to->set_cluster(cluster_id_);
    CollectProcess(to, kVersion, CLI::detail::join(options_.roles), node_id_);
    to->Add("concord_refused_calls_total", static_cast<double>(UnparsableCalls()), {"rpc"});
    if (adjudicator_ != nullptr) adjudicator_->Collect(to);
    if (journal_ != nullptr) journal_->Collect(to);
    if (storage_ != nullptr) storage_->Collect(to);
  }
  LiveProcess Self() const { return {node_id_, options_.advertise, options_.roles, kVersion}; }

  Status OpenRoles() {
    Stopwatch watch;
    if (options_.Has("journal")) {
      journal::JournalNodeOptions node;
      node.log.directory = options_.directory + "/journal";
      node.log.segment_bytes = options_.segment_size;
      node.retention_ms = options_.journal_retention_ms;
      const Status status = journal::JournalNode::Open(std::move(node), &journal_node_);
      if (!status.ok()) return status;
      journal_ = std::make_unique<journal::JournalService>(journal_node_.get());
      members_.SetOwn(journal_node_.get());
      journal_ms_ = watch.Lap();
    }
    if (options_.Has("storage")) {
      const Status status = OpenStorage();
      if (!status.ok()) return status;
      storage_ms_ = watch.Lap();
    }
    if (options_.Has("adjudicator") || options_.metastore.etcd()) {
      const Status status = OpenMetastore();
      if (!status.ok()) return status;
    }
    if (options_.Has("adjudicator")) {
      AdjudicatorService::Options service;
      service.self = {0, node_id_, options_.advertise};
      service.standby = options_.metastore.etcd();
      if (options_.metastore.etcd()) {
        service.members = [this](JournalEnsemble* ensemble) {
          return members_.Read(&ensemble->nodes, &ensemble->write_quorum);
        };
        service.connect = [this](const Member& member) { return members_.Peer(member); };
      }
      service.limits.max_keys = options_.max_window_keys;
      service.limits.max_range_bytes = options_.max_range_window_mb << 20;
      service.limits.max_tokens = options_.max_tokens;
      service.takeover.replay_us = options_.window_replay_ms * 1000;
      service.page_registry = options_.directory + "/lsn_pages";
      if (options_.JournalIsOwn()) {
        service.on_journal_broken = [this](const Status& status) {
          shutdown_->Fail({status.code(), "journal failed: " + status.ToString()});
        };
      }
      adjudicator_ = std::make_unique<AdjudicatorService>(service, metastore_.get());
    }
    return Status::Ok();
  }

  Status OpenMetastore() {
    if (options_.metastore.etcd()) {
      EtcdClient::Options client;
      const Status status = options_.metastore.Read(&client);
      if (status.ok()) metastore_ = std::make_unique<EtcdMetastore>(client, cluster_id_);
      return status;
    }
    auto file = std::make_unique<FileMetastore>(options_.directory + "/metastore");
    const Status status = file->Open();
    metastore_ = std::move(file);
    return status;
  }

  // Waits for the members where an etcd has them. None: this process is the journal.
  Status FindJournals(JournalEnsemble* ensemble) {
    if (options_.metastore.etcd())
      members_.Follow(metastore_.get());
    else
      members_.Fix(options_.journal_addresses, options_.write_quorum);
    Code told = Code::kOk;
    for (;;) {
      const Status status = members_.Read(&ensemble->nodes, &ensemble->write_quorum);
      if (status.code() != Code::kNotFound && status.code() != Code::kUnavailable) return status;
      if (told != status.code()) log_->warn("waiting for the members of the cluster reason=\"{}\"", status.message());
      told = status.code();
      if (!shutdown_->Wait(kMembersRetryMs).empty()) return {Code::kShutdown, "ending"};
    }
  }

  StorageRoleOptions StorageOptions(const std::string& replica_id) {
    StorageRoleOptions role;
    role.replica.directory = options_.directory + "/storage";
    role.replica.map_bytes = options_.map_size;
    role.replica.max_readers = options_.max_readers;
    role.replica.check_bytes = options_.check_bytes;
    role.replica.checkpoint_interval_us = options_.checkpoint_interval_ms * 1000;
    role.replica.checkpoint_bytes = options_.checkpoint_bytes;
    role.replica.retention_us = options_.retention_ms * 1000;
    // On one machine verdicts wait for the replica, so that reads go on when its disk is full: that takes LMDB's word.
    // In a cluster the others are read then.
    role.replica.memtable = options_.metastore.etcd();
    // In a cluster the lease is found by the name by which the members name the node.
    role.applier.replica_id = "storage-" + (options_.metastore.etcd() ? node_id_ : replica_id);
    role.applier.lease_ms = options_.lease_ms;
    if (CanCopy()) role.peers = [this](std::vector<StoragePeer>* peers) { return replicas_.Peers(peers); };
    if (!options_.Has("journal")) role.applier.first_journal = std::hash<std::string>{}(replica_id);
    if (options_.metastore.etcd()) {
      role.applier.removed = [this] { return replicas_.Removed(); };
      role.applier.members = [this](std::vector<JournalPeer>* peers) {
        uint32_t write_quorum = 0;
        return members_.Read(peers, &write_quorum);
      };
    }
    // Verdicts wait for the replica beside the adjudicator. In a cluster none holds up what others can serve.
    if (options_.Has("adjudicator") && !options_.metastore.etcd()) {
      role.applier.gather_ms = 0;
      role.applier.on_applied = [this](Lsn lsn) {
        if (adjudicator_ != nullptr) adjudicator_->OnLocalApplied(lsn);
      };
      role.applier.on_room = [this](const char* full_reason, bool stuck, bool scarce) {
        if (adjudicator_ != nullptr) adjudicator_->OnLocalRoom(full_reason, stuck, scarce);
      };
    }
    role.applier.on_failure = [this, directory = role.replica.directory](const Status& status) {
      // Whatever LMDB stumbled over: the next start is to look at every page.
      if (status.code() == Code::kCorruption) (void)CreateMark(directory, kCheckFile);
      shutdown_->Fail({status.code(), "storage failed: " + status.ToString()});
    };
    return role;
  }

  // Whether there are other replicas, or may be.
  bool CanCopy() const { return options_.metastore.etcd() || !options_.peers.empty(); }

  // A damaged replica is made anew, from another one or, if the journal of this process still has everything that was
  // ever written, from that.
  Status OpenStorage() {
    const std::string directory = options_.directory + "/storage";
    std::filesystem::create_directory(directory);
    std::string replica_id;
    Status status = OpenReplicaId(options_.directory, &replica_id);
    if (!status.ok()) return status;
    MarkOnCrash(directory);  // before LMDB looks at anything
    status = StorageRole::Open(StorageOptions(replica_id), &storage_);
    const bool journal_is_complete = journal_node_ != nullptr && journal_node_->state().base_lsn == kNoLsn;
    if (status.code() == Code::kCorruption) {
      if (!journal_is_complete && !CanCopy())
        return {status.code(), status.message() +
                                   ". It cannot be made anew from the journal, which no longer begins with its first "
                                   "record: restore a backup of the whole Concord directory (docs/failures/damage.md)"};
      std::string moved_to;
      const Status moved = SetAside(directory, &moved_to);
      if (!moved.ok()) return moved;
      log_->error("storage is damaged and is made anew from {} reason=\"{}\" old=\"{}\"",
                  journal_is_complete ? "the journal" : "another replica", status.message(), moved_to);
      std::filesystem::create_directory(directory);
      status = StorageRole::Open(StorageOptions(replica_id), &storage_);
    }
    if (!status.ok()) return status;
    return options_.Has("journal") && options_.JournalIsOwn() ? CompareWithJournal() : Status::Ok();
  }

  // A journal that is this process's own is ahead of the replica, which applies nothing that is not synced there, and
  // keeps what it has not applied. One of several may be behind: others had what the replica applied.
  Status CompareWithJournal() const {
    const Lsn applied = storage_->replica()->applied();
    const journal::SegmentLog::State journal = journal_node_->state();
    if (storage_->replica()->replay_from() < journal.base_lsn && !CanCopy()) {
      return {Code::kCorruption, options_.directory + "/storage is missing or too old: it has applied " +
                                     LsnText(applied) + ", and the journal begins after " + LsnText(journal.base_lsn) +
                                     ". Restore a backup of the whole Concord directory (docs/failures/damage.md)"};
    }
    if (applied > journal.last_lsn) {
      return {Code::kCorruption, options_.directory + "/journal has lost its end: its last record is " +
                                     LsnText(journal.last_lsn) + ", and storage has applied " + LsnText(applied) +
                                     ". Restore a backup of the whole Concord directory (docs/failures/damage.md)"};
    }
    return Status::Ok();
  }

  Status Listen() {
    grpc::ServerBuilder builder;
    SetServerLimits(&builder);
    LogRefusedCalls(&builder);
    std::vector<int> ports(options_.listen.size());
    for (size_t i = 0; i < ports.size(); i++) {
      const std::string& address = options_.listen[i];
      const std::string path = SocketPath(address);
      const Status status = path.empty() ? Status::Ok() : RemoveStaleSocket(path);
      if (!status.ok()) return status;
      builder.AddListeningPort(address, ProcessCredentials().ForListener(address), &ports[i]);
    }
    builder.RegisterService(&sidecar_);
    if (journal_ != nullptr) builder.RegisterService(journal_.get());
    if (storage_ != nullptr) builder.RegisterService(storage_->service());
    if (adjudicator_ != nullptr) builder.RegisterService(adjudicator_.get());
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || std::count(ports.begin(), ports.end(), 0) > 0)
      return {Code::kIoError, "the address cannot be bound"};
    // The umask has kept others out since bind; this takes the execute bit away.
    for (const std::string& address : options_.listen) {
      if (const std::string path = SocketPath(address); !path.empty()) chmod(path.c_str(), 0600);
    }
    return Status::Ok();
  }

  Status StartRoles() {
    if (options_.metastore.etcd()) presence_ = std::make_unique<Presence>(metastore_.get(), Self());
    if (!options_.NeedsJournal()) return Status::Ok();
    JournalEnsemble ensemble;
    if (Status s = FindJournals(&ensemble); !s.ok()) return s;
    const bool alone = ensemble.nodes.empty();  // the journal is this process
    JournalPeer local(proto::Journal::NewStub(server_->InProcessChannel(ChannelLimits())));
    local.node = journal_node_.get();
    if (storage_ != nullptr) {
      auto followed = ensemble.nodes;
      if (journal_ != nullptr) followed.insert(followed.begin(), local);
      storage_->Start(followed, journal_node_.get());
    }
    if (adjudicator_ == nullptr) return Status::Ok();
    if (alone) {
      ensemble.nodes.push_back(local);
      ensemble.local_node = journal_node_.get();
    }
    Stopwatch watch;
    const Status status = adjudicator_->Start(ensemble);
    // "Ready" is to mean it, where that is a matter of moments and of nobody else; with journal nodes away it keeps
    // trying by itself.
    if (status.ok() && !options_.metastore.etcd()) adjudicator_->WaitUntilLeading(kLeadingWaitMs);
    leading_ms_ = watch.Lap();
    return status;
  }

  const ConcorddOptions options_;
  const std::string cluster_id_;
  const std::string node_id_;
  ShutdownSignal* const shutdown_;
  EndReport* const end_;
  SidecarService sidecar_;
  const std::shared_ptr<const Log> log_ = RoleLog("concordd");
  std::unique_ptr<journal::JournalNode> journal_node_;
  std::unique_ptr<journal::JournalService> journal_;
  std::unique_ptr<StorageRole> storage_;
  std::unique_ptr<Metastore> metastore_;
  JournalMembers members_;
  StorageMembers replicas_;
  std::unique_ptr<Presence> presence_;
  std::unique_ptr<AdjudicatorService> adjudicator_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<MetricsServer> metrics_;
  int64_t journal_ms_ = 0, storage_ms_ = 0, leading_ms_ = 0;
  bool ready_ = false;
};

int Run(int argc, char** argv) {
  ConcorddOptions options;
  CLI::App app("The sidecar of Concord: adjudicator, journal and storage replica of a distributed PostgreSQL.",
               "concordd");
  Describe(&app, &options);
  const ConfigFile config(&app, ConfigFile::kOwn);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return static_cast<ExitCode>(app.exit(help));
  } catch (const CLI::ParseError& error) {
    fprintf(stderr, "concordd: %s\nRun with --help for more information.\n", config.Explain(error).c_str());
    return kExitUsage;
  }
  Status status = Complete(&options);
  if (status.ok()) status = InitLog(options.log_level, options.log_file);
  ShutdownSignal shutdown;
  if (status.ok()) status = shutdown.Init(options.lifeline_fd);
  if (status.ok() && options.tls.any()) status = UseTls(options.tls, TellOfTls);
  if (!status.ok()) {
    fprintf(stderr, "concordd: %s\n", status.message().c_str());
    return kExitUsage;
  }
  const auto log = RoleLog("concordd");
  umask(0077);

  EndReport end(options.report_fd);
  DirectoryLock lock;
  std::string cluster_id, node_id;
  status = RequireDirectory(options.directory, options.expect_cluster);
  Stopwatch watch;
  if (status.ok()) status = lock.Acquire(options.directory, options.lock_wait_ms);
  const int64_t lock_ms = watch.Lap();
  if (status.ok()) status = lock.Tell(options.ToldAddress());
  LogTlsFailures();
  InitRpc();
  if (status.ok()) {
    std::function<Status(std::string*)> choose;
    if (!options.join_cluster.empty()) {
      choose = [&](std::string* id) { return *id = options.join_cluster, Status::Ok(); };
    } else if (!options.Has("journal")) {
      choose = [&](std::string* id) { return JoinCluster(options, &shutdown, id); };
    }
    status = OpenIdentity(options.directory, options.expect_cluster, options.owner, options.Has("journal"), &cluster_id,
                          choose);
  }
  if (status.ok() && !options.join_cluster.empty() && cluster_id != options.join_cluster)
    status = {Code::kInvalid, options.directory + " belongs to cluster " + cluster_id + ", not to " +
                                  options.join_cluster + ", which --join-cluster names"};
  if (status.ok()) status = OpenNodeId(options.directory, &node_id);
  if (status.code() == Code::kShutdown) return kExitOk;
  if (!status.ok()) {
    end.Send(status);
    log->critical("cannot open dir=\"{}\" reason=\"{}\"", options.directory, status.message());
    return status.code() == Code::kUnavailable ? kExitLocked : kExitOpen;
  }

  Concordd concordd(options, cluster_id, node_id, &shutdown, &end);
  ExitCode code = concordd.Start();
  if (code == kExitOk) {
    if (concordd.ready()) {
      (void)TellServiceManager("READY=1");
      log->info("ready address={} dir=\"{}\" pid={} lock_ms={} {}", options.ListenText(), options.directory, getpid(),
                lock_ms, concordd.StartTimes());
    }
    const std::string reason = shutdown.Wait(-1);
    (void)TellServiceManager("STOPPING=1");
    if (shutdown.failed()) {
      end.Send(shutdown.failure());
      log->critical("stopping reason=\"{}\"", reason);
      code = kExitFailed;
    } else {
      log->info("stopping reason=\"{}\"", reason);
    }
  }
  alarm(kStopSecondsMax);
  if (!concordd.Stop() && code == kExitOk) code = kExitFailed;
  log->info("stopped code={}", static_cast<int>(code));
  return code;
}

}  // namespace
}  // namespace concord

int main(int argc, char** argv) { return concord::Run(argc, argv); }
