#include "sidecar/journal/segment_log.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <random>

#include "sidecar/journal/segment_format.h"

namespace concord::journal {
namespace {

namespace fs = std::filesystem;

struct Record {
  uint64_t epoch;
  Lsn lsn;
  Lsn prev_lsn;
  std::string body;
};

std::string Frames(const std::vector<Record>& records) {
  std::string frames;
  for (const Record& r : records) AppendFrame(&frames, r.epoch, r.lsn, r.prev_lsn, r.body);
  return frames;
}

class SegmentLogTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "/segment-log-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    root_ = name;
    options_.directory = root_ + "/journal";
    options_.segment_bytes = 16384;
  }
  void TearDown() override {
    log_.reset();
    fs::remove_all(root_);
  }

  Status Open() {
    log_.reset();
    return SegmentLog::Open(options_, &log_);
  }
  // The files of this moment.
  void CopyTo(const std::string& image) {
    std::error_code error;
    do {  // again if the pool renamed a file meanwhile
      fs::remove_all(image);
      fs::copy(options_.directory, image, error);
    } while (error);
  }
  // The process dies: no mark is written. Files are those of that moment.
  void Crash() {
    const std::string image = root_ + "/image";
    CopyTo(image);
    log_.reset();
    fs::remove_all(options_.directory);
    fs::rename(image, options_.directory);
  }
  void Restore(const std::string& from) {
    log_.reset();
    fs::remove_all(options_.directory);
    fs::copy(from, options_.directory);
  }

  Record Next(size_t size, uint64_t epoch = 1) {
    const Lsn prev = model_.empty() ? kNoLsn : model_.back().lsn;
    std::string body(size, '\0');
    for (char& c : body) c = static_cast<char>(random_());
    return {epoch, prev + 1 + random_() % 5, prev, std::move(body)};
  }
  // Appends `count` records as one batch.
  Status Append(int count, size_t size, uint64_t epoch = 1) {
    std::vector<Record> records;
    const size_t before = model_.size();
    for (int i = 0; i < count; i++) {
      records.push_back(Next(size, epoch));
      model_.push_back(records.back());
    }
    auto batch = std::make_shared<Batch>();
    Status status = Batch::Parse(Frames(records), batch.get());
    EXPECT_TRUE(status.ok()) << status.ToString();
    const BatchRef ref = batch;
    status = log_->Append({&ref, 1}, kNoLsn);
    if (!status.ok()) model_.resize(before);
    return status;
  }

  std::string ReadAll(Lsn after = kNoLsn, size_t bytes_max = 1000) {
    std::string all, part;
    Lsn last = kNoLsn;
    while (true) {
      const Status status = log_->Read(after, UINT64_MAX, bytes_max, &part, &last);
      if (!status.ok()) return status.ToString();
      if (part.empty()) return all;
      EXPECT_GT(last, after);
      after = last;
      all += part;
    }
  }
  std::string Expected(Lsn after = kNoLsn) {
    std::vector<Record> records;
    for (const Record& r : model_) {
      if (r.lsn > after) records.push_back(r);
    }
    return Frames(records);
  }
  void ExpectModel() {
    EXPECT_EQ(log_->state().last_lsn, model_.empty() ? kNoLsn : model_.back().lsn);
    EXPECT_TRUE(ReadAll(log_->state().base_lsn) == Expected(log_->state().base_lsn));
  }
  std::string Path(uint64_t sequence) { return options_.directory + "/" + SegmentName(sequence); }
  static void Flip(const std::string& path, uint64_t offset) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(offset));
    const char c = static_cast<char>(file.get() ^ 0x10);
    file.seekp(static_cast<std::streamoff>(offset));
    file.put(c);
  }

  std::string root_;
  SegmentLogOptions options_;
  std::unique_ptr<SegmentLog> log_;
  std::vector<Record> model_;
  std::mt19937_64 random_{1};
};

TEST_F(SegmentLogTest, AppendsAndReadsBackAfterReopening) {
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(ReadAll(), "");
  for (int i = 0; i < 200; i++) ASSERT_TRUE(Append(1 + i % 3, 100).ok());
  ExpectModel();
  const uint64_t segments = log_->state().segments;
  EXPECT_GT(segments, 3u);
  ASSERT_TRUE(Open().ok());
  ExpectModel();
  EXPECT_EQ(log_->state().segments, segments);
  EXPECT_EQ(log_->state().last_epoch, 1u);
}

