// The core against a dumb model, and against itself: a core that died at a random moment and was rebuilt from the
// frames gives the verdicts of one that never did.
#include "sidecar/adjudicator/adjudicator.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "core/key.h"
#include "core/read_set.h"

namespace concord {
namespace {

constexpr int64_t kNow = kLsnEpochUnixUs + 1000000;

Token MakeToken(uint64_t number) {
  Token token{};
  memcpy(token.data(), &number, sizeof number);
  return token;
}

std::string MakeWriteSet(uint64_t token, Lsn read_lsn, const std::vector<Check>& checks, int mutations = 0) {
  std::string encoded_checks;
  for (const Check& check : checks) AppendCheck(&encoded_checks, check);
  std::string encoded_mutations;
  for (int i = 0; i < mutations; i++)
    AppendMutation(&encoded_mutations, MutationOp::kPut, RowKey(1, static_cast<uint64_t>(i)), "value");
  return EncodeWriteSet(MakeToken(token), read_lsn, 0, static_cast<uint32_t>(checks.size()), encoded_checks,
                        static_cast<uint32_t>(mutations), encoded_mutations);
}

// Changes keys `keys` of storage 1, after `chunks` staged chunks.
std::string MakeChanges(uint64_t token, const std::vector<uint64_t>& keys, uint32_t chunks = 0) {
  std::string mutations;
  for (const uint64_t key : keys) AppendMutation(&mutations, MutationOp::kPut, RowKey(1, key), "value");
  return EncodeWriteSet(MakeToken(token), 0, chunks, 0, "", static_cast<uint32_t>(keys.size()), mutations);
}

std::string MakeReads(Lsn read_lsn, const std::vector<std::pair<uint64_t, uint64_t>>& ranges) {
  ReadSet set;
  for (const auto& [low, high] : ranges) set.Add(RowKey(1, low), RowKey(1, high));
  std::string reads;
  set.AppendTo(&reads, read_lsn);
  return reads;
}

// A core and the journal that its caller would have written.
struct Leader {
  explicit Leader(const AdjudicatorLimits& limits = {}) : core(limits) {}

  Decision Commit(const std::string& commit, int64_t now) {
    std::string_view write_set = commit;
    ReadsView reads;
    EXPECT_TRUE(ReadsView::Cut(&write_set, &reads).ok());
    WriteSetView view;
    EXPECT_TRUE(WriteSetView::Parse(write_set, &view).ok());
    const Lsn before = core.last_lsn();
    const auto ruling = core.Commit(view, now, reads);
    if (ruling.fresh && ruling.decision.code == Code::kOk)
      Journal(ruling.decision.lsn, before, std::string(1, static_cast<char>(RecordType::kCommit)).append(write_set));
    return ruling.decision;
  }
  void Stage(uint64_t token, uint32_t sequence, const std::vector<uint64_t>& keys, int64_t now, uint8_t flags = 0) {
    std::string mutations;
    for (const uint64_t key : keys) AppendMutation(&mutations, MutationOp::kPut, RowKey(1, key), "value");
    const std::string chunk = EncodeChunk(MakeToken(token), sequence, flags, mutations);
    ChunkView view;
    EXPECT_TRUE(ChunkView::Parse(chunk, &view).ok());
    const Lsn before = core.last_lsn();
    const auto ruling = core.Chunk(view, now);
    ASSERT_EQ(ruling.decision.code, Code::kOk);
    Journal(ruling.decision.lsn, before, static_cast<char>(RecordType::kChunk) + chunk);
  }
  void Journal(Lsn lsn, Lsn prev, const std::string& record) {
    frames.emplace_back();
    AppendFrame(&frames.back(), 1, lsn, prev, record);
  }
  void Rebuild(size_t from = 0) {
    core.Reset(core.last_lsn());
    for (size_t i = from; i < frames.size(); i++) {
      Frame frame;
      size_t consumed;
      ASSERT_TRUE(ParseFrame(frames[i], &frame, &consumed).ok());
      const Status status = core.Replay(frame);
      ASSERT_TRUE(status.ok()) << status.ToString();
    }
    core.Settle(core.last_lsn());
  }

  Adjudicator core;
  std::vector<std::string> frames;
};

// Every commit ever, with its checks.
struct Model {
  std::map<uint64_t, Decision> first;
  std::vector<std::pair<Lsn, Check>> history;

