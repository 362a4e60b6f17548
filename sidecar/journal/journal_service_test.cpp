#include "sidecar/journal/journal_service.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <thread>

#include "sidecar/journal/journal_test_util.h"

namespace concord::journal {
namespace {

using AppendCall = grpc::ClientReaderWriter<proto::AppendRequest, proto::AppendReply>;

class JournalServiceTest : public testing::Test {
 protected:
  void SetUp() override {
    options_.log.directory = directory_.path() + "/journal";
    options_.retention_ms = 0;
    options_.log.sync_data = [this](int fd) {
      while (hold_sync_) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      if (!fail_sync_) return ::fdatasync(fd);
      errno = EIO;
      return -1;
    };
    ASSERT_TRUE(JournalNode::Open(options_, &node_).ok());
    service_ = std::make_unique<JournalService>(node_.get());
    grpc::ServerBuilder builder;
    builder.RegisterService(service_.get());
    server_ = builder.BuildAndStart();
    stub_ = proto::Journal::NewStub(server_->InProcessChannel({}));
  }
  void TearDown() override { Stop(); }
  void Stop() {
    if (server_ == nullptr) return;
    service_->Stop();
    server_->Shutdown();
    server_.reset();
  }

  grpc::Status Seal(uint64_t epoch, proto::SealReply* reply) {
    grpc::ClientContext context;
    proto::SealRequest request;
    request.set_epoch(epoch);
    return stub_->Seal(&context, request, reply);
  }
  static proto::AppendRequest Request(uint64_t epoch, Lsn first, Lsn last) {
    proto::AppendRequest request;
    request.set_epoch(epoch);
    request.set_write_quorum(1);
    request.set_frames(FrameRange(epoch, first, last));
    return request;
  }
  static Lsn AwaitSynced(AppendCall* call, Lsn lsn) {
    proto::AppendReply reply;
    while (reply.synced_lsn() < lsn && call->Read(&reply)) {
      if (reply.failed()) call->WritesDone();  // the node has failed, and wants to say why
    }
    return reply.synced_lsn();
  }

