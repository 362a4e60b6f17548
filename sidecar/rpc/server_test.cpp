// Who may reach a sidecar: directories.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "sidecar/rpc/directory_lock.h"

namespace concord {
namespace {

TEST(CheckPrivateTest, OnlyTheOwnerMayEnter) {
  std::string path = testing::TempDir() + "/private-XXXXXX";
  ASSERT_NE(mkdtemp(path.data()), nullptr);
  EXPECT_TRUE(CheckPrivate(path).ok());
  for (const mode_t mode : {0710, 0701, 0750, 0755, 0777, 0720}) {
    ASSERT_EQ(chmod(path.c_str(), mode), 0);
    const Status status = CheckPrivate(path);
    EXPECT_EQ(status.code(), Code::kInvalid);
    EXPECT_NE(status.message().find("chmod 0700"), std::string::npos);
    DirectoryLock lock;
    EXPECT_FALSE(lock.Acquire(path, 0).ok());
    EXPECT_TRUE(std::filesystem::is_empty(path)) << "nothing is made in it";
  }
  ASSERT_EQ(chmod(path.c_str(), 0700), 0);
  if (geteuid() == 0) {
    ASSERT_EQ(chown(path.c_str(), 1, 1), 0);
    EXPECT_EQ(CheckPrivate(path).code(), Code::kInvalid);
  }
  EXPECT_EQ(CheckPrivate(path + "/none").code(), Code::kIoError);
  EXPECT_EQ(CheckPrivate("/dev/null").code(), Code::kInvalid);
  std::filesystem::remove_all(path);
}

}  // namespace
}  // namespace concord
