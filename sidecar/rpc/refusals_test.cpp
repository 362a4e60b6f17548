#include "sidecar/rpc/refusals.h"

#include <gtest/gtest.h>

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
}

}  // namespace
}  // namespace concord
