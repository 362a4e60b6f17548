// The write set against a dumb model: plain maps, and a whole copy of them at every savepoint.
#include "core/write_set.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <utility>

#include "core/hash.h"

namespace concord {
namespace {

constexpr uint64_t kRows = Prefix(Space::kRow, 7);
constexpr uint64_t kEntries = Prefix(Space::kEntry, 8);

std::string RowBody(uint64_t rowid) {
  std::string body;
  AppendBe64(&body, rowid);
  return body;
}

struct ModelVersion {
  std::optional<std::string> value;
  uint32_t cid;
  uint64_t alias;
};

struct Model {
  struct Key {
    std::vector<ModelVersion> versions;  // oldest first
    bool base_absent = false;
  };
  std::map<std::pair<uint64_t, std::string>, Key> keys;
  std::map<uint64_t, std::vector<Check>> checks;
};

// From which LSN on a commit in each mode fails these checks of one key.
std::array<Lsn, kLockModes> Thresholds(const std::vector<Check>& checks) {
  std::array<Lsn, kLockModes> thresholds;
  thresholds.fill(UINT64_MAX);
  for (const Check& check : checks) {
    for (int mode = 0; mode < kLockModes; mode++) {
      Lsn& threshold = thresholds[static_cast<size_t>(mode)];
      if (Conflicts(check.mode, static_cast<LockMode>(mode))) threshold = std::min(threshold, check.observed);
    }
  }
  return thresholds;
}

class WriteSetModelTest : public testing::TestWithParam<uint32_t> {
 protected:
  uint32_t Random(uint32_t below) { return static_cast<uint32_t>(random_() % below); }

  std::pair<uint64_t, std::string> RandomKey() {
    const uint32_t which = Random(10);
    if (which < 5) return {kRows, RowBody(Random(40))};
    if (which < 6) return {kRows + 1, RowBody(Random(5))};
    return {kEntries, std::string(1 + Random(12), 'a') + static_cast<char>('b' + Random(3))};
  }

  void Step() {
    switch (Random(20)) {
      case 0:
        if (GetParam() % 4 == 0) break;  // all of some write sets can be sent ahead
        subs_.push_back({++last_sub_, model_});
        set_.SubBegin(last_sub_);
        break;
      case 1:
        if (subs_.empty()) break;
        set_.SubCommit(subs_.back().first);
        subs_.pop_back();
        break;
      case 2: {
        if (subs_.empty()) break;
        const size_t at = subs_.size() - 1 - Random(static_cast<uint32_t>(std::min<size_t>(2, subs_.size())));
        set_.SubAbort(subs_[at].first);
        model_ = subs_[at].second;
        subs_.resize(at);
        break;
      }
      case 3:
        set_.SubAbort(last_sub_ + 1);  // never began
        ++last_sub_;
        break;
      case 4: {
        if (Random(8) != 0) break;
        const uint64_t prefix = RandomKey().first;
        set_.Forget(prefix);
        forgotten_.insert(prefix);
        std::erase_if(model_.keys, [&](const auto& key) { return key.first.first == prefix; });
        break;
      }
      case 5: cid_ += Random(3); break;
      case 6:
      case 7: {
        const auto [prefix, body] = RandomKey();
        std::string key;
        AppendBe64(&key, prefix);
        key += body;
        const Check check{KeyHash(key), 100 + Random(20), static_cast<LockMode>(Random(kLockModes))};
        ASSERT_TRUE(set_.AddCheck(prefix, body, check.mode, check.observed).ok());
        model_.checks[check.key_hash].push_back(check);
        break;
      }
      case 8:
      case 9:
      case 10: {
        const auto key = RandomKey();
        ASSERT_TRUE(set_.Delete(key.first, key.second, cid_).ok());
        model_.keys[key].versions.push_back({std::nullopt, cid_, 0});
        break;
      }
      case 11:
      case 12: {
        const auto key = RandomKey();
        const Lsn observed = 100 + Random(20);
        ASSERT_TRUE(set_.PutAbsent(key.first, key.second, "absent", cid_, observed).ok());
        Model::Key& chain = model_.keys[key];
        if (chain.versions.empty()) chain.base_absent = true;
        chain.versions.push_back({"absent", cid_, 0});
        std::string whole;
        AppendBe64(&whole, key.first);
        const uint64_t hash = KeyHash(whole + key.second);
        model_.checks[hash].push_back({hash, observed, LockMode::kAbsent});
        break;
      }
      default: {
        const auto key = RandomKey();
        const std::string value(1 + Random(300), static_cast<char>(Random(256)));
        const bool base_absent = Random(2) == 0;
        const bool want_alias = key.first != kEntries && Random(2) == 0;
        uint64_t alias = 0;
        ASSERT_TRUE(set_.Put(key.first, key.second, value, cid_, base_absent, want_alias ? &alias : nullptr).ok());
        if (want_alias) {
          ASSERT_EQ(alias, ++last_alias_);
        }
        Model::Key& chain = model_.keys[key];
        if (chain.versions.empty()) chain.base_absent = base_absent;
        chain.versions.push_back({value, cid_, alias});
      }
    }
  }

