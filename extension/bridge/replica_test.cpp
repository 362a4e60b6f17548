// Views and point reads of the local replica.
#include "bridge/replica.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "bridge/remote.h"
#include "bridge/remote_batch.h"
#include "bridge/test_replica.h"
#include "bridge/view.h"

namespace concord::bridge {
namespace {

constexpr uint64_t kRows = Prefix(Space::kRow, 5);

std::optional<std::string> Get(Lsn lsn, const std::string& key, CcStatus expected_if_none = CC_END) {
  const void* value;
  size_t size;
  uint64_t version;
  CcView* view;
  const CcStatus status = cc_replica_get(lsn, key.data(), key.size(), &value, &size, &version, &view);
  if (status != CC_OK) {
    EXPECT_EQ(status, expected_if_none) << cc_error();
    return std::nullopt;
  }
  std::string copy(static_cast<const char*>(value), size);
  cc_view_unpin(view);
  return copy;
}

TEST(ReplicaTest, ReadsAsOf) {
  TestReplica replica;
  replica.Apply(
      {{kRows, RowBody(1), 10, "ten"}, {kRows, RowBody(1), 20, "twenty"}, {kRows, RowBody(1), 30, std::nullopt}}, 40,
      5);
  ASSERT_EQ(cc_replica_open(replica.path()), CC_OK) << cc_error();
  EXPECT_EQ(Get(9, RowKey(5, 1)), std::nullopt);
  EXPECT_EQ(Get(10, RowKey(5, 1)), "ten");
  EXPECT_EQ(Get(29, RowKey(5, 1)), "twenty");
  EXPECT_EQ(Get(30, RowKey(5, 1)), std::nullopt);
  EXPECT_EQ(Get(30, RowKey(5, 0)), std::nullopt);
  EXPECT_EQ(Get(30, RowKey(5, 2)), std::nullopt);
  EXPECT_EQ(Get(41, RowKey(5, 1), CC_NOT_APPLIED), std::nullopt);
  EXPECT_EQ(Get(4, RowKey(5, 1), CC_TOO_OLD), std::nullopt);
  uint64_t applied;
  ASSERT_EQ(cc_replica_applied(&applied), CC_OK);
  EXPECT_EQ(applied, 40u);
  replica.Apply({}, 50);
  ASSERT_EQ(cc_replica_applied(&applied), CC_OK);
  EXPECT_EQ(applied, 50u);
}

// What the page beside the map does not tell is read from the map.
TEST(ReplicaTest, ReadsTheStateFromTheMapToo) {
  TestReplica replica;
  replica.TellNoStates();
  replica.Apply({{kRows, RowBody(1), 10, "ten"}}, 40, 5);
  ASSERT_EQ(cc_replica_open(replica.path()), CC_OK) << cc_error();
  EXPECT_EQ(Get(40, RowKey(5, 1)), "ten");
  EXPECT_EQ(Get(41, RowKey(5, 1), CC_NOT_APPLIED), std::nullopt);
  EXPECT_EQ(Get(4, RowKey(5, 1), CC_TOO_OLD), std::nullopt);
}

TEST(ReplicaTest, SleepsUntilMoreIsApplied) {
  TestReplica replica;
  replica.Apply({{kRows, RowBody(1), 10, "ten"}}, 10);
  ASSERT_EQ(cc_replica_open(replica.path()), CC_OK) << cc_error();
  const pid_t child = TestReplica::Start([&] {
    usleep(20'000);
    replica.WriteHere([](TestReplica::Writer& writer) { writer.PutLsn(kMetaApplied, 20); });
  });
  const auto begin = std::chrono::steady_clock::now();
  uint64_t applied = 0;
  while (cc_replica_applied(&applied) == CC_OK && applied < 20) cc_replica_await(20, 60'000'000);
  EXPECT_EQ(applied, 20u);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(50));
  TestReplica::Wait(child);
}

// What the replica has taken and not flushed yet. LMDB stays as it is.
class TakenTest : public testing::Test {
 protected:
  void SetUp() override {
    replica_.Apply({{kRows, RowBody(1), 10, "ten"}, {kRows, RowBody(2), 10, "two"}, {kOthers, RowBody(1), 10, "other"}},
                   20, 5);
    ASSERT_TRUE(memtable_.Create(replica_.path(), 20).ok());
    ASSERT_TRUE(page_.Create(replica_.path()).ok());
    ASSERT_TRUE(memtable_.Add(RowKey(5, 1), "thirty", 30));
    ASSERT_TRUE(memtable_.Add(RowKey(5, 2), "", 31));
    ASSERT_TRUE(memtable_.Add(RowKey(5, 3), "new", 32));
    memtable_.Publish(40);
    page_.Publish(40, 20);
    ASSERT_EQ(cc_replica_open(replica_.path()), CC_OK) << cc_error();
  }
  void TearDown() override {
    const CcRemoteOptions none = {};
    cc_remote_setup(&none);
  }
  // What a scan finds, or why it does not.
  static CcStatus Scan(uint64_t prefix, Lsn lsn, std::map<std::string, std::string>* rows) {
    rows->clear();
    CcCursor* cursor;
    CcStatus status = cc_cursor_open(prefix, lsn, &cursor);
    if (status == CC_OK) status = cc_cursor_seek(cursor, nullptr, 0, false, false);
    CcEntry entry;
    while (status == CC_OK && (status = cc_cursor_next(cursor, false, &entry)) == CC_OK) {
      (*rows)[{reinterpret_cast<const char*>(entry.key), entry.key_size}] = {reinterpret_cast<const char*>(entry.value),
                                                                             entry.value_size};
    }
    cc_cursor_close(cursor);
    return status;
  }
  struct Pinned {
    const void* value;
    size_t size;
    uint64_t version;
    CcView* view;
  };
  // Row 1 as of 40, which the memtable has.
  static void Pin(Pinned* row) {
    const std::string key = RowKey(5, 1);
    ASSERT_EQ(cc_replica_get(40, key.data(), key.size(), &row->value, &row->size, &row->version, &row->view), CC_OK);
  }
  void Wait(const int* timeout_ms, const volatile int* interrupted) {
    const CcRemoteOptions options = {nullptr, interrupted, timeout_ms, nullptr};
    cc_remote_setup(&options);
  }
  // As the replica does: in one LMDB transaction of another process.
  void Flush() const {
    replica_.WriteHere([](TestReplica::Writer& writer) {
      for (const TestMutation& mutation :
           {TestMutation{kRows, RowBody(1), 30, "thirty"}, TestMutation{kRows, RowBody(2), 31, std::nullopt},
            TestMutation{kRows, RowBody(3), 32, "new"}})
        writer.Apply(mutation);
      writer.PutLsn(kMetaApplied, 40);
    });
  }

