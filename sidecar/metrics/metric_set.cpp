#include "sidecar/metrics/metric_set.h"

#include <cassert>
#include <cmath>

namespace concord {
namespace {

prometheus::MetricType TypeOf(MetricType type) {
  switch (type) {
    case MetricType::kCounter: return prometheus::MetricType::Counter;
    case MetricType::kHistogram: return prometheus::MetricType::Histogram;
    case MetricType::kGauge: break;
  }
  return prometheus::MetricType::Gauge;
}

}  // namespace

prometheus::ClientMetric* MetricSet::New(MetricId metric, Labels labels) {
  const MetricInfo& info = metric.info();
  prometheus::MetricFamily& family = families_[metric.index()];
  family.name = info.name;
  family.help = info.help;
  family.type = TypeOf(info.type);
  prometheus::ClientMetric& added = family.metric.emplace_back();
  if (!cluster_.empty()) added.label.push_back({"cluster", cluster_});
  std::string_view names = info.labels;
  for (const std::string_view value : labels) {
    assert(!names.empty());
    const std::string_view name = names.substr(0, names.find(','));
    names.remove_prefix(std::min(name.size() + 1, names.size()));
    added.label.push_back({std::string(name), std::string(value)});
  }
  assert(names.empty());
  return &added;
}

void MetricSet::Add(MetricId metric, double value, Labels labels) {
  assert(metric.info().type != MetricType::kHistogram);
  prometheus::ClientMetric* const added = New(metric, labels);
  (metric.info().type == MetricType::kCounter ? added->counter.value : added->gauge.value) = value;
}

void MetricSet::Add(MetricId metric, const Histogram::Counts& counts) {
  assert(metric.info().type == MetricType::kHistogram);
  prometheus::ClientMetric::Histogram& to = New(metric, {})->histogram;
  for (size_t i = 0; i < counts.counts.size(); i++) {
    to.sample_count += counts.counts[i];
    const bool last = i + 1 == counts.counts.size();
    const double bound = std::ldexp(1.0, static_cast<int>(i) + counts.first_bits) * counts.scale;
    to.bucket.push_back({to.sample_count, last ? INFINITY : bound});
  }
  to.sample_sum = static_cast<double>(counts.sum) * counts.scale;
}

void MetricSet::AddTime(MetricId metric, Lsn lsn, Labels labels) {
  if (lsn != kNoLsn) Add(metric, static_cast<double>(LsnToUnixUs(lsn)) * 1e-6, labels);
}

void MetricSet::AddLag(MetricId metric, Lsn newest, Lsn lsn, Labels labels) {
  if (newest == kNoLsn || lsn == kNoLsn) return;
  Add(metric, lsn >= newest ? 0 : static_cast<double>(LsnToUnixUs(newest) - LsnToUnixUs(lsn)) * 1e-6, labels);
}

std::vector<prometheus::MetricFamily> MetricSet::Take() {
  std::vector<prometheus::MetricFamily> all;
  for (auto& [index, family] : families_) all.push_back(std::move(family));
  families_.clear();
  return all;
}

}  // namespace concord
