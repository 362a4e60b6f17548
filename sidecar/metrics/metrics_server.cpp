#include "sidecar/metrics/metrics_server.h"

#include <netinet/in.h>
#include <prometheus/collectable.h>
#include <prometheus/exposer.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <exception>
#include <thread>
#include <utility>
#include <vector>

#include "sidecar/rpc/address.h"

namespace concord {
namespace {

class Collector final : public prometheus::Collectable {
 public:
  explicit Collector(MetricsServer::Collect collect) : collect_(std::move(collect)) {}

  std::vector<prometheus::MetricFamily> Collect() const override {
    MetricSet set;
    collect_(&set);
    return set.Take();
  }

 private:
  const MetricsServer::Collect collect_;
};

// As the library writes it: it takes an IP address.
std::string ToListen(const std::string& address) {
  constexpr std::string_view kLocalhost = "localhost:";
  return address.starts_with(kLocalhost) ? "127.0.0.1:" + address.substr(kLocalhost.size()) : address;
}

void Knock(int port, bool ipv6) {
  const int fd = socket(ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return;
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(port));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  sockaddr_in6 to6{};
  to6.sin6_family = AF_INET6;
  to6.sin6_port = to.sin_port;
  to6.sin6_addr = in6addr_loopback;
  (void)(ipv6 ? connect(fd, reinterpret_cast<sockaddr*>(&to6), sizeof to6)
              : connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to));
  close(fd);
}

class BlockedSignals {
 public:
  BlockedSignals() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~BlockedSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;

 private:
  sigset_t before_;
};

double Seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

// Of now, as a Unix time.
double StartTime() {
  timespec wall, boot;
  clock_gettime(CLOCK_REALTIME, &wall);
  clock_gettime(CLOCK_BOOTTIME, &boot);
  unsigned long long ticks = 0;  // after boot
  if (FILE* file = fopen("/proc/self/stat", "re"); file != nullptr) {
    // The program's name, in brackets, may have blanks.
    if (fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
               &ticks) != 1)
      ticks = 0;
    fclose(file);
  }
  return static_cast<double>(wall.tv_sec - boot.tv_sec) +
         static_cast<double>(ticks) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

double ResidentBytes() {
  unsigned long long pages = 0;
  if (FILE* file = fopen("/proc/self/statm", "re"); file != nullptr) {
    if (fscanf(file, "%*u %llu", &pages) != 1) pages = 0;
    fclose(file);
  }
  return static_cast<double>(pages) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

}  // namespace

MetricsServer::MetricsServer(Collect collect) : collectable_(std::make_shared<Collector>(std::move(collect))) {}

// The library's thread that accepts sleeps for up to two seconds before it sees that it is to end, unless somebody
// comes.
MetricsServer::~MetricsServer() {
  if (exposer_ == nullptr) return;
  const BlockedSignals blocked;
  std::atomic<bool> ended = false;
  std::thread caller([&ended, at = port(), ipv6 = ipv6_] {
    while (!ended) {
      Knock(at, ipv6);
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  });
  exposer_.reset();
  ended = true;
  caller.join();
}

Status MetricsServer::Start(const std::string& address, Collect collect, std::unique_ptr<MetricsServer>* out) {
  if (Status s = CheckMetricsAddress(address); !s.ok()) return s;
  const BlockedSignals blocked;  // for the threads that are made here
  try {
    std::unique_ptr<MetricsServer> server(new MetricsServer(std::move(collect)));
    server->ipv6_ = address.starts_with('[');
    server->exposer_ = std::make_unique<prometheus::Exposer>(
        std::vector<std::string>{"listening_ports", ToListen(address), "num_threads", "2", "request_timeout_ms", "1000",
                                 "enable_keep_alive", "no"});
    server->exposer_->RegisterCollectable(server->collectable_);
    *out = std::move(server);
  } catch (const std::exception&) {
    return {Code::kIoError, "the address " + address + " for metrics cannot be bound; is it in use?"};
  }
  return Status::Ok();
}

int MetricsServer::port() const { return exposer_->GetListeningPorts().front(); }

void CollectProcess(MetricSet* to, std::string_view version, std::string_view roles, std::string_view node) {
  static const double start_time = StartTime();
  to->Add("concord_process_info", 1, {version, roles, node});
  to->Add("process_start_time_seconds", start_time);
  rusage usage;
  if (getrusage(RUSAGE_SELF, &usage) == 0)
    to->Add("process_cpu_seconds_total", Seconds(usage.ru_utime) + Seconds(usage.ru_stime));
  to->Add("process_resident_memory_bytes", ResidentBytes());
}

}  // namespace concord
