// What the journal acknowledged is there after a crash of the operating system: in its files, behind a node, behind a
// local link. Each of these is red when a sync is left out or not waited for.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <random>
#include <thread>

#include "sidecar/journal/append_link.h"
#include "sidecar/journal/journal_test_util.h"
#include "sidecar/rpc/directory_lock.h"
#include "sidecar/testing/lossy_disk.h"

namespace concord::journal {
namespace {

class DurabilityTest : public testing::Test {
 protected:
  DurabilityTest() {
    const char* given = getenv("CONCORD_TEST_SEED");
    seed_ = given != nullptr ? strtoull(given, nullptr, 10) : std::random_device{}();
    random_.seed(seed_);
    image_random_.seed(seed_ + 1);
    options_.log.directory = directory_.path() + "/journal";
    options_.log.segment_bytes = 16384;
    options_.retention_ms = 0;
  }

  // The frames after `base` of a log in `directory`.
  static std::string ReadAll(const SegmentLog& log) {
    std::string all, part;
    Lsn last = kNoLsn;
    for (Lsn after = log.state().base_lsn; log.Read(after, UINT64_MAX, 1 << 20, &part, &last).ok() && last != kNoLsn;
         after = last)
      all += part;
    return all;
  }
  // What a crash now would leave; or nothing of the unsynced, or some of it.
  std::string Image(bool some_unsynced) {
    const std::lock_guard lock(image_mutex_);
    const std::string path = directory_.path() + "/image" + std::to_string(++images_);
    disk_.Image(path, some_unsynced ? &image_random_ : nullptr);
    return path;
  }
  // The log of an image has the frames of the LSNs up to `acknowledged` at least, and then those that follow.
  void ExpectFrames(const std::string& image, Lsn acknowledged) {
    SegmentLogOptions options = options_.log;
    options.directory = image;
    std::unique_ptr<SegmentLog> log;
    const Status status = SegmentLog::Open(options, &log);
    ASSERT_TRUE(status.ok()) << status.ToString();
    ASSERT_GE(log->state().last_lsn, acknowledged);
    ASSERT_TRUE(ReadAll(*log) == FrameRange(1, log->state().base_lsn + 1, log->state().last_lsn));
    log.reset();
    std::filesystem::remove_all(image);
  }

