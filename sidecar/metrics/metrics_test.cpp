#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <string>
#include <thread>

#include "sidecar/metrics/metric_set.h"
#include "sidecar/metrics/metrics_server.h"
#include "sidecar/rpc/address.h"

namespace concord {
namespace {

std::string Text(MetricSet* set) { return prometheus::TextSerializer().Serialize(set->Take()); }

TEST(CatalogueTest, NamesAndTextsAreByThePrometheusConventions) {
  std::set<std::string_view> names;
  const std::regex name_form("(concord_(process|adjudicator|journal|storage|qp|refused)_|process_)[a-z0-9_]*[a-z0-9]");
  for (const MetricInfo& metric : kMetrics) {
    const std::string name(metric.name);
    EXPECT_TRUE(names.insert(metric.name).second) << name << " is there twice";
    EXPECT_TRUE(std::regex_match(name, name_form)) << name;
    EXPECT_EQ(name.ends_with("_total"), metric.type == MetricType::kCounter) << name;
    for (const char* suffix : {"_count", "_sum", "_bucket", "_ms", "_us", "_kb", "_mb"})
      EXPECT_FALSE(name.ends_with(suffix)) << name;
    EXPECT_GT(metric.help.size(), 10U) << name;
    EXPECT_FALSE(metric.help.ends_with(".")) << name;
    EXPECT_EQ(metric.help.find_first_of("|\\\n\""), std::string_view::npos) << name << ": not to be quoted in the docs";
    EXPECT_TRUE(metric.type != MetricType::kHistogram || metric.labels.empty()) << name;
  }
}

TEST(HistogramTest, EachObservationIsInTheFirstBucketThatHoldsIt) {
  for (const int first_bits : {Histogram::kNumbers, Histogram::kMicroseconds}) {
    for (const uint64_t value : {0UL, 1UL, 2UL, 3UL, 15UL, 16UL, 17UL, 32UL, 33UL, 1UL << 19, (1UL << 19) + 1,
                                 1UL << 23, (1UL << 23) + 1, 1UL << 40, ~0UL}) {
      Histogram histogram(first_bits);
      histogram.Observe(value);
      const Histogram::Counts read = histogram.Read();
      ASSERT_EQ(read.counts.size(), size_t{Histogram::kBuckets} + 1);
      size_t expected = 0;
      while (expected < Histogram::kBuckets && value > uint64_t{1} << (expected + static_cast<size_t>(first_bits)))
        expected++;
      for (size_t i = 0; i < read.counts.size(); i++)
        EXPECT_EQ(read.counts[i], i == expected ? 1U : 0U) << value << " " << i;
      EXPECT_EQ(read.sum, value);
    }
  }
}

TEST(HistogramTest, LosesNothingOfManyThreads) {
  Histogram histogram(Histogram::kNumbers);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; i++) {
    threads.emplace_back([&] {
      for (uint64_t n = 1; n <= 10000; n++) histogram.Observe(n % 100);
    });
  }
  for (std::thread& thread : threads) thread.join();
  uint64_t count = 0;
  for (const uint64_t bucket : histogram.Read().counts) count += bucket;
  EXPECT_EQ(count, 40000U);
  EXPECT_EQ(histogram.Read().sum, 4U * 10000 / 100 * 4950);
}

TEST(MetricSetTest, WritesWhatPrometheusReads) {
  MetricSet set("c1");
  set.Add("concord_journal_syncs_total", 3);
  set.Add("concord_adjudicator_journal_queued_bytes", 7, {"n1", "unix:/a \"b\""});
  set.Add("concord_adjudicator_journal_queued_bytes", 8, {"n2", "x"});
  Histogram histogram(Histogram::kMicroseconds);
  histogram.Observe(16);
  histogram.Observe(1000000);
  histogram.Observe(3600000000);
  set.Add("concord_journal_sync_seconds", histogram);
  const std::string text = Text(&set);
  const auto has = [&](const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  };
  has("# TYPE concord_journal_syncs_total counter\nconcord_journal_syncs_total{cluster=\"c1\"} 3\n");
  has("{cluster=\"c1\",node=\"n1\",address=\"unix:/a \\\"b\\\"\"} 7\n");
  has("{cluster=\"c1\",node=\"n2\",address=\"x\"} 8\n");
  has("concord_journal_sync_seconds_bucket{cluster=\"c1\",le=\"1.6e-05\"} 1\n");
  has("concord_journal_sync_seconds_bucket{cluster=\"c1\",le=\"+Inf\"} 3\n");
  has("concord_journal_sync_seconds_count{cluster=\"c1\"} 3\n");
  EXPECT_EQ(text.find("# HELP concord_adjudicator_journal_queued_bytes"),
            text.rfind("# HELP concord_adjudicator_journal_queued_bytes"))
      << "one family";
}

TEST(MetricSetTest, LsnsAreTimes) {
  MetricSet set;
  const Lsn lsn = LsnFromUnixUs(1700000000500000);
  set.AddTime("concord_journal_last_lsn_timestamp_seconds", lsn);
  set.AddTime("concord_journal_first_lsn_timestamp_seconds", kNoLsn);
  set.AddLag("concord_storage_lag_seconds", lsn, LsnFromUnixUs(1700000000250000));
  set.AddLag("concord_journal_replica_lag_seconds", lsn, LsnFromUnixUs(1700000001000000), {"ahead"});
  const std::string text = Text(&set);
  EXPECT_NE(text.find("concord_journal_last_lsn_timestamp_seconds 1700000000.5\n"), std::string::npos) << text;
  EXPECT_EQ(text.find("first_lsn"), std::string::npos) << text;
  EXPECT_NE(text.find("concord_storage_lag_seconds 0.25\n"), std::string::npos) << text;
  EXPECT_NE(text.find("concord_journal_replica_lag_seconds{replica=\"ahead\"} 0\n"), std::string::npos) << text;
}

TEST(MetricsServerTest, ListensOnLoopbackOnly) {
  for (const char* address : {"127.0.0.1:9471", "localhost:9471", "[::1]:9471"})
    EXPECT_TRUE(CheckMetricsAddress(address).ok()) << address;
  for (const char* address : {"0.0.0.0:9471", "[::]:9471", "10.1.2.3:9471", "db1:9471", "localhost.example.org:1",
                              ":9471", "9471", "127.0.0.1", "127.0.0.1:", "unix:/tmp/x", "127.0.0.1:1,0.0.0.0:1", ""}) {
    std::unique_ptr<MetricsServer> server;
    EXPECT_EQ(MetricsServer::Start(
                  address, [](MetricSet*) {}, &server)
                  .code(),
              Code::kInvalid)
        << address;
  }
  const Status refused = CheckMetricsAddress("0.0.0.0:9471");
  EXPECT_NE(refused.message().find("0.0.0.0:9471"), std::string::npos) << refused.message();
  EXPECT_NE(refused.message().find("127.0.0.1:PORT"), std::string::npos) << refused.message();
}

int Connect(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(port));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0) return fd;
  close(fd);
  return -1;
}

