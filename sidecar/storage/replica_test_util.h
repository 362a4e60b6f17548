// What the tests of the replica share: one in a directory of its own, with clocks that stand still.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "sidecar/storage/replica.h"
#include "sidecar/storage/replica_model.h"

namespace concord {

class ReplicaTest : public testing::Test {
 protected:
  ReplicaOptions Options() {
    ReplicaOptions options;
    options.directory = directory_.path() + "/replica";
    options.map_bytes = uint64_t{1} << 30;
    options.max_readers = 126;
    options.retention_us = 0;
    options.restart_hold_us = restart_hold_us_;
    options.deleted_interval_us = options.superseded_interval_us = 0;
    options.boot_id = "boot";
    options.unix_us = [this] { return now_us_; };
    options.steady_us = [this] { return now_us_; };
    options.transaction_bytes = transaction_bytes_;
    options.staging_bytes = staging_bytes_;
    options.staging_us = staging_us_;
    options.memtable = memtable_;
    return options;
  }
  void Open() {
    replica_.reset();
    const Status s = Replica::Open(Options(), &replica_);
    ASSERT_TRUE(s.ok()) << s.ToString();
  }
  void Apply(std::string_view frames) {
    const Status s = replica_->Apply(frames);
    ASSERT_TRUE(s.ok()) << s.ToString();
  }
  void ApplyNew(const FrameLog& log, size_t from) { Apply(log.Frames(from, log.size())); }
  bool Visible(std::string_view key, Lsn lsn, std::string* value = nullptr) {
    ReplicaView view;
    EXPECT_TRUE(replica_->OpenView(&view).ok());
    VisibleVersion version;
    const Status s = ReadVersion(view.txn(), view.DbFor(key), key, lsn, &version);
    if (s.ok() && value != nullptr) *value = version.value;
    return s.ok();
  }
  Lsn Report(const std::string& qp_id, Lsn lowest, int64_t lease_us) {
    Lsn horizon = kNoLsn;
    EXPECT_TRUE(replica_->ReportReaders(qp_id, lowest, lease_us, &horizon).ok());
    return horizon;
  }
  uint64_t Versions() {
    ReplicaStatistics statistics;
    EXPECT_TRUE(replica_->Statistics(&statistics).ok());
    return statistics.versions;
  }
  // So that an LSN of `now` is above every one used.
  void PassHorizon() { now_us_ = LsnToUnixUs(replica_->applied()) + 1'000'000; }

  TemporaryDirectory directory_;
  int64_t now_us_ = kLsnEpochUnixUs;  // LSN 0: the horizon stands at 0
  int64_t restart_hold_us_ = 0;
  uint64_t transaction_bytes_ = 64u << 20;
  uint64_t staging_bytes_ = 256u << 20;
  int64_t staging_us_ = 10'000'000;
  bool memtable_ = false;
  std::unique_ptr<Replica> replica_;
};

}  // namespace concord
