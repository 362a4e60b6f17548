// The replica as a whole: what it answers as of an LSN, what it refuses, horizon, drops, a full map.
#include "sidecar/storage/replica.h"

#include <sys/stat.h>

#include "sidecar/lsn_text.h"
#include "sidecar/storage/meta.h"
#include "sidecar/storage/replica_test_util.h"

namespace concord {
namespace {

TEST_F(ReplicaTest, PutsDeletesAndReadsAsOf) {
  Open();
  FrameLog log;
  log.Append(RecordType::kEpochStart, "");
  const std::string key = RowKey(7, 1);
  const Lsn first = log.Put(key, "one     ");
  const Lsn second = log.Put(key, "two     ");
  const Lsn third = log.Delete(key);
  Apply(log.All());
  EXPECT_EQ(replica_->applied(), third);
  std::string value;
  EXPECT_FALSE(Visible(key, first - 1));
  ASSERT_TRUE(Visible(key, first, &value));
  EXPECT_EQ(value, "one     ");
  ASSERT_TRUE(Visible(key, second, &value));
  EXPECT_EQ(value, "two     ");
  EXPECT_FALSE(Visible(key, third));
  struct stat st;
  ASSERT_EQ(stat((Options().directory + "/data.mdb").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
  // It is written through a map, by backends too: a hole in it would be a SIGBUS on a full disk.
  ASSERT_EQ(stat((Options().directory + "/lock.mdb").c_str(), &st), 0);
  EXPECT_GE(st.st_blocks * 512, st.st_size);
}

TEST_F(ReplicaTest, AnOlderFormatIsRefused) {
  Open();
  ASSERT_TRUE(replica_->Close().ok());
  replica_.reset();
  {
    lmdb::Env env;
    lmdb::Txn txn;
    MDB_dbi meta;
    ASSERT_EQ(mdb_env_create(env.out()), 0);
    ASSERT_EQ(mdb_env_set_maxdbs(env.get(), kReplicaDatabases), 0);
    ASSERT_EQ(mdb_env_open(env.get(), Options().directory.c_str(), 0, 0600), 0);
    ASSERT_TRUE(txn.Begin(env.get(), 0).ok());
    ASSERT_EQ(mdb_dbi_open(txn.get(), kDbMeta, 0, &meta), 0);
    ASSERT_TRUE(WriteMeta(txn.get(), meta, kMetaFormat, kReplicaFormat - 1).ok());
    ASSERT_TRUE(txn.Commit().ok());
  }
  const Status s = Replica::Open(Options(), &replica_);
  EXPECT_EQ(s.code(), Code::kInvalid);
  const std::string says = "data.mdb has format " + std::to_string(kReplicaFormat - 1) + ", this program reads " +
                           std::to_string(kReplicaFormat);
  EXPECT_NE(s.message().find(says), std::string::npos) << s.message();
}

TEST_F(ReplicaTest, RefusesGapsDamageAndOldEpochs) {
  Open();
  FrameLog log;
  log.set_epoch(2);
  log.Put(RowKey(1, 1), "a");
  log.Put(RowKey(1, 2), "b");
  log.Put(RowKey(1, 3), "c");
  Apply(log.Frames(0, 1));
  EXPECT_EQ(replica_->Apply(log.Frames(2, 3)).code(), Code::kCorruption);
  std::string damaged(log.Frames(1, 2));
  damaged.back() ^= 1;
  EXPECT_EQ(replica_->Apply(damaged).code(), Code::kCorruption);
  EXPECT_EQ(replica_->applied(), 1u);
  Apply(log.Frames(0, 3));  // what is known already is skipped
  log.set_epoch(1);
  log.Put(RowKey(1, 4), "d");
  EXPECT_EQ(replica_->Apply(log.Frames(3, 4)).code(), Code::kCorruption);
  EXPECT_EQ(replica_->applied(), 3u);
  EXPECT_FALSE(Visible(RowKey(1, 4), 100));
}

TEST_F(ReplicaTest, LeaseHoldsTheHorizonUntilItEnds) {
  Open();
  FrameLog log;
  const std::string key = RowKey(1, 1);
  now_us_ = kLsnEpochUnixUs + 1'000'000;
  const auto next = [&] { return NextLsn(log.last(), now_us_ += 1000); };
  const Lsn first = log.Put(key, "1", next());
  ApplyNew(log, 0);
  EXPECT_LE(Report("qp", first, 10'000), first);
  for (int i = 0; i < 5; i++) {
    const size_t applied = log.size();
    log.Put(key, "later", next());
    ApplyNew(log, applied);
  }
  MaintainToEnd(replica_.get());
  std::string value;
  ASSERT_TRUE(Visible(key, first, &value));
  EXPECT_EQ(value, "1");
  now_us_ += 20'000;  // the lease ends
  MaintainToEnd(replica_.get());
  EXPECT_EQ(Versions(), 1u);
  EXPECT_GT(Report("qp", first, 10'000), first);  // too late: the reply says so
  ReplicaView view;
  ASSERT_TRUE(replica_->OpenView(&view).ok());
  EXPECT_EQ(view.horizon(), log.last());
}

// Leases are not kept over a restart, so nothing goes until query processors have had time to report again.
TEST_F(ReplicaTest, TheHorizonStandsStillForAMomentAfterARestart) {
  restart_hold_us_ = 5'000'000;
  Open();
  FrameLog log;
  const std::string key = RowKey(1, 1);
  const Lsn first = log.Put(key, "1");
  log.Put(key, "2");
  Apply(log.All());
  PassHorizon();
  MaintainToEnd(replica_.get());
  EXPECT_TRUE(Visible(key, first));
  Open();
  MaintainToEnd(replica_.get());
  EXPECT_TRUE(Visible(key, first));
  EXPECT_LE(Report("qp", first, 60'000'000), first);
  now_us_ += 6'000'000;
  MaintainToEnd(replica_.get());
  EXPECT_TRUE(Visible(key, first));
  Report("qp", kNoLsn, 0);
  MaintainToEnd(replica_.get());
  EXPECT_FALSE(Visible(key, first));
}

TEST_F(ReplicaTest, DropServesOlderReadsAndSurvivesRestart) {
  Open();
  FrameLog log;
  std::string mutations;
  for (uint64_t i = 0; i < 100; i++) AppendMutation(&mutations, MutationOp::kPut, RowKey(5, i), "12345678");
  for (uint64_t i = 0; i < 10; i++) AppendMutation(&mutations, MutationOp::kPut, RowKey(6, i), "12345678");
  const Lsn written = log.Commit(mutations, 110);
  mutations.clear();
  AppendMutation(&mutations, MutationOp::kDropStorage, StoragePrefix(Space::kRow, 5), "");
  log.Commit(mutations, 1);
  log.Put(RowKey(5, 1000), "late");  // belongs to what is being dropped
  Apply(log.All());
  EXPECT_TRUE(Visible(RowKey(5, 50), written));
  ReplicaStatistics statistics;
  ASSERT_TRUE(replica_->Statistics(&statistics).ok());
  EXPECT_EQ(statistics.storages_dropping, 1u);
  EXPECT_EQ(statistics.storages, 1u);
  EXPECT_EQ(statistics.dead_versions, statistics.versions - 10);
  PassHorizon();
  bool more;
  ASSERT_TRUE(replica_->Maintain(3, &more).ok());
  EXPECT_TRUE(more);
  ASSERT_TRUE(replica_->Statistics(&statistics).ok());
  EXPECT_GT(statistics.versions, 10u);  // a part of them only
  EXPECT_LT(statistics.versions, 110u);
  Open();
  MaintainToEnd(replica_.get(), 3);
  ASSERT_TRUE(replica_->Statistics(&statistics).ok());
  EXPECT_EQ(statistics.storages_dropping, 0u);
  EXPECT_EQ(statistics.versions, 10u);
  EXPECT_EQ(statistics.dead_versions, 0u);
}

TEST_F(ReplicaTest, DeletedKeysGoSoonerThanSupersededVersions) {
  constexpr int64_t kSecond = 1'000'000;
  ReplicaOptions options = Options();
  options.deleted_interval_us = 5 * kSecond;
  options.superseded_interval_us = 30 * kSecond;
  ASSERT_TRUE(Replica::Open(options, &replica_).ok());
  FrameLog log;
  Lsn old = kNoLsn, short_lived = kNoLsn;
  const auto write = [&] {
    const size_t from = log.size();
    old = log.Put(RowKey(1, 1), "old");
    log.Put(RowKey(1, 1), "new");
    short_lived = log.Put(RowKey(1, 2), "short-lived");
    log.Delete(RowKey(1, 2));
    ApplyNew(log, from);
  };
  write();
  PassHorizon();
  MaintainToEnd(replica_.get());  // the first round of each
  EXPECT_EQ(Versions(), 1u);
  write();
  MaintainToEnd(replica_.get());
  EXPECT_TRUE(Visible(RowKey(1, 1), old));
  EXPECT_TRUE(Visible(RowKey(1, 2), short_lived));
  now_us_ += 6 * kSecond;
  MaintainToEnd(replica_.get());
  EXPECT_TRUE(Visible(RowKey(1, 1), old));
  EXPECT_FALSE(Visible(RowKey(1, 2), short_lived));
  now_us_ += 25 * kSecond;
  MaintainToEnd(replica_.get());
  EXPECT_EQ(Versions(), 1u);
}

// Many wait for writes to their pages, but not for ever.
TEST_F(ReplicaTest, ManySupersededVersionsGoLater) {
  constexpr int64_t kSecond = 1'000'000;
  constexpr uint64_t kMany = 5000;
  ReplicaOptions options = Options();
  options.superseded_interval_us = 30 * kSecond;
  ASSERT_TRUE(Replica::Open(options, &replica_).ok());
  FrameLog log;
  log.Put(RowKey(1, 0), "older");
  log.Put(RowKey(1, 0), "old");
  Apply(log.All());
  PassHorizon();
  MaintainToEnd(replica_.get());  // the first round
  EXPECT_EQ(Versions(), 1u);
  const size_t from = log.size();
  for (uint64_t row = 1; row < kMany; row++) log.Put(RowKey(1, row), "old");
  for (uint64_t row = 0; row < kMany; row++) log.Put(RowKey(1, row), "new");
  ApplyNew(log, from);
  PassHorizon();
  now_us_ += 31 * kSecond;
  MaintainToEnd(replica_.get());
  EXPECT_EQ(Versions(), 2 * kMany);
  now_us_ += 270 * kSecond;
  MaintainToEnd(replica_.get());
  EXPECT_EQ(Versions(), kMany);
}

// The page is written anyway, so what is dead on it goes; other pages are not touched for that.
TEST_F(ReplicaTest, AWriteTakesTheSupersededVersionsOfItsPageAlong) {
  constexpr uint64_t kRowsPut = 200;
  Open();
  FrameLog log;
  std::vector<Lsn> first, second;
  for (uint64_t row = 0; row < kRowsPut; row++) first.push_back(log.Put(RowKey(1, row), std::string(400, 'a')));
  for (uint64_t row = 0; row < kRowsPut; row++) {
    // Of every fourth, the newest version is a tombstone: it stays for who collects deleted keys.
    second.push_back(row % 4 == 0 ? log.Delete(RowKey(1, row)) : log.Put(RowKey(1, row), std::string(400, 'b')));
  }
  Apply(log.All());
  EXPECT_EQ(Versions(), 2 * kRowsPut);
  const size_t from = log.size();
  log.Put(RowKey(1, 101), "c");  // reads at the versions before may still come
  ApplyNew(log, from);
  EXPECT_EQ(Versions(), 2 * kRowsPut + 1);
  PassHorizon();
  const size_t then = log.size();
  const Lsn last = log.Put(RowKey(1, 102), "d");
  ApplyNew(log, then);
  const uint64_t left = Versions();
  EXPECT_LE(left, 2 * kRowsPut + 2 - 2);
  EXPECT_GE(left, 2 * kRowsPut + 2 - 2 * 4096 / 400);
  for (uint64_t row = 0; row < kRowsPut; row++) {
    std::string value;
    ASSERT_EQ(Visible(RowKey(1, row), last, &value), row % 4 != 0) << row;
    if (row % 4 != 0) EXPECT_EQ(value[0], row == 101 ? 'c' : row == 102 ? 'd' : 'b') << row;
  }
  EXPECT_TRUE(Visible(RowKey(1, 0), first[0]));
  EXPECT_FALSE(Visible(RowKey(1, 101), first[101]));
  EXPECT_TRUE(Visible(RowKey(1, 102), second[102]));  // the newest when the write came
  PassHorizon();
  MaintainToEnd(replica_.get());
  EXPECT_EQ(Versions(), kRowsPut - kRowsPut / 4);
}

TEST_F(ReplicaTest, DeletionsThatNeverCeaseDoNotHoldUpSupersededVersions) {
  Open();
  FrameLog log;
  // An entry, which shares no page with the rows.
  std::string key;
  AppendBe64(&key, Prefix(Space::kEntry, 1));
  const Lsn old = log.Put(key, "old");
  log.Put(key, "new");
  Apply(log.All());
  for (uint64_t row = 1; row < 50; row++) {
    const size_t from = log.size();
    log.Put(RowKey(1, row), "short-lived");
    log.Delete(RowKey(1, row));
    ApplyNew(log, from);
    PassHorizon();
    bool more = false;
    ASSERT_TRUE(replica_->Maintain(1, &more).ok());
    EXPECT_TRUE(more);
    EXPECT_GT(Versions(), row / 2);  // a tombstone more than the budget does not lift it
  }
  EXPECT_FALSE(Visible(key, old));
}

class ReplicaTakeTest : public ReplicaTest, public testing::WithParamInterface<bool> {};

// What was taken stays taken, whether the memtable could have it or not.
TEST_P(ReplicaTakeTest, WaitsForSpace) {
  memtable_ = GetParam();
  ReplicaOptions options = Options();
  options.map_bytes = 1u << 20;
  ASSERT_TRUE(Replica::Open(options, &replica_).ok());
  FrameLog log;
  VersionModel model;
  Status s;
  for (uint64_t i = 0; s.ok() && i < 5000; i++) {
    model.Write(RowKey(1, i), log.Put(RowKey(1, i), std::string(1000, 'v')), std::string(1000, 'v'));
    s = replica_->Take(log.Frames(i, i + 1));
    if (i % 100 == 99 && s.ok()) s = replica_->Flush();
  }
  EXPECT_EQ(s.code(), Code::kNoSpace) << s.ToString();
  EXPECT_EQ(replica_->Flush().code(), Code::kNoSpace);
  EXPECT_LT(replica_->applied(), log.last());
  EXPECT_EQ(replica_->readable(), memtable_ ? log.last() : replica_->applied());
  Open();  // with a larger map
  size_t known = 0;
  while (known < log.size() && log.lsn(known) <= replica_->resume_from()) known++;
  EXPECT_LT(known, log.size());
  ASSERT_TRUE(replica_->Take(log.Frames(known, log.size())).ok());
  ASSERT_TRUE(replica_->Flush().ok());
  ExpectSame(replica_.get(), model, log.last());
  ExpectSameCounters(replica_.get(), model);
}
INSTANTIATE_TEST_SUITE_P(WithMemtable, ReplicaTakeTest, testing::Bool());

TEST_F(ReplicaTest, FullMapIsAStatusAndLosesNothing) {
  ReplicaOptions options = Options();
  options.map_bytes = 1u << 20;
  ASSERT_TRUE(Replica::Open(options, &replica_).ok());
  FrameLog log;
  VersionModel model;
  const std::string value(1000, 'v');
  Status s;
  for (uint64_t i = 0; s.ok() && i < 5000; i++) {
    const Lsn lsn = log.Put(RowKey(1, i), value);
    model.Write(RowKey(1, i), lsn, value);
    s = replica_->Apply(log.Frames(i, i + 1));
  }
  EXPECT_EQ(s.code(), Code::kNoSpace) << s.ToString();
  EXPECT_EQ(replica_->applied(), log.last() - 1);
  EXPECT_EQ(replica_->Apply(log.Frames(log.size() - 1, log.size())).code(), Code::kNoSpace);
  ExpectSame(replica_.get(), model, replica_->applied());
  ExpectSameCounters(replica_.get(), model);
  Open();  // with a larger map
  Apply(log.Frames(log.size() - 1, log.size()));
  ExpectSame(replica_.get(), model, log.last());
  ExpectSameCounters(replica_.get(), model);
}

TEST_F(ReplicaTest, WaitersWakeWhenApplied) {
  Open();
  EXPECT_EQ(replica_->WaitApplied(1, 1000).code(), Code::kUnavailable);
  FrameLog log;
  log.Put(RowKey(1, 1), "x");
  std::thread waiter([&] { EXPECT_TRUE(replica_->WaitApplied(1, 10'000'000).ok()); });
  Apply(log.All());
  waiter.join();
  std::thread stopped([&] { EXPECT_EQ(replica_->WaitApplied(2, 60'000'000).code(), Code::kShutdown); });
  replica_->StopWaiting();
  stopped.join();
}

}  // namespace
}  // namespace concord
