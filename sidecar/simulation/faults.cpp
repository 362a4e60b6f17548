#include "sidecar/simulation/faults.h"

#include <algorithm>
#include <chrono>

#include "sidecar/simulation/disk.h"
#include "sidecar/simulation/network.h"

namespace concord::simulation {
namespace {

constexpr const char* kKinds[] = {"kill",         "power_failure", "power_failure_of_all", "cut",       "cut_one_way",
                                  "isolate",      "stop",          "clock_step",           "slow_disk", "slow_network",
                                  "hand_over",    "etcd_cut",      "kill_adjudicators",    "split",     "split",
                                  "split_clients"};
constexpr unsigned kKindCount = sizeof kKinds / sizeof kKinds[0];

int64_t UpTo(int64_t ns) { return static_cast<int64_t>(scheduler->Below(static_cast<uint64_t>(ns))); }

}  // namespace

Faults::Faults(Cluster* cluster, std::vector<int> clients) : cluster_(cluster), clients_(std::move(clients)) {
  const bool all = scheduler->Chance(400);
  for (unsigned kind = 0; kind < kKindCount; kind++) {
    if (all || scheduler->Chance(250)) kinds_.push_back(kind);
  }
  if (kinds_.empty()) kinds_.push_back(static_cast<unsigned>(scheduler->Below(kKindCount)));
  constexpr int64_t kPauses[] = {150 * kMs, 600 * kMs, 2500 * kMs};
  pause_max_ = kPauses[scheduler->Below(3)];
}

void Faults::Run(int64_t until, History* history) {
  while (scheduler->now() < until && history->violations.empty()) {
    scheduler->Sleep(std::min(UpTo(pause_max_), until - scheduler->now()));
    if (scheduler->now() < until) Strike(kinds_[scheduler->Below(kinds_.size())]);
  }
}

void Faults::Crash(const std::vector<int>& nodes, bool machine) {
  for (const int node : nodes) {
    if (!cluster_->IsUp(node)) continue;
    cluster_->Kill(node, machine);
    scheduler->At(scheduler->now() + (scheduler->Chance(300) ? UpTo(50 * kMs) : UpTo(3 * kSecond)), [this, node] {
      if (!cluster_->IsUp(node)) cluster_->Start(node);
    });
  }
}

void Faults::Strike(unsigned kind) {
  counts_[kKinds[kind]]++;
  const int64_t for_ns = UpTo(scheduler->Chance(500) ? 300 * kMs : 3 * kSecond);
  const auto cut = [&](int from, int to) {
    network->Cut(from, to, true);
    scheduler->At(scheduler->now() + for_ns, [from, to] { network->Cut(from, to, false); });
  };
  std::vector<int> everybody = cluster_->all();
  everybody.insert(everybody.end(), clients_.begin(), clients_.end());
  const int node = Anybody();
  switch (kind) {
    case 0: return Crash({node}, false);
    case 1: return Crash({node}, true);
    case 2: return Crash(scheduler->Chance(500) ? cluster_->all() : cluster_->journals(), true);
    case 3: {
      const int other = AnyOf(everybody);
      if (other == node) return;
      cut(node, other);
      return cut(other, node);
    }
    case 4: {
      const int other = AnyOf(everybody);
      if (other != node) cut(node, other);
      return;
    }
    case 5: {
      const bool in = scheduler->Chance(700), out = !in || scheduler->Chance(500);
      for (const int other : everybody) {
        if (other == node) continue;
        if (in) cut(other, node);
        if (out) cut(node, other);
      }
      return;
    }
    case 6: return scheduler->Freeze(node, scheduler->now() + for_ns);
    case 7: scheduler->node(node).wall_offset += UpTo(20 * kSecond) - 10 * kSecond; return;
    case 8: {
      disk->SetSyncTime(node, UpTo(scheduler->Chance(300) ? 1500 * kMs : 50 * kMs) + kMs);
      scheduler->At(scheduler->now() + for_ns, [node] { disk->SetSyncTime(node, 300 * kUs); });
      return;
    }
    case 9: {
      network->SetDelay(UpTo(20 * kMs) + kMs);
      scheduler->At(scheduler->now() + for_ns, [] { network->SetDelay(300 * kUs); });
      return;
    }
    case 10: {
      const int adjudicator = AnyOf(cluster_->adjudicators());
      scheduler->Spawn(0, [adjudicator] {
        grpc::ClientContext context;
        context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(2));
        proto::HandOverReply reply;
        (void)CallUnary(&context, adjudicator, "Adjudicator.HandOver", proto::HandOverRequest(), &reply);
      });
      return;
    }
    case 11: {
      const int adjudicator = AnyOf(cluster_->adjudicators());
      cut(adjudicator, cluster_->etcd());
      if (scheduler->Chance(500)) cut(cluster_->etcd(), adjudicator);
      return;
    }
    case 12: {
      Crash(cluster_->adjudicators(), scheduler->Chance(500));
      return;
    }
    case 13:
    case 14: {
      std::vector<int> here, there;
      for (const int one : everybody) (scheduler->Chance(500) ? here : there).push_back(one);
      const bool one_way = scheduler->Chance(200);
      for (const int one : here) {
        for (const int other : there) {
          cut(one, other);
          if (!one_way) cut(other, one);
        }
      }
      return;
    }
    // An adjudicator has its clients left, and a journal node, and nobody else.
    case 15: {
      const int adjudicator = AnyOf(cluster_->adjudicators()), left = AnyOf(cluster_->journals());
      for (const int one : cluster_->all()) {
        if (one == adjudicator || one == left) continue;
        cut(one, adjudicator);
        cut(adjudicator, one);
      }
      return;
    }
    default: return;
  }
}

void Faults::Heal() {
  network->Heal();
  network->SetDelay(300 * kUs);
  for (const int node : cluster_->all()) {
    disk->SetSyncTime(node, 300 * kUs);
    scheduler->node(node).frozen_until = 0;
    if (!cluster_->IsUp(node)) cluster_->Start(node);
  }
}

std::string Faults::Describe() const {
  std::string text;
  for (const auto& [kind, count] : counts_) text += (text.empty() ? "" : " ") + kind + "=" + std::to_string(count);
  return text;
}

}  // namespace concord::simulation
