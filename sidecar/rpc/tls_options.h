// The TLS files as concordd and concordctl are told of them: the same options for both.
#pragma once

#include "sidecar/rpc/tls_files.h"

namespace CLI {
class App;
}

namespace concord {

void AddTlsOptions(CLI::App* app, TlsFiles* files);

}  // namespace concord
