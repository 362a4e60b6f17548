// Requests to the three services of one process, as concordd has them: none of them crashes it or makes a part of it
// stop.
//
// input := method u8 | message. Messages of streams: size u16 | bytes, one after another.
#include <grpc/grpc.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>

#include "core/key.h"
#include "core/read_wire.h"
#include "fuzz/target.h"
#include "sidecar/adjudicator/adjudicator_service.h"
#include "sidecar/journal/journal_service.h"
#include "sidecar/metastore/file_metastore.h"
#include "sidecar/rpc/log.h"
#include "sidecar/rpc/server.h"
#include "sidecar/storage/storage_role.h"

namespace concord::fuzz {
namespace {

// A whole sidecar.
struct Sidecar {
  Scratch scratch;
  std::unique_ptr<journal::JournalNode> node;
  std::unique_ptr<journal::JournalService> journal_service;
  std::unique_ptr<StorageRole> storage_role;
  std::unique_ptr<FileMetastore> metastore;
  std::unique_ptr<AdjudicatorService> adjudicator_service;
  std::unique_ptr<grpc::Server> server;
  std::unique_ptr<proto::Adjudicator::Stub> adjudicator;
  std::unique_ptr<proto::Journal::Stub> journal;
  std::unique_ptr<proto::Storage::Stub> storage;

  Sidecar() {
    grpc_init();  // never undone: that may take gRPC ten seconds
    (void)InitLog("off", "");
    journal::JournalNodeOptions node_options;
    node_options.log.directory = scratch.path() + "/journal";
    node_options.log.segment_bytes = 1u << 20;
    node_options.log.sync_data = [](int) { return 0; };
    Status status = journal::JournalNode::Open(std::move(node_options), &node);
    Require(status.ok(), status.ToString());
    journal_service = std::make_unique<journal::JournalService>(node.get());
    StorageRoleOptions role;
    role.replica.directory = scratch.path() + "/storage";
    role.replica.map_bytes = uint64_t{1} << 30;
    role.replica.max_readers = 64;
    role.applier.replica_id = "storage";
    role.applier.on_applied = [this](Lsn lsn) {
      if (adjudicator_service != nullptr) adjudicator_service->OnLocalApplied(lsn);
    };
    role.applier.on_failure = [](const Status& failure) { Require(false, "storage stops: " + failure.ToString()); };
    status = StorageRole::Open(std::move(role), &storage_role);
    Require(status.ok(), status.ToString());
    metastore = std::make_unique<FileMetastore>(scratch.path() + "/metastore");
    Require(metastore->Open().ok(), "metastore");
    AdjudicatorService::Options options;
    options.page_registry = scratch.path() + "/lsn_pages";
    options.on_journal_broken = [](const Status& failure) { Require(false, "journal stops: " + failure.ToString()); };
    adjudicator_service = std::make_unique<AdjudicatorService>(options, metastore.get());
    grpc::ServerBuilder builder;
    SetServerLimits(&builder);
    builder.RegisterService(journal_service.get());
    builder.RegisterService(storage_role->service());
    builder.RegisterService(adjudicator_service.get());
    server = builder.BuildAndStart();
    const auto channel = server->InProcessChannel(ChannelLimits());
    const JournalPeer peer(proto::Journal::NewStub(channel));
    storage_role->Start({peer}, node.get());
    JournalEnsemble ensemble;
    ensemble.nodes.push_back(peer);
    ensemble.write_quorum = 1;
    ensemble.local_node = node.get();
    status = adjudicator_service->Start(ensemble);
    Require(status.ok(), status.ToString());
    Require(adjudicator_service->WaitUntilLeading(10000), "it does not lead");
    adjudicator = proto::Adjudicator::NewStub(channel);
    journal = proto::Journal::NewStub(channel);
    storage = proto::Storage::NewStub(channel);
  }

  // As concordd ends.
  ~Sidecar() {
    adjudicator_service->Stop();
    storage_role->StopFollowing();
    journal_service->Stop();
    server->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(200));
    server->Wait();
    (void)storage_role->Stop();
    server.reset();
  }
};

void SetDeadline(grpc::ClientContext* context, int ms) {
  context->set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(ms));
}

