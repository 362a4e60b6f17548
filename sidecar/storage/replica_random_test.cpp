// The replica against the model, over random histories.
#include "core/parts.h"
#include "core/test_rounds.h"
#include "sidecar/lsn_text.h"
#include "sidecar/storage/replica_test_util.h"

namespace concord {
namespace {

// Random histories against the model: commits over rows, entries and system keys, staged and immediate chunks, copies
// with explicit LSNs, drops, moving clocks and leases, restarts with frames replayed, small and large LMDB
// transactions.
class RandomHistory {
 public:
  explicit RandomHistory(uint64_t seed) : random_(seed) {}

  uint64_t Random(uint64_t below) { return random_() % below; }

  std::string RandomKey() {
    const auto body = static_cast<char>(Random(12));
    switch (Random(8)) {
      case 0: return SystemKey("rowid/" + std::string(1, body));
      case 1:
      case 2:
      case 3: return EntryKey(Living(100), std::string(1, body) + std::string(Random(2) == 0 ? 1 : 200, 'k') + '\0');
      default: return RowKey(Living(10), static_cast<uint64_t>(body));
    }
  }
  // One of a family of three storages; a dropped one is followed by a new id.
  StorageId Living(StorageId family) {
    StorageId& id = ids_[family + Random(3)];
    if (id == 0) id = next_id_++;
    return id;
  }
  std::string RandomValue() {
    if (Random(40) == 0) return std::string(8 * (500 + Random(1000)), 'L');
    return std::string(8 * (1 + Random(6)), static_cast<char>('a' + Random(26)));
  }

  // Mutations whose effect at `lsn` Settle tells the model, once they are committed.
  struct Pending {
    std::vector<std::string> mutations;
    std::vector<std::pair<std::string, std::string>> writes;
  };
  Pending RandomMutations(size_t count) {
    Pending pending;
    for (size_t i = 0; i < count; i++) {
      const std::string key = RandomKey();
      const std::string value = Random(4) == 0 ? "" : RandomValue();
      AppendPut(key, value, kNoLsn, &pending.mutations);
      pending.writes.emplace_back(key, value);
    }
    return pending;
  }
  // A put, whole or in parts, or a deletion.
  void AppendPut(const std::string& key, const std::string& value, Lsn explicit_lsn, std::vector<std::string>* to) {
    const bool whole = value.empty() || Random(one_in_parts) != 0;
    if (whole)
      AppendMutation(&to->emplace_back(), value.empty() ? MutationOp::kDelete : MutationOp::kPut, key, value,
                     explicit_lsn);
    for (size_t at = 0; !whole && at < value.size();) {
      const size_t size = 1 + Random(value.size() - at);
      AppendPart(&to->emplace_back(), key, value, at, size, explicit_lsn);
      at += size;
    }
  }
  static std::string Join(const std::vector<std::string>& mutations, size_t from, size_t to) {
    std::string joined;
    for (size_t i = from; i < to; i++) joined += mutations[i];
    return joined;
  }
  void Settle(const Pending& pending, Lsn lsn) {
    for (const auto& [key, value] : pending.writes) {
      if (KeySpace(key) == Space::kSystem || !model.Dropped(KeyStorage(key), lsn)) model.Write(key, lsn, value);
    }
  }

  Lsn Next() { return NextLsn(log.last(), now_us += static_cast<int64_t>(Random(3000))); }