TEST_F(SegmentLogTest, ReadRespectsAfterLimitAndSize) {
  options_.cache_bytes_max = 0;
  for (const size_t cache : {size_t{0}, size_t{1} << 20}) {
    options_.cache_bytes_max = cache;
    log_.reset();
    fs::remove_all(options_.directory);
    model_.clear();
    ASSERT_TRUE(Open().ok());
    for (int i = 0; i < 300; i++) ASSERT_TRUE(Append(1 + i % 4, 50).ok());
    std::string frames;
    Lsn last;
    for (size_t i = 0; i + 10 < model_.size(); i += 7) {
      std::string found;
      for (Lsn after = model_[i].lsn; after < model_[i + 3].lsn; after = last) {  // again at the end of a segment
        ASSERT_TRUE(log_->Read(after, model_[i + 3].lsn, 1 << 20, &frames, &last).ok());
        ASSERT_NE(last, kNoLsn);
        found += frames;
      }
      EXPECT_EQ(found, Frames({model_.begin() + i + 1, model_.begin() + i + 4}));
      ASSERT_TRUE(log_->Read(model_.back().lsn, UINT64_MAX, 1 << 20, &frames, &last).ok());
      EXPECT_EQ(last, kNoLsn);
      ASSERT_TRUE(log_->Read(model_[i].lsn, UINT64_MAX, 1, &frames, &last).ok());
      EXPECT_EQ(frames, Frames({model_[i + 1]}));
    }
    EXPECT_EQ(ReadAll(model_[5].lsn, 1 << 20), Expected(model_[5].lsn));
  }
}

TEST_F(SegmentLogTest, FrameLargerThanASegmentGetsItsOwn) {
  ASSERT_TRUE(Open().ok());
  ASSERT_TRUE(Append(1, 100000).ok());
  ASSERT_TRUE(Append(1, 10).ok());
  ASSERT_TRUE(Append(3, 9000).ok());
  ASSERT_TRUE(Append(1, 700000).ok());
  options_.cache_bytes_max = 0;
  ASSERT_TRUE(Open().ok());
  ExpectModel();
}

TEST_F(SegmentLogTest, ObservesEachRecordOnceAndEachSync) {
  ASSERT_TRUE(Open().ok());
  uint64_t appended = 0;
  // Batches that end in another segment than they begin in, too.
  for (const int count : {1, 3, 40, 7, 25}) {
    ASSERT_TRUE(Append(count, 700).ok());
    appended += static_cast<uint64_t>(count);
  }
  EXPECT_GT(log_->state().segments, 1U);
  EXPECT_EQ(log_->observed().records.Read().sum, appended);
  uint64_t syncs = 0;
  for (const uint64_t bucket : log_->observed().sync_us.Read().counts) syncs += bucket;
  EXPECT_EQ(syncs, log_->state().syncs);
  EXPECT_GT(syncs, 5U);
  EXPECT_GT(log_->observed().bytes, appended * 700);
}

TEST_F(SegmentLogTest, RefusesGapsAndFallingEpochs) {
  ASSERT_TRUE(Open().ok());
  ASSERT_TRUE(Append(2, 10, 3).ok());
  const auto refused = [this](const Record& record) {
    auto batch = std::make_shared<Batch>();
    ASSERT_TRUE(Batch::Parse(Frames({record}), batch.get()).ok());
    const BatchRef ref = batch;
    EXPECT_EQ(log_->Append({&ref, 1}, kNoLsn).code(), Code::kInvalid);
  };
  const Lsn last = model_.back().lsn;
  refused({3, last + 2, last + 1, "gap"});
  refused({3, last, model_.front().lsn, "again"});
  refused({2, last + 1, last, "old epoch"});
  ASSERT_TRUE(Append(1, 10, 3).ok());
  ExpectModel();
}

// The frames of one request, before they come near the log.
TEST_F(SegmentLogTest, ABatchIsAChainOfFrames) {
  const auto parse = [](const std::vector<Record>& records) {
    Batch batch;
    return Batch::Parse(Frames(records), &batch);
  };
  EXPECT_TRUE(parse({{2, 5, 3, "a"}, {2, 6, 5, "b"}, {3, 9, 6, "c"}}).ok());
  EXPECT_EQ(parse({}).code(), Code::kInvalid);
  EXPECT_EQ(parse({{2, 5, 3, "a"}, {2, 7, 6, "gap"}}).code(), Code::kInvalid);
  EXPECT_EQ(parse({{2, 5, 3, "a"}, {2, 6, 4, "fork"}}).code(), Code::kInvalid);
  EXPECT_EQ(parse({{2, 5, 3, "a"}, {2, 5, 5, "no higher LSN"}}).code(), Code::kInvalid);
  EXPECT_EQ(parse({{2, 5, 3, "a"}, {1, 6, 5, "the epoch falls"}}).code(), Code::kInvalid);
  EXPECT_EQ(parse({{0, 5, 3, "no epoch"}}).code(), Code::kInvalid);
}

