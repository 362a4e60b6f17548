// What AdjudicatorService tells Prometheus.
#include "sidecar/adjudicator/adjudicator_service.h"
#include "sidecar/metrics/metric_set.h"

namespace concord {

void AdjudicatorService::Collect(MetricSet* to) {
  proto::AdjudicatorStatus status;
  (void)GetStatus(nullptr, nullptr, &status);
  to->Add("concord_adjudicator_leads", status.leads() ? 1 : 0);
  to->Add("concord_adjudicator_epoch", static_cast<double>(status.epoch()));
  to->AddTime("concord_adjudicator_committed_lsn_timestamp_seconds", status.committed_lsn());
  to->Add("concord_adjudicator_commits_total", static_cast<double>(status.commits()));
  to->Add("concord_adjudicator_conflicts_total", static_cast<double>(status.conflicts()));
  to->Add("concord_adjudicator_too_old_total", static_cast<double>(status.too_old()));
  to->Add("concord_adjudicator_window_keys", static_cast<double>(status.window_keys()));
  to->AddTime("concord_adjudicator_window_start_timestamp_seconds", status.window_start_lsn());
  to->Add("concord_adjudicator_range_window_bytes", static_cast<double>(status.range_window_bytes()));
  to->AddTime("concord_adjudicator_range_window_start_timestamp_seconds", status.range_window_start_lsn());
  to->Add("concord_adjudicator_tokens", static_cast<double>(status.tokens()));
  for (const proto::JournalProgress& node : status.journal()) {
    const MetricSet::Labels labels = {node.id(), node.address()};
    to->Add("concord_adjudicator_journal_counted", node.counted() ? 1 : 0, labels);
    to->Add("concord_adjudicator_journal_written", node.written() ? 1 : 0, labels);
    to->AddTime("concord_adjudicator_journal_synced_lsn_timestamp_seconds", node.synced_lsn(), labels);
    to->AddLag("concord_adjudicator_journal_lag_seconds", status.committed_lsn(), node.synced_lsn(), labels);
    to->Add("concord_adjudicator_journal_queued_bytes", static_cast<double>(node.queued_bytes()), labels);
    if (node.sync_us() != 0)
      to->Add("concord_adjudicator_journal_sync_seconds", static_cast<double>(node.sync_us()) * 1e-6, labels);
  }
  to->Add("concord_adjudicator_durable_seconds", durable_us_);
  to->Add("concord_refused_calls_total", static_cast<double>(refusals_.count()), {"adjudicator"});

  const std::lock_guard lock(mutex_);
  to->Add("concord_adjudicator_terms_total", static_cast<double>(terms_));
  to->Add("concord_adjudicator_in_flight_records", static_cast<double>(in_flight_.size()));
  to->Add("concord_adjudicator_in_flight_bytes", static_cast<double>(in_flight_bytes_));
  to->Add("concord_adjudicator_unapplied_bytes", static_cast<double>(unapplied_bytes_));
  to->Add("concord_adjudicator_sessions", static_cast<double>(sessions_.size()));
  if (standby_ != nullptr) to->AddTime("concord_adjudicator_followed_lsn_timestamp_seconds", standby_->followed());
}

}  // namespace concord
