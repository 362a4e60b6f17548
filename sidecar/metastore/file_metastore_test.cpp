#include "sidecar/metastore/file_metastore.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "sidecar/metastore/atomic_file.h"

namespace concord {
namespace {

class FileMetastoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "concord-metastore-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    path_ = directory_ / "metastore";
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  // As who has read the newest epoch.
  static Status Acquire(FileMetastore* store, uint64_t above, uint64_t* epoch) {
    Leader newest;
    const Status status = store->ReadLeader(&newest);
    return status.ok() ? store->AcquireLeadership({}, newest.epoch, above, epoch) : status;
  }

  std::filesystem::path directory_;
  std::string path_;
};

TEST_F(FileMetastoreTest, EpochsGrowOverRestarts) {
  uint64_t last = 0;
  for (int process = 0; process < 3; process++) {
    FileMetastore store(path_);
    ASSERT_TRUE(store.Open().ok());
    for (int i = 0; i < 3; i++) {
      uint64_t epoch = 0;
      ASSERT_TRUE(Acquire(&store, 0, &epoch).ok());
      EXPECT_GT(epoch, last);
      last = epoch;
    }
  }
  EXPECT_EQ(last, 9u);
}

TEST_F(FileMetastoreTest, GoesAboveWhatTheJournalKnows) {
  FileMetastore store(path_);
  ASSERT_TRUE(store.Open().ok());
  uint64_t epoch = 0;
  ASSERT_TRUE(Acquire(&store, 41, &epoch).ok());
  EXPECT_EQ(epoch, 42u);
  ASSERT_TRUE(Acquire(&store, 3, &epoch).ok());
  EXPECT_EQ(epoch, 43u);
}

TEST_F(FileMetastoreTest, WhoHasNotSeenTheNewestEpochGetsNone) {
  FileMetastore store(path_);
  EXPECT_EQ(store.ReadLeader(nullptr).code(), Code::kUnavailable);
  ASSERT_TRUE(store.Open().ok());
  Leader leader;
  ASSERT_TRUE(store.ReadLeader(&leader).ok());
  EXPECT_EQ(leader.epoch, 0u);
  uint64_t epoch = 0;
  ASSERT_TRUE(store.AcquireLeadership({}, 0, 0, &epoch).ok());
  EXPECT_EQ(store.AcquireLeadership({}, 0, 0, &epoch).code(), Code::kConflict);
  EXPECT_EQ(store.AcquireLeadership({}, 2, 0, &epoch).code(), Code::kConflict);
  EXPECT_EQ(epoch, 1u);
  ASSERT_TRUE(store.ReadLeader(&leader).ok());
  EXPECT_EQ(leader.epoch, 1u);
}

TEST_F(FileMetastoreTest, HasNoMembership) {
  FileMetastore store(path_);
  ASSERT_TRUE(store.Open().ok());
  Membership membership;
  EXPECT_EQ(store.ReadMembership(&membership).code(), Code::kNotFound);
  EXPECT_EQ(store.WriteMembership({1, {{"n", "unix:/n"}}, 1}, 0).code(), Code::kInvalid);
}

TEST_F(FileMetastoreTest, EveryChangedByteIsRefused) {
  {
    FileMetastore store(path_);
    ASSERT_TRUE(store.Open().ok());
    uint64_t epoch = 0;
    ASSERT_TRUE(Acquire(&store, 1234, &epoch).ok());
  }
  std::string good;
  ASSERT_TRUE(ReadSmallFile(path_, &good).ok());
  for (size_t i = 0; i < good.size(); i++) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 1);
    ASSERT_TRUE(ReplaceFile(path_, bad).ok());
    FileMetastore store(path_);
    EXPECT_EQ(store.Open().code(), Code::kCorruption) << "byte " << i;
    uint64_t epoch = 0;
    EXPECT_FALSE(Acquire(&store, 0, &epoch).ok());
  }
  for (size_t size = 0; size < good.size(); size++) {
    ASSERT_TRUE(ReplaceFile(path_, good.substr(0, size)).ok());
    FileMetastore store(path_);
    EXPECT_EQ(store.Open().code(), Code::kCorruption) << "cut to " << size;
  }
}

TEST_F(FileMetastoreTest, AFileIsReplacedByItsSpare) {
  const auto inode = [](const std::string& path) {
    struct stat info {};
    EXPECT_EQ(stat(path.c_str(), &info), 0) << path;
    return info.st_ino;
  };
  const auto content = [this] {
    std::string bytes;
    EXPECT_TRUE(ReadSmallFile(path_, &bytes).ok());
    return bytes;
  };
  ASSERT_TRUE(ReplaceFile(path_, "a long content").ok());
  const ino_t file = inode(path_), spare = inode(path_ + ".new");
  ASSERT_TRUE(ReplaceFile(path_, "short").ok());
  EXPECT_EQ(content(), "short");
  EXPECT_EQ(inode(path_), spare);
  EXPECT_EQ(inode(path_ + ".new"), file);
  ASSERT_TRUE(ReplaceFile(path_, "longer than that").ok());
  EXPECT_EQ(content(), "longer than that");
  EXPECT_EQ(inode(path_), file);
  std::filesystem::remove(path_ + ".new");
  ASSERT_TRUE(ReplaceFile(path_, "again").ok());
  EXPECT_EQ(content(), "again");
  EXPECT_EQ(inode(path_ + ".new"), file);
}

TEST_F(FileMetastoreTest, AnEpochWhoseWriteFailedIsNotReturnedLater) {
  FileMetastore store(path_);
  ASSERT_TRUE(store.Open().ok());
  uint64_t epoch = 0;
  ASSERT_TRUE(Acquire(&store, 0, &epoch).ok());
  // A directory in the way of the temporary file makes the write fail, for root too.
  std::filesystem::remove(path_ + ".new");
  std::filesystem::create_directory(path_ + ".new");
  EXPECT_EQ(Acquire(&store, 0, &epoch).code(), Code::kIoError);
  EXPECT_EQ(epoch, 1u);
  std::filesystem::remove(path_ + ".new");
  ASSERT_TRUE(Acquire(&store, 0, &epoch).ok());
  EXPECT_EQ(epoch, 3u);
}

}  // namespace
}  // namespace concord