TEST_F(SegmentLogTest, TornTailIsCutAtEveryByteOfTheLastGroup) {
  for (const int frames : {1, 3}) {
    log_.reset();
    fs::remove_all(options_.directory);
    model_.clear();
    ASSERT_TRUE(Open().ok());
    ASSERT_TRUE(Append(4, 30).ok());
    Crash();
    const std::string before = root_ + "/before", after = root_ + "/after";
    ASSERT_TRUE(Open().ok());  // writes a mark
    CopyTo(before);
    ASSERT_TRUE(Append(frames, 30).ok());
    Crash();
    fs::remove_all(after);
    fs::copy(options_.directory, after);
    const auto load = [](const std::string& path) {
      std::ifstream file(path, std::ios::binary);
      return std::string(std::istreambuf_iterator<char>(file), {});
    };
    const std::string old_bytes = load(before + "/" + SegmentName(1)), new_bytes = load(after + "/" + SegmentName(1));
    const auto [first, unused] = std::mismatch(old_bytes.begin(), old_bytes.end(), new_bytes.begin());
    const size_t from = static_cast<size_t>(first - old_bytes.begin());
    size_t to = new_bytes.size();
    while (old_bytes[to - 1] == new_bytes[to - 1]) to--;
    const std::vector<Record> whole = model_;
    std::vector<Record> cut(model_.begin(), model_.begin() + 4);
    for (size_t at = from; at <= to; at++) {
      for (const bool keep_tail : {false, true}) {
        // What the disk has: the first or the last part of the write.
        std::string bytes =
            keep_tail ? old_bytes.substr(0, at) + new_bytes.substr(at) : new_bytes.substr(0, at) + old_bytes.substr(at);
        const bool intact = bytes == new_bytes;
        Restore(after);
        std::ofstream(Path(1), std::ios::binary) << bytes;
        const Status status = Open();
        ASSERT_TRUE(status.ok()) << status.ToString() << " at " << at << " keep_tail " << keep_tail;
        model_ = intact ? whole : cut;
        ExpectModel();
        if (at % 16 == 0) {
          // What the crash left behind never comes back after new frames.
          ASSERT_TRUE(Append(1, 5).ok());
          ASSERT_TRUE(Open().ok());
          ExpectModel();
        }
      }
    }
  }
}

TEST_F(SegmentLogTest, FlippedByteInsideIsRefusedWithItsPlace) {
  ASSERT_TRUE(Open().ok());
  for (int i = 0; i < 60; i++) ASSERT_TRUE(Append(1 + i % 2, 300).ok());
  const uint64_t segments = log_->state().segments;
  ASSERT_GE(segments, 2u);
  log_.reset();  // a clean end, so even the last group is known to be whole
  const std::string saved = root_ + "/saved";
  fs::copy(options_.directory, saved);
  for (uint64_t sequence = 1; sequence <= segments; sequence++) {
    // The extent of the groups, from the format itself.
    std::ifstream file(saved + "/" + SegmentName(sequence), std::ios::binary);
    const std::string bytes(std::istreambuf_iterator<char>(file), {});
    SegmentHeader header;
    ASSERT_TRUE(ParseSegmentHeader(bytes, &header).ok());
    std::vector<uint64_t> groups;
    uint64_t end = kFirstGroupOffset;
    GroupHeader group;
    std::string_view frames;
    while (ParseGroup(std::string_view(bytes).substr(end), header.salt, end, &group, &frames) == GroupState::kWhole) {
      groups.push_back(end);
      end += kGroupHeaderSize + PadGroup(group.frames_size);
    }
    const uint64_t data_end = sequence == segments ? groups.back() : end;  // behind a last mark nothing could prove it
    for (uint64_t at = 0; at < data_end; at += at < kSegmentHeaderSize ? 1 : 37) {
      if (at >= kSegmentHeaderSize && at < kFirstGroupOffset) at = kFirstGroupOffset;
      Restore(saved);
      Flip(Path(sequence), at);
      const Status status = Open();
      ASSERT_EQ(status.code(), Code::kCorruption) << "sequence " << sequence << " byte " << at;
      const uint64_t place =
          at < kFirstGroupOffset ? 0 : *std::prev(std::upper_bound(groups.begin(), groups.end(), at));
      EXPECT_NE(status.message().find(Path(sequence) + ", offset " + std::to_string(place) + ":"), std::string::npos)
          << status.message() << " expected place " << place;
    }
  }
  Restore(saved);
  ASSERT_TRUE(Open().ok());
  ExpectModel();
}

