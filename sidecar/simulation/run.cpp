#include "sidecar/simulation/run.h"

#include <algorithm>

#include "core/key.h"
#include "sidecar/lsn_text.h"
#include "sidecar/simulation/auditor.h"
#include "sidecar/simulation/checker.h"
#include "sidecar/simulation/client.h"
#include "sidecar/simulation/cluster.h"
#include "sidecar/simulation/disk.h"
#include "sidecar/simulation/faults.h"
#include "sidecar/simulation/network.h"
#include "sidecar/simulation/watcher.h"
#include "sidecar/storage/version_reader.h"

namespace concord::simulation {
namespace {

constexpr int kClients = 5;
constexpr int kWatchers = 2;
constexpr int64_t kWarmUpNs = 2 * kSecond;
constexpr int64_t kRecoveryNs = 60 * kSecond;  // in which a whole cluster must commit again

ClusterOptions ChooseCluster(uint64_t seed) {
  ClusterOptions options;
  options.adjudicators = 2 + static_cast<int>(scheduler->Below(2));
  if (scheduler->Chance(150)) {
    options.journals = 5;
    options.write_quorum = 3 + static_cast<uint32_t>(scheduler->Below(2));
  }
  options.replicas = 1 + static_cast<int>(scheduler->Below(2));
  if (scheduler->Chance(300)) options.retention_ms = 500;
  if (scheduler->Chance(300)) options.segment_bytes = 8u << 10;
  if (scheduler->Chance(150)) options.max_tokens = 20;
  if (scheduler->Chance(150)) options.max_window_keys = 4;
  options.together = seed % 4 == 3;
  return options;
}

class Run {
 public:
  Run(uint64_t seed, const RunOptions& options)
      : options_(options),
        cluster_(ChooseCluster(seed), [this](const std::string& what) { history_.Violation(what); }) {
    constexpr unsigned kPreemptions[] = {2, 10, 50, 300};
    scheduler->set_preempt_per_mille(kPreemptions[scheduler->Below(4)]);
  }

  void Main() {
    Auditor auditor(scheduler->AddNode("auditor"), &cluster_, &history_);
    cluster_.Start();
    auditor.Start();
    int running = kClients;
    std::vector<int> client_nodes;
    for (int i = 0; i < kClients; i++) {
      client_nodes.push_back(scheduler->AddNode("client" + std::to_string(i)));
      scheduler->Spawn(client_nodes.back(), [this, &running] {
        Client(Client::Options(), &cluster_, &history_).Run(&stop_);
        running--;
        scheduler->WakeAll(&running);
      });
    }
    for (int i = 0; i < kWatchers; i++) {
      client_nodes.push_back(scheduler->AddNode("watcher" + std::to_string(i)));
      scheduler->Spawn(client_nodes.back(), [this] { Watcher(&cluster_, &history_).Ask(&stop_); });
    }
    for (const int adjudicator : cluster_.adjudicators()) {
      const int node = scheduler->AddNode("beside" + std::to_string(adjudicator));
      scheduler->Spawn(node, [this, adjudicator] { Watcher(&cluster_, &history_).ReadPage(adjudicator, &stop_); });
    }
    // What trims soon must first know who needs it: a replica that comes later would have to copy another.
    if (cluster_.journals_that_may_be_lost() > 0) scheduler->Sleep(kWarmUpNs);
    if (options_.faults) {
      Faults faults(&cluster_, client_nodes);
      faults.Run(scheduler->now() + options_.seconds * kSecond, &history_);
      faults.Heal();
      described_ = faults.Describe();
    } else {
      scheduler->Sleep(options_.seconds * kSecond);
    }
    stop_ = true;
    while (running > 0 && history_.violations.empty()) scheduler->Block(&running, scheduler->now() + kSecond);
    if (history_.violations.empty()) Recover(&auditor, client_nodes[0]);
  }

  std::vector<std::string> Check() {
    Versions versions;
    auto violations = simulation::Check(history_, &versions);
    if (violations.empty()) CheckReplicas(versions, &violations);
    return violations;
  }

