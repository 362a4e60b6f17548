// What the query processors still read at, and the horizon that follows from it.
//
//   horizon = min(lowest read LSN of every live lease, now - retention, applied LSN), never going back
//
// A reader that reports gets a horizon that holds for its report: one that the replica may already be pruning by, even
// if it is not published yet. A lease that ends is forgotten; its reader then finds the horizon above its read LSN.
//
// No more than kLeasesMax have one at a time; who comes then is refused, and its readers are served as if it had not
// reported.
//
// Thread-safe.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "core/lsn.h"
#include "core/status.h"

namespace concord {

class ReaderLeases {
 public:
  static constexpr size_t kLeasesMax = 1024;

  explicit ReaderLeases(Lsn horizon, int64_t hold_until_us) : horizon_(horizon), hold_until_us_(hold_until_us) {}

  // `lowest` of kNoLsn: the query processor has no reader now. Times are monotonic microseconds. kTooLarge: there are
  // too many others.
  Status Report(const std::string& qp_id, Lsn lowest, int64_t lease_us, int64_t now_us, Lsn* horizon) {
    std::lock_guard lock(mutex_);
    *horizon = horizon_;
    if (lowest == kNoLsn) {
      leases_.erase(qp_id);
      return Status::Ok();
    }
    if (leases_.size() >= kLeasesMax && !leases_.contains(qp_id)) {
      std::erase_if(leases_, [now_us](const auto& entry) { return entry.second.expires_us <= now_us; });
      if (leases_.size() >= kLeasesMax)
        return {Code::kTooLarge, std::to_string(kLeasesMax) + " query processors report readers, no more are kept"};
    }
    leases_[qp_id] = {lowest, now_us + lease_us};
    return Status::Ok();
  }

  // `aged`: now - retention as an LSN. Until `hold_until_us` the horizon stands still: after a restart the query
  // processors need a moment to report again.
  Lsn Advance(Lsn applied, Lsn aged, int64_t now_us) {
    std::lock_guard lock(mutex_);
    if (now_us < hold_until_us_) return horizon_;
    Lsn target = std::min(applied, aged);
    for (auto it = leases_.begin(); it != leases_.end();) {
      if (it->second.expires_us <= now_us) {
        it = leases_.erase(it);
      } else {
        target = std::min(target, it->second.lowest);
        ++it;
      }
    }
    horizon_ = std::max(horizon_, target);
    return horizon_;
  }

  struct Listed {
    std::string qp_id;
    Lsn lowest;
    int64_t left_us;
  };
  std::vector<Listed> List(int64_t now_us) const {
    std::lock_guard lock(mutex_);
    std::vector<Listed> out;
    for (const auto& [qp_id, lease] : leases_) out.push_back({qp_id, lease.lowest, lease.expires_us - now_us});
    return out;
  }

  Lsn horizon() const {
    std::lock_guard lock(mutex_);
    return horizon_;
  }

 private:
  struct Lease {
    Lsn lowest;
    int64_t expires_us;
  };
  mutable std::mutex mutex_;
  std::map<std::string, Lease> leases_;
  Lsn horizon_;
  const int64_t hold_until_us_;
};

}  // namespace concord