  TemporaryDirectory directory_;
  uint64_t seed_;
  std::mt19937_64 random_;
  std::mutex image_mutex_;  // guards the two after it
  std::mt19937_64 image_random_;
  int images_ = 0;
  JournalNodeOptions options_;
  LossyDisk disk_{directory_.path() + "/journal"};
};

struct Record {
  uint64_t epoch;
  Lsn lsn, prev_lsn;
  size_t size;
};

// A random history, with a crash before every sync, and after every step.
TEST_F(DurabilityTest, ALogComesBackFromACrashAtAnyMoment) {
  SCOPED_TRACE("seed " + std::to_string(seed_));
  std::vector<Record> before, after;  // the step under way
  uint64_t sealed_before = 0, sealed_after = 0;
  const auto frames = [](const std::vector<Record>& records, Lsn from, Lsn to) {
    std::string all;
    for (const Record& r : records) {
      if (r.lsn > from && r.lsn <= to) AppendFrame(&all, r.epoch, r.lsn, r.prev_lsn, std::string(r.size, '\3'));
    }
    return all;
  };
  const auto end = [](const std::vector<Record>& records) { return records.empty() ? kNoLsn : records.back().lsn; };
  const auto check = [&](const std::string& image) {
    SegmentLogOptions options = options_.log;
    options.directory = image;
    std::unique_ptr<SegmentLog> log;
    const Status status = SegmentLog::Open(options, &log);
    ASSERT_TRUE(status.ok()) << status.ToString();
    const SegmentLog::State state = log->state();
    ASSERT_GE(state.last_lsn, std::min(end(before), end(after)));
    ASSERT_LE(state.last_lsn, std::max(end(before), end(after)));
    if (end(after) < end(before)) {  // a truncation is done as a whole
      ASSERT_TRUE(state.last_lsn == end(before) || state.last_lsn == end(after));
    }
    ASSERT_TRUE(ReadAll(*log) == frames(end(after) < end(before) ? before : after, state.base_lsn, state.last_lsn));
    ASSERT_GE(state.sealed_epoch, sealed_before);
    ASSERT_LE(state.sealed_epoch, std::max(sealed_after, state.last_epoch));
    log.reset();
    std::filesystem::remove_all(image);
  };

  options_.log.spare_segments_max = random_() % 3;
  std::unique_ptr<SegmentLog> log;
  ASSERT_TRUE(SegmentLog::Open(options_.log, &log).ok());
  std::vector<std::pair<int, std::string>> crashed;  // by step
  uint64_t epoch = 1;
  Lsn trimmed = kNoLsn;
  for (int step = 0; step < 150 && !HasFatalFailure(); step++) {
    const uint64_t what = random_() % 100;
    const bool crash_inside = random_() % 4 == 0;
    if (crash_inside) {
      disk_.OnSync([&, step] {
        std::string image = Image(false), mixed = Image(true);
        const std::lock_guard lock(image_mutex_);
        crashed.emplace_back(step, std::move(image));
        crashed.emplace_back(step, std::move(mixed));
      });
    }
    if (what < 70) {
      std::string batch;
      const size_t size = random_() % 40 == 0 ? 40000 : 1 + random_() % 3000;
      for (uint64_t count = 1 + random_() % 4; count > 0; count--) {
        after.push_back({epoch, end(after) + 1 + random_() % 3, end(after), size});
        batch += frames(after, after.back().prev_lsn, after.back().lsn);
      }
      auto parsed = std::make_shared<Batch>();
      ASSERT_TRUE(Batch::Parse(std::move(batch), parsed.get()).ok());
      const BatchRef ref = parsed;
      ASSERT_TRUE(log->Append({&ref, 1}, end(before)).ok());
    } else if (what < 80 && !after.empty()) {
      trimmed = std::max(trimmed, after[random_() % after.size()].lsn);
      ASSERT_TRUE(log->Trim(trimmed).ok());
    } else if (what < 90 && !after.empty()) {
      size_t kept = after.size() - std::min<size_t>(after.size(), random_() % 8);
      while (kept < after.size() && (kept == 0 || after[kept - 1].lsn < trimmed)) kept++;
      after.resize(kept);
      ASSERT_TRUE(log->Truncate(end(after)).ok());
      epoch++;
    } else {
      sealed_after = ++epoch;
      ASSERT_TRUE(log->SaveSealedEpoch(sealed_after).ok());
    }
    disk_.OnSync(nullptr);
    {
      const std::lock_guard lock(image_mutex_);
      for (const auto& [made_at, image] : std::exchange(crashed, {})) {
        if (made_at == step) check(image);  // else the pool's thread came late, and may have seen the step before
      }
    }
    before = after;
    sealed_before = sealed_after = log->state().sealed_epoch;
    check(Image(false));
    check(Image(true));
  }
  log.reset();
}

// A crash while it gives up its records leaves some of the last ones, or none; never a log that cannot be opened.
TEST_F(DurabilityTest, ALogThatIsGivenUpComesBackFromACrashAtAnyMoment) {
  SCOPED_TRACE("seed " + std::to_string(seed_));
  std::unique_ptr<SegmentLog> log;
  ASSERT_TRUE(SegmentLog::Open(options_.log, &log).ok());
  const auto append = [&](Lsn first, Lsn last) {
    auto batch = std::make_shared<Batch>();
    ASSERT_TRUE(Batch::Parse(FrameRange(1, first, last, 1500), batch.get()).ok());
    const BatchRef ref = batch;
    ASSERT_TRUE(log->Append({&ref, 1}, kNoLsn).ok());
  };
  constexpr Lsn kEnd = 60, kBase = 100;
  for (Lsn lsn = 1; lsn <= kEnd; lsn += 3) append(lsn, lsn + 2);
  std::mutex mutex;  // the pool's thread syncs, too
  std::vector<std::string> images;
  disk_.OnSync([&] {
    const std::string image = Image(false), mixed = Image(true);
    const std::lock_guard lock(mutex);
    images.push_back(image);
    images.push_back(mixed);
  });
  ASSERT_TRUE(log->Restart(kBase).ok());
  const size_t before_append = [&] {
    const std::lock_guard lock(mutex);
    return images.size();
  }();
  append(kBase + 1, kBase + 1);
  disk_.OnSync(nullptr);
  images.push_back(Image(false));
  EXPECT_GT(before_append, 10u);
  for (size_t i = 0; i < images.size(); i++) {
    SegmentLogOptions options = options_.log;
    options.directory = images[i];
    std::unique_ptr<SegmentLog> image;
    const Status status = SegmentLog::Open(options, &image);
    ASSERT_TRUE(status.ok()) << i << ": " << status.ToString();
    const Lsn last = image->state().last_lsn;
    if (i + 1 == images.size()) {
      EXPECT_EQ(last, kBase + 1);
    }
    if (last == kBase + 1) {
      EXPECT_EQ(ReadAll(*image), FrameRange(1, kBase + 1, last, 1500));
    } else {
      ASSERT_TRUE(last == kNoLsn || last == kEnd) << last;
      EXPECT_TRUE(ReadAll(*image) == (last == kNoLsn ? "" : FrameRange(1, image->state().base_lsn + 1, last, 1500)));
    }
  }
}

TEST_F(DurabilityTest, WhatANodeCommittedSurvives) {
  SCOPED_TRACE("seed " + std::to_string(seed_));
  std::unique_ptr<JournalNode> node;
  ASSERT_TRUE(JournalNode::Open(options_, &node).ok());
  JournalNode::SealResult sealed{};
  ASSERT_TRUE(node->Seal(1, &sealed).ok());
  disk_.DelaySyncs(std::chrono::milliseconds(1));
  constexpr Lsn kEnd = 120;
  // One is told by its own Append, the other by what readers are shown.
  std::vector<std::pair<std::string, Lsn>> appended, shown;
  std::thread reader([&] {
    for (Lsn committed = kNoLsn; committed < kEnd;) {
      committed = node->WaitCommitted(committed, std::chrono::seconds(1));
      shown.emplace_back(Image(shown.size() % 2 == 1), committed);
    }
  });
  for (Lsn lsn = 1; lsn <= kEnd; lsn += 2) {
    ASSERT_TRUE(node->Append(Input(1, lsn, lsn + 1)).ok());
    appended.emplace_back(Image(appended.size() % 2 == 1), lsn + 1);
  }
  reader.join();
  node.reset();
  for (const auto& [image, lsn] : appended) ExpectFrames(image, lsn);
  for (const auto& [image, lsn] : shown) ExpectFrames(image, lsn);
}

TEST_F(DurabilityTest, WhatALocalLinkAcknowledgedSurvives) {
  SCOPED_TRACE("seed " + std::to_string(seed_));
  std::unique_ptr<JournalNode> node;
  ASSERT_TRUE(JournalNode::Open(options_, &node).ok());
  JournalNode::SealResult sealed{};
  ASSERT_TRUE(node->Seal(1, &sealed).ok());
  disk_.DelaySyncs(std::chrono::milliseconds(1));
  std::vector<std::pair<std::string, Lsn>> acknowledged;
  Lsn lsn = kNoLsn;
  for (const LocalSync sync : {LocalSync::kInWrite, LocalSync::kInRead}) {
    const std::unique_ptr<AppendLink> link = OpenLocalAppend(node.get(), sync);
    for (int i = 0; i < 40; i++) {
      proto::AppendRequest request;
      request.set_epoch(1);
      request.set_write_quorum(1);
      request.set_frames(FrameRange(1, lsn + 1, lsn + 1));
      lsn++;
      proto::AppendReply reply;
      ASSERT_TRUE(link->Write(std::move(request), &reply));
      if (sync == LocalSync::kInRead) {
        ASSERT_EQ(reply.synced_lsn(), kNoLsn);
        ASSERT_TRUE(link->Read(&reply));
      }
      ASSERT_EQ(reply.synced_lsn(), lsn);
      acknowledged.emplace_back(Image(lsn % 2 == 1), lsn);
    }
    link->WritesDone();
  }
  for (const auto& [image, end] : acknowledged) ExpectFrames(image, end);
}

// A directory that was made and not synced into its parent may be gone, with all that is in it.
TEST_F(DurabilityTest, DirectoriesAreDurable) {
  const std::string parent = directory_.path() + "/parent", outer = parent + "/concord";
  std::filesystem::create_directory(parent);
  DirectoryLock lock;
  ASSERT_TRUE(lock.Acquire(outer, 0).ok());
  EXPECT_TRUE(disk_.Synced(parent));
  // As a process leaves it that was killed between making the directory and syncing it.
  std::filesystem::create_directory(outer + "/journal");
  EXPECT_FALSE(disk_.Synced(outer));
  SegmentLogOptions options = options_.log;
  options.directory = outer + "/journal";
  std::unique_ptr<SegmentLog> log;
  ASSERT_TRUE(SegmentLog::Open(options, &log).ok());
  EXPECT_TRUE(disk_.Synced(outer));
}

}  // namespace
}  // namespace concord::journal