  static void ExpectSame(const ModelVersion& expected, const WriteSet::Version* got) {
    ASSERT_NE(got, nullptr);
    ASSERT_EQ(got->deleted(), !expected.value.has_value());
    if (expected.value) {
      ASSERT_EQ(got->bytes(), *expected.value);
    }
    ASSERT_EQ(got->cid, expected.cid);
    ASSERT_EQ(got->alias, expected.alias);
  }

  void CompareAll() {
    std::map<uint64_t, size_t> sizes;
    std::map<uint64_t, std::pair<std::pair<uint64_t, std::string>, size_t>> aliases;
    for (const auto& [key, expected] : model_.keys) {
      sizes[key.first]++;
      const WriteSet::Chain* chain = set_.Find(key.first, key.second);
      ASSERT_NE(chain, nullptr);
      ASSERT_EQ(chain->base_absent, expected.base_absent);
      ExpectSame(expected.versions.front(), chain->oldest);
      const WriteSet::Version* at = chain->newest;
      for (size_t i = expected.versions.size(); i-- > 0; at = at->older) {
        ExpectSame(expected.versions[i], at);
        ASSERT_EQ(at->newer == nullptr, i + 1 == expected.versions.size());
        if (expected.versions[i].alias != 0) aliases[expected.versions[i].alias] = {key, i};
      }
      ASSERT_EQ(at, nullptr);
      const uint32_t curcid = Random(cid_ + 2);
      const ModelVersion* visible = nullptr;
      for (const ModelVersion& version : expected.versions) {
        if (version.cid < curcid) visible = &version;
      }
      if (visible == nullptr) {
        ASSERT_EQ(chain->Visible(curcid), nullptr);
      } else {
        ExpectSame(*visible, chain->Visible(curcid));
      }
      ASSERT_EQ(chain->Visible(WriteSet::kAllCommands), chain->newest);
    }
    for (uint64_t prefix : {kRows, kRows + 1, kEntries}) {
      const WriteSet::KeySet* keys = set_.Keys(prefix);
      ASSERT_EQ(keys == nullptr ? 0 : keys->size(), sizes[prefix]);
      if (keys == nullptr) continue;
      auto expected = model_.keys.lower_bound({prefix, ""});
      for (const auto& [head, chain] : *keys) ASSERT_EQ(chain->body(), (expected++)->first.second);
    }
    ASSERT_EQ(set_.has_writes(), !model_.keys.empty());
    ASSERT_EQ(set_.empty(), model_.keys.empty() && model_.checks.empty());
    for (uint64_t alias = 0; alias <= last_alias_ + 1; alias++) {
      uint64_t prefix, rowid;
      const WriteSet::Chain* chain;
      const WriteSet::Version* version;
      const bool found = set_.FindAlias(alias, &prefix, &rowid, &chain, &version);
      const auto expected = aliases.find(alias);
      ASSERT_EQ(found, expected != aliases.end());
      if (!found) continue;
      const auto& [key, index] = expected->second;
      ASSERT_EQ(std::make_pair(prefix, RowBody(rowid)), key);
      ExpectSame(model_.keys[key].versions[index], version);
    }
  }

