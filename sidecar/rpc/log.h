// The log of the sidecars: one line an event, `time=... level=... role=... text key=value key=value`. Thread-safe.
#pragma once

#include <spdlog/spdlog.h>

#include <memory>
#include <string>

#include "core/status.h"

namespace concord {

// Sets where log lines go (standard error if `file` is empty) and from which level on. Once, before any role starts.
// Levels: trace, debug, info, warning, error, critical, off.
Status InitLog(const std::string& level, const std::string& file);

// The logger of a role ("adjudicator", "journal", ...). Kept by the caller; cheap to call, but not per record.
std::shared_ptr<spdlog::logger> RoleLog(const std::string& role);

}  // namespace concord
