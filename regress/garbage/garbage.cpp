// garbage ADDRESS ROUNDS: sends what makes no sense to every service of a running concordd, in frames that gRPC takes,
// and prints for each kind of request what became of it: "refused NAME: reason" or "NOT REFUSED NAME".
//
// One thread. Nothing that it sends may be accepted, so it leaves nothing behind but an abandoned token or two.
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>

#include "core/frame.h"
#include "core/key.h"
#include "core/wire.h"
#include "proto/adjudicator.grpc.pb.h"
#include "proto/journal.grpc.pb.h"
#include "proto/sidecar.grpc.pb.h"
#include "proto/storage.grpc.pb.h"

namespace concord {
namespace {

constexpr int kCallMs = 20'000;
constexpr size_t kOversize = (80u << 20) + 1;

void SetDeadline(grpc::ClientContext* context) {
  context->set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(kCallMs));
}

class Garbage {
 public:
  explicit Garbage(const std::string& address) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxSendMessageSize(-1);
    channel_ = grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
    adjudicator_ = proto::Adjudicator::NewStub(channel_);
    journal_ = proto::Journal::NewStub(channel_);
    storage_ = proto::Storage::NewStub(channel_);
    generic_ = std::make_unique<grpc::GenericStub>(channel_);
  }

  void Round(bool oversize) {
    Unparsable();
    if (oversize) Oversize();
    WriteSets();
    Chunks();
    Pages();
    Epochs();
    Frames();
    Reads();
  }

 private:
  void Tell(const std::string& name, const grpc::Status& status) {
    if (status.ok() || status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED)
      printf("NOT REFUSED %s\n", name.c_str());
    else
      printf("refused %s: %d %s\n", name.c_str(), status.error_code(), status.error_message().c_str());
  }

  // ---- any bytes to any method ----

  grpc::Status Send(const std::string& method, const std::string& bytes) {
    grpc::ClientContext context;
    SetDeadline(&context);
    grpc::CompletionQueue queue;
    const auto next = [&] {
      void* tag;
      bool ok = false;
      return queue.Next(&tag, &ok) && ok;
    };
    const auto call = generic_->PrepareCall(&context, method, &queue);
    call->StartCall(nullptr);
    grpc::Status status;
    if (next()) {
      const grpc::Slice slice(bytes);
      call->WriteLast(grpc::ByteBuffer(&slice, 1), grpc::WriteOptions(), nullptr);
      if (next()) {
        for (;;) {
          grpc::ByteBuffer reply;
          call->Read(&reply, nullptr);
          if (!next()) break;
        }
      }
    }
    call->Finish(&status, nullptr);
    next();
    return status;
  }

  void Unparsable() {
    for (const auto* file : {proto::SessionRequest::descriptor()->file(), proto::SealRequest::descriptor()->file(),
                             proto::GetRequest::descriptor()->file(), proto::InfoRequest::descriptor()->file()}) {
      const auto* const descriptor = file->service(0);
      const std::string service = descriptor->name();
      for (int i = 0; i < descriptor->method_count(); i++) {
        std::string bytes = "\x07";  // of no wire type
        for (size_t n = random_() % 100; n-- > 0;) bytes += static_cast<char>(random_());
        const std::string method = service + "/" + descriptor->method(i)->name();
        Tell("unparsable " + method, Send("/concord.proto." + method, bytes));
      }
    }
  }

  void Oversize() {
    const std::string bytes(kOversize, '\0');
    for (const char* method : {"Adjudicator/Session", "Adjudicator/OfferPage", "Journal/Append", "Storage/Get"})
      Tell(std::string("oversized ") + method, Send(std::string("/concord.proto.") + method, bytes));
  }

  // ---- adjudicator ----

  Token NewToken() {
    Token token;
    for (uint8_t& byte : token) byte = static_cast<uint8_t>(random_());
    return token;
  }

  // The verdict on the last of the requests.
  void Decide(const std::string& name, proto::SessionRequest request) {
    grpc::ClientContext context;
    SetDeadline(&context);
    const auto stream = adjudicator_->Session(&context);
    uint64_t id = 0;
    for (auto& chunk : *request.mutable_chunks()) chunk.set_request_id(++id);
    for (auto& commit : *request.mutable_commits()) commit.set_request_id(++id);
    bool refused = false;
    std::string message = "no verdict";
    proto::SessionReply reply;
    if (stream->Write(request)) {
      for (uint64_t left = id; left > 0 && stream->Read(&reply);) {
        for (const auto& verdict : reply.verdicts()) {
          left--;
          if (verdict.request_id() != id) continue;
          refused = verdict.outcome() == proto::INVALID || verdict.outcome() == proto::TOO_OLD;
          message = verdict.message();
        }
      }
    }
    stream->WritesDone();
    while (stream->Read(&reply)) {
    }
    (void)stream->Finish();
    printf("%s %s: %s\n", refused ? "refused" : "NOT REFUSED", name.c_str(), message.c_str());
  }

