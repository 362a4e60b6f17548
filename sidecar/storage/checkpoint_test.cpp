// Crashes of the operating system, simulated: the data file keeps, page by page and at random, what it held at the
// checkpoint, what was written since, or a torn mixture; and another boot id.
#include "sidecar/storage/checkpoint.h"

#include <sys/wait.h>
#include <unistd.h>

#include "sidecar/storage/replica_model.h"
#include "sidecar/testing/files.h"

namespace concord {
namespace {

constexpr size_t kPage = 4096;

class CheckpointTest : public testing::TestWithParam<int> {
 protected:
  Status Open(const std::string& boot_id) {
    replica_.reset();
    ReplicaOptions options;
    options.directory = path_;
    options.map_bytes = uint64_t{1} << 30;
    options.max_readers = 126;
    options.retention_us = 0;
    options.restart_hold_us = 0;
    options.deleted_interval_us = options.superseded_interval_us = 0;
    options.boot_id = boot_id;
    options.unix_us = [this] { return now_us_; };
    options.steady_us = [this] { return now_us_; };
    return Replica::Open(options, &replica_);
  }
  void RandomCommits(size_t count) {
    for (size_t i = 0; i < count; i++) {
      std::string mutations;
      const Lsn lsn = NextLsn(log_.last(), now_us_ += 100);
      uint32_t n = 1 + static_cast<uint32_t>(random_() % 5);
      for (uint32_t m = 0; m < n; m++) {
        const std::string key = RowKey(1 + static_cast<StorageId>(random_() % 2), random_() % 800);
        const std::string value = random_() % 4 == 0 ? "" : std::string(8 * (1 + random_() % 60), 'v') + key;
        AppendMutation(&mutations, value.empty() ? MutationOp::kDelete : MutationOp::kPut, key, value);
        model_.Write(key, lsn, value);
      }
      log_.Commit(mutations, n, lsn);
    }
  }
  // Applies the frames from `from` on, in small LMDB transactions with maintenance between them.
  void ApplyFrom(size_t from) {
    while (from < log_.size()) {
      const size_t to = std::min<size_t>(log_.size(), from + 1 + random_() % 8);
      Status s = replica_->Apply(log_.Frames(from, to));
      ASSERT_TRUE(s.ok()) << s.ToString();
      bool more;
      s = replica_->Maintain(20, &more);
      ASSERT_TRUE(s.ok()) << s.ToString();
      from = to;
    }
  }
  // The file after the crash, given what was on disk for certain and what the page cache held.
  std::string Crash(const std::string& synced, const std::string& cached) {
    std::string disk = cached;
    for (size_t at = 0; at < disk.size(); at += kPage) {
      const std::string old = at < synced.size() ? synced.substr(at, kPage) : std::string(kPage, '\0');
      switch (random_() % 4) {
        case 0: break;
        case 1: disk.replace(at, kPage / 2, old, 0, kPage / 2); break;
        default: disk.replace(at, kPage, old); break;
      }
    }
    if (random_() % 2 == 0 && disk.size() > synced.size())
      disk.resize(synced.size() + random_() % (disk.size() - synced.size()));
    return disk;
  }
  // In a directory of its own, where the machine would have come up again.
  void ExpectRestores(Lsn checkpoint, const std::string& meta, const std::string& data) {
    const std::string there = directory_.path() + "/crashed";
    std::filesystem::remove_all(there);
    std::filesystem::create_directories(there);
    WriteFile(there + "/meta.saved", meta);
    WriteFile(there + "/data.mdb", data);
    SavedMeta saved;  // to it, this is the file that crashed
    ASSERT_TRUE(LoadMeta(there, &saved).ok());
    ASSERT_TRUE(ReadIdentity(there + "/data.mdb", &saved.data).ok());
    ASSERT_TRUE(SaveMeta(there, saved).ok());
    ReplicaOptions options;
    options.directory = there;
    options.map_bytes = uint64_t{1} << 30;
    options.boot_id = "after the crash";
    std::unique_ptr<Replica> crashed;
    const Status s = Replica::Open(options, &crashed);
    ASSERT_TRUE(s.ok()) << s.ToString();
    ASSERT_EQ(crashed->applied(), checkpoint);
    ExpectSame(crashed.get(), model_, checkpoint);
  }
  size_t IndexAfter(Lsn lsn) const {
    size_t i = 0;
    while (i < log_.size() && log_.lsn(i) <= lsn) i++;
    return i;
  }

