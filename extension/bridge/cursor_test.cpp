// Cursors over the replica against a map of all versions, with a writer at work and views renewed in the middle.
#include "bridge/cursor.h"

#include <gtest/gtest.h>

#include <ctime>
#include <random>

#include "bridge/test_replica.h"
#include "core/test_rounds.h"

namespace concord::bridge {
namespace {

// Two neighbours of each storage keep the bounds honest.
constexpr uint64_t kRows = Prefix(Space::kRow, 5);
constexpr uint64_t kEntries = Prefix(Space::kEntry, 5);
constexpr uint64_t kLast = Prefix(Space::kEntry, UINT32_MAX);
constexpr uint64_t kPrefixes[] = {kRows, kRows + 1, kEntries - 1, kEntries, kLast};

class CursorModelTest : public testing::TestWithParam<uint32_t>, protected RandomKeys {
 protected:
  CursorModelTest() : RandomKeys(GetParam(), 30) {}
  void SetUp() override {
    saved_ = cursor_tuning;
    if (GetParam() % 2 == 0) cursor_tuning = {GetParam() % 4 == 0 ? 1u : 3u, 0};  // a fresh view at every step
  }
  void TearDown() override { cursor_tuning = saved_; }

  void WriteSome() {
    std::vector<TestMutation> mutations;
    for (uint32_t n = 1 + Random(40); n-- > 0;) {
      const uint64_t prefix = kPrefixes[Random(std::size(kPrefixes))];
      std::string body = RandomBody(prefix);
      for (uint32_t versions = Random(10) == 0 ? 15 : 1; versions-- > 0;) {
        TestMutation mutation{prefix, body, ++lsn_, std::nullopt};
        if (Random(4) != 0) mutation.value = std::to_string(lsn_) + std::string(Random(5) == 0 ? 3000 : 20, 'v');
        model_.Apply(mutation);
        mutations.push_back(mutation);
      }
    }
    replica_.Apply(mutations, lsn_);
  }

