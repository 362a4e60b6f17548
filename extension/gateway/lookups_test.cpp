// The index lookups of a nested loop, many in one request.
#include "bridge/write_set.h"
#include "gateway/remote_reads_test_util.h"

namespace concord {
namespace {

using bridge::KeyOf;

// Keys of an index, and what a nested loop does with them: each is looked up, to its end, with its row.
class LookupsTest : public RemoteReadsFixture {
 protected:
  LookupsTest() : RemoteReadsFixture(100'000) {}

  // Bodies of two bytes more; `entries` of each key.
  void Fill(uint32_t keys, uint32_t entries, size_t row_size) {
    for (uint32_t key = 0; key < keys; key++) {
      for (uint32_t i = 0; i < entries; i++) {
        const uint64_t rowid = key * entries + i;
        std::string body = Body(key), value;
        AppendBe64(&body, rowid);
        AppendLe<uint64_t>(&value, rowid);
        Write(Key(kEntries, body), value);
        Write(RowKey(5, rowid), RowOf(rowid, row_size));
      }
    }
    ApplyAll();
  }
  static std::string Body(uint32_t key) {
    std::string body;
    AppendLe<uint32_t>(&body, __builtin_bswap32(key));
    return body;
  }
  static std::string RowOf(uint64_t rowid, size_t size) {
    std::string row(size, 'r');
    StoreBe64(row.data(), rowid);
    return row;
  }
  void FetchAhead(const std::vector<uint32_t>& keys, bool backward, size_t* ready, size_t* asked) {
    std::vector<std::string> bounds;
    for (const uint32_t key : keys) {
      bounds.push_back(Body(key));
      bounds.push_back(Body(key + 1));
    }
    std::vector<CcRange> ranges;
    for (size_t i = 0; i < bounds.size(); i += 2)
      ranges.push_back({kEntries, kRows, 0, bounds[i].data(), bounds[i + 1].data(), bounds[i].size(),
                        bounds[i + 1].size(), backward});
    ASSERT_EQ(cc_scans_ahead(lsn(), ranges.data(), ranges.size(), ready, asked), CC_OK) << cc_error();
  }
  void LookUp(CcScan* scan, uint32_t key, bool backward, uint32_t expected, size_t row_size) {
    const std::string low = Body(key), high = Body(key + 1);
    ASSERT_EQ(cc_scan_expect(scan, low.data(), low.size(), high.data(), high.size(), kRows), CC_OK);
    ASSERT_EQ(cc_scan_seek(scan, backward ? high.data() : low.data(), low.size(), backward, false), CC_OK);
    uint32_t found = 0;
    for (;; found++) {
      CcVisible visible;
      const CcStatus status = cc_scan_next(scan, backward, &visible);
      if (status == CC_END) break;
      ASSERT_EQ(status, CC_OK) << cc_error();
      const std::string body = KeyOf(visible.entry);
      if (backward ? body < low : body >= high) break;
      const uint64_t rowid = LoadLe<uint64_t>(reinterpret_cast<const char*>(visible.entry.value));
      const std::string row_key = RowKey(5, rowid);
      const void* row;
      size_t size;
      uint64_t version;
      CcView* view;
      ASSERT_EQ(cc_replica_get(lsn(), row_key.data(), row_key.size(), &row, &size, &version, &view), CC_OK);
      EXPECT_EQ(std::string(static_cast<const char*>(row), size), RowOf(rowid, row_size));
      cc_view_unpin(view);
    }
    EXPECT_EQ(found, expected);
  }
  Lsn lsn() { return log_frames_.last(); }
};

TEST_F(LookupsTest, ManyCostOneRequest) {
  Fill(400, 3, 50);
  Start();
  for (const bool backward : {false, true}) {
    cc_replica_reset();
    std::vector<uint32_t> keys;  // neighbours, some far from each other, and the same again
    for (uint32_t i = 0; i < 100; i++) keys.push_back(i);
    for (uint32_t i = 0; i < 100; i++) keys.push_back(100 + (i * 37) % 300);
    for (uint32_t i = 0; i < 20; i++) keys.push_back(i * 10);
    const uint64_t before = Stats().reads;
    size_t ready, asked;
    FetchAhead(keys, backward, &ready, &asked);
    EXPECT_EQ(ready, keys.size());
    EXPECT_LT(asked, keys.size()) << "each once";
    CcScan* scan;
    ASSERT_EQ(cc_scan_open(kEntries, lsn(), 0, &scan), CC_OK);
    for (const uint32_t key : keys) LookUp(scan, key, backward, 3, 50);
    cc_scan_close(scan);
    EXPECT_EQ(Stats().reads, before + 1);
    FetchAhead(keys, backward, &ready, &asked);
    EXPECT_EQ(asked, 0u) << "all of them are at hand";
    EXPECT_EQ(Stats().reads, before + 1);
  }
}

TEST_F(LookupsTest, WhatAnAnswerHasNoRoomForIsAskedForWhenItsTurnComes) {
  Fill(300, 1, 12'000);  // more than an answer
  Start();
  std::vector<uint32_t> keys;
  for (uint32_t i = 0; i < 300; i++) keys.push_back((i * 7) % 300);
  const uint64_t before = Stats().reads;
  CcScan* scan;
  ASSERT_EQ(cc_scan_open(kEntries, lsn(), 0, &scan), CC_OK);
  size_t ready, asked, requests = 0;
  for (size_t done = 0; done < keys.size(); done += ready, requests++) {
    FetchAhead({keys.begin() + static_cast<ptrdiff_t>(done), keys.end()}, false, &ready, &asked);
    ASSERT_GT(ready, 0u);
    for (size_t i = done; i < done + ready; i++) LookUp(scan, keys[i], false, 1, 12'000);
  }
  cc_scan_close(scan);
  EXPECT_GT(requests, 2u);
  EXPECT_LT(requests, 10u);
  EXPECT_EQ(Stats().reads, before + requests);
}

TEST_F(LookupsTest, TheyAreReadOnTheMapWhereItServes) {
  Fill(10, 1, 50);
  Start();
  cc_remote_set(false, false);
  const uint64_t before = Stats().reads;
  size_t ready, asked;
  FetchAhead({1, 2, 3}, false, &ready, &asked);
  EXPECT_EQ(ready, 3u);
  EXPECT_EQ(asked, 0u);
  EXPECT_EQ(Stats().reads, before);
}

}  // namespace
}  // namespace concord
