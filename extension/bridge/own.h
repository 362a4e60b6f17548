// The running transaction's write set, for the C++ side of the bridge.
#pragma once

#include "bridge/write_set.h"
#include "core/write_set.h"

namespace concord::bridge {

// One per backend; never destroyed.
WriteSet& OwnWrites();

void FillOwn(const WriteSet::Chain& chain, const WriteSet::Version& version, CcOwn* own);

}  // namespace concord::bridge