  TemporaryDirectory directory_;
  std::string path_ = directory_.path() + "/replica";
  std::mt19937_64 random_;
  int64_t now_us_ = kLsnEpochUnixUs + 1'000'000;
  FrameLog log_;
  VersionModel model_;
  std::unique_ptr<Replica> replica_;
};

TEST_P(CheckpointTest, ComesBackAfterAnOperatingSystemCrash) {
  const uint64_t seed = GetParam() == 0 ? std::random_device()() : static_cast<uint64_t>(GetParam());
  SCOPED_TRACE("seed " + std::to_string(seed));
  random_.seed(seed);
  ASSERT_TRUE(Open("boot 0").ok());
  std::string synced = ReadFile(path_ + "/data.mdb");
  for (int crash = 1; crash <= 3; crash++) {
    RandomCommits(300);
    ApplyFrom(IndexAfter(replica_->applied()));
    ASSERT_TRUE(replica_->FinishCheckpoint().ok());
    const Lsn previous = replica_->checkpoint();
    const std::string previous_synced = std::exchange(synced, ReadFile(path_ + "/data.mdb"));
    const std::string previous_meta = ReadFile(path_ + "/meta.saved");
    const Lsn checkpoint = replica_->applied();
    ASSERT_TRUE(replica_->CheckpointIfDue(/*force=*/true).ok());
    // The sync runs beside what is applied next: certain on disk is what was there when it began. As long as it is
    // under way, the checkpoint before it must hold.
    for (int i = 0; i < 20; i++) {
      RandomCommits(8);
      ApplyFrom(IndexAfter(replica_->applied()));
      const std::string cached = ReadFile(path_ + "/data.mdb");
      if (replica_->checkpoint() != previous) break;
      if (i % 10 == 0) ExpectRestores(previous, previous_meta, Crash(previous_synced, cached));
    }
    ASSERT_TRUE(replica_->FinishCheckpoint().ok());
    ASSERT_EQ(replica_->checkpoint(), checkpoint);
    RandomCommits(random_() % 200);
    ApplyFrom(IndexAfter(replica_->applied()));

    const std::string cached = ReadFile(path_ + "/data.mdb");
    replica_.reset();
    WriteFile(path_ + "/data.mdb", Crash(synced, cached));
    Status s = Open("boot " + std::to_string(crash));
    ASSERT_TRUE(s.ok()) << s.ToString();
    ASSERT_EQ(replica_->applied(), checkpoint);
    synced = ReadFile(path_ + "/data.mdb");  // opening took a checkpoint
    ExpectSame(replica_.get(), model_, checkpoint);
    ExpectSameCounters(replica_.get(), model_);
    ApplyFrom(random_() % 2 == 0 ? 0 : IndexAfter(checkpoint));
    ASSERT_EQ(replica_->applied(), log_.last());
    ExpectSame(replica_.get(), model_, log_.last());
    ExpectSameCounters(replica_.get(), model_);
    if (HasFatalFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, CheckpointTest, testing::Range(0, 8));

using CheckpointFilesTest = CheckpointTest;

TEST_F(CheckpointFilesTest, SameBootNeedsNoRestore) {
  ASSERT_TRUE(Open("boot").ok());
  RandomCommits(50);
  ApplyFrom(0);
  ASSERT_LT(replica_->checkpoint(), log_.last());
  ASSERT_TRUE(Open("boot").ok());  // without Close: the process died
  EXPECT_EQ(replica_->applied(), log_.last());
  EXPECT_EQ(replica_->checkpoint(), log_.last());  // before anything is written
  ExpectSame(replica_.get(), model_, log_.last());
}

TEST_F(CheckpointFilesTest, CleanStopNeedsNoRestore) {
  ASSERT_TRUE(Open("boot").ok());
  RandomCommits(50);
  ApplyFrom(0);
  ASSERT_TRUE(replica_->Close().ok());
  EXPECT_EQ(replica_->Apply(log_.All()).code(), Code::kShutdown);
  ASSERT_TRUE(Open("other boot").ok());
  EXPECT_EQ(replica_->applied(), log_.last());
  // The mark is gone: a crash now goes back to the checkpoint that the opening took.
  const Lsn checkpoint = log_.last();
  const size_t applied = log_.size();
  RandomCommits(5);
  ApplyFrom(applied);
  ReplicaPageMapping page, page_then;
  ASSERT_TRUE(page.Open(path_).ok());
  ASSERT_TRUE(Open("third boot").ok());
  EXPECT_EQ(replica_->applied(), checkpoint);
  // What the page of the lost state says is not to be found any more.
  ASSERT_TRUE(page_then.Open(path_).ok());
  EXPECT_EQ(page.applied(), log_.last());
  EXPECT_EQ(page_then.applied(), checkpoint);
}

TEST_F(CheckpointFilesTest, FailedSyncRestoresWithinTheSameBoot) {
  ASSERT_TRUE(Open("boot").ok());
  RandomCommits(50);
  ApplyFrom(0);
  ASSERT_TRUE(CreateMark(path_, kRestoreFile).ok());
  ASSERT_TRUE(Open("boot").ok());
  EXPECT_EQ(replica_->applied(), kNoLsn);
  ASSERT_TRUE(Open("boot").ok());
  ApplyFrom(0);
  EXPECT_EQ(replica_->applied(), log_.last());
}

// Another process that reads the map would find itself in a mixture of states.
TEST_F(CheckpointFilesTest, NothingIsTakenBackUnderAReader) {
  ASSERT_TRUE(Open("boot").ok());
  RandomCommits(50);
  ApplyFrom(0);
  replica_.reset();
  int opened[2], leave[2];
  ASSERT_EQ(pipe(opened), 0);
  ASSERT_EQ(pipe(leave), 0);
  const pid_t reader = fork();
  if (reader == 0) {
    close(leave[1]);
    MDB_env* env;
    char byte = 'o';
    const bool ok = mdb_env_create(&env) == 0 && mdb_env_set_mapsize(env, uint64_t{1} << 30) == 0 &&
                    mdb_env_open(env, path_.c_str(), MDB_RDONLY | MDB_NOTLS, 0600) == 0;
    if (!ok || write(opened[1], &byte, 1) != 1) _exit(1);
    _exit(read(leave[0], &byte, 1) == 0 ? 0 : 1);
  }
  close(opened[1]);
  char byte;
  ASSERT_EQ(read(opened[0], &byte, 1), 1);
  const Status refused = Open("another boot");
  EXPECT_EQ(refused.code(), Code::kUnavailable) << refused.ToString();
  close(leave[1]);
  int status;
  ASSERT_EQ(waitpid(reader, &status, 0), reader);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(Open("another boot").ok());
  for (const int fd : {opened[0], leave[0]}) close(fd);
}

TEST_F(CheckpointFilesTest, RefusesDamagedOrMissingFiles) {
  ASSERT_TRUE(Open("boot").ok());
  ASSERT_TRUE(replica_->Close().ok());
  replica_.reset();
  const std::string saved = ReadFile(path_ + "/meta.saved");
  std::string damaged = saved;
  damaged[100] ^= 1;
  WriteFile(path_ + "/meta.saved", damaged);
  const Status refused = Open("boot");
  EXPECT_EQ(refused.code(), Code::kCorruption);
  EXPECT_NE(refused.message().find("meta.saved"), std::string::npos) << refused.message();
  WriteFile(path_ + "/meta.saved", saved);
  EXPECT_TRUE(Open("boot").ok());
  replica_.reset();
  std::filesystem::remove(path_ + "/data.mdb");
  EXPECT_EQ(Open("boot").code(), Code::kCorruption);
}

TEST_F(CheckpointFilesTest, OnlyACopyOfAStoppedServerIsTrusted) {
  ASSERT_TRUE(Open("boot").ok());
  RandomCommits(50);
  ApplyFrom(0);
  const std::string original = path_;
  const auto open_copy = [&](const std::string& name, const std::string& boot_id) {
    path_ = directory_.path() + "/" + name;
    if (!std::filesystem::exists(path_)) std::filesystem::copy(original, path_);
    const Status s = Open(boot_id);
    path_ = original;
    return s;
  };
  // Of a running one: refused, on the same boot and on another one, and left as it is.
  const Status refused = open_copy("live", "boot");
  EXPECT_EQ(refused.code(), Code::kInvalid);
  EXPECT_NE(refused.message().find("copy"), std::string::npos) << refused.message();
  EXPECT_EQ(open_copy("live", "other boot").code(), Code::kInvalid);
  // Somebody who knows that nobody wrote says so; it goes back to the checkpoint.
  ASSERT_TRUE(CreateMark(directory_.path() + "/live", kRestoreFile).ok());
  ASSERT_TRUE(open_copy("live", "boot").ok());
  EXPECT_EQ(replica_->applied(), kNoLsn);
  // Of a stopped one: as good as the original.
  ASSERT_TRUE(Open("boot").ok());
  EXPECT_EQ(replica_->applied(), log_.last());
  ASSERT_TRUE(replica_->Close().ok());
  replica_.reset();
  ASSERT_TRUE(open_copy("stopped", "other boot").ok());
  EXPECT_EQ(replica_->applied(), log_.last());
  replica_.reset();
  ASSERT_TRUE(open_copy("stopped", "other boot").ok()) << "it is an original now";
  EXPECT_EQ(replica_->applied(), log_.last());
}

TEST_F(CheckpointFilesTest, AnotherDeviceNumberIsLikeAnotherBoot) {
  ASSERT_TRUE(Open("boot").ok());
  RandomCommits(50);
  ApplyFrom(0);
  replica_.reset();
  SavedMeta saved;
  ASSERT_TRUE(LoadMeta(path_, &saved).ok());
  saved.data.device++;
  ASSERT_TRUE(SaveMeta(path_, saved).ok());
  ASSERT_TRUE(Open("boot").ok());
  EXPECT_EQ(replica_->applied(), kNoLsn);
}

TEST_F(CheckpointFilesTest, HalfMadeEnvironmentIsMadeAnew) {
  std::filesystem::create_directories(path_);
  WriteFile(path_ + "/creating", "");
  WriteFile(path_ + "/data.mdb", "garbage");
  Status s = Open("boot");
  ASSERT_TRUE(s.ok()) << s.ToString();
  EXPECT_EQ(replica_->applied(), kNoLsn);
  EXPECT_FALSE(std::filesystem::exists(path_ + "/creating"));
}

}  // namespace
}  // namespace concord
