#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <random>

#include "core/crc32c.h"
#include "sidecar/lsn_text.h"
#include "sidecar/storage/snapshot_test_util.h"

namespace concord {
namespace {

// Hands on what a replica sends, and does something to it.
class Proxy final : public proto::Storage::Service {
 public:
  enum class Trick { kNone, kFlipBit, kFlipBitAndSum, kLeaveOut, kEndEarly, kBreakOff, kFallSilent };
  Proxy(const StoragePeer& source, Trick trick) : source_(source), trick_(trick) {}

  grpc::Status Snapshot(grpc::ServerContext* context, const proto::SnapshotRequest* request,
                        grpc::ServerWriter<proto::SnapshotPart>* writer) override {
    calls_++;
    grpc::ClientContext onward;
    const auto stream = source_.stub->Snapshot(&onward, *request);
    proto::SnapshotPart part;
    for (int i = 0; stream->Read(&part); i++) {
      std::string* const bytes = part.mutable_bytes();
      if (i == 3) {
        switch (trick_) {
          case Trick::kNone: break;
          case Trick::kFlipBit: (*bytes)[bytes->size() / 2] ^= 1; break;
          case Trick::kFlipBitAndSum:
            // All of the part, so that some page in use is among it.
            for (char& c : *bytes) c ^= 1;
            part.set_crc32c(Crc32c(*bytes));
            break;
          case Trick::kLeaveOut: continue;
          case Trick::kEndEarly:
            part.set_end(true);
            bytes->clear();
            break;
          case Trick::kBreakOff: onward.TryCancel(); return {grpc::StatusCode::UNAVAILABLE, "killed"};
          case Trick::kFallSilent:
            while (!context->IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
            break;
        }
      }
      if (!writer->Write(part)) break;
    }
    onward.TryCancel();
    return grpc::Status::OK;
  }
  int calls() const { return calls_; }

 private:
  const StoragePeer source_;
  const Trick trick_;
  std::atomic<int> calls_ = 0;
};

class SnapshotTest : public testing::Test {
 protected:
  void SetUp() override {
    source_.options().snapshot.part_bytes = 64u << 10;
    source_.Start();
    for (uint64_t i = 0; i < 400; i++) Put(i, 4000);
    ASSERT_TRUE(Eventually([&] { return source_.replica()->checkpoint() == journal_.last(); }));
    ASSERT_TRUE(Eventually([&] { return journal_.trimmed() == journal_.last(); })) << "it keeps nothing for anybody";
  }
  void TearDown() override {
    copy_.Stop();
    source_.Stop();
  }
  void Put(uint64_t row, size_t bytes) {
    std::string value(bytes, static_cast<char>('a' + random_() % 26));
    const Lsn lsn = journal_.Put(RowKey(1, row), value);
    model_.Write(RowKey(1, row), lsn, value);
  }
  void ExpectAll(TestReplica* replica) {
    ASSERT_TRUE(Eventually([&] { return replica->replica()->applied() >= journal_.last(); }))
        << LsnText(replica->replica()->applied()) << " of " << LsnText(journal_.last());
    ExpectSame(replica->replica().get(), model_, journal_.last());
    ExpectSameCounters(replica->replica().get(), model_);
  }
  void RestartSource(const std::function<void(ReplicaOptions*)>& change) {
    source_.Stop();
    change(&source_.options().replica);
    source_.Start();
    ASSERT_TRUE(Eventually([&] { return source_.replica()->applied() == journal_.last(); }));
  }
  // What Copy has left beside the directory.
  void ExpectCopy(const VersionModel& model, Lsn lsn) {
    const std::string directory = directory_.path() + "/storage";
    ASSERT_EQ(rename((directory + ".new").c_str(), directory.c_str()), 0);
    ReplicaOptions options;
    options.directory = directory;
    options.map_bytes = uint64_t{1} << 30;
    std::unique_ptr<Replica> replica;
    const Status opened = Replica::Open(options, &replica);
    ASSERT_TRUE(opened.ok()) << opened.ToString();
    EXPECT_EQ(replica->applied(), lsn);
    ExpectSame(replica.get(), model, lsn);
    ExpectSameCounters(replica.get(), model);
  }
  Status Copy(const StoragePeer& peer, std::function<Status(Lsn)> on_head = {}, int stall_ms = 30'000) {
    CopyOptions options;
    options.directory = directory_.path() + "/storage";
    options.on_head = std::move(on_head);
    options.stall_ms = stall_ms;
    return CopySnapshot(peer, options, &calls_, &progress_);
  }