  using Stored = std::map<std::string, std::optional<std::string>>;

  // Mutations in the order of their keys, as storage wants them.
  static void Store(std::string_view mutations, Stored* stored) {
    std::string last;
    for (MutationReader reader(mutations); !reader.AtEnd();) {
      Mutation mutation;
      ASSERT_TRUE(reader.Next(&mutation).ok());
      ASSERT_LT(last, mutation.key);
      ASSERT_EQ(mutation.explicit_lsn, kNoLsn);
      last = mutation.key;
      (*stored)[last] = mutation.op == MutationOp::kPut ? std::optional(std::string(mutation.value)) : std::nullopt;
    }
  }

  void SendAhead() {
    std::string bytes;
    set_.EncodeAhead(token_, chunks_ahead_, &bytes);
    ChunkView chunk;
    ASSERT_TRUE(ChunkView::Parse(bytes, &chunk).ok());
    ASSERT_EQ(chunk.token, token_);
    ASSERT_EQ(chunk.sequence, chunks_ahead_++);
    Store(chunk.mutations, &sent_);
  }

  void CompareEncoded() {
    std::map<std::string, std::optional<std::string>> expected;
    for (const auto& [key, chain] : model_.keys) {
      if (!chain.versions.back().value && chain.base_absent) continue;
      std::string whole;
      AppendBe64(&whole, key.first);
      expected[whole + key.second] = chain.versions.back().value;
    }
    WriteSetEncoder encoder(&set_, token_, 77, chunks_ahead_);
    std::string_view part;
    bool is_write_set = true;
    ASSERT_TRUE(encoder.Next(&part, &is_write_set).ok());
    ASSERT_TRUE(is_write_set);
    WriteSetView view;
    ASSERT_TRUE(WriteSetView::Parse(part, &view).ok());
    ASSERT_EQ(view.token(), token_);
    ASSERT_EQ(view.read_lsn(), 77u);
    ASSERT_EQ(view.chunk_count(), chunks_ahead_);
    if (chunks_ahead_ == 0) {
      ASSERT_EQ(view.mutation_count(), expected.size());
    }
    // What storage has in the end: what was sent ahead, and over it what comes with the commit.
    auto stored = sent_;
    Store(view.mutations(), &stored);
    for (const auto& [key, value] : expected) {
      ASSERT_TRUE(stored.contains(key));
      ASSERT_EQ(stored[key], value);
      stored.erase(key);
    }
    for (const auto& [key, value] : stored) {
      if (!forgotten_.contains(LoadBe64(key.data()))) {
        ASSERT_EQ(value, std::nullopt);
      }
    }
    // Together they ask what the model's ask, of which none was left out; a key has one a mode, and one of its own.
    std::map<uint64_t, std::vector<Check>> checks;
    for (uint32_t i = 0; i < view.check_count(); i++) checks[view.check(i).key_hash].push_back(view.check(i));
    ASSERT_EQ(checks.size(), model_.checks.size());
    for (const auto& [hash, expected_checks] : model_.checks) {
      ASSERT_EQ(Thresholds(checks[hash]), Thresholds(expected_checks));
      ASSERT_LE(checks[hash].size(), kLockModes + 1u);
      const auto weaker = [](const Check& a, const Check& b) { return a.mode < b.mode; };
      ASSERT_NE(set_.CheckOf(hash), nullptr);
      ASSERT_EQ(set_.CheckOf(hash)->mode,
                std::max_element(expected_checks.begin(), expected_checks.end(), weaker)->mode);
    }
    ASSERT_EQ(encoder.Next(&part, &is_write_set).code(), Code::kNotFound);
  }