  TemporaryDirectory directory_;
  JournalNodeOptions options_;
  std::atomic<bool> fail_sync_ = false;
  std::atomic<bool> hold_sync_ = false;
  std::unique_ptr<JournalNode> node_;
  std::unique_ptr<JournalService> service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<proto::Journal::Stub> stub_;
};

TEST_F(JournalServiceTest, PipelinedAppendsShareSyncsAndReachTheTail) {
  proto::SealReply sealed;
  ASSERT_TRUE(Seal(1, &sealed).ok());
  constexpr Lsn kEnd = 2000;
  std::string tailed;
  std::thread tailer([&] {
    grpc::ClientContext context;
    const auto tail = stub_->Tail(&context, proto::TailRequest());
    proto::TailReply reply;
    while (tailed.size() < FrameRange(1, 1, kEnd).size() && tail->Read(&reply)) tailed += reply.frames();
    context.TryCancel();
    (void)tail->Finish();
  });
  grpc::ClientContext context;
  const auto call = stub_->Append(&context);
  std::thread writer([&] {
    for (Lsn lsn = 1; lsn <= kEnd; lsn++) ASSERT_TRUE(call->Write(Request(1, lsn, lsn)));
    call->WritesDone();
  });
  EXPECT_EQ(AwaitSynced(call.get(), kEnd), kEnd);
  writer.join();
  const grpc::Status status = call->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  tailer.join();
  EXPECT_TRUE(tailed == FrameRange(1, 1, kEnd));
  proto::JournalStatus state;
  grpc::ClientContext status_context;
  ASSERT_TRUE(stub_->GetStatus(&status_context, {}, &state).ok());
  EXPECT_EQ(state.last_lsn(), kEnd);
  EXPECT_EQ(state.committed_lsn(), kEnd);
  EXPECT_LT(state.syncs(), kEnd);
}

TEST_F(JournalServiceTest, LoneAppendsAreAnsweredOneByOne) {
  proto::SealReply sealed;
  ASSERT_TRUE(Seal(1, &sealed).ok());
  grpc::ClientContext context;
  const auto call = stub_->Append(&context);
  for (Lsn lsn = 1; lsn <= 300; lsn++) {
    ASSERT_TRUE(call->Write(Request(1, lsn, lsn)));
    ASSERT_EQ(AwaitSynced(call.get(), lsn), lsn);
  }
  call->WritesDone();
  EXPECT_TRUE(call->Finish().ok());
}

// The leader's lease depends on it.
TEST_F(JournalServiceTest, HeartbeatsAreAnsweredDuringALongSync) {
  proto::SealReply sealed;
  ASSERT_TRUE(Seal(1, &sealed).ok());
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  const auto call = stub_->Append(&context);
  hold_sync_ = true;
  ASSERT_TRUE(call->Write(Request(1, 1, 1)));
  proto::AppendReply reply;
  for (uint64_t sent_us = 1; sent_us <= 3; sent_us++) {
    proto::AppendRequest heartbeat = Request(1, 1, 1);
    heartbeat.clear_frames();
    heartbeat.set_lease_ms(100);
    heartbeat.set_sent_us(sent_us);
    if (!call->Write(heartbeat) || !call->Read(&reply)) {
      ADD_FAILURE() << "no answer to heartbeat " << sent_us;
      break;
    }
    EXPECT_EQ(reply.heard_us(), sent_us);
    EXPECT_EQ(reply.synced_lsn(), kNoLsn);
  }
  hold_sync_ = false;
  EXPECT_EQ(AwaitSynced(call.get(), 1), 1u);
  call->WritesDone();
  EXPECT_TRUE(call->Finish().ok());
}

TEST_F(JournalServiceTest, AFollowerForWhomNobodyWaitsGetsMuchAtATime) {
  proto::SealReply sealed;
  ASSERT_TRUE(Seal(1, &sealed).ok());
  constexpr Lsn kEnd = 50;
  grpc::ClientContext context;
  proto::TailRequest request;
  request.set_gather_ms(100);
  const auto tail = stub_->Tail(&context, request);
  std::thread writer([&] {
    for (Lsn lsn = 1; lsn <= kEnd; lsn++) {
      ASSERT_TRUE(node_->Append(Input(1, lsn, lsn)).ok());
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  });
  std::string tailed;
  proto::TailReply reply;
  Lsn messages = 0;
  while (tailed.size() < FrameRange(1, 1, kEnd).size() && tail->Read(&reply)) {
    tailed += reply.frames();
    if (!reply.frames().empty()) messages++;
  }
  writer.join();
  EXPECT_TRUE(tailed == FrameRange(1, 1, kEnd));
  EXPECT_LT(messages, kEnd / 2);
  context.TryCancel();
  EXPECT_FALSE(tail->Finish().ok());
}

TEST_F(JournalServiceTest, StaleEpochAndGapEndTheStream) {
  proto::SealReply sealed;
  ASSERT_TRUE(Seal(2, &sealed).ok());
  EXPECT_EQ(Seal(1, &sealed).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  for (const auto& bad : {Request(1, 1, 1), Request(2, 5, 5)}) {
    grpc::ClientContext context;
    const auto call = stub_->Append(&context);
    call->Write(bad);
    EXPECT_EQ(AwaitSynced(call.get(), 1), kNoLsn);
    EXPECT_EQ(call->Finish().error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  }
}

TEST_F(JournalServiceTest, OldAndImpossibleEpochsChangeNothing) {
  proto::SealReply sealed;
  ASSERT_TRUE(Seal(5, &sealed).ok());
  ASSERT_TRUE(node_->Append(Input(5, 1, 10)).ok());
  const SegmentLog::State before = node_->state();
  for (const uint64_t epoch : {uint64_t{1}, uint64_t{4}})
    EXPECT_EQ(Seal(epoch, &sealed).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  for (const uint64_t epoch : {uint64_t{0}, UINT64_MAX, uint64_t{1} << 40})
    EXPECT_EQ(Seal(epoch, &sealed).error_code(), grpc::StatusCode::INVALID_ARGUMENT) << epoch;
  for (const uint64_t epoch : {uint64_t{0}, uint64_t{4}, uint64_t{6}}) {
    grpc::ClientContext context;
    proto::TruncateRequest request;
    request.set_epoch(epoch);
    request.set_lsn(3);
    proto::TruncateReply reply;
    EXPECT_FALSE(stub_->Truncate(&context, request, &reply).ok()) << epoch;
    EXPECT_FALSE(node_->Append(Input(epoch, 11, 12)).ok()) << epoch;
  }
  EXPECT_EQ(node_->state().last_lsn, before.last_lsn);
  EXPECT_EQ(node_->state().sealed_epoch, 5u);
  EXPECT_TRUE(node_->Append(Input(5, 11, 12)).ok()) << "the writer goes on";
  EXPECT_TRUE(Seal(6, &sealed).ok());
}

TEST_F(JournalServiceTest, SealFencesAnOpenStream) {
  proto::SealReply sealed;
  ASSERT_TRUE(Seal(1, &sealed).ok());
  grpc::ClientContext context;
  const auto call = stub_->Append(&context);
  call->Write(Request(1, 1, 1));
  ASSERT_EQ(AwaitSynced(call.get(), 1), 1u);
  ASSERT_TRUE(Seal(2, &sealed).ok());
  EXPECT_EQ(sealed.last_lsn(), 1u);
  call->Write(Request(1, 2, 2));
  EXPECT_EQ(AwaitSynced(call.get(), 2), kNoLsn);
  EXPECT_EQ(call->Finish().error_code(), grpc::StatusCode::FAILED_PRECONDITION);
}

TEST_F(JournalServiceTest, NewerStreamTakesOver) {
  proto::SealReply sealed;
  ASSERT_TRUE(Seal(1, &sealed).ok());
  grpc::ClientContext first_context, second_context;
  const auto first = stub_->Append(&first_context);
  first->Write(Request(1, 1, 1));
  ASSERT_EQ(AwaitSynced(first.get(), 1), 1u);
  const auto second = stub_->Append(&second_context);
  second->Write(Request(1, 2, 2));
  ASSERT_EQ(AwaitSynced(second.get(), 2), 2u);
  EXPECT_EQ(AwaitSynced(first.get(), 2), kNoLsn);
  EXPECT_FALSE(first->Finish().ok());
}

TEST_F(JournalServiceTest, AFencedWriterEndsNobody) {
  proto::SealReply sealed;
  ASSERT_TRUE(Seal(2, &sealed).ok());
  grpc::ClientContext context, fenced_context;
  const auto call = stub_->Append(&context);
  call->Write(Request(2, 1, 1));
  ASSERT_EQ(AwaitSynced(call.get(), 1), 1u);
  const auto fenced = stub_->Append(&fenced_context);
  fenced->Write(Request(1, 2, 2));
  EXPECT_EQ(AwaitSynced(fenced.get(), 2), kNoLsn);
  EXPECT_EQ(fenced->Finish().error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  call->Write(Request(2, 2, 2));
  EXPECT_EQ(AwaitSynced(call.get(), 2), 2u);
}

TEST_F(JournalServiceTest, FailedSyncEndsTheStream) {
  proto::SealReply sealed;
  ASSERT_TRUE(Seal(1, &sealed).ok());
  for (const bool client_goes_on : {false, true}) {
    grpc::ClientContext context;
    const auto call = stub_->Append(&context);
    fail_sync_ = true;
    call->Write(Request(1, 1, 1));
    if (client_goes_on) {
      usleep(5000);
      call->Write(Request(1, 1, 1));
    }
    EXPECT_EQ(AwaitSynced(call.get(), 1), kNoLsn);
    const grpc::Status status = call->Finish();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::DATA_LOSS) << status.error_message();
  }
}

TEST_F(JournalServiceTest, AClientThatDoesNotFinishIsNotWaitedForLong) {
  proto::SealReply sealed;
  ASSERT_TRUE(Seal(1, &sealed).ok());
  grpc::ClientContext context;
  const auto call = stub_->Append(&context);
  fail_sync_ = true;
  call->Write(Request(1, 1, 1));
  proto::AppendReply reply;
  ASSERT_TRUE(call->Read(&reply));
  EXPECT_EQ(reply.synced_lsn(), kNoLsn);
  EXPECT_FALSE(call->Read(&reply));
  EXPECT_FALSE(call->Finish().ok());  // cancelled, if a thread was reading
}

TEST_F(JournalServiceTest, TailUntilEndAndTrimmed) {
  proto::SealReply sealed;
  ASSERT_TRUE(Seal(1, &sealed).ok());
  for (Lsn lsn = 1; lsn <= 40; lsn++) {
    std::string frames;
    AppendFrame(&frames, 1, lsn, lsn - 1, std::string(1u << 20, '\3'));
    ASSERT_TRUE(node_->Append({1, 0, 2, std::move(frames)}).ok());  // synced, and not committed
  }
  const auto tail = [&](Lsn after, Lsn* last) {
    grpc::ClientContext context;
    proto::TailRequest request;
    request.set_after_lsn(after);
    request.set_until_end(true);
    const auto call = stub_->Tail(&context, request);
    proto::TailReply reply;
    *last = kNoLsn;
    while (call->Read(&reply)) {
      Frame frame;
      size_t size;
      for (std::string_view rest = reply.frames(); ParseFrame(rest, &frame, &size).ok(); rest.remove_prefix(size))
        *last = frame.lsn;
    }
    return call->Finish();
  };
  Lsn last;
  EXPECT_TRUE(tail(0, &last).ok());
  EXPECT_EQ(last, 40u);
  EXPECT_TRUE(tail(40, &last).ok());
  EXPECT_EQ(last, kNoLsn);
  ASSERT_TRUE(node_->Submit({1, 40, 2, ""}).ok());
  grpc::ClientContext context;
  proto::ReportCheckpointRequest request;
  request.set_replica_id("replica");
  request.set_checkpoint_lsn(39);
  request.set_lease_ms(1000);
  proto::ReportCheckpointReply reply;
  ASSERT_TRUE(stub_->ReportCheckpoint(&context, request, &reply).ok());
  EXPECT_GT(reply.trimmed_lsn(), 0u);
  EXPECT_EQ(tail(0, &last).error_code(), grpc::StatusCode::OUT_OF_RANGE);
  EXPECT_TRUE(tail(reply.trimmed_lsn(), &last).ok());
  EXPECT_EQ(last, 40u);
}

TEST_F(JournalServiceTest, StopEndsOpenStreamsPromptly) {
  proto::SealReply sealed;
  ASSERT_TRUE(Seal(1, &sealed).ok());
  grpc::ClientContext append_context, tail_context;
  const auto call = stub_->Append(&append_context);
  call->Write(Request(1, 1, 1));
  ASSERT_EQ(AwaitSynced(call.get(), 1), 1u);
  const auto tail = stub_->Tail(&tail_context, proto::TailRequest());
  proto::TailReply reply;
  ASSERT_TRUE(tail->Read(&reply));
  EXPECT_EQ(reply.committed_lsn(), 1u);
  const auto begun = std::chrono::steady_clock::now();
  Stop();
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(1));
  EXPECT_FALSE(tail->Read(&reply));
  EXPECT_FALSE(tail->Finish().ok());
  EXPECT_FALSE(call->Finish().ok());
}

}  // namespace
}  // namespace concord::journal
