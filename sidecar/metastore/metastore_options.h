// Where the metastore is, as concordd and concordctl are told: the same options for both.
//
// Not thread-safe.
#pragma once

#include <string>
#include <vector>

#include "core/status.h"
#include "sidecar/metastore/etcd_client.h"

namespace CLI {
class App;
}

namespace concord {

struct MetastoreOptions {
  std::vector<std::string> where = {"file"};  // or "etcd:host:port", one or more
  std::string user, password_file;
  std::string ca_file, certificate_file, key_file;

  void AddTo(CLI::App* app);
  bool etcd() const { return where != std::vector<std::string>{"file"}; }

  // kInvalid, with the reason, for what does not go together.
  Status Check() const;
  // Of an etcd; reads the files.
  Status Read(EtcdClient::Options* options) const;
};

}  // namespace concord
