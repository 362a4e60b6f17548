// The gateway's part of the wall for TLS (channel.h). What is heard of the files, in a thread, waits for the worker's
// loop.
#include <cstdio>

#include "bridge/channel.h"
#include "gateway/log_queue.h"
#include "sidecar/rpc/credentials.h"

namespace {

concord::LogQueue& Queue() {
  static concord::LogQueue queue;
  return queue;
}

void Tell(const concord::Status& status) {
  concord::LogQueue& log_ = Queue();
  if (status.ok())
    log_.Add(CC_LOG_INFO, "the TLS files have changed and count for new connections");
  else
    log_.Add(CC_LOG_WARNING, "the TLS files do not count, those before them do: " + status.message());
}

}  // namespace

bool cc_gateway_use_tls(const char* ca, const char* certificate, const char* key, char* reason, size_t reason_size) {
  try {
    (void)Queue();  // outlives the thread that tells
    const concord::Status status = concord::UseTls({ca, certificate, key}, Tell);
    snprintf(reason, reason_size, "%s", status.message().c_str());
    return status.ok();
  } catch (...) {
    snprintf(reason, reason_size, "out of memory");
    return false;
  }
}

void cc_gateway_drain_tls_log(void (*log)(int level, const char* message)) { Queue().Drain(log); }
