#include "core/read_wire.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

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

std::string Many(const std::vector<std::string>& requests) {
  std::string bytes;
  AppendReadHeader(&bytes, ReadKind::kMany, 0, 100);
  for (const std::string& request : requests) AppendReadRequest(&bytes, request);
  return bytes;
}

TEST(ReadWireTest, ManyScansComeBackInOrder) {
  const std::string first = EncodeScan(0, 1, 16, 0, 0, {RowKey(7, 1), {}, {}});
  const std::string second = EncodeScan(kReadReverse, 1, 16, 0, 0, {RowKey(7, 0), RowKey(7, 9), RowKey(7, 5)});
  const std::string bytes = Many({first, second});
  ReadRequestView view;
  ASSERT_TRUE(ReadRequestView::Parse(bytes, &view));
  EXPECT_EQ(view.kind, ReadKind::kMany);
  EXPECT_EQ(view.limit, 100u);
  std::string_view request;
  ASSERT_TRUE(view.NextRequest(&request));
  EXPECT_EQ(request, first);
  ASSERT_TRUE(view.NextRequest(&request));
  EXPECT_EQ(request, second);
  EXPECT_FALSE(view.NextRequest(&request));
}

TEST(ReadWireTest, ManyIsOfScansOfVisibleEntriesOnly) {
  const std::string scan = EncodeScan(0, 1, 16, 0, 0, {RowKey(7, 1), {}, {}});
  std::string get;
  AppendReadHeader(&get, ReadKind::kGet, 0, 5);
  AppendReadKey(&get, RowKey(7, 1));
  ReadRequestView view;
  EXPECT_TRUE(ReadRequestView::Parse(Many(std::vector(kMaxScansInOne, scan)), &view));
  EXPECT_FALSE(ReadRequestView::Parse(Many(std::vector(kMaxScansInOne + 1, scan)), &view));
  EXPECT_FALSE(ReadRequestView::Parse(Many({}), &view));
  for (const std::string& bad :
       {std::string(), std::string("?"), scan.substr(0, scan.size() - 1), scan + '\0', get, Many({scan}),
        EncodePart(1, 1, 0, RowKey(7, 1)), EncodeReadNumber(ReadKind::kCounters, 0, 7),
        EncodeScan(kReadVersions, 1, 16, 0, 0, {RowKey(7, 1), {}, {}})})
    EXPECT_FALSE(ReadRequestView::Parse(Many({scan, bad}), &view));
  const std::string whole = Many({scan, scan});
  for (size_t size = 0; size < whole.size(); size++)
    EXPECT_EQ(ReadRequestView::Parse(whole.substr(0, size), &view), size == Many({scan}).size()) << size;
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
  const std::string requests[] = {scan, Many({scan, scan, scan})};
  for (int round = 0; round < 20'000; round++) {
    std::string bytes = round % 3 == 0 ? batch : requests[round % 3 - 1];
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
    for (std::string_view request; view.NextRequest(&request);) ASSERT_TRUE(within(request));
    ASSERT_TRUE(within(view.bounds.low) && within(view.bounds.high) && within(view.bounds.stop) && within(view.key));
  }
}

}  // namespace
}  // namespace concord
