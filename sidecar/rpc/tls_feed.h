// Where gRPC finds what the TLS files hold: memory that has a path, /proc/self/fd/N. gRPC 1.51 watches files for
// changes, but a key that does not fit its certificate ends all handshakes, and an empty file ends the process (both
// tried), so it gets to see only what has been found to be whole, and never half of it: a new content is written to new
// memory, which then takes the place of the old at once. Nothing of it is on a disk.
//
// Thread-safe: gRPC reads while another thread publishes; one publishes at a time.
#pragma once

#include <memory>
#include <string>

#include "core/status.h"
#include "sidecar/rpc/tls_files.h"

namespace concord {

class TlsFeed {
 public:
  static Status Make(const TlsMaterial& first, std::unique_ptr<TlsFeed>* feed);
  ~TlsFeed();
  TlsFeed(const TlsFeed&) = delete;
  TlsFeed& operator=(const TlsFeed&) = delete;

  Status Publish(const TlsMaterial& next);

  std::string ca_path() const;
  std::string identity_path() const;  // certificate and key

 private:
  TlsFeed() = default;

  int ca_ = -1, identity_ = -1;
};

}  // namespace concord
