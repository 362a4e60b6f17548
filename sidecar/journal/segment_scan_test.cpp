// Flipped bytes in a journal: told with file and offset, or without any effect; never fewer records, or others.
#include "sidecar/journal/segment_scan.h"

#include <random>

#include "core/bytes.h"
#include "core/crc32c.h"
#include "sidecar/journal/journal_test_util.h"
#include "sidecar/testing/files.h"

namespace concord::journal {
namespace {

constexpr Lsn kRecords = 3000;

class SegmentScanTest : public testing::Test {
 protected:
  // Some segments, many groups, an orderly end.
  void SetUp() override {
    std::unique_ptr<JournalNode> node;
    JournalNodeOptions options;
    options.log.directory = directory_.path();
    options.log.segment_bytes = 64u << 10;
    ASSERT_TRUE(JournalNode::Open(std::move(options), &node).ok());
    JournalNode::SealResult sealed;
    ASSERT_TRUE(node->Seal(1, &sealed).ok());
    for (Lsn lsn = 1; lsn <= kRecords; lsn += 10) ASSERT_TRUE(node->Append(Input(1, lsn, lsn + 9)).ok());
    node.reset();
    std::vector<std::string> leftovers;
    ASSERT_TRUE(ListSegments(directory_.path(), &sequences_, &leftovers).ok());
    ASSERT_GT(sequences_.size(), 2u);
  }
  Status Scan(SegmentScanner* scanner, std::string* frames) {
    for (const uint64_t sequence : sequences_) {
      SegmentHeader header;
      const Status status = scanner->Next(Path(sequence), sequence, &header,
                                          [&](const ScannedGroup& group) { frames->append(group.frames); });
      if (!status.ok()) return status;
    }
    return scanner->Finish();
  }
  std::string Path(uint64_t sequence) const { return directory_.path() + "/" + SegmentName(sequence); }

