#include "sidecar/adjudicator/chunk_table.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <vector>

#include "core/key.h"
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

// Chunks of parts against a model that has their mutations: complete is what follows part by part.
TEST(ChunkTable, AgreesWithAModelOfPartsAboutWhatIsTorn) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  const Token token = MakeToken(1);
  int complete = 0, torn = 0;
  for (int round = 0; round < 5000; round++) {
    ChunkTable table(100);
    table.Reset(kNoLsn);
    // Values and the places where they are cut, mostly in order.
    std::vector<std::string> pieces(1);
    for (uint64_t values = 1 + random() % 3; values > 0; values--) {
      const std::string key = "key" + std::to_string(random() % 2), value(1 + random() % 5, 'v');
      for (size_t at = 0; at < value.size(); at++) {
        AppendPart(&pieces.back(), key, value, at, 1);
        if (random() % 2 == 0) pieces.emplace_back();
      }
    }
    if (random() % 2 == 0) std::swap(pieces[random() % pieces.size()], pieces[random() % pieces.size()]);
    if (random() % 4 == 0) pieces.erase(pieces.begin() + static_cast<ptrdiff_t>(random() % pieces.size()));
    if (pieces.empty()) continue;
    const std::string write_set = pieces.back();
    pieces.pop_back();
    std::map<uint32_t, std::string> chunks;
    uint32_t sequence = 0;
    for (const std::string& piece : pieces) chunks[sequence += 1 + static_cast<uint32_t>(random() % 2)] = piece;
    Lsn lsn = 1;
    for (const auto& [number, piece] : chunks) {
      if (random() % 4 == 0) table.Add(token, number, lsn++, ValueCut{"other", 1, 2, 1}, ValueCut{"other", 1, 3, 2});
      table.Add(token, number, lsn++, CutBefore(piece), CutBehind(piece));
    }
    PartChain chain;
    bool joined = true;
    const auto add = [&](std::string_view mutations) {
      // Within a chunk it is for CheckChunk to see.
      if (CutBefore(mutations) != chain.cut()) joined = false;
      chain = PartChain(CutBehind(mutations));
    };
    for (const auto& [number, piece] : chunks) add(piece);
    add(write_set);
    const auto count = static_cast<uint32_t>(chunks.size());
    // CheckWriteSet has seen that the write set ends with a complete value.
    if (CutBehind(write_set)) continue;
    (joined ? complete : torn)++;
    ASSERT_EQ(table.Probe(token, count, CutBefore(write_set)), joined ? Result::kComplete : Result::kTorn);
  }
  EXPECT_GT(complete, 100);
  EXPECT_GT(torn, 100);
}

