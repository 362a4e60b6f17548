// The applied LSN is a promise: whoever has seen it, in the replica or in an LMDB transaction, finds every row up to
// it.
#include <atomic>
#include <thread>

#include "sidecar/storage/replica.h"
#include "sidecar/storage/replica_model.h"

namespace concord {
namespace {

constexpr uint64_t kRows = 40;

// Every commit writes all rows, so at an applied LSN each row has the version of the newest commit up to it.
void ExpectWhole(const ReplicaView& view, const std::vector<Lsn>& commits, Lsn applied) {
  const auto after = std::upper_bound(commits.begin(), commits.end(), applied);
  if (after == commits.begin()) return;
  for (uint64_t row = 0; row < kRows; row++) {
    const std::string key = RowKey(1, row);
    VisibleVersion version{};
    ASSERT_TRUE(ReadVersion(view.txn(), view.DbFor(key), key, applied, &version).ok()) << "row " << row;
    ASSERT_EQ(version.lsn, *std::prev(after)) << "row " << row << " at " << applied;
  }
}

TEST(ReplicaPublish, WhatIsAppliedIsVisible) {
  TemporaryDirectory directory;
  ReplicaOptions options;
  options.directory = directory.path() + "/replica";
  options.map_bytes = uint64_t{1} << 30;
  options.retention_us = 0;
  options.restart_hold_us = 0;
  options.unix_us = [] { return kLsnEpochUnixUs; };  // LSN 0, so nothing is pruned
  options.boot_id = "boot";
  options.transaction_bytes = 1000;  // a commit with chunks takes several LMDB transactions
  std::unique_ptr<Replica> replica;
  ASSERT_TRUE(Replica::Open(options, &replica).ok());

  FrameLog log;
  std::vector<Lsn> commits;
  for (uint64_t i = 0; i < 150; i++) {
    std::string mutations;
    const bool staged = i % 2 == 0;
    uint32_t chunks = 0;
    const Token token{static_cast<uint8_t>(1 + i)};
    for (uint64_t row = 0; row < kRows; row++) {
      AppendMutation(&mutations, MutationOp::kPut, RowKey(1, row), std::string(100, 'v'));
      if (!staged || row % 10 != 9) continue;
      log.Append(RecordType::kChunk, EncodeChunk(token, chunks++, 0, mutations));
      mutations.clear();
    }
    commits.push_back(log.Commit(mutations, staged ? 0 : kRows, kNoLsn, token, chunks));
  }

  ReplicaPageMapping page;
  ASSERT_TRUE(page.Open(options.directory).ok());
  std::atomic<bool> done = false;
  size_t found = 0;
  std::thread reader([&] {
    for (bool last = false; !last && !testing::Test::HasFatalFailure();) {
      last = done;
      const Lsn told = std::max(replica->applied(), page.applied());
      ReplicaView view;
      ASSERT_TRUE(replica->OpenView(&view).ok());
      ASSERT_LE(told, view.applied());
      Lsn applied, horizon;
      if (page.Find(mdb_txn_id(view.txn()), &applied, &horizon)) {
        found++;
        ASSERT_EQ(applied, view.applied());
        ASSERT_EQ(horizon, view.horizon());
      }
      ExpectWhole(view, commits, told);
      ExpectWhole(view, commits, view.applied());
    }
  });
  for (size_t i = 0; i < log.size(); i++) EXPECT_TRUE(replica->Apply(log.Frames(i, i + 1)).ok());
  done = true;
  reader.join();
  EXPECT_EQ(replica->applied(), commits.back());
  EXPECT_EQ(page.applied(), commits.back());
  EXPECT_GT(found, 0u);
}

}  // namespace
}  // namespace concord
