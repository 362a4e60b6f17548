// Follows every journal node and writes down what it calls committed: all of them must say the same, for ever.
//
// It holds a lease on each node, so that nothing is trimmed there before it has seen it.
#pragma once

#include <string>

#include "sidecar/simulation/cluster.h"
#include "sidecar/simulation/history.h"

namespace concord::simulation {

class Auditor {
 public:
  Auditor(int node, Cluster* cluster, History* history) : node_(node), cluster_(cluster), history_(history) {}

  // Its fibers, one for each journal node.
  void Start();
  // Up to where everything from the journal's first record on is known.
  Lsn complete() const { return complete_; }

 private:
  void Follow(int journal, size_t number);
  bool Report(int journal, Lsn checkpoint);
  void Take(const std::string& frames, Lsn* after, int journal);

  const int node_;
  Cluster* const cluster_;
  History* const history_;
  Lsn complete_ = kNoLsn;
};

}  // namespace concord::simulation
