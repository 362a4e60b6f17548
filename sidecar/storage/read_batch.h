// Answers one read of a query processor on another machine (core/read_wire.h) from one view of the replica.
//
// Each answer is complete in itself: whoever wants more asks again, from where the answer ended, here or at another
// replica. So nothing is kept between two of them.
#pragma once

#include <string>
#include <string_view>

#include "core/lsn.h"
#include "core/status.h"
#include "sidecar/storage/replica.h"

namespace concord {

// What a scan may pass of which nothing is to be seen, in moves of a cursor, before it answers how far it has come:
// about a tenth of a second. Who asks goes on from there, or gives up.
inline constexpr int64_t kScanStepsMax = 200'000;

// Whether a request asks for versions as of its LSN; counters are as of now.
bool IsOfVersions(std::string_view request);
// kInvalid for a request that no query processor makes. `view` has applied `read_lsn` and can be read at it.
Status FillBatch(const Replica& replica, const ReplicaView& view, Lsn read_lsn, std::string_view request,
                 std::string* batch, int64_t steps_max = kScanStepsMax);

}  // namespace concord
