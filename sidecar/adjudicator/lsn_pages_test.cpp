// Which files are taken for LSN pages, and what becomes of those that are.
#include "sidecar/adjudicator/lsn_pages.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "core/lsn_page.h"

namespace concord {
namespace {

namespace fs = std::filesystem;

class LsnPagesTest : public testing::Test {
 protected:
  LsnPagesTest() {
    std::string name = testing::TempDir() + "/pages-XXXXXX";
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    directory_ = name;
  }
  ~LsnPagesTest() override { fs::remove_all(directory_); }
  std::string File(const std::string& name, const std::string& content = std::string(kLsnPageSize, '\0')) const {
    const std::string path = directory_ + "/" + name;
    std::ofstream(path, std::ios::binary) << content;
    return path;
  }
  static std::string Content(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {(std::istreambuf_iterator<char>(file)), {}};
  }

  std::string directory_;
};

TEST_F(LsnPagesTest, OnlyOwnFilesOfTheRightSizeThatHoldNothingElse) {
  LsnPages pages(directory_ + "/registry");
  pages.Lead(1, 77);
  const std::string larger(2 * kLsnPageSize, '\0'), other(kLsnPageSize, 'x');
  for (const std::string& path : {File("short", std::string(kLsnPageSize - 1, '\0')), File("long", larger),
                                  File("other", other), File("line\nfeed"), std::string("relative"), std::string()})
    EXPECT_EQ(pages.Offer(path).code(), Code::kInvalid) << path;
  EXPECT_EQ(Content(directory_ + "/long"), larger) << "nothing is written into it";
  EXPECT_EQ(Content(directory_ + "/other"), other);
  const std::string page = File("page");
  fs::create_symlink(page, directory_ + "/link");
  EXPECT_EQ(pages.Offer(directory_ + "/link").code(), Code::kNotFound);
  if (geteuid() == 0) {
    const std::string foreign = File("foreign");
    ASSERT_EQ(chown(foreign.c_str(), 1, 1), 0);
    EXPECT_EQ(pages.Offer(foreign).code(), Code::kInvalid);
  }
  EXPECT_TRUE(pages.Offer(page).ok());
  EXPECT_TRUE(pages.Offer(page).ok()) << "a page is not something else";
}

TEST_F(LsnPagesTest, NoMoreThanSoMany) {
  LsnPages pages("");
  for (size_t i = 0; i < LsnPages::kMaxPages; i++) ASSERT_TRUE(pages.Offer(File(std::to_string(i))).ok());
  EXPECT_EQ(pages.Offer(File("more")).code(), Code::kTooLarge);
  EXPECT_TRUE(pages.Offer(directory_ + "/0").ok()) << "one that is known already";
}

// Two adjudicators of one machine: the first hears late of what it has committed, when the second leads already.
TEST_F(LsnPagesTest, ADeposedLeaderTakesNothingBack) {
  const std::string path = File("page");
  LsnPages first(""), second("");
  ASSERT_TRUE(first.Offer(path).ok());
  ASSERT_TRUE(second.Offer(path).ok());
  first.Lead(1, 10);
  second.Lead(2, 20);
  second.Publish(25);
  first.Publish(15);
  const std::string content = Content(path);
  const auto* page = reinterpret_cast<const LsnPage*>(content.data());
  EXPECT_EQ(ReadCommitted(*page), 25);
  second.Renew();
  EXPECT_EQ(ReadCommitted(*page), 25);
}

}  // namespace
}  // namespace concord
