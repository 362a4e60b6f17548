// concordctl cluster: the members of a cluster, in its metastore.
#pragma once

#include <string>
#include <vector>

#include "sidecar/ctl/check.h"
#include "sidecar/metastore/metastore_options.h"

namespace concord::ctl {

// Writes the first membership of a cluster; refused if there is one. `journal`: each ID=ADDRESS. `write_quorum` 0: more
// than half.
ExitCode InitCluster(const MetastoreOptions& where, const std::string& cluster_id,
                     const std::vector<std::string>& journal, uint32_t write_quorum);

// Prints the membership, and who leads or was the last to.
ExitCode ShowMembers(const MetastoreOptions& where, const std::string& cluster_id, bool json);

}  // namespace concord::ctl
