// Serves /metrics by HTTP, for Prometheus: plain text for everybody on this machine, so on loopback only. Three threads
// of the library's own, all signals blocked in them; of clients that ask and do not read, two can hold up each other,
// but nothing else.
//
// Thread-safe. `collect` is called in those threads, in two at once at most, until the server is destroyed.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/status.h"
#include "sidecar/metrics/metric_set.h"

namespace prometheus {
class Collectable;
class Exposer;
}  // namespace prometheus

namespace concord {

class MetricsServer {
 public:
  using Collect = std::function<void(MetricSet*)>;

  // kInvalid: see CheckMetricsAddress; kIoError: the address cannot be bound.
  static Status Start(const std::string& address, Collect collect, std::unique_ptr<MetricsServer>* out);
  ~MetricsServer();

  int port() const;

 private:
  explicit MetricsServer(Collect collect);

  const std::shared_ptr<prometheus::Collectable> collectable_;
  std::unique_ptr<prometheus::Exposer> exposer_;
  bool ipv6_ = false;
};

// Start time, processor time and memory of this process, and what it is.
void CollectProcess(MetricSet* to, std::string_view version, std::string_view roles, std::string_view node);

}  // namespace concord
