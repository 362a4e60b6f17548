// What concordd can be told, on its command line and in its configuration file.
#pragma once

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "core/status.h"
#include "sidecar/adjudicator/conflict_window.h"
#include "sidecar/adjudicator/range_window.h"
#include "sidecar/adjudicator/token_table.h"
#include "sidecar/journal/segment_log.h"
#include "sidecar/metastore/metastore_options.h"
#include "sidecar/rpc/address.h"
#include "sidecar/rpc/tls_files.h"
#include "sidecar/storage/applier.h"
#include "sidecar/storage/replica.h"

namespace concord {

struct ConcorddOptions {
  std::string directory;
  std::vector<std::string> listen;
  std::string advertise;
  TlsFiles tls;
  std::string metrics_listen;
  std::vector<std::string> roles = {"adjudicator", "journal", "storage"};
  MetastoreOptions metastore;
  std::vector<std::string> journal_addresses;
  uint32_t write_quorum = 0;
  std::vector<std::string> peers;
  int64_t lease_ms = ApplierOptions{}.lease_ms;
  std::string log_level = "info";
  std::string log_file;
  int lifeline_fd = -1;
  int report_fd = -1;
  std::string expect_cluster;
  std::string join_cluster;
  std::string owner;
  uint64_t check_bytes = ReplicaOptions{}.check_bytes;
  int lock_wait_ms = 0;
  int64_t checkpoint_interval_ms = 1000;
  uint64_t checkpoint_bytes = ReplicaOptions{}.checkpoint_bytes;
  int64_t retention_ms = 1000;  // as concord.retention
  int64_t journal_retention_ms = 60000;
  unsigned max_readers = 2048;
  uint64_t map_size = kReplicaMapBytes;
  uint64_t segment_size = journal::SegmentLogOptions{}.segment_bytes;
  size_t max_window_keys = ConflictWindow::kDefaultMaxKeys;
  size_t max_range_window_mb = RangeWindow::kDefaultMaxBytes >> 20;
  size_t max_tokens = TokenTable::kDefaultMaxTokens;
  int64_t window_replay_ms = 120000;

  bool Has(const std::string& role) const { return std::find(roles.begin(), roles.end(), role) != roles.end(); }
  bool NeedsJournal() const { return Has("adjudicator") || Has("storage"); }
  // For concordctl on this machine: a socket needs no certificate.
  const std::string& ToldAddress() const {
    const auto socket = std::find_if(listen.begin(), listen.end(), IsUnixAddress);
    return socket != listen.end() ? *socket : listen.front();
  }
  std::string ListenText() const { return CLI::detail::join(listen); }
  bool JournalIsOwn() const { return journal_addresses.empty() && !metastore.etcd(); }
};

// Has `app` read them.
void Describe(CLI::App* app, ConcorddOptions* options);
// Fills in what depends on other options; kInvalid, with an explanation, if they do not go together.
Status Complete(ConcorddOptions* options);

}  // namespace concord
