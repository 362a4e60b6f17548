#include "sidecar/storage/storage_service.h"

#include <chrono>

#include "core/read_wire.h"
#include "sidecar/rpc/server.h"
#include "sidecar/storage/replica_model.h"
#include "sidecar/storage/storage_role.h"

namespace concord {
namespace {

// A journal in memory: what Tail and ReportCheckpoint need.
class MemoryJournal final : public proto::Journal::Service {
 public:
  grpc::Status Tail(grpc::ServerContext* context, const proto::TailRequest* request,
                    grpc::ServerWriter<proto::TailReply>* writer) override {
    std::unique_lock lock(mutex_);
    tails_++;
    gather_ms_ = request->gather_ms();
    if (request->after_lsn() < trimmed_) return {grpc::StatusCode::OUT_OF_RANGE, "trimmed"};
    size_t next = 0;
    while (next < log_.size() && log_.lsn(next) <= request->after_lsn()) next++;
    const int generation = generation_;
    while (!context->IsCancelled() && generation == generation_) {
      if (next == log_.size()) {
        changed_.wait_for(lock, std::chrono::milliseconds(10));
        continue;
      }
      proto::TailReply reply;
      reply.set_frames(std::string(log_.Frames(next, log_.size())));
      next = log_.size();
      lock.unlock();
      writer->Write(reply);
      lock.lock();
    }
    return grpc::Status::OK;
  }
  grpc::Status ReportCheckpoint(grpc::ServerContext*, const proto::ReportCheckpointRequest* request,
                                proto::ReportCheckpointReply* reply) override {
    reported_ = request->checkpoint_lsn();
    const std::lock_guard lock(mutex_);
    reply->set_committed_lsn(log_.last());
    return grpc::Status::OK;
  }

  template <typename Write>
  Lsn Append(Write write) {
    std::lock_guard lock(mutex_);
    const Lsn lsn = write(&log_);
    changed_.notify_all();
    return lsn;
  }
  void BreakStreams() {
    std::lock_guard lock(mutex_);
    generation_++;
    changed_.notify_all();
  }
  Lsn reported() const { return reported_; }
  int tails() const { return tails_; }
  uint64_t gather_ms() const { return gather_ms_; }  // of the newest tail

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  FrameLog log_;
  int generation_ = 0;
  Lsn trimmed_ = kNoLsn;
  std::atomic<Lsn> reported_ = kNoLsn;
  std::atomic<int> tails_ = 0;
  std::atomic<uint64_t> gather_ms_ = 0;
};

class StorageServiceTest : public testing::Test {
 protected:
  void SetUp() override { Start(); }
  void TearDown() override { StopAll(); }

