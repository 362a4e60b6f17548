// What comes back from remote reads is compared with a map of all versions.
#include "gateway/remote_reads.h"

#include <algorithm>

#include "bridge/write_set.h"
#include "gateway/connect.h"
#include "gateway/remote_reads_test_util.h"

namespace concord {
namespace {

using bridge::KeyOf;
using bridge::TestPosition;
using bridge::ValueOf;

class RemoteReadsTest : public RemoteReadsFixture {
 protected:
  void CheckScan(uint64_t prefix, Lsn lsn);
  void CheckGets(uint64_t prefix, Lsn lsn);
  void CheckVersions(uint64_t prefix, Lsn lsn);
};

void RemoteReadsTest::CheckScan(uint64_t prefix, Lsn lsn) {
  const auto visible = Visible(prefix, lsn);
  CcScan* scan;
  ASSERT_EQ(cc_scan_open(prefix, lsn, 0, &scan), CC_OK);
  bool backward = false;
  TestPosition position;
  position.start = true;
  for (int step = 0; step < 80; step++) {
    if (Random(20) == 0) {
      const std::string key = Random(3) == 0 ? "" : RandomSeek(prefix);
      backward = Random(2) == 0;
      const bool prefix_match = Random(2) == 0;
      if (Random(2) == 0) {
        // Whatever is expected, or fetched ahead, nothing else comes.
        const std::string low = Random(2) == 0 ? key : RandomSeek(prefix);
        const std::string high = backward && Random(2) == 0 ? key : RandomSeek(prefix);
        const CcRange range = {.prefix = prefix,
                               .rows_of = Random(2) == 0 ? 0 : kRows,
                               .rows_too = Random(2) == 0 ? 0 : kRows,
                               .low = low.data(),
                               .high = Random(3) == 0 ? nullptr : high.data(),
                               .low_size = low.size(),
                               .high_size = high.size(),
                               .backward = backward};
        ASSERT_EQ(cc_scan_expect(scan, range.low, low.size(), range.high, high.size(), range.rows_of), CC_OK);
        if (Random(2) == 0) {
          size_t ready, asked;
          ASSERT_EQ(cc_scans_ahead(lsn, &range, 1, &ready, &asked), CC_OK) << cc_error();
          ASSERT_EQ(ready, 1u);
        }
      }
      ASSERT_EQ(cc_scan_seek(scan, key.data(), key.size(), backward, prefix_match), CC_OK);
      position = TestPosition::Seek(key, backward, prefix_match);
    }
    if (Random(12) == 0) backward = !backward;
    if (Random(20) == 0) {
      ASSERT_EQ(cc_scan_rest(scan), CC_OK);
    }
    CcVisible found;
    const CcStatus status = cc_scan_next(scan, backward, &found);
    const auto expected = position.Next(visible, backward);
    ASSERT_EQ(status, expected == visible.end() ? CC_END : CC_OK) << cc_error();
    if (status != CC_OK) continue;
    ASSERT_EQ(KeyOf(found.entry), expected->first);
    ASSERT_EQ(ValueOf(found.entry), expected->second.second);
    ASSERT_EQ(found.entry.lsn, expected->second.first);
    ASSERT_EQ(reinterpret_cast<uintptr_t>(found.entry.value) % 8, 0u);
  }
  cc_scan_close(scan);
}

void RemoteReadsTest::CheckGets(uint64_t prefix, Lsn lsn) {
  const auto visible = Visible(prefix, lsn);
  if (prefix == kRows && Random(2) == 0) {
    uint64_t rowids[40];
    for (uint64_t& rowid : rowids) rowid = Random(80);
    size_t ready;
    ASSERT_EQ(cc_rows_ahead(prefix, lsn, rowids, std::size(rowids), &ready), CC_OK) << cc_error();
    ASSERT_GT(ready, 0u);
  }
  for (int i = 0; i < 20; i++) {
    const std::string body = RandomBody(prefix), key = Key(prefix, body);
    const void* value;
    size_t size;
    uint64_t version;
    CcView* view;
    const CcStatus status = cc_replica_get(lsn, key.data(), key.size(), &value, &size, &version, &view);
    const auto expected = visible.find(body);
    ASSERT_EQ(status, expected == visible.end() ? CC_END : CC_OK) << cc_error();
    if (status != CC_OK) continue;
    ASSERT_EQ(std::string(static_cast<const char*>(value), size), expected->second.second);
    ASSERT_EQ(version, expected->second.first);
    cc_view_unpin(view);
  }
}

void RemoteReadsTest::CheckVersions(uint64_t prefix, Lsn lsn) {
  CcCursor* cursor;
  ASSERT_EQ(cc_cursor_open(prefix, lsn, &cursor), CC_OK);
  ASSERT_EQ(cc_cursor_seek(cursor, nullptr, 0, false, false), CC_OK);
  CcEntry entry;
  CcStatus status = cc_cursor_next_version(cursor, &entry);
  for (const auto& [key, versions] : model_.keys()) {
    if (KeyPrefix(key) != prefix) continue;
    for (auto version = versions.rbegin(); version != versions.rend(); ++version) {
      if (version->first > lsn) continue;
      const bool same = status == CC_OK && KeyOf(entry) == key.substr(kPrefixSize) && entry.lsn == version->first;
      // The deletion of what is not there leaves no trace.
      if (!same && version->second.empty()) continue;
      ASSERT_TRUE(same) << cc_error();
      ASSERT_EQ(ValueOf(entry), version->second);
      status = cc_cursor_next_version(cursor, &entry);
    }
  }
  ASSERT_EQ(status, CC_END);
  cc_cursor_close(cursor);
}

TEST_F(RemoteReadsTest, SeesWhatTheModelSeesWhateverFails) {
  const char* given = getenv("CONCORD_TEST_SEED");
  const uint64_t seed = given != nullptr ? strtoull(given, nullptr, 10) : std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  random_.seed(seed);
  WriteSome();
  Start();
  for (int round = 0; round < 12; round++) {
    WriteSome();
    for (Member& member : members_) {
      member.storage->fail_percent = round % 3 == 1 ? 30 : 0;
      member.storage->slow_percent = round % 3 == 2 ? 20 : 0;
    }
    for (int scan = 0; scan < 8; scan++) {
      const uint64_t prefix = kPrefixes[Random(std::size(kPrefixes))];
      const Lsn lsn = 1 + Random(static_cast<uint32_t>(log_frames_.last()));
      CheckScan(prefix, lsn);
      CheckGets(prefix, lsn);
      if (scan % 4 == 0) CheckVersions(prefix, lsn);
      if (HasFatalFailure()) return;
    }
    cc_replica_reset();
  }
}

// Nothing of the next storage comes, though its first key is what follows.
TEST_F(RemoteReadsTest, BehindTheEndIsNothing) {
  Write(Key(kEntries - 1, "a"), "the last entry");
  Write(Key(kEntries, "a"), "another storage's");
  ApplyAll();
  Start();
  for (const bool backward : {true, false}) {  // the direction of what is read at the end
    CcScan* scan;
    ASSERT_EQ(cc_scan_open(kEntries - 1, log_frames_.last(), 0, &scan), CC_OK);
    ASSERT_EQ(cc_scan_seek(scan, nullptr, 0, /*backward=*/true, false), CC_OK);
    CcVisible found;
    EXPECT_EQ(cc_scan_next(scan, backward, &found), backward ? CC_OK : CC_END);
    ASSERT_EQ(cc_scan_seek(scan, "\xff", 1, /*backward=*/true, /*prefix_match=*/true), CC_OK);
    EXPECT_EQ(cc_scan_next(scan, false, &found), CC_END);
    cc_scan_close(scan);
  }
  CcCursor* cursor;
  ASSERT_EQ(cc_cursor_open(kEntries - 1, log_frames_.last(), &cursor), CC_OK);
  ASSERT_EQ(cc_cursor_seek(cursor, "\xff", 1, /*backward=*/true, /*prefix_match=*/true), CC_OK);
  CcEntry entry;
  EXPECT_EQ(cc_cursor_next_version(cursor, &entry), CC_END);
  cc_cursor_close(cursor);
}

TEST_F(RemoteReadsTest, ManyRowsCostFewRequests) {
  for (uint64_t i = 0; i < 5000; i++) Write(RowKey(5, i), std::string(96, 'r'));
  ApplyAll();
  Start();
  const uint64_t before = Stats().reads;
  CcScan* scan;
  ASSERT_EQ(cc_scan_open(kRows, log_frames_.last(), 0, &scan), CC_OK);
  ASSERT_EQ(cc_scan_seek(scan, nullptr, 0, false, false), CC_OK);
  CcVisible found;
  int rows = 0;
  for (CcStatus status; (status = cc_scan_next(scan, false, &found)) != CC_END; rows++) ASSERT_EQ(status, CC_OK);
  EXPECT_EQ(rows, 5000);
  cc_scan_close(scan);
  EXPECT_LE(Stats().reads - before, 10u);
}

TEST_F(RemoteReadsTest, AnEntrysRowComesWithIt) {
  std::string value;
  AppendLe<uint64_t>(&value, 3);
  Write(Key(kEntries, "a\0"), value);
  Write(RowKey(5, 3), "the row.");
  ApplyAll();
  Start();
  const Lsn lsn = log_frames_.last();
  CcScan* scan;
  ASSERT_EQ(cc_scan_open(kEntries, lsn, 0, &scan), CC_OK);
  ASSERT_EQ(cc_scan_expect(scan, "a", 1, "b", 1, kRows), CC_OK);
  ASSERT_EQ(cc_scan_seek(scan, "a", 1, false, false), CC_OK);
  CcVisible found;
  ASSERT_EQ(cc_scan_next(scan, false, &found), CC_OK) << cc_error();
  const uint64_t before = Stats().reads;
  const void* row;
  size_t size;
  uint64_t version;
  CcView* view;
  const std::string key = RowKey(5, 3);
  ASSERT_EQ(cc_replica_get(lsn, key.data(), key.size(), &row, &size, &version, &view), CC_OK);
  EXPECT_EQ(std::string(static_cast<const char*>(row), size), "the row.");
  EXPECT_EQ(Stats().reads, before);
  cc_scan_close(scan);
  // What a slot has pinned is good when the scan is gone.
  EXPECT_EQ(std::string(static_cast<const char*>(row), size), "the row.");
  cc_view_unpin(view);
}

TEST_F(RemoteReadsTest, LargeValuesComeInParts) {
  std::string large(9'000'001, 'x');
  for (size_t i = 0; i < large.size(); i += 1000) large[i] = static_cast<char>(i / 1000);
  Write(RowKey(5, 1), "small one");
  Write(RowKey(5, 2), large);
  Write(RowKey(5, 3), "small two");
  ApplyAll();
  Start();
  CheckVersions(kRows, log_frames_.last());
  for (const bool backward : {false, true}) {
    CcScan* scan;
    ASSERT_EQ(cc_scan_open(kRows, log_frames_.last(), 0, &scan), CC_OK);
    ASSERT_EQ(cc_scan_seek(scan, nullptr, 0, backward, false), CC_OK);
    CcVisible found;
    for (uint64_t i = 1; i <= 3; i++) {
      ASSERT_EQ(cc_scan_next(scan, backward, &found), CC_OK) << cc_error();
      if (i == 2) {
        EXPECT_TRUE(ValueOf(found.entry) == large);
      }
    }
    EXPECT_EQ(cc_scan_next(scan, backward, &found), CC_END);
    cc_scan_close(scan);
  }
  CheckGets(kRows, log_frames_.last());
}

TEST_F(RemoteReadsTest, AHangingReplicaIsOvertaken) {
  WriteSome();
  Start();
  for (Member& hanging : members_) {
    hanging.storage->hangs = true;
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < 10; i++) {
      CheckGets(kRows, log_frames_.last());
      cc_replica_reset();
    }
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    printf("200 keys with one replica hanging: %.0f ms\n", took.count());
    hanging.storage->hangs = false;
    ASSERT_TRUE(Eventually([&] { return StatesAre(CC_REPLICA_WELL); }));
  }
}

TEST_F(RemoteReadsTest, OneLeftOfThreeIsEnough) {
  WriteSome();
  Start();
  for (size_t left = 0; left < 3; left++) {
    for (size_t i = 0; i < 3; i++) members_[i].storage->fails = i != left;
    CheckGets(kEntries, log_frames_.last());
    CheckScan(kRows, log_frames_.last());
    cc_replica_reset();
  }
}

TEST_F(RemoteReadsTest, OneThatHasNotAppliedItIsNotWaitedFor) {
  WriteSome();
  Start();
  Write(RowKey(5, 7), "the newest");
  Apply(&members_[2]);
  const std::string key = RowKey(5, 7);
  const void* value;
  size_t size;
  uint64_t version;
  CcView* view;
  ASSERT_EQ(cc_replica_get(log_frames_.last(), key.data(), key.size(), &value, &size, &version, &view), CC_OK)
      << cc_error();
  EXPECT_EQ(std::string(static_cast<const char*>(value), size), "the newest");
  cc_view_unpin(view);
}

TEST_F(RemoteReadsTest, WhenNoneAnswersItIsAnErrorInTime) {
  WriteSome();
  Start();
  for (Member& member : members_) member.storage->fails = true;
  read_timeout_ms = 200;
  const std::string key = RowKey(5, 7);
  const void* value;
  size_t size;
  uint64_t version;
  CcView* view;
  const auto get = [&] {
    return cc_replica_get_try(log_frames_.last(), key.data(), key.size(), &value, &size, &version, &view);
  };
  EXPECT_EQ(get(), CC_UNAVAILABLE);
  EXPECT_STREQ(cc_error(), "no storage replica answered within concord.read_timeout");
  // Interrupts are served meanwhile, and the wait goes on.
  read_timeout_ms = 30'000;
  interrupted = 1;
  EXPECT_EQ(get(), CC_INTERRUPTED);
  interrupted = 0;
  for (Member& member : members_) member.storage->fails = false;
  const CcStatus status = get();
  EXPECT_TRUE(status == CC_OK || status == CC_END) << cc_error();
  if (status == CC_OK) cc_view_unpin(view);
}

TEST_F(RemoteReadsTest, AnotherClustersReplicaIsNotRead) {
  WriteSome();
  members_[1].sidecar.cluster = "another";
  Start(/*await=*/false);
  ASSERT_TRUE(Eventually([&] { return StateOf(0) == CC_REPLICA_WELL && StateOf(2) == CC_REPLICA_WELL; }));
  for (int i = 0; i < 10; i++) {
    CheckScan(kRows, log_frames_.last());
    CheckGets(kEntries, log_frames_.last());
    cc_replica_reset();
  }
  EXPECT_EQ(members_[1].storage->reads, 0u);
  for (const size_t i : {0, 2}) members_[i].storage->fails = true;
  read_timeout_ms = 200;
  const std::string key = RowKey(5, 7);
  const void* value;
  size_t size;
  uint64_t version;
  CcView* view;
  EXPECT_EQ(cc_replica_get_try(log_frames_.last(), key.data(), key.size(), &value, &size, &version, &view),
            CC_UNAVAILABLE);
  EXPECT_EQ(members_[1].storage->reads, 0u);
}

TEST_F(RemoteReadsTest, AGatewayThatIsStartedAnewIsAskedAgain) {
  WriteSome();
  Start();
  CheckGets(kRows, log_frames_.last());
  cc_replica_reset();
  CcScan* scan;
  ASSERT_EQ(cc_scan_open(kRows, log_frames_.last(), 0, &scan), CC_OK);
  CcVisible found;
  const CcStatus first = cc_scan_next(scan, false, &found);
  ASSERT_TRUE(first == CC_OK || first == CC_END) << cc_error();
  links_.reset();
  for (Member& member : members_) {
    member.server->Shutdown(std::chrono::system_clock::now());
    member.server.reset();
  }
  Start(/*await=*/false);
  CheckGets(kRows, log_frames_.last());
  cc_scan_close(scan);
}

// gRPC's thread is still in the callback when the answer is here, and must not be the one that gives up the channel.
TEST_F(RemoteReadsTest, ItsChannelsAreNotGivenUpByTheirOwnCallbacks) {
  WriteSome();
  Start();
  ReadCounters counters{};
  for (int round = 0; round < 100; round++) {
    std::atomic<bool> delivered = false;
    RemoteReads::Replica replica{members_[0].address(), MakeChannel(members_[0].address()),
                                 [] { return std::string(); }};
    std::vector<RemoteReads::Replica> replicas;
    replicas.push_back(std::move(replica));
    RemoteReads reads(std::move(replicas), &counters, [] {});
    reads.WithRouter([](ReadRouter& router) { router.SetUsable(0, true); });
    reads.Start(log_frames_.last(), "no request that is known", [&](ReadStatus, std::string) { delivered = true; });
    ASSERT_TRUE(Eventually([&] { return delivered.load(); }));
  }
}

TEST_F(RemoteReadsTest, CountersAndStorages) {
  WriteSome();
  Start();
  CcStorage storages[16];
  size_t count;
  ASSERT_EQ(cc_replica_storages(0, storages, 16, &count), CC_OK) << cc_error();
  // Of which all is deleted, a counter may be left.
  CcStorage* const end = std::remove_if(storages, storages + count, [](const CcStorage& s) { return s.rows == 0; });
  count = static_cast<size_t>(end - storages);
  size_t expected = 0;
  for (const uint64_t prefix : model_.Prefixes()) {
    const StorageCounters counters = model_.Counters(prefix, log_frames_.last());
    uint64_t rows, bytes;
    ASSERT_EQ(cc_replica_counters(prefix, &rows, &bytes), CC_OK);
    EXPECT_EQ(rows, counters.rows);
    EXPECT_EQ(bytes, counters.bytes);
    if (counters.rows == 0) continue;
    ASSERT_LT(expected, count);
    EXPECT_EQ(storages[expected].prefix, prefix);
    EXPECT_EQ(storages[expected].rows, counters.rows);
    expected++;
  }
  EXPECT_EQ(count, expected);
}

}  // namespace
}  // namespace concord
