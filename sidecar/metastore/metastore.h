// Where epochs and leadership are decided. One implementation keeps them in a file (one machine); another will keep
// them in etcd (many machines), with membership. Thread-safe.
#pragma once

#include <cstdint>

#include "core/status.h"

namespace concord {

class Metastore {
 public:
  virtual ~Metastore() = default;

  // Makes the caller the leader of a new epoch: above every epoch ever returned and above `above` (what a journal node
  // is sealed at, if it knows more than this store). Durable before it returns; no epoch is ever returned twice.
  virtual Status AcquireLeadership(uint64_t above, uint64_t* epoch) = 0;
};

}  // namespace concord