  void Commit() {
    const Pending pending = RandomMutations(1 + Random(8));
    const size_t count = pending.mutations.size();
    Settle(pending, log.Commit(Join(pending.mutations, 0, count), static_cast<uint32_t>(count), Next()));
  }
  void Stage() {
    Token token{};
    const uint64_t name = random_();
    memcpy(token.data(), &name, sizeof name);
    Staged staged{token, RandomMutations(Random(25)), 0, 0};
    // Cut anywhere, also inside of a value; the rest comes with the commit.
    for (uint64_t chunks = 1 + Random(5); staged.chunks < chunks; staged.chunks++) {
      const size_t to = staged.sent + Random(staged.pending.mutations.size() - staged.sent + 1);
      const std::string mutations = Join(staged.pending.mutations, staged.sent, to);
      const uint8_t flags = CutBehind(mutations) ? kChunkUnfinished : 0;
      log.Append(RecordType::kChunk, EncodeChunk(token, staged.chunks, flags, mutations), Next());
      staged.sent = to;
    }
    staged_.push_back(std::move(staged));
  }
  void SettleStaged() {
    if (staged_.empty()) return;
    const Staged staged = staged_.back();
    staged_.pop_back();
    if (Random(3) == 0) {
      log.Append(RecordType::kAbandon,
                 std::string_view(reinterpret_cast<const char*>(staged.token.data()), staged.token.size()), Next());
      return;
    }
    const size_t count = staged.pending.mutations.size();
    Settle(staged.pending, log.Commit(Join(staged.pending.mutations, staged.sent, count),
                                      static_cast<uint32_t>(count - staged.sent), Next(), staged.token, staged.chunks));
  }
  void Drop() {
    const StorageId family = Random(2) == 0 ? 10 : 100;
    StorageId& id = ids_[family + Random(3)];
    if (id == 0) return;
    while (!staged_.empty()) SettleStaged();  // locks and catalog checks keep a drop from overtaking a writer
    std::string mutations;
    AppendMutation(&mutations, MutationOp::kDropStorage,
                   StoragePrefix(family == 10 || Random(2) == 0 ? Space::kRow : Space::kEntry, id), "");
    model.Drop(id, log.Commit(mutations, 1, Next()));
    id = 0;
  }
  // Copies the versions of a storage not below `horizon` into a new one, newest first and in pieces, as a rewrite does.
  // `step` applies and maintains between the pieces.
  template <typename Step>
  void Copy(Lsn horizon, Step step) {
    const StorageId from = Living(10), to = next_id_++;
    std::map<std::string, VersionModel::Versions> copied;
    for (const auto& [key, versions] : model.keys()) {
      if (KeyPrefix(key) != Prefix(Space::kRow, from)) continue;
      auto oldest = versions.upper_bound(horizon);
      if (oldest != versions.begin()) --oldest;
      for (auto it = versions.end(); it != oldest;) {
        --it;
        const std::string target = RowKey(to, LoadBe64(key.data() + kPrefixSize));
        std::vector<std::string> piece;
        AppendPut(target, it->second, it->first, &piece);
        log.Append(RecordType::kChunk, EncodeChunk({}, 0, kChunkImmediate, Join(piece, 0, piece.size())), Next());
        copied[target][it->first] = it->second;
        if (Random(2) == 0) step();
      }
    }
    for (const auto& [key, versions] : copied) {
      for (const auto& [lsn, value] : versions) model.Write(key, lsn, value);
    }
  }

  uint64_t one_in_parts = 3;  // one of so many values comes in parts
  FrameLog log;
  VersionModel model;
  int64_t now_us = kLsnEpochUnixUs + 1'000'000'000;

