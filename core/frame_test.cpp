#include "core/frame.h"

#include <gtest/gtest.h>

#include <random>

#include "core/bytes.h"
#include "core/wire.h"

namespace concord {
namespace {

TEST(FrameTest, RoundTrip) {
  std::string bytes;
  AppendFrame(&bytes, 3, 100, 99, "\x02head", "rest");
  EXPECT_EQ(bytes.size(), kFrameHeaderSize + 9);
  AppendFrame(&bytes, 4, 101, 100, "x");
  Frame frame;
  size_t size = 0;
  ASSERT_TRUE(ParseFrame(bytes, &frame, &size).ok());
  EXPECT_EQ(frame.epoch, 3u);
  EXPECT_EQ(frame.lsn, 100u);
  EXPECT_EQ(frame.prev_lsn, 99u);
  EXPECT_EQ(frame.record, "\x02headrest");
  const std::string_view second = std::string_view(bytes).substr(size);
  ASSERT_TRUE(ParseFrame(second, &frame, &size).ok());
  EXPECT_EQ(frame.record, "x");
  EXPECT_EQ(ParseFrame(second.substr(size), &frame, &size).code(), Code::kNotFound);
}

TEST(FrameTest, ZerosAreTheEnd) {
  Frame frame;
  size_t size = 0;
  EXPECT_EQ(ParseFrame(std::string(64, '\0'), &frame, &size).code(), Code::kNotFound);
  EXPECT_EQ(ParseFrame(std::string(8, '\0'), &frame, &size).code(), Code::kNotFound);
  EXPECT_EQ(ParseFrame(std::string(3, '\0'), &frame, &size).code(), Code::kInvalid);
}

TEST(FrameTest, EveryCutIsTornAndEveryFlipIsNoticed) {
  std::string bytes;
  AppendFrame(&bytes, 1, 7, 6, "record of a commit");
  Frame frame;
  size_t size = 0;
  for (size_t cut = 1; cut < bytes.size(); cut++)
    EXPECT_EQ(ParseFrame(std::string_view(bytes).substr(0, cut), &frame, &size).code(), Code::kInvalid) << cut;
  for (size_t bit = 0; bit < bytes.size() * 8; bit++) {
    std::string damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ 1 << bit % 8);
    const Code code = ParseFrame(damaged, &frame, &size).code();
    // A larger size may point behind the end.
    EXPECT_TRUE(code == Code::kCorruption || (bit < 32 && code == Code::kInvalid)) << "bit " << bit;
  }
}

TEST(FrameTest, ImpossibleSizes) {
  Frame frame;
  size_t size = 0;
  std::string bytes(kFrameHeaderSize, '\1');
  StoreLe(bytes.data(), static_cast<uint32_t>(kMaxRecordBytes + 1));
  EXPECT_EQ(ParseFrame(bytes, &frame, &size).code(), Code::kCorruption);
  StoreLe(bytes.data(), uint32_t{0});
  EXPECT_EQ(ParseFrame(bytes, &frame, &size).code(), Code::kCorruption);
}

TEST(FrameTest, RandomFrames) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  std::string bytes;
  std::vector<std::pair<Lsn, std::string>> model;
  for (int i = 0; i < 300; i++) {
    std::string record(1 + random() % 200, '\0');
    for (char& c : record) c = static_cast<char>(random());
    const size_t head = random() % (record.size() + 1);
    AppendFrame(&bytes, i, random() % 2 + i * 2 + 1, i, record.substr(0, head), record.substr(head));
    Frame frame;
    size_t size = 0;
    ASSERT_TRUE(
        ParseFrame(std::string_view(bytes).substr(bytes.size() - record.size() - kFrameHeaderSize), &frame, &size)
            .ok());
    model.emplace_back(frame.lsn, std::move(record));
  }
  std::string_view rest = bytes;
  for (const auto& [lsn, record] : model) {
    Frame frame;
    size_t size = 0;
    ASSERT_TRUE(ParseFrame(rest, &frame, &size).ok());
    ASSERT_EQ(frame.lsn, lsn);
    ASSERT_EQ(frame.record, record);
    rest.remove_prefix(size);
  }
  EXPECT_TRUE(rest.empty());
}

}  // namespace
}  // namespace concord