  TestReplica replica_;
  TestModel model_;
  Lsn lsn_ = 100;
  CursorTuning saved_;
};

TEST_P(CursorModelTest, SeesWhatTheModelSees) {
  SCOPED_TRACE("seed " + std::to_string(GetParam()));
  ASSERT_EQ(cc_replica_open(replica_.path()), CC_OK);
  for (int round = 0; round < 10; round++) {
    WriteSome();
    for (int scan = 0; scan < 20; scan++) {
      const uint64_t prefix = kPrefixes[Random(std::size(kPrefixes))];
      const Lsn lsn = lsn_ - Random(static_cast<uint32_t>(std::min<Lsn>(lsn_, 150)));
      const auto visible = model_.Visible(prefix, lsn);
      CcCursor* cursor;
      ASSERT_EQ(cc_cursor_open(prefix, lsn, &cursor), CC_OK);
      bool backward = false;
      TestPosition position;
      position.start = true;
      for (int step = 0; step < 60; step++) {
        if (Random(100) == 0) WriteSome();
        if (Random(15) == 0) {
          const std::string key = Random(3) == 0 ? "" : RandomSeek(prefix);
          backward = Random(2) == 0;
          const bool prefix_match = Random(2) == 0;
          ASSERT_EQ(cc_cursor_seek(cursor, key.data(), key.size(), backward, prefix_match), CC_OK);
          position = TestPosition::Seek(key, backward, prefix_match);
        }
        if (Random(12) == 0) backward = !backward;
        CcEntry entry;
        const CcStatus status = cc_cursor_next(cursor, backward, &entry);
        const auto expected = position.Next(visible, backward);
        ASSERT_EQ(status, expected == visible.end() ? CC_END : CC_OK) << cc_error();
        if (status != CC_OK) continue;
        ASSERT_EQ(KeyOf(entry), expected->first);
        ASSERT_EQ(ValueOf(entry), expected->second.second);
        ASSERT_EQ(entry.lsn, expected->second.first);
      }
      cc_cursor_close(cursor);
    }
  }
  EXPECT_EQ(Replica::Get().active_views(), 0u);
}

TEST_P(CursorModelTest, VersionsNewestFirst) {
  SCOPED_TRACE("seed " + std::to_string(GetParam()));
  ASSERT_EQ(cc_replica_open(replica_.path()), CC_OK);
  for (int round = 0; round < 10; round++) WriteSome();
  for (const uint64_t prefix : kPrefixes) {
    const Lsn lsn = lsn_ - Random(100);
    const Lsn horizon = lsn - Random(100);
    replica_.Apply({}, lsn_, horizon);
    CcCursor* cursor;
    ASSERT_EQ(cc_cursor_open(prefix, lsn, &cursor), CC_OK);
    ASSERT_EQ(cc_cursor_seek(cursor, nullptr, 0, false, false), CC_OK);
    CcEntry entry;
    const auto all = model_.versions(prefix);
    for (const auto& [body, versions] : all) {
      for (auto version = versions.rbegin(); version != versions.rend(); ++version) {
        if (version->first > lsn) continue;
        ASSERT_EQ(cc_cursor_next_version(cursor, &entry), CC_OK);
        if (Random(20) == 0) replica_.Apply({}, lsn_, horizon);
        ASSERT_EQ(KeyOf(entry), body);
        ASSERT_EQ(entry.lsn, version->first);
        ASSERT_EQ(entry.value_size, version->second.value_or("").size());
        if (version->first <= horizon) break;
      }
    }
    ASSERT_EQ(cc_cursor_next_version(cursor, &entry), CC_END);
    ASSERT_EQ(cc_cursor_next_version(cursor, &entry), CC_END);
    cc_cursor_close(cursor);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, CursorModelTest, testing::Range(1u, 1 + Rounds(8)));

// A long scan while another process rewrites every row again and again.
TEST(CursorTest, ConcurrentWriterChangesNothing) {
  constexpr uint64_t kCount = 2000;
  TestReplica replica;
  replica.Write([&](TestReplica::Writer& writer) {
    for (uint64_t rowid = 0; rowid < kCount; rowid++) writer.Apply({kRows, RowBody(rowid), 10, std::string(100, 'o')});
    writer.PutLsn(kMetaApplied, 10);
  });
  ASSERT_EQ(cc_replica_open(replica.path()), CC_OK);
  const CursorTuning saved = cursor_tuning;
  cursor_tuning = {16, 0};
  const pid_t writer = TestReplica::Start([&] {
    Lsn lsn = 10;
    uint64_t rowid = 0;
    replica.WriteHere(
        [&](TestReplica::Writer& writer) {
          lsn++;
          for (int i = 0; i < 20; i++) {
            rowid = (rowid + 7) % kCount;
            writer.Apply({kRows, RowBody(rowid), lsn, std::string(100, 'n')});
          }
          writer.PutLsn(kMetaApplied, lsn);
        },
        1500);
  });
  std::mt19937 random(3);
  for (int scan = 0; scan < 60; scan++) {
    const bool backward = scan % 2 == 1;
    CcCursor* cursor;
    ASSERT_EQ(cc_cursor_open(kRows, 10, &cursor), CC_OK);
    ASSERT_EQ(cc_cursor_seek(cursor, nullptr, 0, backward, false), CC_OK);
    CcEntry entry;
    CcEntry kept{};
    uint64_t seen = 0;
    while (cc_cursor_next(cursor, backward, &entry) == CC_OK) {
      ASSERT_EQ(KeyOf(entry), RowBody(backward ? kCount - 1 - seen : seen));
      ASSERT_EQ(ValueOf(entry), std::string(100, 'o'));
      seen++;
      if (kept.view == nullptr && random() % 100 == 0) {
        kept = entry;
        cc_view_pin(kept.view);
      } else if (kept.view != nullptr && random() % 100 == 0) {
        ASSERT_EQ(ValueOf(kept), std::string(100, 'o'));
        cc_view_unpin(kept.view);
        kept.view = nullptr;
      }
    }
    ASSERT_EQ(seen, kCount);
    if (kept.view != nullptr) {
      ASSERT_EQ(ValueOf(kept), std::string(100, 'o'));
      cc_view_unpin(kept.view);
    }
    cc_cursor_close(cursor);
  }
  TestReplica::Wait(writer);
  cursor_tuning = saved;
  EXPECT_EQ(Replica::Get().active_views(), 0u);
}

TEST(CursorTest, ResetClosesWhatIsOpen) {
  TestReplica replica;
  replica.Apply({{kRows, RowBody(1), 10, "ten"}}, 10);
  ASSERT_EQ(cc_replica_open(replica.path()), CC_OK);
  CcEntry entry;
  for (int i = 0; i < 3; i++) {
    CcCursor* cursor;
    ASSERT_EQ(cc_cursor_open(kRows, 10, &cursor), CC_OK);
    ASSERT_EQ(cc_cursor_next(cursor, false, &entry), CC_OK);
    cc_view_pin(entry.view);
  }
  cc_replica_reset();
  EXPECT_EQ(Replica::Get().active_views(), 0u);
  cc_view_unpin(entry.view);  // late, and harmless
  CcCursor* cursor;
  ASSERT_EQ(cc_cursor_open(kRows, 10, &cursor), CC_OK);
  ASSERT_EQ(cc_cursor_next(cursor, false, &entry), CC_OK);
  cc_cursor_close(cursor);
}

TEST(CursorTest, AsksAgainAfterNotApplied) {
  TestReplica replica;
  ASSERT_EQ(cc_replica_open(replica.path()), CC_OK);
  CcCursor* cursor;
  CcEntry entry;
  ASSERT_EQ(cc_cursor_open(kRows, 10, &cursor), CC_OK);
  EXPECT_EQ(cc_cursor_next(cursor, false, &entry), CC_NOT_APPLIED);
  replica.Apply({{kRows, RowBody(1), 10, "ten"}}, 10);
  EXPECT_EQ(cc_cursor_next(cursor, false, &entry), CC_OK);
  cc_cursor_close(cursor);
}

// Run by hand: bridge_test --gtest_also_run_disabled_tests --gtest_filter=*Measure*
TEST(CursorTest, DISABLED_Measure) {
  constexpr uint64_t kCount = 1000000;
  TestReplica replica;
  replica.Write([&](TestReplica::Writer& writer) {
    for (uint64_t rowid = 0; rowid < kCount; rowid++) writer.Apply({kRows, RowBody(rowid), 10, std::string(104, 'v')});
    writer.PutLsn(kMetaApplied, 10);
  });
  ASSERT_EQ(cc_replica_open(replica.path()), CC_OK);
  const auto measure = [](const char* what, uint64_t count, auto&& body) {
    for (int round = 0; round < 3; round++) {
      const std::clock_t begin = std::clock();  // of this process: others may be busy
      body();
      const double spent_ns = static_cast<double>(std::clock() - begin) * (1e9 / CLOCKS_PER_SEC);
      if (round == 2) printf("%-40s %8.1f ns\n", what, spent_ns / static_cast<double>(count));
    }
  };
  const auto scan = [&](bool backward) {
    CcCursor* cursor;
    CcEntry entry;
    uint64_t seen = 0;
    cc_cursor_open(kRows, 10, &cursor);
    cc_cursor_seek(cursor, nullptr, 0, backward, false);
    while (cc_cursor_next(cursor, backward, &entry) == CC_OK) seen += entry.value[0] == 'v';
    cc_cursor_close(cursor);
    ASSERT_EQ(seen, kCount);
  };
  measure("scan forward, a row", kCount, [&] { scan(false); });
  measure("scan backward, a row", kCount, [&] { scan(true); });
  std::mt19937_64 random(1);
  const auto get = [&](uint64_t rowid) {
    const std::string key = RowKey(5, rowid);
    const void* value;
    size_t size;
    uint64_t lsn;
    CcView* view;
    ASSERT_EQ(cc_replica_get(10, key.data(), key.size(), &value, &size, &lsn, &view), CC_OK);
    cc_view_unpin(view);
  };
  measure("get random, view renewed each", 200000, [&] {
    for (int i = 0; i < 200000; i++) get(random() % kCount);
  });
  CcView* view;
  ASSERT_EQ(cc_view_acquire(10, &view), CC_OK);
  measure("get random, view pinned", 200000, [&] {
    for (int i = 0; i < 200000; i++) get(random() % kCount);
  });
  measure("get in order, view pinned", 200000, [&] {
    for (uint64_t i = 0; i < 200000; i++) get(i);
  });
  cc_view_unpin(view);
  measure("acquire and unpin a view", 200000, [&] {
    for (int i = 0; i < 200000; i++) {
      cc_view_acquire(10, &view);
      cc_view_unpin(view);
    }
  });
}

}  // namespace
}  // namespace concord::bridge
