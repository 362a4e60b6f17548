// Checks of replicas that Replica itself has written: a sound one passes; one that was damaged is noticed, or does LMDB
// no harm.
#include "sidecar/storage/replica_check.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/test_rounds.h"
#include "sidecar/storage/replica_model.h"
#include "sidecar/storage/start_check.h"
#include "sidecar/testing/files.h"

namespace concord {
namespace {

constexpr size_t kPage = 4096;

// A heap tuple as extension/tableam/value.c leaves it.
std::string RowValue(size_t data_bytes) {
  std::string value(24 + data_bytes, 'v');
  memset(value.data(), 0, 24);
  value[0] = 2;    // FrozenTransactionId
  value[22] = 24;  // t_hoff
  return value;
}

std::string EntryValue(uint64_t rowid) {
  std::string value;
  AppendLe(&value, rowid);
  const uint64_t block = rowid / 291;
  AppendLe(&value, static_cast<uint16_t>(block >> 16));
  AppendLe(&value, static_cast<uint16_t>(block));
  AppendLe(&value, static_cast<uint16_t>(rowid % 291 + 1));
  AppendLe(&value, uint16_t{16});
  return value.append(8, 'k');
}

std::string Entry(StorageId storage, uint64_t number) {
  std::string body("\x02", 1);
  AppendBe64(&body, number);
  return EntryKey(storage, body);
}

class ReplicaCheckTest : public testing::Test {
 protected:
  // Table 1 with index 2, table 3 with rows on overflow pages; updates, deletions, and a counter of storage ids.
  void Fill(uint64_t rows) {
    std::unique_ptr<Replica> replica;
    ReplicaOptions options;
    options.directory = path_;
    options.map_bytes = uint64_t{1} << 30;
    options.retention_us = 0;
    options.restart_hold_us = 0;
    ASSERT_TRUE(Replica::Open(options, &replica).ok());
    std::string four;
    AppendLe(&four, uint64_t{4});
    log_.Put(SystemKey("storage"), four);
    for (uint64_t rowid = 0; rowid < rows; rowid++) {
      std::string mutations;
      AppendMutation(&mutations, MutationOp::kPut, RowKey(1, rowid), RowValue(8 * (rowid % 30)));
      AppendMutation(&mutations, MutationOp::kPut, Entry(2, rowid * 7), EntryValue(rowid));
      AppendMutation(&mutations, MutationOp::kPut, RowKey(3, rowid), RowValue(rowid % 10 == 0 ? 9000 : 16));
      log_.Commit(mutations, 3);
      if (rowid % 5 == 0) log_.Put(RowKey(1, rowid), RowValue(48));
      if (rowid % 11 == 10) {
        mutations.clear();
        AppendMutation(&mutations, MutationOp::kDelete, RowKey(1, rowid), "");
        AppendMutation(&mutations, MutationOp::kDelete, Entry(2, rowid * 7), "");
        log_.Commit(mutations, 2);
      }
    }
    Apply(replica.get());
    ASSERT_TRUE(replica->Close().ok());
  }
  void Apply(Replica* replica) {
    for (size_t from = 0; from < log_.size(); from += 50) {
      const Status s = replica->Apply(log_.Frames(from, std::min(from + 50, log_.size())));
      ASSERT_TRUE(s.ok()) << s.ToString();
      bool more;
      ASSERT_TRUE(replica->Maintain(100, &more).ok());
    }
  }
  // Writes more into the closed replica.
  void Add(const std::function<void()>& append) {
    const size_t from = log_.size();
    append();
    std::unique_ptr<Replica> replica;
    ReplicaOptions options;
    options.directory = path_;
    options.map_bytes = uint64_t{1} << 30;
    options.staging_bytes = 0;
    ASSERT_TRUE(Replica::Open(options, &replica).ok());
    ASSERT_TRUE(replica->Apply(log_.Frames(from, log_.size())).ok());
    bool more;
    ASSERT_TRUE(replica->Maintain(0, &more).ok());
    ASSERT_TRUE(replica->Close().ok());
  }
  ReplicaContents Check(const std::string& meta_pages = {}) {
    ReplicaContents contents;
    ReplicaCheckOptions options;
    options.meta_pages = meta_pages;
    EXPECT_TRUE(CheckReplica(data_, options, &contents).ok());
    return contents;
  }
  static std::string Joined(const ReplicaContents& contents) {
    std::string all;
    for (const std::string& problem : contents.problems) all += problem + "\n";
    return all;
  }
  // Reads everything with LMDB in a process of its own; false if that dies.
  bool LmdbSurvives(const std::string& directory) {
    const pid_t child = fork();
    if (child == 0) {
      signal(SIGSEGV, SIG_DFL);
      signal(SIGBUS, SIG_DFL);
      signal(SIGABRT, SIG_DFL);
      (void)!freopen("/dev/null", "w", stderr);
      ReadAllWithLmdb(directory);
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }

  TemporaryDirectory directory_;
  const std::string path_ = directory_.path();
  const std::string data_ = path_ + "/data.mdb";
  FrameLog log_;
};

TEST_F(ReplicaCheckTest, ASoundReplicaPasses) {
  Fill(3000);
  const ReplicaContents contents = Check();
  EXPECT_EQ(Joined(contents), "");
  EXPECT_EQ(contents.applied, log_.last());
  EXPECT_EQ(contents.rows, 3000u - 3000 / 11 + 3000);
  EXPECT_EQ(contents.entries, 3000u - 3000 / 11);
  EXPECT_EQ(contents.pages.lost_pages, 0u);
  EXPECT_GT(contents.pages.free_pages, 0u);
  EXPECT_EQ(contents.pages.used_pages + contents.pages.free_pages + 2, contents.pages.last_page + 1);
}

// Who stops the process does not wait for a look at all pages of a large file.
TEST_F(ReplicaCheckTest, TheCheckAtStartCanBeCancelled) {
  Fill(1500);
  int asked = 0;
  const Status start = CheckBeforeOpen(path_, UINT64_MAX, [&asked] { return ++asked == 10; });
  EXPECT_EQ(start.code(), Code::kShutdown) << start.ToString();
  EXPECT_EQ(asked, 10);
  EXPECT_TRUE(CheckBeforeOpen(path_, UINT64_MAX, [] { return false; }).ok());
}

TEST_F(ReplicaCheckTest, TheCheckpointsStateIsChecked) {
  Fill(500);
  const std::string pages = ReadFile(data_).substr(0, 2 * kPage);
  EXPECT_EQ(Joined(Check(pages)), "");
  EXPECT_EQ(Check(pages).applied, log_.last());
}

TEST_F(ReplicaCheckTest, NothingIsWritten) {
  Fill(300);
  const std::string before = ReadFile(data_);
  std::filesystem::remove(path_ + "/lock.mdb");
  (void)Check();
  EXPECT_EQ(ReadFile(data_), before);
  EXPECT_FALSE(std::filesystem::exists(path_ + "/lock.mdb"));
}

// Whatever would make LMDB die must be found, by concordctl and at a start that looks at all pages. Odd rounds aim at
// the first bytes of a page, where its structure is.
TEST_F(ReplicaCheckTest, AChangedByteIsNoticedOrHarmless) {
  Fill(1500);
  const std::string good = ReadFile(data_);
  const unsigned seed = std::random_device()();
  std::mt19937 random(seed);
  SCOPED_TRACE("seed " + std::to_string(seed));
  TemporaryDirectory copy;
  int noticed = 0, refused = 0;
  for (unsigned round = 0; round < Rounds(60); round++) {
    std::string bad = good;
    size_t at = random() % bad.size();
    if (round % 2 == 1) at = at / kPage * kPage + random() % 40;
    bad[at] = static_cast<char>(bad[at] ^ (1 << random() % 8));
    WriteFile(copy.path() + "/data.mdb", bad);
    ReplicaContents contents;
    ASSERT_TRUE(CheckReplica(copy.path() + "/data.mdb", {}, &contents).ok());
    const Status start = CheckBeforeOpen(copy.path(), UINT64_MAX);
    if (start.ok()) {
      EXPECT_TRUE(LmdbSurvives(copy.path())) << "start: byte " << at << " of page " << at / kPage;
    } else {
      refused++;
      EXPECT_TRUE(start.code() == Code::kCorruption || start.code() == Code::kInvalid) << start.ToString();
      EXPECT_NE(start.message().find("data.mdb"), std::string::npos) << start.ToString();
      EXPECT_FALSE(contents.problems.empty() && contents.unsupported.ok()) << start.ToString();
    }
    // The mark of a crash asks for the same, whatever the size.
    const std::string mark = copy.path() + "/" + kCheckFile;
    WriteFile(mark, "");
    EXPECT_EQ(CheckBeforeOpen(copy.path(), 0).code(), start.code());
    EXPECT_EQ(std::filesystem::exists(mark), !start.ok());
    if (!contents.problems.empty() || !contents.unsupported.ok()) {
      noticed++;
      for (const std::string& problem : contents.problems)
        EXPECT_NE(problem.find("data.mdb"), std::string::npos) << problem;
      continue;
    }
    EXPECT_TRUE(LmdbSurvives(copy.path())) << "byte " << at << " of page " << at / kPage;
  }
  EXPECT_GT(noticed, 0);
  EXPECT_GT(refused, 0);
}

// A start makes a file as long as it is said to be, so that must be true.
TEST_F(ReplicaCheckTest, AFileThatIsSaidToBeLongerIsNoticed) {
  Fill(300);
  const std::string good = ReadFile(data_);
  constexpr size_t kLastPage = 16 + 24 + 2 * 48;  // in a meta page
  for (const uint64_t more : {uint64_t{1}, uint64_t{1000}, uint64_t{1} << 40, uint64_t{1} << 60}) {
    std::string bad = good;
    for (size_t page = 0; page < 2; page++) {
      std::string number;
      AppendLe(&number, good.size() / kPage - 1 + more);
      bad.replace(page * kPage + kLastPage, number.size(), number);
    }
    WriteFile(data_, bad);
    EXPECT_NE(Joined(Check()).find("says that the last page is"), std::string::npos) << more << Joined(Check());
    const Status start = CheckBeforeOpen(path_, more >= uint64_t{1} << 40 ? 0 : UINT64_MAX);
    EXPECT_EQ(start.code(), Code::kCorruption) << more << start.ToString();
    EXPECT_EQ(std::filesystem::file_size(data_), good.size());
  }
}

TEST_F(ReplicaCheckTest, ACutFileIsNoticed) {
  Fill(1500);
  const std::string good = ReadFile(data_);
  const unsigned seed = std::random_device()();
  std::mt19937 random(seed);
  for (int round = 0; round < 20; round++) {
    WriteFile(data_, good.substr(0, random() % (good.size() - 4 * kPage)));
    const ReplicaContents contents = Check();
    EXPECT_FALSE(contents.problems.empty()) << "seed " << seed << ", cut to " << std::filesystem::file_size(data_);
  }
}

TEST_F(ReplicaCheckTest, GarbageIsNoticed) {
  Fill(300);
  for (const size_t size : {size_t{0}, size_t{100}, 2 * kPage, 50 * kPage}) {
    WriteFile(data_, std::string(size, '\x5a'));
    EXPECT_FALSE(Check().problems.empty()) << size;
  }
}

TEST_F(ReplicaCheckTest, RowsAndEntriesMustAgree) {
  Fill(200);
  Add([&] {
    log_.Delete(RowKey(1, 20));
    log_.Delete(RowKey(3, 20));
  });
  EXPECT_NE(Joined(Check()).find("index storage 2 has 182 entries that no table has all rows of"), std::string::npos)
      << Joined(Check());
}

TEST_F(ReplicaCheckTest, ARowHasOneEntry) {
  Fill(200);
  Add([&] { log_.Put(Entry(2, 1000000), EntryValue(7)); });
  EXPECT_NE(Joined(Check()).find("index storage 2 has two entries of row 7"), std::string::npos) << Joined(Check());
}

TEST_F(ReplicaCheckTest, ValuesMustBeWellFormed) {
  Fill(20);
  Add([&] { log_.Put(RowKey(1, 3), std::string(40, 'x')); });
  EXPECT_NE(Joined(Check()).find("transaction ids are not those of a stored row"), std::string::npos);
  Add([&] { log_.Put(Entry(2, 14), EntryValue(2) + "more"); });
  EXPECT_NE(Joined(Check()).find("its size is not that of its tuple"), std::string::npos);
}

TEST_F(ReplicaCheckTest, StagedChunksAreReadInWhole) {
  Fill(20);
  Token token{};
  token[3] = 7;
  std::string mutations;
  AppendMutation(&mutations, MutationOp::kPut, RowKey(1, 900), RowValue(3000));
  AppendMutation(&mutations, MutationOp::kPut, RowKey(1, 901), RowValue(16));
  Add([&] {
    for (uint32_t sequence = 0; sequence < 3; sequence++)
      log_.Append(RecordType::kChunk, EncodeChunk(token, sequence, 0, mutations));
  });
  EXPECT_EQ(Joined(Check()), "");
  EXPECT_EQ(Check().staged, 3u);
}

TEST_F(ReplicaCheckTest, SystemKeysMustBeKnown) {
  Fill(20);
  Add([&] { log_.Put(SystemKey(std::string("owner/\0\0\0\1", 10)), std::string(16, 'x')); });
  EXPECT_EQ(Joined(Check()), "");
  Add([&] { log_.Put(SystemKey("storage"), "x"); });
  EXPECT_NE(Joined(Check()).find("has another size"), std::string::npos);
  Add([&] { log_.Put(SystemKey("what"), std::string(8, 'x')); });
  EXPECT_NE(Joined(Check()).find("unknown name"), std::string::npos);
}

TEST_F(ReplicaCheckTest, StoragesMustHaveBeenGivenOut) {
  Fill(20);
  Add([&] { log_.Put(RowKey(9, 3), RowValue(8)); });
  EXPECT_NE(Joined(Check()).find("storage 9 was never given out"), std::string::npos);
}

// Behind the replica's back, through LMDB: counters and versions that no record explains.
TEST_F(ReplicaCheckTest, CountersAndVersionsMustHold) {
  Fill(50);
  const pid_t child = fork();
  if (child == 0) {
    MDB_env* env;
    MDB_txn* txn;
    MDB_dbi rows;
    std::string key = RowKey(1, 5);
    AppendVersion(&key, log_.last() + 100);
    std::string value = RowValue(8);
    MDB_val k = lmdb::Val(key), v = lmdb::Val(value);
    const bool done = mdb_env_create(&env) == 0 && mdb_env_set_mapsize(env, size_t{1} << 30) == 0 &&
                      mdb_env_set_maxdbs(env, 4) == 0 && mdb_env_open(env, path_.c_str(), 0, 0600) == 0 &&
                      mdb_txn_begin(env, nullptr, 0, &txn) == 0 && mdb_dbi_open(txn, "rows", 0, &rows) == 0 &&
                      mdb_put(txn, rows, &k, &v, 0) == 0 && mdb_txn_commit(txn) == 0;
    _exit(done ? 0 : 1);
  }
  int status = 1;
  waitpid(child, &status, 0);
  ASSERT_EQ(status, 0);
  const std::string problems = Joined(Check());
  EXPECT_NE(problems.find("a version above the applied LSN"), std::string::npos) << problems;
}

}  // namespace
}  // namespace concord
