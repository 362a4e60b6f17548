// How a process of Concord and its peers know each other: one place for every channel and every listener.
//
// Unix sockets are plain: who may connect to one is a matter of the file system. Everything else is TLS both ways if
// the process has been given its files: each side shows a certificate of the cluster's CA, the server's must be for the
// address that was connected to, and who shows none is not let in. Without the files only loopback is left; there is no
// way to be reached from another machine, or to reach one, in plain text.
//
// The files are looked at again every kTlsLookSeconds: once all of them are whole and fit, they count for the
// connections that come. Until then the ones before do.
//
// Thread-safe, but for UseTls, which is called before anything else here, or not at all.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <string>

#include "core/status.h"
#include "sidecar/rpc/tls_feed.h"
#include "sidecar/rpc/tls_files.h"

namespace concord {

inline constexpr int kTlsLookSeconds = 5;

class Credentials {
 public:
  // Plain text, on this machine.
  Credentials() = default;
  // TLS.
  static Status Load(const TlsFiles& files, std::unique_ptr<Credentials>* credentials);

  bool tls() const { return channel_ != nullptr; }

  // Connects when first used. To an address that must not be connected to, a channel whose calls all fail and say so.
  std::shared_ptr<grpc::Channel> Connect(const std::string& address, grpc::ChannelArguments arguments) const;
  // For an address that CheckListenAddress has nothing against.
  std::shared_ptr<grpc::ServerCredentials> ForListener(const std::string& address) const;

  // Uses the files' content from now on if it is another one. By one thread at a time.
  Status LookAgain(bool* changed);

 private:
  TlsFiles files_;
  TlsMaterial material_;  // LookAgain only
  std::unique_ptr<TlsFeed> feed_;
  std::shared_ptr<grpc::ChannelCredentials> channel_;
  std::shared_ptr<grpc::ServerCredentials> listener_;
};

// Loads the files, uses them from now on in this process, and looks at them again and again in a thread of its own,
// which inherits the signal mask. `tell` hears of each change: Ok, or why it does not count.
Status UseTls(const TlsFiles& files, std::function<void(const Status&)> tell);
// Those of this process: plain text unless UseTls has been called.
const Credentials& ProcessCredentials();

}  // namespace concord
