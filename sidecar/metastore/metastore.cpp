#include "sidecar/metastore/metastore.h"

namespace concord {

Status NotNewest(uint64_t seen, uint64_t newest) {
  return {Code::kConflict,
          "epoch " + std::to_string(seen) + " is not the newest any more: that is " + std::to_string(newest)};
}

}  // namespace concord
