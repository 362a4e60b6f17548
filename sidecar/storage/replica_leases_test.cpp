// Pruning with several query processors, of which some die: nobody's snapshot loses a version as long as its lease
// lasts, and nobody's keeps one for long afterwards.
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "sidecar/storage/replica_model.h"

namespace concord {
namespace {

constexpr int64_t kSecond = 1'000'000;

class ReplicaLeasesTest : public testing::Test {
 protected:
  void SetUp() override {
    ReplicaOptions options;
    options.directory = directory_.path() + "/replica";
    options.map_bytes = uint64_t{1} << 30;
    options.max_readers = 126;
    options.retention_us = 0;
    options.restart_hold_us = 0;
    options.deleted_interval_us = options.superseded_interval_us = 0;
    options.unix_us = [this] { return now_us_; };
    options.steady_us = [this] { return now_us_; };
    const Status s = Replica::Open(options, &replica_);
    ASSERT_TRUE(s.ok()) << s.ToString();
  }
  // A round of updates, at an LSN of now.
  void Write() {
    for (int i = 0; i < 20; i++) {
      const std::string key = RowKey(1, random_() % 50), value(20, static_cast<char>('a' + random_() % 26));
      const size_t from = log_.size();
      const Lsn lsn = log_.Put(key, value, NextLsn(log_.last(), now_us_));
      model_.Write(key, lsn, value);
      ASSERT_TRUE(replica_->Apply(log_.Frames(from, log_.size())).ok());
    }
  }
  Lsn Report(const std::string& processor, Lsn lowest, int64_t lease_us) {
    Lsn horizon = kNoLsn;
    EXPECT_TRUE(replica_->ReportReaders(processor, lowest, lease_us, &horizon).ok());
    return horizon;
  }
  Lsn Horizon() {
    ReplicaView view;
    EXPECT_TRUE(replica_->OpenView(&view).ok());
    return view.horizon();
  }
  uint64_t Versions() {
    ReplicaStatistics statistics;
    EXPECT_TRUE(replica_->Statistics(&statistics).ok());
    return statistics.versions;
  }

  TemporaryDirectory directory_;
  std::mt19937 random_{7};
  int64_t now_us_ = int64_t{1'700'000'000} * kSecond;
  FrameLog log_;
  VersionModel model_;
  std::unique_ptr<Replica> replica_;
};

TEST_F(ReplicaLeasesTest, NoProcessorsSnapshotIsPrunedWhileItsLeaseLasts) {
  std::map<std::string, Lsn> reads;
  ASSERT_NO_FATAL_FAILURE(Write());
  for (int round = 0; round < 60; round++) {
    now_us_ += kSecond;
    // Each of them goes on to a newer snapshot at a pace of its own, and reports in time.
    for (int i = 0; i < 4; i++) {
      const std::string name = "qp" + std::to_string(i);
      if (!reads.contains(name) || round % (3 * i + 1) == 0) reads[name] = replica_->applied();
      ASSERT_LE(Report(name, reads[name], 5 * kSecond), reads[name]);
    }
    ASSERT_NO_FATAL_FAILURE(Write());
    ASSERT_NO_FATAL_FAILURE(MaintainToEnd(replica_.get()));
    for (const auto& [name, lsn] : reads) {
      ASSERT_LE(Horizon(), lsn) << name;
      ASSERT_NO_FATAL_FAILURE(ExpectSame(replica_.get(), model_, lsn)) << name << " in round " << round;
    }
  }
}

TEST_F(ReplicaLeasesTest, ADeadProcessorHoldsBackNothingAfterItsLease) {
  ASSERT_NO_FATAL_FAILURE(Write());
  const Lsn dead = replica_->applied();
  Report("dead", dead, 5 * kSecond);
  for (int second = 1; second < 5; second++) {
    now_us_ += kSecond;
    ASSERT_NO_FATAL_FAILURE(Write());
    Report("live", replica_->applied(), 5 * kSecond);
    ASSERT_NO_FATAL_FAILURE(MaintainToEnd(replica_.get()));
    ASSERT_EQ(Horizon(), dead);
    ASSERT_NO_FATAL_FAILURE(ExpectSame(replica_.get(), model_, dead));
  }
  const uint64_t held = Versions();
  const Lsn live = replica_->applied();
  now_us_ += 2 * kSecond;
  Report("live", live, 5 * kSecond);
  ASSERT_NO_FATAL_FAILURE(Write());
  ASSERT_NO_FATAL_FAILURE(MaintainToEnd(replica_.get()));
  EXPECT_EQ(Horizon(), live) << "the other one's is still kept";
  EXPECT_LT(Versions(), held);
  ASSERT_NO_FATAL_FAILURE(ExpectSame(replica_.get(), model_, live));
  // Should it wake, it is told that what it reads is gone.
  EXPECT_GT(Report("dead", dead, 5 * kSecond), dead);
}

}  // namespace
}  // namespace concord
