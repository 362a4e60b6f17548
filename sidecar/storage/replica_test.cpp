#include "sidecar/storage/replica.h"

#include <sys/stat.h>

#include "core/parts.h"
#include "sidecar/lsn_text.h"
#include "sidecar/storage/meta.h"
#include "sidecar/storage/replica_model.h"

namespace concord {
namespace {

class ReplicaTest : public testing::Test {
 protected:
  ReplicaOptions Options() {
    ReplicaOptions options;
    options.directory = directory_.path() + "/replica";
    options.map_bytes = uint64_t{1} << 30;
    options.max_readers = 126;
    options.retention_us = 0;
    options.restart_hold_us = restart_hold_us_;
    options.garbage_interval_us = 0;
    options.boot_id = "boot";
    options.unix_us = [this] { return now_us_; };
    options.steady_us = [this] { return now_us_; };
    options.transaction_bytes = transaction_bytes_;
    options.staging_bytes = staging_bytes_;
    options.staging_us = staging_us_;
    return options;
  }
  void Open() {
    replica_.reset();
    const Status s = Replica::Open(Options(), &replica_);
    ASSERT_TRUE(s.ok()) << s.ToString();
  }
  void Apply(std::string_view frames) {
    const Status s = replica_->Apply(frames);
    ASSERT_TRUE(s.ok()) << s.ToString();
  }
  void ApplyNew(const FrameLog& log, size_t from) { Apply(log.Frames(from, log.size())); }
  bool Visible(std::string_view key, Lsn lsn, std::string* value = nullptr) {
    ReplicaView view;
    EXPECT_TRUE(replica_->OpenView(&view).ok());
    VisibleVersion version;
    const Status s = ReadVersion(view.txn(), view.DbFor(key), key, lsn, &version);
    if (s.ok() && value != nullptr) *value = version.value;
    return s.ok();
  }
  uint64_t Versions() {
    ReplicaStatistics statistics;
    EXPECT_TRUE(replica_->Statistics(&statistics).ok());
    return statistics.versions;
  }
  // So that an LSN of `now` is above every one used.
  void PassHorizon() { now_us_ = LsnToUnixUs(replica_->applied()) + 1'000'000; }

