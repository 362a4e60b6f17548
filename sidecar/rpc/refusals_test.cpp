#include "sidecar/rpc/refusals.h"

#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <sstream>

namespace concord {
namespace {

TEST(RefusalLogTest, TellsACauseOnceAMinute) {
  RefusalLog log("test");
  const Status stale(Code::kStaleEpoch, "epoch 1 is fenced by 2"), invalid(Code::kInvalid, "a gap");
  const char* const append = "Append";
  EXPECT_FALSE(log.Note(append, Status::Ok(), 0));
  EXPECT_TRUE(log.Note(append, stale, 1));
  for (int i = 0; i < 1000; i++) EXPECT_FALSE(log.Note(append, stale, 2 + i));
  EXPECT_TRUE(log.Note(append, invalid, 3)) << "another cause";
  EXPECT_TRUE(log.Note("Seal", stale, 3)) << "another method";
  EXPECT_TRUE(log.Note(append, stale, 1 + RefusalLog::kAgainUs));
  EXPECT_FALSE(log.Note(append, stale, 2 + RefusalLog::kAgainUs));
  EXPECT_EQ(log.count(), 1005U) << "each counts";
}

TEST(RefusalLogTest, ALineTellsWhatAndHowMany) {
  std::ostringstream lines;
  const auto before = spdlog::default_logger();
  spdlog::set_default_logger(
      std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_mt>(lines)));
  RefusalLog log("role of the test");
  const char* const append = "Append";
  for (int i = 0; i <= 5; i++) log.Note(append, {Code::kInvalid, "a gap"}, i);
  EXPECT_TRUE(log.Note(append, {Code::kInvalid, "another gap"}, RefusalLog::kAgainUs));
  spdlog::drop("role of the test");
  spdlog::set_default_logger(before);
  const std::string text = lines.str();
  EXPECT_NE(text.find("[role of the test] [warning] refused method=Append"), std::string::npos) << text;
  EXPECT_NE(text.find("a gap\" not_logged_before=0"), std::string::npos) << text;
  EXPECT_NE(text.find("another gap\" not_logged_before=5"), std::string::npos) << text;
}

}  // namespace
}  // namespace concord
