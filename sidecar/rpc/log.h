// The log of the sidecars: one line an event, `time=... level=... role=... text key=value key=value`. Thread-safe.
//
// A value may come from outside, such as a path or what a client has sent: quotes, backslashes and control characters
// in it are escaped, so that nobody can end a value, or a line, and go on in the log's name.
//
// spdlog behind it stays out of this header: its templates cost every file that logs ten seconds of compilation.
#pragma once

#include <fmt/core.h>

#include <memory>
#include <string>
#include <string_view>

#include "core/status.h"

namespace spdlog {
class logger;
}

namespace concord {

// Sets where log lines go (standard error if `file` is empty) and from which level on. Once, before any role starts.
// Levels: trace, debug, info, warning, error, critical, off.
Status InitLog(const std::string& level, const std::string& file);

// `value` as it stands in a line: "a\"b\n" for the bytes a, quote, b, newline.
std::string EscapeLogValue(std::string_view value);
// The rest of a line: `text`, with each value that is a string escaped.
std::string FormatLogLine(fmt::string_view text, fmt::format_args args);

class Log {
 public:
  explicit Log(std::shared_ptr<spdlog::logger> logger) : logger_(std::move(logger)) {}

  template <typename... Args>
  void debug(fmt::format_string<const Args&...> text, const Args&... args) const {
    Write(Level::kDebug, text, fmt::make_format_args(args...));
  }
  template <typename... Args>
  void info(fmt::format_string<const Args&...> text, const Args&... args) const {
    Write(Level::kInfo, text, fmt::make_format_args(args...));
  }
  template <typename... Args>
  void warn(fmt::format_string<const Args&...> text, const Args&... args) const {
    Write(Level::kWarning, text, fmt::make_format_args(args...));
  }
  template <typename... Args>
  void error(fmt::format_string<const Args&...> text, const Args&... args) const {
    Write(Level::kError, text, fmt::make_format_args(args...));
  }
  template <typename... Args>
  void critical(fmt::format_string<const Args&...> text, const Args&... args) const {
    Write(Level::kCritical, text, fmt::make_format_args(args...));
  }

 private:
  enum class Level { kDebug, kInfo, kWarning, kError, kCritical };
  void Write(Level level, fmt::string_view text, fmt::format_args args) const;

  std::shared_ptr<spdlog::logger> logger_;
};

// The log of a role ("adjudicator", "journal", ...). Kept by the caller; cheap to call, but not per record.
std::shared_ptr<const Log> RoleLog(const std::string& role);

}  // namespace concord
