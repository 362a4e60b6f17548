#include "sidecar/rpc/refusal_interceptor.h"

#include <grpcpp/support/server_interceptor.h>

#include <atomic>
#include <memory>
#include <utility>
#include <vector>

#include "sidecar/rpc/refusals.h"

namespace concord {
namespace {

using grpc::experimental::InterceptionHookPoints;

constexpr char kNoMessage[] = "Couldn't initialize byte buffer reader";  // as gRPC says it

std::atomic<uint64_t> unparsable_calls = 0;

class Interceptor final : public grpc::experimental::Interceptor {
 public:
  Interceptor(RefusalLog* refusals, const char* method) : refusals_(refusals), method_(method) {}

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      const grpc::Status status = methods->GetSendStatus();
      // No service of ours answers so. A call without a message is mostly one that its client has given up.
      if (status.error_code() == grpc::StatusCode::INTERNAL && status.error_message() != kNoMessage) {
        unparsable_calls.fetch_add(1, std::memory_order_relaxed);
        refusals_->Note(method_, {Code::kInvalid, "a message that cannot be parsed"});
      }
    }
    methods->Proceed();
  }

 private:
  RefusalLog* const refusals_;
  const char* const method_;
};

class Factory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  grpc::experimental::Interceptor* CreateServerInterceptor(grpc::experimental::ServerRpcInfo* info) override {
    return new Interceptor(&refusals_, info->method());
  }

 private:
  RefusalLog refusals_{"rpc"};
};

}  // namespace

uint64_t UnparsableCalls() { return unparsable_calls.load(std::memory_order_relaxed); }

void LogRefusedCalls(grpc::ServerBuilder* builder) {
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> creators;
  creators.push_back(std::make_unique<Factory>());
  builder->experimental().SetInterceptorCreators(std::move(creators));
}

}  // namespace concord
