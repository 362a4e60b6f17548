// The channel between real processes: backends are forked, the gateway is a thread of the test.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <future>
#include <map>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <thread>

#include "bridge/channel_layout.h"
#include "core/lsn_page.h"

namespace concord {
namespace {

constexpr size_t kBuffer = 4096;

uint64_t Digest(std::string_view bytes) {
  return std::accumulate(bytes.begin(), bytes.end(), UINT64_C(1469598103934665603), [](uint64_t hash, char c) {
    return (hash ^ static_cast<uint8_t>(c)) * UINT64_C(1099511628211);
  });
}

class Block {
 public:
  explicit Block(int slots) : size_(cc_channel_size(slots, kBuffer)) {
    memory_ = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cc_channel_init(get(), slots, kBuffer);
  }
  ~Block() { munmap(memory_, size_); }
  CcChannel* get() { return static_cast<CcChannel*>(memory_); }
  CcChannel& operator*() { return *get(); }

 private:
  size_t size_;
  void* memory_;
};

// Takes whole requests and answers each with the digest of its bytes.
class EchoGateway {
 public:
  explicit EchoGateway(CcChannel& channel) : channel_(channel) {
    AttachGateway(channel_);
    thread_ = std::thread([this] { Run(); });
  }
  ~EchoGateway() {
    stop_ = true;
    BumpWork(channel_);
    thread_.join();
    DetachGateway(channel_);
  }

 private:
  void Run() {
    std::vector<int> ready;
    while (!stop_) {
      const uint32_t seen = WorkSeen(channel_);
      ready.clear();
      CollectReady(channel_, &ready);
      for (int slot : ready) Take(slot);
      if (ready.empty()) AwaitWork(channel_, seen, 20, 50);
    }
  }

  void Take(int slot) {
    Piece piece;
    if (!PeekPiece(channel_, slot, &piece)) return;
    std::string copy(piece.bytes);
    if (!ReleasePiece(channel_, slot, piece)) return;
    auto& [sequence, bytes] = partial_[slot];
    if (piece.first()) {
      sequence = piece.sequence;
      bytes.clear();
    }
    ASSERT_EQ(sequence, piece.sequence);
    bytes += copy;
    ASSERT_EQ(bytes.size(), piece.end);
    if (!piece.last()) return;
    CcAnswer answer = {};
    answer.outcome = CC_COMMITTED;
    answer.lsn = Digest(bytes);
    Answer(channel_, slot, sequence, answer, std::to_string(bytes.size()));
  }

