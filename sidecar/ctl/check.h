// concordctl check: verifies a stopped directory.
#pragma once

#include <string>

#include "sidecar/ctl/report.h"

namespace concord::ctl {

// Exit codes of concordctl, also of its other commands.
enum ExitCode { kExitOk = 0, kExitProblem = 1, kExitUsage = 2, kExitOther = 3, kExitUnreadable = 4 };

ExitCode Check(const std::string& directory, Report* report);

}  // namespace concord::ctl
