// The horizon that follows from what readers report.
#include "sidecar/storage/reader_leases.h"

#include <gtest/gtest.h>

namespace concord {
namespace {

// The horizon that is answered.
Lsn Report(ReaderLeases* leases, const std::string& qp_id, Lsn lowest, int64_t lease_us, int64_t now_us) {
  Lsn horizon = kNoLsn;
  EXPECT_TRUE(leases->Report(qp_id, lowest, lease_us, now_us, &horizon).ok());
  return horizon;
}

TEST(ReaderLeases, TheHorizonIsTheLowestOfAllAndNeverGoesBack) {
  ReaderLeases leases(10, /*hold_until_us=*/5);
  EXPECT_EQ(leases.Advance(100, 100, 4), 10u) << "it stands still at first";
  EXPECT_EQ(leases.Advance(100, 90, 5), 90u) << "retention";
  EXPECT_EQ(leases.Advance(80, 100, 6), 90u) << "nothing applied goes back either";
  EXPECT_EQ(Report(&leases, "one", 95, 1000, 7), 90u);
  EXPECT_EQ(Report(&leases, "two", 120, 2000, 7), 90u);
  EXPECT_EQ(leases.Advance(200, 200, 8), 95u);
  // Too late: what it needs may be gone. It is told so, and must not be served as if it were not.
  EXPECT_EQ(Report(&leases, "late", 50, 1000, 9), 95u);
  EXPECT_EQ(leases.Advance(200, 200, 10), 95u);
  EXPECT_EQ(leases.Advance(200, 40, 11), 95u) << "nor does a clock that is set back take it back";
  EXPECT_EQ(Report(&leases, "late", kNoLsn, 0, 12), 95u);
  EXPECT_EQ(Report(&leases, "one", 110, 1000, 12), 95u);
  EXPECT_EQ(leases.Advance(200, 200, 13), 110u);
  EXPECT_EQ(leases.Advance(200, 200, 1012), 120u) << "a lease has ended";
  EXPECT_EQ(leases.Advance(200, 200, 2007), 200u);
}

TEST(ReaderLeases, SoManyAtATime) {
  ReaderLeases leases(10, /*hold_until_us=*/0);
  for (size_t i = 0; i < ReaderLeases::kLeasesMax; i++) Report(&leases, std::to_string(i), 50 + i, 1000, 0);
  Lsn horizon = kNoLsn;
  EXPECT_EQ(leases.Report("more", 20, 1000, 999, &horizon).code(), Code::kTooLarge);
  EXPECT_EQ(horizon, 10u);
  EXPECT_EQ(leases.Advance(5000, 5000, 999), 50u) << "it holds nothing";
  Report(&leases, "0", 60, 5000, 999);  // those that have one go on
  Report(&leases, "1", kNoLsn, 0, 999);
  Report(&leases, "more", 70, 1000, 999);
  EXPECT_EQ(leases.Report("again", 70, 1000, 999, &horizon).code(), Code::kTooLarge);
  Report(&leases, "again", 70, 1000, 1000);  // those of 1000 us have ended
  EXPECT_EQ(leases.List(1000).size(), 3u);
}

}  // namespace
}  // namespace concord