  CcChannel& channel_;
  std::map<int, std::pair<uint64_t, std::string>> partial_;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

// Hands over `bytes`; false if it was given up after `give_up_after` bytes.
bool PutAll(CcChannel* channel, int slot, CcRequestKind kind, std::string_view bytes, size_t give_up_after = SIZE_MAX) {
  cc_channel_begin(channel, slot, kind, bytes.size());
  size_t done = 0;
  while (done < bytes.size()) {
    const size_t taken = cc_channel_put(channel, slot, bytes.data() + done, bytes.size() - done);
    done += taken;
    if (done >= give_up_after) {
      cc_channel_cancel(channel, slot);
      return false;
    }
    if (taken == 0) sched_yield();
  }
  return true;
}

// One backend's life: random requests, some of them given up. Returns the number of wrong answers.
int RunBackend(CcChannel* channel, int slot, unsigned seed, int requests) {
  std::mt19937 random(seed);
  int wrong = 0;
  for (int i = 0; i < requests; i++) {
    std::string bytes(random() % 4 == 0 ? random() % (5 * kBuffer) : random() % 300, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    const size_t give_up_after = random() % 8 == 0 ? random() % (bytes.size() + 1) : SIZE_MAX;
    if (!PutAll(channel, slot, CC_REQ_COMMIT, bytes, give_up_after)) continue;
    if (random() % 8 == 0) {
      cc_channel_cancel(channel, slot);  // while the answer may be on its way
      continue;
    }
    CcAnswer answer;
    while (!cc_channel_answered(channel, slot, 50, &answer)) sched_yield();
    if (answer.outcome != CC_COMMITTED || answer.lsn != Digest(bytes) ||
        std::to_string(bytes.size()) != cc_channel_text(channel, slot))
      wrong++;
  }
  return wrong;
}

TEST(Channel, ManyProcessesGetTheirOwnAnswers) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  constexpr int kBackends = 70;  // more than one word of ready bits
  Block block(kBackends);
  std::vector<pid_t> children;
  for (int i = 0; i < kBackends; i++) {
    const pid_t pid = fork();
    if (pid == 0) {
      alarm(60);
      _exit(RunBackend(block.get(), i, seed + static_cast<unsigned>(i), 300) == 0 ? 0 : 1);
    }
    children.push_back(pid);
  }
  EchoGateway gateway(*block);
  for (pid_t pid : children) {
    int status = 0;
    waitpid(pid, &status, 0);
    EXPECT_EQ(status, 0);
  }
  EXPECT_TRUE(cc_channel_idle(block.get()));
}

TEST(Channel, SleepingPumpIsWoken) {
  Block block(1);
  EchoGateway gateway(*block);
  for (int i = 0; i < 20; i++) {
    usleep(2000);
    ASSERT_TRUE(PutAll(block.get(), 0, CC_REQ_COMMIT, "x"));
    CcAnswer answer;
    EXPECT_TRUE(cc_channel_answered(block.get(), 0, 1000000, &answer));
  }
}

TEST(Channel, WhatCannotWaitWakesAPumpThatHoldsCommitsBack) {
  Block block(3);
  int slot = 0;
  const auto pump = [&] {
    // An earlier hand-over may end the sleep that it had just begun: one such return is no waking.
    for (int sleeps = 0; sleeps < 2; sleeps++) AwaitUrgentWork(*block, WorkSeen(*block), 60000);
  };
  const std::pair<CcRequestKind, size_t> urgent[] = {
      {CC_REQ_READ_LSN, 0}, {CC_REQ_CHUNK, 1}, {CC_REQ_COMMIT, kBuffer + 1}};
  for (const auto& [kind, size] : urgent) {
    auto sleeper = std::async(std::launch::async, pump);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (sleeper.wait_for(std::chrono::milliseconds(1)) != std::future_status::ready) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << kind;
      cc_channel_begin(block.get(), slot, kind, size);
      const std::string bytes(size, 'u');
      if (size > 0) cc_channel_put(block.get(), slot, bytes.data(), size);
    }
    slot++;
  }
}

TEST(Channel, RequestWithoutPayloadIsHandedOverAtOnce) {
  Block block(2);
  cc_channel_begin(block.get(), 1, CC_REQ_READ_LSN, 0);
  EXPECT_FALSE(cc_channel_idle(block.get()));
  std::vector<int> ready;
  CollectReady(*block, &ready);
  ASSERT_EQ(ready, std::vector<int>{1});
  Piece piece;
  ASSERT_TRUE(PeekPiece(*block, 1, &piece));
  EXPECT_EQ(piece.kind, CC_REQ_READ_LSN);
  EXPECT_TRUE(piece.first() && piece.last());
  EXPECT_TRUE(ReleasePiece(*block, 1, piece));
  EXPECT_TRUE(IsWaited(*block, 1, piece.sequence));
}

TEST(Channel, BytesPutBitByBitStayInTheirBuffer) {
  Block block(2);
  const std::string bytes = [] {
    std::string text;
    for (size_t i = 0; i < 2 * kBuffer + 100; i++) text += static_cast<char>(i % 251);
    return text;
  }();
  PutAll(block.get(), 1, CC_REQ_COMMIT, std::string(kBuffer - 1, 'n'));  // the neighbour behind
  cc_channel_begin(block.get(), 0, CC_REQ_COMMIT, bytes.size());
  std::string received;
  size_t put = 0;
  for (int round = 0; round < 1000 && received.size() < bytes.size(); round++) {
    put += cc_channel_put(block.get(), 0, bytes.data() + put, std::min<size_t>(1000, bytes.size() - put));
    Piece piece;
    if (!PeekPiece(*block, 0, &piece)) continue;
    received.append(piece.bytes);
    ASSERT_TRUE(ReleasePiece(*block, 0, piece));
  }
  EXPECT_TRUE(received == bytes);
  Piece piece;
  ASSERT_TRUE(PeekPiece(*block, 1, &piece));
  EXPECT_TRUE(piece.bytes == std::string(kBuffer - 1, 'n'));
}

TEST(Channel, CancelledRequestIsNeitherTakenNorAnswered) {
  Block block(1);
  CcAnswer answer = {};
  answer.outcome = CC_COMMITTED;
  Piece piece;

  PutAll(block.get(), 0, CC_REQ_COMMIT, "first");
  ASSERT_TRUE(PeekPiece(*block, 0, &piece));
  cc_channel_cancel(block.get(), 0);
  EXPECT_FALSE(ReleasePiece(*block, 0, piece));

  PutAll(block.get(), 0, CC_REQ_COMMIT, "second");
  ASSERT_TRUE(PeekPiece(*block, 0, &piece));
  EXPECT_EQ(piece.bytes, "second");
  ASSERT_TRUE(ReleasePiece(*block, 0, piece));
  PutAll(block.get(), 0, CC_REQ_COMMIT, "third");  // begins while the second's verdict is on its way
  EXPECT_FALSE(Answer(*block, 0, piece.sequence, answer));
  EXPECT_FALSE(cc_channel_answered(block.get(), 0, 0, &answer));
  ASSERT_TRUE(PeekPiece(*block, 0, &piece));
  EXPECT_EQ(piece.bytes, "third");
}

TEST(Channel, RequestIsWithdrawnUntilItIsSent) {
  Block block(1);
  Piece piece;
  CcAnswer answer = {};
  answer.outcome = CC_COMMITTED;
  EXPECT_TRUE(cc_channel_withdraw(block.get(), 0));  // nothing is there

  PutAll(block.get(), 0, CC_REQ_COMMIT, "handed over");
  EXPECT_TRUE(cc_channel_withdraw(block.get(), 0));
  EXPECT_FALSE(PeekPiece(*block, 0, &piece));

  PutAll(block.get(), 0, CC_REQ_COMMIT, "taken");
  ASSERT_TRUE(PeekPiece(*block, 0, &piece));
  ASSERT_TRUE(ReleasePiece(*block, 0, piece));
  EXPECT_TRUE(cc_channel_withdraw(block.get(), 0));
  EXPECT_FALSE(MarkSent(*block, 0, piece.sequence));

  PutAll(block.get(), 0, CC_REQ_COMMIT, "sent");
  ASSERT_TRUE(PeekPiece(*block, 0, &piece));
  ASSERT_TRUE(ReleasePiece(*block, 0, piece));
  EXPECT_TRUE(MarkSent(*block, 0, piece.sequence));
  EXPECT_TRUE(MarkSent(*block, 0, piece.sequence));  // in the next session
  EXPECT_FALSE(cc_channel_withdraw(block.get(), 0));
  EXPECT_FALSE(cc_channel_idle(block.get()));
  ASSERT_TRUE(Answer(*block, 0, piece.sequence, answer));
  EXPECT_FALSE(cc_channel_withdraw(block.get(), 0));
  EXPECT_TRUE(cc_channel_answered(block.get(), 0, 0, &answer));
  EXPECT_EQ(answer.outcome, CC_COMMITTED);
}

TEST(Channel, DropsKeepTheChannelFromBeingIdle) {
  Block block(1);
  EXPECT_TRUE(cc_channel_idle(block.get()));
  cc_channel_drop_storage(block.get(), 7);
  EXPECT_FALSE(cc_channel_idle(block.get()));
  (*block).drops.Pop(1);
  EXPECT_TRUE(cc_channel_idle(block.get()));
}

TEST(Channel, NewGatewayDisownsWhatTheOldOneHadBegunToTake) {
  Block block(4);
  AttachGateway(*block);
  Piece piece;
  PutAll(block.get(), 0, CC_REQ_COMMIT, "sent");
  ASSERT_TRUE(PeekPiece(*block, 0, &piece));
  ReleasePiece(*block, 0, piece);
  ASSERT_TRUE(MarkSent(*block, 0, piece.sequence));
  PutAll(block.get(), 3, CC_REQ_COMMIT, "taken");
  ASSERT_TRUE(PeekPiece(*block, 3, &piece));
  ReleasePiece(*block, 3, piece);
  PutAll(block.get(), 1, CC_REQ_COMMIT, "handed over");
  const std::string large(3 * kBuffer, 'x');
  cc_channel_begin(block.get(), 2, CC_REQ_COMMIT, large.size());
  ASSERT_EQ(cc_channel_put(block.get(), 2, large.data(), large.size()), kBuffer);
  ASSERT_EQ(cc_channel_put(block.get(), 2, large.data(), large.size()), 0u);
  EXPECT_FALSE(cc_channel_emptied(block.get(), 2, 100));
  ASSERT_TRUE(PeekPiece(*block, 2, &piece));
  std::thread gateway([&] { ReleasePiece(*block, 2, piece); });
  EXPECT_TRUE(cc_channel_emptied(block.get(), 2, 60'000'000));
  gateway.join();

  EXPECT_EQ(AttachGateway(*block), (std::vector<int>{0, 2, 3}));

  CcAnswer answer;
  ASSERT_TRUE(cc_channel_answered(block.get(), 0, 0, &answer));
  EXPECT_EQ(answer.outcome, CC_OUT_LOST);
  EXPECT_FALSE(cc_channel_answered(block.get(), 1, 0, &answer));
  std::vector<int> ready;
  CollectReady(*block, &ready);
  EXPECT_EQ(ready.size(), 4u);
  EXPECT_TRUE(PeekPiece(*block, 1, &piece));
  // The rest of a request that is lost already is swallowed.
  EXPECT_TRUE(cc_channel_emptied(block.get(), 2, 0));
  EXPECT_EQ(cc_channel_put(block.get(), 2, large.data(), 2 * kBuffer), 2 * kBuffer);
  // Of what was not sent it is certain that nothing was decided.
  ASSERT_TRUE(cc_channel_answered(block.get(), 2, 0, &answer));
  EXPECT_EQ(answer.outcome, CC_OUT_UNAVAILABLE);
  ASSERT_TRUE(cc_channel_answered(block.get(), 3, 0, &answer));
  EXPECT_EQ(answer.outcome, CC_OUT_UNAVAILABLE);
}

TEST(Channel, AbandonLeavesTheSlotFree) {
  Block block(1);
  const std::string token = "0123456789abcdef";
  PutAll(block.get(), 0, CC_REQ_ABANDON, token);
  EXPECT_TRUE(cc_channel_idle(block.get()));
  AbandonedToken out;
  ASSERT_TRUE((*block).abandons.Peek(0, &out));
  EXPECT_EQ(std::string(reinterpret_cast<char*>(out.bytes), sizeof out.bytes), token);
}

TEST(Channel, DropQueueIsBoundedAndInOrder) {
  Block block(1);
  auto& drops = (*block).drops;
  uint32_t next_in = 0, next_out = 0;
  for (int round = 0; round < 3; round++) {
    while (cc_channel_drop_storage(block.get(), next_in)) next_in++;
    EXPECT_EQ(next_in - next_out, static_cast<uint32_t>(kDropQueueEntries));
    for (uint32_t i = 0; i < 1000; i++) {
      uint32_t id;
      ASSERT_TRUE(drops.Peek(i, &id));
      EXPECT_EQ(id, next_out + i);
    }
    drops.Pop(1000);
    next_out += 1000;
  }
}

TEST(Channel, LowestReadLsnIgnoresThoseWithout) {
  Block block(3);
  EXPECT_EQ(cc_channel_lowest_read_lsn(block.get(), 0), 0u);
  cc_channel_set_read_lsn(block.get(), 0, 50);
  cc_channel_set_read_lsn(block.get(), 2, 40);
  EXPECT_EQ(cc_channel_lowest_read_lsn(block.get(), 0), 40u);
  cc_channel_set_read_lsn(block.get(), 2, 0);
  EXPECT_EQ(cc_channel_lowest_read_lsn(block.get(), 0), 50u);
}

TEST(Lease, NoIdIsGivenTwice) {
  Block block(1);
  CcChannel* channel = block.get();
  uint64_t first;
  EXPECT_FALSE(cc_lease_take(channel, 7, 1, &first));
  EXPECT_EQ(cc_lease_last_size(channel, 7), 0u);
  constexpr int kThreads = 4, kEach = 20000;
  ASSERT_TRUE(cc_lease_add(channel, 7, 1000, kThreads * kEach * 2, 0));
  std::vector<std::vector<uint64_t>> taken(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; t++)
    threads.emplace_back([&, t] {
      uint64_t id;
      for (int i = 0; i < kEach; i++)
        if (cc_lease_take(channel, 7, 2, &id)) taken[static_cast<size_t>(t)].push_back(id);
    });
  for (auto& thread : threads) thread.join();
  std::set<uint64_t> all;
  for (const auto& part : taken) all.insert(part.begin(), part.end());
  EXPECT_EQ(all.size(), static_cast<size_t>(kThreads * kEach));
  EXPECT_EQ(*all.begin(), 1000u);
  EXPECT_FALSE(cc_lease_take(channel, 7, 1, &first));
  EXPECT_EQ(cc_lease_last_size(channel, 7), static_cast<uint64_t>(kThreads * kEach * 2));
  cc_lease_forget(channel, 7);
  EXPECT_EQ(cc_lease_last_size(channel, 7), 0u);
}

TEST(Lease, OneTakenAsAWholeIsRememberedBySize) {
  Block block(1);
  uint64_t first;
  ASSERT_TRUE(cc_lease_add(block.get(), 7, 1000, 500, 500));
  EXPECT_FALSE(cc_lease_take(block.get(), 7, 1, &first));
  EXPECT_EQ(cc_lease_last_size(block.get(), 7), 500u);
  ASSERT_TRUE(cc_lease_add(block.get(), 7, 1500, 1000, 400));
  ASSERT_TRUE(cc_lease_take(block.get(), 7, 600, &first));
  EXPECT_EQ(first, 1900u);
  EXPECT_EQ(cc_lease_last_size(block.get(), 7), 1000u);
}

TEST(Lease, FullTableSaysSo) {
  Block block(1);
  uint32_t key = 0;
  while (cc_lease_add(block.get(), key, key * 10ul, 10, 0)) key++;
  EXPECT_GT(key, 2000u);
  uint64_t first;
  for (uint32_t k = 0; k < key; k++) {
    ASSERT_TRUE(cc_lease_take(block.get(), k, 10, &first));
    EXPECT_EQ(first, k * 10ul);
  }
  cc_lease_forget(block.get(), key - 1);
  EXPECT_TRUE(cc_lease_add(block.get(), key - 1, 0, 1, 0));
}

TEST(LsnPage, VouchesOnlyWhileTheLeaseLasts) {
  alignas(8) char memory[kLsnPageSize] = {};
  auto* page = reinterpret_cast<LsnPage*>(memory);
  EXPECT_EQ(cc_page_committed(memory), 0u);
  page->magic = kLsnPageMagic;
  page->committed = 99;
  EXPECT_EQ(cc_page_committed(memory), 0u);
  page->lease_until_us = BoottimeUs() + 1000000;
  EXPECT_EQ(cc_page_committed(memory), 99u);
  page->lease_until_us = BoottimeUs() - 1;
  EXPECT_EQ(cc_page_committed(memory), 0u);
}

}  // namespace
}  // namespace concord
