// Staged chunks in the replica: found again, whole again, the room that they need, forgotten.
#include "core/parts.h"
#include "sidecar/lsn_text.h"
#include "sidecar/storage/meta.h"
#include "sidecar/storage/replica_test_util.h"

namespace concord {
namespace {

TEST_F(ReplicaTest, StagedChunksAppearWithTheirCommitOnly) {
  Open();
  FrameLog log;
  const Token token{1, 2, 3}, other{9};
  std::string piece;
  for (uint32_t i = 0; i < 3; i++) {
    piece.clear();
    AppendMutation(&piece, MutationOp::kPut, RowKey(1, 10), "piece" + std::to_string(i));
    AppendMutation(&piece, MutationOp::kPut, RowKey(1, 20 + i), "x");
    log.Append(RecordType::kChunk, EncodeChunk(token, i, 0, piece));
    log.Append(RecordType::kChunk, EncodeChunk(other, i, 0, piece));
  }
  Apply(log.All());
  EXPECT_EQ(Versions(), 0u);
  size_t applied = log.size();
  const Lsn commit = log.Commit("", 0, kNoLsn, token, 3);
  log.Append(RecordType::kAbandon, std::string_view(reinterpret_cast<const char*>(other.data()), other.size()));
  ApplyNew(log, applied);
  std::string value;
  ASSERT_TRUE(Visible(RowKey(1, 10), commit, &value));
  EXPECT_EQ(value, "piece2");
  EXPECT_FALSE(Visible(RowKey(1, 10), commit - 1));
  EXPECT_EQ(Versions(), 4u);
  applied = log.size();
  log.Commit("", 0, kNoLsn, other, 3);  // its chunks are gone
  EXPECT_EQ(replica_->Apply(log.Frames(applied, log.size())).code(), Code::kCorruption);
}

// Chunks of transactions that were undecided when the process ended come from the journal again, those that had gone to
// LMDB do not.
TEST_F(ReplicaTest, StagedChunksAreFoundAgain) {
  for (const uint64_t staging_bytes : {uint64_t{1} << 20, uint64_t{0}}) {
    SCOPED_TRACE(staging_bytes);
    staging_bytes_ = staging_bytes;
    std::filesystem::remove_all(Options().directory);
    Open();
    FrameLog log;
    const Token decided{1}, abandoned{2}, open{3};
    const auto stage = [&](const Token& token, uint32_t sequence, uint64_t rowid) {
      std::string piece;
      AppendMutation(&piece, MutationOp::kPut, RowKey(1, rowid), "piece" + std::to_string(sequence));
      log.Append(RecordType::kChunk, EncodeChunk(token, sequence, 0, piece));
    };
    log.Put(RowKey(1, 1), "first");
    stage(decided, 0, 10);
    stage(open, 0, 20);
    stage(abandoned, 0, 30);
    log.Commit("", 0, kNoLsn, decided, 1);
    log.Append(RecordType::kAbandon,
               std::string_view(reinterpret_cast<const char*>(abandoned.data()), abandoned.size()));
    stage(open, 1, 21);
    Apply(log.All());
    bool more;
    ASSERT_TRUE(replica_->Maintain(100, &more).ok());
    const Lsn applied = replica_->applied();
    EXPECT_EQ(replica_->replay_from(), staging_bytes == 0 ? applied : log.lsn(1));
    ASSERT_TRUE(replica_->CheckpointIfDue(true).ok());
    ASSERT_TRUE(replica_->FinishCheckpoint().ok());
    EXPECT_EQ(replica_->checkpoint(), replica_->replay_from());

    Open();
    EXPECT_EQ(replica_->applied(), applied);
    EXPECT_EQ(replica_->resume_from(), staging_bytes == 0 ? applied : log.lsn(1));
    if (staging_bytes != 0) {
      EXPECT_EQ(replica_->Apply(log.Frames(3, 5)).code(), Code::kCorruption);
      Apply(log.Frames(2, 4));
      ASSERT_TRUE(replica_->Maintain(100, &more).ok());
      EXPECT_EQ(replica_->replay_from(), log.lsn(1));  // half read
      EXPECT_EQ(replica_->resume_from(), log.lsn(3));
      Open();
    }
    stage(open, 2, 22);
    const Lsn commit = log.Commit("", 0, kNoLsn, open, 3);
    Apply(log.Frames(2, log.size()));
    std::string value;
    for (const uint64_t row : {20, 21, 22}) {
      ASSERT_TRUE(Visible(RowKey(1, row), commit, &value));
      EXPECT_EQ(value, "piece" + std::to_string(row - 20));
      EXPECT_FALSE(Visible(RowKey(1, row), commit - 1));
    }
    EXPECT_TRUE(Visible(RowKey(1, 10), commit));
    EXPECT_FALSE(Visible(RowKey(1, 30), commit));
    EXPECT_EQ(replica_->replay_from(), commit);
    replica_.reset();
  }
}

TEST_F(ReplicaTest, StagedChunksOfManyPiecesAreWholeAgainAndLaterOnesReplaceEarlierOnes) {
  Open();
  FrameLog log;
  const Token token{4};
  std::string chunk, write_set;
  for (uint64_t rowid = 0; rowid < 500; rowid++) {
    AppendMutation(&chunk, MutationOp::kPut, RowKey(1, rowid), std::string(rowid * 7 + 1, 'v'));
  }
  log.Append(RecordType::kChunk, EncodeChunk(token, 0, 0, chunk));
  log.Append(RecordType::kChunk, EncodeChunk(token, 1, 0, {}));
  AppendMutation(&write_set, MutationOp::kPut, RowKey(1, 3), "again");
  AppendMutation(&write_set, MutationOp::kDelete, RowKey(1, 4), {});
  const Lsn commit = log.Commit(write_set, 2, kNoLsn, token, 2);
  Apply(log.All());
  std::string value;
  for (uint64_t rowid = 0; rowid < 500; rowid++) {
    ASSERT_EQ(Visible(RowKey(1, rowid), commit, &value), rowid != 4) << rowid;
    if (rowid != 4) {
      ASSERT_EQ(value, rowid == 3 ? "again" : std::string(rowid * 7 + 1, 'v')) << rowid;
    }
  }
  StorageCounters counters;
  ASSERT_TRUE(replica_->Counters(Prefix(Space::kRow, 1), &counters).ok());
  EXPECT_EQ(counters.rows, 499u);
}

TEST_F(ReplicaTest, ACommitWithOtherChunksThanStagedIsDamage) {
  for (const auto& [staged, announced] : {std::pair(2u, 1u), {1u, 2u}, {1u, 0u}}) {
    std::filesystem::remove_all(Options().directory);
    Open();
    FrameLog log;
    const Token token{1, 2, 3};
    std::string piece;
    AppendMutation(&piece, MutationOp::kPut, RowKey(1, 10), "piece");
    for (uint32_t i = 0; i < staged; i++) log.Append(RecordType::kChunk, EncodeChunk(token, i, 0, piece));
    Apply(log.All());
    const Lsn commit = log.Commit("", 0, kNoLsn, token, announced);
    const Status s = replica_->Apply(log.Frames(staged, log.size()));
    EXPECT_EQ(s.code(), Code::kCorruption);
    EXPECT_NE(s.message().find("record at LSN " + LsnText(commit) + ":"), std::string::npos) << s.message();
    EXPECT_FALSE(Visible(RowKey(1, 10), commit));
  }
}

// However its parts are cut, and from wherever they come, a value is one piece, and aligned as backends need it.
TEST_F(ReplicaTest, AValueInPartsIsWholeAndAligned) {
  const std::string value = [] {
    std::string bytes(5'000'000, '\0');
    std::mt19937 random(3);
    for (size_t i = 0; i < bytes.size(); i += 97) bytes[i] = static_cast<char>(random());
    return bytes;
  }();
  // Held in memory, gone to LMDB, read again after a restart; in one LMDB transaction, or beginning in another.
  for (const int way : {0, 1, 2, 3}) {
    SCOPED_TRACE(way);
    std::filesystem::remove_all(Options().directory);
    staging_bytes_ = way == 1 ? 0 : 64u << 20;
    transaction_bytes_ = way == 3 ? 1000 : 64u << 20;
    Open();
    FrameLog log;
    const Token token{1};
    std::string before, after;
    AppendMutation(&before, MutationOp::kPut, RowKey(1, 1), "before  ");
    AppendMutation(&after, MutationOp::kPut, RowKey(1, 3), "after   ");
    log.Put(RowKey(1, 2), "old     ");
    const Lsn old = log.last();
    uint32_t sequence = 0;
    for (size_t at = 0; at < value.size(); sequence++) {
      const size_t size = std::min<size_t>(value.size() - at, 1 + 700'001 * sequence);
      std::string part = at == 0 ? before : "";
      AppendPart(&part, RowKey(1, 2), value, at, size);
      at += size;
      if (at == value.size()) part += after;
      log.Append(RecordType::kChunk, EncodeChunk(token, sequence, at < value.size() ? kChunkUnfinished : 0, part));
    }
    Apply(log.All());
    bool more;
    ASSERT_TRUE(replica_->Maintain(100, &more).ok());
    if (way == 2) {
      ASSERT_TRUE(replica_->Close().ok());
      Open();
    }
    log.Commit("", 0, kNoLsn, token, sequence);
    Apply(log.All());
    ReplicaView view;
    ASSERT_TRUE(replica_->OpenView(&view).ok());
    VisibleVersion version;
    ASSERT_TRUE(ReadVersion(view.txn(), replica_->databases().rows, RowKey(1, 2), log.last(), &version).ok());
    EXPECT_TRUE(version.value == value);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(version.value.data()) % 8, 0u);
    view = ReplicaView();
    EXPECT_TRUE(Visible(RowKey(1, 1), log.last()));
    EXPECT_TRUE(Visible(RowKey(1, 3), log.last()));
    std::string older;
    ASSERT_TRUE(Visible(RowKey(1, 2), old, &older));
    EXPECT_EQ(older, "old     ");
    StorageCounters counters;
    ASSERT_TRUE(replica_->Counters(Prefix(Space::kRow, 1), &counters).ok());
    EXPECT_EQ(counters.rows, 3u);
    EXPECT_EQ(counters.bytes, 3 * kRowKeySize + 16 + value.size());
    replica_.reset();
  }
}

TEST_F(ReplicaTest, AValueThatIsNotCompleteIsDamage) {
  const auto part = [](size_t from, size_t to) {
    std::string bytes;
    AppendPart(&bytes, RowKey(1, 1), "0123456789", from, to - from);
    return bytes;
  };
  std::string put;
  AppendMutation(&put, MutationOp::kPut, RowKey(1, 1), "value");
  const Token token{7};
  const std::pair<std::vector<std::string>, std::string> broken[] = {
      {{part(0, 4)}, ""},         {{part(0, 4)}, part(5, 10)},       {{}, part(4, 10)},
      {{part(0, 4)}, part(4, 9)}, {{part(0, 4)}, put + part(4, 10)}, {{part(0, 4), ""}, part(0, 10)}};
  for (const auto& [chunks, write_set] : broken) {
    std::filesystem::remove_all(Options().directory);
    Open();
    FrameLog log;
    for (uint32_t i = 0; i < chunks.size(); i++)
      log.Append(RecordType::kChunk, EncodeChunk(token, i, kChunkUnfinished, chunks[i]));
    Apply(log.All());
    const Lsn commit = log.Commit(write_set, 1, kNoLsn, token, static_cast<uint32_t>(chunks.size()));
    EXPECT_EQ(replica_->Apply(log.Frames(chunks.size(), log.size())).code(), Code::kCorruption);
    EXPECT_FALSE(Visible(RowKey(1, 1), commit));
    replica_.reset();
  }
  std::filesystem::remove_all(Options().directory);
  Open();
  FrameLog log;
  log.Append(RecordType::kChunk, EncodeChunk(token, 0, kChunkImmediate, part(0, 4)));
  EXPECT_EQ(replica_->Apply(log.All()).code(), Code::kCorruption);
}

// What is staged will need its room, all at once: a replica that has not got it says so before the commit is decided.
TEST_F(ReplicaTest, WhatIsStagedNeedsRoom) {
  for (const uint64_t staging_bytes : {uint64_t{256} << 20, uint64_t{0}}) {
    std::filesystem::remove_all(Options().directory);
    staging_bytes_ = staging_bytes;
    ReplicaOptions options = Options();
    options.map_bytes = 32u << 20;
    ASSERT_TRUE(Replica::Open(options, &replica_).ok());
    FrameLog log;
    const Token token{1};
    const std::string value(1u << 20, 'v');
    Status room;
    bool more;
    uint32_t chunks = 0;
    for (; room.ok() && chunks < 40; chunks++) {
      std::string put;
      AppendMutation(&put, MutationOp::kPut, RowKey(1, chunks), value);
      log.Append(RecordType::kChunk, EncodeChunk(token, chunks, 0, put));
      ApplyNew(log, log.size() - 1);
      ASSERT_TRUE(replica_->Maintain(100, &more).ok());
      room = replica_->CheckRoom();
    }
    EXPECT_EQ(room.code(), Code::kTooLarge);
    EXPECT_GT(chunks, staging_bytes == 0 ? 6u : 10u);
    // What was there before that can be applied.
    log.Commit("", 0, kNoLsn, token, chunks);
    ApplyNew(log, log.size() - 1);
    replica_.reset();
  }
}

// LMDB keeps a value in pages that stand in a row: as many free ones, each by itself, are no room for it.
TEST_F(ReplicaTest, AStagedValueNeedsItsPagesInARow) {
  ReplicaOptions options = Options();
  options.map_bytes = 32u << 20;
  ASSERT_TRUE(Replica::Open(options, &replica_).ok());
  FrameLog log;
  const auto collect = [&] {
    for (bool more = true; more;) {
      PassHorizon();
      ASSERT_TRUE(replica_->Maintain(1000, &more).ok());
      ASSERT_TRUE(replica_->CheckpointIfDue(/*force=*/true).ok());
      ASSERT_TRUE(replica_->FinishCheckpoint().ok());
    }
  };
  ReplicaStatistics statistics{};
  uint64_t rows = 0;
  for (; statistics.file_bytes < (25u << 20); rows += 100) {
    for (uint64_t i = 0; i < 100; i++) log.Put(RowKey(1, rows + i), std::string(3000, 'r'));
    ApplyNew(log, log.size() - 100);
    ASSERT_TRUE(replica_->Statistics(&statistics).ok());
  }
  collect();
  for (uint64_t i = 0; i < rows; i++) {
    if (i % 4 != 0) log.Delete(RowKey(1, i));
  }
  ApplyNew(log, rows);
  collect();
  ASSERT_TRUE(replica_->CheckRoom().ok());

  const auto stage = [&](const Token& token, size_t bytes) {
    const std::string value(bytes, 'v');
    uint32_t chunks = 0;
    for (size_t at = 0; at < bytes; at += 1u << 20) {
      std::string part;
      const size_t size = std::min<size_t>(bytes - at, 1u << 20);
      AppendPart(&part, RowKey(2, token[0]), value, at, size);
      log.Append(RecordType::kChunk, EncodeChunk(token, chunks++, at + size < bytes ? kChunkUnfinished : 0, part));
    }
    ApplyNew(log, log.size() - chunks);
    return chunks;
  };
  ASSERT_TRUE(replica_->Statistics(&statistics).ok());
  ASSERT_GT(statistics.free_bytes, (8u + 7u) << 20);  // by number there are enough
  stage(Token{1}, 7u << 20);
  EXPECT_EQ(replica_->CheckRoom().code(), Code::kTooLarge);
  std::string abandon(16, '\0');
  abandon[0] = 1;
  log.Append(RecordType::kAbandon, abandon);
  ApplyNew(log, log.size() - 1);
  EXPECT_TRUE(replica_->CheckRoom().ok());
  // Once the others are gone as well there is a row of pages.
  for (uint64_t i = 0; i < rows; i += 4) log.Delete(RowKey(1, i));
  ApplyNew(log, log.size() - (rows + 3) / 4);
  collect();
  // What a transaction has freed is of use when the checkpoint is of a later one.
  log.Put(RowKey(3, 1), "later");
  ApplyNew(log, log.size() - 1);
  collect();
  const uint32_t chunks = stage(Token{2}, 7u << 20);
  EXPECT_TRUE(replica_->CheckRoom().ok());
  log.Commit("", 0, kNoLsn, Token{2}, chunks);
  ApplyNew(log, log.size() - 1);
  EXPECT_TRUE(Visible(RowKey(2, 2), log.last()));
}

// Scattered updates copy a page each, which all together are more than there is room for; in small pieces, with a
// checkpoint after each, the pages that one has copied are there for the next.
TEST_F(ReplicaTest, WhatDoesNotFitAtOnceIsAppliedInPieces) {
  ReplicaOptions options = Options();
  options.map_bytes = 36u << 20;
  ASSERT_TRUE(Replica::Open(options, &replica_).ok());
  FrameLog log;
  uint64_t rows = 0;
  for (ReplicaStatistics statistics{}; statistics.file_bytes < (22u << 20); rows += 1000) {
    for (uint64_t i = 0; i < 1000; i++) log.Put(RowKey(1, rows + i), std::string(100, 'r'));
    ApplyNew(log, log.size() - 1000);
    ASSERT_TRUE(replica_->Statistics(&statistics).ok());
  }
  std::string mutations;
  uint32_t count = 0;
  for (uint64_t i = 1; i < rows; i += 15, count++) AppendMutation(&mutations, MutationOp::kPut, RowKey(1, i), "new");
  log.Append(RecordType::kCommit, EncodeWriteSet(Token{9}, 0, 0, 0, "", count, mutations));
  const std::string_view frame = log.Frames(log.size() - 1, log.size());
  EXPECT_EQ(replica_->Apply(frame).code(), Code::kNoSpace);
  ASSERT_TRUE(replica_->CheckpointIfDue(/*force=*/true).ok());
  ASSERT_TRUE(replica_->FinishCheckpoint().ok());
  EXPECT_EQ(replica_->Apply(frame, /*frugal=*/true).code(), Code::kOk);
  EXPECT_TRUE(Visible(RowKey(1, 16), log.last()));
}

TEST_F(ReplicaTest, ChunksThatNobodyCommitsAreForgotten) {
  const Lsn lifetime = Lsn{kStagedChunkLifetimeUs} << kLsnCounterBits;
  staging_bytes_ = 0;
  Open();
  FrameLog log;
  std::string piece;
  AppendMutation(&piece, MutationOp::kPut, RowKey(1, 10), std::string(100000, 'v'));
  const Token left{1}, late{2};
  const auto used = [&] {
    ReplicaStatistics statistics;
    EXPECT_TRUE(replica_->Statistics(&statistics).ok());
    return statistics.used_bytes;
  };
  const auto look_around = [&] {
    now_us_ += 10'000'000;
    MaintainToEnd(replica_.get());
  };
  log.Put(RowKey(2, 1), "row", 1000);
  for (uint32_t i = 0; i < 3; i++) log.Append(RecordType::kChunk, EncodeChunk(left, i, 0, piece));
  const Lsn newest = log.last();
  Apply(log.All());
  size_t applied = log.size();
  log.Append(RecordType::kChunk, EncodeChunk(late, 0, 0, piece), newest + lifetime);
  ApplyNew(log, applied);
  look_around();
  EXPECT_GT(used(), 400000u) << "forgotten while it could be committed";
  applied = log.size();
  log.Put(RowKey(2, 1), "row", newest + lifetime + 1);
  ApplyNew(log, applied);
  look_around();
  EXPECT_LT(used(), 200000u);
  // The other one is as it was, and commits. A restart takes what is left for new.
  Open();
  look_around();
  applied = log.size();
  const Lsn commit = log.Commit("", 0, newest + 2 * lifetime, late, 1);
  ApplyNew(log, applied);
  EXPECT_TRUE(Visible(RowKey(1, 10), commit));
  EXPECT_LT(used(), 200000u);
}

}  // namespace
}  // namespace concord
