// The metastore's etcd: one linearizable store of keys on a node of its own, and its client. That an answer is lost,
// comes late or not at all is the network's doing.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "proto/etcd.grpc.pb.h"
#include "sidecar/metastore/etcd_client.h"
#include "sidecar/rpc/cancellation.h"
#include "sidecar/simulation/network.h"

namespace concord::simulation {

class Etcd {
 public:
  void Serve(int node) {
    network->Offer(node, "KV.Range",
                   Unary<etcdserverpb::RangeRequest, etcdserverpb::RangeResponse>(
                       [this](grpc::ServerContext*, const auto* request, auto* reply) {
                         if (const auto found = keys_.find(request->key()); found != keys_.end()) {
                           auto* const kv = reply->add_kvs();
                           kv->set_value(found->second.first);
                           kv->set_mod_revision(found->second.second);
                         }
                         return grpc::Status::OK;
                       }));
    network->Offer(node, "KV.Txn",
                   Unary<etcdserverpb::TxnRequest, etcdserverpb::TxnResponse>(
                       [this](grpc::ServerContext*, const auto* request, auto* reply) {
                         reply->set_succeeded(true);
                         for (const auto& compare : request->compare()) {
                           const auto found = keys_.find(compare.key());
                           const int64_t revision = found == keys_.end() ? 0 : found->second.second;
                           if (revision != compare.mod_revision()) reply->set_succeeded(false);
                         }
                         const auto& put = request->success(0).request_put();
                         if (reply->succeeded()) keys_[put.key()] = {put.value(), ++revision_};
                         return grpc::Status::OK;
                       }));
  }

 private:
  std::map<std::string, std::pair<std::string, int64_t>> keys_;
  int64_t revision_ = 0;
};

// Sends what EtcdClient sends, over one endpoint.
class EtcdStub final : public KeyValueStore {
 public:
  explicit EtcdStub(int server) : server_(server) {}

  Status Get(const std::string& key, std::string* value, int64_t* revision) override {
    etcdserverpb::RangeRequest request;
    request.set_key(key);
    etcdserverpb::RangeResponse response;
    const Status status = Send("KV.Range", request, &response);
    const bool found = response.kvs_size() > 0;
    *value = found ? response.kvs(0).value() : std::string();
    *revision = found ? response.kvs(0).mod_revision() : 0;
    return status;
  }
  Status Replace(const std::string& key, int64_t revision, const std::string& value,
                 const std::vector<Unchanged>& others) override {
    etcdserverpb::TxnRequest request;
    const auto expect = [&request](const std::string& at, int64_t last) {
      auto* const compare = request.add_compare();
      compare->set_target(etcdserverpb::Compare::MOD);
      compare->set_key(at);
      compare->set_mod_revision(last);
    };
    expect(key, revision);
    for (const Unchanged& other : others) expect(other.key, other.revision);
    auto* const put = request.add_success()->mutable_request_put();
    put->set_key(key);
    put->set_value(value);
    etcdserverpb::TxnResponse response;
    const Status status = Send("KV.Txn", request, &response);
    if (!status.ok() || response.succeeded()) return status;
    return {Code::kConflict, "etcd's key " + key + " has been changed meanwhile"};
  }
  // No process of the simulation says in etcd that it is there.
  Status PutFor(const std::string&, const std::string&, int) override { return {Code::kUnavailable, "not simulated"}; }
  Status GetAll(const std::string&, std::vector<std::pair<std::string, std::string>>*) override {
    return {Code::kUnavailable, "not simulated"};
  }
  void Cancel() override { calls_.Cancel(); }

 private:
  template <typename Request, typename Response>
  Status Send(const char* method, const Request& request, Response* response) {
    CancellableContext context(&calls_);
    context->set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(1000));
    const grpc::Status status = CallUnary(context.get(), server_, method, request, response);
    if (calls_.cancelled()) return {Code::kShutdown, "ending"};
    return status.ok() ? Status::Ok() : Status(Code::kUnavailable, status.error_message());
  }

  const int server_;
  Cancellation calls_;
};

}  // namespace concord::simulation
