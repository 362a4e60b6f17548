// concordctl status: what a running concordd says about itself, or what a stopped directory's files say.
#pragma once

#include <string>

#include "sidecar/ctl/check.h"
#include "sidecar/ctl/report.h"

namespace concord::ctl {

// `address`: where the concordd listens; empty: where it says so in its directory.
ExitCode ShowStatus(const std::string& directory, const std::string& address, Report* report);

}  // namespace concord::ctl