// The whole answer, with its head.
std::string Get(int port, const std::string& path) {
  const int fd = Connect(port);
  if (fd < 0) return {};
  const std::string request = "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  EXPECT_EQ(write(fd, request.data(), request.size()), static_cast<ssize_t>(request.size()));
  std::string answer;
  char buffer[4096];
  for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;) answer.append(buffer, static_cast<size_t>(n));
  close(fd);
  return answer;
}

TEST(MetricsServerTest, ServesThemAndNothingElse) {
  std::unique_ptr<MetricsServer> server;
  const auto collect = [](MetricSet* to) { CollectProcess(to, "0.1", "journal", "n1"); };
  ASSERT_TRUE(MetricsServer::Start("127.0.0.1:0", collect, &server).ok());
  const std::string answer = Get(server->port(), "/metrics");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK")) << answer;
  EXPECT_NE(answer.find("concord_process_info{version=\"0.1\",roles=\"journal\",node=\"n1\"} 1\n"), std::string::npos)
      << answer;
  EXPECT_TRUE(Get(server->port(), "/").starts_with("HTTP/1.1 404")) << Get(server->port(), "/");
  EXPECT_TRUE(Get(server->port(), "/etc/passwd").starts_with("HTTP/1.1 404"));

  std::smatch match;
  ASSERT_TRUE(std::regex_search(answer, match, std::regex("\nprocess_start_time_seconds ([0-9.e+]+)\n"))) << answer;
  const double age = static_cast<double>(time(nullptr)) - std::stod(match[1]);
  EXPECT_GE(age, -2);
  EXPECT_LT(age, 24 * 3600);

  std::unique_ptr<MetricsServer> second;
  const std::string address = "127.0.0.1:" + std::to_string(server->port());
  const Status status = MetricsServer::Start(address, collect, &second);
  EXPECT_EQ(status.code(), Code::kIoError);
  EXPECT_NE(status.message().find(address), std::string::npos) << status.message();
  const int port = server->port();
  server.reset();
  EXPECT_EQ(Connect(port), -1);
  EXPECT_TRUE(MetricsServer::Start(address, collect, &second).ok()) << "the address is free at once";
}

// Threads of this process that have not blocked a signal.
size_t ThreadsThatTake(int signal) {
  size_t taking = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream status(task.path() / "status");
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("SigBlk:"))
        taking += (std::stoull(line.substr(7), nullptr, 16) >> (signal - 1) & 1) == 0 ? 1 : 0;
    }
  }
  return taking;
}

TEST(MetricsServerTest, ItsThreadsTakeNoSignal) {
  std::thread([] {}).join();  // with the first the thread sanitizer starts one of its own
  const size_t before = ThreadsThatTake(SIGTERM);
  const auto tasks = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/task"), std::filesystem::directory_iterator());
  };
  const auto tasks_before = tasks();
  std::unique_ptr<MetricsServer> server;
  ASSERT_TRUE(MetricsServer::Start(
                  "127.0.0.1:0", [](MetricSet*) {}, &server)
                  .ok());
  EXPECT_GT(tasks(), tasks_before);
  EXPECT_LE(tasks(), tasks_before + 3);
  EXPECT_EQ(ThreadsThatTake(SIGTERM), before);
  EXPECT_TRUE(Get(server->port(), "/metrics").starts_with("HTTP/1.1 200"));
  EXPECT_EQ(ThreadsThatTake(SIGTERM), before);
}

TEST(MetricsServerTest, ClientsThatDoNothingHoldUpNobodyForLong) {
  std::unique_ptr<MetricsServer> server;
  ASSERT_TRUE(MetricsServer::Start(
                  "127.0.0.1:0", [](MetricSet* to) { to->Add("concord_journal_epoch", 1); }, &server)
                  .ok());
  std::vector<int> silent;
  for (int i = 0; i < 4; i++) silent.push_back(Connect(server->port()));
  EXPECT_NE(Get(server->port(), "/metrics").find("concord_journal_epoch 1"), std::string::npos);
  for (const int fd : silent) close(fd);
  // Its end waits for nobody either.
  const int last = Connect(server->port());
  server.reset();
  close(last);
}

}  // namespace
}  // namespace concord