TEST_F(SegmentLogTest, MissingSegmentIsRefused) {
  ASSERT_TRUE(Open().ok());
  for (int i = 0; i < 60; i++) ASSERT_TRUE(Append(1, 2000).ok());
  log_.reset();
  fs::remove(Path(3));
  const Status status = Open();
  EXPECT_EQ(status.code(), Code::kCorruption);
  EXPECT_NE(status.message().find(SegmentName(4)), std::string::npos) << status.message();
}

TEST_F(SegmentLogTest, ReadNamesDamageInAFile) {
  options_.cache_bytes_max = 0;
  ASSERT_TRUE(Open().ok());
  for (int i = 0; i < 10; i++) ASSERT_TRUE(Append(1, 100).ok());
  Flip(Path(1), kFirstGroupOffset + 200);
  EXPECT_NE(ReadAll().find("Corruption: " + Path(1) + ", offset "), std::string::npos);
}

TEST_F(SegmentLogTest, RestartGivesUpAllAndGoesOnElsewhere) {
  for (const int records : {0, 1, 30}) {
    SCOPED_TRACE(records);
    ASSERT_TRUE(Open().ok());
    ASSERT_TRUE(log_->SaveSealedEpoch(7).ok());
    if (records > 0) {
      ASSERT_TRUE(Append(records, 1500).ok());
      EXPECT_EQ(log_->Restart(model_.back().lsn - 1).code(), Code::kInvalid);
      ExpectModel();
    }
    const Lsn base = 1'000'000;
    ASSERT_TRUE(log_->Restart(base).ok());
    EXPECT_EQ(log_->state().base_lsn, base);
    EXPECT_EQ(log_->state().last_lsn, base);
    EXPECT_EQ(log_->state().first_lsn, kNoLsn);
    EXPECT_EQ(log_->state().sealed_epoch, 7u);
    std::string frames;
    Lsn last;
    EXPECT_EQ(log_->Read(base - 1, UINT64_MAX, 100, &frames, &last).code(), Code::kTooOld);
    // The next record has not come: there is nothing to go on from.
    ASSERT_TRUE(Open().ok());
    EXPECT_EQ(log_->state().last_lsn, kNoLsn);
    EXPECT_EQ(log_->state().sealed_epoch, 7u);

    ASSERT_TRUE(log_->Restart(base).ok());
    model_ = {{7, base, kNoLsn, ""}};
    EXPECT_EQ(log_->Restart(base - 1).code(), Code::kInvalid);
    ASSERT_TRUE(Append(20, 1500, 7).ok());
    model_.erase(model_.begin());
    ExpectModel();
    Crash();
    ASSERT_TRUE(Open().ok());
    EXPECT_EQ(log_->state().base_lsn, base);
    ExpectModel();
    log_.reset();
    fs::remove_all(options_.directory);
    model_.clear();
  }
}

TEST_F(SegmentLogTest, TrimKeepsWhatIsAboveAndRecyclesSafely) {
  options_.spare_segments_max = 2;
  ASSERT_TRUE(Open().ok());
  Lsn trim = kNoLsn;
  for (int round = 0; round < 60; round++) {
    ASSERT_TRUE(Append(1 + static_cast<int>(random_() % 6), 1 + random_() % 1500).ok());
    trim = std::max(trim, model_[random_() % model_.size()].lsn);
    ASSERT_TRUE(log_->Trim(trim).ok());
    ASSERT_LE(log_->state().base_lsn, trim);
    if (random_() % 4 == 0) {
      if (random_() % 2 == 0) Crash();
      ASSERT_TRUE(Open().ok());
    }
    ExpectModel();
  }
  ASSERT_TRUE(log_->Trim(UINT64_MAX).ok());
  EXPECT_EQ(log_->state().segments, 1u);
  EXPECT_NE(log_->state().first_lsn, kNoLsn);
  std::string frames;
  Lsn last;
  EXPECT_EQ(log_->Read(model_.front().lsn, UINT64_MAX, 100, &frames, &last).code(), Code::kTooOld);
  ASSERT_TRUE(Open().ok());
  ExpectModel();
}

