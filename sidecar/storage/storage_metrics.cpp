// What the storage role tells Prometheus.
#include <mutex>

#include "sidecar/metrics/metric_set.h"
#include "sidecar/storage/storage_role.h"

namespace concord {
namespace {

constexpr uint64_t kStatisticsEveryUs = 5'000'000;

}  // namespace

// To count versions and free pages, LMDB's own tables are walked, a millisecond for a large replica: so not at every
// scrape, however many there are.
Status StorageRole::RecentStatistics(ReplicaStatistics* out) {
  const std::lock_guard lock(statistics_mutex_);
  const uint64_t now_us = MonotonicUs();
  if (statistics_us_ == 0 || now_us - statistics_us_ >= kStatisticsEveryUs) {
    if (Status s = replica_->Statistics(&statistics_); !s.ok()) return s;
    statistics_us_ = now_us;
  }
  *out = statistics_;
  return Status::Ok();
}

void StorageRole::Collect(MetricSet* to) {
  // First what it has to catch up with, so that the lag is never too large.
  const auto applier = this->applier();
  const Lsn newest = applier->newest();
  const Lsn applied = replica_->readable();
  to->AddTime("concord_storage_applied_lsn_timestamp_seconds", applied);
  to->AddTime("concord_storage_checkpoint_lsn_timestamp_seconds", replica_->checkpoint());
  to->AddLag("concord_storage_lag_seconds", newest, applied);
  to->Add("concord_storage_mutations_total", static_cast<double>(replica_->mutations()));
  to->Add("concord_storage_pruned_total", static_cast<double>(replica_->pruned()));
  to->Add("concord_storage_apply_seconds", applier->apply_us());
  to->Add("concord_storage_apply_records", applier->apply_records());
  to->Add("concord_refused_calls_total", static_cast<double>(service_.refused_calls()), {"storage"});

  const auto readers = replica_->Readers();
  Lsn lowest = kNoLsn;
  for (const ReaderLeases::Listed& lease : readers) {
    if (lease.lowest != kNoLsn && (lowest == kNoLsn || lease.lowest < lowest)) lowest = lease.lowest;
  }
  to->Add("concord_storage_query_processors", static_cast<double>(readers.size()));
  to->AddTime("concord_storage_lowest_read_lsn_timestamp_seconds", lowest);

  ReplicaStatistics statistics;
  if (!RecentStatistics(&statistics).ok()) return;
  to->AddTime("concord_storage_horizon_timestamp_seconds", statistics.horizon);
  to->Add("concord_storage_map_bytes", static_cast<double>(statistics.map_bytes));
  to->Add("concord_storage_file_bytes", static_cast<double>(statistics.file_bytes));
  to->Add("concord_storage_used_bytes", static_cast<double>(statistics.used_bytes));
  to->Add("concord_storage_free_bytes", static_cast<double>(statistics.free_bytes));
  to->Add("concord_storage_versions", static_cast<double>(statistics.versions));
  to->Add("concord_storage_dead_versions", static_cast<double>(statistics.dead_versions));
  to->Add("concord_storage_storages", static_cast<double>(statistics.storages));
  to->Add("concord_storage_storages_dropping", static_cast<double>(statistics.storages_dropping));
  to->Add("concord_storage_readers", static_cast<double>(statistics.readers));
  to->Add("concord_storage_readers_max", static_cast<double>(statistics.max_readers));
}

}  // namespace concord
