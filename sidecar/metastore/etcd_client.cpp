#include "sidecar/metastore/etcd_client.h"

#include <chrono>

namespace concord {
namespace {

constexpr int kReconnectMs = 50;  // between attempts

std::shared_ptr<grpc::Channel> ConnectTo(const std::string& address, const EtcdClient::Options& options) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, options.connect_timeout_ms);  // the time that an attempt has
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kReconnectMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kReconnectMs);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  if (options.ca.empty()) return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  return grpc::CreateCustomChannel(address, grpc::SslCredentials({options.ca, options.key, options.certificate}),
                                   arguments);
}

// Whether etcd has understood the call and does not want it: another endpoint would say the same.
bool Refused(const grpc::Status& status) {
  switch (status.error_code()) {
    case grpc::StatusCode::INVALID_ARGUMENT:
    case grpc::StatusCode::UNAUTHENTICATED:
    case grpc::StatusCode::PERMISSION_DENIED:
    case grpc::StatusCode::FAILED_PRECONDITION: return true;
    default: return false;
  }
}

std::chrono::system_clock::time_point After(int timeout_ms) {
  return std::chrono::system_clock::now() + std::chrono::milliseconds(timeout_ms);
}

}  // namespace

EtcdClient::EtcdClient(Options options) : options_(std::move(options)) {
  for (const std::string& address : options_.endpoints) {
    const auto channel = ConnectTo(address, options_);
    endpoints_.push_back({address, channel, etcdserverpb::KV::NewStub(channel), etcdserverpb::Lease::NewStub(channel),
                          etcdserverpb::Auth::NewStub(channel)});
  }
}

Status EtcdClient::Get(const std::string& key, std::string* value, int64_t* revision) {
  etcdserverpb::RangeRequest request;
  request.set_key(key);
  etcdserverpb::RangeResponse response;
  const Status status =
      Call([&](const Endpoint& at, grpc::ClientContext* context) { return at.kv->Range(context, request, &response); });
  if (!status.ok()) return status;
  const bool found = response.kvs_size() > 0;
  *value = found ? response.kvs(0).value() : std::string();
  *revision = found ? response.kvs(0).mod_revision() : 0;
  return status;
}

Status EtcdClient::Replace(const std::string& key, int64_t revision, const std::string& value,
                           const std::vector<Unchanged>& others) {
  etcdserverpb::TxnRequest request;
  const auto expect = [&request](const std::string& at, int64_t last) {
    auto* compare = request.add_compare();
    compare->set_target(etcdserverpb::Compare::MOD);
    compare->set_key(at);
    compare->set_mod_revision(last);
  };
  expect(key, revision);
  for (const Unchanged& other : others) expect(other.key, other.revision);
  auto* put = request.add_success()->mutable_request_put();
  put->set_key(key);
  put->set_value(value);
  etcdserverpb::TxnResponse response;
  const Status status =
      Call([&](const Endpoint& at, grpc::ClientContext* context) { return at.kv->Txn(context, request, &response); });
  if (!status.ok() || response.succeeded()) return status;
  return {Code::kConflict,
          "etcd's key " + key + (others.empty() ? "" : ", or who leads,") + " has been changed meanwhile"};
}

Status EtcdClient::PutFor(const std::string& key, const std::string& value, int seconds) {
  // A lease of its own for each time: none has to be kept alive, and the one before ends without the key.
  etcdserverpb::LeaseGrantRequest grant;
  grant.set_ttl(seconds);
  etcdserverpb::LeaseGrantResponse lease;
  Status status = Call(
      [&](const Endpoint& at, grpc::ClientContext* context) { return at.lease->LeaseGrant(context, grant, &lease); });
  if (!status.ok()) return status;
  etcdserverpb::TxnRequest request;
  auto* put = request.add_success()->mutable_request_put();
  put->set_key(key);
  put->set_value(value);
  put->set_lease(lease.id());
  etcdserverpb::TxnResponse response;
  return Call(
      [&](const Endpoint& at, grpc::ClientContext* context) { return at.kv->Txn(context, request, &response); });
}