  void WriteSet(const std::string& name, std::string bytes) {
    proto::SessionRequest request;
    request.add_commits()->set_write_set(std::move(bytes));
    Decide("write set: " + name, request);
  }
  std::string Put(std::string_view key) {
    std::string mutation;
    AppendMutation(&mutation, MutationOp::kPut, key, "value");
    return mutation;
  }

  void WriteSets() {
    const std::string put = Put(RowKey(1, 1));
    const auto encode = [&](const std::string& mutations, uint32_t count, uint32_t chunks = 0, Lsn read_lsn = 0) {
      return EncodeWriteSet(NewToken(), read_lsn, chunks, 0, {}, count, mutations);
    };
    const auto patched = [&](size_t at, char byte) {
      std::string bytes = encode(put, 1);
      bytes[at] = byte;
      return bytes;
    };
    WriteSet("empty", "");
    WriteSet("cut", encode(put, 1).substr(0, kWriteSetHeaderSize + 5));
    WriteSet("of a newer version", patched(0, 9));
    WriteSet("with flags", patched(1, 1));
    WriteSet("mutation of no kind", patched(kWriteSetHeaderSize, 0x17));
    WriteSet("mutation longer than the rest", patched(kWriteSetHeaderSize + 5, 0x7f));
    WriteSet("more checks than bytes", patched(7, 0x7f));
    WriteSet("more mutations than there are", encode(put, 2));
    WriteSet("key of no space", encode(Put(std::string(16, '\x7f')), 1));
    WriteSet("key without a storage", encode(Put("abc"), 1));
    WriteSet("without a token", EncodeWriteSet(Token{}, 0, 0, 0, {}, 1, put));
    WriteSet("that has seen the future", encode(put, 1, 0, ~uint64_t{0} - 1));
    WriteSet("whose chunks were never sent", encode(put, 1, 3));
    std::string check;
    AppendCheck(&check, {1, 1, static_cast<LockMode>(kLockModes)});
    WriteSet("check of no lock mode", EncodeWriteSet(NewToken(), 0, 0, 1, check, 1, put));
  }

  void Chunks() {
    const auto chunk = [this](const std::string& name, std::string bytes) {
      proto::SessionRequest request;
      request.add_chunks()->set_chunk(std::move(bytes));
      Decide("chunk: " + name, request);
    };
    chunk("shorter than its token", "abc");
    chunk("without a token", EncodeChunk(Token{}, 0, 0, Put(RowKey(1, 1))));
    chunk("of garbage", EncodeChunk(NewToken(), 0, 0, "garbage"));

    proto::SessionRequest request;
    const Token token = NewToken();
    const uint64_t now = ReadLsn();
    for (const uint32_t sequence : {2u, 0u, 2u}) {
      std::string drop;
      AppendMutation(&drop, MutationOp::kDelete, RowKey(~uint32_t{0}, sequence), {});
      request.add_chunks()->set_chunk(EncodeChunk(token, sequence, 0, drop));
    }
    request.add_commits()->set_write_set(EncodeWriteSet(token, now, 3, 0, {}, 0, {}));
    Decide("chunks of which one is missing, and one came twice", request);

    proto::SessionRequest abandon;
    abandon.add_abandons()->set_token("short");
    abandon.add_abandons()->set_token(std::string(17, 'x'));
    abandon.add_abandons()->set_token(token.data(), token.size());
    abandon.add_commits()->set_write_set("");
    Decide("abandoned tokens of the wrong size", abandon);
  }

  uint64_t ReadLsn() {
    grpc::ClientContext context;
    SetDeadline(&context);
    proto::ReadLsnReply reply;
    (void)adjudicator_->ReadLsn(&context, {}, &reply);
    return reply.committed_lsn();
  }

  void Pages() {
    for (const char* path : {"", "page", "/etc/passwd", "/dev/zero", "/no/such/page"}) {
      grpc::ClientContext context;
      SetDeadline(&context);
      proto::OfferPageRequest request;
      request.set_path(path);
      proto::OfferPageReply reply;
      Tell(std::string("page \"") + path + "\"", adjudicator_->OfferPage(&context, request, &reply));
    }
  }

  // ---- journal ----

  proto::JournalStatus JournalStatus() {
    grpc::ClientContext context;
    SetDeadline(&context);
    proto::JournalStatus status;
    const grpc::Status called = journal_->GetStatus(&context, {}, &status);
    if (!called.ok() || status.sealed_epoch() < 2) {
      fprintf(stderr, "no journal with an old epoch: %s\n", called.error_message().c_str());
      exit(2);
    }
    return status;
  }

  void Append(const std::string& name, const proto::AppendRequest& request) {
    grpc::ClientContext context;
    SetDeadline(&context);
    const auto stream = journal_->Append(&context);
    stream->Write(request);
    stream->WritesDone();
    proto::AppendReply reply;
    while (stream->Read(&reply)) {
    }
    Tell("append: " + name, stream->Finish());
  }

