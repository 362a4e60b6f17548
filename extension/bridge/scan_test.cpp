// Scans of replica and write set as one, against a model, while the write set changes under them.
#include <gtest/gtest.h>

#include <ctime>
#include <random>

#include "bridge/cursor.h"
#include "bridge/live.h"
#include "bridge/test_replica.h"
#include "bridge/write_set.h"
#include "core/test_rounds.h"

namespace concord::bridge {
namespace {

constexpr uint64_t kRows = Prefix(Space::kRow, 5);
constexpr uint64_t kEntries = Prefix(Space::kEntry, 6);

struct OwnModelVersion {
  std::optional<std::string> value;
  uint32_t cid;
};
using OwnModel = std::map<std::pair<uint64_t, std::string>, std::vector<OwnModelVersion>>;

class ScanModelTest : public testing::TestWithParam<uint32_t> {
 protected:
  void SetUp() override {
    cc_ws_reset();
    saved_ = cursor_tuning;
    if (GetParam() % 2 == 0) cursor_tuning = {2, 0};
  }
  void TearDown() override {
    cursor_tuning = saved_;
    cc_ws_reset();
  }

  uint32_t Random(uint32_t below) { return static_cast<uint32_t>(random_() % below); }

  std::string RandomBody(uint64_t prefix) {
    if (prefix == kRows) return RowBody(Random(40));
    std::string body;
    for (uint32_t n = Random(4); n-- > 0;) body += "\x01\x61\xff"[Random(3)];
    return body + '\0';
  }

  void WriteReplica() {
    std::vector<TestMutation> mutations;
    for (uint32_t n = 1 + Random(40); n-- > 0;) {
      const uint64_t prefix = Random(2) == 0 ? kRows : kEntries;
      TestMutation mutation{prefix, RandomBody(prefix), ++lsn_, std::nullopt};
      if (Random(4) != 0) mutation.value = "base " + std::to_string(lsn_);
      base_.Apply(mutation);
      mutations.push_back(mutation);
    }
    replica_.Apply(mutations, lsn_);
  }

  void WriteOwn() {
    const uint32_t what = Random(12);
    if (what == 0) {
      subs_.push_back({++last_sub_, own_});
      cc_ws_sub_begin(last_sub_);
    } else if (what == 1 && !subs_.empty()) {
      cc_ws_sub_commit(subs_.back().first);
      subs_.pop_back();
    } else if (what <= 3 && !subs_.empty()) {
      cc_ws_sub_abort(subs_.back().first);
      own_ = subs_.back().second;
      subs_.pop_back();
    } else if (what == 4 && Random(10) == 0) {
      cc_ws_forget(kRows);
      std::erase_if(own_, [](const auto& key) { return key.first.first == kRows; });
    } else {
      const uint64_t prefix = Random(2) == 0 ? kRows : kEntries;
      const std::string body = RandomBody(prefix);
      std::optional<std::string> value;
      if (Random(3) != 0) value = "own " + std::to_string(random_() % 100000);
      if (value) {
        ASSERT_EQ(
            cc_ws_put(prefix, body.data(), body.size(), value->data(), value->size(), cid_, false, false, nullptr),
            CC_OK);
      } else {
        ASSERT_EQ(cc_ws_delete(prefix, body.data(), body.size(), cid_), CC_OK);
      }
      own_[{prefix, body}].push_back({value, cid_});
    }
  }

  // Value and LSN (0: own) of everything visible.
  std::map<std::string, std::pair<Lsn, std::string>> Visible(uint64_t prefix, Lsn lsn, uint32_t curcid) {
    auto visible = base_.Visible(prefix, lsn);
    for (const auto& [key, versions] : own_) {
      if (key.first != prefix) continue;
      const OwnModelVersion* newest = nullptr;
      for (const auto& version : versions) {
        if (version.cid < curcid || curcid == CC_ALL_COMMANDS) newest = &version;
      }
      if (newest == nullptr) continue;
      if (newest->value) {
        visible[key.second] = {0, *newest->value};
      } else {
        visible.erase(key.second);
      }
    }
    return visible;
  }

