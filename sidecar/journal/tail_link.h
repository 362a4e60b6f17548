// A follower's stream of committed frames from one journal node, over gRPC or straight from a node of this process; see
// append_link.h for why there are two.
//
// Thread safety: one thread; Cancel by any.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "core/lsn.h"
#include "core/status.h"
#include "proto/journal.grpc.pb.h"
#include "sidecar/journal/journal_node.h"

namespace concord {

// A node says at least so often how far it is,
inline constexpr std::chrono::milliseconds kTailHeartbeat{100};
// and who has heard nothing of it for so long asks another one.
inline constexpr std::chrono::milliseconds kTailSilence{500};

class TailLink {
 public:
  enum class Event { kFrames, kTimeout, kEnd };

  virtual ~TailLink() = default;
  // Appends frames that follow to `frames` if some come within `wait_us`.
  virtual Event Next(int64_t wait_us, std::string* frames) = 0;
  // After kEnd. kTooOld: what follows has been trimmed away. kUnavailable: nothing was heard for kTailSilence.
  virtual Status Finish() = 0;
  virtual void Cancel() = 0;
};

// `gather_ms`: what becomes committed within so long comes together.
std::unique_ptr<TailLink> OpenRemoteTail(proto::Journal::StubInterface* stub, Lsn after_lsn, int gather_ms);
std::unique_ptr<TailLink> OpenLocalTail(journal::JournalNode* node, Lsn after_lsn, int gather_ms);

}  // namespace concord
