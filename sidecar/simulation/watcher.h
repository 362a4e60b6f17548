// Who asks for the newest commit all the time, of adjudicators that lead and of those that do not: no answer may be
// below what was acknowledged to anybody before the question.
#pragma once

#include <string>

#include "core/lsn_page.h"
#include "sidecar/simulation/cluster.h"
#include "sidecar/simulation/history.h"

namespace concord::simulation {

class Watcher {
 public:
  Watcher(Cluster* cluster, History* history) : cluster_(cluster), history_(history) {}

  // By ReadLsn, of any adjudicator.
  void Ask(const bool* stop);
  // By the LSN page (core/lsn_page.h) of one on the same machine, whose clock the present node shares.
  void ReadPage(int adjudicator, const bool* stop);

 private:
  void Offer(int adjudicator, const std::string& path);
  void Compare(int adjudicator, Lsn told, Lsn newest_acknowledged, const char* how);

  Cluster* const cluster_;
  History* const history_;
};

}  // namespace concord::simulation