  Code Judge(const std::vector<Check>& checks) const {
    for (const Check& check : checks) {
      for (const auto& [lsn, done] : history) {
        if (done.key_hash == check.key_hash && lsn > check.observed && Conflicts(check.mode, done.mode))
          return Code::kConflict;
      }
    }
    return Code::kOk;
  }
};

TEST(Adjudicator, AgreesWithTheModelAcrossRebuilds) {
  const uint64_t base = std::random_device{}();
  for (uint64_t seed = base; seed < base + 60; seed++) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    Leader dying;
    Leader steady;
    Model model;
    int64_t now = kNow;
    for (int step = 0; step < 400; step++) {
      now += static_cast<int64_t>(random() % 5) - 2;  // a clock that steps back at times
      if (random() % 40 == 0) dying.Rebuild();
      const Lsn last = steady.core.last_lsn();
      std::vector<Check> checks;
      for (uint64_t i = random() % 4; i > 0; i--) {
        const Lsn back = random() % (random() % 2 == 0 ? 4 : 20000);
        checks.push_back({random() % 12, last > back ? last - back : 0, static_cast<LockMode>(random() % kLockModes)});
      }
      const uint64_t token = 1 + random() % 600;
      const std::string write_set = MakeWriteSet(token, 0, checks, static_cast<int>(random() % 3));
      const Decision decision = steady.Commit(write_set, now);
      const Decision after_death = dying.Commit(write_set, now);
      const auto known = model.first.find(token);
      if (known != model.first.end() && known->second.code == Code::kOk) {
        ASSERT_EQ(decision.lsn, known->second.lsn) << "a resend was committed twice";
        ASSERT_EQ(after_death.lsn, known->second.lsn) << "a resend was committed twice after a rebuild";
        continue;
      }
      if (known != model.first.end()) {
        // Refused before: what is not in the journal may be decided anew after a rebuild, so the two may part here.
        ASSERT_EQ(decision.code, known->second.code);
        if (after_death.code == Code::kOk) break;
        continue;
      }
      ASSERT_EQ(decision.code, model.Judge(checks));
      ASSERT_EQ(after_death.code, decision.code);
      ASSERT_EQ(after_death.lsn, decision.lsn);
      model.first[token] = decision;
      if (decision.code == Code::kOk) {
        ASSERT_GT(decision.lsn, last);
        for (const Check& check : checks) model.history.emplace_back(decision.lsn, check);
      }
    }
  }
}

// What was changed when, for what was read.
TEST(Adjudicator, ReadsAgreeWithTheModelAcrossRebuilds) {
  constexpr uint64_t kKeys = 40;
  const uint64_t base = std::random_device{}();
  for (uint64_t seed = base; seed < base + 60; seed++) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    Leader dying, steady;
    std::map<uint64_t, Lsn> changed;                                // key -> last change
    std::map<uint64_t, std::vector<std::vector<uint64_t>>> staged;  // token -> chunks
    int64_t now = kNow;
    for (uint64_t token = 1; token <= 300; token++) {
      now += static_cast<int64_t>(random() % 5);
      if (random() % 20 == 0) dying.Rebuild();
      const auto some_keys = [&] {
        std::vector<uint64_t> keys;
        for (uint64_t i = random() % 3; i > 0; i--) keys.push_back(random() % kKeys);
        return keys;
      };
      if (random() % 4 == 0) {
        auto& chunks = staged[token];
        for (uint64_t i = 1 + random() % 3; i > 0; i--) {
          chunks.push_back(some_keys());
          for (Leader* leader : {&dying, &steady})
            leader->Stage(token, static_cast<uint32_t>(chunks.size() - 1), chunks.back(), now);
        }
        if (random() % 3 != 0) continue;  // committed later, or never
      }
      uint64_t committing = token;
      if (!staged.empty() && random() % 3 == 0) committing = staged.begin()->first;
      const auto chunks = staged[committing];
      staged.erase(committing);

      std::vector<std::pair<uint64_t, uint64_t>> ranges;
      for (uint64_t i = random() % 4; i > 0; i--) {
        const uint64_t low = random() % kKeys;
        ranges.emplace_back(low, low + 1 + random() % 3);
      }
      const Lsn last = steady.core.last_lsn();
      const Lsn back = random() % (random() % 2 == 0 ? 4 : 40000);
      const Lsn read_lsn = last > back ? last - back : 0;
      auto keys = some_keys();
      const std::string commit =
          MakeReads(read_lsn, ranges) + MakeChanges(committing, keys, static_cast<uint32_t>(chunks.size()));
      Code expected = Code::kOk;
      for (const auto& [low, high] : ranges) {
        for (uint64_t key = low; key < high; key++) {
          if (changed.contains(key) && changed[key] > read_lsn) expected = Code::kReadConflict;
        }
      }
      const Decision decision = steady.Commit(commit, now);
      ASSERT_EQ(decision.code, expected);
      ASSERT_EQ(dying.Commit(commit, now).code, expected);
      if (expected == Code::kReadConflict) {
        ASSERT_EQ(decision.conflict_hash, Prefix(Space::kRow, 1));
        continue;
      }
      for (const auto& chunk : chunks) keys.insert(keys.end(), chunk.begin(), chunk.end());
      for (const uint64_t key : keys) changed[key] = decision.lsn;
    }
  }
}

