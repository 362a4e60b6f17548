// Point reads and counters of other machines' replicas, for replica.cpp. See remote.h.
#pragma once

#include <string_view>

#include "bridge/remote.h"
#include "bridge/remote_batch.h"

namespace concord::bridge {

// As cc_replica_get. With *local_ready nothing is returned: the replica of this machine has come as far.
CcStatus RemoteGet(Lsn lsn, std::string_view key, std::string_view* value, Lsn* version, CcView** view,
                   bool* local_ready);
CcStatus RemoteRowsAhead(uint64_t prefix, Lsn lsn, const uint64_t* rowids, size_t count, size_t* ready);
CcStatus RemoteScansAhead(Lsn lsn, const CcRange* ranges, size_t count, size_t* ready, size_t* asked);
// Not older than the newest LSN that was read at; what was learned lately may be told again.
CcStatus RemoteCounters(uint64_t prefix, uint64_t* rows, uint64_t* bytes);
CcStatus RemoteStorages(uint64_t after, CcStorage* storages, size_t capacity, size_t* count);
// Whether counters are for estimates (cc_remote_estimate).
bool CountersEstimate();
// End of the transaction: nothing is cached, nothing asked any more.
void RemoteReset();

}  // namespace concord::bridge
