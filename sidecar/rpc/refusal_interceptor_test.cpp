#include "sidecar/rpc/refusal_interceptor.h"

#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "proto/sidecar.grpc.pb.h"

namespace concord {
namespace {

class RefusalInterceptorTest : public testing::Test {
 protected:
  RefusalInterceptorTest() {
    const std::string address = "unix-abstract:concord-refusals-" + std::to_string(getpid());
    grpc::ServerBuilder builder;
    LogRefusedCalls(&builder);
    builder.AddListeningPort(address, grpc::InsecureServerCredentials());
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    channel_ = grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
  }
  ~RefusalInterceptorTest() override { server_->Shutdown(std::chrono::system_clock::now()); }

  // A call of GetInfo with that message, or with none at all.
  grpc::StatusCode Call(const grpc::ByteBuffer* message) {
    grpc::GenericStub stub(channel_);
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    const auto call = stub.PrepareCall(&context, "/concord.proto.Sidecar/GetInfo", &queue);
    const auto wait = [&queue] {
      void* tag;
      bool ok;
      queue.Next(&tag, &ok);
    };
    call->StartCall(nullptr);
    wait();
    if (message != nullptr) {
      call->Write(*message, nullptr);
      wait();
    }
    call->WritesDone(nullptr);
    wait();
    grpc::Status status;
    call->Finish(&status, nullptr);
    wait();
    return status.error_code();
  }

  proto::Sidecar::Service service_;
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

TEST_F(RefusalInterceptorTest, CountsWhatCannotBeParsed) {
  const uint64_t before = UnparsableCalls();
  const grpc::Slice garbage(std::string("\xff\xff\xff"));
  const grpc::ByteBuffer message(&garbage, 1);
  EXPECT_EQ(Call(&message), grpc::StatusCode::INTERNAL);
  EXPECT_EQ(UnparsableCalls(), before + 1);
}

// So it looks when a client has given up a call before its message came, as who hedges does.
TEST_F(RefusalInterceptorTest, ACallWithoutAMessageIsNoGarbage) {
  const uint64_t before = UnparsableCalls();
  EXPECT_EQ(Call(nullptr), grpc::StatusCode::INTERNAL);
  EXPECT_EQ(UnparsableCalls(), before);
}

}  // namespace
}  // namespace concord