  TemporaryDirectory directory_;
  std::vector<uint64_t> sequences_;
};

TEST_F(SegmentScanTest, ReadsEverything) {
  SegmentScanner scanner;
  std::string frames;
  const Status status = Scan(&scanner, &frames);
  ASSERT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(frames, FrameRange(1, 1, kRecords));
  EXPECT_EQ(scanner.state().frames, kRecords);
  EXPECT_TRUE(scanner.state().marked);
  EXPECT_FALSE(scanner.state().torn);
}

TEST_F(SegmentScanTest, AFlippedByteIsToldOrHarmless) {
  const std::string expected = FrameRange(1, 1, kRecords);
  const unsigned seed = std::random_device()();
  std::mt19937 random(seed);
  int told = 0;
  for (int round = 0; round < 200; round++) {
    const std::string path = Path(sequences_[random() % sequences_.size()]);
    const std::string good = ReadFile(path);
    std::string bad = good;
    const size_t at = random() % bad.size();
    bad[at] = static_cast<char>(bad[at] ^ (1 << random() % 8));
    WriteFile(path, bad);
    SegmentScanner scanner;
    std::string frames;
    const Status status = Scan(&scanner, &frames);
    if (status.ok()) {
      EXPECT_EQ(frames, expected) << "seed " << seed << ", " << path << ", byte " << at;
    } else {
      told++;
      EXPECT_NE(status.message().find(directory_.path()), std::string::npos) << status.message();
      EXPECT_NE(status.message().find("offset"), std::string::npos) << status.message();
    }
    WriteFile(path, good);
  }
  EXPECT_GT(told, 50) << "seed " << seed;
}

// What no flipped byte shows, as every checksum is right: groups and records that were not written one after the other.
TEST_F(SegmentScanTest, GroupsAndRecordsMustFollowTheOnesBefore) {
  struct Group {
    Lsn prev_lsn;
    std::string frames;
  };
  const auto frame = [](uint64_t epoch, Lsn lsn, Lsn prev_lsn) {
    std::string bytes;
    AppendFrame(&bytes, epoch, lsn, prev_lsn, "R");
    return bytes;
  };
  const auto write = [&](uint64_t sequence, const std::vector<Group>& groups) {
    const SegmentHeader header{sequence, 4711 + sequence, 64u << 10};
    std::string bytes = EncodeSegmentHeader(header);
    bytes.resize(kFirstGroupOffset);
    for (const Group& group : groups) {
      std::string sealed(kGroupHeaderSize, '\0');
      sealed += group.frames;
      SealGroup(&sealed, header.salt, bytes.size(), group.prev_lsn, kNoLsn);
      bytes += sealed;
    }
    bytes.resize(header.size);
    WriteFile(Path(sequence), bytes);
  };
  const auto scan = [&](const std::vector<Group>& first, const std::vector<Group>& second) {
    sequences_ = {1, 2};
    write(1, first);
    write(2, second);
    SegmentScanner scanner;
    std::string frames;
    return Scan(&scanner, &frames);
  };
  const std::vector<Group> one = {{0, frame(1, 1, 0) + frame(1, 2, 1)}}, two = {{2, frame(2, 3, 2)}, {3, ""}};
  EXPECT_TRUE(scan(one, two).ok()) << scan(one, two).message();
  EXPECT_EQ(scan({{0, frame(1, 1, 0) + frame(1, 3, 2)}}, {{3, ""}}).code(), Code::kCorruption) << "a record is missing";
  EXPECT_EQ(scan({{0, frame(1, 1, 0) + frame(1, 1, 1)}}, {{1, ""}}).code(), Code::kCorruption) << "no higher LSN";
  EXPECT_EQ(scan({{0, frame(2, 1, 0) + frame(1, 2, 1)}}, two).code(), Code::kCorruption) << "the epoch falls";
  EXPECT_EQ(scan({{0, frame(0, 1, 0) + frame(1, 2, 1)}}, two).code(), Code::kCorruption) << "epochs begin at 1";
  EXPECT_EQ(scan(one, {{2, frame(1, 4, 3)}}).code(), Code::kCorruption) << "the group follows, its record does not";
  EXPECT_EQ(scan(one, {{2, frame(1, 3, 2)}, {2, frame(1, 4, 3)}}).code(), Code::kCorruption) << "its group does not";
  EXPECT_EQ(scan(one, {{2, frame(1, 3, 2)}, {2, ""}}).code(), Code::kCorruption) << "the mark is of an earlier end";
  EXPECT_EQ(scan(one, {{1, frame(1, 2, 1)}}).code(), Code::kCorruption) << "the segment does not follow";
}

// A record may hold the bytes of a journal, even of this one.
TEST(SegmentFormat, AGroupCountsOnlyWhereAndInTheSegmentItWasMadeFor) {
  std::string group(kGroupHeaderSize, '\0');
  group += FrameRange(1, 1, 1);
  SealGroup(&group, /*salt=*/7, /*offset=*/8192, kNoLsn, kNoLsn);
  GroupHeader header;
  std::string_view frames;
  EXPECT_EQ(ParseGroup(group, 7, 8192, &header, &frames), GroupState::kWhole);
  EXPECT_EQ(ParseGroup(group, 7, 8200, &header, &frames), GroupState::kNone);
  EXPECT_EQ(ParseGroup(group, 8, 8192, &header, &frames), GroupState::kNone);
  EXPECT_TRUE(ContainsGroupHeader(std::string(8, '\0') + group, 7, 8184));
  EXPECT_FALSE(ContainsGroupHeader(std::string(8, '\0') + group, 7, 8192));
}

TEST_F(SegmentScanTest, AMissingSegmentIsTold) {
  sequences_.erase(sequences_.begin() + 1);
  SegmentScanner scanner;
  std::string frames;
  EXPECT_EQ(Scan(&scanner, &frames).code(), Code::kCorruption);
}

TEST_F(SegmentScanTest, ANewerVersionIsRefusedWithBothNumbers) {
  std::string bytes = ReadFile(Path(1));
  StoreLe(bytes.data() + 8, uint32_t{2});
  StoreLe(bytes.data() + 12,
          Crc32c(Crc32c(std::string_view(bytes).substr(0, 12)), bytes.data() + 16, kSegmentHeaderSize - 16));
  WriteFile(Path(1), bytes);
  SegmentScanner scanner;
  std::string frames;
  const Status status = Scan(&scanner, &frames);
  EXPECT_EQ(status.code(), Code::kInvalid);
  EXPECT_NE(status.message().find("segment version 2, this program reads 1"), std::string::npos) << status.message();
}

}  // namespace
}  // namespace concord::journal
