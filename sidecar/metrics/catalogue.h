// Every metric that a process of Concord exports, with its help text. A metric is named nowhere else: MetricId takes no
// name that is not here, at compile time. docs/operations.md has the same list, made by scripts/documented_metrics.pl,
// which also checks that the dashboard asks for nothing else.
//
// Times of LSNs are exported as Unix times, not as ages: an age is `time() - x`, and a time can be compared between
// processes. Every series also has the label `cluster`, the id of the cluster, once that is known.
#pragma once

#include <cstddef>
#include <iterator>
#include <string_view>

namespace concord {

enum class MetricType : char { kGauge, kCounter, kHistogram };

struct MetricInfo {
  std::string_view name;
  MetricType type;
  std::string_view labels;  // comma-separated
  std::string_view help;
};

inline constexpr MetricInfo kMetrics[] = {
    // ---- every process ----
    {"concord_process_info", MetricType::kGauge, "version,roles,node",
     "1; the labels tell the version, the roles and the node's id"},
    {"process_start_time_seconds", MetricType::kGauge, "", "When the process was started, as a Unix time"},
    {"process_cpu_seconds_total", MetricType::kCounter, "", "Processor time that the process has used"},
    {"process_resident_memory_bytes", MetricType::kGauge, "",
     "Memory of the process, with what is mapped of the replica's file"},
    {"concord_refused_calls_total", MetricType::kCounter, "role",
     "Requests that were refused because they make no sense, or not at that time"},

    // ---- adjudicator ----
    {"concord_adjudicator_leads", MetricType::kGauge, "", "1 if this process leads, 0 if it stands by or is about to"},
    {"concord_adjudicator_epoch", MetricType::kGauge, "", "Newest epoch that this process has led; 0 if none"},
    {"concord_adjudicator_terms_total", MetricType::kCounter, "", "Terms as leader that have begun"},
    {"concord_adjudicator_committed_lsn_timestamp_seconds", MetricType::kGauge, "",
     "Time of the newest commit that was answered in the newest term"},
    {"concord_adjudicator_followed_lsn_timestamp_seconds", MetricType::kGauge, "",
     "Standing by: time of the newest record of the journal that was followed"},
    {"concord_adjudicator_commits_total", MetricType::kCounter, "", "Transactions committed"},
    {"concord_adjudicator_conflicts_total", MetricType::kCounter, "",
     "Transactions refused: something that they wrote or read was changed by another one"},
    {"concord_adjudicator_too_old_total", MetricType::kCounter, "",
     "Transactions refused: they began before the conflict window"},
    {"concord_adjudicator_in_flight_records", MetricType::kGauge, "",
     "Records that were decided, and whose answer is still due"},
    {"concord_adjudicator_in_flight_bytes", MetricType::kGauge, "", "Bytes of these"},
    {"concord_adjudicator_unapplied_bytes", MetricType::kGauge, "",
     "Bytes of records that the replica of this process has not applied yet"},
    {"concord_adjudicator_sessions", MetricType::kGauge, "", "Query processors with a session"},
    {"concord_adjudicator_window_keys", MetricType::kGauge, "", "Keys in the conflict window"},
    {"concord_adjudicator_window_start_timestamp_seconds", MetricType::kGauge, "",
     "Where the conflict window begins: a transaction that read before is too old"},
    {"concord_adjudicator_range_window_bytes", MetricType::kGauge, "",
     "Memory of the window by which SERIALIZABLE is checked"},
    {"concord_adjudicator_range_window_start_timestamp_seconds", MetricType::kGauge, "", "Where that window begins"},
    {"concord_adjudicator_tokens", MetricType::kGauge, "", "Commits remembered for those who ask again"},
    {"concord_adjudicator_durable_seconds", MetricType::kHistogram, "",
     "From the decision on a commit until it is durable on the write quorum"},
    {"concord_adjudicator_journal_counted", MetricType::kGauge, "node,address",
     "1 if the journal node is a member, 0 if it is to become one"},
    {"concord_adjudicator_journal_written", MetricType::kGauge, "node,address",
     "1 if the journal node gets records as they come, 0 if it is away or catches up"},
    {"concord_adjudicator_journal_synced_lsn_timestamp_seconds", MetricType::kGauge, "node,address",
     "Time of the newest record that the journal node has synced"},
    {"concord_adjudicator_journal_lag_seconds", MetricType::kGauge, "node,address",
     "How far that is behind the newest commit"},
    {"concord_adjudicator_journal_queued_bytes", MetricType::kGauge, "node,address",
     "Bytes that wait for the journal node"},
    {"concord_adjudicator_journal_sync_seconds", MetricType::kGauge, "node,address",
     "From a write to the journal node until its acknowledgement, a moving average"},

    // ---- journal ----
    {"concord_journal_epoch", MetricType::kGauge, "", "Epoch at which the node is sealed: no older leader can write"},
    {"concord_journal_writer_live", MetricType::kGauge, "", "1 if a leader writes here, or is about to"},
    {"concord_journal_first_lsn_timestamp_seconds", MetricType::kGauge, "", "Time of the oldest record that is kept"},
    {"concord_journal_last_lsn_timestamp_seconds", MetricType::kGauge, "",
     "Time of the newest record, which is synced"},
    {"concord_journal_committed_lsn_timestamp_seconds", MetricType::kGauge, "",
     "Time of the newest record that is known to be on the write quorum"},
    {"concord_journal_segments", MetricType::kGauge, "", "Segment files in use"},
    {"concord_journal_bytes", MetricType::kGauge, "", "Bytes of these files"},
    {"concord_journal_syncs_total", MetricType::kCounter, "", "Groups of records that were written and synced"},
    {"concord_journal_written_bytes_total", MetricType::kCounter, "", "Bytes of these groups"},
    {"concord_journal_sync_seconds", MetricType::kHistogram, "", "How long the sync (fdatasync) of a group took"},
    {"concord_journal_sync_records", MetricType::kHistogram, "", "How many records a sync made durable"},
    {"concord_journal_replica_checkpoint_timestamp_seconds", MetricType::kGauge, "replica",
     "Time of the checkpoint of a replica that has a lease: what comes after it is not trimmed"},
    {"concord_journal_replica_lag_seconds", MetricType::kGauge, "replica",
     "How far that is behind the newest commit that the node knows of"},

    // ---- storage ----
    {"concord_storage_applied_lsn_timestamp_seconds", MetricType::kGauge, "",
     "Time of the newest commit that was applied"},
    {"concord_storage_checkpoint_lsn_timestamp_seconds", MetricType::kGauge, "",
     "Time of the newest commit that is in the last checkpoint"},
    {"concord_storage_horizon_timestamp_seconds", MetricType::kGauge, "",
     "Up to where old versions may be gone: nobody can read before"},
    {"concord_storage_lag_seconds", MetricType::kGauge, "",
     "How far the replica is behind the newest commit that it has heard of from the journal"},
    {"concord_storage_map_bytes", MetricType::kGauge, "", "Largest size of the replica's file"},
    {"concord_storage_file_bytes", MetricType::kGauge, "", "Size of the file as far as it is used"},
    {"concord_storage_used_bytes", MetricType::kGauge, "", "Bytes of pages with data"},
    {"concord_storage_free_bytes", MetricType::kGauge, "", "Bytes of pages that were given up and can be used again"},
    {"concord_storage_versions", MetricType::kGauge, "", "Versions of rows and index entries"},
    {"concord_storage_dead_versions", MetricType::kGauge, "",
     "Of them, those that are no current row or entry: superseded, deleted, or of storage that is being dropped"},
    {"concord_storage_storages", MetricType::kGauge, "", "Tables and indexes with rows"},
    {"concord_storage_storages_dropping", MetricType::kGauge, "", "Tables and indexes that are being dropped"},
    {"concord_storage_mutations_total", MetricType::kCounter, "",
     "Changes of rows and index entries that were applied"},
    {"concord_storage_pruned_total", MetricType::kCounter, "", "Old versions that were removed"},
    {"concord_storage_readers", MetricType::kGauge, "", "Reader slots in use"},
    {"concord_storage_readers_max", MetricType::kGauge, "", "Reader slots that there are"},
    {"concord_storage_query_processors", MetricType::kGauge, "", "Query processors that report what they read"},
    {"concord_storage_lowest_read_lsn_timestamp_seconds", MetricType::kGauge, "",
     "Lowest read LSN that they report, which holds back the horizon"},
    {"concord_storage_apply_seconds", MetricType::kHistogram, "", "How long it took to apply a batch of records"},
    {"concord_storage_apply_records", MetricType::kHistogram, "", "Records in such a batch"},

    // ---- query processor ----
    {"concord_qp_connected", MetricType::kGauge, "", "1 while the gateway has a session with the leader"},
    {"concord_qp_transactions_total", MetricType::kCounter, "outcome",
     "Transactions that used Concord tables: committed, read_only, conflict (OC000), too_old, refused for another "
     "reason, unknown (08007)"},
    {"concord_qp_commit_wait_seconds", MetricType::kHistogram, "",
     "How long committed transactions waited for the verdict"},
    {"concord_qp_chunks_total", MetricType::kCounter, "", "Pieces of large transactions and loads that were sent"},
    {"concord_qp_retries_total", MetricType::kCounter, "", "Requests that a backend handed over again"},
    {"concord_qp_backends_waiting", MetricType::kGauge, "for",
     "Backends that wait, by what they wait for, as in concord.stat_activity"},
    {"concord_qp_requests_queued", MetricType::kGauge, "",
     "Requests in shared memory that the gateway has not taken yet"},
    {"concord_qp_requests_unanswered", MetricType::kGauge, "",
     "Requests that the gateway has taken and not answered yet"},
    {"concord_qp_verdicts_total", MetricType::kCounter, "outcome",
     "Verdicts that came from the adjudicator, on commits and on chunks"},
    {"concord_qp_batches_total", MetricType::kCounter, "", "Messages with requests that were sent to the adjudicator"},
    {"concord_qp_sent_bytes_total", MetricType::kCounter, "", "Bytes of these requests"},
    {"concord_qp_resent_total", MetricType::kCounter, "",
     "Requests that were sent in more than one session, or asked again"},
    {"concord_qp_batch_requests", MetricType::kHistogram, "", "Requests in a message"},
    {"concord_qp_round_trip_seconds", MetricType::kHistogram, "",
     "From sending a request until its verdict, for those that were sent once"},
    {"concord_qp_sessions_total", MetricType::kCounter, "", "Sessions with an adjudicator that were begun"},
    {"concord_qp_sessions_lost_total", MetricType::kCounter, "",
     "Sessions that have ended, but for the gateway's own end"},
    {"concord_qp_read_lsn_calls_total", MetricType::kCounter, "",
     "Times that the leader was asked for the newest commit"},
    {"concord_qp_readers", MetricType::kGauge, "", "Transactions with a read LSN"},
    {"concord_qp_oldest_reader_seconds", MetricType::kGauge, "",
     "How long the oldest of them has had it; 0 if there is none"},
    {"concord_qp_lowest_read_lsn_timestamp_seconds", MetricType::kGauge, "", "Lowest of their read LSNs"},
};

// A metric of the list, by its name.
class MetricId {
 public:
  // NOLINTNEXTLINE(google-explicit-constructor): so that a call names the metric as the list does
  consteval MetricId(std::string_view name) : index_(IndexOf(name)) {}
  consteval MetricId(const char* name) : MetricId(std::string_view(name)) {}  // NOLINT(google-explicit-constructor)

  size_t index() const { return index_; }
  const MetricInfo& info() const { return kMetrics[index_]; }

 private:
  static consteval size_t IndexOf(std::string_view name) {
    for (size_t i = 0; i < std::size(kMetrics); i++) {
      if (kMetrics[i].name == name) return i;
    }
    throw "not in the list";
  }

  size_t index_;
};

}  // namespace concord