  std::mt19937 random_{1};
  VersionModel model_;
  TrimmingJournal journal_;
  TestServer journal_server_{&journal_};
  TestReplica source_{"source", journal_server_};
  TestReplica copy_{"copy", journal_server_};
  TemporaryDirectory directory_;
  Cancellation calls_;
  CopyProgress progress_;
};

// Nothing is copied that could not be put in its place.
TEST_F(SnapshotTest, AFileSystemOfItsOwnIsRefused) {
  CopyOptions options;
  options.directory = "/proc";
  const Status status = CopySnapshot(source_.server().Peer(), options, &calls_, &progress_);
  EXPECT_EQ(status.code(), Code::kInvalid) << status.ToString();
  EXPECT_EQ(progress_.bytes, 0u);
}

// What is read at leisure is the state of the head, whatever the source has written, and which pages it has given to
// another use, since.
TEST_F(SnapshotTest, IsTheStateOfItsHeadThoughTheSourceWritesOn) {
  RestartSource([](ReplicaOptions* options) {
    options->retention_us = options->deleted_interval_us = options->superseded_interval_us = 0;
  });
  // More than is on its way when the head is read.
  for (uint64_t i = 0; i < 400; i++) Put(i, 60'000);
  ASSERT_TRUE(Eventually([&] { return source_.replica()->checkpoint() == journal_.last(); }));
  const VersionModel before = model_;
  Lsn head = kNoLsn;
  const Status s = Copy(source_.server().Peer(), [&](Lsn lsn) {
    head = lsn;
    for (int round = 0; round < 12; round++) {
      for (uint64_t i = 0; i < 400; i += 4) Put((i + random_() % 4) % 400, 60'000);
      EXPECT_TRUE(Eventually([&] { return source_.replica()->checkpoint() == journal_.last(); }));
    }
    return Status::Ok();
  });
  ASSERT_TRUE(s.ok()) << s.ToString();
  ExpectCopy(before, head);
  ExpectAll(&source_);
}

TEST_F(SnapshotTest, IsTheCheckpointAndNotWhatCameAfterIt) {
  RestartSource([](ReplicaOptions* options) { options->checkpoint_interval_us = int64_t{3600} * 1'000'000; });
  const VersionModel before = model_;
  const Lsn checkpoint = source_.replica()->checkpoint();
  for (uint64_t i = 0; i < 50; i++) Put(i, 100);
  ASSERT_TRUE(Eventually([&] { return source_.replica()->applied() == journal_.last(); }));
  Lsn head = kNoLsn;
  const Status s = Copy(source_.server().Peer(), [&](Lsn lsn) { return head = lsn, Status::Ok(); });
  ASSERT_TRUE(s.ok()) << s.ToString();
  EXPECT_EQ(head, checkpoint);
  ExpectCopy(before, checkpoint);
}

TEST_F(SnapshotTest, ANewReplicaCopiesAndThenFollows) {
  copy_.CopyFrom({source_.server().Peer()});
  std::atomic<bool> over = false;
  std::thread writer([&] {
    for (uint64_t i = 400; !over; i++) {
      Put(i % 700, 500);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  copy_.Start();
  const bool copied = Eventually([&] { return copy_.replica()->applied() > kNoLsn; });
  over = true;
  writer.join();
  ASSERT_TRUE(copied);
  ExpectAll(&copy_);
  ExpectAll(&source_);
  EXPECT_FALSE(copy_.Status_().fallen());
  EXPECT_FALSE(std::filesystem::exists(copy_.directory() + ".new"));
  // From then on it is one like any other.
  copy_.Stop();
  Put(1, 100);
  copy_.Start();
  ExpectAll(&copy_);
}

// It was there before, was away, and has readers.
TEST_F(SnapshotTest, OneThatFellBehindIsReplacedUnderItsReaders) {
  TrimmingJournal whole;
  TestServer whole_server(&whole);
  TestReplica late("late", whole_server);
  late.CopyFrom({source_.server().Peer()});
  late.Start();
  const Lsn old = whole.Put(RowKey(1, 1), "old");
  ASSERT_TRUE(Eventually([&] { return late.replica()->applied() == old; }));
  late.Stop();
  Put(7, 100);
  ASSERT_TRUE(Eventually([&] { return journal_.trimmed() == journal_.last(); }));
  ASSERT_GT(journal_.trimmed(), old);

  // The same replica at the other journal.
  TestReplica fallen("fallen", journal_server_);
  std::filesystem::create_directories(fallen.directory());
  std::filesystem::copy(late.directory(), fallen.directory(), std::filesystem::copy_options::recursive);
  fallen.CopyFrom({});
  fallen.Start();
  ASSERT_TRUE(Eventually([&] { return fallen.Status_().fallen(); }));
  EXPECT_TRUE(
      Eventually([&] { return fallen.Status_().copies_from() == "there is no other replica that it could copy"; }));
  EXPECT_TRUE(Eventually([&] { return !journal_.LeaseOf("fallen").has_value(); }))
      << "what it has not is of no use to it";
  fallen.Stop();

  fallen.CopyFrom({source_.server().Peer()});
  ASSERT_NO_FATAL_FAILURE(fallen.Start());
  ReplicaView view;
  if (fallen.replica() == fallen.first()) {
    ASSERT_TRUE(fallen.first()->OpenView(&view).ok());
  }
  ExpectAll(&fallen);
  EXPECT_NE(fallen.replica(), fallen.first());
  if (view.txn() != nullptr && view.applied() == old) {
    VisibleVersion version;
    ASSERT_TRUE(ReadVersion(view.txn(), view.DbFor(RowKey(1, 1)), RowKey(1, 1), old, &version).ok());
    EXPECT_EQ(version.value, "old");
  }
}

TEST_F(SnapshotTest, TheJournalIsHeldForACopyUnderWay) {
  Proxy silent(source_.server().Peer(), Proxy::Trick::kFallSilent);
  TestServer proxy(&silent);
  copy_.CopyFrom({proxy.Peer()});
  const Lsn head = source_.replica()->checkpoint();
  copy_.Start();
  ASSERT_TRUE(Eventually([&] { return journal_.LeaseOf("copy") == head; }));
  for (uint64_t i = 0; i < 10; i++) Put(i, 100);
  ASSERT_TRUE(Eventually([&] { return journal_.LeaseOf("source") == journal_.last(); }));
  EXPECT_EQ(journal_.LeaseOf("copy"), head);
  EXPECT_EQ(journal_.trimmed(), head);
  const proto::StorageStatus status = copy_.Status_();
  EXPECT_TRUE(status.fallen());
  EXPECT_EQ(status.copies_from(), proxy.address());
  EXPECT_GT(status.copy_bytes(), status.copied_bytes());
  copy_.Stop();
}

TEST_F(SnapshotTest, WhatIsDamagedIsNotTaken) {
  using Trick = Proxy::Trick;
  for (const Trick trick : {Trick::kFlipBit, Trick::kFlipBitAndSum, Trick::kLeaveOut, Trick::kEndEarly}) {
    Proxy damaging(source_.server().Peer(), trick);
    TestServer proxy(&damaging);
    const Status s = Copy(proxy.Peer());
    EXPECT_EQ(s.code(), Code::kCorruption) << static_cast<int>(trick) << " " << s.ToString();
    EXPECT_FALSE(std::filesystem::exists(directory_.path() + "/storage.new"));
  }
}

TEST_F(SnapshotTest, AnotherOneIsCopiedWhenTheFirstOneFails) {
  using Trick = Proxy::Trick;
  for (const Trick trick : {Trick::kFlipBit, Trick::kBreakOff, Trick::kFallSilent}) {
    Proxy failing(source_.server().Peer(), trick);
    TestServer proxy(&failing);
    TestReplica replica("replica", journal_server_);
    replica.options().copy_stall_ms = 300;
    replica.CopyFrom({proxy.Peer(), source_.server().Peer()});
    replica.Start();
    ExpectAll(&replica);
    EXPECT_GE(failing.calls(), 1);
  }
}

// Whoever waits for ever costs the source nothing for ever.
TEST_F(SnapshotTest, AReceiverThatTakesNothingIsLetGo) {
  source_.Stop();
  source_.options().snapshot.stall_ms = 200;
  source_.Start();
  for (uint64_t i = 0; i < 40; i++) Put(i, 1u << 20);
  ASSERT_TRUE(Eventually([&] { return source_.replica()->checkpoint() == journal_.last(); }));
  const auto readers = [&] { return source_.Status_().readers(); };
  const uint64_t before = readers();
  grpc::ClientContext context;
  const auto stub = proto::Storage::NewStub(source_.server().Channel());
  const auto stream = stub->Snapshot(&context, {});
  proto::SnapshotPart part;
  ASSERT_TRUE(stream->Read(&part));
  // One that is held beside the newest.
  Put(1, 100);
  ASSERT_TRUE(Eventually([&] { return source_.replica()->checkpoint() == journal_.last(); }));
  EXPECT_TRUE(Eventually([&] { return readers() <= before; }));
  while (stream->Read(&part)) {
  }
  EXPECT_FALSE(stream->Finish().ok());
}

TEST_F(SnapshotTest, AReceiverThatIsSlowForLongIsLetGo) {
  source_.Stop();
  source_.options().snapshot.grace_ms = -1;
  source_.options().snapshot.bytes_per_ms_min = uint64_t{1} << 40;
  source_.Start();
  const Status s = Copy(source_.server().Peer());
  EXPECT_FALSE(s.ok());
  EXPECT_NE(s.message().find("too slow"), std::string::npos) << s.ToString();
}

// What a crash may leave: a part of a copy, or what the copy has replaced.
TEST_F(SnapshotTest, WhatACrashHasLeftGoesAtTheNextStart) {
  Put(3, 100);
  source_.Stop();
  const std::string left = source_.directory() + ".new";
  std::filesystem::create_directories(left);
  std::ofstream(left + "/data.mdb") << "half of it";
  source_.Start();
  EXPECT_FALSE(std::filesystem::exists(left));
  ExpectAll(&source_);
}

TEST_F(SnapshotTest, OneThatIsOlderIsNotCopied) {
  // The copy has got further than the source, and then the journal has nothing for it.
  const Status s = Copy(source_.server().Peer(), [](Lsn) { return Status(Code::kUnavailable, "older"); });
  EXPECT_EQ(s.code(), Code::kUnavailable);
  EXPECT_FALSE(std::filesystem::exists(directory_.path() + "/storage.new"));
  EXPECT_EQ(progress_.copied, 0u);
}

}  // namespace
}  // namespace concord
