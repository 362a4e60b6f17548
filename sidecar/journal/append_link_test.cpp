// What a link to a node of the own process owes to the writer, where the node is one of several.
#include "sidecar/journal/append_link.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <future>
#include <mutex>

#include "sidecar/journal/journal_test_util.h"

namespace concord::journal {
namespace {

constexpr int64_t kLeaseMs = 900;

// What syncs pass, if it is not closed.
class Gate {
 public:
  void Pass() {
    std::unique_lock lock(mutex_);
    waiting_ = !open_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
  }
  void Close() {
    const std::lock_guard lock(mutex_);
    open_ = waiting_ = false;
  }
  void AwaitSync() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return waiting_; });
  }
  void Open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  bool waiting_ = false;
  bool open_ = true;
};

class LocalAppendTest : public testing::Test {
 protected:
  LocalAppendTest() {
    options_.log.directory = directory_.path() + "/journal";
    options_.log.segment_bytes = 16384;
    options_.log.sync_data = [this](int) {
      gate_.Pass();
      return fails_ ? (errno = EIO, -1) : 0;
    };
  }
  void Open() {
    ASSERT_TRUE(JournalNode::Open(options_, &node_).ok());
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
  bool Heartbeat(Lsn committed = kNoLsn) { return Write(1, 0, committed); }
  // What the next answer says is synced; none: kNoLsn.
  std::future<Lsn> Read() {
    return std::async(std::launch::async, [this] {
      proto::AppendReply reply;
      return link_->Read(&reply) ? reply.synced_lsn() : kNoLsn;
    });
  }

  TemporaryDirectory directory_;
  Gate gate_;
  std::atomic<bool> fails_ = false;
  JournalNodeOptions options_;
  std::unique_ptr<JournalNode> node_;
  std::unique_ptr<AppendLink> link_;
  uint64_t sent_us_ = 0;
  proto::AppendReply reply_;
};

TEST_F(LocalAppendTest, WritingWaitsForNoSync) {
  Open();
  gate_.Close();
  ASSERT_TRUE(Write(1, 2));
  EXPECT_EQ(reply_.heard_us(), 1u);
  auto read = Read();
  gate_.AwaitSync();
  // The node vouches for its writer meanwhile, and more can be brought.
  ASSERT_TRUE(Heartbeat());
  EXPECT_EQ(reply_.heard_us(), 2u);
  ASSERT_TRUE(Write(3, 3));
  EXPECT_EQ(reply_.synced_lsn(), kNoLsn);
  EXPECT_TRUE(node_->writer().live);
  EXPECT_GT(node_->writer().lease_left_ms, 0);
  gate_.Open();
  EXPECT_EQ(read.get(), 2u);
  EXPECT_EQ(Read().get(), 3u);
  // A node that is one of several waits for the writer's word.
  EXPECT_EQ(node_->state().committed_lsn, kNoLsn);
  ASSERT_TRUE(Heartbeat(/*committed=*/3));
  EXPECT_EQ(node_->state().committed_lsn, 3u);
}

// Any thread of the writer may bring news; only the one that brings frames may have to wait.
TEST_F(LocalAppendTest, NewsWaitForNoRoomInTheQueue) {
  options_.queue_bytes_max = 1;
  Open();
  gate_.Close();
  ASSERT_TRUE(Write(1, 1));
  auto read = Read();
  gate_.AwaitSync();
  ASSERT_TRUE(Write(2, 2));  // fills it
  ASSERT_TRUE(Heartbeat());
  EXPECT_EQ(reply_.heard_us(), sent_us_);
  gate_.Open();
  EXPECT_EQ(read.get(), 1u);
}

// A stream of a former leader must not take along what this one has queued, and leave it without an answer.
TEST_F(LocalAppendTest, WhoIsFencedSyncsNothing) {
  Open();
  ASSERT_TRUE(Write(1, 1));
  Lsn synced = kNoLsn;
  Status failure;
  EXPECT_EQ(node_->FlushOnce(0, &synced, &failure), JournalNode::Flush::kNothing);
  EXPECT_EQ(Read().get(), 1u);
}

// Somebody else's sync is waited for, as it may have this one's frames.
TEST_F(LocalAppendTest, AnotherThreadMaySync) {
  Open();
  gate_.Close();
  ASSERT_TRUE(Write(1, 1));
  auto other = std::async(std::launch::async, [this] {
    Lsn synced = kNoLsn;
    Status failure;
    return node_->FlushOnce(1, &synced, &failure);
  });
  gate_.AwaitSync();
  auto read = Read();
  EXPECT_EQ(read.wait_for(std::chrono::milliseconds(20)), std::future_status::timeout);
  gate_.Open();
  EXPECT_EQ(other.get(), JournalNode::Flush::kSynced);
  EXPECT_EQ(read.get(), 1u);
}

TEST_F(LocalAppendTest, AFenceEndsIt) {
  Open();
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
TEST_F(LocalAppendTest, WhatAnotherLeaderHasSyncedIsNotAcknowledged) {
  Open();
  ASSERT_TRUE(Write(1, 1));
  JournalNode::SealResult sealed{};
  ASSERT_TRUE(node_->Seal(2, &sealed).ok());
  ASSERT_TRUE(node_->Append({2, kNoLsn, 2, FrameRange(2, 1, 5)}).ok());
  proto::AppendReply reply;
  EXPECT_FALSE(link_->Read(&reply));
  EXPECT_EQ(reply.synced_lsn(), kNoLsn);
  EXPECT_EQ(link_->Finish().code(), Code::kStaleEpoch);
}

// As a node elsewhere says it.
TEST_F(LocalAppendTest, AGapIsTheEndOfTheEpoch) {
  Open();
  EXPECT_FALSE(Write(5, 6));
  EXPECT_EQ(link_->Finish().code(), Code::kStaleEpoch);
}

// The frames that a failed sync has refused leave a gap, which Write may meet first.
TEST_F(LocalAppendTest, AFailedSyncIsNotTakenForAFence) {
  Open();
  for (int i = 0; i < 300; i++) {
    Lsn lsn = node_->state().last_lsn;
    ASSERT_TRUE(Write(lsn + 1, lsn + 1));
    ASSERT_EQ(Read().get(), ++lsn);
    fails_ = true;
    ASSERT_TRUE(Write(lsn + 1, lsn + 1));
    auto read = Read();
    for (Lsn next = lsn + 2; Write(next, next); next++) {
    }
    read.get();
    ASSERT_EQ(Read().get(), kNoLsn);
    ASSERT_EQ(link_->Finish().code(), Code::kIoError);
    fails_ = false;
    link_.reset();
    node_.reset();  // a failed sync stays with a node
    std::filesystem::remove_all(options_.log.directory);
    Open();
  }
}

TEST_F(LocalAppendTest, ReadingEndsWhenCancelled) {
  Open();
  auto read = Read();
  link_->Cancel();
  EXPECT_EQ(read.get(), kNoLsn);
  EXPECT_FALSE(Write(1, 1));
  EXPECT_EQ(link_->Finish().code(), Code::kShutdown);
}

// Nothing stays in the node's queue, where the next of this epoch would meet it.
TEST_F(LocalAppendTest, WhatWasSubmittedIsSyncedAlsoWhenCancelled) {
  Open();
  ASSERT_TRUE(Write(1, 2));
  link_->Cancel();
  while (Read().get() != kNoLsn) {
  }
  EXPECT_EQ(node_->state().last_lsn, 2u);
}

TEST_F(LocalAppendTest, TheNodeMissesAWriterThatHasGone) {
  Open();
  ASSERT_TRUE(Heartbeat());
  EXPECT_TRUE(node_->writer().live);
  link_->Cancel();
  EXPECT_FALSE(node_->writer().live);
  EXPECT_GT(node_->writer().lease_left_ms, 0) << "what it promised stays";
}

}  // namespace
}  // namespace concord::journal
