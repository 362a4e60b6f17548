// concordctl cluster, journal, storage: the members of a cluster; concordctl leader: who of them leads.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sidecar/ctl/check.h"
#include "sidecar/metastore/metastore.h"
#include "sidecar/metastore/metastore_options.h"

namespace concord::ctl {

// What both need: the metastore of a cluster, what it says, and what to say (on standard error) and return when
// something failed.
Status OpenCluster(const MetastoreOptions& where, const std::string& cluster_id, std::unique_ptr<Metastore>* store);
Status ReadCluster(const MetastoreOptions& where, const std::string& cluster_id, Membership* membership,
                   Leader* leader);
ExitCode Failed(const Status& status);
// ID=ADDRESS.
Status ParseMember(const std::string& text, Member* member);

// Writes the first membership of a cluster; refused if there is one. `journal`, `storage`: each ID=ADDRESS.
// `write_quorum` 0: more than half.
ExitCode InitCluster(const MetastoreOptions& where, const std::string& cluster_id,
                     const std::vector<std::string>& journal, const std::vector<std::string>& storage,
                     uint32_t write_quorum);

// Prints the membership, and who leads or was the last to.
ExitCode ShowMembers(const MetastoreOptions& where, const std::string& cluster_id, bool json);

// Asks every member that there is or is meant to be, and says what is wrong.
ExitCode ShowCluster(const MetastoreOptions& where, const std::string& cluster_id, bool json);

struct JournalEdit {
  std::vector<std::string> add;     // each ID=ADDRESS
  std::vector<std::string> remove;  // ids
  uint32_t write_quorum = 0;        // 0: as before, or more than half if there are more or fewer nodes then
  uint32_t timeout_s = 600;         // for the new nodes to catch up
};
// Has the leader change the journal's members, and prints those that there are then.
ExitCode ChangeJournal(const MetastoreOptions& where, const std::string& cluster_id, const JournalEdit& edit,
                       bool json);

// Registers storage replicas (each ID=ADDRESS), which have to answer; or takes ids out, and ends their leases at every
// journal node. Prints those that there are then.
ExitCode AddStorage(const MetastoreOptions& where, const std::string& cluster_id, const std::vector<std::string>& add,
                    bool json);
ExitCode RemoveStorage(const MetastoreOptions& where, const std::string& cluster_id,
                       const std::vector<std::string>& remove, bool json);

// Has the leader hand over to a standby, waits until another one leads, and prints how long that took.
ExitCode TransferLead(const MetastoreOptions& where, const std::string& cluster_id, bool json);

}  // namespace concord::ctl