  const History& history() const { return history_; }
  const std::string& described() const { return described_; }

 private:
  // A last commit, which everybody must come to have.
  void Recover(Auditor* auditor, int node) {
    const int64_t until = scheduler->now() + kRecoveryNs;
    Lsn last = kNoLsn;
    bool done = false;
    scheduler->Spawn(node, [&] {
      Client client(Client::Options(), &cluster_, &history_);
      while (last == kNoLsn && scheduler->now() < until) {
        const uint64_t number = client.RunOne(/*row=*/0);
        const Transaction& transaction = history_.transactions[number - 1];
        if (transaction.outcome == Transaction::Outcome::kCommitted) last = transaction.lsn;
        scheduler->Sleep(100 * kMs);
      }
      done = true;
      scheduler->WakeAll(&done);
    });
    while (!done) scheduler->Block(&done);
    if (last == kNoLsn) return history_.Violation("a whole cluster does not commit:\n" + scheduler->Describe());
    std::string behind;
    for (; scheduler->now() < until && history_.violations.empty(); scheduler->Sleep(50 * kMs)) {
      behind.clear();
      if (auditor->complete() < last) behind += " the auditor";
      size_t journals_behind = 0;
      std::string journals;
      for (const int node : cluster_.journals()) {
        if (cluster_.journal(node) != nullptr && cluster_.journal(node)->state().committed_lsn >= last) continue;
        journals_behind++;
        journals += " " + scheduler->node(node).name;
      }
      if (journals_behind > cluster_.journals_that_may_be_lost()) behind += journals;
      for (const int node : cluster_.replicas()) {
        if (cluster_.replica(node) == nullptr || cluster_.replica(node)->applied() < last)
          behind += " " + scheduler->node(node).name;
      }
      if (!behind.empty()) continue;
      final_ = last;
      return;
    }
    history_.Violation("of a whole cluster some do not come to have the commit at " + LsnText(last) + ":" + behind +
                       "\n" + scheduler->Describe());
  }

  void CheckReplicas(const Versions& versions, std::vector<std::string>* violations) {
    for (const int node : cluster_.replicas()) {
      ReplicaView view;
      if (Status s = cluster_.replica(node)->OpenView(&view); !s.ok()) return violations->push_back(s.ToString());
      for (const auto& [row, list] : versions) {
        const std::string key = RowKey(kListStorage, row);
        VisibleVersion version;
        const Status status = ReadVersion(view.txn(), view.DbFor(key), key, final_, &version);
        const bool found = status.ok();
        const List expected = At(versions, row, final_);
        if (!found && status.code() == Code::kNotFound && expected.empty()) continue;
        if (!found || DecodeList(version.value) != expected)
          violations->push_back(scheduler->node(node).name + " has not what the journal says in row " +
                                std::to_string(row));
      }
    }
  }

  const RunOptions options_;
  History history_;
  Cluster cluster_;
  bool stop_ = false;
  Lsn final_ = kNoLsn;
  std::string described_;
};

}  // namespace

RunResult RunSeed(uint64_t seed, const RunOptions& options) {
  RunResult result;
  auto* const machine = new Scheduler(seed);
  new Network;
  new Disk(options.directory);
  // Nothing of it is taken down: the fibers that are left would need it.
  auto* const run = new Run(seed, options);
  if (!machine->Run([&] {
        run->Main();
        result.violations = run->Check();
      }))
    result.violations = {"everybody waits, and nothing will happen any more:\n" + machine->Describe()};
  result.fingerprint = machine->fingerprint();
  result.switches = machine->switches();
  result.virtual_ms = machine->now() / kMs;
  for (const Transaction& transaction : run->history().transactions) {
    result.transactions++;
    result.committed += transaction.outcome == Transaction::Outcome::kCommitted;
    result.refused += transaction.outcome == Transaction::Outcome::kRefused;
    result.unknown += transaction.outcome == Transaction::Outcome::kUnknown;
  }
  result.faults = run->described();
  return result;
}

}  // namespace concord::simulation
