#include "core/read_wire.h"

#include <gtest/gtest.h>

#include <random>

#include "core/key.h"

namespace concord {
namespace {

TEST(ReadWireTest, ScanComesBack) {
  const std::string low = RowKey(7, 1), high = RowKey(7, 9), stop = RowKey(7, 5);
  const std::string bytes = EncodeScan(kReadReverse, 1000, 16, 0x0100000000000007, 42, {low, high, stop});
  ReadRequestView view;
  ASSERT_TRUE(ReadRequestView::Parse(bytes, &view));
  EXPECT_EQ(view.kind, ReadKind::kScan);
  EXPECT_EQ(view.flags, kReadReverse);
  EXPECT_EQ(view.limit, 1000u);
  EXPECT_EQ(view.max_entries, 16u);
  EXPECT_EQ(view.rows_of, 0x0100000000000007u);
  EXPECT_EQ(view.after, 42u);
  EXPECT_EQ(view.bounds.low, low);
  EXPECT_EQ(view.bounds.high, high);
  EXPECT_EQ(view.bounds.stop, stop);
}

TEST(ReadWireTest, KeysComeBackInOrder) {
  std::string bytes;
  AppendReadHeader(&bytes, ReadKind::kGet, 0, 5);
  AppendReadKey(&bytes, "first");
  AppendReadKey(&bytes, "");
  AppendReadKey(&bytes, "third");
  ReadRequestView view;
  ASSERT_TRUE(ReadRequestView::Parse(bytes, &view));
  std::string_view key;
  for (const char* expected : {"first", "", "third"}) {
    ASSERT_TRUE(view.NextKey(&key));
    EXPECT_EQ(key, expected);
  }
  EXPECT_TRUE(view.keys.empty());
  EXPECT_FALSE(view.NextKey(&key));
}

TEST(ReadWireTest, BatchComesBackAligned) {
  BatchWriter writer(100, 50);
  const std::string value(13, 'v');
  writer.Add({7, 13, 0, "key", value});
  writer.Add({0, 0, kEntryAbsent, "none", "nona"});
  writer.Add({8, 1000, kEntryRow, "cut", value});
  const std::string bytes = writer.Finish(true);
  EXPECT_EQ(bytes.size() % 8, 0u);
  BatchReader reader;
  ASSERT_TRUE(BatchReader::Open(bytes, &reader));
  EXPECT_EQ(reader.applied(), 100u);
  EXPECT_EQ(reader.horizon(), 50u);
  EXPECT_EQ(reader.count(), 3u);
  EXPECT_TRUE(reader.more());
  BatchEntry entry;
  ASSERT_TRUE(reader.Next(&entry));
  EXPECT_EQ(entry.lsn, 7u);
  EXPECT_EQ(entry.key, "key");
  EXPECT_EQ(entry.value, value);
  EXPECT_EQ((entry.value.data() - bytes.data()) % 8, 0);
  ASSERT_TRUE(reader.Next(&entry));
  EXPECT_EQ(entry.flags, kEntryAbsent);
  EXPECT_EQ(entry.value, "nona");
  ASSERT_TRUE(reader.Next(&entry));
  EXPECT_EQ(entry.value_size, 1000u);
  EXPECT_EQ(entry.value, value);
  EXPECT_FALSE(reader.Next(&entry));
}

// Bytes that were cut or changed anywhere are refused, or read as something within them.
TEST(ReadWireTest, NothingIsReadBehindTheEnd) {
  std::mt19937 random(11);
  BatchWriter writer(1, 1);
  for (int i = 0; i < 5; i++) writer.Add({1, 20, 0, std::string(static_cast<size_t>(i), 'k'), std::string(20, 'v')});
  const std::string batch = writer.Finish(false);
  const std::string scan = EncodeScan(0, 1, 1, 1, 1, {"lowlowlow", "highhighhigh", "stop"});
  for (int round = 0; round < 20'000; round++) {
    std::string bytes = round % 2 == 0 ? batch : scan;
    bytes[random() % bytes.size()] = static_cast<char>(random());
    const std::string cut(bytes.substr(0, random() % (bytes.size() + 1)));
    const auto within = [&](std::string_view part) {
      return part.empty() || (part.data() >= cut.data() && part.data() + part.size() <= cut.data() + cut.size());
    };
    BatchReader reader;
    BatchEntry entry;
    if (BatchReader::Open(cut, &reader)) {
      for (uint32_t i = 0; i < reader.count() && reader.Next(&entry); i++)
        ASSERT_TRUE(within(entry.key) && within(entry.value));
    }
    ReadRequestView view;
    if (!ReadRequestView::Parse(cut, &view)) continue;
    for (std::string_view key; view.NextKey(&key);) ASSERT_TRUE(within(key));
    ASSERT_TRUE(within(view.bounds.low) && within(view.bounds.high) && within(view.bounds.stop) && within(view.key));
  }
}

}  // namespace
}  // namespace concord
