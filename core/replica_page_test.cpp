#include "core/replica_page.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "core/test_directory.h"

namespace concord {
namespace {

class ReplicaPageTest : public DirectoryTest {
 protected:
  std::string file() const { return directory_ + "/" + kReplicaPageFile; }
  ino_t inode() const {
    struct stat info {};
    return stat(file().c_str(), &info) == 0 ? info.st_ino : 0;
  }
};

TEST_F(ReplicaPageTest, TellsReadersWhatATransactionHolds) {
  ReplicaPageMapping writer, reader;
  ASSERT_TRUE(writer.Create(directory_).ok());
  writer.Prepare(7, 100, 50);
  writer.Publish(100, 100);
  ASSERT_TRUE(reader.Open(directory_).ok());
  Lsn applied, horizon;
  ASSERT_TRUE(reader.Find(7, &applied, &horizon));
  EXPECT_EQ(applied, 100u);
  EXPECT_EQ(horizon, 50u);
  EXPECT_EQ(reader.applied(), 100u);
  EXPECT_EQ(reader.readable(), 100u);
  EXPECT_FALSE(reader.Find(8, &applied, &horizon));
  // Not committed yet: who reads at 7 is not disturbed, and nobody takes 8 for applied.
  writer.Prepare(8, 110, 60);
  EXPECT_TRUE(reader.Find(7, &applied, &horizon));
  EXPECT_EQ(reader.applied(), 100u);
  writer.Prepare(7 + ReplicaPage::kStates, 900, 800);
  EXPECT_FALSE(reader.Find(7, &applied, &horizon));
}

TEST_F(ReplicaPageTest, IsNotThereBeforeItIsWritten) {
  ReplicaPageMapping reader;
  EXPECT_EQ(reader.Open(directory_).code(), Code::kNotFound);
  std::ofstream(file()).close();
  EXPECT_EQ(reader.Open(directory_).code(), Code::kNotFound);
  std::filesystem::resize_file(file(), kReplicaPageSize);
  EXPECT_EQ(reader.Open(directory_).code(), Code::kNotFound);
  EXPECT_FALSE(reader);
  ReplicaPageMapping writer;
  ASSERT_TRUE(writer.Create(directory_).ok());
  writer.Publish(1, 1);
  EXPECT_TRUE(reader.Open(directory_).ok());
}

// A writer that died may have prepared a transaction that never was; the next one commits another of that number.
TEST_F(ReplicaPageTest, ANewWriterForgetsAndKeepsTheReaders) {
  ReplicaPageMapping first, reader;
  ASSERT_TRUE(first.Create(directory_).ok());
  first.Publish(100, 100);
  ASSERT_TRUE(reader.Open(directory_).ok());
  first.Prepare(8, 200, 60);
  first = ReplicaPageMapping();
  const ino_t before = inode();
  ReplicaPageMapping second;
  ASSERT_TRUE(second.Create(directory_).ok());
  EXPECT_EQ(inode(), before);
  Lsn applied, horizon;
  EXPECT_FALSE(reader.Find(8, &applied, &horizon));
  second.Prepare(8, 150, 60);
  second.Publish(150, 150);
  ASSERT_TRUE(reader.Find(8, &applied, &horizon));
  EXPECT_EQ(applied, 150u);
  EXPECT_EQ(reader.applied(), 150u);
}

TEST_F(ReplicaPageTest, WakesWhoWaits) {
  ReplicaPageMapping writer, reader;
  ASSERT_TRUE(writer.Create(directory_).ok());
  writer.Publish(1, 1);
  ASSERT_TRUE(reader.Open(directory_).ok());
  reader.AwaitApplied(1, 60'000'000);  // has it
  reader.AwaitApplied(2, 1000);        // nobody comes
  std::thread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    writer.Publish(2, 2);
  });
  const auto begin = std::chrono::steady_clock::now();
  while (reader.applied() < 2) reader.AwaitApplied(2, 60'000'000);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(50));
  later.join();
}

// Each state belongs together, however often its place is written anew.
TEST_F(ReplicaPageTest, AStateIsNeverAMixture) {
  ReplicaPageMapping writer, reader;
  ASSERT_TRUE(writer.Create(directory_).ok());
  writer.Publish(1, 1);
  ASSERT_TRUE(reader.Open(directory_).ok());
  constexpr uint64_t kLast = 200'000;
  std::thread writing([&] {
    for (uint64_t id = 1; id <= kLast; id++) {
      writer.Prepare(id, id * 3, id * 2);
      writer.Publish(id * 3, id * 3);
    }
  });
  uint64_t found = 0;
  for (Lsn at = 0; at < kLast * 3;) {
    at = reader.applied();
    for (uint64_t id = at / 3; id <= at / 3 + ReplicaPage::kStates; id += ReplicaPage::kStates) {
      Lsn applied, horizon;
      if (id == 0 || !reader.Find(id, &applied, &horizon)) continue;
      found++;
      ASSERT_EQ(applied, id * 3);
      ASSERT_EQ(horizon, id * 2);
    }
  }
  writing.join();
  EXPECT_GT(found, 0u);
}

}  // namespace
}  // namespace concord