  void Epochs() {
    const proto::JournalStatus now = JournalStatus();
    const auto seal = [this](const std::string& name, uint64_t epoch) {
      grpc::ClientContext context;
      SetDeadline(&context);
      proto::SealRequest request;
      request.set_epoch(epoch);
      proto::SealReply reply;
      Tell("seal of " + name, journal_->Seal(&context, request, &reply));
    };
    seal("no epoch", 0);
    seal("an old epoch", now.sealed_epoch() - 1);
    seal("an epoch far ahead", now.sealed_epoch() + (uint64_t{1} << 40));
    const auto truncate = [this](const std::string& name, uint64_t epoch, uint64_t lsn) {
      grpc::ClientContext context;
      SetDeadline(&context);
      proto::TruncateRequest request;
      request.set_epoch(epoch);
      request.set_lsn(lsn);
      proto::TruncateReply reply;
      Tell("truncation " + name, journal_->Truncate(&context, request, &reply));
    };
    truncate("in an old epoch", now.sealed_epoch() - 1, now.last_lsn());
    truncate("of what is committed", now.sealed_epoch(), 1);

    proto::AppendRequest request;
    request.set_write_quorum(1);
    request.set_epoch(now.sealed_epoch() - 1);
    Append("in an old epoch", request);
    request.set_epoch(now.sealed_epoch() + 1);
    Append("in an epoch to come", request);
    for (const std::string& id : {std::string(), std::string(100'000, 'x')}) {
      grpc::ClientContext context;
      SetDeadline(&context);
      proto::ReportCheckpointRequest report;
      report.set_replica_id(id);
      report.set_lease_ms(1);
      proto::ReportCheckpointReply reply;
      Tell("checkpoint of a replica whose name has " + std::to_string(id.size()) + " bytes",
           journal_->ReportCheckpoint(&context, report, &reply));
    }
  }

  // In the epoch that is: only its writer's knowledge of the log keeps others from writing.
  void Frames() {
    const proto::JournalStatus now = JournalStatus();
    proto::AppendRequest request;
    request.set_epoch(now.sealed_epoch());
    Append("without a quorum", request);
    request.set_write_quorum(1);
    request.set_frames("garbage");
    Append("of garbage", request);
    const auto frame = [&](std::string_view record, uint64_t prev) {
      std::string frames;
      AppendFrame(&frames, now.sealed_epoch(), now.last_lsn() + (uint64_t{1} << 40), prev, record);
      return frames;
    };
    request.set_frames(frame("\x09garbage", now.last_lsn()));
    Append("record of no type", request);
    request.set_frames(frame("", now.last_lsn()));
    Append("empty record", request);
    request.set_frames(frame("\x01", now.last_lsn() + 1));
    Append("frame that does not follow", request);
    request.set_frames(frame("\x01", now.last_lsn()));
    (*request.mutable_frames())[40 - 10] ^= 1;
    Append("frame with a flipped bit", request);
  }

  // ---- storage ----

  void Reads() {
    const uint64_t now = ReadLsn();
    for (const std::string& key :
         {std::string(), std::string("abc"), std::string(16, '\x7f'), std::string(5000, '\x01')}) {
      grpc::ClientContext context;
      SetDeadline(&context);
      proto::GetRequest request;
      request.set_read_lsn(now);
      request.set_wait_ms(1000);
      request.add_keys(key);
      proto::GetReply reply;
      Tell("get of a key of " + std::to_string(key.size()) + " bytes", storage_->Get(&context, request, &reply));
    }
    for (const std::string& lower : {std::string(), std::string("abc"), std::string(16, '\x7f')}) {
      grpc::ClientContext context;
      SetDeadline(&context);
      proto::ScanRequest request;
      request.set_read_lsn(now);
      request.set_wait_ms(1000);
      request.set_lower(lower);
      const auto stream = storage_->Scan(&context, request);
      proto::ScanReply reply;
      while (stream->Read(&reply)) {
      }
      Tell("scan from a key of " + std::to_string(lower.size()) + " bytes", stream->Finish());
    }
    for (const std::string& id : {std::string(), std::string(100'000, 'x')}) {
      grpc::ClientContext context;
      SetDeadline(&context);
      proto::ReportReadersRequest request;
      request.set_qp_id(id);
      request.set_lease_ms(1);
      proto::ReportReadersReply reply;
      Tell("readers of a query processor whose name has " + std::to_string(id.size()) + " bytes",
           storage_->ReportReaders(&context, request, &reply));
    }
  }

  std::mt19937_64 random_{std::random_device{}()};
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<proto::Adjudicator::Stub> adjudicator_;
  std::unique_ptr<proto::Journal::Stub> journal_;
  std::unique_ptr<proto::Storage::Stub> storage_;
  std::unique_ptr<grpc::GenericStub> generic_;
};

}  // namespace
}  // namespace concord

int main(int argc, char** argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: garbage ADDRESS ROUNDS\n");
    return 2;
  }
  concord::Garbage garbage(argv[1]);
  const int rounds = atoi(argv[2]);
  for (int round = 0; round < rounds; round++) garbage.Round(/*oversize=*/round == 0);
  return 0;
}
