// Reads of a backend through the gateway's socket from real replicas behind real services, which fail, hang and lag as
// the test says; what comes back is compared with a map of all versions.
#include "gateway/remote_reads.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <random>

#include "bridge/remote.h"
#include "bridge/test_replica.h"
#include "bridge/write_set.h"
#include "gateway/replica_links.h"
#include "proto/sidecar.grpc.pb.h"
#include "sidecar/storage/replica_test_util.h"
#include "sidecar/storage/storage_service.h"

namespace concord {
namespace {

using bridge::KeyOf;
using bridge::TestPosition;
using bridge::ValueOf;

constexpr uint64_t kRows = Prefix(Space::kRow, 5);
constexpr uint64_t kEntries = Prefix(Space::kEntry, 5);
constexpr uint64_t kPrefixes[] = {kRows, kRows + 1, kEntries - 1, kEntries, Prefix(Space::kEntry, UINT32_MAX)};

int read_timeout_ms = 30'000;
volatile int interrupted = 0;

// A replica's service, in front of which the test stands.
class ScriptedStorage : public proto::Storage::Service {
 public:
  ScriptedStorage(std::shared_ptr<Replica> replica, int64_t scan_steps_max)
      : slot_(std::move(replica)), real_(slot_, "storage-x", {}, {}, scan_steps_max) {}
  std::atomic<bool> hangs = false, fails = false;
  std::atomic<int> fail_percent = 0, slow_percent = 0;
  std::atomic<uint64_t> reads = 0;