TEST_F(SegmentLogTest, NextSegmentIsPreparedAheadOfNeed) {
  options_.spare_segments_max = 4;
  std::atomic<int> allocations = 0;
  options_.allocate = [&](int fd, uint64_t size) {
    allocations++;
    return AllocateFile(fd, size);
  };
  ASSERT_TRUE(Open().ok());
  const auto wait_for = [](const std::string& path) {
    for (int i = 0; i < 2000 && !fs::exists(path); i++) usleep(1000);
    return fs::exists(path);
  };
  ASSERT_TRUE(Append(1, 7000).ok());
  for (uint64_t sequence = 2; sequence < 20; sequence++) {
    ASSERT_TRUE(wait_for(Path(sequence)));
    ASSERT_TRUE(Append(1, 7000).ok());  // does not fit behind another
    ASSERT_TRUE(log_->Trim(UINT64_MAX).ok());
  }
  ExpectModel();
  EXPECT_LE(allocations, 4);  // from then on files are recycled
}

// Of a page that is not in the page cache the kernel would read what a write leaves alone.
TEST_F(SegmentLogTest, PagesAreWrittenWhole) {
  ASSERT_TRUE(Open().ok());
  ASSERT_TRUE(Append(1, 10).ok());
  const auto byte = [&](uint64_t offset) {
    std::ifstream file(Path(1), std::ios::binary);
    file.seekg(static_cast<std::streamoff>(offset));
    return file.get();
  };
  // What a recycled segment holds behind the end of the log: in this page, in the next one, and in the one after it.
  for (int page = 2; page <= 4; page++) Flip(Path(1), page * 4096 - 1);
  ASSERT_TRUE(Append(1, 10).ok());  // enters no page
  EXPECT_NE(byte(2 * 4096 - 1), 0);
  ASSERT_TRUE(Append(1, 5000).ok());
  EXPECT_EQ(byte(3 * 4096 - 1), 0);
  EXPECT_NE(byte(4 * 4096 - 1), 0);
  ExpectModel();
  Crash();
  ASSERT_TRUE(Open().ok());
  ExpectModel();
}

TEST_F(SegmentLogTest, TruncateAtAnyFrame) {
  ASSERT_TRUE(Open().ok());
  for (int i = 0; i < 20; i++) ASSERT_TRUE(Append(1 + i % 3, 900).ok());
  const std::string saved = root_ + "/saved";
  Crash();
  fs::copy(options_.directory, saved);
  const std::vector<Record> whole = model_;
  for (size_t kept = 0; kept <= whole.size(); kept++) {
    Restore(saved);
    model_ = whole;
    ASSERT_TRUE(Open().ok());
    model_.resize(kept);
    ASSERT_TRUE(log_->Truncate(kept == 0 ? kNoLsn : model_.back().lsn).ok());
    ExpectModel();
    ASSERT_TRUE(Append(2, 700, 2).ok());  // another history, of other LSNs
    ExpectModel();
    Crash();
    ASSERT_TRUE(Open().ok());
    ExpectModel();
    EXPECT_EQ(log_->state().sealed_epoch, 2u);
  }
}

TEST_F(SegmentLogTest, TruncationThatACrashInterruptedIsRedone) {
  ASSERT_TRUE(Open().ok());
  for (int i = 0; i < 20; i++) ASSERT_TRUE(Append(3, 900).ok());
  Crash();
  const std::string saved = root_ + "/saved";
  fs::copy(options_.directory, saved);
  // The decision on disk, the work not begun: take the state file that an unfinished Truncate leaves.
  ASSERT_TRUE(Open().ok());
  std::string decided;
  options_.sync_data = nullptr;
  const size_t kept = 5;
  {
    // The segments cannot be changed while their directory entry is a directory: the work stops after the decision.
    const uint64_t blocked = 2;
    log_.reset();
    Restore(saved);
    ASSERT_TRUE(Open().ok());
    std::vector<std::string> later;
    for (uint64_t sequence = blocked; fs::exists(Path(sequence)); sequence++) later.push_back(Path(sequence));
    ASSERT_GE(later.size(), 2u);
    fs::remove(later[0]);
    fs::create_directory(later[0]);
    EXPECT_FALSE(log_->Truncate(model_[kept - 1].lsn).ok());
    EXPECT_FALSE(Append(1, 1).ok());  // sticky until reopened
    std::ifstream file(options_.directory + "/state", std::ios::binary);
    decided.assign(std::istreambuf_iterator<char>(file), {});
  }
  Restore(saved);
  std::ofstream(options_.directory + "/state", std::ios::binary) << decided;
  ASSERT_TRUE(Open().ok());
  model_.resize(kept);
  ExpectModel();
}

