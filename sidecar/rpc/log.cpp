#include "sidecar/rpc/log.h"

#include <fmt/args.h>
#include <google/protobuf/stubs/logging.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <mutex>
#include <type_traits>

#include "sidecar/rpc/refusals.h"

namespace concord {
namespace {

// Protobuf complains of each message that holds a string which is not UTF-8, on standard error.
void NoteProtobuf(google::protobuf::LogLevel level, const char*, int, const std::string& message) {
  static RefusalLog& refusals = *new RefusalLog("protobuf");
  if (level >= google::protobuf::LOGLEVEL_WARNING) refusals.Note("message", {Code::kInvalid, message});
}

}  // namespace

Status InitLog(const std::string& level, const std::string& file) {
  const auto parsed = spdlog::level::from_str(level);
  if (parsed == spdlog::level::off && level != "off") return {Code::kInvalid, "unknown log level " + level};
  try {
    spdlog::sink_ptr sink;
    if (file.empty()) {
      sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    } else {
      sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(file);
    }
    auto logger = std::make_shared<spdlog::logger>("concordd", sink);
    logger->set_pattern("time=%Y-%m-%dT%H:%M:%S.%f%z level=%l role=%n %v");
    logger->set_level(parsed);
    logger->flush_on(spdlog::level::info);
    spdlog::set_default_logger(std::move(logger));
    google::protobuf::SetLogHandler(NoteProtobuf);
  } catch (const spdlog::spdlog_ex& error) {
    return {Code::kIoError, "log file " + file + ": " + error.what()};
  }
  return Status::Ok();
}

std::shared_ptr<const Log> RoleLog(const std::string& role) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  const auto base = spdlog::default_logger();
  auto logger = spdlog::get(role);
  // Loggers made before InitLog (tests, static objects) are made anew over its sink.
  if (logger == nullptr || logger->sinks() != base->sinks()) {
    spdlog::drop(role);
    logger = base->clone(role);
    spdlog::register_logger(logger);
  }
  return std::make_shared<const Log>(std::move(logger));
}

std::string EscapeLogValue(std::string_view value) {
  std::string out;
  out.reserve(value.size());
  for (const char c : value) {
    switch (c) {
      case '"':
      case '\\':
        out += '\\';
        out += c;
        break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
          out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
        else
          out += c;
    }
  }
  return out;
}

std::string FormatLogLine(fmt::string_view text, fmt::format_args args) {
  fmt::dynamic_format_arg_store<fmt::format_context> escaped;
  for (int i = 0;; i++) {
    const auto arg = args.get(i);
    if (!arg) break;
    fmt::visit_format_arg(
        [&](const auto& value) {
          using T = std::decay_t<decltype(value)>;
          if constexpr (std::is_same_v<T, const char*> || std::is_same_v<T, fmt::string_view>) {
            const fmt::string_view view(value);
            escaped.push_back(EscapeLogValue({view.data(), view.size()}));
          } else if constexpr (std::is_arithmetic_v<T> || std::is_same_v<T, const void*>) {
            escaped.push_back(value);
          } else {
            escaped.push_back("?");  // types of formatters of their own, which nobody logs
          }
        },
        arg);
  }
  return fmt::vformat(text, escaped);
}

void Log::Write(Level level, fmt::string_view text, fmt::format_args args) const {
  constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::debug, spdlog::level::info, spdlog::level::warn,
                                                   spdlog::level::err, spdlog::level::critical};
  const auto spdlog_level = kLevels[static_cast<size_t>(level)];
  if (logger_->should_log(spdlog_level)) logger_->log(spdlog_level, FormatLogLine(text, args));
}

}  // namespace concord
