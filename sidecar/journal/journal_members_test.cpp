#include "sidecar/journal/journal_members.h"

#include <gtest/gtest.h>

namespace concord {
namespace {

TEST(JournalMembers, OnlyTheOwnNodeIsReachedWithoutGrpc) {
  auto* const own = reinterpret_cast<journal::JournalNode*>(8);  // nobody goes there
  JournalMembers members({.cluster_id = "c", .node_id = "n1", .directory = "d", .on_foreign = {}});
  EXPECT_EQ(members.Peer({"n1", "unix:/nowhere"}).node, nullptr) << "it has none";
  members.SetOwn(own);
  EXPECT_EQ(members.Peer({"n1", "unix:/nowhere"}).node, own);
  EXPECT_EQ(members.Peer({"n2", "unix:/nowhere"}).node, nullptr);
  EXPECT_EQ(members.Peer({"", "unix:/nowhere"}).node, nullptr);
}

}  // namespace
}  // namespace concord
