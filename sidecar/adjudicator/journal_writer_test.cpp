// What the writer owes to its nodes and its caller; the service's tests go through it too.
#include "sidecar/adjudicator/journal_writer.h"

#include <grpc/grpc.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "sidecar/adjudicator/test_journal.h"
#include "sidecar/journal/journal_test_util.h"

namespace concord {
namespace {

[[maybe_unused]] const bool grpc_stays = (grpc_init(), true);

// Up to a limit for what must come, and a moment for what must not.
bool WaitFor(const std::function<bool()>& condition, std::chrono::milliseconds limit = std::chrono::seconds(60)) {
  for (const auto end = std::chrono::steady_clock::now() + limit; std::chrono::steady_clock::now() < end;) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

// Two threads may tell of commits in either order.
void Raise(std::atomic<Lsn>* committed, Lsn lsn) {
  for (Lsn known = *committed; known < lsn && !committed->compare_exchange_weak(known, lsn);) {
  }
}

TEST(JournalWriter, ANodeTooFarBehindIsGivenUpAndTheOthersGoOn) {
  constexpr Lsn kEnd = 100;
  TestJournal first, second, slow;
  std::atomic<Lsn> committed = kNoLsn;
  std::atomic<bool> failed = false;
  JournalWriter writer(
      {first.stub(), second.stub(), slow.stub()}, {0, 1, 2}, {.epoch = 1, .write_quorum = 2, .max_lag_bytes = 10000},
      [&](Lsn lsn) { Raise(&committed, lsn); }, [&](const Status&) { failed = true; });
  writer.Start();
  slow.Hold(true);
  for (Lsn lsn = 1; lsn <= kEnd; lsn++) {
    writer.Append(lsn, lsn - 1, std::string(1000, 'r'), {});
    writer.Flush(/*more_to_come=*/false);
    ASSERT_TRUE(WaitFor([&] { return committed == lsn; })) << lsn;
  }
  slow.Hold(false);
  EXPECT_FALSE(WaitFor([&] { return slow.log().size() == kEnd; }, std::chrono::milliseconds(300)));
  EXPECT_EQ(first.log().size(), kEnd);
  EXPECT_EQ(second.log().size(), kEnd);
  EXPECT_FALSE(failed);
  writer.Stop();
}

// Where somebody waits for it, what is committed is told at once, also during a sync; elsewhere with what follows.
TEST(JournalWriter, WhatIsCommittedIsToldWhereSomebodyWaitsForIt) {
  constexpr Lsn kEnd = 30;
  TestJournal waiting, idle, slow;
  idle.SetUnfollowed(true);
  std::atomic<Lsn> committed = kNoLsn;
  JournalWriter writer(
      {waiting.stub(), idle.stub(), slow.stub()}, {0, 1, 2}, {.epoch = 1, .write_quorum = 2, .lease_ms = 500},
      [&](Lsn lsn) { Raise(&committed, lsn); }, [](const Status&) {});
  writer.Start();
  const auto begin = std::chrono::steady_clock::now();
  // The first answers tell who waits.
  ASSERT_TRUE(WaitFor([&] { return writer.LeaseUntilUs() > 0; }));
  for (Lsn lsn = 1; lsn <= kEnd; lsn++) {
    writer.Append(lsn, lsn - 1, "r", {});
    writer.Flush(/*more_to_come=*/false);
    ASSERT_TRUE(WaitFor([&] { return committed == lsn && waiting.committed() == lsn; })) << lsn;
  }
  EXPECT_GE(waiting.news(), static_cast<int>(kEnd) - 5);  // but where a heartbeat was due
  const auto heartbeats = (std::chrono::steady_clock::now() - begin) / std::chrono::milliseconds(100);
  EXPECT_LE(idle.news(), 1 + heartbeats);  // the one before its first answer
  EXPECT_TRUE(WaitFor([&] { return idle.committed() == kEnd; })) << "a heartbeat tells it";
  idle.SetUnfollowed(false);
  EXPECT_TRUE(WaitFor([&] {
    const Lsn lsn = committed + 1;
    writer.Append(lsn, lsn - 1, "r", {});
    writer.Flush(/*more_to_come=*/false);
    return WaitFor([&] { return committed == lsn; }) && idle.news() > 1;
  }));
  writer.Stop();
}

// A node of the own process counts like the others, and its disk holds up nobody.
TEST(JournalWriter, ANodeOfThisProcessIsOneOfSeveral) {
  journal::TemporaryDirectory directory;
  std::mutex mutex;
  std::condition_variable changed;
  bool hangs = false;
  journal::JournalNodeOptions node_options;
  node_options.log.directory = directory.path() + "/journal";
  node_options.log.sync_data = [&](int) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return !hangs; });
    return 0;
  };
  std::unique_ptr<journal::JournalNode> node;
  ASSERT_TRUE(journal::JournalNode::Open(node_options, &node).ok());
  journal::JournalNode::SealResult sealed{};
  ASSERT_TRUE(node->Seal(1, &sealed).ok());

