#include "sidecar/journal/journal_node.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <random>
#include <thread>

#include "sidecar/journal/journal_test_util.h"

namespace concord::journal {
namespace {

using std::chrono::milliseconds;

class JournalNodeTest : public testing::Test {
 protected:
  JournalNodeTest() {
    options_.log.directory = directory_.path() + "/journal";
    options_.log.segment_bytes = 16384;
    options_.retention_ms = 0;
  }
  Status Open() {
    node_.reset();
    return JournalNode::Open(options_, &node_);
  }
  Status Seal(uint64_t epoch) { return node_->Seal(epoch, &sealed_); }
  std::string Read(Lsn after, Lsn limit) {
    std::string all, part;
    Lsn last = kNoLsn;
    while (true) {
      const Status status = node_->Read(after, limit, 1 << 20, &part, &last);
      if (!status.ok()) return status.ToString();
      if (last == kNoLsn) return all;
      all += part;
      after = last;
    }
  }

  TemporaryDirectory directory_;
  JournalNodeOptions options_;
  std::unique_ptr<JournalNode> node_;
  JournalNode::SealResult sealed_{};
};

TEST_F(JournalNodeTest, SealFencesLowerEpochsForGood) {
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(node_->Append(Input(1, 1, 1)).code(), Code::kInvalid);  // not sealed yet
  ASSERT_TRUE(Seal(1).ok());
  EXPECT_EQ(sealed_.last_epoch, 0u);
  EXPECT_EQ(sealed_.last_lsn, kNoLsn);
  ASSERT_TRUE(node_->Append(Input(1, 1, 5)).ok());
  ASSERT_TRUE(Seal(1).ok());  // asked again
  ASSERT_TRUE(Seal(3).ok());
  EXPECT_EQ(sealed_.last_epoch, 1u);
  EXPECT_EQ(sealed_.last_lsn, 5u);
  EXPECT_EQ(sealed_.first_lsn, 1u);
  EXPECT_EQ(sealed_.committed_lsn, 5u);
  EXPECT_EQ(node_->Append(Input(1, 6, 6)).code(), Code::kStaleEpoch);
  EXPECT_EQ(Seal(2).code(), Code::kStaleEpoch);
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(Seal(2).code(), Code::kStaleEpoch);
  EXPECT_EQ(node_->Append(Input(2, 6, 6)).code(), Code::kStaleEpoch);
  ASSERT_TRUE(node_->Append(Input(3, 6, 6)).ok());
  EXPECT_EQ(Read(0, 6), FrameRange(1, 1, 5) + FrameRange(3, 6, 6));
}

TEST_F(JournalNodeTest, BeginsAnewWhereAnotherNodeHasTrimmed) {
  ASSERT_TRUE(Open().ok());
  ASSERT_TRUE(Seal(1).ok());
  ASSERT_TRUE(node_->Append(Input(1, 1, 5)).ok());
  EXPECT_EQ(node_->Restart(2, 50).code(), Code::kInvalid);  // not sealed for it
  ASSERT_TRUE(Seal(2).ok());
  EXPECT_EQ(node_->Restart(1, 50).code(), Code::kStaleEpoch);
  EXPECT_EQ(node_->Restart(2, 4).code(), Code::kInvalid);
  EXPECT_EQ(Read(0, 5), FrameRange(1, 1, 5));
  ASSERT_TRUE(node_->Restart(2, 50).ok());
  EXPECT_EQ(node_->Append(Input(2, 6, 6)).code(), Code::kInvalid);
  ASSERT_TRUE(Seal(2).ok());
  EXPECT_EQ(sealed_.last_lsn, 50u);
  EXPECT_EQ(sealed_.committed_lsn, 50u);
  // The records that follow may be of an earlier epoch.
  ASSERT_TRUE(node_->Append({2, 0, 2, FrameRange(1, 51, 52)}).ok());
  EXPECT_EQ(node_->state().committed_lsn, 50u);
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(node_->state().base_lsn, 50u);
  EXPECT_EQ(node_->state().committed_lsn, 50u);
  EXPECT_EQ(Read(50, 52), FrameRange(1, 51, 52));
}

// What was trimmed was committed, also if no record that is left says so.
TEST_F(JournalNodeTest, KnowsWhatItTrimmedAsCommitted) {
  ASSERT_TRUE(Open().ok());
  ASSERT_TRUE(Seal(1).ok());
  for (Lsn lsn = 1; lsn <= 40; lsn++) ASSERT_TRUE(node_->Append({1, 0, 2, FrameRange(1, lsn, lsn, 1500)}).ok());
  ASSERT_TRUE(node_->Append({1, 40, 2, ""}).ok());
  Lsn trimmed = kNoLsn;
  ASSERT_TRUE(node_->ReportCheckpoint("r", 40, 60'000, &trimmed).ok());
  ASSERT_GT(trimmed, kNoLsn);
  ASSERT_TRUE(Open().ok());
  EXPECT_GE(node_->state().committed_lsn, trimmed);
}

TEST_F(JournalNodeTest, SealRefusesWhatIsQueued) {
  ASSERT_TRUE(Open().ok());
  ASSERT_TRUE(Seal(1).ok());
  ASSERT_TRUE(node_->Submit(Input(1, 1, 3)).ok());
  ASSERT_TRUE(Seal(2).ok());
  EXPECT_EQ(sealed_.last_lsn, kNoLsn);
  Lsn synced;
  Status failure;
  EXPECT_EQ(node_->FlushOnce(1, &synced, &failure), JournalNode::Flush::kNothing);
  ASSERT_TRUE(node_->Append(Input(2, 1, 1)).ok());
}

TEST_F(JournalNodeTest, AWriterSyncsWhatItsEpochHasQueued) {
  ASSERT_TRUE(Open().ok());
  ASSERT_TRUE(Seal(1).ok());
  ASSERT_TRUE(Seal(2).ok());
  ASSERT_TRUE(node_->Submit(Input(2, 1, 3)).ok());
  Lsn synced = kNoLsn;
  Status failure;
  EXPECT_EQ(node_->FlushOnce(1, &synced, &failure), JournalNode::Flush::kNothing);
  EXPECT_EQ(node_->state().last_lsn, kNoLsn);
  EXPECT_EQ(node_->FlushOnce(2, &synced, &failure), JournalNode::Flush::kSynced);
  EXPECT_EQ(synced, 3u);
}

TEST_F(JournalNodeTest, RefusesGapsAndGarbage) {
  ASSERT_TRUE(Open().ok());
  ASSERT_TRUE(Seal(1).ok());
  EXPECT_EQ(node_->Append(Input(1, 2, 2)).code(), Code::kInvalid);
  ASSERT_TRUE(node_->Append(Input(1, 1, 2)).ok());
  EXPECT_EQ(node_->Append(Input(1, 2, 3)).code(), Code::kInvalid);
  EXPECT_EQ(node_->Append(Input(1, 4, 4)).code(), Code::kInvalid);
  EXPECT_EQ(node_->Append(Input(1, 3, 3, 0)).code(), Code::kInvalid);
  std::string frames = FrameRange(1, 3, 3);
  frames[40] ^= 1;
  EXPECT_EQ(node_->Append({1, 0, 1, frames}).code(), Code::kInvalid);
  EXPECT_EQ(node_->Append({1, 0, 1, FrameRange(1, 3, 3).substr(0, 40)}).code(), Code::kInvalid);
  EXPECT_EQ(node_->Append({1, 0, 1, FrameRange(2, 3, 3)}).code(), Code::kInvalid);  // an epoch above the writer's
  ASSERT_TRUE(node_->Append(Input(1, 3, 3)).ok());
  EXPECT_EQ(Read(0, 100), FrameRange(1, 1, 3));
  // A gap is refused at once and takes nothing with it that was queued before.
  ASSERT_TRUE(node_->Submit(Input(1, 4, 4)).ok());
  EXPECT_EQ(node_->Submit(Input(1, 6, 6)).code(), Code::kInvalid);
  Lsn synced = kNoLsn;
  Status failure;
  EXPECT_EQ(node_->FlushOnce(1, &synced, &failure), JournalNode::Flush::kSynced);
  EXPECT_EQ(synced, 4u);
}

TEST_F(JournalNodeTest, OneSyncForAllThatQueued) {
  ASSERT_TRUE(Open().ok());
  ASSERT_TRUE(Seal(1).ok());
  const uint64_t syncs = node_->state().syncs;
  for (Lsn lsn = 1; lsn <= 50; lsn++) ASSERT_TRUE(node_->Submit(Input(1, lsn, lsn)).ok());
  EXPECT_EQ(node_->state().last_lsn, kNoLsn);
  Lsn synced = kNoLsn;
  Status failure;
  EXPECT_EQ(node_->FlushOnce(1, &synced, &failure), JournalNode::Flush::kSynced);
  EXPECT_EQ(synced, 50u);
  EXPECT_EQ(node_->state().syncs, syncs + 1);
  EXPECT_EQ(node_->FlushOnce(1, &synced, &failure), JournalNode::Flush::kNothing);
}

TEST_F(JournalNodeTest, CommittedIsNeverAboveSynced) {
  ASSERT_TRUE(Open().ok());
  ASSERT_TRUE(Seal(1).ok());
  ASSERT_TRUE(node_->Submit(Input(1, 1, 4, 2, 3)).ok());
  EXPECT_EQ(node_->state().committed_lsn, kNoLsn);
  Lsn synced;
  Status failure;
  ASSERT_EQ(node_->FlushOnce(1, &synced, &failure), JournalNode::Flush::kSynced);
  EXPECT_EQ(node_->state().committed_lsn, 3u);
  ASSERT_TRUE(node_->Submit({1, 9, 2, ""}).ok());
  EXPECT_EQ(node_->state().committed_lsn, 4u);
  ASSERT_TRUE(node_->Submit({1, 2, 2, ""}).ok());
  EXPECT_EQ(node_->state().committed_lsn, 4u);
  ASSERT_TRUE(node_->Append(Input(1, 5, 6, 2, 4)).ok());
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(node_->state().committed_lsn, 4u);  // what the last group told
  EXPECT_EQ(node_->state().last_lsn, 6u);
}

TEST_F(JournalNodeTest, TruncateCutsOnlyWhatIsNotCommitted) {
  ASSERT_TRUE(Open().ok());
  ASSERT_TRUE(Seal(1).ok());
  ASSERT_TRUE(node_->Append(Input(1, 1, 9, 2, 0)).ok());
  ASSERT_TRUE(node_->Submit({1, 4, 2, ""}).ok());
  ASSERT_TRUE(Seal(2).ok());
  EXPECT_EQ(node_->Truncate(1, 6).code(), Code::kStaleEpoch);
  EXPECT_EQ(node_->Truncate(2, 3).code(), Code::kInvalid);
  ASSERT_TRUE(node_->Truncate(2, 6).ok());
  EXPECT_EQ(node_->state().last_lsn, 6u);
  ASSERT_TRUE(node_->Append(Input(2, 7, 8)).ok());
  EXPECT_EQ(Read(0, 100), FrameRange(1, 1, 6) + FrameRange(2, 7, 8));
}

TEST_F(JournalNodeTest, TrimsOnlyBelowTheLowestLiveLease) {
  ASSERT_TRUE(Open().ok());
  ASSERT_TRUE(Seal(1).ok());
  Lsn lsn = 0;
  const auto fill = [&] {
    for (int i = 0; i < 100; i++) {
      ASSERT_TRUE(node_->Append({1, 0, 1, FrameRange(1, lsn + 1, lsn + 10, 100)}).ok());
      lsn += 10;
    }
  };
  fill();
  EXPECT_EQ(node_->state().first_lsn, 1u);
  Lsn trimmed = kNoLsn;
  ASSERT_TRUE(node_->ReportCheckpoint("slow", 250, 60000, &trimmed).ok());
  EXPECT_GT(trimmed, 0u);
  EXPECT_LE(trimmed, 250u);
  ASSERT_TRUE(node_->ReportCheckpoint("fast", 900, 60000, &trimmed).ok());
  EXPECT_LE(trimmed, 250u);
  // A restart forgets nobody.
  ASSERT_TRUE(Open().ok());
  ASSERT_TRUE(node_->ReportCheckpoint("fast", 950, 60000, &trimmed).ok());
  EXPECT_LE(trimmed, 250u);
  // One that does not report any more stops nobody once its lease has ended.
  ASSERT_TRUE(node_->ReportCheckpoint("slow", 260, 1, &trimmed).ok());
  usleep(5000);
  ASSERT_TRUE(node_->ReportCheckpoint("fast", 960, 60000, &trimmed).ok());
  EXPECT_GT(trimmed, 600u);
  EXPECT_LE(trimmed, 960u);
  // Never above what is committed here, whatever is reported.
  ASSERT_TRUE(node_->ReportCheckpoint("fast", UINT64_MAX, 60000, &trimmed).ok());
  EXPECT_LT(trimmed, 1000u);
  std::string frames;
  Lsn last;
  EXPECT_EQ(node_->Read(1, UINT64_MAX, 100, &frames, &last).code(), Code::kTooOld);
  EXPECT_EQ(Read(trimmed, UINT64_MAX), FrameRange(1, trimmed + 1, lsn, 100));
  EXPECT_EQ(node_->ReportCheckpoint("", 1, 1, &trimmed).code(), Code::kInvalid);
}

// Who takes over was told the first LSN by Seal, and reads from there: what it has been told stays until it appends.
TEST_F(JournalNodeTest, NothingIsTrimmedWhileANewWriterReads) {
  ASSERT_TRUE(Open().ok());
  ASSERT_TRUE(Seal(1).ok());
  for (Lsn lsn = 1; lsn <= 1000; lsn += 10)
    ASSERT_TRUE(node_->Append({1, 0, 1, FrameRange(1, lsn, lsn + 9, 100)}).ok());
  Lsn trimmed = kNoLsn;
  ASSERT_TRUE(node_->ReportCheckpoint("replica", 500, 60000, &trimmed).ok());
  ASSERT_GT(trimmed, 0u);
  // A term that goes on in its own epoch seals it again.
  for (const uint64_t epoch : {2, 2, 3}) {
    ASSERT_TRUE(Seal(epoch).ok());
    EXPECT_EQ(sealed_.first_lsn, trimmed + 1);
    ASSERT_TRUE(node_->ReportCheckpoint("replica", 900, 60000, &trimmed).ok());
    EXPECT_EQ(trimmed, sealed_.first_lsn - 1);
    EXPECT_EQ(Read(trimmed, UINT64_MAX), FrameRange(1, trimmed + 1, 1000, 100));
  }
  ASSERT_TRUE(node_->Append(Input(3, 1001, 1001)).ok());
  ASSERT_TRUE(node_->ReportCheckpoint("replica", 900, 60000, &trimmed).ok());
  EXPECT_GT(trimmed, 500u);
}

TEST_F(JournalNodeTest, RetentionHoldsYoungRecords) {
  options_.retention_ms = 3600'000;
  ASSERT_TRUE(Open().ok());
  ASSERT_TRUE(Seal(1).ok());
  const Lsn now = LsnFromUnixUs(
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
          .count());
  Lsn prev = kNoLsn;
  for (Lsn lsn = now; lsn < now + 100; prev = lsn++) {
    std::string frames;
    AppendFrame(&frames, 1, lsn, prev, std::string(1000, '\3'));
    ASSERT_TRUE(node_->Append({1, 0, 1, std::move(frames)}).ok());
  }
  Lsn trimmed = kNoLsn;
  ASSERT_TRUE(node_->ReportCheckpoint("replica", prev, 60000, &trimmed).ok());
  EXPECT_EQ(trimmed, kNoLsn);
}

TEST_F(JournalNodeTest, FailedSyncRefusesAllUntilRestart) {
  std::atomic<bool> fail = false;
  options_.log.sync_data = [&fail](int fd) {
    if (!fail) return ::fdatasync(fd);
    errno = EIO;
    return -1;
  };
  ASSERT_TRUE(Open().ok());
  ASSERT_TRUE(Seal(1).ok());
  ASSERT_TRUE(node_->Append(Input(1, 1, 2)).ok());
  fail = true;
  EXPECT_EQ(node_->Append(Input(1, 3, 3)).code(), Code::kIoError);
  fail = false;
  EXPECT_EQ(node_->Append(Input(1, 3, 3)).code(), Code::kIoError);
  EXPECT_EQ(node_->state().committed_lsn, 2u);
  EXPECT_EQ(Read(0, 100), FrameRange(1, 1, 2));
  EXPECT_EQ(Seal(2).code(), Code::kIoError);
  ASSERT_TRUE(Open().ok());
  ASSERT_TRUE(Seal(2).ok());
  EXPECT_GE(sealed_.last_lsn, 2u);  // 3 is of unknown outcome
}

TEST_F(JournalNodeTest, FullQueueHoldsTheWriterBack) {
  options_.queue_bytes_max = 1000;
  ASSERT_TRUE(Open().ok());
  ASSERT_TRUE(Seal(1).ok());
  // The writer that meets a full queue syncs it itself.
  for (Lsn lsn = 1; lsn <= 100; lsn++) ASSERT_TRUE(node_->Submit({1, 0, 1, FrameRange(1, lsn, lsn, 400)}).ok());
  EXPECT_GE(node_->state().last_lsn, 95u);
}

TEST_F(JournalNodeTest, ConcurrentAppendersAndTailers) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  options_.log.cache_bytes_max = 4000;  // so that slow tailers read files
  ASSERT_TRUE(Open().ok());
  ASSERT_TRUE(Seal(1).ok());
  constexpr Lsn kEnd = 3000;
  std::mutex order;
  Lsn next = 1;
  const auto append = [&](uint64_t thread) {
    std::mt19937_64 random(seed + thread);
    while (true) {
      const Lsn count = 1 + random() % 4;
      Lsn end;
      {
        const std::lock_guard lock(order);  // the queue takes frames in LSN order only
        if (next > kEnd) return;
        ASSERT_TRUE(node_->Submit(Input(1, next, next + count - 1)).ok());
        next += count;
        end = next - 1;
      }
      Lsn synced = kNoLsn;
      Status failure;
      JournalNode::Flush flush;
      while ((flush = node_->FlushOnce(1, &synced, &failure)) == JournalNode::Flush::kSynced) {
      }
      ASSERT_NE(flush, JournalNode::Flush::kFailed) << failure.ToString();
      while (node_->WaitCommitted(end - 1, milliseconds(1000)) < end) {
      }
    }
  };
  const auto tail = [&](uint64_t thread) {
    std::mt19937_64 random(seed + 100 + thread);
    Lsn sent = kNoLsn;
    std::string frames;
    while (sent < kEnd) {
      const Lsn limit = node_->WaitCommitted(sent, milliseconds(1000));
      Lsn last = kNoLsn;
      ASSERT_TRUE(node_->Read(sent, limit, 1 + random() % 5000, &frames, &last).ok());
      if (last == kNoLsn) continue;
      ASSERT_EQ(frames, FrameRange(1, sent + 1, last));
      sent = last;
      if (random() % 50 == 0) usleep(3000);
    }
  };
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < 3; i++) threads.emplace_back(tail, i);
  for (uint64_t i = 0; i < 4; i++) threads.emplace_back(append, i);
  std::atomic<bool> done = false;
  std::thread trimmer([&] {
    // Behind all tailers: only that it runs beside them.
    Lsn trimmed;
    while (!done) {
      EXPECT_TRUE(node_->ReportCheckpoint("replica", 0, 60000, &trimmed).ok());
      usleep(500);
    }
  });
  for (std::thread& thread : threads) thread.join();
  done = true;
  trimmer.join();
  const Lsn end = node_->state().last_lsn;
  EXPECT_EQ(Read(0, end), FrameRange(1, 1, end));
  EXPECT_LT(node_->state().syncs, end);
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(Read(0, end), FrameRange(1, 1, end));
}

TEST_F(JournalNodeTest, SealGetsInUnderLoad) {
  ASSERT_TRUE(Open().ok());
  ASSERT_TRUE(Seal(1).ok());
  for (uint64_t epoch = 1; epoch < 20; epoch++) {
    std::atomic<Lsn> acknowledged = sealed_.last_lsn;
    std::thread writer([&, first = sealed_.last_lsn + 1] {
      for (Lsn lsn = first;; lsn++) {
        const Status status = node_->Append(Input(epoch, lsn, lsn));
        if (!status.ok()) {
          EXPECT_EQ(status.code(), Code::kStaleEpoch);
          return;
        }
        acknowledged = lsn;
      }
    });
    usleep(2000);
    ASSERT_TRUE(Seal(epoch + 1).ok());
    EXPECT_GE(sealed_.last_lsn, acknowledged);
    writer.join();
    // Nothing of the old epoch got in after the answer.
    EXPECT_EQ(node_->state().last_lsn, sealed_.last_lsn);
  }
}

TEST_F(JournalNodeTest, ShutdownWakesWaiters) {
  ASSERT_TRUE(Open().ok());
  std::thread waiter([&] { EXPECT_EQ(node_->WaitCommitted(5, milliseconds(60000)), kNoLsn); });
  usleep(1000);
  node_->Shutdown();
  waiter.join();
  EXPECT_EQ(Seal(1).code(), Code::kShutdown);
}

}  // namespace
}  // namespace concord::journal
