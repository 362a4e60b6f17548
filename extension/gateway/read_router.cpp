#include "gateway/read_router.h"

#include <algorithm>
#include <tuple>

namespace concord {

namespace {

constexpr Lsn kLsnPerUs = 4096;

// A moving average of about the last eight.
void Average(int64_t* average, int64_t value) { *average = *average == 0 ? value : *average + (value - *average) / 8; }

}  // namespace

void ReadRouter::Heard(size_t index, Lsn applied, int64_t now_us) {
  Replica& replica = replicas_[index];
  replica.heard_us = std::max(replica.heard_us, now_us);
  replica.applied = std::max(replica.applied, applied);
  replica.left_until_us = 0;
  replica.failures = 0;
}

void ReadRouter::Answered(size_t index, Size size, Lsn applied, int64_t latency_us, int64_t now_us) {
  Heard(index, applied, now_us);
  Replica& replica = replicas_[index];
  Average(&replica.latency_us[static_cast<int>(size)], std::max<int64_t>(latency_us, 1));
  replica.measured_us = now_us;
}

void ReadRouter::Failed(size_t index, int64_t now_us) {
  Replica& replica = replicas_[index];
  const int64_t pause_us = std::min(kLeftMinUs << std::min(replica.failures, 10), kLeftMaxUs);
  replica.failures++;
  replica.left_until_us = now_us + pause_us;
  // It may come back as another process that has yet to apply what this one had.
  replica.applied = kNoLsn;
}

void ReadRouter::Overtaken(size_t index, Size size, int64_t since_us, int64_t now_us) {
  Replica& replica = replicas_[index];
  int64_t& average = replica.latency_us[static_cast<int>(size)];
  average = std::max(average, since_us);
  replica.measured_us = now_us;
}

int64_t ReadRouter::NewestUs() const {
  int64_t newest_us = 0;
  for (const Replica& replica : replicas_) newest_us = std::max(newest_us, replica.heard_us);
  return newest_us;
}

// Silence counts where others are heard: it may be us who did not listen.
bool ReadRouter::IsSilent(const Replica& replica, int64_t newest_us, int64_t now_us) const {
  return now_us - replica.heard_us > silent_us_ && newest_us - replica.heard_us > silent_us_ / 2;
}

int ReadRouter::Rank(const Replica& replica, Lsn lsn, Lsn furthest, int64_t newest_us, int64_t now_us) const {
  if (now_us < replica.left_until_us || IsSilent(replica, newest_us, now_us)) return 3;
  if (replica.applied >= lsn) return 0;
  return replica.applied + kNearUs * kLsnPerUs >= furthest ? 1 : 2;
}

std::optional<size_t> ReadRouter::Choose(Lsn lsn, uint64_t except, int64_t now_us) const {
  const int64_t newest_us = NewestUs();
  Lsn furthest = kNoLsn;
  for (const Replica& replica : replicas_)
    if (replica.usable) furthest = std::max(furthest, replica.applied);
  std::optional<size_t> best;
  std::tuple<int, int64_t> best_rank;
  for (size_t i = 0; i < replicas_.size(); i++) {
    const Replica& replica = replicas_[i];
    if (!replica.usable || (except >> i & 1) != 0) continue;
    const std::tuple rank(Rank(replica, lsn, furthest, newest_us, now_us), replica.latency_us[0]);
    if (best && best_rank <= rank) continue;
    best = i;
    best_rank = rank;
  }
  return best;
}

std::optional<size_t> ReadRouter::Probe(size_t chosen, int64_t now_us) {
  if (now_us - probed_us_ < kProbeEveryUs) return std::nullopt;
  const int64_t newest_us = NewestUs();
  std::optional<size_t> oldest;
  for (size_t i = 0; i < replicas_.size(); i++) {
    const Replica& replica = replicas_[i];
    if (i == chosen || !replica.usable || now_us < replica.left_until_us || IsSilent(replica, newest_us, now_us) ||
        now_us - replica.measured_us < kFigureOldUs)
      continue;
    if (!oldest || replica.measured_us < replicas_[*oldest].measured_us) oldest = i;
  }
  if (oldest) probed_us_ = now_us;
  return oldest;
}

int64_t ReadRouter::HedgeDelayUs(size_t index, Size size) const {
  const int64_t average = replicas_[index].latency_us[static_cast<int>(size)];
  return std::clamp(average * kHedgeTimes, size == Size::kSmall ? kHedgeMinUs : 2 * kHedgeMinUs, kHedgeMaxUs);
}

ReadRouter::State ReadRouter::StateOf(size_t index, int64_t now_us) const {
  const Replica& replica = replicas_[index];
  if (now_us < replica.left_until_us) return State::kLeft;
  if (replica.heard_us == 0) return State::kUnknown;
  if (!replica.usable) return State::kUnusable;
  return IsSilent(replica, NewestUs(), now_us) ? State::kSilent : State::kWell;
}

}  // namespace concord
