// A whole cluster of the real parts on simulated nodes: an etcd, journal nodes, adjudicators, storage replicas; how
// they start, die and come back.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sidecar/adjudicator/adjudicator_service.h"
#include "sidecar/journal/journal_service.h"
#include "sidecar/simulation/etcd.h"
#include "sidecar/storage/storage_role.h"

namespace concord::simulation {

inline constexpr int64_t kLongRetentionMs = 60'000;  // longer than any run

struct ClusterOptions {
  int journals = 3;
  uint32_t write_quorum = 2;
  int adjudicators = 2;
  int replicas = 2;
  // Each journal node has an adjudicator and a replica in its process, and there are no others.
  bool together = false;
  int64_t retention_ms = kLongRetentionMs;  // of the journal
  uint64_t segment_bytes = 64u << 10;
  size_t max_tokens = 1u << 20;
  size_t max_window_keys = 1u << 20;
};

enum class Role : uint8_t { kJournal, kAdjudicator, kStorage };

class Cluster {
 public:
  // `fail` is told what must never happen: a part that cannot open what it left, or that gives up.
  Cluster(const ClusterOptions& options, std::function<void(const std::string&)> fail);

  void Start();
  void Start(int node);  // that is down
  // As kill -9 does, or as a power failure.
  void Kill(int node, bool machine);
  bool IsUp(int node) const { return scheduler->node(node).alive; }

  int etcd() const { return etcd_node_; }
  const std::vector<int>& journals() const { return journals_; }
  const std::vector<int>& adjudicators() const { return adjudicators_; }
  const std::vector<int>& replicas() const { return replicas_; }
  std::vector<int> all() const;
  // For good: others may have trimmed what one that was away for long would need.
  size_t journals_that_may_be_lost() const {
    return options_.retention_ms >= kLongRetentionMs ? 0 : journals_.size() - options_.write_quorum;
  }

  // Of nodes that are up; null while one opens. The objects themselves, for who looks at the end.
  journal::JournalNode* journal(int node) { return parts_[static_cast<size_t>(node)].journal; }
  Replica* replica(int node);
  // Up to where a journal node was told to have nothing any more, as what it lacked had been trimmed elsewhere.
  Lsn begun_anew(int node) const { return parts_[static_cast<size_t>(node)].begun_anew; }

 private:
  // Of a process. What dies is left as it is: nothing of it is destroyed.
  struct Parts {
    std::vector<Role> roles;  // in the order of starting
    journal::JournalNode* journal = nullptr;
    journal::JournalService* journal_service = nullptr;
    AdjudicatorService* adjudicator = nullptr;
    StorageRole* storage = nullptr;
    int boots = 0;
    int starts = 0;
    Lsn begun_anew = kNoLsn;
  };

  int AddNode(const std::vector<Role>& roles, const std::string& name);
  void OpenJournal(int node);
  void OpenAdjudicator(int node);
  void OpenStorage(int node);
  // The journal node as the process of `from` reaches it.
  JournalPeer PeerFrom(int from, int node) const;

  const ClusterOptions options_;
  const std::function<void(const std::string&)> fail_;
  Etcd etcd_;
  int etcd_node_ = 0;
  std::vector<int> journals_, adjudicators_, replicas_;
  std::vector<Parts> parts_;  // by node
};

}  // namespace concord::simulation
