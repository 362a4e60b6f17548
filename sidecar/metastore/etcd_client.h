// A client of etcd's v3 gRPC API for a key at a time: reads it, and replaces it if nobody else has. And for keys that
// say that somebody is there: they go when their time is over.
//
// Endpoints are tried in turn, beginning with the one that answered last. One that cannot be connected to costs
// connect_timeout_ms, one that does not answer call_timeout_ms; so no call takes longer than a few times both for each
// of them. Each has to have etcd's majority behind it: reads are linearizable.
//
// With a user, calls carry a token, which is got at the first call and again when a call is refused: etcd forgets
// tokens after some minutes, at a restart and when its users are changed.
//
// Thread-safe: calls run beside each other.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "core/status.h"
#include "proto/etcd.grpc.pb.h"
#include "sidecar/rpc/cancellation.h"

namespace concord {

// What the metastore needs of etcd.
class KeyValueStore {
 public:
  virtual ~KeyValueStore() = default;
  // *revision is that of the last write, 0 if there is no such key; then *value is empty.
  virtual Status Get(const std::string& key, std::string* value, int64_t* revision) = 0;
  struct Unchanged {
    std::string key;
    int64_t revision;
  };
  // Writes if the last write is still that of `revision`, and the other keys are unchanged too; else kConflict. An
  // answer that was lost may have been yes; it is kUnavailable, or kConflict from the next endpoint.
  virtual Status Replace(const std::string& key, int64_t revision, const std::string& value,
                         const std::vector<Unchanged>& others) = 0;
  // Writes, whatever was there; unless it is written again, the key goes after about so many seconds.
  virtual Status PutFor(const std::string& key, const std::string& value, int seconds) = 0;
  // Keys that begin with `prefix`, which does not end with byte 255, and their values.
  virtual Status GetAll(const std::string& prefix, std::vector<std::pair<std::string, std::string>>* out) = 0;
  // Ends all calls, also those to come, with kShutdown.
  virtual void Cancel() = 0;
};

class EtcdClient final : public KeyValueStore {
 public:
  struct Options {
    std::vector<std::string> endpoints;  // host:port
    std::string user;                    // empty: none
    std::string password;
    std::string ca;                // PEM, of the certificates; empty: no TLS
    std::string certificate, key;  // PEM, this client's; may be empty
    int connect_timeout_ms = 200;
    int call_timeout_ms = 1000;
  };
  explicit EtcdClient(Options options);

  Status Get(const std::string& key, std::string* value, int64_t* revision) override;
  Status Replace(const std::string& key, int64_t revision, const std::string& value,
                 const std::vector<Unchanged>& others) override;
  Status PutFor(const std::string& key, const std::string& value, int seconds) override;
  Status GetAll(const std::string& prefix, std::vector<std::pair<std::string, std::string>>* out) override;
  void Cancel() override { calls_.Cancel(); }

 private:
  struct Endpoint {
    std::string address;
    std::shared_ptr<grpc::Channel> channel;
    std::unique_ptr<etcdserverpb::KV::Stub> kv;
    std::unique_ptr<etcdserverpb::Lease::Stub> lease;
    std::unique_ptr<etcdserverpb::Auth::Stub> auth;
  };
  using Request = std::function<grpc::Status(const Endpoint&, grpc::ClientContext*)>;

  Status Call(const Request& request);
  grpc::Status CallAt(const Endpoint& endpoint, const Request& request);
  grpc::Status Send(const Endpoint& endpoint, const Request& request, const std::string& token);
  grpc::Status Authenticate(const Endpoint& endpoint, std::string* token);
  std::string token() const;

  const Options options_;
  std::vector<Endpoint> endpoints_;
  std::atomic<size_t> last_good_ = 0;  // of endpoints_
  mutable std::mutex mutex_;
  std::string token_;  // guarded by mutex_; empty: none yet
  Cancellation calls_;
};

}  // namespace concord
