// Which replicas still need which part of the journal. A lease says "I need everything above my checkpoint" and lasts
// for a time that the replica chooses and renews with each report. Kept on disk (who has one and for how long, not each
// report), so a restarted journal waits for the replicas that it knew instead of trimming what they need.
//
// Pure: time comes from outside. Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/lsn.h"
#include "core/status.h"

namespace concord::journal {

class LeaseTable {
 public:
  static constexpr size_t kLeasesMax = 1024;
  static constexpr size_t kReplicaIdBytesMax = 256;

  // Renews or begins a lease; one of 0 ms ends it. `*save` tells whether what Encode returns has changed in a way that
  // a restart must know.
  Status Report(const std::string& replica_id, Lsn checkpoint_lsn, uint64_t lease_ms, int64_t now_ms, bool* save);
  // Forgets leases that have ended; true if there were any.
  bool Expire(int64_t now_ms);
  // The lowest checkpoint of all leases; none if there is no lease, which means that nothing may be trimmed.
  std::optional<Lsn> LowestCheckpoint() const;

  struct Listed {
    std::string replica_id;
    Lsn checkpoint_lsn;
    int64_t left_ms;
  };
  std::vector<Listed> List(int64_t now_ms) const;

  // leases := version u32 | lease*      lease := id_size u16 | id | checkpoint_lsn u64 | lease_ms u64
  std::string Encode() const;
  // Each lease read begins anew at `now_ms`. kInvalid: of another version; kCorruption: no table.
  static Status Decode(std::string_view bytes, int64_t now_ms, LeaseTable* out);

 private:
  struct Lease {
    Lsn checkpoint_lsn;
    uint64_t lease_ms;
    int64_t ends_ms;
  };
  std::map<std::string, Lease> leases_;
};

}  // namespace concord::journal