// The core: what it lets into the journal, a replica can apply.
class ChunkedCommit : public testing::Test {
 protected:
  Decision Chunk(uint8_t token, uint32_t sequence, uint8_t flags, int64_t now, std::string_view mutations = "") {
    const std::string bytes = EncodeChunk(MakeToken(token), sequence, flags, mutations);
    ChunkView view;
    EXPECT_TRUE(ChunkView::Parse(bytes, &view).ok());
    const Lsn prev = core_.last_lsn();
    const Decision decision = core_.Chunk(view, now).decision;
    frames_.emplace_back();
    AppendFrame(&frames_.back(), 1, decision.lsn, prev, static_cast<char>(RecordType::kChunk) + bytes);
    return decision;
  }
  Decision Commit(uint8_t token, uint32_t chunks, int64_t now, std::string_view mutations = "") {
    const std::string bytes =
        EncodeWriteSet(MakeToken(token), core_.last_lsn(), chunks, 0, "", mutations.empty() ? 0 : 1, mutations);
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

std::string Part(std::string_view key, size_t from, size_t to) {
  std::string part;
  AppendPart(&part, key, "0123456789", from, to - from);
  return part;
}

TEST_F(ChunkedCommit, AValueMustBeComplete) {
  const std::string key = RowKey(1, 1), other = RowKey(1, 2);
  const auto stage = [&](uint8_t token) {
    Chunk(token, 0, kChunkUnfinished, kNow, Part(key, 0, 3));
    Chunk(token, 1, kChunkUnfinished, kNow, Part(key, 3, 7));
  };
  for (uint8_t token = 1; token <= 5; token++) stage(token);
  EXPECT_EQ(Commit(1, 2, kNow, Part(key, 7, 10)).code, Code::kOk);
  EXPECT_EQ(Commit(2, 2, kNow).code, Code::kInvalid) << "without its end";
  EXPECT_EQ(Commit(3, 2, kNow, Part(key, 8, 10)).code, Code::kInvalid) << "without a byte of it";
  EXPECT_EQ(Commit(4, 2, kNow, Part(other, 7, 10)).code, Code::kInvalid) << "of another row";
  EXPECT_EQ(Commit(8, 0, kNow, Part(key, 7, 10)).code, Code::kInvalid) << "without its beginning";
  Chunk(5, 1, kChunkUnfinished, kNow, Part(key, 3, 6));  // comes again as another one
  EXPECT_EQ(Commit(5, 2, kNow, Part(key, 7, 10)).code, Code::kInvalid);
}

TEST_F(ChunkedCommit, ANewLeaderKnowsWhereValuesAreCut) {
  const std::string key = RowKey(1, 1);
  for (uint8_t token = 1; token <= 2; token++) {
    Chunk(token, 0, kChunkUnfinished, kNow, Part(key, 0, 3));
    Chunk(token, 1, kChunkUnfinished, kNow, Part(key, 3, 7));
  }
  TakeOver(0);
  EXPECT_EQ(Commit(1, 2, kNow, Part(key, 7, 10)).code, Code::kOk);
  EXPECT_EQ(Commit(2, 2, kNow, Part(key, 6, 10)).code, Code::kInvalid);
}

TEST(CheckOfParts, AChunkTellsHowItEndsAndAWriteSetIsComplete) {
  const auto chunk = [](uint8_t flags, const std::string& mutations) {
    const std::string bytes = EncodeChunk(MakeToken(1), 0, flags, mutations);
    ChunkView view;
    EXPECT_TRUE(ChunkView::Parse(bytes, &view).ok());
    return CheckChunk(view).code();
  };
  const auto write_set = [](uint32_t count, const std::string& mutations) {
    const std::string bytes = EncodeWriteSet(MakeToken(1), 0, 0, 0, "", count, mutations);
    WriteSetView view;
    EXPECT_TRUE(WriteSetView::Parse(bytes, &view).ok());
    return CheckWriteSet(view).code();
  };
  const std::string key = RowKey(1, 1), begin = Part(key, 0, 3), middle = Part(key, 3, 5), end = Part(key, 5, 10);
  EXPECT_EQ(chunk(kChunkUnfinished, begin), Code::kOk);
  EXPECT_EQ(chunk(kChunkUnfinished, middle), Code::kOk);
  EXPECT_EQ(chunk(0, end), Code::kOk);
  EXPECT_EQ(chunk(0, begin + middle + end), Code::kOk);
  EXPECT_EQ(chunk(0, begin), Code::kInvalid);
  EXPECT_EQ(chunk(kChunkUnfinished, end), Code::kInvalid);
  EXPECT_EQ(chunk(0, begin + end), Code::kInvalid);
  EXPECT_EQ(chunk(0, end + end), Code::kInvalid);
  EXPECT_EQ(chunk(kChunkImmediate, begin + middle + end), Code::kOk);
  EXPECT_EQ(chunk(kChunkImmediate, end), Code::kInvalid);
  EXPECT_EQ(chunk(kChunkImmediate | kChunkUnfinished, begin), Code::kInvalid);
  EXPECT_EQ(write_set(1, end), Code::kOk) << "the core knows whether it had begun";
  EXPECT_EQ(write_set(2, middle + end), Code::kOk);
  EXPECT_EQ(write_set(1, begin), Code::kInvalid);
  EXPECT_EQ(write_set(1, middle), Code::kInvalid);
  std::string put;
  AppendMutation(&put, MutationOp::kPut, key, "value");
  EXPECT_EQ(write_set(3, middle + put + end), Code::kInvalid);
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