template <typename Request, typename Reply, typename Stub>
void Unary(Stub* stub, grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Reply*), Request request) {
  grpc::ClientContext context;
  SetDeadline(&context, 5000);
  Reply reply;
  const grpc::Status status = (stub->*method)(&context, request, &reply);
  Require(status.error_code() != grpc::StatusCode::UNKNOWN, "UNKNOWN: " + status.error_message());
}

void Run(std::string_view input) {
  static Sidecar sidecar;
  Reader reader(input);
  const auto method = reader.Number(1) % 12;
  const std::string bytes(reader.Rest());
  const auto parsed = [&](auto message) {
    (void)message.ParsePartialFromString(bytes);
    return message;
  };
  using Adjudicator = proto::Adjudicator::Stub;
  using Journal = proto::Journal::Stub;
  using Storage = proto::Storage::Stub;
  grpc::ClientContext context;
  SetDeadline(&context, 50);
  switch (method) {
    case 0: return Unary(sidecar.adjudicator.get(), &Adjudicator::ReadLsn, parsed(proto::ReadLsnRequest()));
    case 1: return Unary(sidecar.adjudicator.get(), &Adjudicator::OfferPage, parsed(proto::OfferPageRequest()));
    case 2: {
      proto::SealRequest request = parsed(proto::SealRequest());
      return Unary(sidecar.journal.get(), &Journal::Seal, request);
    }
    case 3: return Unary(sidecar.journal.get(), &Journal::Truncate, parsed(proto::TruncateRequest()));
    case 4: {
      // Under its own name only: that one may say what it needs.
      auto request = parsed(proto::ReportCheckpointRequest());
      if (request.replica_id() == "storage") return;
      return Unary(sidecar.journal.get(), &Journal::ReportCheckpoint, request);
    }
    case 5: {
      auto request = parsed(proto::GetRequest());
      request.set_wait_ms(request.wait_ms() % 4);
      return Unary(sidecar.storage.get(), &Storage::Get, request);
    }
    case 6: return Unary(sidecar.storage.get(), &Storage::ReportReaders, parsed(proto::ReportReadersRequest()));
    case 7: {
      auto request = parsed(proto::ScanRequest());
      request.set_wait_ms(request.wait_ms() % 4);
      const auto stream = sidecar.storage->Scan(&context, request);
      proto::ScanReply reply;
      while (stream->Read(&reply)) {
      }
      (void)stream->Finish();
      return;
    }
    case 8: {
      auto request = parsed(proto::TailRequest());
      request.set_until_end(true);
      const auto stream = sidecar.journal->Tail(&context, request);
      proto::TailReply reply;
      while (stream->Read(&reply)) {
      }
      (void)stream->Finish();
      return;
    }
    case 9: {
      const auto stream = sidecar.adjudicator->Session(&context);
      while (!reader.empty()) {
        proto::SessionRequest request;
        (void)request.ParsePartialFromString(std::string(reader.Bytes(reader.Number(2))));
        if (!stream->Write(request)) break;
      }
      stream->WritesDone();
      proto::SessionReply reply;
      while (stream->Read(&reply)) {
      }
      (void)stream->Finish();
      return;
    }
    case 11: {
      auto request = parsed(proto::ReadRequest());
      request.set_wait_ms(request.wait_ms() % 4);
      return Unary(sidecar.storage.get(), &Storage::Read, request);
    }
    default: {
      const auto stream = sidecar.journal->Append(&context);
      while (!reader.empty()) {
        proto::AppendRequest request;
        (void)request.ParsePartialFromString(std::string(reader.Bytes(reader.Number(2))));
        // A writer that knows the epoch is a leader, and may write what it likes.
        if (request.epoch() == sidecar.node->state().sealed_epoch) request.set_epoch(0);
        if (!stream->Write(request)) break;
      }
      stream->WritesDone();
      proto::AppendReply reply;
      while (stream->Read(&reply)) {
      }
      (void)stream->Finish();
      return;
    }
  }
}