Status EtcdClient::GetAll(const std::string& prefix, std::vector<std::pair<std::string, std::string>>* out) {
  etcdserverpb::RangeRequest request;
  request.set_key(prefix);
  std::string end = prefix;
  end.back()++;
  request.set_range_end(end);
  etcdserverpb::RangeResponse response;
  const Status status =
      Call([&](const Endpoint& at, grpc::ClientContext* context) { return at.kv->Range(context, request, &response); });
  out->clear();
  for (const auto& found : response.kvs()) out->emplace_back(found.key(), found.value());
  return status;
}

Status EtcdClient::Call(const Request& request) {
  std::string causes;
  const size_t first = last_good_;
  for (size_t i = 0; i < endpoints_.size(); i++) {
    const size_t at = (first + i) % endpoints_.size();
    const std::string& address = endpoints_[at].address;
    const std::shared_ptr<grpc::Channel>& channel = endpoints_[at].channel;
    // A connection of an earlier call may have died without anybody noticing: only calls look, and they are rare.
    const bool old_connection = channel->GetState(/*try_to_connect=*/true) == GRPC_CHANNEL_READY;
    grpc::Status status = CallAt(endpoints_[at], request);
    if (old_connection && status.error_code() == grpc::StatusCode::UNAVAILABLE)
      status = CallAt(endpoints_[at], request);
    if (calls_.cancelled()) return {Code::kShutdown, "ending"};
    if (status.ok() || Refused(status)) last_good_ = at;
    if (status.ok()) return Status::Ok();
    if (Refused(status)) return {Code::kInvalid, "etcd at " + address + " refuses: " + status.error_message()};
    causes += (causes.empty() ? "" : "; ") + address + ": " + status.error_message();
  }
  return {Code::kUnavailable, "etcd does not answer: " + causes};
}

grpc::Status EtcdClient::CallAt(const Endpoint& endpoint, const Request& request) {
  // A call alone would fail at once while gRPC waits between two attempts, and with it end what drives them.
  endpoint.channel->WaitForConnected(After(options_.connect_timeout_ms));
  std::string token = this->token();
  if (token.empty() && !options_.user.empty()) {
    const grpc::Status status = Authenticate(endpoint, &token);
    return status.ok() ? Send(endpoint, request, token) : status;
  }
  grpc::Status status = Send(endpoint, request, token);
  if (options_.user.empty() || !Refused(status)) return status;
  // The token may be the reason: etcd says so in many ways.
  const grpc::Status anew = Authenticate(endpoint, &token);
  return anew.ok() ? Send(endpoint, request, token) : anew;
}

grpc::Status EtcdClient::Send(const Endpoint& endpoint, const Request& request, const std::string& token) {
  CancellableContext context(&calls_);
  context->set_deadline(After(options_.call_timeout_ms));
  if (!token.empty()) context->AddMetadata("token", token);
  return request(endpoint, context.get());
}

grpc::Status EtcdClient::Authenticate(const Endpoint& endpoint, std::string* token) {
  etcdserverpb::AuthenticateRequest request;
  request.set_name(options_.user);
  request.set_password(options_.password);
  etcdserverpb::AuthenticateResponse response;
  CancellableContext context(&calls_);
  context->set_deadline(After(options_.call_timeout_ms));
  const grpc::Status status = endpoint.auth->Authenticate(context.get(), request, &response);
  // Where etcd's users are not enabled, or not yet, there is no token and none is needed.
  if (!status.ok() && status.error_code() != grpc::StatusCode::FAILED_PRECONDITION) return status;
  *token = response.token();
  const std::lock_guard lock(mutex_);
  token_ = *token;
  return grpc::Status::OK;
}

std::string EtcdClient::token() const {
  const std::lock_guard lock(mutex_);
  return token_;
}

}  // namespace concord
