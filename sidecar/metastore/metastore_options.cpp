#include "sidecar/metastore/metastore_options.h"

#include <CLI/CLI.hpp>

#include "sidecar/metastore/atomic_file.h"
#include "sidecar/rpc/address.h"

namespace concord {
namespace {

constexpr std::string_view kEtcd = "etcd:";

// A name or an IP address, and a port; nothing else that gRPC would take.
bool IsHostAndPort(std::string_view text) {
  const size_t colon = text.rfind(':');
  return colon != std::string_view::npos && colon > 0 && colon + 1 < text.size() &&
         text.find_first_not_of("0123456789", colon + 1) == std::string_view::npos &&
         text.find_first_of("/, ") == std::string_view::npos;
}

Status ReadIfNamed(const std::string& path, std::string* content) {
  return path.empty() ? Status::Ok() : ReadSmallFile(path, content);
}

}  // namespace

void MetastoreOptions::AddTo(CLI::App* app) {
  app->add_option("--metastore", where, "file, or the endpoints of an etcd, as etcd:host:port; comma-separated")
      ->delimiter(',')
      ->capture_default_str();
  app->add_option("--metastore-user", user, "of etcd (default: none)");
  app->add_option("--metastore-password-file", password_file, "with that user's password");
  app->add_option("--metastore-ca", ca_file, "PEM: the certificates that etcd's is checked by (default: no TLS)");
  app->add_option("--metastore-cert", certificate_file, "PEM: the certificate that etcd is shown");
  app->add_option("--metastore-key", key_file, "PEM: its key");
}

Status MetastoreOptions::Check() const {
  if (!etcd()) {
    for (const std::string& option : {user, password_file, ca_file, certificate_file, key_file}) {
      if (!option.empty())
        return {Code::kInvalid, "the options --metastore-* are for an etcd, and --metastore names none"};
    }
    return Status::Ok();
  }
  for (const std::string& endpoint : where) {
    if (!endpoint.starts_with(kEtcd) || !IsHostAndPort(std::string_view(endpoint).substr(kEtcd.size())))
      return {Code::kInvalid, "--metastore: \"" + endpoint + "\" is not etcd:host:port"};
    const Status status = CheckPeerAddress(endpoint.substr(kEtcd.size()), !ca_file.empty());
    if (!status.ok()) return {status.code(), "--metastore: " + status.message() + "; see --metastore-ca"};
  }
  if (user.empty() != password_file.empty())
    return {Code::kInvalid, "--metastore-user and --metastore-password-file go together"};
  if (certificate_file.empty() != key_file.empty())
    return {Code::kInvalid, "--metastore-cert and --metastore-key go together"};
  if (ca_file.empty() && !certificate_file.empty()) return {Code::kInvalid, "--metastore-cert needs --metastore-ca"};
  return Status::Ok();
}

Status MetastoreOptions::Read(EtcdClient::Options* options) const {
  for (const std::string& endpoint : where) options->endpoints.push_back(endpoint.substr(kEtcd.size()));
  options->user = user;
  Status status = ReadIfNamed(password_file, &options->password);
  if (status.ok()) status = ReadIfNamed(ca_file, &options->ca);
  if (status.ok()) status = ReadIfNamed(certificate_file, &options->certificate);
  if (status.ok()) status = ReadIfNamed(key_file, &options->key);
  while (!options->password.empty() && options->password.back() == '\n') options->password.pop_back();
  return status;
}

}  // namespace concord