  static constexpr uint64_t kOthers = Prefix(Space::kRow, 6);
  TestReplica replica_;
  Memtable memtable_;
  ReplicaPageMapping page_;
};

TEST_F(TakenTest, KeysAreReadWithoutAFlush) {
  uint64_t readable = 0;
  ASSERT_EQ(cc_replica_applied(&readable), CC_OK);
  EXPECT_EQ(readable, 40u);
  EXPECT_EQ(Get(40, RowKey(5, 1)), "thirty");
  EXPECT_EQ(Get(29, RowKey(5, 1)), "ten");
  EXPECT_EQ(Get(30, RowKey(5, 2)), "two");
  EXPECT_EQ(Get(31, RowKey(5, 2)), std::nullopt);
  EXPECT_EQ(Get(31, RowKey(5, 3)), std::nullopt);
  EXPECT_EQ(Get(40, RowKey(5, 3)), "new");
  EXPECT_EQ(Get(40, RowKey(6, 1)), "other");
  EXPECT_EQ(Get(40, RowKey(6, 2)), std::nullopt);
  EXPECT_EQ(Get(41, RowKey(5, 1), CC_NOT_APPLIED), std::nullopt);
  EXPECT_EQ(Get(4, RowKey(5, 1), CC_TOO_OLD), std::nullopt);
  EXPECT_EQ(Replica::Get().active_views(), 0u);
  // What was learned of LMDB's keys says nothing of those here.
  ASSERT_TRUE(memtable_.Add(RowKey(6, 2), "later", 45));
  memtable_.Publish(50);
  page_.Publish(50, 20);
  EXPECT_EQ(Get(50, RowKey(6, 2)), "later");
}

// The row keeps its bytes as long as it is pinned, whatever becomes of the ring.
TEST_F(TakenTest, RowsStayWhilePinned) {
  Pinned row;
  Pin(&row);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(row.value) % 8, 0u);
  EXPECT_EQ(row.version, 30u);
  for (Lsn lsn = 50; lsn < 50 + 2 * kMemtableRingBytes / 100'000; lsn++) {
    memtable_.Flushed(lsn - 1);
    ASSERT_TRUE(memtable_.Add(RowKey(7, 1), std::string(100'000, 'x'), lsn));
  }
  EXPECT_EQ(std::string_view(static_cast<const char*>(row.value), row.size), "thirty");
  cc_view_unpin(row.view);
  EXPECT_EQ(RemoteBatch::Live(), 0u);
}

// As after an error, when nobody gives pins back.
TEST_F(TakenTest, WhatStaysPinnedIsFreedWithTheTransaction) {
  Pinned row;
  Pin(&row);
  EXPECT_EQ(RemoteBatch::Live(), 1u);
  cc_replica_reset();
  cc_replica_reset();
  EXPECT_EQ(RemoteBatch::Live(), 0u);
}

TEST_F(TakenTest, RangesThatHaveChangedWaitForAFlush) {
  std::map<std::string, std::string> rows;
  EXPECT_EQ(Scan(kOthers, 40, &rows), CC_END);
  EXPECT_EQ(rows.size(), 1u);
  EXPECT_EQ(memtable_.wanted(), 20u);
  EXPECT_EQ(Scan(kRows, 20, &rows), CC_END);
  EXPECT_EQ(rows.size(), 2u);
  EXPECT_EQ(Scan(kRows, 40, &rows), CC_NOT_APPLIED);  // nobody told how long it may wait
  const int timeout_ms = 60'000;
  volatile int interrupted = 1;
  Wait(&timeout_ms, &interrupted);
  EXPECT_EQ(Scan(kRows, 40, &rows), CC_INTERRUPTED);
  EXPECT_EQ(memtable_.wanted(), 40u);
  interrupted = 0;
  const int short_ms = 30;
  Wait(&short_ms, &interrupted);
  EXPECT_EQ(Scan(kRows, 40, &rows), CC_NOT_APPLIED);
  Wait(&timeout_ms, &interrupted);
  const pid_t child = TestReplica::Start([&] {
    usleep(20'000);
    Flush();
  });
  ASSERT_EQ(Scan(kRows, 40, &rows), CC_END) << cc_error();
  TestReplica::Wait(child);
  EXPECT_EQ(rows, (std::map<std::string, std::string>{{RowBody(1), "thirty"}, {RowBody(3), "new"}}));
}

// A replica that was killed has what LMDB has, and takes the rest from the journal again.
TEST_F(TakenTest, WhatIsForgottenIsWaitedFor) {
  const int timeout_ms = 60'000;
  Wait(&timeout_ms, nullptr);
  EXPECT_EQ(Get(40, RowKey(5, 1)), "thirty");
  ASSERT_TRUE(memtable_.Create(replica_.path(), 20).ok());
  page_.Publish(20, 20);
  const pid_t child = TestReplica::Start([&] {
    usleep(20'000);
    Flush();
  });
  EXPECT_EQ(Get(40, RowKey(5, 1)), "thirty") << cc_error();
  TestReplica::Wait(child);
}

TEST_F(TakenTest, OthersAreReadWhereItTakesLong) {
  const int timeout_ms = 60'000;
  Wait(&timeout_ms, nullptr);
  cc_remote_set(true, false);
  Replica& replica = Replica::Get();
  CcView* view;
  EXPECT_EQ(replica.AcquireFor(kRows, 40, &view), CC_NOT_APPLIED);
  EXPECT_EQ(replica.AcquireFor(kRows, 40, &view), CC_NOT_APPLIED);  // without another wait
  EXPECT_FALSE(replica.IsReadable(40));
  // A scan too asks the others, here in vain, and does not come back to what cannot serve it.
  const int short_ms = 300;
  Wait(&short_ms, nullptr);
  cc_remote_set(true, false);
  std::map<std::string, std::string> rows;
  EXPECT_EQ(Scan(kRows, 40, &rows), CC_UNAVAILABLE) << cc_error();
  EXPECT_EQ(Get(40, RowKey(5, 1)), "thirty");
  Flush();
  EXPECT_EQ(replica.AcquireFor(kRows, 40, &view), CC_OK);
  replica.Unpin(view);
  cc_remote_set(false, false);
}

// A unique index that became deferrable has keys with and without a rowid.
TEST(ReplicaTest, AKeyThatOthersBeginWithHidesNone) {
  constexpr uint64_t kEntries = Prefix(Space::kEntry, 5);
  TestReplica replica;
  replica.Apply({{kEntries, "b" + RowBody(3), 10, "b of row 3"},
                 {kEntries, "d", 10, "d"},
                 {kEntries, "d" + RowBody(3), 10, "d of row 3"}},
                20, 5);
  ASSERT_EQ(cc_replica_open(replica.path()), CC_OK);
  std::string entry;
  AppendBe64(&entry, kEntries);
  EXPECT_EQ(Get(20, entry + "b"), std::nullopt);
  EXPECT_EQ(Get(20, entry + "b" + RowBody(3)), "b of row 3");
  EXPECT_EQ(Get(20, entry + "c"), std::nullopt);
  EXPECT_EQ(Get(20, entry + "d"), "d");
  EXPECT_EQ(Get(20, entry + "d" + RowBody(3)), "d of row 3");
}

TEST(ReplicaTest, WhatWasAbsentIsAskedAnewWhenMoreIsApplied) {
  TestReplica replica;
  replica.Apply({{kRows, RowBody(1), 10, "one"}, {kRows, RowBody(9), 10, "nine"}, {kRows, RowBody(4), 30, "four"}}, 20,
                5);
  ASSERT_EQ(cc_replica_open(replica.path()), CC_OK);
  const auto expect_none = [](Lsn lsn, uint64_t from, uint64_t to) {
    for (uint64_t row = from; row <= to; row++) EXPECT_EQ(Get(lsn, RowKey(5, row)), std::nullopt);
  };
  expect_none(20, 2, 8);
  EXPECT_EQ(Get(20, RowKey(5, 9)), "nine");
  EXPECT_EQ(Get(20, RowKey(5, 1)), "one");
  expect_none(20, 10, 12);
  expect_none(20, 2, 8);
  EXPECT_EQ(Get(4, RowKey(5, 5), CC_TOO_OLD), std::nullopt);
  EXPECT_EQ(Get(21, RowKey(5, 5), CC_NOT_APPLIED), std::nullopt);
  replica.Apply({{kRows, RowBody(5), 40, "five"}}, 50, 5);
  EXPECT_EQ(Get(20, RowKey(5, 5)), std::nullopt);
  EXPECT_EQ(Get(50, RowKey(5, 5)), "five");
  EXPECT_EQ(Get(30, RowKey(5, 4)), "four");
  expect_none(50, 2, 3);
  expect_none(50, 6, 8);
  // Another space of the same numbers.
  replica.Apply({{Prefix(Space::kEntry, 5), RowBody(7), 50, "entry"}}, 60, 55);
  expect_none(60, 6, 8);
  std::string entry;
  AppendBe64(&entry, Prefix(Space::kEntry, 5));
  EXPECT_EQ(Get(60, entry + RowBody(7)), "entry");
  EXPECT_EQ(Get(50, RowKey(5, 7), CC_TOO_OLD), std::nullopt);  // learned at 60, when all below 55 may have gone
}

// Storage that is loaded has versions of LSNs before it was there.
TEST(ReplicaTest, WhatIsAbsentIsNotSoInStorageThatComesLater) {
  TestReplica replica;
  replica.Apply({{kRows, RowBody(1), 10, "one"}}, 20, 5);
  ASSERT_EQ(cc_replica_open(replica.path()), CC_OK);
  EXPECT_EQ(Get(20, RowKey(5, 2)), std::nullopt);
  replica.Apply({{Prefix(Space::kRow, 6), RowBody(1), 10, "loaded"}}, 30, 5);
  EXPECT_EQ(Get(20, RowKey(6, 1)), "loaded");
}

TEST(ReplicaTest, Counters) {
  TestReplica replica;
  replica.Write([](TestReplica::Writer& writer) {
    std::string key(1, kMetaCounter), value;
    AppendBe64(&key, kRows);
    AppendLe(&value, uint64_t{7});
    AppendLe(&value, uint64_t{700});
    writer.Put(writer.meta, key, value);
    writer.PutLsn(kMetaHorizon, 1000);  // of no concern here
  });
  ASSERT_EQ(cc_replica_open(replica.path()), CC_OK);
  uint64_t rows, bytes;
  ASSERT_EQ(cc_replica_counters(kRows, &rows, &bytes), CC_OK);
  EXPECT_EQ(rows, 7u);
  EXPECT_EQ(bytes, 700u);
  ASSERT_EQ(cc_replica_counters(kRows + 1, &rows, &bytes), CC_OK);
  EXPECT_EQ(rows, 0u);
}

TEST(ReplicaTest, ListsStoragesInPages) {
  TestReplica replica;
  replica.Write([&](TestReplica::Writer& writer) {
    for (const uint64_t prefix : {Prefix(Space::kSystem, 0), Prefix(Space::kRow, 1), Prefix(Space::kRow, 300),
                                  Prefix(Space::kEntry, 2), Prefix(Space::kEntry, UINT32_MAX)}) {
      std::string key(1, kMetaCounter), value;
      AppendBe64(&key, prefix);
      AppendLe(&value, prefix & 0xFFFF);
      AppendLe(&value, uint64_t{5});
      writer.Put(writer.meta, key, value);
    }
    std::string dropping(1, kMetaDropping);  // the next kind of key
    AppendBe64(&dropping, Prefix(Space::kRow, 4));
    writer.Put(writer.meta, dropping, "");
  });
  ASSERT_EQ(cc_replica_open(replica.path()), CC_OK);
  for (const size_t page : {1u, 2u, 3u, 4u, 5u}) {
    std::vector<uint64_t> found;
    uint64_t after = 0;
    size_t count;
    std::vector<CcStorage> storages(page);
    do {
      ASSERT_EQ(cc_replica_storages(after, storages.data(), page, &count), CC_OK) << cc_error();
      for (size_t i = 0; i < count; i++) {
        EXPECT_EQ(storages[i].rows, storages[i].prefix & 0xFFFF);
        EXPECT_EQ(storages[i].bytes, 5u);
        found.push_back(after = storages[i].prefix);
      }
    } while (count == page);
    EXPECT_EQ(found, (std::vector<uint64_t>{Prefix(Space::kRow, 1), Prefix(Space::kRow, 300), Prefix(Space::kEntry, 2),
                                            Prefix(Space::kEntry, UINT32_MAX)}))
        << "in pages of " << page;
  }
}

TEST(ReplicaTest, PinsKeepPointersGood) {
  TestReplica replica;
  const std::string old_value(2000, 'o');
  replica.Apply({{kRows, RowBody(1), 10, old_value}}, 10);
  ASSERT_EQ(cc_replica_open(replica.path()), CC_OK);
  const void* value;
  size_t size;
  uint64_t version;
  CcView* view;
  const std::string key = RowKey(5, 1);
  ASSERT_EQ(cc_replica_get(10, key.data(), key.size(), &value, &size, &version, &view), CC_OK);
  // Rewrite and prune until LMDB has had every chance to reuse the page.
  for (Lsn lsn = 11; lsn < 40; lsn++) {
    replica.Write([&](TestReplica::Writer& writer) {
      std::string old_key = RowKey(5, 1);
      AppendVersion(&old_key, lsn - 1);
      MDB_val k = {old_key.size(), old_key.data()};
      TestReplica::Writer::Require(mdb_del(writer.txn, writer.rows, &k, nullptr));
      writer.Apply({kRows, RowBody(1), lsn, std::string(2000, static_cast<char>('A' + lsn % 26))});
      writer.PutLsn(kMetaApplied, lsn);
    });
  }
  EXPECT_EQ(std::string(static_cast<const char*>(value), size), old_value);
  EXPECT_EQ(Get(39, key), std::string(2000, 'N'));  // beside it, the newest
  EXPECT_EQ(std::string(static_cast<const char*>(value), size), old_value);
  cc_view_pin(view);
  cc_view_unpin(view);
  EXPECT_EQ(std::string(static_cast<const char*>(value), size), old_value);
  cc_view_unpin(view);
}

TEST(ReplicaTest, ManyViewsAreReused) {
  TestReplica replica;
  ASSERT_EQ(cc_replica_open(replica.path()), CC_OK);
  std::vector<CcView*> views;
  for (Lsn lsn = 1; lsn <= 20; lsn++) {
    replica.Apply({{kRows, RowBody(1), lsn, "v" + std::to_string(lsn)}}, lsn);
    CcView* view;
    ASSERT_EQ(cc_view_acquire(lsn, &view), CC_OK) << cc_error();
    EXPECT_EQ(view->applied, lsn);
    views.push_back(view);
  }
  CcView* same;
  ASSERT_EQ(cc_view_acquire(3, &same), CC_OK);
  EXPECT_EQ(same, views.back());
  cc_view_unpin(same);
  for (CcView* view : views) cc_view_unpin(view);
  EXPECT_EQ(Replica::Get().active_views(), 0u);
  for (Lsn lsn = 1; lsn <= 20; lsn++) EXPECT_EQ(Get(lsn, RowKey(5, 1)), "v" + std::to_string(lsn));
}

TEST(ReplicaTest, NotThereYet) {
  TestReplica replica(false);
  EXPECT_EQ(cc_replica_open((std::string(replica.path()) + "/nowhere").c_str()), CC_UNAVAILABLE);
  EXPECT_EQ(cc_replica_open(replica.path()), CC_UNAVAILABLE);
  CcView* view;
  EXPECT_EQ(cc_view_acquire(0, &view), CC_UNAVAILABLE);
  replica.Write([](TestReplica::Writer&) {});  // databases, no format yet
  EXPECT_EQ(cc_replica_open(replica.path()), CC_UNAVAILABLE);
  replica.Initialise();
  EXPECT_EQ(cc_replica_open(replica.path()), CC_OK) << cc_error();
  EXPECT_EQ(cc_view_acquire(1, &view), CC_NOT_APPLIED);
  EXPECT_EQ(cc_view_acquire(0, &view), CC_OK);
  cc_view_unpin(view);
}

TEST(ReplicaTest, WrongFormat) {
  TestReplica replica(false);
  replica.Initialise(99);
  EXPECT_EQ(cc_replica_open(replica.path()), CC_CORRUPT);
  EXPECT_NE(std::string(cc_error()).find("format 99"), std::string::npos);
  replica.Initialise();
  EXPECT_EQ(cc_replica_open(replica.path()), CC_OK);
}

// A page that is not there would be a SIGBUS in the backend.
TEST(ReplicaTest, RefusesAFileThatWasCut) {
  TestReplica replica;
  std::vector<TestMutation> mutations;
  for (uint64_t i = 1; i <= 300; i++) mutations.push_back({kRows, RowBody(i), 10, std::string(400, 'x')});
  replica.Apply(mutations, 10);
  const std::string data = std::string(replica.path()) + "/data.mdb";
  const auto whole = std::filesystem::file_size(data);
  std::filesystem::resize_file(data, whole - 4096);
  EXPECT_EQ(cc_replica_open(replica.path()), CC_UNAVAILABLE);
  EXPECT_NE(std::string(cc_error()).find("/data.mdb\" has been cut: it has " + std::to_string(whole - 4096)),
            std::string::npos)
      << cc_error();
  std::filesystem::resize_file(data, whole);
  EXPECT_EQ(cc_replica_open(replica.path()), CC_OK);
}

TEST(ReplicaTest, ReopensWhenReplaced) {
  TestReplica replica;
  replica.Apply({{kRows, RowBody(1), 10, "old"}}, 10);
  ASSERT_EQ(cc_replica_open(replica.path()), CC_OK);
  CcView* view;
  ASSERT_EQ(cc_view_acquire(10, &view), CC_OK);
  std::filesystem::remove(std::string(replica.path()) + "/data.mdb");
  std::filesystem::remove(std::string(replica.path()) + "/lock.mdb");
  std::filesystem::remove(std::string(replica.path()) + "/" + kReplicaPageFile);
  replica.Initialise();
  replica.Apply({{kRows, RowBody(1), 20, "new"}}, 20);
  std::this_thread::sleep_for(std::chrono::milliseconds(120));
  EXPECT_EQ(cc_replica_open(replica.path()), CC_UNAVAILABLE);  // a view of the old one is pinned
  EXPECT_EQ(Get(10, RowKey(5, 1)), "old");
  cc_view_unpin(view);
  EXPECT_EQ(cc_replica_open(replica.path()), CC_OK);
  EXPECT_EQ(Get(20, RowKey(5, 1)), "new");
}

TEST(ReplicaTest, ForgottenAfterFork) {
  TestReplica replica;
  replica.Apply({{kRows, RowBody(1), 10, "ten"}}, 10);
  ASSERT_EQ(cc_replica_open(replica.path()), CC_OK);
  CcView* view;
  ASSERT_EQ(cc_view_acquire(10, &view), CC_OK);
  const pid_t child = TestReplica::Start([&] {
    CcView* other;
    if (cc_view_acquire(10, &other) != CC_UNAVAILABLE) _exit(3);
    cc_view_unpin(view);  // the parent's: must not free its reader slot
    if (cc_replica_open(replica.path()) != CC_OK) _exit(4);
    if (Get(10, RowKey(5, 1)) != "ten") _exit(5);
    cc_replica_reset();
  });
  TestReplica::Wait(child);
  EXPECT_EQ(mdb_txn_id(view->txn), view->txn_id);
  EXPECT_EQ(Get(10, RowKey(5, 1)), "ten");
  cc_view_unpin(view);
}

TEST(ReplicaTest, ReaderSlotsOfTheDeadAreReclaimed) {
  TestReplica replica;
  replica.Apply({{kRows, RowBody(1), 10, "ten"}}, 10);
  // The first to open makes the lock file; keep it open with few slots from another process.
  int ready[2], done[2];
  ASSERT_EQ(pipe(ready), 0);
  ASSERT_EQ(pipe(done), 0);
  std::filesystem::remove(std::string(replica.path()) + "/lock.mdb");
  const auto open_with_few_slots = [&](int slots_taken) {
    MDB_env* env;
    mdb_env_create(&env);
    mdb_env_set_maxreaders(env, 3);
    mdb_env_set_maxdbs(env, kReplicaDatabases);
    mdb_env_set_mapsize(env, kReplicaMapBytes);
    if (mdb_env_open(env, replica.path(), MDB_RDONLY | MDB_NOTLS, 0600) != 0) _exit(3);
    for (int i = 0; i < slots_taken; i++) {
      MDB_txn* txn;
      if (mdb_txn_begin(env, nullptr, MDB_RDONLY, &txn) != 0) _exit(4);
    }
  };
  const pid_t holder = TestReplica::Start([&] {
    open_with_few_slots(1);
    char byte = 0;
    if (write(ready[1], &byte, 1) != 1 || read(done[0], &byte, 1) != 1) _exit(5);
  });
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  TestReplica::Wait(TestReplica::Start([&] { open_with_few_slots(2); }));  // dies with two slots
  EXPECT_EQ(cc_replica_open(replica.path()), CC_OK) << cc_error();
  CcView *first, *second, *third;
  ASSERT_EQ(cc_view_acquire(10, &first), CC_OK) << cc_error();
  ASSERT_EQ(write(done[1], "x", 1), 1);
  TestReplica::Wait(holder);
  replica.Apply({}, 11);
  ASSERT_EQ(cc_view_acquire(11, &second), CC_OK) << cc_error();
  replica.Apply({}, 12);
  ASSERT_EQ(cc_view_acquire(12, &third), CC_OK) << cc_error();
  replica.Apply({}, 13);
  CcView* fourth;
  EXPECT_EQ(cc_view_acquire(13, &fourth), CC_READERS_FULL);
  cc_view_unpin(first);
  EXPECT_EQ(cc_view_acquire(13, &fourth), CC_OK) << cc_error();
  for (CcView* view : {second, third, fourth}) cc_view_unpin(view);
  for (int fd : {ready[0], ready[1], done[0], done[1]}) close(fd);
}

}  // namespace
}  // namespace concord::bridge
