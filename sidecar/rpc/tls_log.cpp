#include "sidecar/rpc/tls_log.h"

#include <grpc/support/log.h>

#include <chrono>
#include <cstdio>
#include <string_view>

#include "sidecar/rpc/log.h"

namespace concord {
namespace {

constexpr std::string_view kFailed = "Handshake failed with fatal error ";
constexpr std::string_view kRoutines = "SSL routines::";
constexpr std::string_view kNoMatch = "No match found for server name: ";

struct Words {
  const char* openssl;
  const char* ours;
};
constexpr Words kWords[] = {
    {"peer did not return a certificate", "the other side shows no certificate"},
    {"certificate verify failed", "the other side's certificate is not of this CA, or its time is over"},
    {"wrong version number", "the other side does not speak TLS"},
    {"http request", "the other side does not speak TLS"},
    {"tlsv1 alert unknown ca", "the other side does not take this certificate: it is not of its CA"},
    {"sslv3 alert certificate expired", "the other side does not take this certificate: its time is over"},
};

void FromGrpc(gpr_log_func_args* line) {
  static TlsFailures failures;
  const std::string reason = TlsFailures::ReasonOf(line->message);
  if (reason.empty()) {
    fprintf(stderr, "gRPC: %s:%d: %s\n", line->file, line->line, line->message);
    return;
  }
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  uint64_t since = 0;
  if (failures.IsDue(reason, std::chrono::duration_cast<std::chrono::microseconds>(now).count(), &since))
    RoleLog("concordd")->warn("no connection by TLS reason=\"{}\" not_logged_before={}", reason, since);
}

}  // namespace

std::string TlsFailures::ReasonOf(const std::string& grpc_line) {
  const std::string_view line = grpc_line;
  if (line.starts_with(kNoMatch)) {
    std::string_view name = line.substr(kNoMatch.size());
    if (name.ends_with('.')) name.remove_suffix(1);
    return "the other side's certificate is not for the address " + std::string(name);
  }
  if (!line.starts_with(kFailed)) return {};
  const size_t routines = line.find(kRoutines);
  std::string_view reason =
      routines != std::string_view::npos ? line.substr(routines + kRoutines.size()) : line.substr(kFailed.size());
  if (reason.ends_with('.')) reason.remove_suffix(1);
  for (const Words& words : kWords) {
    if (reason == words.openssl) return words.ours + (" (" + std::string(reason) + ")");
  }
  return std::string(reason);
}

bool TlsFailures::IsDue(const std::string& reason, int64_t now_us, uint64_t* since) {
  const std::lock_guard lock(mutex_);
  if (reasons_.size() >= kReasonsMax && !reasons_.contains(reason)) reasons_.clear();
  const auto [entry, first] = reasons_.try_emplace(reason);
  if (!first && now_us - entry->second.told_us < kAgainUs) {
    entry->second.since++;
    return false;
  }
  *since = entry->second.since;
  entry->second = {now_us, 0};
  return true;
}

void LogTlsFailures() { gpr_set_log_function(FromGrpc); }

}  // namespace concord