TEST(Adjudicator, WhatAnImmediateChunkFillsHasChangedAsAWhole) {
  Leader leader;
  const Lsn before = leader.core.last_lsn();
  leader.Stage(1, 0, {5}, kNow, kChunkImmediate);
  for (const bool rebuilt : {false, true}) {
    if (rebuilt) leader.Rebuild();
    const Lsn after = leader.core.last_lsn();
    const uint64_t token = rebuilt ? 20 : 10;
    EXPECT_EQ(leader.Commit(MakeReads(before, {{9, 10}}) + MakeChanges(token, {1}), kNow).code, Code::kReadConflict);
    EXPECT_EQ(leader.Commit(MakeReads(after, {{9, 10}}) + MakeChanges(token + 1, {1}), kNow).code, Code::kOk);
  }
}

TEST(Adjudicator, OfChunksBeforeTheTailNothingIsKnown) {
  Leader leader;
  leader.Stage(1, 0, {5}, kNow);
  leader.Commit(MakeChanges(2, {30}), kNow);
  const Lsn read_lsn = leader.core.last_lsn();
  leader.Commit(MakeChanges(1, {6}, 1), kNow);
  leader.Rebuild(1);
  EXPECT_EQ(leader.Commit(MakeReads(read_lsn, {{5, 6}}) + MakeChanges(3, {1}), kNow).code, Code::kReadConflict);
}

TEST(Adjudicator, ReadInTheFutureIsRefused) {
  Leader leader;
  EXPECT_EQ(leader.Commit(MakeReads(1, {{1, 2}}) + MakeChanges(1, {1}), kNow).code, Code::kInvalid);
}

TEST(Adjudicator, RebuildFromATrimmedJournalAcceptsNothingOlder) {
  Leader leader;
  for (uint64_t i = 1; i <= 10; i++)
    leader.Commit(MakeWriteSet(i, 0, {{i, leader.core.last_lsn(), LockMode::kUpdate}}), kNow);
  const Lsn fifth = leader.core.tokens().Find(MakeToken(5))->lsn;
  leader.Rebuild(5);
  EXPECT_EQ(leader.core.window().start(), fifth);
  EXPECT_EQ(leader.Commit(MakeWriteSet(20, fifth, {{99, fifth - 1, LockMode::kShare}}), kNow).code, Code::kTooOld);
  EXPECT_EQ(leader.Commit(MakeWriteSet(21, fifth, {{99, fifth, LockMode::kShare}}), kNow).code, Code::kOk);
  // Token 3 was committed, and the table no longer knows: not committed again, and not called refused either.
  EXPECT_EQ(leader.Commit(MakeWriteSet(3, 0, {{3, fifth - 3, LockMode::kUpdate}}), kNow).code, Code::kOutcomeUnknown);
}

TEST(Adjudicator, EmptyJournalStartsAtZero) {
  Leader leader;
  leader.Rebuild();
  EXPECT_EQ(leader.core.window().start(), kNoLsn);
  EXPECT_EQ(leader.Commit(MakeWriteSet(1, 0, {{1, 0, LockMode::kUpdate}}), kNow).code, Code::kOk);
}

TEST(Adjudicator, WhollyTrimmedJournalStartsAtItsLast) {
  Adjudicator core;
  core.Reset(500);
  EXPECT_EQ(core.window().start(), 500u);
  EXPECT_GT(core.AssignLsn(0), 500u);
}

TEST(Adjudicator, ChecksOfOneWriteSetDoNotConflictWithEachOther) {
  Leader leader;
  const std::string both = MakeWriteSet(1, 0, {{1, 0, LockMode::kUpdate}, {1, 0, LockMode::kKeyShare}});
  EXPECT_EQ(leader.Commit(both, kNow).code, Code::kOk);
}

TEST(Adjudicator, ObservedInTheFutureIsRefused) {
  Leader leader;
  EXPECT_EQ(leader.Commit(MakeWriteSet(1, 0, {{1, 1, LockMode::kUpdate}}), kNow).code, Code::kInvalid);
}