  grpc::Status Read(grpc::ServerContext* context, const proto::ReadRequest* request, proto::ReadReply* reply) override {
    reads++;
    const int dice = static_cast<int>(dice_.fetch_add(7919) % 100);
    if (dice < slow_percent) std::this_thread::sleep_for(std::chrono::milliseconds(30));
    while (hangs && !context->IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (fails || dice < fail_percent) return {grpc::StatusCode::UNAVAILABLE, "scripted failure"};
    return real_.Read(context, request, reply);
  }
  grpc::Status ReportReaders(grpc::ServerContext* context, const proto::ReportReadersRequest* request,
                             proto::ReportReadersReply* reply) override {
    while (hangs && !context->IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (fails) return {grpc::StatusCode::UNAVAILABLE, "scripted failure"};
    return real_.ReportReaders(context, request, reply);
  }
  grpc::Status GetStatus(grpc::ServerContext* context, const proto::StorageStatusRequest* request,
                         proto::StorageStatus* reply) override {
    return real_.GetStatus(context, request, reply);
  }

 private:
  ReplicaSlot slot_;
  StorageService real_;
  std::atomic<uint64_t> dice_ = 0;
};

class FakeSidecar : public proto::Sidecar::Service {
 public:
  std::string cluster = "ours";
  grpc::Status GetInfo(grpc::ServerContext*, const proto::InfoRequest*, proto::Info* info) override {
    info->set_cluster_id(cluster);
    return grpc::Status::OK;
  }
};

struct Member {
  TemporaryDirectory directory;
  std::shared_ptr<Replica> replica;
  std::unique_ptr<ScriptedStorage> storage;
  FakeSidecar sidecar;
  std::unique_ptr<grpc::Server> server;
  size_t applied = 0;  // records

  std::string address() const { return "unix:" + directory.path() + "/socket"; }
};

class RemoteReadsTest : public testing::Test {
 protected:
  // Of the first replica; the others have more: scans that give up go on at any of them.
  explicit RemoteReadsTest(int64_t scan_steps_max = 5) : scan_steps_max_(scan_steps_max) {}
  void SetUp() override {
    const size_t size = cc_channel_size(4, 4096);
    memory_.reset(static_cast<char*>(std::aligned_alloc(4096, (size + 4095) / 4096 * 4096)));
    cc_channel_init(channel(), 4, 4096);
    for (Member& member : members_) {
      ReplicaOptions options;
      options.directory = member.directory.path() + "/replica";
      options.map_bytes = uint64_t{1} << 30;
      options.max_readers = 126;
      options.retention_us = 0;
      options.restart_hold_us = 0;
      options.boot_id = "boot";
      options.unix_us = [] { return kLsnEpochUnixUs; };
      std::unique_ptr<Replica> replica;
      const Status s = Replica::Open(options, &replica);
      member.replica = std::move(replica);
      ASSERT_TRUE(s.ok()) << s.ToString();
      member.storage = std::make_unique<ScriptedStorage>(member.replica, scan_steps_max_);
      scan_steps_max_ *= 8;
    }
  }
  void TearDown() override {
    cc_replica_close();
    cc_remote_set(false, false);
    links_.reset();
    for (Member& member : members_) {
      if (member.storage != nullptr) member.storage->hangs = false;
      if (member.replica != nullptr) member.replica->StopWaiting();
      if (member.server != nullptr) member.server->Shutdown(std::chrono::system_clock::now());
      member.server.reset();
      if (member.replica != nullptr) (void)member.replica->Close();
    }
    read_timeout_ms = 30'000;
    interrupted = 0;
  }

  void Serve(Member* member) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(member->address(), grpc::InsecureServerCredentials());
    builder.RegisterService(member->storage.get());
    builder.RegisterService(&member->sidecar);
    member->server = builder.BuildAndStart();
    ASSERT_NE(member->server, nullptr);
  }
  void Start(bool await = true) {
    ReplicaLinks::Options options;
    for (Member& member : members_) {
      Serve(&member);
      options.addresses.push_back(member.address());
    }
    options.qp_id = "qp";
    options.report_ms = 20;
    options.lowest_read_lsn = [] { return Lsn{1}; };
    options.cluster_id = [] { return std::string("ours"); };
    options.reads_path = socket_ = members_[0].directory.path() + "/reads";
    links_ = std::make_unique<ReplicaLinks>(channel(), &log_, std::move(options));
    links_->Start();
    const CcRemoteOptions remote = {socket_.c_str(), &interrupted, &read_timeout_ms, nullptr};
    cc_remote_setup(&remote);
    cc_serve_interrupts = [] {};  // a slow machine makes waits look around
    cc_remote_set(true, true);
    if (!await) return;
    ASSERT_TRUE(Eventually([&] { return StatesAre(CC_REPLICA_WELL); }));
  }
  bool StatesAre(CcReplicaState state) {
    for (int i = 0; i < 3; i++)
      if (StateOf(i) != state) return false;
    return true;
  }
  CcReplicaState StateOf(int i) {
    CcReplicaInfo info;
    cc_channel_replica(channel(), i, &info);
    return info.state;
  }
  static bool Eventually(const std::function<bool()>& what) {
    for (int i = 0; i < 6000; i++) {
      if (what()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }
  CcReadStats Stats() {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));  // until they are published
    CcReadStats stats;
    cc_channel_read_stats(channel(), &stats);
    return stats;
  }

  CcChannel* channel() { return reinterpret_cast<CcChannel*>(memory_.get()); }
  uint32_t Random(uint32_t below) { return static_cast<uint32_t>(random_() % below); }
  std::string RandomBody(uint64_t prefix) {
    std::string body;
    if (prefix >> 56 == 1) {
      AppendBe64(&body, Random(60) * (Random(2) == 0 ? 1 : 0x0101010101010101));
      return body;
    }
    // Prefix-free: zero ends a body and is nowhere else.
    for (uint32_t n = Random(5); n-- > 0;) body += "\x01\x61\xff"[Random(3)];
    return body + '\0';
  }
  std::string RandomSeek(uint64_t prefix) {
    std::string key = RandomBody(prefix);
    if (Random(3) == 0) key.resize(Random(static_cast<uint32_t>(key.size()) + 1));
    if (Random(5) == 0) key += "\x00\x01\xff"[Random(3)];
    return key;
  }
  static std::string Key(uint64_t prefix, std::string_view body) {
    std::string key;
    AppendBe64(&key, prefix);
    return key.append(body);
  }
  void Write(const std::string& key, const std::string& value) {
    model_.Write(key, value.empty() ? log_frames_.Delete(key) : log_frames_.Put(key, value), value);
  }
  void WriteSome() {
    for (uint32_t n = 1 + Random(60); n-- > 0;) {
      const uint64_t prefix = kPrefixes[Random(std::size(kPrefixes))];
      const std::string key = Key(prefix, RandomBody(prefix));
      for (uint32_t versions = Random(10) == 0 ? 12 : 1; versions-- > 0;)
        Write(key, Random(4) == 0 ? std::string() : std::string(8 + Random(Random(8) == 0 ? 20'000 : 60), 'v'));
    }
    ApplyAll();
  }
  void ApplyAll() {
    for (Member& member : members_) Apply(&member);
  }
  void Apply(Member* member) {
    if (member->applied == log_frames_.size()) return;
    const Status s = member->replica->Apply(log_frames_.Frames(member->applied, log_frames_.size()));
    ASSERT_TRUE(s.ok()) << s.ToString();
    member->applied = log_frames_.size();
  }
  // Bodies of a storage as of an LSN.
  std::map<std::string, std::pair<Lsn, std::string>> Visible(uint64_t prefix, Lsn lsn) {
    std::map<std::string, std::pair<Lsn, std::string>> visible;
    for (const VersionModel::Row& row : model_.Scan(Key(prefix, ""), Key(prefix + 1, ""), lsn, false))
      visible[row.key.substr(kPrefixSize)] = {row.lsn, row.value};
    return visible;
  }
  void CheckScan(uint64_t prefix, Lsn lsn);
  void CheckGets(uint64_t prefix, Lsn lsn);
  void CheckVersions(uint64_t prefix, Lsn lsn);

  std::mt19937_64 random_{1};
  int64_t scan_steps_max_;
  std::array<Member, 3> members_;
  FrameLog log_frames_;
  VersionModel model_;
  LogQueue log_;
  std::unique_ptr<char, decltype(&free)> memory_{nullptr, free};
  std::string socket_;
  std::unique_ptr<ReplicaLinks> links_;
};

void RemoteReadsTest::CheckScan(uint64_t prefix, Lsn lsn) {
  const auto visible = Visible(prefix, lsn);
  CcScan* scan;
  ASSERT_EQ(cc_scan_open(prefix, lsn, 0, &scan), CC_OK);
  bool backward = false;
  TestPosition position;
  position.start = true;
  for (int step = 0; step < 80; step++) {
    if (Random(20) == 0) {
      const std::string key = Random(3) == 0 ? "" : RandomSeek(prefix);
      backward = Random(2) == 0;
      const bool prefix_match = Random(2) == 0;
      if (Random(2) == 0) {
        // Whatever is expected, or fetched ahead, nothing else comes.
        const std::string low = Random(2) == 0 ? key : RandomSeek(prefix);
        const std::string high = backward && Random(2) == 0 ? key : RandomSeek(prefix);
        const CcRange range = {.prefix = prefix,
                               .rows_of = Random(2) == 0 ? 0 : kRows,
                               .rows_too = Random(2) == 0 ? 0 : kRows,
                               .low = low.data(),
                               .high = Random(3) == 0 ? nullptr : high.data(),
                               .low_size = low.size(),
                               .high_size = high.size(),
                               .backward = backward};
        ASSERT_EQ(cc_scan_expect(scan, range.low, low.size(), range.high, high.size(), range.rows_of), CC_OK);
        if (Random(2) == 0) {
          size_t ready, asked;
          ASSERT_EQ(cc_scans_ahead(lsn, &range, 1, &ready, &asked), CC_OK) << cc_error();
          ASSERT_EQ(ready, 1u);
        }
      }
      ASSERT_EQ(cc_scan_seek(scan, key.data(), key.size(), backward, prefix_match), CC_OK);
      position = TestPosition::Seek(key, backward, prefix_match);
    }
    if (Random(12) == 0) backward = !backward;
    if (Random(20) == 0) {
      ASSERT_EQ(cc_scan_rest(scan), CC_OK);
    }
    CcVisible found;
    const CcStatus status = cc_scan_next(scan, backward, &found);
    const auto expected = position.Next(visible, backward);
    ASSERT_EQ(status, expected == visible.end() ? CC_END : CC_OK) << cc_error();
    if (status != CC_OK) continue;
    ASSERT_EQ(KeyOf(found.entry), expected->first);
    ASSERT_EQ(ValueOf(found.entry), expected->second.second);
    ASSERT_EQ(found.entry.lsn, expected->second.first);
    ASSERT_EQ(reinterpret_cast<uintptr_t>(found.entry.value) % 8, 0u);
  }
  cc_scan_close(scan);
}

void RemoteReadsTest::CheckGets(uint64_t prefix, Lsn lsn) {
  const auto visible = Visible(prefix, lsn);
  if (prefix == kRows && Random(2) == 0) {
    uint64_t rowids[40];
    for (uint64_t& rowid : rowids) rowid = Random(80);
    size_t ready;
    ASSERT_EQ(cc_rows_ahead(prefix, lsn, rowids, std::size(rowids), &ready), CC_OK) << cc_error();
    ASSERT_GT(ready, 0u);
  }
  for (int i = 0; i < 20; i++) {
    const std::string body = RandomBody(prefix), key = Key(prefix, body);
    const void* value;
    size_t size;
    uint64_t version;
    CcView* view;
    const CcStatus status = cc_replica_get(lsn, key.data(), key.size(), &value, &size, &version, &view);
    const auto expected = visible.find(body);
    ASSERT_EQ(status, expected == visible.end() ? CC_END : CC_OK) << cc_error();
    if (status != CC_OK) continue;
    ASSERT_EQ(std::string(static_cast<const char*>(value), size), expected->second.second);
    ASSERT_EQ(version, expected->second.first);
    cc_view_unpin(view);
  }
}

void RemoteReadsTest::CheckVersions(uint64_t prefix, Lsn lsn) {
  CcCursor* cursor;
  ASSERT_EQ(cc_cursor_open(prefix, lsn, &cursor), CC_OK);
  ASSERT_EQ(cc_cursor_seek(cursor, nullptr, 0, false, false), CC_OK);
  CcEntry entry;
  CcStatus status = cc_cursor_next_version(cursor, &entry);
  for (const auto& [key, versions] : model_.keys()) {
    if (KeyPrefix(key) != prefix) continue;
    for (auto version = versions.rbegin(); version != versions.rend(); ++version) {
      if (version->first > lsn) continue;
      const bool same = status == CC_OK && KeyOf(entry) == key.substr(kPrefixSize) && entry.lsn == version->first;
      // The deletion of what is not there leaves no trace.
      if (!same && version->second.empty()) continue;
      ASSERT_TRUE(same) << cc_error();
      ASSERT_EQ(ValueOf(entry), version->second);
      status = cc_cursor_next_version(cursor, &entry);
    }
  }
  ASSERT_EQ(status, CC_END);
  cc_cursor_close(cursor);
}

TEST_F(RemoteReadsTest, SeesWhatTheModelSeesWhateverFails) {
  const auto seed = static_cast<uint32_t>(std::random_device()());
  SCOPED_TRACE("seed " + std::to_string(seed));
  random_.seed(seed);
  WriteSome();
  Start();
  for (int round = 0; round < 12; round++) {
    WriteSome();
    for (Member& member : members_) {
      member.storage->fail_percent = round % 3 == 1 ? 30 : 0;
      member.storage->slow_percent = round % 3 == 2 ? 20 : 0;
    }
    for (int scan = 0; scan < 8; scan++) {
      const uint64_t prefix = kPrefixes[Random(std::size(kPrefixes))];
      const Lsn lsn = 1 + Random(static_cast<uint32_t>(log_frames_.last()));
      CheckScan(prefix, lsn);
      CheckGets(prefix, lsn);
      if (scan % 4 == 0) CheckVersions(prefix, lsn);
      if (HasFatalFailure()) return;
    }
    cc_replica_reset();
  }
}

TEST_F(RemoteReadsTest, ManyRowsCostFewRequests) {
  for (uint64_t i = 0; i < 5000; i++) Write(RowKey(5, i), std::string(96, 'r'));
  ApplyAll();
  Start();
  const uint64_t before = Stats().reads;
  CcScan* scan;
  ASSERT_EQ(cc_scan_open(kRows, log_frames_.last(), 0, &scan), CC_OK);
  ASSERT_EQ(cc_scan_seek(scan, nullptr, 0, false, false), CC_OK);
  CcVisible found;
  int rows = 0;
  for (CcStatus status; (status = cc_scan_next(scan, false, &found)) != CC_END; rows++) ASSERT_EQ(status, CC_OK);
  EXPECT_EQ(rows, 5000);
  cc_scan_close(scan);
  EXPECT_LE(Stats().reads - before, 10u);
}

TEST_F(RemoteReadsTest, AnEntrysRowComesWithIt) {
  std::string value;
  AppendLe<uint64_t>(&value, 3);
  Write(Key(kEntries, "a\0"), value);
  Write(RowKey(5, 3), "the row.");
  ApplyAll();
  Start();
  const Lsn lsn = log_frames_.last();
  CcScan* scan;
  ASSERT_EQ(cc_scan_open(kEntries, lsn, 0, &scan), CC_OK);
  ASSERT_EQ(cc_scan_expect(scan, "a", 1, "b", 1, kRows), CC_OK);
  ASSERT_EQ(cc_scan_seek(scan, "a", 1, false, false), CC_OK);
  CcVisible found;
  ASSERT_EQ(cc_scan_next(scan, false, &found), CC_OK) << cc_error();
  const uint64_t before = Stats().reads;
  const void* row;
  size_t size;
  uint64_t version;
  CcView* view;
  const std::string key = RowKey(5, 3);
  ASSERT_EQ(cc_replica_get(lsn, key.data(), key.size(), &row, &size, &version, &view), CC_OK);
  EXPECT_EQ(std::string(static_cast<const char*>(row), size), "the row.");
  EXPECT_EQ(Stats().reads, before);
  cc_scan_close(scan);
  // What a slot has pinned is good when the scan is gone.
  EXPECT_EQ(std::string(static_cast<const char*>(row), size), "the row.");
  cc_view_unpin(view);
}

// Keys of an index, and what a nested loop does with them: each is looked up, to its end, with its row.
class LookupsTest : public RemoteReadsTest {
 protected:
  LookupsTest() : RemoteReadsTest(100'000) {}

  // Bodies of two bytes more; `entries` of each key.
  void Fill(uint32_t keys, uint32_t entries, size_t row_size) {
    for (uint32_t key = 0; key < keys; key++) {
      for (uint32_t i = 0; i < entries; i++) {
        const uint64_t rowid = key * entries + i;
        std::string body = Body(key), value;
        AppendBe64(&body, rowid);
        AppendLe<uint64_t>(&value, rowid);
        Write(Key(kEntries, body), value);
        Write(RowKey(5, rowid), RowOf(rowid, row_size));
      }
    }
    ApplyAll();
  }
  static std::string Body(uint32_t key) {
    std::string body;
    AppendLe<uint32_t>(&body, __builtin_bswap32(key));
    return body;
  }
  static std::string RowOf(uint64_t rowid, size_t size) {
    std::string row(size, 'r');
    StoreBe64(row.data(), rowid);
    return row;
  }
  void FetchAhead(const std::vector<uint32_t>& keys, bool backward, size_t* ready, size_t* asked) {
    std::vector<std::string> bounds;
    for (const uint32_t key : keys) {
      bounds.push_back(Body(key));
      bounds.push_back(Body(key + 1));
    }
    std::vector<CcRange> ranges;
    for (size_t i = 0; i < bounds.size(); i += 2)
      ranges.push_back({kEntries, kRows, 0, bounds[i].data(), bounds[i + 1].data(), bounds[i].size(),
                        bounds[i + 1].size(), backward});
    ASSERT_EQ(cc_scans_ahead(lsn(), ranges.data(), ranges.size(), ready, asked), CC_OK) << cc_error();
  }
  void LookUp(CcScan* scan, uint32_t key, bool backward, uint32_t expected, size_t row_size) {
    const std::string low = Body(key), high = Body(key + 1);
    ASSERT_EQ(cc_scan_expect(scan, low.data(), low.size(), high.data(), high.size(), kRows), CC_OK);
    ASSERT_EQ(cc_scan_seek(scan, backward ? high.data() : low.data(), low.size(), backward, false), CC_OK);
    uint32_t found = 0;
    for (;; found++) {
      CcVisible visible;
      const CcStatus status = cc_scan_next(scan, backward, &visible);
      if (status == CC_END) break;
      ASSERT_EQ(status, CC_OK) << cc_error();
      const std::string body = KeyOf(visible.entry);
      if (backward ? body < low : body >= high) break;
      const uint64_t rowid = LoadLe<uint64_t>(reinterpret_cast<const char*>(visible.entry.value));
      const std::string row_key = RowKey(5, rowid);
      const void* row;
      size_t size;
      uint64_t version;
      CcView* view;
      ASSERT_EQ(cc_replica_get(lsn(), row_key.data(), row_key.size(), &row, &size, &version, &view), CC_OK);
      EXPECT_EQ(std::string(static_cast<const char*>(row), size), RowOf(rowid, row_size));
      cc_view_unpin(view);
    }
    EXPECT_EQ(found, expected);
  }
  Lsn lsn() { return log_frames_.last(); }
};

TEST_F(LookupsTest, ManyCostOneRequest) {
  Fill(400, 3, 50);
  Start();
  for (const bool backward : {false, true}) {
    cc_replica_reset();
    std::vector<uint32_t> keys;  // neighbours, some far from each other, and the same again
    for (uint32_t i = 0; i < 100; i++) keys.push_back(i);
    for (uint32_t i = 0; i < 100; i++) keys.push_back(100 + (i * 37) % 300);
    for (uint32_t i = 0; i < 20; i++) keys.push_back(i * 10);
    const uint64_t before = Stats().reads;
    size_t ready, asked;
    FetchAhead(keys, backward, &ready, &asked);
    EXPECT_EQ(ready, keys.size());
    EXPECT_LT(asked, keys.size()) << "each once";
    CcScan* scan;
    ASSERT_EQ(cc_scan_open(kEntries, lsn(), 0, &scan), CC_OK);
    for (const uint32_t key : keys) LookUp(scan, key, backward, 3, 50);
    cc_scan_close(scan);
    EXPECT_EQ(Stats().reads, before + 1);
    FetchAhead(keys, backward, &ready, &asked);
    EXPECT_EQ(asked, 0u) << "all of them are at hand";
    EXPECT_EQ(Stats().reads, before + 1);
  }
}

TEST_F(LookupsTest, WhatAnAnswerHasNoRoomForIsAskedForWhenItsTurnComes) {
  Fill(300, 1, 12'000);  // more than an answer
  Start();
  std::vector<uint32_t> keys;
  for (uint32_t i = 0; i < 300; i++) keys.push_back((i * 7) % 300);
  const uint64_t before = Stats().reads;
  CcScan* scan;
  ASSERT_EQ(cc_scan_open(kEntries, lsn(), 0, &scan), CC_OK);
  size_t ready, asked, requests = 0;
  for (size_t done = 0; done < keys.size(); done += ready, requests++) {
    FetchAhead({keys.begin() + static_cast<ptrdiff_t>(done), keys.end()}, false, &ready, &asked);
    ASSERT_GT(ready, 0u);
    for (size_t i = done; i < done + ready; i++) LookUp(scan, keys[i], false, 1, 12'000);
  }
  cc_scan_close(scan);
  EXPECT_GT(requests, 2u);
  EXPECT_LT(requests, 10u);
  EXPECT_EQ(Stats().reads, before + requests);
}

TEST_F(LookupsTest, TheyAreReadOnTheMapWhereItServes) {
  Fill(10, 1, 50);
  Start();
  cc_remote_set(false, false);
  const uint64_t before = Stats().reads;
  size_t ready, asked;
  FetchAhead({1, 2, 3}, false, &ready, &asked);
  EXPECT_EQ(ready, 3u);
  EXPECT_EQ(asked, 0u);
  EXPECT_EQ(Stats().reads, before);
}

TEST_F(RemoteReadsTest, LargeValuesComeInParts) {
  std::string large(9'000'001, 'x');
  for (size_t i = 0; i < large.size(); i += 1000) large[i] = static_cast<char>(i / 1000);
  Write(RowKey(5, 1), "small one");
  Write(RowKey(5, 2), large);
  Write(RowKey(5, 3), "small two");
  ApplyAll();
  Start();
  CheckVersions(kRows, log_frames_.last());
  for (const bool backward : {false, true}) {
    CcScan* scan;
    ASSERT_EQ(cc_scan_open(kRows, log_frames_.last(), 0, &scan), CC_OK);
    ASSERT_EQ(cc_scan_seek(scan, nullptr, 0, backward, false), CC_OK);
    CcVisible found;
    for (uint64_t i = 1; i <= 3; i++) {
      ASSERT_EQ(cc_scan_next(scan, backward, &found), CC_OK) << cc_error();
      if (i == 2) {
        EXPECT_TRUE(ValueOf(found.entry) == large);
      }
    }
    EXPECT_EQ(cc_scan_next(scan, backward, &found), CC_END);
    cc_scan_close(scan);
  }
  CheckGets(kRows, log_frames_.last());
}

TEST_F(RemoteReadsTest, AHangingReplicaIsOvertaken) {
  WriteSome();
  Start();
  for (Member& hanging : members_) {
    hanging.storage->hangs = true;
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < 10; i++) {
      CheckGets(kRows, log_frames_.last());
      cc_replica_reset();
    }
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    printf("200 keys with one replica hanging: %.0f ms\n", took.count());
    hanging.storage->hangs = false;
    ASSERT_TRUE(Eventually([&] { return StatesAre(CC_REPLICA_WELL); }));
  }
}

TEST_F(RemoteReadsTest, OneLeftOfThreeIsEnough) {
  WriteSome();
  Start();
  for (size_t left = 0; left < 3; left++) {
    for (size_t i = 0; i < 3; i++) members_[i].storage->fails = i != left;
    CheckGets(kEntries, log_frames_.last());
    CheckScan(kRows, log_frames_.last());
    cc_replica_reset();
  }
}

TEST_F(RemoteReadsTest, OneThatHasNotAppliedItIsNotWaitedFor) {
  WriteSome();
  Start();
  Write(RowKey(5, 7), "the newest");
  Apply(&members_[2]);
  const std::string key = RowKey(5, 7);
  const void* value;
  size_t size;
  uint64_t version;
  CcView* view;
  ASSERT_EQ(cc_replica_get(log_frames_.last(), key.data(), key.size(), &value, &size, &version, &view), CC_OK)
      << cc_error();
  EXPECT_EQ(std::string(static_cast<const char*>(value), size), "the newest");
  cc_view_unpin(view);
}

TEST_F(RemoteReadsTest, WhenNoneAnswersItIsAnErrorInTime) {
  WriteSome();
  Start();
  for (Member& member : members_) member.storage->fails = true;
  read_timeout_ms = 200;
  const std::string key = RowKey(5, 7);
  const void* value;
  size_t size;
  uint64_t version;
  CcView* view;
  const auto get = [&] {
    return cc_replica_get_try(log_frames_.last(), key.data(), key.size(), &value, &size, &version, &view);
  };
  EXPECT_EQ(get(), CC_UNAVAILABLE);
  EXPECT_STREQ(cc_error(), "no storage replica answered within concord.read_timeout");
  // Interrupts are served meanwhile, and the wait goes on.
  read_timeout_ms = 30'000;
  interrupted = 1;
  EXPECT_EQ(get(), CC_INTERRUPTED);
  interrupted = 0;
  for (Member& member : members_) member.storage->fails = false;
  const CcStatus status = get();
  EXPECT_TRUE(status == CC_OK || status == CC_END) << cc_error();
  if (status == CC_OK) cc_view_unpin(view);
}

TEST_F(RemoteReadsTest, AnotherClustersReplicaIsNotRead) {
  WriteSome();
  members_[1].sidecar.cluster = "another";
  Start(/*await=*/false);
  ASSERT_TRUE(Eventually([&] { return StateOf(0) == CC_REPLICA_WELL && StateOf(2) == CC_REPLICA_WELL; }));
  for (int i = 0; i < 10; i++) {
    CheckScan(kRows, log_frames_.last());
    CheckGets(kEntries, log_frames_.last());
    cc_replica_reset();
  }
  EXPECT_EQ(members_[1].storage->reads, 0u);
  for (const size_t i : {0, 2}) members_[i].storage->fails = true;
  read_timeout_ms = 200;
  const std::string key = RowKey(5, 7);
  const void* value;
  size_t size;
  uint64_t version;
  CcView* view;
  EXPECT_EQ(cc_replica_get_try(log_frames_.last(), key.data(), key.size(), &value, &size, &version, &view),
            CC_UNAVAILABLE);
  EXPECT_EQ(members_[1].storage->reads, 0u);
}

TEST_F(RemoteReadsTest, AGatewayThatIsStartedAnewIsAskedAgain) {
  WriteSome();
  Start();
  CheckGets(kRows, log_frames_.last());
  cc_replica_reset();
  CcScan* scan;
  ASSERT_EQ(cc_scan_open(kRows, log_frames_.last(), 0, &scan), CC_OK);
  CcVisible found;
  const CcStatus first = cc_scan_next(scan, false, &found);
  ASSERT_TRUE(first == CC_OK || first == CC_END) << cc_error();
  links_.reset();
  for (Member& member : members_) {
    member.server->Shutdown(std::chrono::system_clock::now());
    member.server.reset();
  }
  Start(/*await=*/false);
  CheckGets(kRows, log_frames_.last());
  cc_scan_close(scan);
}

TEST_F(RemoteReadsTest, CountersAndStorages) {
  WriteSome();
  Start();
  CcStorage storages[16];
  size_t count;
  ASSERT_EQ(cc_replica_storages(0, storages, 16, &count), CC_OK) << cc_error();
  // Of which all is deleted, a counter may be left.
  CcStorage* const end = std::remove_if(storages, storages + count, [](const CcStorage& s) { return s.rows == 0; });
  count = static_cast<size_t>(end - storages);
  size_t expected = 0;
  for (const uint64_t prefix : model_.Prefixes()) {
    const StorageCounters counters = model_.Counters(prefix, log_frames_.last());
    uint64_t rows, bytes;
    ASSERT_EQ(cc_replica_counters(prefix, &rows, &bytes), CC_OK);
    EXPECT_EQ(rows, counters.rows);
    EXPECT_EQ(bytes, counters.bytes);
    if (counters.rows == 0) continue;
    ASSERT_LT(expected, count);
    EXPECT_EQ(storages[expected].prefix, prefix);
    EXPECT_EQ(storages[expected].rows, counters.rows);
    expected++;
  }
  EXPECT_EQ(count, expected);
}

}  // namespace
}  // namespace concord
