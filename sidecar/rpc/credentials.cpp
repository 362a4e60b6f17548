#include "sidecar/rpc/credentials.h"

#include <grpc/grpc.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <thread>
#include <utility>

#include "sidecar/rpc/address.h"

namespace concord {
namespace {

constexpr unsigned kGrpcLookSeconds = 1;  // so long after it was told, a new content counts
constexpr int kConnectMs = 1000;          // a handshake takes its time on a machine that is busy

std::shared_ptr<grpc::Channel> FailingChannel(const std::string& address, const Status& reason) {
  return grpc::CreateChannelInternal(
      address,
      grpc_lame_client_channel_create(address.c_str(), GRPC_STATUS_FAILED_PRECONDITION, reason.message().c_str()), {});
}

// Looks at the files of some credentials until it is destroyed.
class Watcher {
 public:
  Watcher(Credentials* credentials, std::function<void(const Status&)> tell)
      : thread_([this, credentials, tell = std::move(tell)](const std::stop_token& stop) {
          Status last;
          while (Pause(stop)) {
            bool changed = false;
            const Status status = credentials->LookAgain(&changed);
            if (changed || (!status.ok() && status.message() != last.message())) tell(status);
            last = status;
          }
        }) {}

 private:
  bool Pause(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, stop, std::chrono::seconds(kTlsLookSeconds), [] { return false; });
    return !stop.stop_requested();
  }

  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::jthread thread_;  // last: it uses the others
};

struct OfProcess {
  std::unique_ptr<Credentials> credentials = std::make_unique<Credentials>();
  std::unique_ptr<Watcher> watcher;  // ends before what it watches
};

OfProcess& Process() {
  static OfProcess process;
  return process;
}

}  // namespace

Status Credentials::Load(const TlsFiles& files, std::unique_ptr<Credentials>* credentials) {
  auto loaded = std::make_unique<Credentials>();
  loaded->files_ = files;
  Status status = files.Load(&loaded->material_);
  if (status.ok()) status = TlsFeed::Make(loaded->material_, &loaded->feed_);
  if (!status.ok()) return status;
  const auto provider = std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
      loaded->feed_->identity_path(), loaded->feed_->identity_path(), loaded->feed_->ca_path(), kGrpcLookSeconds);
  grpc::experimental::TlsChannelCredentialsOptions client;
  client.set_certificate_provider(provider);
  client.watch_root_certs();
  client.watch_identity_key_cert_pairs();
  client.set_verify_server_certs(true);
  loaded->channel_ = grpc::experimental::TlsCredentials(client);
  grpc::experimental::TlsServerCredentialsOptions server(provider);
  server.watch_root_certs();
  server.watch_identity_key_cert_pairs();
  server.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  loaded->listener_ = grpc::experimental::TlsServerCredentials(server);
  *credentials = std::move(loaded);
  return status;
}

std::shared_ptr<grpc::Channel> Credentials::Connect(const std::string& address,
                                                    grpc::ChannelArguments arguments) const {
  if (const Status status = CheckPeerAddress(address, tls()); !status.ok()) return FailingChannel(address, status);
  if (!tls() || IsUnixAddress(address))
    return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectMs);  // which is the time that an attempt has
  return grpc::CreateCustomChannel(address, channel_, arguments);
}

std::shared_ptr<grpc::ServerCredentials> Credentials::ForListener(const std::string& address) const {
  return tls() && !IsUnixAddress(address) ? listener_ : grpc::InsecureServerCredentials();
}

Status Credentials::LookAgain(bool* changed) {
  TlsMaterial next;
  Status status = files_.Load(&next);
  *changed = status.ok() && next != material_;
  if (!*changed) return status;
  status = feed_->Publish(next);
  if (status.ok()) material_ = std::move(next);
  return status;
}

Status UseTls(const TlsFiles& files, std::function<void(const Status&)> tell) {
  std::unique_ptr<Credentials> credentials;
  if (Status s = Credentials::Load(files, &credentials); !s.ok()) return s;
  Process().watcher.reset();
  Process().credentials = std::move(credentials);
  Process().watcher = std::make_unique<Watcher>(Process().credentials.get(), std::move(tell));
  return Status::Ok();
}

const Credentials& ProcessCredentials() { return *Process().credentials; }

}  // namespace concord
