// One run: a cluster, its clients and its misfortunes, all chosen by a seed, and what came of it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace concord::simulation {

struct RunOptions {
  std::string directory;  // for the disks; made, and removed
  int64_t seconds = 8;    // of misfortunes, in virtual time
  bool faults = true;
};

struct RunResult {
  std::vector<std::string> violations;
  uint64_t fingerprint = 0;
  uint64_t switches = 0;
  int64_t virtual_ms = 0;
  uint64_t transactions = 0, committed = 0, refused = 0, unknown = 0;
  std::string faults;  // how often each
};

RunResult RunSeed(uint64_t seed, const RunOptions& options);

}  // namespace concord::simulation
