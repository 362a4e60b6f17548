// The values of one scrape, gathered from the parts of the process. Not thread-safe.
#pragma once

#include <prometheus/metric_family.h>

#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/lsn.h"
#include "sidecar/metrics/catalogue.h"
#include "sidecar/metrics/histogram.h"

namespace concord {

class MetricSet {
 public:
  using Labels = std::initializer_list<std::string_view>;  // values, in the order of the list's names

  // `cluster`: its id, which is a label of all; empty: not known.
  explicit MetricSet(std::string cluster = {}) : cluster_(std::move(cluster)) {}
  void set_cluster(std::string cluster) { cluster_ = std::move(cluster); }

  void Add(MetricId metric, double value, Labels labels = {});
  void Add(MetricId metric, const Histogram::Counts& counts);
  void Add(MetricId metric, const Histogram& histogram) { Add(metric, histogram.Read()); }
  // The LSN's time; nothing if there is none.
  void AddTime(MetricId metric, Lsn lsn, Labels labels = {});
  // By how much `lsn` is behind `newest`; nothing if one of them is not known.
  void AddLag(MetricId metric, Lsn newest, Lsn lsn, Labels labels = {});

  std::vector<prometheus::MetricFamily> Take();

 private:
  prometheus::ClientMetric* New(MetricId metric, Labels labels);

  std::string cluster_;
  std::map<size_t, prometheus::MetricFamily> families_;  // by index in the list
};

}  // namespace concord