  void Start() {
    StorageRoleOptions options;
    options.replica.directory = directory_.path() + "/replica";
    options.replica.map_bytes = uint64_t{1} << 30;
    options.replica.max_readers = 126;
    options.replica.retention_us = retention_us_;
    options.replica.restart_hold_us = 0;
    options.replica.checkpoint_interval_us = 20'000;
    options.applier.replica_id = "r1";
    options.applier.report_interval_us = report_interval_us_;
    if (!other_journals_.empty())
      options.applier.on_failure = [](const Status& failure) { ADD_FAILURE() << failure.ToString(); };
    options.applier.members = members_;
    Status s = StorageRole::Open(options, &role_);
    ASSERT_TRUE(s.ok()) << s.ToString();
    grpc::ServerBuilder builder;
    builder.RegisterService(&journal_);
    builder.RegisterService(role_->service());
    server_ = builder.BuildAndStart();
    channel_ = server_->InProcessChannel({});
    stub_ = proto::Storage::NewStub(channel_);
    auto journals = other_journals_;
    journals.push_back(Peer(server_->InProcessChannel(ChannelLimits())));
    role_->Start(journals, local_journal_);
  }
  static std::unique_ptr<grpc::Server> Serve(MemoryJournal* journal) {
    grpc::ServerBuilder builder;
    builder.RegisterService(journal);
    return builder.BuildAndStart();
  }
  static JournalPeer Peer(const std::shared_ptr<grpc::Channel>& channel, const std::string& name = "",
                          const Status& meeting = Status::Ok()) {
    return {proto::Journal::NewStub(channel), {name, name}, [meeting](grpc::ClientContext*) { return meeting; }};
  }
  void StopAll() {
    role_->StopFollowing();
    server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
    const Status s = role_->Stop();
    EXPECT_TRUE(s.ok()) << s.ToString();
    role_.reset();
    server_.reset();
  }
  // At an LSN of now, so that the retention covers it.
  Lsn Put(const std::string& key, const std::string& value) {
    return journal_.Append([&](FrameLog* log) {
      const auto now = std::chrono::system_clock::now().time_since_epoch();
      const int64_t now_us = std::chrono::duration_cast<std::chrono::microseconds>(now).count();
      return log->Put(key, value, NextLsn(log->last(), now_us));
    });
  }
  grpc::Status Get(Lsn lsn, const std::vector<std::string>& keys, proto::GetReply* reply, uint64_t wait_ms = 5000) {
    grpc::ClientContext context;
    proto::GetRequest request;
    request.set_read_lsn(lsn);
    request.set_wait_ms(wait_ms);
    for (const std::string& key : keys) request.add_keys(key);
    return stub_->Get(&context, request, reply);
  }
  grpc::Status Scan(proto::ScanRequest request, std::vector<VersionModel::Row>* rows, int* batches) {
    grpc::ClientContext context;
    request.set_wait_ms(5000);
    auto reader = stub_->Scan(&context, request);
    proto::ScanReply reply;
    *batches = 0;
    while (reader->Read(&reply)) {
      ++*batches;
      for (const proto::Entry& entry : reply.entries()) {
        if (entry.offset() == 0) rows->push_back({entry.key(), "", entry.lsn()});
        EXPECT_EQ(entry.key(), rows->back().key);
        EXPECT_EQ(entry.offset(), rows->back().value.size());
        rows->back().value += entry.value();
      }
    }
    return reader->Finish();
  }