TEST_F(SegmentLogTest, SealedEpochSurvives) {
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(log_->state().sealed_epoch, 0u);
  ASSERT_TRUE(log_->SaveSealedEpoch(7).ok());
  Crash();
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(log_->state().sealed_epoch, 7u);
  Flip(options_.directory + "/state", 12);
  EXPECT_EQ(Open().code(), Code::kCorruption);
}

TEST_F(SegmentLogTest, FailedSyncEndsAppendingUntilReopened) {
  bool fail = false;
  options_.sync_data = [&fail](int fd) {
    if (!fail) return ::fdatasync(fd);
    errno = EIO;
    return -1;
  };
  ASSERT_TRUE(Open().ok());
  ASSERT_TRUE(Append(1, 10).ok());
  fail = true;
  EXPECT_EQ(Append(1, 10).code(), Code::kIoError);
  fail = false;
  EXPECT_EQ(Append(1, 10).code(), Code::kIoError);
  EXPECT_EQ(log_->Truncate(0).code(), Code::kIoError);
  ExpectModel();  // reading goes on
}

TEST_F(SegmentLogTest, FullDiskPasses) {
  std::atomic<bool> full = false;
  options_.allocate = [&](int fd, uint64_t size) { return full ? ENOSPC : AllocateFile(fd, size); };
  options_.spare_segments_max = 0;
  ASSERT_TRUE(Open().ok());
  full = true;
  Status status;
  for (int i = 0; i < 100 && status.ok(); i++) status = Append(1, 1000);
  EXPECT_EQ(status.code(), Code::kNoSpace);
  EXPECT_EQ(Append(1, 1000).code(), Code::kNoSpace);
  ExpectModel();
  full = false;
  ASSERT_TRUE(Append(5, 5000).ok());
  ExpectModel();
  ASSERT_TRUE(Open().ok());
  ExpectModel();
}

// Everything at once against a vector of records.
TEST_F(SegmentLogTest, RandomHistory) {
  const char* given = getenv("CONCORD_TEST_SEED");
  const uint64_t seed = given != nullptr ? strtoull(given, nullptr, 10) : std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  random_.seed(seed);
  options_.spare_segments_max = random_() % 3;
  options_.cache_bytes_max = random_() % 3 * 5000;
  ASSERT_TRUE(Open().ok());
  uint64_t epoch = 1;
  Lsn trimmed = kNoLsn;
  for (int step = 0; step < 400; step++) {
    const uint64_t what = random_() % 100;
    if (what < 70) {
      if (random_() % 20 == 0) epoch++;
      const int count = 1 + static_cast<int>(random_() % 5);
      const Status status = Append(count, random_() % 50 == 0 ? 40000 : 1 + random_() % 2000, epoch);
      ASSERT_TRUE(status.ok()) << status.ToString();
    } else if (what < 80 && !model_.empty()) {
      trimmed = std::max(trimmed, model_[model_.size() * (random_() % 100) / 100].lsn);
      ASSERT_TRUE(log_->Trim(trimmed).ok());
    } else if (what < 85 && !model_.empty()) {
      size_t kept = model_.size() - std::min<size_t>(model_.size(), random_() % 12);
      while (kept > 0 && kept < model_.size() && model_[kept - 1].lsn < trimmed) kept++;
      if (kept == 0 && trimmed != kNoLsn) continue;
      model_.resize(kept);
      ASSERT_TRUE(log_->Truncate(kept == 0 ? kNoLsn : model_.back().lsn).ok());
      epoch++;
    } else if (what < 95) {
      Crash();
      const Status status = Open();
      ASSERT_TRUE(status.ok()) << status.ToString();
    } else {
      ASSERT_TRUE(Open().ok());
    }
    ASSERT_LE(log_->state().base_lsn, trimmed);
    ExpectModel();
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace concord::journal