TEST(Adjudicator, ResendsAreAnsweredWithTheFirstVerdict) {
  Leader leader;
  const std::string first = MakeWriteSet(1, 0, {{1, 0, LockMode::kUpdate}});
  const std::string second = MakeWriteSet(2, 0, {{1, 0, LockMode::kUpdate}});
  const Decision committed = leader.Commit(first, kNow);
  EXPECT_EQ(leader.Commit(second, kNow).code, Code::kConflict);
  EXPECT_EQ(leader.Commit(first, kNow).lsn, committed.lsn);
  EXPECT_TRUE(leader.core.Pending(committed));
  EXPECT_EQ(leader.Commit(second, kNow).code, Code::kConflict);
  EXPECT_EQ(leader.frames.size(), 1u);
}

TEST(Adjudicator, AnAbandonedTokenNeverCommits) {
  Leader leader;
  const Lsn before = leader.core.last_lsn();
  const auto ruling = leader.core.Abandon(MakeToken(1), kNow);
  ASSERT_TRUE(ruling.fresh);
  std::string record(1, static_cast<char>(RecordType::kAbandon));
  const Token token = MakeToken(1);
  record.append(reinterpret_cast<const char*>(token.data()), token.size());
  leader.Journal(ruling.decision.lsn, before, record);
  EXPECT_FALSE(leader.core.Abandon(MakeToken(1), kNow).fresh);
  EXPECT_EQ(leader.Commit(MakeWriteSet(1, 0, {}), kNow).code, Code::kInvalid);
  leader.Rebuild();
  EXPECT_EQ(leader.Commit(MakeWriteSet(1, 0, {}), kNow).code, Code::kInvalid);
  // A committed one cannot be abandoned any more.
  EXPECT_EQ(leader.Commit(MakeWriteSet(2, 0, {}), kNow).code, Code::kOk);
  EXPECT_FALSE(leader.core.Abandon(MakeToken(2), kNow).fresh);
}

TEST(Adjudicator, ReplayRefusesGapsAndGarbage) {
  Leader leader;
  for (uint64_t i = 1; i <= 3; i++) leader.Commit(MakeWriteSet(i, 0, {}), kNow);
  Adjudicator core;
  Frame frames[3];
  size_t consumed;
  for (int i = 0; i < 3; i++) ASSERT_TRUE(ParseFrame(leader.frames[i], &frames[i], &consumed).ok());
  ASSERT_TRUE(core.Replay(frames[0]).ok());
  EXPECT_EQ(core.Replay(frames[2]).code(), Code::kCorruption);
  frames[1].record = "\x09";
  EXPECT_EQ(core.Replay(frames[1]).code(), Code::kCorruption);
  frames[1].record = "\x02short";
  core.Reset(0);
  EXPECT_EQ(core.Replay(frames[1]).code(), Code::kCorruption);
}

Status Validate(const std::string& write_set) {
  WriteSetView view;
  const Status status = WriteSetView::Parse(write_set, &view);
  return status.ok() ? CheckWriteSet(view) : status;
}

TEST(Adjudicator, WhatAReplicaCouldNotApplyIsRefused) {
  EXPECT_TRUE(Validate(MakeWriteSet(1, 0, {}, 3)).ok());
  EXPECT_EQ(Validate(MakeWriteSet(0, 0, {}, 3)).code(), Code::kInvalid) << "no token";
  std::string mutation;
  AppendMutation(&mutation, MutationOp::kPut, "short", "v");
  EXPECT_EQ(Validate(EncodeWriteSet(MakeToken(1), 0, 0, 0, "", 1, mutation)).code(), Code::kInvalid);
  EXPECT_EQ(Validate(EncodeWriteSet(MakeToken(1), 0, 0, 0, "", 1, "")).code(), Code::kInvalid) << "count";
  for (const uint64_t prefix : {uint64_t{3} << 56 | 1, uint64_t{0xFF} << 56}) {
    std::string key, unknown;
    AppendBe64(&key, prefix);
    AppendMutation(&unknown, MutationOp::kPut, key + "rest", "v");
    EXPECT_EQ(Validate(EncodeWriteSet(MakeToken(1), 0, 0, 0, "", 1, unknown)).code(), Code::kInvalid) << "space";
  }
  std::string drop;
  AppendMutation(&drop, MutationOp::kDropStorage, SystemKey(""), "");
  EXPECT_EQ(Validate(EncodeWriteSet(MakeToken(1), 0, 0, 0, "", 1, drop)).code(), Code::kInvalid) << "system keys";
  // Cut anywhere, it is refused and never read past its end.
  const std::string whole = MakeWriteSet(1, 0, {{1, 0, LockMode::kShare}}, 2);
  for (size_t size = 0; size < whole.size(); size++) EXPECT_FALSE(Validate(whole.substr(0, size)).ok()) << size;
}

}  // namespace
}  // namespace concord
