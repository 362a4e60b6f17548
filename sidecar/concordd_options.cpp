#include "sidecar/concordd_options.h"

#include <filesystem>

#include "sidecar/adjudicator/quorum.h"
#include "sidecar/metastore/identity.h"
#include "sidecar/metrics/metrics_server.h"
#include "sidecar/rpc/tls_options.h"
#include "sidecar/version.h"

namespace concord {
namespace {

constexpr char kFooter[] =
    "Exit codes: 0 stopped as asked; 1 a role could not go on, or failed to stop cleanly; 2 wrong usage; 3 another\n"
    "concordd uses the directory; 4 the directory could not be opened or recovered; 5 the address cannot be listened "
    "on.";

bool IsAnyHost(const std::string& address) { return address.starts_with("0.0.0.0:") || address.starts_with("[::]:"); }

// Where this process is reached, and how it reaches others.
Status CheckAddresses(ConcorddOptions* options) {
  const bool tls = options->tls.any();
  for (const std::string& address : options->listen) {
    if (Status s = CheckListenAddress(address, tls); !s.ok()) return s;
  }
  for (const std::string& address : options->journal_addresses) {
    if (Status s = CheckPeerAddress(address, tls); !s.ok()) return {s.code(), "--journal-address: " + s.message()};
  }
  if (!options->metrics_listen.empty()) {
    if (Status s = CheckMetricsAddress(options->metrics_listen); !s.ok())
      return {s.code(), "--metrics-listen: " + s.message()};
  }
  const bool given = !options->advertise.empty();
  if (!given) {
    const auto network = std::find_if_not(options->listen.begin(), options->listen.end(), IsUnixAddress);
    options->advertise = network != options->listen.end() ? *network : options->listen.front();
  }
  if (!options->metastore.etcd() || !IsAnyHost(options->advertise)) return Status::Ok();
  return {Code::kInvalid, (given ? "--advertise " : "--listen ") + options->advertise +
                              " is no address that others could connect to; give one with --advertise"};
}

}  // namespace

void Describe(CLI::App* app, ConcorddOptions* options) {
  app->set_version_flag("--version", std::string("concordd ") + kVersion);
  app->footer(kFooter);
  app->add_option("--dir", options->directory, "where everything is kept; made with mode 0700 if it is not there")
      ->required();
  app->add_option("--listen", options->listen,
                  "unix:/path, or HOST:PORT: with TLS any, without loopback; comma-separated (default "
                  "unix:<dir>/concordd.sock)")
      ->delimiter(',');
  app->add_option("--advertise", options->advertise,
                  "the address that others are told (default: the first of --listen that is no socket, or the first)");
  AddTlsOptions(app, &options->tls);
  app->add_option("--metrics-listen", options->metrics_listen,
                  "HOST:PORT of loopback, where Prometheus gets /metrics by HTTP (default: nowhere)");
  app->add_option("--roles", options->roles, "any of adjudicator,journal,storage")
      ->delimiter(',')
      ->check(CLI::IsMember({"adjudicator", "journal", "storage"}))
      ->capture_default_str();
  options->metastore.AddTo(app);
  app->add_option("--journal-address", options->journal_addresses,
                  "the journal nodes, where they are not this process alone; comma-separated")
      ->delimiter(',');
  app->add_option("--write-quorum", options->write_quorum, "of the journal nodes (default: more than half)");
  app->add_option("--peer", options->peers,
                  "storage: other replicas, to be copied where the journal has trimmed what this one needs "
                  "(default: those that an etcd has); comma-separated")
      ->delimiter(',');
  app->add_option("--lease-ms", options->lease_ms,
                  "storage: how long the journal waits for this replica when it is gone")
      ->check(CLI::Range(1000, 86400000))
      ->capture_default_str();
  app->add_option("--log-level", options->log_level, "trace, debug, info, warning, error, critical, off")
      ->capture_default_str();
  app->add_option("--log-file", options->log_file, "default: standard error");
  app->add_option("--lifeline-fd", options->lifeline_fd, "a pipe; at its end concordd stops, as its parent has died")
      ->configurable(false);
  app->add_option("--report-fd", options->report_fd,
                  "a pipe; when concordd cannot go on it writes a line with the kind of trouble there, and the reason")
      ->configurable(false);
  app->add_option("--expect-cluster", options->expect_cluster,
                  "refuse a directory that is missing, empty or of another cluster than this");
  app->add_option("--join-cluster", options->join_cluster,
                  "the cluster of a new directory (default: without the journal role that of the journal, else a new "
                  "one); another one's is refused");
  app->add_option("--owner", options->owner,
                  "whose the directory is: written into a new one, and another one's is refused");
  app->add_option("--check-bytes", options->check_bytes, "storage: up to this size all pages are checked at start")
      ->capture_default_str();
  app->add_option("--lock-wait-ms", options->lock_wait_ms,
                  "how long to wait for another concordd to leave the directory")
      ->capture_default_str();
  app->add_option("--checkpoint-interval-ms", options->checkpoint_interval_ms, "storage: between checkpoints")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app->add_option("--checkpoint-bytes", options->checkpoint_bytes,
                  "storage: so many bytes of changes bring a checkpoint sooner")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app->add_option("--retention-ms", options->retention_ms, "storage: how long old versions are kept at least")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app->add_option("--max-readers", options->max_readers,
                  "storage: LMDB reader slots; a reading process holds one or more")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app->add_option("--map-size", options->map_size, "storage: address space of the map, in bytes")
      ->capture_default_str();
  app->add_option("--journal-retention-ms", options->journal_retention_ms,
                  "journal: how long records are kept at least")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app->add_option("--segment-size", options->segment_size, "journal: bytes of a segment file")->capture_default_str();
  app->add_option("--max-window-keys", options->max_window_keys, "adjudicator: keys remembered for conflicts")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app->add_option("--max-range-window", options->max_range_window_mb,
                  "adjudicator: MiB of changed keys remembered for SERIALIZABLE")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app->add_option("--max-tokens", options->max_tokens, "adjudicator: commits remembered for retries")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app->add_option("--window-replay-ms", options->window_replay_ms,
                  "adjudicator: how far back the journal is read at start")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
}

Status Complete(ConcorddOptions* options) {
  options->directory = std::filesystem::absolute(options->directory).lexically_normal().string();
  while (options->directory.size() > 1 && options->directory.back() == '/') options->directory.pop_back();
  if (options->listen.empty()) options->listen = {"unix:" + options->directory + "/concordd.sock"};
  if (Status s = CheckAddresses(options); !s.ok()) return s;
  if (Status s = options->metastore.Check(); !s.ok()) return s;
  if (options->metastore.etcd() && (!options->journal_addresses.empty() || options->write_quorum != 0))
    return {Code::kInvalid,
            "with an etcd, the journal nodes and their write quorum are read from there, so neither "
            "--journal-address nor --write-quorum may be given"};
  if (options->metastore.etcd() && !options->peers.empty())
    return {Code::kInvalid, "with an etcd, the other replicas are read from there, so --peer may not be given"};
  if (options->NeedsJournal() && !options->Has("journal") && options->JournalIsOwn())
    return {Code::kInvalid, "without the journal role, --journal-address is needed, or an etcd"};
  if (!options->join_cluster.empty() && !IsId(options->join_cluster))
    return {Code::kInvalid, "--join-cluster: \"" + options->join_cluster + "\" is not an id of 32 hexadecimal digits"};
  const size_t nodes = std::max<size_t>(options->journal_addresses.size(), 1);
  if (options->write_quorum == 0) options->write_quorum = static_cast<uint32_t>(nodes / 2 + 1);
  if (!ValidEnsemble(nodes, options->write_quorum))
    return {Code::kInvalid, "--write-quorum must be more than half of the " + std::to_string(nodes) + " journal nodes"};
  return Status::Ok();
}

}  // namespace concord
