// Against a dumb model: the set of small keys covered.
#include "core/read_set.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "core/key.h"

namespace concord {
namespace {

// Keys of two bytes behind the prefix of one of three storages: 3 * 32 * 32 of them, in order.
constexpr int kDigits = 32;
constexpr int kKeys = 3 * kDigits * kDigits;

std::string KeyAt(int number) {
  std::string key;
  AppendBe64(&key, Prefix(Space::kRow, static_cast<StorageId>(1 + number / (kDigits * kDigits))));
  key += static_cast<char>(number / kDigits % kDigits);
  key += static_cast<char>(number % kDigits);
  return key;
}

ReadsView Encoded(const ReadSet& set, std::string* bytes) {
  bytes->clear();
  set.AppendTo(bytes, 77);
  *bytes += "rest";
  std::string_view commit = *bytes;
  ReadsView view;
  const Status status = ReadsView::Cut(&commit, &view);
  EXPECT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(commit, "rest");
  return view;
}

void ExpectSame(const ReadSet& set, const std::set<int>& model) {
  size_t ranges = 0;
  for (int key = 0; key < kKeys; key++) {
    ASSERT_EQ(set.Covers(KeyAt(key)), model.contains(key)) << key;
    if (model.contains(key) && !model.contains(key - 1)) ranges++;
  }
  ASSERT_EQ(set.ranges(), ranges) << "what meets is one range";
  std::string bytes;
  const ReadsView view = Encoded(set, &bytes);
  ASSERT_EQ(view.ranges().size(), ranges);
  ASSERT_EQ(bytes.size(), ranges == 0 ? 4 : kReadsHeaderSize + set.bytes() + 4);
}

TEST(ReadSet, AgreesWithTheModel) {
  const uint64_t base = std::random_device{}();
  for (uint64_t seed = base; seed < base + 10; seed++) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    ReadSet set;
    std::set<int> model;
    const int longest = 1 + static_cast<int>(random() % 200);
    for (int step = 0; step < 30; step++) {
      if (random() % 30 == 0) {
        set.Clear();
        model.clear();
      }
      const int low = static_cast<int>(random() % (kKeys - 1));
      const int high = std::min(kKeys - 1, low + static_cast<int>(random() % static_cast<uint64_t>(longest)));
      set.Add(KeyAt(low), KeyAt(high));
      for (int key = low; key < high; key++) model.insert(key);
      ExpectSame(set, model);
    }
  }
}

TEST(ReadSet, OverTheLimitItGetsCoarserAndLosesNothing) {
  const uint64_t base = std::random_device{}();
  for (uint64_t seed = base; seed < base + 10; seed++) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    const size_t limit = 1100 + random() % 3000;
    ReadSet set;
    set.set_limit(limit);
    std::set<int> model;
    for (int step = 0; step < 500; step++) {
      const int low = static_cast<int>(random() % (kKeys - 8));
      const int high = low + 1 + static_cast<int>(random() % 3);
      set.Add(KeyAt(low), KeyAt(high));
      for (int key = low; key < high; key++) model.insert(key);
      ASSERT_LE(set.bytes(), limit);
    }
    for (const int key : model) ASSERT_TRUE(set.Covers(KeyAt(key))) << key;
    std::string bytes;
    ASSERT_EQ(Encoded(set, &bytes).ranges().size(), set.ranges());
  }
}

TEST(ReadSet, StaysWithinTheStoragesReadAsLongAsItCan) {
  ReadSet set;
  set.set_limit(1100);
  for (int i = 0; i < 5000; i++) {
    const StorageId storage = i % 2 == 0 ? 4 : 6;
    const auto row = static_cast<uint64_t>(i) * 7919 % 65536;
    set.Add(RowKey(storage, row), RowKey(storage, row + 1));
  }
  for (const StorageId storage : {3, 5, 7}) EXPECT_FALSE(set.Covers(RowKey(storage, 5))) << storage;
  for (StorageId storage = 0; storage < 1000; storage++) set.Add(RowKey(10 * storage, 1), RowKey(10 * storage, 2));
  EXPECT_LE(set.bytes(), 1100u);
  for (StorageId storage = 0; storage < 1000; storage++) EXPECT_TRUE(set.Covers(RowKey(10 * storage, 1)));
}

TEST(ReadSet, AScanInOrderIsOneRange) {
  ReadSet set;
  for (uint64_t row = 0; row < 100000; row++) set.Add(RowKey(1, row), RowKey(1, row + 1));
  EXPECT_EQ(set.ranges(), 1u);
  for (uint64_t row = 201000; row > 200000; row--) set.Add(RowKey(1, row), RowKey(1, row + 1));
  EXPECT_EQ(set.ranges(), 2u);
}

TEST(ReadSet, NothingIsNothing) {
  ReadSet set;
  set.Add("b", "b");
  set.Add("c", "b");
  EXPECT_TRUE(set.empty());
  std::string bytes;
  set.AppendTo(&bytes, 5);
  EXPECT_TRUE(bytes.empty());
}

TEST(Reads, MalformedOnesAreRefused) {
  const auto cut = [](const std::string& bytes) {
    std::string_view commit = bytes;
    ReadsView view;
    return ReadsView::Cut(&commit, &view).code();
  };
  const auto reads = [](const std::vector<KeyRange>& ranges) {
    std::string body, all;
    for (const KeyRange& range : ranges) {
      AppendLe(&body, static_cast<uint16_t>(range.low.size()));
      AppendLe(&body, static_cast<uint16_t>(range.high.size()));
      body.append(range.low).append(range.high);
    }
    AppendReadsHeader(&all, 9, static_cast<uint32_t>(ranges.size()), static_cast<uint32_t>(body.size()));
    return all + body;
  };
  const std::string good = reads({{"a", "b"}, {"c", "d"}});
  EXPECT_EQ(cut(good), Code::kOk);
  for (size_t size = 1; size < good.size(); size++) EXPECT_EQ(cut(good.substr(0, size)), Code::kInvalid) << size;
  EXPECT_EQ(cut(reads({{"b", "b"}})), Code::kInvalid) << "empty";
  EXPECT_EQ(cut(reads({{"a", "c"}, {"b", "d"}})), Code::kInvalid) << "overlap";
  EXPECT_EQ(cut(reads({{"a", "b"}, {"b", "d"}})), Code::kInvalid) << "touch";
  EXPECT_EQ(cut(reads({{"c", "d"}, {"a", "b"}})), Code::kInvalid) << "order";
  EXPECT_EQ(cut(reads({{"a", std::string(kMaxBoundBytes + 1, 'x')}})), Code::kTooLarge);
  std::string many = good;
  StoreLe(many.data() + 9, UINT32_MAX);
  EXPECT_EQ(cut(many), Code::kInvalid) << "count";
  std::string few = good;
  StoreLe(few.data() + 9, uint32_t{1});
  EXPECT_EQ(cut(few), Code::kInvalid) << "bytes left over";
  std::string large = good;
  StoreLe(large.data() + 13, static_cast<uint32_t>(kMaxReadsBytes + 1));
  EXPECT_EQ(cut(large), Code::kTooLarge);
}

}  // namespace
}  // namespace concord
