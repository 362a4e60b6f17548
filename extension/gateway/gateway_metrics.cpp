// What the gateway tells Prometheus: of itself, and of its server by what lies in shared memory.
#include <algorithm>

#include "gateway/gateway.h"
#include "sidecar/metrics/metrics_server.h"
#include "sidecar/version.h"

using concord::MetricSet;

namespace {

constexpr uint64_t kRetryUs = 5'000'000;  // where the address could not be bound

constexpr std::string_view kOutcomes[] = {"",         "committed",      "conflict",     "too_old",
                                          "invalid",  "unavailable",    "unknown",      "no_space",
                                          "in_doubt", "journal_failed", "read_conflict"};
static_assert(std::size(kOutcomes) == CcGateway::kOutcomes);

void CollectServer(const CcServerStats& stats, MetricSet* to) {
  const auto transactions = [&](uint64_t count, std::string_view outcome) {
    to->Add("concord_qp_transactions_total", static_cast<double>(count), {outcome});
  };
  transactions(stats.committed, "committed");
  transactions(stats.read_only, "read_only");
  transactions(stats.conflicts, "conflict");
  transactions(stats.too_old, "too_old");
  transactions(stats.refused, "refused");
  transactions(stats.unknown, "unknown");
  to->Add("concord_qp_commit_wait_seconds",
          concord::Histogram::Counts{.first_bits = CC_WAIT_FIRST_BITS,
                                     .scale = 1e-6,
                                     .counts = {std::begin(stats.waits), std::end(stats.waits)},
                                     .sum = stats.wait_us});
  to->Add("concord_qp_chunks_total", static_cast<double>(stats.chunks));
  to->Add("concord_qp_retries_total", static_cast<double>(stats.retries));
  for (int i = 0; i < CC_WAIT_KINDS; i++) {
    if (stats.waiting_for[i] != nullptr)
      to->Add("concord_qp_backends_waiting", static_cast<double>(stats.waiting[i]), {stats.waiting_for[i]});
  }
}

}  // namespace

void CcGateway::Collect(MetricSet* to) {
  {
    const std::lock_guard lock(mutex_);
    to->set_cluster(cluster_);
  }
  concord::CollectProcess(to, concord::kVersion, "query_processor", qp_id_);
  to->Add("concord_qp_connected", cc_channel_connected(&channel_) ? 1 : 0);
  if (stats_ != nullptr) {
    CcServerStats stats = {};
    stats_(&stats);
    CollectServer(stats, to);
  }
  to->Add("concord_qp_requests_queued", static_cast<double>(concord::CountReady(channel_)));
  to->Add("concord_qp_requests_unanswered", static_cast<double>(outbox_.Unanswered()));
  for (size_t i = 1; i < kOutcomes; i++)
    to->Add("concord_qp_verdicts_total", static_cast<double>(verdicts_[i].load(std::memory_order_relaxed)),
            {::kOutcomes[i]});
  CcChannelStats channel;
  cc_channel_stats(&channel_, &channel);
  to->Add("concord_qp_batches_total", static_cast<double>(channel.batches));
  to->Add("concord_qp_sent_bytes_total", static_cast<double>(channel.bytes));
  to->Add("concord_qp_resent_total", static_cast<double>(channel.resent));
  to->Add("concord_qp_sessions_total", static_cast<double>(channel.sessions));
  to->Add("concord_qp_sessions_lost_total", static_cast<double>(sessions_lost_.load(std::memory_order_relaxed)));
  to->Add("concord_qp_read_lsn_calls_total", static_cast<double>(read_lsn_calls_.load(std::memory_order_relaxed)));
  to->Add("concord_qp_batch_requests", batch_requests_);
  to->Add("concord_qp_round_trip_seconds", round_trip_us_);

  int readers = 0;
  int64_t oldest_ms = 0;
  concord::Lsn lowest = concord::kNoLsn;
  for (int slot = 0; slot < channel_.slots; slot++) {
    CcReader reader;
    cc_channel_reader(&channel_, slot, &reader);
    if (reader.read_lsn == concord::kNoLsn) continue;
    readers++;
    oldest_ms = std::max(oldest_ms, reader.age_ms);
    if (lowest == concord::kNoLsn || reader.read_lsn < lowest) lowest = reader.read_lsn;
  }
  to->Add("concord_qp_readers", readers);
  to->Add("concord_qp_oldest_reader_seconds", static_cast<double>(oldest_ms) * 1e-3);
  to->AddTime("concord_qp_lowest_read_lsn_timestamp_seconds", lowest);
}

void CcGateway::ServeMetrics(const std::string& address) {
  const uint64_t now_us = concord::MonotonicUs();
  if (address == metrics_address_ && (metrics_ != nullptr || address.empty() || now_us - metrics_tried_us_ < kRetryUs))
    return;
  const bool again = address == metrics_address_;
  metrics_.reset();
  metrics_address_ = address;
  metrics_tried_us_ = now_us;
  if (address.empty()) return;
  const concord::Status status = concord::MetricsServer::Start(
      address, [this](MetricSet* to) { Collect(to); }, &metrics_);
  if (status.ok())
    log_.Add(CC_LOG_INFO, "serves metrics at " + address);
  else if (!again)
    log_.Add(CC_LOG_WARNING, "does not serve metrics, and goes on trying: " + status.message());
}

void cc_gateway_serve_metrics(CcGateway* gateway, const char* address) {
  try {
    gateway->ServeMetrics(address);
  } catch (...) {
    // Out of memory; it is called again soon.
  }
}
