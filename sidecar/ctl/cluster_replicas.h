// What `concordctl cluster status` says of adjudicators that stand by and of storage replicas.
//
// Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/lsn.h"
#include "sidecar/ctl/report.h"
#include "sidecar/metastore/metastore.h"

namespace concord::ctl {

// How far behind `newest` an LSN is.
uint64_t BehindMs(Lsn lsn, Lsn newest);
// The same for a problem's text: "is 2500 ms behind".
std::string BehindText(Lsn lsn, Lsn newest);
// The field behind_ms; none for who has nothing yet of what there is, as the time since the first LSN that there could
// be tells nothing.
void AppendBehind(Lsn lsn, Lsn newest, Fields* row);

// Processes with the role adjudicator that do not lead.
void ReportStandbys(const std::vector<LiveProcess>& processes, const Leader& leader, Lsn newest, Report* report);

// The replicas of the membership, and processes that are replicas without being in it. `leases`: what is left of them,
// at the journal node that waits longest, by the replica's name there.
void ReportStorage(const Membership& membership, const std::vector<LiveProcess>& processes,
                   const std::map<std::string, uint64_t>& leases, Lsn newest, Report* report);

}  // namespace concord::ctl
