// What a link to a node of the own process owes to the writer, where the node is one of several.
#include "sidecar/journal/append_link.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <thread>

#include "core/lsn_page.h"
#include "sidecar/journal/journal_test_util.h"
#include "sidecar/testing/lossy_disk.h"

namespace concord::journal {
namespace {

constexpr int64_t kLeaseMs = 900;

class LocalAppendTest : public testing::Test {
 protected:
  void SetUp() override {
    JournalNodeOptions options;
    options.log.directory = directory_.path() + "/journal";
    ASSERT_TRUE(JournalNode::Open(options, &node_).ok());
    JournalNode::SealResult sealed{};
    ASSERT_TRUE(node_->Seal(1, &sealed).ok());
    link_ = OpenLocalAppend(node_.get(), LocalSync::kInRead);
  }
  // first > last: a heartbeat.
  bool Write(Lsn first, Lsn last, Lsn committed = kNoLsn) {
    proto::AppendRequest request;
    request.set_epoch(1);
    request.set_write_quorum(2);
    request.set_committed_lsn(committed);
    request.set_lease_ms(kLeaseMs);
    request.set_sent_us(++sent_us_);
    if (first <= last) request.set_frames(FrameRange(1, first, last));
    reply_.Clear();
    return link_->Write(std::move(request), &reply_);
  }

  TemporaryDirectory directory_;
  std::unique_ptr<JournalNode> node_;
  std::unique_ptr<AppendLink> link_;
  uint64_t sent_us_ = 0;
  proto::AppendReply reply_;
};

TEST_F(LocalAppendTest, WritingWaitsForNoSync) {
  LossyDisk disk(directory_.path() + "/journal");
  disk.DelaySyncs(std::chrono::milliseconds(500));
  ASSERT_TRUE(Write(1, 2));
  EXPECT_EQ(reply_.heard_us(), 1);
  auto read = std::async(std::launch::async, [this] {
    proto::AppendReply reply;
    return link_->Read(&reply) ? reply.synced_lsn() : kNoLsn;
  });
  // The node vouches for its writer meanwhile, and more can be brought.
  ASSERT_TRUE(Write(1, 0));
  EXPECT_EQ(reply_.heard_us(), 2);
  ASSERT_TRUE(Write(3, 3));
  EXPECT_EQ(reply_.synced_lsn(), kNoLsn);
  EXPECT_NE(read.wait_for(std::chrono::seconds(0)), std::future_status::ready);
  EXPECT_TRUE(node_->writer().live);
  EXPECT_GT(node_->writer().lease_left_ms, 0);
  Lsn synced = read.get();
  EXPECT_GE(synced, 2);
  while (synced < 3) {
    proto::AppendReply reply;
    ASSERT_TRUE(link_->Read(&reply));
    synced = reply.synced_lsn();
  }
  // A node that is one of several waits for the writer's word.
  EXPECT_EQ(node_->state().committed_lsn, kNoLsn);
  ASSERT_TRUE(Write(1, 0, /*committed=*/3));
  EXPECT_EQ(node_->state().committed_lsn, 3);
}

TEST_F(LocalAppendTest, AFenceEndsIt) {
  ASSERT_TRUE(Write(1, 1));
  proto::AppendReply reply;
  ASSERT_TRUE(link_->Read(&reply));
  JournalNode::SealResult sealed{};
  ASSERT_TRUE(node_->Seal(2, &sealed).ok());
  EXPECT_FALSE(Write(2, 2));
  EXPECT_FALSE(link_->Read(&reply));
  EXPECT_EQ(link_->Finish().code(), Code::kStaleEpoch);
  EXPECT_EQ(node_->state().last_lsn, 1);
}

// What another leader has synced there is none of its records.
TEST_F(LocalAppendTest, AFenceDuringASyncAcknowledgesNothing) {
  ASSERT_TRUE(Write(1, 1));
  JournalNode::SealResult sealed{};
  ASSERT_TRUE(node_->Seal(2, &sealed).ok());
  ASSERT_TRUE(node_->Append({2, kNoLsn, 2, FrameRange(2, 1, 5), 0, false}).ok());
  proto::AppendReply reply;
  EXPECT_FALSE(link_->Read(&reply));
  EXPECT_EQ(reply.synced_lsn(), kNoLsn);
  EXPECT_EQ(link_->Finish().code(), Code::kStaleEpoch);
}

// As a node elsewhere says it.
TEST_F(LocalAppendTest, AGapIsTheEndOfTheEpoch) {
  EXPECT_FALSE(Write(5, 6));
  EXPECT_EQ(link_->Finish().code(), Code::kStaleEpoch);
}

TEST_F(LocalAppendTest, ReadingEndsWhenCancelled) {
  proto::AppendReply reply;
  auto read = std::async(std::launch::async, [&] { return link_->Read(&reply); });
  link_->Cancel();
  EXPECT_FALSE(read.get());
  EXPECT_FALSE(Write(1, 1));
  EXPECT_EQ(link_->Finish().code(), Code::kShutdown);
}

TEST_F(LocalAppendTest, TheNodeMissesAWriterThatHasGone) {
  ASSERT_TRUE(Write(1, 0));
  EXPECT_TRUE(node_->writer().live);
  link_.reset();
  EXPECT_FALSE(node_->writer().live);
  EXPECT_GT(node_->writer().lease_left_ms, 0) << "what it promised stays";
}

}  // namespace
}  // namespace concord::journal
