#include "sidecar/rpc/tls_options.h"

#include <CLI/CLI.hpp>

namespace concord {

void AddTlsOptions(CLI::App* app, TlsFiles* files) {
  app->add_option(
      "--tls-ca", files->ca,
      "PEM: the certificates that the other parts' are checked by (default: no TLS, and so nothing but unix "
      "sockets and loopback)");
  app->add_option("--tls-cert", files->certificate, "PEM: the certificate that they are shown");
  app->add_option("--tls-key", files->key, "PEM: its key, which nobody else may read");
}

}  // namespace concord
