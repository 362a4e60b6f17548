// Values of the configuration file. What it refuses, and how, is in regress/t/026_config.pl.
#include "sidecar/rpc/config_file.h"

#include <gtest/gtest.h>

namespace concord {
namespace {

using Parts = std::vector<std::string>;

Parts Split(const std::string& text) {
  Parts parts;
  EXPECT_TRUE(SplitConfigValue(text, &parts)) << text;
  return parts;
}

TEST(ConfigValueTest, Parts) {
  EXPECT_EQ(Split(" a "), Parts{"a"});
  EXPECT_EQ(Split(" /a b/c\t# comment"), Parts{"/a b/c"});
  EXPECT_EQ(Split("a, b ,c"), (Parts{"a", "b", "c"}));
  EXPECT_EQ(Split("unix:/x, 0.0.0.0:1"), (Parts{"unix:/x", "0.0.0.0:1"}));
  EXPECT_EQ(Split(""), Parts{""});
  EXPECT_EQ(Split("a,"), (Parts{"a", ""}));
}

TEST(ConfigValueTest, Quotes) {
  EXPECT_EQ(Split(" 'a, b # c ' # d"), Parts{"a, b # c "});
  EXPECT_EQ(Split("\"it's\""), Parts{"it's"});
  EXPECT_EQ(Split("'a' , \"b\",c"), (Parts{"a", "b", "c"}));
  EXPECT_EQ(Split("o'clock"), Parts{"o'clock"});
  EXPECT_EQ(Split("''"), Parts{""});
}

TEST(ConfigValueTest, WhatIsNoValue) {
  Parts parts;
  for (const char* bad : {"'a", "\"a'", "'a' b", "a, 'b", "'a''b'"}) EXPECT_FALSE(SplitConfigValue(bad, &parts)) << bad;
}

}  // namespace
}  // namespace concord