  std::mt19937_64 random_{GetParam()};
  WriteSet set_;
  Model model_;
  std::vector<std::pair<uint32_t, Model>> subs_;
  uint32_t last_sub_ = 0;
  uint32_t cid_ = 0;
  uint64_t last_alias_ = 0;
  const Token token_ = {1, 2, 3};
  uint32_t chunks_ahead_ = 0;
  Stored sent_;
  std::set<uint64_t> forgotten_;  // dropped with all that was sent to them
};

TEST_P(WriteSetModelTest, DoesWhatTheModelDoes) {
  SCOPED_TRACE("seed " + std::to_string(GetParam()));
  for (int step = 0; step < 1500; step++) {
    Step();
    if (HasFatalFailure()) return;
    if (step % 7 == 0) CompareAll();
    if (step % 31 == 0) CompareEncoded();
    if (GetParam() % 2 == 0 && step % 5 == 0 && subs_.empty()) SendAhead();
    if (HasFatalFailure()) return;
  }
  set_.Reset();
  EXPECT_TRUE(set_.empty());
  EXPECT_EQ(set_.bytes(), 0u);
}

INSTANTIATE_TEST_SUITE_P(Seeds, WriteSetModelTest, testing::Range(1u, 21u));

TEST(WriteSetTest, RollbackGivesMemoryBack) {
  WriteSet set;
  ASSERT_TRUE(set.Put(kRows, RowBody(1), "one", 0, true, nullptr).ok());
  const size_t before = set.bytes();
  for (uint32_t sub = 2; sub < 100; sub++) {
    set.SubBegin(sub);
    const size_t size = sub % 10 == 0 ? 3u << 20 : 50000;  // into blocks of its own, too
    ASSERT_TRUE(set.Put(kRows, RowBody(sub), std::string(size, 'x'), sub, true, nullptr).ok());
    ASSERT_TRUE(set.Put(kRows, RowBody(1), "uno", sub, false, nullptr).ok());
    ASSERT_TRUE(set.AddCheck(kRows, RowBody(1), LockMode::kUpdate, 5).ok());
    set.SubAbort(sub);
    ASSERT_EQ(set.bytes(), before);
  }
  EXPECT_EQ(set.Find(kRows, RowBody(1))->newest->bytes(), "one");
}

TEST(WriteSetTest, LimitIsKept) {
  WriteSet set;
  set.set_limit(10000);
  uint64_t rowid = 0;
  Status status;
  while ((status = set.Put(kRows, RowBody(rowid), std::string(100, 'x'), 0, true, nullptr)).ok()) rowid++;
  EXPECT_EQ(status.code(), Code::kTooLarge);
  EXPECT_LE(set.bytes(), 10000u);
  EXPECT_GT(rowid, 20u);
  EXPECT_EQ(set.Put(kRows, std::string(kMaxKey, 'k'), "v", 0, true, nullptr).code(), Code::kTooLarge);
  EXPECT_EQ(set.Put(kRows, RowBody(0), "", 0, true, nullptr).code(), Code::kInvalid);
}

// Puts of a stream of chunks and a write set together again, as a storage replica does.
class Stream {
 public:
  void AddChunk(std::string_view bytes) {
    ChunkView chunk;
    ASSERT_TRUE(ChunkView::Parse(bytes, &chunk).ok());
    ASSERT_LE(bytes.size(), kMaxChunkBytes);
    ASSERT_EQ(chunk.sequence, chunks_++);
    Add(chunk.mutations);
    ASSERT_EQ((chunk.flags & kChunkUnfinished) != 0, chain_.cut().has_value());
  }
  void AddWriteSet(std::string_view bytes) {
    WriteSetView view;
    ASSERT_TRUE(WriteSetView::Parse(bytes, &view).ok());
    ASSERT_EQ(view.chunk_count(), chunks_);
    const size_t before = mutations_;
    Add(view.mutations());
    ASSERT_EQ(mutations_ - before, view.mutation_count());
    ASSERT_FALSE(chain_.cut());
  }
  // All parts of the encoding.
  void AddAll(WriteSetEncoder* encoder) {
    std::string_view part;
    bool is_write_set = false;
    std::deque<std::pair<std::string_view, std::string>> under_way;
    while (!is_write_set && !testing::Test::HasFatalFailure()) {
      ASSERT_TRUE(encoder->Next(&part, &is_write_set).ok());
      for (const auto& [view, bytes] : under_way) ASSERT_TRUE(view == bytes);
      under_way.emplace_back(part, part);
      if (under_way.size() > kChunksUnderWay) under_way.pop_front();
      is_write_set ? AddWriteSet(part) : AddChunk(part);
    }
  }
  uint32_t chunks() const { return chunks_; }
  bool inside_a_value() const { return chain_.cut().has_value(); }
  const std::map<std::string, std::string>& values() const { return values_; }  // empty: deleted