  TestJournal second, third;
  JournalPeer own(nullptr);  // without a way through gRPC
  own.node = node.get();
  std::atomic<Lsn> committed = kNoLsn;
  std::atomic<bool> failed = false;
  JournalWriter writer(
      {own, second.stub(), third.stub()}, {0, 1, 2}, {.epoch = 1, .write_quorum = 2, .lease_ms = 500},
      [&](Lsn lsn) { Raise(&committed, lsn); }, [&](const Status&) { failed = true; });
  writer.Start();
  const auto append = [&](Lsn lsn) {
    writer.Append(lsn, lsn - 1, "\x03", "x");
    writer.Flush(/*more_to_come=*/false);
  };
  third.Hold(true);  // so the own one is needed
  Lsn lsn = kNoLsn;
  for (; lsn < 20; append(++lsn)) ASSERT_TRUE(WaitFor([&] { return committed == lsn; })) << lsn;
  ASSERT_TRUE(WaitFor([&] { return committed == lsn; }));
  EXPECT_TRUE(WaitFor([&] { return writer.LeaseUntilUs() > 0; }));
  third.Hold(false);
  ASSERT_TRUE(WaitFor([&] { return third.log().size() == lsn; }));

  {
    const std::lock_guard lock(mutex);
    hangs = true;
  }
  for (int i = 0; i < 20; i++) {
    append(++lsn);
    ASSERT_TRUE(WaitFor([&] { return committed == lsn; })) << lsn;
  }
  EXPECT_LT(writer.Nodes()[0].synced, lsn);
  {
    const std::lock_guard lock(mutex);
    hangs = false;
    changed.notify_all();
  }
  EXPECT_TRUE(WaitFor([&] { return writer.Nodes()[0].synced == lsn; }));
  EXPECT_TRUE(WaitFor([&] { return node->state().committed_lsn == lsn; })) << "it is told, too";
  EXPECT_FALSE(failed);

  // Whoever leads next fences it, and that is the end.
  ASSERT_TRUE(node->Seal(2, &sealed).ok());
  append(++lsn);
  EXPECT_TRUE(WaitFor([&] { return failed.load(); }));
  writer.Stop();
}

// What is kept back while a node syncs stays back when it is told what the others have committed.
TEST(JournalWriter, NewsTakeNoFramesAlong) {
  TestJournal first, second, syncing;
  std::atomic<Lsn> committed = kNoLsn;
  JournalWriter writer(
      {first.stub(), second.stub(), syncing.stub()}, {0, 1, 2}, {.epoch = 1, .write_quorum = 2, .lease_ms = 500},
      [&](Lsn lsn) { Raise(&committed, lsn); }, [](const Status&) {});
  writer.Start();
  ASSERT_TRUE(WaitFor([&] { return writer.LeaseUntilUs() > 0; }));
  syncing.Hold(true);
  constexpr Lsn kEnd = 40;
  for (Lsn lsn = 1; lsn <= kEnd; lsn++) {
    writer.Append(lsn, lsn - 1, "r", {});
    writer.Flush(/*more_to_come=*/false);
    ASSERT_TRUE(WaitFor([&] { return committed == lsn; })) << lsn;
  }
  syncing.Hold(false);
  EXPECT_TRUE(WaitFor([&] { return syncing.log().size() == kEnd; }));
  EXPECT_LE(syncing.with_frames(), 2);
  writer.Stop();
}

// One node has the record and another one hangs, so that it is not committed: a third that comes back makes it so.
TEST(JournalWriter, ANodeThatJoinsMayBeTheOneThatIsMissingForAQuorum) {
  TestJournal first, hanging, absent;
  std::atomic<Lsn> committed = kNoLsn;
  JournalWriter writer(
      {first.stub(), hanging.stub(), absent.stub()}, {0, 1}, {.epoch = 1, .write_quorum = 2},
      [&](Lsn lsn) { Raise(&committed, lsn); }, [](const Status&) {});
  writer.Start();
  hanging.Hold(true);
  writer.Append(1, kNoLsn, "r", {});
  writer.Flush(/*more_to_come=*/false);
  EXPECT_EQ(writer.Absent(), std::vector<size_t>{2});
  Lsn end = kNoLsn;
  size_t source = 9;
  ASSERT_TRUE(writer.BeginJoin(2, &end, &source));
  EXPECT_EQ(end, 1u);
  EXPECT_EQ(source, 0u);
  EXPECT_EQ(committed, kNoLsn);
  absent.Put(1, 1);  // as the caller copies it
  writer.Append(2, 1, "r", {});
  ASSERT_TRUE(writer.Join(2));
  EXPECT_TRUE(WaitFor([&] { return committed == 2; }));
  EXPECT_EQ(absent.log().size(), 2u);
  EXPECT_TRUE(writer.Absent().empty());
  hanging.Hold(false);
  writer.Stop();
}