 private:
  struct Staged {
    Token token;
    Pending pending;
    size_t sent;  // of its mutations
    uint32_t chunks;
  };
  std::mt19937_64 random_;
  std::map<StorageId, StorageId> ids_;
  StorageId next_id_ = 1;
  std::vector<Staged> staged_;
};

class ReplicaRandomTest : public ReplicaTest, public testing::WithParamInterface<unsigned> {};

TEST_P(ReplicaRandomTest, AgreesWithTheModel) {
  const uint64_t seed = GetParam() == 0 ? std::random_device()() : GetParam();
  SCOPED_TRACE("seed " + std::to_string(seed));
  RandomHistory history(seed);
  transaction_bytes_ = history.Random(2) == 0 ? 300 : 64u << 20;
  staging_bytes_ = history.Random(2) == 0 ? 1000 : 64u << 20;
  staging_us_ = history.Random(2) == 0 ? 5000 : 10'000'000;
  memtable_ = history.Random(2) == 0;
  const uint64_t one_not_taken = memtable_ ? 20 : 2;
  if (memtable_) history.one_in_parts = 100;
  now_us_ = history.now_us;
  Open();
  size_t applied = 0;
  Lsn lease = kNoLsn;
  const auto take = [&] {
    now_us_ = history.now_us;
    // After a start some of it is needed again.
    while (applied > 0 && history.log.lsn(applied - 1) > replica_->resume_from()) applied--;
    while (applied < history.log.size()) {
      const size_t to = std::min<size_t>(history.log.size(), applied + 1 + history.Random(6));
      const size_t again = history.Random(one_not_taken) == 0 ? history.Random(3) : 0;
      const std::string_view frames = history.log.Frames(applied - std::min<size_t>(applied, again), to);
      const Status s = history.Random(one_not_taken) == 0 ? replica_->Apply(frames) : replica_->Take(frames);
      ASSERT_TRUE(s.ok()) << s.ToString();
      applied = to;
    }
    ASSERT_EQ(replica_->readable(), history.log.last());
  };
  const auto catch_up = [&] {
    take();
    ASSERT_TRUE(replica_->Flush().ok());
    ASSERT_EQ(replica_->applied(), history.log.last());
  };
  // As a backend reads: what the memtable has, else a view, which may be an old one.
  std::vector<ReplicaView> views;
  uint64_t from_memtable = 0, from_old_view = 0, ranges = 0;
  const auto read_as_backend = [&] {
    if (history.log.size() == 0) return;
    if (views.empty() || history.Random(3) == 0) {
      if (views.size() > 4) views.erase(views.begin());
      ASSERT_TRUE(replica_->OpenView(&views.emplace_back()).ok());
    }
    Memtable memtable;
    ASSERT_TRUE(memtable.Open(replica_->directory()).ok());
    for (int i = 0; i < 8; i++) {
      const ReplicaView& view = views[history.Random(views.size())];
      const std::string key = history.RandomKey();
      const uint64_t prefix = KeyPrefix(key);
      const Lsn lsn = history.log.lsn(history.log.size() - 1 - history.Random(std::min<size_t>(history.log.size(), 5)));
      if (lsn < view.horizon() || lsn > replica_->readable()) continue;
      if (KeySpace(key) != Space::kSystem && history.model.Dropped(KeyStorage(key), replica_->readable())) continue;
      const auto versions = history.model.keys().find(key);
      const std::string* const expected =
          versions == history.model.keys().end() ? nullptr : VersionModel::Visible(versions->second, lsn);
      Memtable::Version version{};
      const Memtable::Answer answer = memtable.Find(key, view.applied(), lsn, &version);
      ASSERT_NE(answer, Memtable::Answer::kNotThere);
      if (view.applied() < lsn && answer == Memtable::Answer::kFound) {
        from_memtable++;
        std::string value((version.size + 7) / 8 * 8, '\0');
        ASSERT_TRUE(memtable.Read(version, value.data()));
        value.resize(version.size);
        ASSERT_EQ(value, expected == nullptr ? "" : *expected);
      } else if (view.applied() >= lsn || answer == Memtable::Answer::kView) {
        if (view.applied() < lsn) from_old_view++;
        VisibleVersion visible;
        const Status s = ReadVersion(view.txn(), view.DbFor(key), key, lsn, &visible);
        ASSERT_EQ(s.ok(), expected != nullptr) << s.ToString();
        if (s.ok()) ASSERT_EQ(visible.value, *expected);
      }
      if (view.applied() >= lsn || memtable.FindChange(prefix, view.applied(), lsn) != Memtable::Answer::kView)
        continue;
      ranges++;
      std::string lower, upper;
      AppendBe64(&lower, prefix);
      AppendBe64(&upper, prefix + 1);
      VersionCursor cursor(lower, upper, lsn, /*reverse=*/false);
      ASSERT_TRUE(cursor.Open(view.txn(), view.DbFor(lower)).ok());
      for (const VersionModel::Row& row : history.model.Scan(lower, upper, lsn, /*reverse=*/false)) {
        VisibleVersion visible;
        ASSERT_TRUE(cursor.Next(&visible).ok());
        ASSERT_EQ(visible.key, row.key);
        ASSERT_EQ(visible.lsn, row.lsn);
      }
      VisibleVersion visible;
      ASSERT_EQ(cursor.Next(&visible).code(), Code::kNotFound);
      cursor.Close();
    }
  };
  const auto maintain = [&] {
    now_us_ = history.now_us;
    bool more;
    const Status s = replica_->Maintain(1 + history.Random(40), &more);
    ASSERT_TRUE(s.ok()) << s.ToString();
  };
  const auto reopen = [&] {
    views.clear();
    Open();
  };
  for (int step = 0; step < 400 && !HasFatalFailure(); step++) {
    switch (history.Random(16)) {
      case 0: history.Stage(); break;
      case 1: history.SettleStaged(); break;
      case 2:
        if (history.Random(4) == 0) history.Drop();
        break;
      case 3: {
        catch_up();
        if (history.Random(4) != 0) break;
        if (history.Random(2) == 0) {  // so that a sweep is under way
          reopen();
          if (lease != kNoLsn) Report("qp", lease, 1'000'000'000);
        }
        // The copying transaction reads at `read`, which its query processor reports.
        const Lsn read = replica_->applied();
        const Lsn horizon = Report("copy", read, 1'000'000'000);
        history.Copy(std::min(horizon, read), [&] {
          catch_up();
          maintain();
        });
        catch_up();
        Report("copy", kNoLsn, 0);
        break;
      }
      case 4: {
        lease = history.Random(3) == 0 ? kNoLsn : replica_->applied();
        const Lsn horizon = Report("qp", lease, 1'000'000'000);
        ASSERT_TRUE(lease == kNoLsn || horizon <= lease);
        break;
      }
      case 5:
      case 6: maintain(); break;
      case 7: ASSERT_TRUE(replica_->CheckpointIfDue(true).ok()); break;
      case 8: {
        if (history.Random(3) != 0) break;
        if (history.Random(2) == 0) {
          ASSERT_TRUE(replica_->Close().ok());
        }
        reopen();
        if (lease != kNoLsn) Report("qp", lease, 1'000'000'000);
        if (history.Random(2) == 0) Apply(history.log.Frames(0, applied));  // all of it known
        break;
      }
      default: history.Commit(); break;
    }
    if (history.Random(3) == 0) {
      take();
      read_as_backend();
    }
    if (step % 20 != 19) continue;
    catch_up();
    ExpectSameCounters(replica_.get(), history.model);
    ReplicaView view;
    ASSERT_TRUE(replica_->OpenView(&view).ok());
    const Lsn horizon = view.horizon();
    ASSERT_LE(horizon, replica_->applied());
    ASSERT_TRUE(lease == kNoLsn || horizon <= lease);
    view = ReplicaView();
    for (size_t i = applied; i-- > 0 && history.log.lsn(i) >= horizon && applied - i < 60;)
      ExpectSame(replica_.get(), history.model, history.log.lsn(i));
    ExpectSame(replica_.get(), history.model, std::max(horizon, Lsn{1}));
    // Ranges that begin and end anywhere, with the transaction renewed on the way.
    for (int i = 0; i < 10; i++) {
      std::string lower = history.RandomKey(), upper = history.RandomKey();
      if (KeySpace(lower) == Space::kSystem || history.model.Dropped(KeyStorage(lower), replica_->applied())) continue;
      if (history.Random(3) == 0) lower.pop_back();
      if (history.Random(3) == 0) upper += '\0';
      if (KeyPrefix(upper) != KeyPrefix(lower)) AppendBe64(&(upper = ""), KeyPrefix(lower) + 1);
      const bool reverse = history.Random(2) == 0;
      ASSERT_EQ(ScanReplica(replica_.get(), lower, upper, replica_->applied(), reverse, 1 + history.Random(3)),
                history.model.Scan(lower, upper, replica_->applied(), reverse));
    }
  }
  // With no reader left, only what is live remains.
  catch_up();
  Report("qp", kNoLsn, 0);
  PassHorizon();
  MaintainToEnd(replica_.get());
  ExpectSame(replica_.get(), history.model, replica_->applied());
  ExpectSameCounters(replica_.get(), history.model);
  uint64_t live = 0;
  for (const uint64_t prefix : history.model.Prefixes())
    live += history.model.Counters(prefix, replica_->applied()).rows;
  EXPECT_EQ(Versions(), live);
  if (!memtable_) return;
  EXPECT_GT(from_memtable, 0u);
  EXPECT_GT(from_old_view, 0u);
  EXPECT_GT(ranges, 0u);
}

INSTANTIATE_TEST_SUITE_P(Seeds, ReplicaRandomTest, testing::Range(0u, Rounds(12)));

}  // namespace
}  // namespace concord