  std::mt19937_64 random_{GetParam()};
  TestReplica replica_;
  TestModel base_;
  OwnModel own_;
  std::vector<std::pair<uint32_t, OwnModel>> subs_;
  uint32_t last_sub_ = 0;
  uint32_t cid_ = 5;
  Lsn lsn_ = 100;
  CursorTuning saved_;
};

TEST_P(ScanModelTest, SeesWhatTheModelSees) {
  SCOPED_TRACE("seed " + std::to_string(GetParam()));
  ASSERT_EQ(cc_replica_open(replica_.path()), CC_OK);
  for (int round = 0; round < 12; round++) {
    WriteReplica();
    if (Random(4) == 0) {
      cc_ws_reset();
      own_.clear();
      subs_.clear();
    }
    for (int scan_index = 0; scan_index < 20; scan_index++) {
      for (uint32_t n = Random(4); n-- > 0;) WriteOwn();
      cid_++;
      const uint64_t prefix = Random(2) == 0 ? kRows : kEntries;
      const Lsn lsn = lsn_ - Random(60);
      const uint32_t curcid = Random(4) == 0 ? CC_ALL_COMMANDS : cid_ - Random(4);
      CcScan* scan;
      ASSERT_EQ(cc_scan_open(prefix, lsn, curcid, &scan), CC_OK);
      // Not every scan is sought before its first row.
      TestPosition position;
      position.start = true;
      bool backward = false;
      const bool busy = Random(2) == 0;  // otherwise long runs are read ahead
      for (int step = 0; step < 60; step++) {
        if (busy && Random(4) == 0) WriteOwn();
        if (Random(50) == 0) cid_++;
        if (Random(15) == 0) {
          std::string key = Random(3) == 0 ? "" : RandomBody(prefix);
          if (Random(4) == 0) key.resize(Random(static_cast<uint32_t>(key.size()) + 1));
          backward = Random(2) == 0;
          const bool prefix_match = Random(2) == 0;
          ASSERT_EQ(cc_scan_seek(scan, key.data(), key.size(), backward, prefix_match), CC_OK);
          position = TestPosition::Seek(key, backward, prefix_match);
        }
        if (Random(12) == 0) backward = !backward;
        if (Random(10) == 0) {
          ASSERT_EQ(cc_scan_rest(scan), CC_OK);
          CcLive live;
          cc_live(&live);
          ASSERT_EQ(live.views, 0u);
        }
        const auto visible = Visible(prefix, lsn, curcid);
        if (Random(6) == 0) {  // a look ahead changes nothing, in whatever direction
          const bool there = Random(2) == 0;
          CcVisible ahead = {};
          const CcStatus looked = cc_scan_peek(scan, there, &ahead);
          TestPosition copy = position;
          const auto expected = copy.Next(visible, there);
          ASSERT_EQ(looked, expected == visible.end() ? CC_END : CC_OK) << cc_error();
          if (looked == CC_OK) {
            ASSERT_EQ(KeyOf(ahead.entry), expected->first);
            ASSERT_EQ(ValueOf(ahead.entry), expected->second.second);
            ASSERT_EQ(ahead.is_own, expected->second.first == 0);
          }
          if (const CcEntry* next = cc_scan_ahead(scan, there); next != nullptr) {
            ASSERT_EQ(KeyOf(*next), expected->first);
          }
        }
        CcVisible row = {};
        const CcEntry* taken = Random(8) == 0 ? nullptr : cc_scan_take(scan, backward);
        if (taken != nullptr) row.entry = *taken;
        const CcStatus status = taken != nullptr ? CC_OK : cc_scan_next(scan, backward, &row);
        const auto expected = position.Next(visible, backward);
        ASSERT_EQ(status, expected == visible.end() ? CC_END : CC_OK) << cc_error();
        if (status != CC_OK) continue;
        ASSERT_EQ(KeyOf(row.entry), expected->first);
        ASSERT_EQ(ValueOf(row.entry), expected->second.second);
        ASSERT_EQ(row.entry.lsn, expected->second.first);
        ASSERT_EQ(row.is_own, row.entry.lsn == 0);
        ASSERT_EQ(row.is_own, row.entry.view == nullptr);
        if (row.is_own) {
          ASSERT_EQ(row.own.value, row.entry.value);
          ASSERT_TRUE(curcid == CC_ALL_COMMANDS || row.own.cid < curcid);
          ASSERT_TRUE(row.own.newest || row.own.next_cid >= row.own.cid);
        }
      }
      cc_scan_close(scan);

      const auto visible = Visible(prefix, lsn, curcid);
      for (int i = 0; i < 10; i++) {
        const std::string body = RandomBody(prefix);
        CcVisible row;
        const CcStatus status = cc_visible_get(prefix, body.data(), body.size(), lsn, curcid, &row);
        const auto expected = visible.find(body);
        ASSERT_EQ(status, expected == visible.end() ? CC_END : CC_OK);
        if (status != CC_OK) continue;
        ASSERT_EQ(ValueOf(row.entry), expected->second.second);
        if (!row.is_own) cc_view_unpin(row.entry.view);
      }
    }
  }
  EXPECT_EQ(Replica::Get().active_views(), 0u);
}

INSTANTIATE_TEST_SUITE_P(Seeds, ScanModelTest, testing::Range(1u, 1 + Rounds(12)));

// Point reads that step from row to row, over versions too new, too old and deleted, past the ends of the storage.
TEST(ScanTest, NeighboursArePointReadsToo) {
  constexpr uint64_t kRowCount = 200;
  std::mt19937_64 random(7);
  cc_ws_reset();
  TestReplica replica;
  TestModel model;
  std::vector<TestMutation> mutations;
  Lsn lsn = 10;
  for (const uint64_t prefix : {kRows - 1, kRows, kRows + 1}) {
    for (int n = 0; n < 600; n++) {
      const uint64_t rowid = 1 + random() % kRowCount;
      if (rowid % 16 == 0 || (rowid % 4 == 0 && n > 100)) continue;  // gaps, and rows with few versions
      TestMutation mutation{prefix, RowBody(rowid), ++lsn, std::nullopt};
      if (random() % 6 != 0) mutation.value = std::to_string(lsn);
      model.Apply(mutation);
      mutations.push_back(mutation);
    }
  }
  replica.Apply(mutations, lsn);
  ASSERT_EQ(cc_replica_open(replica.path()), CC_OK);
  CcView* view;  // keeps the cursor where it is between reads, as an index scan does
  ASSERT_EQ(cc_view_acquire(lsn, &view), CC_OK);
  uint64_t found = 0;
  for (int round = 0; round < 300; round++) {
    const Lsn at = lsn - random() % (lsn - 10);
    const auto visible = model.Visible(kRows, at);
    const int64_t step = static_cast<int64_t>(random() % 7) - 3;
    int64_t rowid = static_cast<int64_t>(random() % kRowCount);
    for (int n = 0; n < 20 && rowid >= 0; n++, rowid += step) {
      const std::string body = RowBody(static_cast<uint64_t>(rowid));
      CcVisible row;
      const CcStatus status = cc_visible_get(kRows, body.data(), body.size(), at, 1, &row);
      const auto expected = visible.find(body);
      ASSERT_EQ(status, expected == visible.end() ? CC_END : CC_OK) << rowid << " at " << at;
      if (status != CC_OK) continue;
      ASSERT_EQ(ValueOf(row.entry), expected->second.second);
      ASSERT_EQ(row.entry.lsn, expected->second.first);
      cc_view_unpin(row.entry.view);
      found++;
    }
  }
  EXPECT_GT(found, 1000u);
  cc_view_unpin(view);
  EXPECT_EQ(Replica::Get().active_views(), 0u);
}

TEST(ScanTest, EncodesThroughTheWall) {
  cc_ws_reset();
  const std::string body = RowBody(1);
  uint64_t alias = 0;
  ASSERT_EQ(cc_ws_put(kRows, body.data(), 8, "value", 5, 1, true, true, &alias), CC_OK);
  EXPECT_EQ(alias, 1u);
  uint64_t prefix, rowid;
  CcOwn own;
  ASSERT_TRUE(cc_ws_alias(alias, &prefix, &rowid, &own));
  EXPECT_EQ(rowid, 1u);
  EXPECT_TRUE(own.newest);
  EXPECT_EQ(own.next_cid, CC_ALL_COMMANDS);
  const uint8_t token[16] = {1};
  const void* part;
  size_t size;
  bool is_write_set;
  for (int again = 0; again < 2; again++) {
    EXPECT_EQ(cc_ws_encode_begin(token, 9, 0, 0), CC_OK);
    ASSERT_EQ(cc_ws_encode_next(&part, &size, &is_write_set), CC_OK);
    EXPECT_TRUE(is_write_set);
    EXPECT_EQ(cc_ws_encode_next(&part, &size, &is_write_set), CC_END);
  }
  EXPECT_EQ(cc_ws_put(kRows, body.data(), 8, "", 0, 1, true, false, nullptr), CC_IO_ERROR);
  cc_ws_set_limit(1);
  EXPECT_EQ(cc_ws_put(kRows, body.data(), 8, "value", 5, 1, true, false, nullptr), CC_TOO_LARGE);
  cc_ws_set_limit(SIZE_MAX);
  cc_ws_reset();
  EXPECT_TRUE(cc_ws_empty());
}

// Run by hand: bridge_test --gtest_also_run_disabled_tests --gtest_filter=*Measure*
TEST(ScanTest, DISABLED_Measure) {
  constexpr uint64_t kCount = 1000000;
  cc_ws_reset();
  TestReplica replica;
  replica.Write([&](TestReplica::Writer& writer) {
    for (uint64_t rowid = 0; rowid < kCount; rowid++) writer.Apply({kRows, RowBody(rowid), 10, std::string(104, 'v')});
    writer.PutLsn(kMetaApplied, 10);
  });
  ASSERT_EQ(cc_replica_open(replica.path()), CC_OK);
  const auto measure = [](const char* what, uint64_t count, auto&& body) {
    const std::clock_t begin = std::clock();  // of this process: others may be busy
    body();
    const double spent_ns = static_cast<double>(std::clock() - begin) * (1e9 / CLOCKS_PER_SEC);
    printf("%-40s %8.1f ns\n", what, spent_ns / static_cast<double>(count));
  };
  const auto scan_all = [&](bool update) {
    CcScan* scan;
    CcVisible row;
    uint64_t seen = 0;
    cc_scan_open(kRows, 10, 1, &scan);
    cc_scan_seek(scan, nullptr, 0, false, false);
    while (cc_scan_next(scan, false, &row) == CC_OK) {
      seen++;
      if (update) {
        cc_ws_put(kRows, row.entry.key, row.entry.key_size, row.entry.value, row.entry.value_size, 1, false, false,
                  nullptr);
      }
    }
    cc_scan_close(scan);
    ASSERT_EQ(seen, kCount);
  };
  scan_all(false);
  measure("scan, nothing of our own", kCount, [&] { scan_all(false); });
  measure("scan and update", kCount, [&] { scan_all(true); });
  measure("scan, all rows of our own", kCount, [&] {
    CcScan* scan;
    CcVisible row;
    cc_scan_open(kRows, 10, CC_ALL_COMMANDS, &scan);
    while (cc_scan_next(scan, false, &row) == CC_OK) {
    }
    cc_scan_close(scan);
  });
  measure("own lookup", kCount, [&] {
    for (uint64_t rowid = 0; rowid < kCount; rowid++) {
      CcOwn own;
      const std::string body = RowBody(rowid * 7919 % kCount);
      cc_ws_lookup(kRows, body.data(), body.size(), CC_ALL_COMMANDS, &own);
    }
  });
  measure("encode, a row", kCount, [&] {
    const uint8_t token[16] = {};
    const void* part;
    size_t size;
    bool is_write_set;
    EXPECT_EQ(cc_ws_encode_begin(token, 1, 0, 0), CC_OK);
    while (cc_ws_encode_next(&part, &size, &is_write_set) == CC_OK) {
    }
  });
  measure("reset, a row", kCount, [] { cc_ws_reset(); });
  measure("put growing rowids", kCount, [&] {
    char body[8];
    const std::string value(104, 'v');
    for (uint64_t rowid = 0; rowid < kCount; rowid++) {
      StoreBe64(body, rowid);
      cc_ws_put(kRows, body, sizeof body, value.data(), value.size(), 1, true, false, nullptr);
    }
  });
  cc_ws_reset();
}

}  // namespace
}  // namespace concord::bridge
