#include "sidecar/adjudicator/chunk_table.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "sidecar/adjudicator/adjudicator.h"

namespace concord {
namespace {

constexpr int64_t kNow = kLsnEpochUnixUs + 1000000;

Token MakeToken(uint8_t number) { return Token{number, 1}; }

using Result = ChunkTable::Result;

TEST(ChunkTable, AgreesWithAModelThatForgetsNothing) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  ChunkTable table(40);
  table.Reset(kNoLsn);
  std::map<Token, std::map<uint32_t, Lsn>> model;
  for (Lsn lsn = 1; lsn < 20000; lsn++) {
    const Token token = MakeToken(static_cast<uint8_t>(random() % 20));
    switch (random() % 6) {
      case 0:
        table.Remove(token);
        model.erase(token);
        break;
      case 1: table.Expire(lsn << kLsnCounterBits, 200); break;
      default: {
        const auto sequence = static_cast<uint32_t>(random() % 8);
        table.Add(token, sequence, lsn << kLsnCounterBits);
        model[token][sequence] = lsn;
      }
    }
    ASSERT_LE(table.chunks(), 40u);
    const Token asked = MakeToken(static_cast<uint8_t>(random() % 20));
    const size_t count = model.contains(asked) ? model[asked].size() : 0;
    const Result result = table.Probe(asked, static_cast<uint32_t>(count));
    // Forgotten or not, it never says that an honest count is wrong, and calls nothing too old while it knows all.
    ASSERT_NE(result, Result::kMismatch);
    if (result == Result::kTooOld) {
      ASSERT_GT(table.floor(), kNoLsn);
    }
    ASSERT_NE(table.Probe(asked, static_cast<uint32_t>(count + 1)), Result::kComplete);
  }
}

TEST(ChunkTable, NothingForgottenNothingTooOld) {
  ChunkTable table(100);
  table.Reset(kNoLsn);
  table.Add(MakeToken(1), 7, 10);
  table.Add(MakeToken(1), 9, 11);
  table.Add(MakeToken(1), 9, 12);  // sent again
  EXPECT_EQ(table.Probe(MakeToken(1), 2), Result::kComplete);
  EXPECT_EQ(table.Probe(MakeToken(1), 1), Result::kMismatch);
  EXPECT_EQ(table.Probe(MakeToken(1), 3), Result::kMismatch);
  EXPECT_EQ(table.Probe(MakeToken(2), 0), Result::kComplete);
  table.Reset(5);  // a journal that is not read from its beginning
  EXPECT_EQ(table.Probe(MakeToken(1), 2), Result::kTooOld);
}

// The core: what it lets into the journal, a replica can apply.
class ChunkedCommit : public testing::Test {
 protected:
  Decision Chunk(uint8_t token, uint32_t sequence, uint8_t flags, int64_t now) {
    const std::string bytes = EncodeChunk(MakeToken(token), sequence, flags, "");
    ChunkView view;
    EXPECT_TRUE(ChunkView::Parse(bytes, &view).ok());
    const Lsn prev = core_.last_lsn();
    const Decision decision = core_.Chunk(view, now).decision;
    frames_.emplace_back();
    AppendFrame(&frames_.back(), 1, decision.lsn, prev, static_cast<char>(RecordType::kChunk) + bytes);
    return decision;
  }
  Decision Commit(uint8_t token, uint32_t chunks, int64_t now) {
    const std::string bytes = EncodeWriteSet(MakeToken(token), core_.last_lsn(), chunks, 0, "", 0, "");
    WriteSetView view;
    EXPECT_TRUE(WriteSetView::Parse(bytes, &view).ok());
    return core_.Commit(view, now).decision;
  }
  void TakeOver(size_t from) {
    core_.Reset(core_.last_lsn());
    for (size_t i = from; i < frames_.size(); i++) {
      Frame frame;
      size_t consumed;
      ASSERT_TRUE(ParseFrame(frames_[i], &frame, &consumed).ok());
      ASSERT_TRUE(core_.Replay(frame).ok());
    }
  }

  Adjudicator core_;
  std::vector<std::string> frames_;
};

TEST_F(ChunkedCommit, TheNumberOfChunksMustBeRight) {
  for (uint8_t token = 1; token <= 4; token++) {
    Chunk(token, 0, 0, kNow);
    Chunk(token, 1, kChunkImmediate, kNow);  // not one that is staged
    Chunk(token, 2, 0, kNow);
  }
  EXPECT_EQ(Commit(1, 1, kNow).code, Code::kInvalid);
  EXPECT_EQ(Commit(2, 3, kNow).code, Code::kInvalid);
  EXPECT_EQ(Commit(3, 0, kNow).code, Code::kInvalid);
  EXPECT_EQ(Commit(4, 2, kNow).code, Code::kOk);
}

TEST_F(ChunkedCommit, ChunksThatReplicasMayHaveForgottenAreTooOld) {
  Chunk(1, 0, 0, kNow);
  Chunk(2, 0, 0, kNow);
  Chunk(1, 1, 0, kNow + kStagedChunkLifetimeUs - 10);
  EXPECT_EQ(Commit(2, 1, kNow + kStagedChunkLifetimeUs).code, Code::kOk);
  EXPECT_EQ(Commit(1, 2, kNow + kStagedChunkLifetimeUs + 10).code, Code::kTooOld) << "its first one";
}

TEST_F(ChunkedCommit, ANewLeaderKnowsTheChunksThatItHasRead) {
  Chunk(1, 0, 0, kNow);
  Chunk(2, 0, 0, kNow + 1);
  Chunk(1, 1, 0, kNow + 2);
  TakeOver(1);
  EXPECT_EQ(Commit(1, 2, kNow + 3).code, Code::kTooOld) << "not read from its first chunk on";
  EXPECT_EQ(Commit(2, 1, kNow + 3).code, Code::kOk);
}

}  // namespace
}  // namespace concord
