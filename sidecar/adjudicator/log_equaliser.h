// Brings the log of one journal node to that of another (docs/adjudicator.md, "Taking over" and "A node that comes
// back"): what they have in common is looked for, what follows it on the one is cut, what is missing is copied.
//
// Two logs that hold the same (epoch, LSN) are the same up to there: one leader an epoch, and each record names the one
// before it. What a node knows as committed every later leader has, so they do not differ before that.
//
// What the source has trimmed is committed, and no replica needs it any more. A target that ends before that, a new
// node above all, gives up its log and begins where the source's begins. Nothing is lost by that: W nodes, and so not
// the target, have synced the committed record where the source begins, and all before it.
//
// Used by one thread. The caller leads the epoch, or takes over for it, and has sealed the target in it.
#pragma once

#include <cstdint>

#include "core/lsn.h"
#include "core/status.h"
#include "proto/journal.grpc.pb.h"
#include "sidecar/adjudicator/journal_ensemble.h"
#include "sidecar/rpc/cancellation.h"
#include "sidecar/rpc/stall_guard.h"

namespace concord {

class LogEqualiser {
 public:
  struct Terms {
    uint64_t epoch = 0;
    uint32_t write_quorum = 1;
    Lsn committed_lsn = kNoLsn;  // known to be so
    int call_timeout_ms = 3000;
  };

  // `calls`: what ends its calls; `stall` ends them too when they make no progress.
  LogEqualiser(const Terms& terms, Cancellation* calls, StallGuard* stall)
      : terms_(terms), cancellation_(calls), stall_(stall) {}

  // Afterwards the target's log ends at `end`, a record that the source has synced. `sealed`: what the target said when
  // it was sealed.
  Status Run(JournalStub* source, Lsn end, JournalStub* target, const proto::SealReply& sealed);

 private:
  // `common`: where they agree, as is known; then how far they do.
  Status FindCommon(JournalStub* source, JournalStub* target, Lsn target_end, Lsn* common);
  Status Truncate(JournalStub* target, Lsn lsn, bool restart);
  // The source has trimmed what is only known to be common: it begins with what is committed.
  Status BeginLater(JournalStub* source, Lsn end, JournalStub* target, Lsn target_end);
  Status Copy(JournalStub* source, Lsn after, Lsn end, JournalStub* target);

  const Terms terms_;
  Cancellation* const cancellation_;
  StallGuard* const stall_;
};

}  // namespace concord
