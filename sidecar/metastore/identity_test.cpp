#include "sidecar/metastore/identity.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <set>

#include "sidecar/metastore/atomic_file.h"

namespace concord {
namespace {

class IdentityTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "concord-identity-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  Status Open(const std::string& expected, std::string* id) { return OpenIdentity(directory_, expected, "", true, id); }

  std::string directory_;
};

TEST_F(IdentityTest, IsMadeOnceAndKept) {
  std::string first, second;
  ASSERT_TRUE(Open("", &first).ok());
  EXPECT_EQ(first.size(), 32u);
  ASSERT_TRUE(Open("", &second).ok());
  EXPECT_EQ(first, second);
  EXPECT_TRUE(Open(first, &second).ok());
}

TEST_F(IdentityTest, AnotherClustersDirectoryIsRefusedWithBothNamed) {
  std::string id;
  ASSERT_TRUE(Open("", &id).ok());
  const std::string other(32, 'e');
  const Status status = Open(other, &id);
  EXPECT_EQ(status.code(), Code::kInvalid);
  EXPECT_NE(status.message().find(other), std::string::npos);
  EXPECT_NE(status.message().find(id), std::string::npos);
}

TEST_F(IdentityTest, AnotherServersDirectoryIsRefused) {
  std::string id;
  ASSERT_TRUE(OpenIdentity(directory_, "", "7001", true, &id).ok());
  EXPECT_TRUE(OpenIdentity(directory_, "", "7001", true, &id).ok());
  EXPECT_TRUE(OpenIdentity(directory_, id, "", true, &id).ok());
  const Status status = OpenIdentity(directory_, "", "7002", true, &id);
  EXPECT_EQ(status.code(), Code::kInvalid);
  EXPECT_NE(status.message().find("7001, not to 7002"), std::string::npos) << status.message();
  std::filesystem::remove(directory_ + "/identity");
  ASSERT_TRUE(Open("", &id).ok());  // nobody's
  EXPECT_TRUE(OpenIdentity(directory_, "", "7002", true, &id).ok());
}

TEST_F(IdentityTest, AnEmptyOrMissingDirectoryIsNoReplacement) {
  std::string id;
  EXPECT_EQ(Open(std::string(32, 'a'), &id).code(), Code::kInvalid);
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/identity"));
  EXPECT_EQ(RequireDirectory(directory_ + "/none", std::string(32, 'a')).code(), Code::kInvalid);
  EXPECT_TRUE(RequireDirectory(directory_ + "/none", "").ok());
  EXPECT_TRUE(RequireDirectory(directory_, std::string(32, 'a')).ok());
}

TEST_F(IdentityTest, ANewerFormatIsRefusedWithBothNumbers) {
  ASSERT_TRUE(ReplaceFile(directory_ + "/identity", WithCheckLine("concord directory 2\nwhatever\n")).ok());
  std::string id;
  const Status status = Open("", &id);
  EXPECT_EQ(status.code(), Code::kInvalid);
  EXPECT_NE(status.message().find("has format 2, this program reads format 1"), std::string::npos) << status.message();
}

TEST_F(IdentityTest, LostPartsAreNoticed) {
  std::string id;
  std::filesystem::create_directory(directory_ + "/journal");
  EXPECT_EQ(Open("", &id).code(), Code::kCorruption);  // data without an identity
  std::filesystem::remove(directory_ + "/journal");
  ASSERT_TRUE(Open("", &id).ok());
  ASSERT_TRUE(ReplaceFile(directory_ + "/metastore", "x").ok());
  EXPECT_EQ(Open("", &id).code(), Code::kCorruption);  // a leader without a journal
  std::filesystem::create_directory(directory_ + "/journal");
  EXPECT_EQ(Open("", &id).code(), Code::kCorruption);
  ASSERT_TRUE(ReplaceFile(directory_ + "/journal/0000000000000001.segment", "x").ok());
  EXPECT_TRUE(Open("", &id).ok());
}

TEST_F(IdentityTest, EveryChangedByteIsRefused) {
  std::string id, good;
  ASSERT_TRUE(Open("", &id).ok());
  ASSERT_TRUE(ReadSmallFile(directory_ + "/identity", &good).ok());
  for (size_t i = 0; i < good.size(); i++) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 1);
    ASSERT_TRUE(ReplaceFile(directory_ + "/identity", bad).ok());
    EXPECT_EQ(Open("", &id).code(), Code::kCorruption) << "byte " << i;
  }
}

TEST_F(IdentityTest, ANewDirectoryBelongsToTheClusterThatIsChosen) {
  const std::string chosen(32, 'b');
  int asked = 0;
  const auto choose = [&](std::string* id) {
    asked++;
    *id = chosen;
    return Status::Ok();
  };
  const auto fail = [](std::string*) { return Status(Code::kInvalid, "nobody answers"); };
  std::string id;
  EXPECT_EQ(OpenIdentity(directory_, "", "", false, &id, fail).message(), "nobody answers");
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/identity"));
  ASSERT_TRUE(OpenIdentity(directory_, "", "", false, &id, choose).ok());
  EXPECT_EQ(id, chosen);
  ASSERT_TRUE(OpenIdentity(directory_, "", "", false, &id, fail).ok()) << "it is not asked again";
  EXPECT_EQ(id, chosen);
  EXPECT_EQ(asked, 1);
}

// Of a replica, and of a node.
TEST_F(IdentityTest, EachHasANameOfItsOwn) {
  std::set<std::string> names;
  for (const auto& [file, open] : {std::pair{kReplicaIdFile, &OpenReplicaId}, std::pair{kNodeIdFile, &OpenNodeId}}) {
    const std::string path = directory_ + "/" + file;
    std::string first, again, other;
    ASSERT_TRUE(open(directory_, &first).ok());
    ASSERT_TRUE(open(directory_, &again).ok());
    EXPECT_EQ(first, again);
    EXPECT_TRUE(IsId(first)) << first;
    std::string good;
    ASSERT_TRUE(ReadSmallFile(path, &good).ok());
    for (size_t i = 0; i < good.size(); i++) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ 1);
      ASSERT_TRUE(ReplaceFile(path, bad).ok());
      EXPECT_EQ(open(directory_, &again).code(), Code::kCorruption) << file << ", byte " << i;
    }
    std::filesystem::remove(path);
    ASSERT_TRUE(open(directory_, &other).ok());
    names.insert({first, other});
  }
  EXPECT_EQ(names.size(), 4u);
}

}  // namespace
}  // namespace concord
