// For tests: a directory of their own, which goes with it.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace concord {

class DirectoryTest : public testing::Test {
 protected:
  DirectoryTest() {
    std::string name = (std::filesystem::temp_directory_path() / "concord-test-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) abort();
    directory_ = name;
  }
  ~DirectoryTest() override { std::filesystem::remove_all(directory_); }

  std::string directory_;
};

}  // namespace concord
