// What a journal node has promised to the leader that writes to it, and whether that leader is still there.
//
// Each message of a leader asks for a lease: for so long the node will not help another leader to commit. It does so
// without refusing anything: a Seal is answered at once with what is left of the lease, and the new leader waits for
// that long before it commits its first record. A leader whose lease W nodes hold may therefore vouch for the newest
// committed LSN without asking anybody: the N - W + 1 nodes that a new leader must seal have one of the W among them.
// (Gray and Cheriton's leases, 1989; the clocks need not agree, only run at about the same rate.)
//
// Times are milliseconds of a clock that does not stand still while the machine sleeps. Not thread-safe, no clock of
// its own. Invariants:
//  - Only the writer of the sealed epoch gets a lease or is heard.
//  - A node that has just started does not know what it granted, so it counts the longest lease that there is.
#pragma once

#include <algorithm>
#include <cstdint>

namespace concord::journal {

class WriterLease {
 public:
  static constexpr int64_t kLeaseMsMax = 1000;
  // A leader writes several times in this time, also when it has nothing to say.
  static constexpr int64_t kSilenceMs = 400;
  // Whoever has sealed is given so long to begin, or to seal again.
  static constexpr int64_t kTakeoverMs = 2500;

  WriterLease(uint64_t epoch, int64_t now_ms, int64_t silence_ms = kSilenceMs)
      : silence_ms_(silence_ms), epoch_(epoch), lease_until_ms_(epoch == 0 ? 0 : now_ms + kLeaseMsMax) {}

  // A leader of a new epoch begins. What is left of the lease of the one before stays.
  void Seal(uint64_t epoch, int64_t now_ms) {
    if (epoch > epoch_) lease_epoch_ = epoch_;
    epoch_ = std::max(epoch_, epoch);
    live_until_ms_ = now_ms + kTakeoverMs;
  }
  void Hear(uint64_t epoch, int64_t lease_ms, int64_t now_ms) {
    if (epoch != epoch_) return;
    live_until_ms_ = now_ms + silence_ms_;
    if (lease_ms > 0) {
      lease_epoch_ = epoch;
      lease_until_ms_ = std::max(lease_until_ms_, now_ms + std::min(lease_ms, kLeaseMsMax));
    }
  }
  // The writer leads no longer, and had waited for the leases of those before it.
  void Release(uint64_t epoch) {
    if (epoch == epoch_) lease_until_ms_ = live_until_ms_ = 0;
  }
  // The writer's stream has ended.
  void Leave(uint64_t epoch) {
    if (epoch == epoch_) live_until_ms_ = 0;
  }

  bool Live(int64_t now_ms) const { return now_ms < live_until_ms_; }
  int64_t LeftMs(int64_t now_ms) const { return std::max<int64_t>(lease_until_ms_ - now_ms, 0); }
  // Whose lease that is: the newest epoch that may have one.
  uint64_t lease_epoch() const { return lease_epoch_; }

 private:
  const int64_t silence_ms_;
  uint64_t epoch_;
  uint64_t lease_epoch_ = epoch_;
  int64_t lease_until_ms_;
  int64_t live_until_ms_ = 0;
};

}  // namespace concord::journal