  TemporaryDirectory directory_;
  int64_t retention_us_ = 3'600'000'000;
  int64_t report_interval_us_ = 10'000;
  MemoryJournal journal_;
  std::vector<JournalPeer> other_journals_;  // asked before it
  journal::JournalNode* local_journal_ = nullptr;
  std::function<Status(std::vector<JournalPeer>*)> members_;
  std::unique_ptr<StorageRole> role_;
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<proto::Storage::Stub> stub_;
};

// One node that is not what it should be, one that cannot be reached, and one that is reached and gets nothing any
// more.
TEST_F(StorageServiceTest, AJournalNodeThatIsCutOffIsLeftForAnother) {
  StopAll();
  MemoryJournal strange, cut_off;
  const auto strange_server = Serve(&strange), server = Serve(&cut_off);
  other_journals_ = {Peer(strange_server->InProcessChannel(ChannelLimits()), "", {Code::kInvalid, "a strange node"}),
                     Peer(Connect("unix-abstract:concord-nobody-listens")),
                     Peer(server->InProcessChannel(ChannelLimits()))};
  Start();
  for (const char* value : {"one", "two"}) {
    const Lsn lsn = Put(RowKey(1, 1), value);
    proto::GetReply reply;
    ASSERT_TRUE(Get(lsn, {RowKey(1, 1)}, &reply, 20'000).ok());
    EXPECT_EQ(reply.values(0).value(), value);
  }
  EXPECT_GT(cut_off.tails(), 0);
  EXPECT_EQ(strange.tails(), 0);
  StopAll();
  other_journals_.clear();
  server->Shutdown(std::chrono::system_clock::now());
  strange_server->Shutdown(std::chrono::system_clock::now());
  Start();
}

// It is reached, and says nothing: nobody else has to know of a commit before it is left.
TEST_F(StorageServiceTest, AJournalNodeThatFallsSilentIsLeftForAnother) {
  StopAll();
  MemoryJournal silent;
  const auto server = Serve(&silent);
  other_journals_ = {Peer(server->InProcessChannel(ChannelLimits()))};
  report_interval_us_ = 3'600'000'000;
  Start();
  const Lsn lsn = Put(RowKey(1, 1), "one");
  proto::GetReply reply;
  ASSERT_TRUE(Get(lsn, {RowKey(1, 1)}, &reply, 20'000).ok());
  EXPECT_GT(silent.tails(), 0);
  StopAll();
  other_journals_.clear();
  server->Shutdown(std::chrono::system_clock::now());
  Start();
}

// What nobody reads comes in larger pieces; who reads, or says that he is about to, has it at once.
TEST_F(StorageServiceTest, AReplicaThatNobodyReadsGathers) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  const auto await = [&](bool gathers) {
    while ((journal_.gather_ms() > 0) != gathers && std::chrono::steady_clock::now() < deadline)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return (journal_.gather_ms() > 0) == gathers;
  };
  EXPECT_TRUE(await(true));
  // A read that must wait.
  std::thread reader([&] {
    proto::GetReply reply;
    EXPECT_TRUE(Get(1, {RowKey(1, 1)}, &reply, 20'000).ok());
  });
  EXPECT_TRUE(await(false));
  Put(RowKey(1, 1), "one");
  reader.join();
  EXPECT_TRUE(await(true));
  for (const bool reads : {false, true}) {
    grpc::ClientContext context;
    proto::ReportReadersRequest request;
    request.set_qp_id("qp");
    request.set_reads(reads);
    proto::ReportReadersReply reply;
    ASSERT_TRUE(stub_->ReportReaders(&context, request, &reply).ok());
    EXPECT_TRUE(await(!reads));
  }
  EXPECT_TRUE(await(true));
}

TEST_F(StorageServiceTest, AReplicaBesideItsJournalGathersAsWell) {
  StopAll();
  journal::JournalNodeOptions options;
  options.log.directory = directory_.path() + "/journal";
  std::unique_ptr<journal::JournalNode> node;
  ASSERT_TRUE(journal::JournalNode::Open(options, &node).ok());
  journal::JournalNode::SealResult sealed{};
  ASSERT_TRUE(node->Seal(1, &sealed).ok());
  local_journal_ = node.get();
  Start();
  FrameLog log;
  const auto put = [&](const std::string& value) {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    const int64_t now_us = std::chrono::duration_cast<std::chrono::microseconds>(now).count();
    const Lsn lsn = log.Put(RowKey(1, 1), value, NextLsn(log.last(), now_us));
    EXPECT_TRUE(node->Append({1, kNoLsn, 1, std::string(log.Frames(log.size() - 1, log.size()))}).ok());
    return lsn;
  };
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  const auto await = [&](const std::function<bool()>& condition) {
    while (!condition() && std::chrono::steady_clock::now() < deadline)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return condition();
  };
  const Lsn first = put("one");
  EXPECT_TRUE(await([&] { return role_->replica()->applied() == first; }));
  EXPECT_FALSE(node->followed());  // nobody waits
  std::thread reader([&] {
    proto::GetReply reply;
    EXPECT_TRUE(Get(first + 1, {RowKey(1, 1)}, &reply, 20'000).ok());
  });
  EXPECT_TRUE(await([&] { return node->followed(); }));
  put("two");
  reader.join();
  EXPECT_TRUE(await([&] { return !node->followed(); }));
  StopAll();
  local_journal_ = nullptr;
  Start();
}

// The members change: the new one is followed and told of checkpoints, the old one is left.
TEST_F(StorageServiceTest, TheJournalsMembersAreFollowed) {
  StopAll();
  MemoryJournal old;
  const auto old_server = Serve(&old);
  const JournalPeer before = Peer(old_server->InProcessChannel(ChannelLimits()), "old");
  std::mutex mutex;
  std::vector<JournalPeer> members{before};
  members_ = [&](std::vector<JournalPeer>* peers) {
    const std::lock_guard lock(mutex);
    *peers = members;
    return Status::Ok();
  };
  other_journals_ = {before};
  Start();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (old.tails() == 0 && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  ASSERT_GT(old.tails(), 0);
  {
    const std::lock_guard lock(mutex);
    members = {Peer(server_->InProcessChannel(ChannelLimits()), "new")};
  }
  const Lsn lsn = Put(RowKey(1, 1), "one");
  proto::GetReply reply;
  ASSERT_TRUE(Get(lsn, {RowKey(1, 1)}, &reply, 20'000).ok());
  while (journal_.reported() < lsn && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_GE(journal_.reported(), lsn);
  EXPECT_EQ(old.reported(), kNoLsn);
  StopAll();
  other_journals_.clear();
  members_ = {};
  old_server->Shutdown(std::chrono::system_clock::now());
  Start();
}

TEST_F(StorageServiceTest, GetWaitsForTheReadLsn) {
  proto::GetReply reply;
  EXPECT_EQ(Get(1, {RowKey(1, 1)}, &reply, 20).error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  const Lsn first = Put(RowKey(1, 1), "one");
  const Lsn second = Put(RowKey(1, 1), "two");
  ASSERT_TRUE(Get(second, {RowKey(1, 1), RowKey(1, 2)}, &reply).ok());
  ASSERT_EQ(reply.values_size(), 2);
  EXPECT_EQ(reply.values(0).lsn(), second);
  EXPECT_FALSE(reply.values(1).found());
  for (const std::string& key : {std::string(), std::string(kPrefixSize - 1, '\1'), std::string(20, '\3')})
    EXPECT_EQ(Get(second, {key}, &reply).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  reply.Clear();
  ASSERT_TRUE(Get(first, {RowKey(1, 1)}, &reply).ok());
  EXPECT_EQ(reply.values(0).value(), "one");
}

// One answer, as a query processor gets it.
grpc::Status Read(proto::Storage::Stub* stub, Lsn lsn, const std::string& bytes, proto::ReadReply* reply,
                  uint64_t wait_ms = 5000) {
  grpc::ClientContext context;
  proto::ReadRequest request;
  request.set_read_lsn(lsn);
  request.set_wait_ms(wait_ms);
  request.set_request(bytes);
  return stub->Read(&context, request, reply);
}

std::vector<std::string> KeysOf(const proto::ReadReply& reply, bool* more) {
  std::vector<std::string> keys;
  BatchReader reader;
  EXPECT_TRUE(BatchReader::Open(reply.batch(), &reader));
  BatchEntry entry;
  for (uint32_t i = 0; i < reader.count() && reader.Next(&entry); i++) keys.emplace_back(entry.key);
  EXPECT_EQ(keys.size(), reader.count());
  *more = reader.more();
  return keys;
}

TEST_F(StorageServiceTest, AReadStopsBehindWhatIsWanted) {
  Lsn lsn = kNoLsn;
  for (uint64_t i = 0; i < 50; i++) lsn = Put(RowKey(3, i), "row");
  bool more;
  proto::ReadReply reply;
  const auto scan = [&](uint8_t flags, uint32_t bytes, uint32_t entries, const ScanBounds& bounds) {
    EXPECT_TRUE(Read(stub_.get(), lsn, EncodeScan(flags, bytes, entries, 0, 0, bounds), &reply).ok());
    EXPECT_GE(reply.applied_lsn(), lsn);
    return KeysOf(reply, &more);
  };
  const std::string low = RowKey(3, 10), stop = RowKey(3, 12);
  using Keys = std::vector<std::string>;
  EXPECT_EQ(scan(0, 1 << 20, 0, {low, {}, stop}), (Keys{RowKey(3, 10), RowKey(3, 11), RowKey(3, 12)}));
  EXPECT_TRUE(more);
  EXPECT_EQ(scan(kReadReverse, 1 << 20, 0, {RowKey(3, 0), stop, low}),
            (Keys{RowKey(3, 11), RowKey(3, 10), RowKey(3, 9)}));
  EXPECT_TRUE(more);
  EXPECT_EQ(scan(0, 1 << 20, 2, {low, {}, {}}), (Keys{RowKey(3, 10), RowKey(3, 11)})) << "so many entries";
  EXPECT_TRUE(more);
  EXPECT_EQ(scan(0, 1, 0, {low, {}, {}}), (Keys{RowKey(3, 10)})) << "one at least";
  EXPECT_TRUE(more);
  EXPECT_EQ(scan(0, 1 << 20, 0, {RowKey(3, 49), {}, {}}), (Keys{RowKey(3, 49)})) << "to the end of the storage";
  EXPECT_FALSE(more);
}

TEST_F(StorageServiceTest, ManyScansAreAnsweredAsEachWouldBe) {
  Lsn lsn = kNoLsn;
  for (uint64_t i = 0; i < 50; i++) lsn = Put(RowKey(3, i), "row");
  std::vector<std::string> scans;
  for (uint64_t i = 0; i < 20; i++)
    scans.push_back(EncodeScan(0, 1 << 14, 16, 0, 0, {RowKey(3, i * 4), {}, RowKey(3, i * 4 + 2)}));
  scans.push_back(EncodeScan(kReadReverse, 1 << 14, 16, 0, 0, {RowKey(3, 0), RowKey(3, 9), RowKey(3, 7)}));
  proto::ReadReply reply, alone;
  for (const uint32_t limit : {1u << 20, 500u, 1u}) {
    std::string many;
    AppendReadHeader(&many, ReadKind::kMany, 0, limit);
    for (const std::string& scan : scans) AppendReadRequest(&many, scan);
    ASSERT_TRUE(Read(stub_.get(), lsn, many, &reply).ok());
    BatchReader reader;
    ASSERT_TRUE(BatchReader::Open(reply.batch(), &reader));
    EXPECT_EQ(reader.more(), limit <= 500);
    if (limit > 500)
      EXPECT_EQ(reader.count(), scans.size());
    else
      EXPECT_LT(reader.count(), scans.size());
    if (limit == 1) {
      EXPECT_EQ(reader.count(), 1u) << "one at least";
    }
    BatchEntry entry;
    for (uint32_t i = 0; i < reader.count(); i++) {
      ASSERT_TRUE(reader.Next(&entry));
      ASSERT_TRUE(Read(stub_.get(), lsn, scans[i], &alone).ok());
      EXPECT_EQ(entry.value, alone.batch());
      EXPECT_EQ(entry.key, RowKey(3, 0).substr(0, kPrefixSize));
    }
  }
  std::string bad_space = RowKey(3, 1);
  bad_space[0] = 9;
  std::string many;
  AppendReadHeader(&many, ReadKind::kMany, 0, 1 << 20);
  AppendReadRequest(&many, scans[0]);
  AppendReadRequest(&many, EncodeScan(0, 10, 1, 0, 0, {bad_space, {}, {}}));
  EXPECT_EQ(Read(stub_.get(), lsn, many, &reply).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(StorageServiceTest, AReadIsRefusedWhereItCannotBeServed) {
  const Lsn lsn = Put(RowKey(3, 1), "row");
  proto::ReadReply reply;
  std::string get;
  AppendReadHeader(&get, ReadKind::kGet, 0, 100);
  AppendReadKey(&get, RowKey(3, 1));
  EXPECT_TRUE(Read(stub_.get(), lsn, get, &reply).ok());
  EXPECT_EQ(Read(stub_.get(), lsn + 1'000'000, get, &reply, 10).error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(Read(stub_.get(), lsn, "?", &reply).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Read(stub_.get(), lsn, get.substr(0, get.size() - 1), &reply).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Read(stub_.get(), lsn, EncodePart(10, lsn - 1, 0, RowKey(3, 1)), &reply).error_code(),
            grpc::StatusCode::OUT_OF_RANGE)
      << "a version that is not kept";
  std::string bad_space = RowKey(3, 1);
  bad_space[0] = 9;
  EXPECT_EQ(Read(stub_.get(), lsn, EncodeScan(0, 10, 1, 0, 0, {bad_space, {}, {}}), &reply).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(StorageServiceTest, ScansInBatchesBothWays) {
  VersionModel model;
  Lsn lsn = kNoLsn;
  for (uint64_t i = 0; i < 500; i++) {
    const std::string key = RowKey(3, i), value(100, static_cast<char>('a' + i % 26));
    lsn = Put(key, value);
    model.Write(key, lsn, value);
    const std::string entry = EntryKey(4, key);
    model.Write(entry, lsn = Put(entry, "e"), "e");
  }
  proto::ScanRequest request;
  request.set_read_lsn(lsn);
  request.set_lower(RowKey(3, 10));
  request.set_upper(RowKey(3, 400));
  request.set_max_batch_bytes(5000);
  for (const bool reverse : {false, true}) {
    std::vector<VersionModel::Row> rows;
    int batches;
    request.set_reverse(reverse);
    ASSERT_TRUE(Scan(request, &rows, &batches).ok());
    EXPECT_GT(batches, 8);
    EXPECT_EQ(rows, model.Scan(request.lower(), request.upper(), lsn, reverse));
  }
  std::vector<VersionModel::Row> rows;
  int batches;
  request.clear_upper();  // to the end of the rows, not of the entries
  request.set_reverse(false);
  ASSERT_TRUE(Scan(request, &rows, &batches).ok());
  EXPECT_EQ(rows.size(), 490u);
  rows.clear();
  request.set_limit(7);
  request.set_reverse(true);
  ASSERT_TRUE(Scan(request, &rows, &batches).ok());
  ASSERT_EQ(rows.size(), 7u);
  EXPECT_EQ(rows[0].key, RowKey(3, 499));
  rows.clear();
  request.set_limit(0);
  request.set_lower(StoragePrefix(Space::kEntry, 4));
  ASSERT_TRUE(Scan(request, &rows, &batches).ok());
  EXPECT_EQ(rows.size(), 500u);
}

// A client with gRPC's own limit of 4 MiB gets values of any size.
TEST_F(StorageServiceTest, AScanSendsLargeValuesInParts) {
  VersionModel model;
  Lsn lsn = kNoLsn;
  const size_t sizes[] = {8, 1u << 20, (1u << 20) + 1, 8, 5'000'000, 3u << 20, 100};
  for (uint64_t i = 0; i < std::size(sizes); i++) {
    std::string value(sizes[i], static_cast<char>('a' + i));
    value.back() = 'z';
    lsn = Put(RowKey(1, i), value);
    model.Write(RowKey(1, i), lsn, value);
  }
  for (const bool reverse : {false, true}) {
    for (const uint64_t batch_bytes : {uint64_t{0}, uint64_t{1}, uint64_t{1} << 30}) {
      proto::ScanRequest request;
      request.set_read_lsn(lsn);
      request.set_wait_ms(5000);
      request.set_lower(RowKey(1, 0));
      request.set_upper(RowKey(2, 0));
      request.set_reverse(reverse);
      request.set_max_batch_bytes(batch_bytes);
      std::vector<VersionModel::Row> rows;
      int batches;
      const grpc::Status s = Scan(request, &rows, &batches);
      ASSERT_TRUE(s.ok()) << s.error_message();
      ASSERT_TRUE(rows == model.Scan(request.lower(), request.upper(), lsn, reverse));
      request.set_limit(5);
      rows.clear();
      ASSERT_TRUE(Scan(request, &rows, &batches).ok());
      ASSERT_EQ(rows.size(), 5u);
    }
  }
}

TEST_F(StorageServiceTest, AGetOfMoreThanAMessageCarriesIsRefused) {
  const Lsn lsn = Put(RowKey(1, 1), std::string(33u << 20, 'v'));
  proto::GetReply reply;
  const grpc::Status s = Get(lsn, {RowKey(1, 1), RowKey(1, 1)}, &reply, /*wait_ms=*/60'000);
  EXPECT_EQ(s.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_NE(s.error_message().find("scan"), std::string::npos) << s.error_message();
}

TEST_F(StorageServiceTest, GoesOnAfterBrokenStreamsAndRestart) {
  proto::GetReply reply;
  for (int round = 0; round < 5; round++) {
    const Lsn lsn = Put(RowKey(1, static_cast<uint64_t>(round)), "x");
    ASSERT_TRUE(Get(lsn, {RowKey(1, static_cast<uint64_t>(round))}, &reply).ok());
    if (round == 2) {
      StopAll();
      Start();
    } else {
      journal_.BreakStreams();
    }
  }
  EXPECT_GE(journal_.tails(), 4);
}

TEST_F(StorageServiceTest, ReportsItsCheckpointToTheJournal) {
  const Lsn lsn = Put(RowKey(1, 1), "x");
  for (int i = 0; i < 1000 && journal_.reported() < lsn; i++) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(journal_.reported(), lsn);
  grpc::ClientContext context;
  proto::StorageStatus status;
  ASSERT_TRUE(stub_->GetStatus(&context, {}, &status).ok());
  EXPECT_EQ(status.applied_lsn(), lsn);
  EXPECT_EQ(status.checkpoint_lsn(), lsn);
  EXPECT_EQ(status.versions(), 1u);
  EXPECT_EQ(status.storages(), 1u);
  EXPECT_EQ(status.mutations(), 1u);
  EXPECT_EQ(status.replica_id(), "r1");
  EXPECT_GT(status.used_bytes(), 0u);
}

TEST_F(StorageServiceTest, ReadsBelowTheHorizonAreRefused) {
  StopAll();
  retention_us_ = 0;
  Start();
  const Lsn first = Put(RowKey(1, 1), "1");
  proto::GetReply reply;
  ASSERT_TRUE(Get(first, {RowKey(1, 1)}, &reply).ok());
  grpc::ClientContext context;
  proto::ReportReadersRequest report;
  proto::ReportReadersReply reported;
  report.set_qp_id("qp");
  report.set_lowest_read_lsn(first);
  report.set_lease_ms(60'000);
  ASSERT_TRUE(stub_->ReportReaders(&context, report, &reported).ok());
  EXPECT_LE(reported.horizon_lsn(), first);
  EXPECT_EQ(reported.applied_lsn(), first);
  for (int i = 0; i < 3; i++) {
    const Lsn lsn = Put(RowKey(1, 1), "later");
    ASSERT_TRUE(Get(lsn, {RowKey(1, 1)}, &reply).ok());
  }
  EXPECT_TRUE(Get(first, {RowKey(1, 1)}, &reply).ok());
  report.set_lowest_read_lsn(0);
  grpc::ClientContext second_context;
  ASSERT_TRUE(stub_->ReportReaders(&second_context, report, &reported).ok());
  for (int i = 0; i < 3; i++) {
    const Lsn lsn = Put(RowKey(1, 1), "later");
    ASSERT_TRUE(Get(lsn, {RowKey(1, 1)}, &reply).ok());
  }
  EXPECT_EQ(Get(first, {RowKey(1, 1)}, &reply).error_code(), grpc::StatusCode::OUT_OF_RANGE);
}

}  // namespace
}  // namespace concord
