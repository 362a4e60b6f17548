// What must hold of a history, however the run went (README.md has the list). Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "sidecar/simulation/history.h"

namespace concord::simulation {

// The lists as the journal makes them: row -> versions in order of their LSNs.
using Versions = std::map<uint64_t, std::vector<std::pair<Lsn, List>>>;

// The violations; empty if all holds. `*versions`, if given, is what replicas are to have.
std::vector<std::string> Check(const History& history, Versions* versions);

// The newest version at or below `lsn`; an empty list if there is none.
List At(const Versions& versions, uint64_t row, Lsn lsn);

}  // namespace concord::simulation
