// Flipped bytes in a journal: told with file and offset, or without any effect; never fewer records, or others.
#include "sidecar/journal/segment_scan.h"

#include <fstream>
#include <random>

#include "core/bytes.h"
#include "core/crc32c.h"
#include "sidecar/journal/journal_test_util.h"

namespace concord::journal {
namespace {

constexpr Lsn kRecords = 3000;

std::string ReadWhole(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {(std::istreambuf_iterator<char>(file)), {}};
}

void WriteWhole(const std::string& path, std::string_view bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

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
    const std::string good = ReadWhole(path);
    std::string bad = good;
    const size_t at = random() % bad.size();
    bad[at] = static_cast<char>(bad[at] ^ (1 << random() % 8));
    WriteWhole(path, bad);
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
    WriteWhole(path, good);
  }
  EXPECT_GT(told, 50) << "seed " << seed;
}

TEST_F(SegmentScanTest, AMissingSegmentIsTold) {
  sequences_.erase(sequences_.begin() + 1);
  SegmentScanner scanner;
  std::string frames;
  EXPECT_EQ(Scan(&scanner, &frames).code(), Code::kCorruption);
}

TEST_F(SegmentScanTest, ANewerVersionIsRefusedWithBothNumbers) {
  std::string bytes = ReadWhole(Path(1));
  StoreLe(bytes.data() + 8, uint32_t{2});
  StoreLe(bytes.data() + 12,
          Crc32c(Crc32c(std::string_view(bytes).substr(0, 12)), bytes.data() + 16, kSegmentHeaderSize - 16));
  WriteWhole(Path(1), bytes);
  SegmentScanner scanner;
  std::string frames;
  const Status status = Scan(&scanner, &frames);
  EXPECT_EQ(status.code(), Code::kInvalid);
  EXPECT_NE(status.message().find("segment version 2, this program reads 1"), std::string::npos) << status.message();
}

}  // namespace
}  // namespace concord::journal
