#include "sidecar/metastore/records.h"

#include <gtest/gtest.h>

namespace concord {
namespace {

const std::string kA(32, 'a'), kB(32, 'b');

TEST(MetastoreRecords, AreTextAsDocumented) {
  EXPECT_EQ(LeaderKey(kA), "/concord/" + kA + "/leader");
  EXPECT_EQ(MembershipKey(kA), "/concord/" + kA + "/members");
  EXPECT_EQ(EncodeLeader({17, kB, "unix:/b"}), R"({"epoch":"17","id":")" + kB + R"(","address":"unix:/b"})");
  EXPECT_EQ(EncodeMembership({2, {{kA, "127.0.0.1:1"}, {kB, "127.0.0.1:2"}}, 2, {}}),
            R"({"version":"2","journal":[{"id":")" + kA + R"(","address":"127.0.0.1:1"},{"id":")" + kB +
                R"(","address":"127.0.0.1:2"}],"write_quorum":2})");
  EXPECT_EQ(EncodeMembership({2, {{kA, "127.0.0.1:1"}}, 1, {{kA, "127.0.0.1:1"}}}),
            R"({"version":"2","journal":[{"id":")" + kA + R"(","address":"127.0.0.1:1"}],"write_quorum":1,)" +
                R"("storage":[{"id":")" + kA + R"(","address":"127.0.0.1:1"}]})");
  EXPECT_EQ(ProcessKey(kA, kB), "/concord/" + kA + "/processes/" + kB);
  EXPECT_EQ(EncodeProcess({kB, "unix:/b", {"journal", "storage"}, "1"}),
            R"({"id":")" + kB + R"(","address":"unix:/b","roles":["journal","storage"],"version":"1"})");
}

TEST(MetastoreRecords, ComeBackAsTheyWere) {
  Leader leader;
  ASSERT_TRUE(DecodeLeader("k", EncodeLeader({UINT64_MAX, kB, "a \"quoted\" address"}), &leader).ok());
  EXPECT_EQ(leader.epoch, UINT64_MAX);
  EXPECT_EQ(leader.id, kB);
  EXPECT_EQ(leader.address, "a \"quoted\" address");
  Membership membership;
  ASSERT_TRUE(DecodeMembership("k", EncodeMembership({7, {{kA, "1"}, {kB, "2"}}, 2, {{kB, "2"}}}), &membership).ok());
  EXPECT_EQ(membership.version, 7u);
  ASSERT_EQ(membership.journal.size(), 2u);
  EXPECT_EQ(membership.journal[1].id, kB);
  EXPECT_EQ(membership.journal[1].address, "2");
  EXPECT_EQ(membership.write_quorum, 2u);
  EXPECT_EQ(membership.storage, (std::vector<Member>{{kB, "2"}}));
  LiveProcess process;
  ASSERT_TRUE(DecodeProcess("k", EncodeProcess({kB, "2", {"storage"}, "1"}), &process).ok());
  EXPECT_EQ(process.id, kB);
  EXPECT_EQ(process.address, "2");
  EXPECT_EQ(process.roles, std::vector<std::string>{"storage"});
  // Of a later version: it is only shown.
  ASSERT_TRUE(DecodeProcess("k", R"({"id":"x","later":1})", &process).ok());
  EXPECT_EQ(DecodeProcess("k", "{", &process).code(), Code::kCorruption);
}

TEST(MetastoreRecords, WhatIsNotUnderstoodIsRefusedWithItsKey) {
  Leader leader;
  const std::string good = EncodeLeader({17, kB, "unix:/b"});
  for (const std::string& bad :
       {std::string(), std::string("17"), std::string("{}"), good.substr(0, good.size() - 1), good + "x",
        good.substr(0, good.size() - 1) + R"(,"later":1})", EncodeLeader({0, kB, "unix:/b"}),
        EncodeLeader({1, "b", "unix:/b"}), EncodeLeader({1, kB, ""})}) {
    const Status status = DecodeLeader("/concord/x/leader", bad, &leader);
    EXPECT_EQ(status.code(), Code::kCorruption) << bad;
    EXPECT_NE(status.message().find("/concord/x/leader is not understood: "), std::string::npos) << status.message();
  }
}

TEST(MetastoreRecords, AMembershipIsAnEnsemble) {
  Membership decoded;
  const auto refused = [&](const Membership& membership, const std::string& reason) {
    const Status status = CheckMembership(membership);
    EXPECT_EQ(status.code(), Code::kInvalid);
    EXPECT_NE(status.message().find(reason), std::string::npos) << status.message();
    EXPECT_EQ(DecodeMembership("k", EncodeMembership(membership), &decoded).code(), Code::kCorruption);
  };
  EXPECT_TRUE(CheckMembership({1, {{kA, "1"}}, 1}).ok());
  refused({0, {{kA, "1"}}, 1}, "version 0");
  refused({1, {}, 0}, "no journal node");
  refused({1, {{kA, "1"}, {kB, "2"}}, 1}, "more than half of the 2");
  refused({1, {{kA, "1"}, {kB, "2"}}, 3}, "more than half of the 2");
  refused({1, {{kA, "1"}, {kA, "2"}}, 2}, "twice");
  refused({1, {{kA, "1"}, {kB, "1"}}, 2}, "twice");
  refused({1, {{kA, ""}}, 1}, "no address");
  refused({1, {{"A" + kA.substr(1), "1"}}, 1}, "32 hexadecimal digits");
}

}  // namespace
}  // namespace concord