template <typename Message>
std::string Unary(char method, const Message& message) {
  return method + message.SerializeAsString();
}
template <typename Message>
std::string Stream(char method, const Message& message) {
  const std::string bytes = message.SerializeAsString();
  return std::string{method, static_cast<char>(bytes.size() >> 8), static_cast<char>(bytes.size())} + bytes;
}

std::vector<std::string> Seeds() {
  std::vector<std::string> seeds = {std::string(1, '\0')};
  proto::OfferPageRequest page;
  page.set_path("/tmp/page");
  seeds.push_back(Unary(1, page));
  proto::SealRequest seal;
  seal.set_epoch(1);
  seeds.push_back(Unary(2, seal));
  proto::TruncateRequest truncate;
  truncate.set_epoch(1);
  truncate.set_lsn(5);
  seeds.push_back(Unary(3, truncate));
  proto::ReportCheckpointRequest checkpoint;
  checkpoint.set_replica_id("other");
  checkpoint.set_checkpoint_lsn(7);
  checkpoint.set_lease_ms(10);
  seeds.push_back(Unary(4, checkpoint));
  proto::GetRequest get;
  get.set_read_lsn(1);
  get.add_keys(RowKey(1, 1));
  seeds.push_back(Unary(5, get));
  get.add_keys(std::string(600, 'k'));
  get.set_read_lsn(0);
  seeds.push_back(Unary(5, get));
  proto::ReportReadersRequest readers;
  readers.set_qp_id("qp");
  readers.set_lowest_read_lsn(3);
  readers.set_lease_ms(5);
  seeds.push_back(Unary(6, readers));
  proto::ScanRequest scan;
  scan.set_lower(RowKey(1, 1));
  scan.set_upper(RowKey(2, 1));
  seeds.push_back(Unary(7, scan));
  scan.set_reverse(true);
  scan.set_upper("");
  scan.set_limit(3);
  seeds.push_back(Unary(7, scan));
  proto::TailRequest tail;
  tail.set_max_batch_bytes(100);
  seeds.push_back(Unary(8, tail));
  std::string mutations;
  AppendMutation(&mutations, MutationOp::kPut, RowKey(1, 5), "value");
  proto::SessionRequest session;
  session.add_commits()->set_write_set(EncodeWriteSet({1}, 0, 0, 0, "", 1, mutations));
  seeds.push_back(Stream(9, session));
  session.add_chunks()->set_chunk(EncodeChunk({2}, 0, 0, mutations));
  session.add_abandons()->set_token(std::string(16, 'a'));
  seeds.push_back(Stream(9, session));
  proto::AppendRequest append;
  append.set_epoch(1);
  append.set_write_quorum(1);
  AppendFrame(append.mutable_frames(), 1, 10, 0, "\x01");
  seeds.push_back(Stream(10, append));
  proto::ReadRequest read;
  read.set_read_lsn(1);
  std::string low, stop;
  AppendBe64(&low, Prefix(Space::kEntry, 1));
  stop = low + "b";
  low += "a";
  read.set_request(EncodeScan(0, 1000, 16, Prefix(Space::kRow, 1), 0, {low, {}, stop}));
  seeds.push_back(Unary(11, read));
  std::string many;
  AppendReadHeader(&many, ReadKind::kMany, 0, 1000);
  AppendReadRequest(&many, read.request());
  AppendReadRequest(&many, EncodeScan(kReadReverse, 1000, 16, 0, 0, {RowKey(1, 0), RowKey(1, 9), RowKey(1, 5)}));
  read.set_request(many);
  seeds.push_back(Unary(11, read));
  many.clear();
  AppendReadHeader(&many, ReadKind::kGet, 0, 1000);
  AppendReadKey(&many, RowKey(1, 5));
  read.set_request(many);
  seeds.push_back(Unary(11, read));
  return seeds;
}

}  // namespace

const Target kServices = {"services", Run, Seeds};

}  // namespace concord::fuzz
