// What values do to a line of the log: nothing.
#include "sidecar/rpc/log.h"

#include <gtest/gtest.h>

namespace concord {
namespace {

template <typename... Args>
std::string Line(fmt::format_string<const Args&...> text, const Args&... args) {
  return FormatLogLine(text, fmt::make_format_args(args...));
}

TEST(LogTest, ValuesStayWithinTheirQuotesAndTheirLine) {
  EXPECT_EQ(EscapeLogValue("plain /path, ünïcode"), "plain /path, ünïcode");
  EXPECT_EQ(EscapeLogValue("a\"b\\c\nd\re\tf"), "a\\\"b\\\\c\\nd\\re\\tf");
  EXPECT_EQ(EscapeLogValue(std::string_view("\0\x1b\x7f", 3)), "\\x00\\x1b\\x7f");
  const std::string forged = "x\"\ntime=2026 level=info role=concordd ready";
  EXPECT_EQ(Line("cannot open dir=\"{}\" reason=\"{}\"", forged, "none"),
            "cannot open dir=\"x\\\"\\ntime=2026 level=info role=concordd ready\" reason=\"none\"");
}

TEST(LogTest, OtherValuesAreAsTheyWere) {
  EXPECT_EQ(Line("a={} b={:x} c={} d={:.1f} e={} f={}", -1, 255u, true, 0.25, 'c', std::string_view("s")),
            "a=-1 b=ff c=true d=0.2 e=c f=s");
  EXPECT_EQ(Line("{1} {0}", 1, "two"), "two 1");
  EXPECT_EQ(Line("none"), "none");
}

}  // namespace
}  // namespace concord