// While the members are changed a record needs both ensembles, and what was committed before is with the new one first.
TEST(JournalWriter, AChangeCountsBothEnsembles) {
  TestJournal a, b, c, d, e;
  std::atomic<Lsn> committed = kNoLsn;
  std::atomic<bool> failed = false;
  JournalWriter writer(
      {a.stub(), b.stub(), c.stub()}, {0, 1, 2}, {.epoch = 1, .write_quorum = 2},
      [&](Lsn lsn) { Raise(&committed, lsn); }, [&](const Status&) { failed = true; });
  writer.Start();
  const auto append = [&](Lsn lsn) {
    writer.Append(lsn, lsn - 1, "r", {});
    writer.Flush(/*more_to_come=*/false);
  };
  append(1);
  ASSERT_TRUE(WaitFor([&] { return committed == 1; }));
  const size_t fourth = writer.AddNode(d.stub()), fifth = writer.AddNode(e.stub());
  EXPECT_FALSE(writer.AwaitJoined({fourth, fifth}, 10));
  const auto join = [&](TestJournal* node, size_t index) {
    Lsn end = kNoLsn;
    size_t source = 9;
    ASSERT_TRUE(writer.BeginJoin(index, &end, &source));
    for (const auto& record : a.log()) node->Put(record.epoch, record.lsn);
    ASSERT_TRUE(writer.Join(index));
  };
  join(&d, fourth);
  join(&e, fifth);
  EXPECT_TRUE(writer.AwaitJoined({fourth, fifth}, 10'000));

  // What the old ensemble has, the new one has not.
  d.Hold(true);
  e.Hold(true);
  append(2);
  ASSERT_TRUE(WaitFor([&] { return committed == 2; }));
  std::atomic<bool> begun = false;
  std::thread change([&] { begun = writer.BeginChange({{2, fourth, fifth}, 2}, 60'000); });
  EXPECT_FALSE(WaitFor([&] { return begun.load(); }, std::chrono::milliseconds(300)));
  append(3);
  EXPECT_FALSE(WaitFor([&] { return committed == 3; }, std::chrono::milliseconds(300)));
  d.Hold(false);
  change.join();
  EXPECT_TRUE(begun);
  EXPECT_TRUE(WaitFor([&] { return committed == 3; }));
  // The old one alone is not enough, nor is the new one.
  d.Hold(true);
  append(4);
  EXPECT_FALSE(WaitFor([&] { return committed == 4; }, std::chrono::milliseconds(300)));
  a.Hold(true);
  b.Hold(true);
  d.Hold(false);
  append(5);
  ASSERT_TRUE(WaitFor([&] { return d.log().size() == 5; }));
  EXPECT_TRUE(WaitFor([&] { return committed == 4; }));
  EXPECT_FALSE(WaitFor([&] { return committed > 4; }, std::chrono::milliseconds(300)));
  writer.EndChange(/*adopt=*/true);
  EXPECT_TRUE(WaitFor([&] { return committed == 5; }));
  EXPECT_TRUE(writer.Absent().empty()) << "who is no member does not come back";
  EXPECT_FALSE(failed);
  for (TestJournal* node : {&a, &b, &e}) node->Hold(false);
  writer.Stop();
}

// The new members go before anything was promised to the metastore: the old ones go on.
TEST(JournalWriter, AChangeThatCannotBeginEndsNoEpoch) {
  TestJournal a, b;
  std::atomic<Lsn> committed = kNoLsn;
  std::atomic<bool> failed = false;
  JournalWriter writer(
      {a.stub()}, {0}, {.epoch = 1}, [&](Lsn lsn) { Raise(&committed, lsn); }, [&](const Status&) { failed = true; });
  writer.Start();
  const size_t second = writer.AddNode(b.stub());
  EXPECT_FALSE(writer.BeginChange({{0, second}, 2}, 60'000)) << "it has not joined";
  Lsn end = kNoLsn;
  size_t source = 9;
  ASSERT_TRUE(writer.BeginJoin(second, &end, &source));
  ASSERT_TRUE(writer.Join(second));
  b.Hold(true);
  writer.Append(1, kNoLsn, "r", {});
  writer.Flush(/*more_to_come=*/false);
  ASSERT_TRUE(WaitFor([&] { return committed == 1; }));
  bool begun = true;
  std::thread change([&] { begun = writer.BeginChange({{0, second}, 2}, 60'000); });
  b.FailAfter(0, {Code::kIoError, "broken"});
  b.Hold(false);
  change.join();
  EXPECT_FALSE(begun);
  writer.EndChange(/*adopt=*/false);
  writer.Append(2, 1, "r", {});
  writer.Flush(/*more_to_come=*/false);
  EXPECT_TRUE(WaitFor([&] { return committed == 2; }));
  EXPECT_FALSE(failed);
  EXPECT_TRUE(writer.Absent().empty());
  writer.Stop();
}

// Neither ensemble is left, one stream after the other: nothing counts as committed.
TEST(JournalWriter, AChangeDuringWhichAllAreLostCommitsNothing) {
  for (int round = 0; round < 20; round++) {
    TestJournal a, b;
    std::atomic<Lsn> committed = kNoLsn;
    std::atomic<bool> failed = false;
    JournalWriter writer(
        {a.stub()}, {0}, {.epoch = 1}, [&](Lsn lsn) { Raise(&committed, lsn); }, [&](const Status&) { failed = true; });
    writer.Start();
    const size_t second = writer.AddNode(b.stub());
    Lsn end = kNoLsn;
    size_t source = 9;
    ASSERT_TRUE(writer.BeginJoin(second, &end, &source));
    ASSERT_TRUE(writer.Join(second));
    const auto append = [&](Lsn lsn) {
      writer.Append(lsn, lsn - 1, "r", {});
      writer.Flush(/*more_to_come=*/false);
    };
    b.Hold(true);  // so that it has not what is committed, and the change cannot go on
    append(1);
    ASSERT_TRUE(WaitFor([&] { return committed == 1; }));
    a.Hold(true);
    append(2);
    std::atomic<bool> begun = false;
    std::thread change([&] { begun = writer.BeginChange({{0, second}, 2}, 60'000); });
    ASSERT_TRUE(WaitFor([&] { return writer.Nodes()[second].counted; }));
    for (TestJournal* node : {&a, &b}) node->FailAfter(0, {Code::kIoError, "broken"});
    for (TestJournal* node : {&b, &a}) node->Hold(false);
    EXPECT_TRUE(WaitFor([&] { return failed.load(); }));
    change.join();
    writer.EndChange(/*adopt=*/false);
    EXPECT_FALSE(begun);
    EXPECT_EQ(committed, 1u);
    EXPECT_EQ(writer.committed(), 1u);
    writer.Stop();
  }
}

// A new member that hangs stops commits for so long, and no longer.
TEST(JournalWriter, AChangeThatTakesTooLongIsGivenUp) {
  TestJournal a, b;
  std::atomic<Lsn> committed = kNoLsn;
  JournalWriter writer(
      {a.stub()}, {0}, {.epoch = 1}, [&](Lsn lsn) { Raise(&committed, lsn); }, [](const Status&) {});
  writer.Start();
  const size_t second = writer.AddNode(b.stub());
  EXPECT_EQ(writer.write_quorum(), 2u) << "no node may take what it alone has for committed";
  Lsn end = kNoLsn;
  size_t source = 9;
  ASSERT_TRUE(writer.BeginJoin(second, &end, &source));
  ASSERT_TRUE(writer.Join(second));
  b.Hold(true);
  writer.Append(1, kNoLsn, "r", {});
  writer.Flush(/*more_to_come=*/false);
  ASSERT_TRUE(WaitFor([&] { return committed == 1; }));
  std::thread load([&] {
    writer.Append(2, 1, "r", {});
    writer.Flush(/*more_to_come=*/false);
  });
  EXPECT_FALSE(writer.BeginChange({{0, second}, 2}, 100));
  load.join();
  writer.EndChange(/*adopt=*/false);
  EXPECT_TRUE(WaitFor([&] { return committed == 2; }));
  b.Hold(false);
  writer.Stop();
}

TEST(JournalWriter, NobodyJoinsWhenThatHasEnded) {
  TestJournal hanging, absent;
  JournalWriter writer(
      {hanging.stub(), absent.stub()}, {0}, {.epoch = 1}, [](Lsn) {}, [](const Status&) {});
  writer.Start();
  hanging.Hold(true);
  writer.Append(1, kNoLsn, "r", {});
  writer.Flush(/*more_to_come=*/false);
  std::thread ends([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    writer.EndJoins();
  });
  Lsn end = kNoLsn;
  size_t source = 9;
  EXPECT_FALSE(writer.BeginJoin(1, &end, &source));
  ends.join();
  hanging.Hold(false);
  writer.Stop();
}

}  // namespace
}  // namespace concord