  TemporaryDirectory directory_;
  int64_t now_us_ = kLsnEpochUnixUs;  // LSN 0: the horizon stands at 0
  int64_t restart_hold_us_ = 0;
  uint64_t transaction_bytes_ = 64u << 20;
  uint64_t staging_bytes_ = 256u << 20;
  int64_t staging_us_ = 10'000'000;
  std::unique_ptr<Replica> replica_;
};

TEST_F(ReplicaTest, PutsDeletesAndReadsAsOf) {
  Open();
  FrameLog log;
  log.Append(RecordType::kEpochStart, "");
  const std::string key = RowKey(7, 1);
  const Lsn first = log.Put(key, "one     ");
  const Lsn second = log.Put(key, "two     ");
  const Lsn third = log.Delete(key);
  Apply(log.All());
  EXPECT_EQ(replica_->applied(), third);
  std::string value;
  EXPECT_FALSE(Visible(key, first - 1));
  ASSERT_TRUE(Visible(key, first, &value));
  EXPECT_EQ(value, "one     ");
  ASSERT_TRUE(Visible(key, second, &value));
  EXPECT_EQ(value, "two     ");
  EXPECT_FALSE(Visible(key, third));
  struct stat st;
  ASSERT_EQ(stat((Options().directory + "/data.mdb").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
  // It is written through a map, by backends too: a hole in it would be a SIGBUS on a full disk.
  ASSERT_EQ(stat((Options().directory + "/lock.mdb").c_str(), &st), 0);
  EXPECT_GE(st.st_blocks * 512, st.st_size);
}

TEST_F(ReplicaTest, AnOlderFormatIsRefused) {
  Open();
  ASSERT_TRUE(replica_->Close().ok());
  replica_.reset();
  {
    lmdb::Env env;
    lmdb::Txn txn;
    MDB_dbi meta;
    ASSERT_EQ(mdb_env_create(env.out()), 0);
    ASSERT_EQ(mdb_env_set_maxdbs(env.get(), kReplicaDatabases), 0);
    ASSERT_EQ(mdb_env_open(env.get(), Options().directory.c_str(), 0, 0600), 0);
    ASSERT_TRUE(txn.Begin(env.get(), 0).ok());
    ASSERT_EQ(mdb_dbi_open(txn.get(), kDbMeta, 0, &meta), 0);
    ASSERT_TRUE(WriteMeta(txn.get(), meta, kMetaFormat, kReplicaFormat - 1).ok());
    ASSERT_TRUE(txn.Commit().ok());
  }
  const Status s = Replica::Open(Options(), &replica_);
  EXPECT_EQ(s.code(), Code::kInvalid);
  const std::string says = "data.mdb has format " + std::to_string(kReplicaFormat - 1) + ", this program reads " +
                           std::to_string(kReplicaFormat);
  EXPECT_NE(s.message().find(says), std::string::npos) << s.message();
}

TEST_F(ReplicaTest, RefusesGapsDamageAndOldEpochs) {
  Open();
  FrameLog log;
  log.set_epoch(2);
  log.Put(RowKey(1, 1), "a");
  log.Put(RowKey(1, 2), "b");
  log.Put(RowKey(1, 3), "c");
  Apply(log.Frames(0, 1));
  EXPECT_EQ(replica_->Apply(log.Frames(2, 3)).code(), Code::kCorruption);
  std::string damaged(log.Frames(1, 2));
  damaged.back() ^= 1;
  EXPECT_EQ(replica_->Apply(damaged).code(), Code::kCorruption);
  EXPECT_EQ(replica_->applied(), 1u);
  Apply(log.Frames(0, 3));  // what is known already is skipped
  log.set_epoch(1);
  log.Put(RowKey(1, 4), "d");
  EXPECT_EQ(replica_->Apply(log.Frames(3, 4)).code(), Code::kCorruption);
  EXPECT_EQ(replica_->applied(), 3u);
  EXPECT_FALSE(Visible(RowKey(1, 4), 100));
}

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

TEST_F(ReplicaTest, LeaseHoldsTheHorizonUntilItEnds) {
  Open();
  FrameLog log;
  const std::string key = RowKey(1, 1);
  now_us_ = kLsnEpochUnixUs + 1'000'000;
  const auto next = [&] { return NextLsn(log.last(), now_us_ += 1000); };
  const Lsn first = log.Put(key, "1", next());
  ApplyNew(log, 0);
  EXPECT_LE(replica_->ReportReaders("qp", first, 10'000), first);
  for (int i = 0; i < 5; i++) {
    const size_t applied = log.size();
    log.Put(key, "later", next());
    ApplyNew(log, applied);
  }
  MaintainToEnd(replica_.get());
  std::string value;
  ASSERT_TRUE(Visible(key, first, &value));
  EXPECT_EQ(value, "1");
  now_us_ += 20'000;  // the lease ends
  MaintainToEnd(replica_.get());
  EXPECT_EQ(Versions(), 1u);
  EXPECT_GT(replica_->ReportReaders("qp", first, 10'000), first);  // too late: the reply says so
  ReplicaView view;
  ASSERT_TRUE(replica_->OpenView(&view).ok());
  EXPECT_EQ(view.horizon(), log.last());
}

// Leases are not kept over a restart, so nothing goes until query processors have had time to report again.
TEST_F(ReplicaTest, TheHorizonStandsStillForAMomentAfterARestart) {
  restart_hold_us_ = 5'000'000;
  Open();
  FrameLog log;
  const std::string key = RowKey(1, 1);
  const Lsn first = log.Put(key, "1");
  log.Put(key, "2");
  Apply(log.All());
  PassHorizon();
  MaintainToEnd(replica_.get());
  EXPECT_TRUE(Visible(key, first));
  Open();
  MaintainToEnd(replica_.get());
  EXPECT_TRUE(Visible(key, first));
  EXPECT_LE(replica_->ReportReaders("qp", first, 60'000'000), first);
  now_us_ += 6'000'000;
  MaintainToEnd(replica_.get());
  EXPECT_TRUE(Visible(key, first));
  replica_->ReportReaders("qp", kNoLsn, 0);
  MaintainToEnd(replica_.get());
  EXPECT_FALSE(Visible(key, first));
}

TEST_F(ReplicaTest, DropServesOlderReadsAndSurvivesRestart) {
  Open();
  FrameLog log;
  std::string mutations;
  for (uint64_t i = 0; i < 100; i++) AppendMutation(&mutations, MutationOp::kPut, RowKey(5, i), "12345678");
  for (uint64_t i = 0; i < 10; i++) AppendMutation(&mutations, MutationOp::kPut, RowKey(6, i), "12345678");
  const Lsn written = log.Commit(mutations, 110);
  mutations.clear();
  AppendMutation(&mutations, MutationOp::kDropStorage, StoragePrefix(Space::kRow, 5), "");
  log.Commit(mutations, 1);
  log.Put(RowKey(5, 1000), "late");  // belongs to what is being dropped
  Apply(log.All());
  EXPECT_TRUE(Visible(RowKey(5, 50), written));
  ReplicaStatistics statistics;
  ASSERT_TRUE(replica_->Statistics(&statistics).ok());
  EXPECT_EQ(statistics.storages_dropping, 1u);
  EXPECT_EQ(statistics.storages, 1u);
  EXPECT_EQ(statistics.dead_versions, statistics.versions - 10);
  PassHorizon();
  bool more;
  ASSERT_TRUE(replica_->Maintain(3, &more).ok());
  EXPECT_TRUE(more);
  ASSERT_TRUE(replica_->Statistics(&statistics).ok());
  EXPECT_GT(statistics.versions, 10u);  // a part of them only
  EXPECT_LT(statistics.versions, 110u);
  Open();
  MaintainToEnd(replica_.get(), 3);
  ASSERT_TRUE(replica_->Statistics(&statistics).ok());
  EXPECT_EQ(statistics.storages_dropping, 0u);
  EXPECT_EQ(statistics.versions, 10u);
  EXPECT_EQ(statistics.dead_versions, 0u);
}

TEST_F(ReplicaTest, FullMapIsAStatusAndLosesNothing) {
  ReplicaOptions options = Options();
  options.map_bytes = 1u << 20;
  ASSERT_TRUE(Replica::Open(options, &replica_).ok());
  FrameLog log;
  VersionModel model;
  const std::string value(1000, 'v');
  Status s;
  for (uint64_t i = 0; s.ok() && i < 5000; i++) {
    const Lsn lsn = log.Put(RowKey(1, i), value);
    model.Write(RowKey(1, i), lsn, value);
    s = replica_->Apply(log.Frames(i, i + 1));
  }
  EXPECT_EQ(s.code(), Code::kNoSpace) << s.ToString();
  EXPECT_EQ(replica_->applied(), log.last() - 1);
  EXPECT_EQ(replica_->Apply(log.Frames(log.size() - 1, log.size())).code(), Code::kNoSpace);
  ExpectSame(replica_.get(), model, replica_->applied());
  ExpectSameCounters(replica_.get(), model);
  Open();  // with a larger map
  Apply(log.Frames(log.size() - 1, log.size()));
  ExpectSame(replica_.get(), model, log.last());
  ExpectSameCounters(replica_.get(), model);
}

TEST_F(ReplicaTest, WaitersWakeWhenApplied) {
  Open();
  EXPECT_EQ(replica_->WaitApplied(1, 1000).code(), Code::kUnavailable);
  FrameLog log;
  log.Put(RowKey(1, 1), "x");
  std::thread waiter([&] { EXPECT_TRUE(replica_->WaitApplied(1, 10'000'000).ok()); });
  Apply(log.All());
  waiter.join();
  std::thread stopped([&] { EXPECT_EQ(replica_->WaitApplied(2, 60'000'000).code(), Code::kShutdown); });
  replica_->StopWaiting();
  stopped.join();
}

// Random histories against the model: commits over rows, entries and system keys, staged and immediate chunks, copies
// with explicit LSNs, drops, moving clocks and leases, restarts with frames replayed, small and large LMDB
// transactions.
class RandomHistory {
 public:
  explicit RandomHistory(uint64_t seed) : random_(seed) {}

  uint64_t Random(uint64_t below) { return random_() % below; }

  std::string RandomKey() {
    const auto body = static_cast<char>(Random(12));
    switch (Random(8)) {
      case 0: return SystemKey("rowid/" + std::string(1, body));
      case 1:
      case 2:
      case 3: return EntryKey(Living(100), std::string(1, body) + std::string(Random(2) == 0 ? 1 : 200, 'k') + '\0');
      default: return RowKey(Living(10), static_cast<uint64_t>(body));
    }
  }
  // One of a family of three storages; a dropped one is followed by a new id.
  StorageId Living(StorageId family) {
    StorageId& id = ids_[family + Random(3)];
    if (id == 0) id = next_id_++;
    return id;
  }
  std::string RandomValue() {
    if (Random(40) == 0) return std::string(8 * (500 + Random(1000)), 'L');
    return std::string(8 * (1 + Random(6)), static_cast<char>('a' + Random(26)));
  }

  // Mutations whose effect at `lsn` Settle tells the model, once they are committed.
  struct Pending {
    std::vector<std::string> mutations;
    std::vector<std::pair<std::string, std::string>> writes;
  };
  Pending RandomMutations(size_t count) {
    Pending pending;
    for (size_t i = 0; i < count; i++) {
      const std::string key = RandomKey();
      const std::string value = Random(4) == 0 ? "" : RandomValue();
      AppendPut(key, value, kNoLsn, &pending.mutations);
      pending.writes.emplace_back(key, value);
    }
    return pending;
  }
  // A put, whole or in parts, or a deletion.
  void AppendPut(const std::string& key, const std::string& value, Lsn explicit_lsn, std::vector<std::string>* to) {
    const bool whole = value.empty() || Random(3) != 0;
    if (whole)
      AppendMutation(&to->emplace_back(), value.empty() ? MutationOp::kDelete : MutationOp::kPut, key, value,
                     explicit_lsn);
    for (size_t at = 0; !whole && at < value.size();) {
      const size_t size = 1 + Random(value.size() - at);
      AppendPart(&to->emplace_back(), key, value, at, size, explicit_lsn);
      at += size;
    }
  }
  static std::string Join(const std::vector<std::string>& mutations, size_t from, size_t to) {
    std::string joined;
    for (size_t i = from; i < to; i++) joined += mutations[i];
    return joined;
  }
  void Settle(const Pending& pending, Lsn lsn) {
    for (const auto& [key, value] : pending.writes) {
      if (KeySpace(key) == Space::kSystem || !model.Dropped(KeyStorage(key), lsn)) model.Write(key, lsn, value);
    }
  }

  Lsn Next() { return NextLsn(log.last(), now_us += static_cast<int64_t>(Random(3000))); }

  void Commit() {
    const Pending pending = RandomMutations(1 + Random(8));
    const size_t count = pending.mutations.size();
    Settle(pending, log.Commit(Join(pending.mutations, 0, count), static_cast<uint32_t>(count), Next()));
  }
  void Stage() {
    Token token{};
    const uint64_t name = random_();
    memcpy(token.data(), &name, sizeof name);
    Staged staged{token, RandomMutations(Random(25)), 0, 0};
    // Cut anywhere, also inside of a value; the rest comes with the commit.
    for (uint64_t chunks = 1 + Random(5); staged.chunks < chunks; staged.chunks++) {
      const size_t to = staged.sent + Random(staged.pending.mutations.size() - staged.sent + 1);
      const std::string mutations = Join(staged.pending.mutations, staged.sent, to);
      const uint8_t flags = CutBehind(mutations) ? kChunkUnfinished : 0;
      log.Append(RecordType::kChunk, EncodeChunk(token, staged.chunks, flags, mutations), Next());
      staged.sent = to;
    }
    staged_.push_back(std::move(staged));
  }
  void SettleStaged() {
    if (staged_.empty()) return;
    const Staged staged = staged_.back();
    staged_.pop_back();
    if (Random(3) == 0) {
      log.Append(RecordType::kAbandon,
                 std::string_view(reinterpret_cast<const char*>(staged.token.data()), staged.token.size()), Next());
      return;
    }
    const size_t count = staged.pending.mutations.size();
    Settle(staged.pending, log.Commit(Join(staged.pending.mutations, staged.sent, count),
                                      static_cast<uint32_t>(count - staged.sent), Next(), staged.token, staged.chunks));
  }
  void Drop() {
    const StorageId family = Random(2) == 0 ? 10 : 100;
    StorageId& id = ids_[family + Random(3)];
    if (id == 0) return;
    while (!staged_.empty()) SettleStaged();  // locks and catalog checks keep a drop from overtaking a writer
    std::string mutations;
    AppendMutation(&mutations, MutationOp::kDropStorage,
                   StoragePrefix(family == 10 || Random(2) == 0 ? Space::kRow : Space::kEntry, id), "");
    model.Drop(id, log.Commit(mutations, 1, Next()));
    id = 0;
  }
  // Copies the versions of a storage not below `horizon` into a new one, newest first and in pieces, as a rewrite does.
  // `step` applies and maintains between the pieces.
  template <typename Step>
  void Copy(Lsn horizon, Step step) {
    const StorageId from = Living(10), to = next_id_++;
    std::map<std::string, VersionModel::Versions> copied;
    for (const auto& [key, versions] : model.keys()) {
      if (KeyPrefix(key) != Prefix(Space::kRow, from)) continue;
      auto oldest = versions.upper_bound(horizon);
      if (oldest != versions.begin()) --oldest;
      for (auto it = versions.end(); it != oldest;) {
        --it;
        const std::string target = RowKey(to, LoadBe64(key.data() + kPrefixSize));
        std::vector<std::string> piece;
        AppendPut(target, it->second, it->first, &piece);
        log.Append(RecordType::kChunk, EncodeChunk({}, 0, kChunkImmediate, Join(piece, 0, piece.size())), Next());
        copied[target][it->first] = it->second;
        if (Random(2) == 0) step();
      }
    }
    for (const auto& [key, versions] : copied) {
      for (const auto& [lsn, value] : versions) model.Write(key, lsn, value);
    }
  }

  FrameLog log;
  VersionModel model;
  int64_t now_us = kLsnEpochUnixUs + 1'000'000'000;

 private:
  struct Staged {
    Token token;
    Pending pending;
    size_t sent;  // of its mutations
    uint32_t chunks;
  };
  std::mt19937_64 random_;
  std::map<StorageId, StorageId> ids_;
  StorageId next_id_ = 1;
  std::vector<Staged> staged_;
};

class ReplicaRandomTest : public ReplicaTest, public testing::WithParamInterface<int> {};

TEST_P(ReplicaRandomTest, AgreesWithTheModel) {
  const uint64_t seed = GetParam() == 0 ? std::random_device()() : static_cast<uint64_t>(GetParam());
  SCOPED_TRACE("seed " + std::to_string(seed));
  RandomHistory history(seed);
  transaction_bytes_ = history.Random(2) == 0 ? 300 : 64u << 20;
  staging_bytes_ = history.Random(2) == 0 ? 1000 : 64u << 20;
  staging_us_ = history.Random(2) == 0 ? 5000 : 10'000'000;
  now_us_ = history.now_us;
  Open();
  size_t applied = 0;
  Lsn lease = kNoLsn;
  const auto catch_up = [&] {
    now_us_ = history.now_us;
    // After a start some of it is needed again.
    while (applied > 0 && history.log.lsn(applied - 1) > replica_->resume_from()) applied--;
    while (applied < history.log.size()) {
      const size_t to = std::min<size_t>(history.log.size(), applied + 1 + history.Random(6));
      Apply(history.log.Frames(applied - std::min<size_t>(applied, history.Random(3)), to));
      applied = to;
    }
  };
  const auto maintain = [&] {
    now_us_ = history.now_us;
    bool more;
    const Status s = replica_->Maintain(1 + history.Random(40), &more);
    ASSERT_TRUE(s.ok()) << s.ToString();
  };
  for (int step = 0; step < 400 && !HasFatalFailure(); step++) {
    switch (history.Random(16)) {
      case 0: history.Stage(); break;
      case 1: history.SettleStaged(); break;
      case 2:
        if (history.Random(4) == 0) history.Drop();
        break;
      case 3: {
        catch_up();
        if (history.Random(4) != 0) break;
        if (history.Random(2) == 0) {  // so that a sweep is under way
          Open();
          if (lease != kNoLsn) replica_->ReportReaders("qp", lease, 1'000'000'000);
        }
        // The copying transaction reads at `read`, which its query processor reports.
        const Lsn read = replica_->applied();
        const Lsn horizon = replica_->ReportReaders("copy", read, 1'000'000'000);
        history.Copy(std::min(horizon, read), [&] {
          catch_up();
          maintain();
        });
        catch_up();
        replica_->ReportReaders("copy", kNoLsn, 0);
        break;
      }
      case 4: {
        lease = history.Random(3) == 0 ? kNoLsn : replica_->applied();
        const Lsn horizon = replica_->ReportReaders("qp", lease, 1'000'000'000);
        ASSERT_TRUE(lease == kNoLsn || horizon <= lease);
        break;
      }
      case 5:
      case 6: maintain(); break;
      case 7: ASSERT_TRUE(replica_->CheckpointIfDue(true).ok()); break;
      case 8: {
        if (history.Random(3) != 0) break;
        if (history.Random(2) == 0) {
          ASSERT_TRUE(replica_->Close().ok());
        }
        Open();
        if (lease != kNoLsn) replica_->ReportReaders("qp", lease, 1'000'000'000);
        if (history.Random(2) == 0) Apply(history.log.Frames(0, applied));  // all of it known
        break;
      }
      default: history.Commit(); break;
    }
    if (history.Random(3) == 0) catch_up();
    if (step % 20 != 19) continue;
    catch_up();
    ExpectSameCounters(replica_.get(), history.model);
    ReplicaView view;
    ASSERT_TRUE(replica_->OpenView(&view).ok());
    const Lsn horizon = view.horizon();
    ASSERT_LE(horizon, replica_->applied());
    ASSERT_TRUE(lease == kNoLsn || horizon <= lease);
    view = ReplicaView();
    for (size_t i = applied; i-- > 0 && history.log.lsn(i) >= horizon && applied - i < 60;)
      ExpectSame(replica_.get(), history.model, history.log.lsn(i));
    ExpectSame(replica_.get(), history.model, std::max(horizon, Lsn{1}));
    // Ranges that begin and end anywhere, with the transaction renewed on the way.
    for (int i = 0; i < 10; i++) {
      std::string lower = history.RandomKey(), upper = history.RandomKey();
      if (KeySpace(lower) == Space::kSystem || history.model.Dropped(KeyStorage(lower), replica_->applied())) continue;
      if (history.Random(3) == 0) lower.pop_back();
      if (history.Random(3) == 0) upper += '\0';
      if (KeyPrefix(upper) != KeyPrefix(lower)) AppendBe64(&(upper = ""), KeyPrefix(lower) + 1);
      const bool reverse = history.Random(2) == 0;
      ASSERT_EQ(ScanReplica(replica_.get(), lower, upper, replica_->applied(), reverse, 1 + history.Random(3)),
                history.model.Scan(lower, upper, replica_->applied(), reverse));
    }
  }
  // With no reader left, only what is live remains.
  catch_up();
  replica_->ReportReaders("qp", kNoLsn, 0);
  PassHorizon();
  MaintainToEnd(replica_.get());
  ExpectSame(replica_.get(), history.model, replica_->applied());
  ExpectSameCounters(replica_.get(), history.model);
  uint64_t live = 0;
  for (const uint64_t prefix : history.model.Prefixes())
    live += history.model.Counters(prefix, replica_->applied()).rows;
  EXPECT_EQ(Versions(), live);
}

INSTANTIATE_TEST_SUITE_P(Seeds, ReplicaRandomTest, testing::Range(0, 12));

}  // namespace
}  // namespace concord
