// What goes wrong in a run: which kinds and how often is chosen by the seed, so that some runs have one kind only and
// some have all.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "sidecar/simulation/cluster.h"
#include "sidecar/simulation/history.h"

namespace concord::simulation {

class Faults {
 public:
  Faults(Cluster* cluster, std::vector<int> clients);

  // Until that time, or a violation.
  void Run(int64_t until, History* history);
  // Everything is whole again: all nodes up, no link cut, all disks as they were.
  void Heal();
  std::string Describe() const;

 private:
  void Strike(unsigned kind);
  void Crash(const std::vector<int>& nodes, bool machine);
  int AnyOf(const std::vector<int>& nodes) const { return nodes[scheduler->Below(nodes.size())]; }
  int Anybody() const { return AnyOf(cluster_->all()); }

  Cluster* const cluster_;
  const std::vector<int> clients_;
  std::vector<unsigned> kinds_;
  int64_t pause_max_ = 0;
  std::map<std::string, int> counts_;
};

}  // namespace concord::simulation
