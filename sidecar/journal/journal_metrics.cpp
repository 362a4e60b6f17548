// What JournalService tells Prometheus.
#include "sidecar/journal/journal_service.h"
#include "sidecar/metrics/metric_set.h"

namespace concord::journal {

void JournalService::Collect(MetricSet* to) {
  const SegmentLog::State state = node_->state();
  to->Add("concord_journal_epoch", static_cast<double>(state.sealed_epoch));
  to->Add("concord_journal_writer_live", node_->writer().live ? 1 : 0);
  to->AddTime("concord_journal_first_lsn_timestamp_seconds", state.first_lsn);
  to->AddTime("concord_journal_last_lsn_timestamp_seconds", state.last_lsn);
  to->AddTime("concord_journal_committed_lsn_timestamp_seconds", state.committed_lsn);
  to->Add("concord_journal_segments", static_cast<double>(state.segments));
  to->Add("concord_journal_bytes", static_cast<double>(state.bytes));
  to->Add("concord_journal_syncs_total", static_cast<double>(state.syncs));
  const SegmentLog::Observed& observed = node_->observed();
  to->Add("concord_journal_written_bytes_total", static_cast<double>(observed.bytes.load(std::memory_order_relaxed)));
  to->Add("concord_journal_sync_seconds", observed.sync_us);
  to->Add("concord_journal_sync_records", observed.records);
  for (const LeaseTable::Listed& lease : node_->Leases()) {
    to->AddTime("concord_journal_replica_checkpoint_timestamp_seconds", lease.checkpoint_lsn, {lease.replica_id});
    to->AddLag("concord_journal_replica_lag_seconds", state.committed_lsn, lease.checkpoint_lsn, {lease.replica_id});
  }
  to->Add("concord_refused_calls_total", static_cast<double>(refusals_.count()), {"journal"});
}

}  // namespace concord::journal