 private:
  void Add(std::string_view mutations) {
    for (MutationReader reader(mutations); !reader.AtEnd(); mutations_++) {
      Mutation mutation;
      ASSERT_TRUE(reader.Next(&mutation).ok());
      ASSERT_TRUE(chain_.Add(mutation).ok());
      std::string& value = values_[std::string(mutation.key)];
      if (mutation.offset == 0) value.clear();
      value += mutation.value;
    }
  }

  PartChain chain_;
  uint32_t chunks_ = 0;
  size_t mutations_ = 0;
  std::map<std::string, std::string> values_;
};

TEST(WriteSetTest, LargeWriteSetsAreCut) {
  WriteSet set;
  std::map<std::string, std::string> expected;
  std::mt19937 random(11);
  for (uint64_t rowid = 0; rowid < 4000; rowid++) {
    const size_t size = rowid == 1234 || rowid == 3999 ? 3 * kMaxChunkBytes : 1 + random() % 2000;
    const std::string value(size, static_cast<char>('a' + rowid % 26));
    ASSERT_TRUE(set.Put(kRows, RowBody(rowid), value, 0, true, nullptr).ok());
    ASSERT_TRUE(set.AddCheck(kRows, RowBody(rowid), LockMode::kAbsent, 9).ok());
    expected[RowKey(7, rowid)] = value;
  }
  WriteSetEncoder encoder(&set, {9}, 5);
  Stream stream;
  stream.AddAll(&encoder);
  EXPECT_GT(stream.chunks(), 8u);
  EXPECT_TRUE(stream.values() == expected);
  std::string_view part;
  bool is_write_set;
  EXPECT_EQ(encoder.Next(&part, &is_write_set).code(), Code::kNotFound);
}

// Values of every size around a chunk's, in whatever place of it.
TEST(WriteSetTest, EveryLengthNearAChunkIsWhole) {
  for (size_t less = 0; less < 60; less++) {
    WriteSet set;
    const std::string first(less * 37, 'f'), value(kMaxChunkBytes - less, 'v');
    if (!first.empty()) {
      ASSERT_TRUE(set.Put(kRows, RowBody(1), first, 0, true, nullptr).ok());
    }
    ASSERT_TRUE(set.Put(kRows, RowBody(2), value, 0, true, nullptr).ok());
    WriteSetEncoder encoder(&set, {9}, 5);
    Stream stream;
    stream.AddAll(&encoder);
    ASSERT_TRUE(stream.values().at(RowKey(7, 2)) == value) << less;
    ASSERT_EQ(stream.values().size(), first.empty() ? 1u : 2u);
  }
}

// Large values change and go while parts of them are on their way.
TEST(WriteSetTest, LargeValuesAheadOfTheCommit) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (int round = 0; round < 15; round++) {
    WriteSet set;
    Stream stream;
    std::map<std::string, std::string> expected;  // empty: deleted
    std::set<std::string> forgotten;
    StorageId storage = 7;
    uint32_t sub = 0;
    for (uint32_t step = 0; step < 60; step++) {
      const uint64_t rowid = random() % 6;
      const uint64_t prefix = Prefix(Space::kRow, storage);
      const std::string key = RowKey(storage, rowid);
      switch (random() % 8) {
        case 0:
          if (!expected[key].empty()) {
            ASSERT_TRUE(set.Delete(prefix, RowBody(rowid), step).ok());
            expected[key].clear();
          }
          break;
        case 1: {  // in a subtransaction that is rolled back
          set.SubBegin(++sub);
          ASSERT_TRUE(set.Put(prefix, RowBody(rowid), std::string(kMaxChunkBytes, 'r'), step, true, nullptr).ok());
          ASSERT_EQ(set.unsent_bytes(), 0u);
          set.SubAbort(sub);
          break;
        }
        case 2:
          if (random() % 8 != 0) break;
          set.Forget(prefix);
          storage++;
          for (const auto& [gone, value] : expected) forgotten.insert(gone);
          expected.clear();
          break;
        case 3:
        case 4: {
          if (set.unsent_bytes() == 0) break;
          std::string chunk;
          set.EncodeAhead({9}, stream.chunks(), &chunk);
          stream.AddChunk(chunk);
          ASSERT_TRUE(!stream.inside_a_value() || set.unsent_bytes() > 0);
          ASSERT_TRUE(!stream.inside_a_value() || !set.AllSent());
          break;
        }
        default: {
          const size_t size = random() % 3 == 0 ? 1 + random() % 1000 : 1 + random() % (4 * kMaxChunkBytes);
          std::string& value = expected[key];
          const bool absent = value.empty();
          value.assign(size, static_cast<char>('a' + random() % 26));
          ASSERT_TRUE(set.Put(prefix, RowBody(rowid), value, step, absent, nullptr).ok());
        }
      }
    }
    if (random() % 3 == 0) {  // under another token
      set.ForgetSent();
      stream = Stream();
    }
    WriteSetEncoder encoder(&set, {9}, 5, stream.chunks());
    stream.AddAll(&encoder);
    auto stored = stream.values();
    for (const auto& [key, value] : expected) {
      ASSERT_TRUE(stored[key] == value);
      stored.erase(key);
    }
    for (const auto& [key, value] : stored) ASSERT_TRUE(value.empty() || forgotten.contains(key));
  }
}

TEST(WriteSetTest, WhatWasSentAheadIsLeftOutUnlessItIsToBeSentAgain) {
  WriteSet set;
  const std::string value(1000, 'v');
  for (uint64_t rowid = 0; rowid < 2000; rowid++) {
    ASSERT_TRUE(set.Put(kRows, RowBody(rowid), value, 0, true, nullptr).ok());
  }
  EXPECT_GT(set.unsent_bytes(), kMaxChunkBytes);
  std::string chunk;
  set.EncodeAhead({9}, 0, &chunk);
  EXPECT_LE(chunk.size(), kMaxChunkBytes);
  EXPECT_GT(chunk.size(), kMaxChunkBytes - 2000);
  EXPECT_LT(set.unsent_bytes(), kMaxChunkBytes);
  set.SubBegin(1);
  EXPECT_EQ(set.unsent_bytes(), 0u);  // a rollback could not take it back
  set.SubAbort(1);
  set.EncodeAhead({9}, 1, &chunk);
  EXPECT_EQ(set.unsent_bytes(), 0u);

  const auto mutations = [&set](uint32_t chunks_ahead) {
    WriteSetEncoder encoder(&set, {9}, 5, chunks_ahead);
    std::string_view part;
    WriteSetView view;
    uint32_t count = 0;
    for (bool is_write_set = false; !is_write_set;) {
      EXPECT_TRUE(encoder.Next(&part, &is_write_set).ok());
      if (is_write_set) {
        EXPECT_TRUE(WriteSetView::Parse(part, &view).ok());
        count += view.mutation_count();
      } else {
        count += 1000;  // of the first chunk
      }
    }
    return count;
  };
  EXPECT_EQ(mutations(2), 0u);
  ASSERT_TRUE(set.Delete(kRows, RowBody(7), 1).ok());  // storage has heard of it
  EXPECT_EQ(mutations(2), 1u);
  set.ForgetSent();
  EXPECT_GT(mutations(0), 1000u);
}

TEST(WriteSetTest, TheHeadOfAVersionIsOverwrittenUntilItIsSent) {
  WriteSet set;
  ASSERT_TRUE(set.Put(kRows, RowBody(1), "first-old", 0, true, nullptr).ok());
  ASSERT_TRUE(set.Put(kRows, RowBody(1), "first-new", 1, false, nullptr).ok());
  ASSERT_TRUE(set.Put(kRows, RowBody(2), "abc", 1, true, nullptr).ok());
  ASSERT_TRUE(set.Delete(kRows, RowBody(2), 2).ok());
  const auto at = [&set](uint64_t rowid, uint32_t curcid) {
    return set.Find(kRows, RowBody(rowid))->Visible(curcid)->bytes();
  };

  set.SetHead(kRows, RowBody(1), 0, "FIRST");
  EXPECT_EQ(at(1, 1), "FIRST-old");
  EXPECT_EQ(at(1, 2), "first-new");
  set.SetHead(kRows, RowBody(2), 1, "long");  // longer than the value
  set.SetHead(kRows, RowBody(2), 2, "l");     // a deletion
  set.SetHead(kRows, RowBody(3), 1, "l");     // nothing there
  EXPECT_EQ(at(2, 2), "abc");

  std::string chunk;
  set.EncodeAhead({9}, 0, &chunk);
  set.SetHead(kRows, RowBody(1), 1, "FIRST");
  EXPECT_EQ(at(1, 2), "first-new");
}

TEST(WriteSetTest, WhatHasBeenAddedIsEstimated) {
  WriteSet set;
  EXPECT_EQ(set.EstimateAdded(kRows).keys, 0u);
  const std::string value(100, 'v');
  for (uint64_t rowid = 0; rowid < 10; rowid++)
    ASSERT_TRUE(set.Put(kRows, RowBody(rowid), value, 0, true, nullptr).ok());
  ASSERT_TRUE(set.Put(kRows, RowBody(10), value, 0, false, nullptr).ok());
  ASSERT_TRUE(set.Delete(kRows, RowBody(3), 1).ok());
  EXPECT_EQ(set.EstimateAdded(kRows).keys, 9u);
  EXPECT_EQ(set.EstimateAdded(kRows).bytes, 9u * (kPrefixSize + 8 + 100));
  for (uint64_t rowid = 100; rowid < 10000; rowid++) {
    ASSERT_TRUE(set.Put(kRows, RowBody(rowid), value, 2, true, nullptr).ok());
  }
  EXPECT_NEAR(static_cast<double>(set.EstimateAdded(kRows).keys), 9909, 500);
}

TEST(WriteSetTest, ForgetInsideASavepointIsRolledBack) {
  WriteSet set;
  uint64_t alias = 0;
  ASSERT_TRUE(set.Put(kRows, RowBody(1), "one", 0, false, &alias).ok());
  set.SubBegin(5);
  set.Forget(kRows);
  EXPECT_EQ(set.Keys(kRows), nullptr);
  uint64_t prefix, rowid;
  const WriteSet::Chain* chain;
  const WriteSet::Version* version;
  EXPECT_FALSE(set.FindAlias(alias, &prefix, &rowid, &chain, &version));
  ASSERT_TRUE(set.Put(kRows, RowBody(2), "two", 0, false, nullptr).ok());
  set.SubAbort(5);
  EXPECT_EQ(set.Keys(kRows)->size(), 1u);
  EXPECT_TRUE(set.FindAlias(alias, &prefix, &rowid, &chain, &version));
  EXPECT_EQ(version->bytes(), "one");
}

}  // namespace
}  // namespace concord
