// What the writer owes to its nodes and its caller; the service's tests go through it too.
#include "sidecar/adjudicator/journal_writer.h"

#include <grpc/grpc.h>
#include <gtest/gtest.h>

#include <atomic>

#include "sidecar/adjudicator/test_journal.h"

namespace concord {
namespace {

[[maybe_unused]] const bool grpc_stays = (grpc_init(), true);

// Up to a limit for what must come, and a moment for what must not.
bool WaitFor(const std::function<bool()>& condition, std::chrono::milliseconds limit = std::chrono::seconds(60)) {
  for (const auto end = std::chrono::steady_clock::now() + limit; std::chrono::steady_clock::now() < end;) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

TEST(JournalWriter, ANodeTooFarBehindIsGivenUpAndTheOthersGoOn) {
  constexpr Lsn kEnd = 100;
  TestJournal first, second, slow;
  std::atomic<Lsn> committed = kNoLsn;
  std::atomic<bool> failed = false;
  JournalWriter writer(
      {first.stub(), second.stub(), slow.stub()}, {0, 1, 2}, {.epoch = 1, .write_quorum = 2, .max_lag_bytes = 10000},
      [&](Lsn lsn) { committed = lsn; }, [&](const Status&) { failed = true; });
  writer.Start();
  slow.Hold(true);
  for (Lsn lsn = 1; lsn <= kEnd; lsn++) {
    writer.Append(lsn, lsn - 1, std::string(1000, 'r'), {});
    writer.Flush(/*more_to_come=*/false);
    ASSERT_TRUE(WaitFor([&] { return committed == lsn; })) << lsn;
  }
  slow.Hold(false);
  EXPECT_FALSE(WaitFor([&] { return slow.log().size() == kEnd; }, std::chrono::milliseconds(300)));
  EXPECT_EQ(first.log().size(), kEnd);
  EXPECT_EQ(second.log().size(), kEnd);
  EXPECT_FALSE(failed);
  writer.Stop();
}

}  // namespace
}  // namespace concord
