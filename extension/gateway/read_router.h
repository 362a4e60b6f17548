// Which storage replica a read goes to, and when another one is asked too (design: "Read routing"). A pure core: it
// does no I/O, has no clock of its own, and is told what happened.
//
//   known    A replica is asked that is known to have applied the read LSN, of those the fastest. Nobody knows that
//            of an LSN that was committed just now: then it is one that is about as far as the others, which waits.
//   hedged   An answer that takes longer than a few times the replica's average is asked of the next one as well;
//            the first answer counts. What was overtaken is no faster than the time that it took.
//   left     A replica that fails, or from which nothing has been heard while others were, is asked last. It is
//            taken up again when it is heard of.
//   probed   Now and then a read also goes to another replica, whose figure is old.
//
// Times are monotonic microseconds. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "core/lsn.h"

namespace concord {

class ReadRouter {
 public:
  static constexpr int64_t kSilentUs = 100'000;  // nothing heard for so long
  static constexpr int64_t kHedgeMinUs = 10'000;
  static constexpr int64_t kHedgeMaxUs = 80'000;
  static constexpr int64_t kHedgeTimes = 4;       // the average
  static constexpr int64_t kLeftMinUs = 100'000;  // doubled with each failure, up to
  static constexpr int64_t kLeftMaxUs = 2'000'000;
  static constexpr int64_t kProbeEveryUs = 250'000;
  static constexpr int64_t kFigureOldUs = 1'000'000;
  static constexpr int64_t kNearUs = 50'000;  // an applied LSN so little behind the others' is as good as theirs

  enum class State { kUnknown, kWell, kSilent, kLeft, kUnusable };
  // Of a read: answers of many rows take longer.
  enum class Size { kSmall, kLarge };

  explicit ReadRouter(size_t replicas) : replicas_(replicas) {}

  // May it be read from at all? Until somebody says so, it may not.
  void SetUsable(size_t replica, bool usable) { replicas_[replica].usable = usable; }
  // How often each is asked for a sign of life, if it is well.
  void SetHeardEvery(int64_t us) { silent_us_ = us * 3 > kSilentUs ? us * 3 : kSilentUs; }
  // A sign of life.
  void Heard(size_t replica, Lsn applied, int64_t now_us);
  // It answered a read that did not have to wait there.
  void Answered(size_t replica, Size size, Lsn applied, int64_t latency_us, int64_t now_us);
  void Failed(size_t replica, int64_t now_us);
  // Another one answered first, though this one had been asked `since_us` before.
  void Overtaken(size_t replica, Size size, int64_t since_us, int64_t now_us);

  // The best one for a read at `lsn` (kNoLsn: any state will do) that is not in `except`, a bit for each.
  std::optional<size_t> Choose(Lsn lsn, uint64_t except, int64_t now_us) const;
  // One to be asked too, for its figure.
  std::optional<size_t> Probe(size_t chosen, int64_t now_us);
  // How long an answer is waited for before another one is asked too.
  int64_t HedgeDelayUs(size_t replica, Size size) const;

  State StateOf(size_t replica, int64_t now_us) const;
  Lsn applied(size_t replica) const { return replicas_[replica].applied; }
  int64_t latency_us(size_t replica) const { return replicas_[replica].latency_us[0]; }
  int64_t heard_us(size_t replica) const { return replicas_[replica].heard_us; }

 private:
  struct Replica {
    bool usable = false;
    Lsn applied = kNoLsn;
    int64_t heard_us = 0;  // 0: never
    int64_t latency_us[2] = {0, 0};
    int64_t measured_us = 0;
    int64_t left_until_us = 0;
    int failures = 0;
  };
  int Rank(const Replica& replica, Lsn lsn, Lsn furthest, int64_t newest_us, int64_t now_us) const;
  bool IsSilent(const Replica& replica, int64_t newest_us, int64_t now_us) const;
  int64_t NewestUs() const;

  std::vector<Replica> replicas_;
  int64_t silent_us_ = kSilentUs;
  int64_t probed_us_ = 0;
};

}  // namespace concord
