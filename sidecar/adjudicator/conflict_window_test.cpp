// The window against a model that keeps the whole history, with random histories; and the model run against windows
// that are broken on purpose, which it must tell from the right one.
#include "sidecar/adjudicator/conflict_window.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "core/test_rounds.h"

namespace concord {
namespace {

using Result = ConflictWindow::Result;

// Every commit ever, searched from end to end.
struct Model {
  struct Commit {
    Lsn lsn;
    LockMode mode;
  };
  std::map<uint64_t, std::vector<Commit>> history;
  Lsn start = kNoLsn;

  Result Probe(const Check& check) const {
    if (check.observed < start) return Result::kTooOld;
    const auto found = history.find(check.key_hash);
    if (found == history.end()) return Result::kFree;
    for (const Commit& commit : found->second) {
      if (commit.lsn > check.observed && Conflicts(check.mode, commit.mode)) return Result::kConflict;
    }
    return Result::kFree;
  }

  // Where the window's start must be when it holds the `max_keys` keys that committed last.
  Lsn StartFor(size_t max_keys) const {
    std::vector<Lsn> last;
    for (const auto& [key, commits] : history) last.push_back(commits.back().lsn);
    std::sort(last.rbegin(), last.rend());
    return last.size() > max_keys ? last[max_keys] : kNoLsn;
  }
};

// Runs a random history; the number of probes that went wrong.
template <typename Window>
int Mismatches(uint64_t seed, int steps) {
  std::mt19937_64 random(seed);
  const size_t max_keys = 1 + random() % 64;
  const uint64_t key_count = 1 + random() % 128;
  Window window(max_keys);
  Model model;
  Lsn lsn = 0;
  int wrong = 0;
  for (int step = 0; step < steps; step++) {
    const Lsn back = random() % 40;
    const Check check{random() % key_count, lsn > back ? lsn - back : 0, static_cast<LockMode>(random() % kLockModes)};
    if (random() % 2 == 0) {
      // Several keys may share one LSN, as in one write set.
      if (lsn == 0 || random() % 3 != 0) lsn += 1 + random() % 3;
      window.Record(check.key_hash, check.mode, lsn);
      model.history[check.key_hash].push_back({lsn, check.mode});
      // What was evicted stays evicted: a key that comes back does not lower the start.
      model.start = std::max(model.start, model.StartFor(max_keys));
      if (window.keys() > max_keys) wrong++;
      if (window.start() != model.start) wrong++;
    }
    if (window.Probe(check) != model.Probe(check)) wrong++;
  }
  return wrong;
}

TEST(ConflictWindow, AgreesWithTheModel) {
  const uint64_t base = std::random_device{}();
  for (uint64_t seed = base; seed < base + Rounds(200); seed++) {
    ASSERT_EQ(Mismatches<ConflictWindow>(seed, 2000), 0) << "seed " << seed;
  }
}

struct NeverConflicts : ConflictWindow {
  using ConflictWindow::ConflictWindow;
  Result Probe(const Check& check) const {
    const Result result = ConflictWindow::Probe(check);
    return result == Result::kConflict ? Result::kFree : result;
  }
};
struct NeverTooOld : ConflictWindow {
  using ConflictWindow::ConflictWindow;
  Result Probe(Check check) const {
    check.observed = std::max(check.observed, start());
    return ConflictWindow::Probe(check);
  }
};
struct ForgetsKeyShare : ConflictWindow {
  using ConflictWindow::ConflictWindow;
  void Record(uint64_t hash, LockMode mode, Lsn lsn) {
    ConflictWindow::Record(hash, mode == LockMode::kKeyShare ? LockMode::kShare : mode, lsn);
  }
};

TEST(ConflictWindow, TheModelSeesPlantedBugs) {
  int never_conflicts = 0, never_too_old = 0, forgets_key_share = 0;
  for (uint64_t seed = 1; seed <= 10; seed++) {
    never_conflicts += Mismatches<NeverConflicts>(seed, 2000);
    never_too_old += Mismatches<NeverTooOld>(seed, 2000);
    forgets_key_share += Mismatches<ForgetsKeyShare>(seed, 2000);
  }
  EXPECT_GT(never_conflicts, 0);
  EXPECT_GT(never_too_old, 0);
  EXPECT_GT(forgets_key_share, 0);
}

TEST(ConflictWindow, ObservedAtTheCommitIsNoConflict) {
  ConflictWindow window;
  window.Record(7, LockMode::kUpdate, 10);
  EXPECT_EQ(window.Probe({7, 9, LockMode::kKeyShare}), Result::kConflict);
  EXPECT_EQ(window.Probe({7, 10, LockMode::kUpdate}), Result::kFree);
}

TEST(ConflictWindow, ResetForgetsAndRaisesTheStart) {
  ConflictWindow window;
  window.Record(7, LockMode::kUpdate, 10);
  window.Reset(20);
  EXPECT_EQ(window.keys(), 0u);
  EXPECT_EQ(window.Probe({7, 19, LockMode::kUpdate}), Result::kTooOld);
  EXPECT_EQ(window.Probe({7, 20, LockMode::kUpdate}), Result::kFree);
}

TEST(ConflictWindow, GrowsAndStaysBounded) {
  constexpr size_t kMax = 100000;
  ConflictWindow window(kMax);
  for (uint64_t i = 1; i <= 3 * kMax; i++) {
    window.Record(i * UINT64_C(0x9e3779b97f4a7c15), LockMode::kUpdate, i);
    ASSERT_EQ(window.keys(), std::min<uint64_t>(i, kMax));
  }
  EXPECT_EQ(window.start(), 2 * kMax);
}

}  // namespace
}  // namespace concord
