// The horizon that follows from what readers report.
#include "sidecar/storage/reader_leases.h"

#include <gtest/gtest.h>

namespace concord {
namespace {

TEST(ReaderLeases, TheHorizonIsTheLowestOfAllAndNeverGoesBack) {
  ReaderLeases leases(10, /*hold_until_us=*/5);
  EXPECT_EQ(leases.Advance(100, 100, 4), 10u) << "it stands still at first";
  EXPECT_EQ(leases.Advance(100, 90, 5), 90u) << "retention";
  EXPECT_EQ(leases.Advance(80, 100, 6), 90u) << "nothing applied goes back either";
  EXPECT_EQ(leases.Report("one", 95, 1000, 7), 90u);
  EXPECT_EQ(leases.Report("two", 120, 2000, 7), 90u);
  EXPECT_EQ(leases.Advance(200, 200, 8), 95u);
  // Too late: what it needs may be gone. It is told so, and must not be served as if it were not.
  EXPECT_EQ(leases.Report("late", 50, 1000, 9), 95u);
  EXPECT_EQ(leases.Advance(200, 200, 10), 95u);
  EXPECT_EQ(leases.Advance(200, 40, 11), 95u) << "nor does a clock that is set back take it back";
  EXPECT_EQ(leases.Report("late", kNoLsn, 0, 12), 95u);
  EXPECT_EQ(leases.Report("one", 110, 1000, 12), 95u);
  EXPECT_EQ(leases.Advance(200, 200, 13), 110u);
  EXPECT_EQ(leases.Advance(200, 200, 1012), 120u) << "a lease has ended";
  EXPECT_EQ(leases.Advance(200, 200, 2007), 200u);
}

}  // namespace
}  // namespace concord
