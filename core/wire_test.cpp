#include "core/wire.h"

#include <gtest/gtest.h>

#include <random>

namespace concord {
namespace {

struct OwnedMutation {
  MutationOp op;
  Lsn explicit_lsn;
  std::string key;
  std::string value;
};

std::string RandomBytes(std::mt19937_64* random, size_t max) {
  std::string bytes((*random)() % (max + 1), '\0');
  for (char& c : bytes) c = static_cast<char>((*random)());
  return bytes;
}

TEST(StorageDrop, NamesRowsEntriesAndTheCounterOfRowids) {
  std::string bytes;
  ASSERT_EQ(AppendStorageDrop(&bytes, 0x01020304), 3u);
  MutationReader reader(bytes);
  Mutation rows, entries, counter;
  ASSERT_TRUE(reader.Next(&rows).ok());
  ASSERT_TRUE(reader.Next(&entries).ok());
  ASSERT_TRUE(reader.Next(&counter).ok());
  EXPECT_TRUE(reader.AtEnd());
  EXPECT_EQ(rows.op, MutationOp::kDropStorage);
  EXPECT_EQ(rows.key, std::string("\x01\0\0\0\x01\x02\x03\x04", 8));
  EXPECT_EQ(entries.op, MutationOp::kDropStorage);
  EXPECT_EQ(entries.key, std::string("\x02\0\0\0\x01\x02\x03\x04", 8));
  EXPECT_EQ(counter.op, MutationOp::kDelete);
  EXPECT_EQ(counter.key, std::string("\0\0\0\0\0\0\0\0rowid/\x01\x02\x03\x04", 18));
}

TEST(WireTest, LayoutIsAsDocumented) {
  Token token;
  for (size_t i = 0; i < token.size(); i++) token[i] = static_cast<uint8_t>(i + 1);
  std::string checks, mutations;
  AppendCheck(&checks, {0x1122334455667788, 9, LockMode::kUpdate});
  AppendMutation(&mutations, MutationOp::kPut, "key", "value", 77);
  const std::string bytes = EncodeWriteSet(token, 5, 2, 1, checks, 1, mutations);
  ASSERT_EQ(checks.size(), kCheckSize);
  ASSERT_EQ(mutations.size(), kMutationHeaderSize + 8 + 3 + 5);
  ASSERT_EQ(bytes.size(), kWriteSetHeaderSize + checks.size() + mutations.size());
  EXPECT_EQ(bytes[0], 1);
  EXPECT_EQ(LoadLe<uint32_t>(bytes.data() + 4), 1u);
  EXPECT_EQ(bytes[8], 1);
  EXPECT_EQ(LoadLe<uint64_t>(bytes.data() + 24), 5u);
  EXPECT_EQ(LoadLe<uint32_t>(bytes.data() + 32), 2u);
  EXPECT_EQ(LoadLe<uint32_t>(bytes.data() + 36), 1u);
  EXPECT_EQ(bytes[40 + 16], 3);
  EXPECT_EQ(static_cast<uint8_t>(bytes[57]), 0x81);
}

TEST(WireTest, RandomWriteSetsRoundTrip) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (int round = 0; round < 300; round++) {
    Token token;
    for (uint8_t& byte : token) byte = static_cast<uint8_t>(random());
    std::vector<Check> checks;
    std::string check_bytes;
    for (size_t i = random() % 10; i > 0; i--) {
      checks.push_back({random(), random(), static_cast<LockMode>(random() % kLockModes)});
      AppendCheck(&check_bytes, checks.back());
    }
    std::vector<OwnedMutation> mutations;
    std::string mutation_bytes;
    for (size_t i = random() % 10; i > 0; i--) {
      mutations.push_back({static_cast<MutationOp>(1 + random() % 3), random() % 2 == 0 ? kNoLsn : random() | 1,
                           RandomBytes(&random, 40), RandomBytes(&random, 100)});
      const OwnedMutation& m = mutations.back();
      AppendMutation(&mutation_bytes, m.op, m.key, m.value, m.explicit_lsn);
    }
    const Lsn read_lsn = random();
    const std::string bytes =
        EncodeWriteSet(token, read_lsn, static_cast<uint32_t>(round), static_cast<uint32_t>(checks.size()), check_bytes,
                       static_cast<uint32_t>(mutations.size()), mutation_bytes);
    WriteSetView view;
    ASSERT_TRUE(WriteSetView::Parse(bytes, &view).ok());
    EXPECT_EQ(view.token(), token);
    EXPECT_EQ(view.read_lsn(), read_lsn);
    EXPECT_EQ(view.chunk_count(), static_cast<uint32_t>(round));
    EXPECT_EQ(view.mutation_count(), mutations.size());
    ASSERT_EQ(view.check_count(), checks.size());
    for (uint32_t i = 0; i < checks.size(); i++) {
      EXPECT_EQ(view.check(i).key_hash, checks[i].key_hash);
      EXPECT_EQ(view.check(i).observed, checks[i].observed);
      EXPECT_EQ(view.check(i).mode, checks[i].mode);
    }
    MutationReader reader(view.mutations());
    for (const OwnedMutation& expected : mutations) {
      Mutation m;
      ASSERT_TRUE(reader.Next(&m).ok());
      EXPECT_EQ(m.op, expected.op);
      EXPECT_EQ(m.explicit_lsn, expected.explicit_lsn);
      EXPECT_EQ(m.key, expected.key);
      EXPECT_EQ(m.value, expected.value);
    }
    EXPECT_TRUE(reader.AtEnd());
  }
}

TEST(WireTest, CutBytesAreRefused) {
  std::string checks, mutations;
  AppendCheck(&checks, {1, 2, LockMode::kShare});
  AppendMutation(&mutations, MutationOp::kDelete, "key", "");
  const std::string bytes = EncodeWriteSet({}, 1, 0, 1, checks, 1, mutations);
  WriteSetView view;
  for (size_t cut = 0; cut < kWriteSetHeaderSize + kCheckSize; cut++)
    EXPECT_EQ(WriteSetView::Parse(std::string_view(bytes).substr(0, cut), &view).code(), Code::kInvalid) << cut;
  for (size_t cut = 1; cut < mutations.size(); cut++) {
    Mutation m;
    MutationReader reader(std::string_view(mutations).substr(0, cut));
    EXPECT_EQ(reader.Next(&m).code(), Code::kInvalid) << cut;
  }
}

TEST(WireTest, UnknownValuesAreRefused) {
  std::string checks, mutations;
  AppendCheck(&checks, {1, 2, static_cast<LockMode>(kLockModes)});
  WriteSetView view;
  EXPECT_EQ(WriteSetView::Parse(EncodeWriteSet({}, 1, 0, 1, checks, 0, ""), &view).code(), Code::kInvalid);
  std::string version = EncodeWriteSet({}, 1, 0, 0, "", 0, "");
  version[0] = 2;
  EXPECT_EQ(WriteSetView::Parse(version, &view).code(), Code::kInvalid);
  for (const size_t reserved : {1, 2, 3}) {  // what a later version may give a meaning to
    std::string flagged = EncodeWriteSet({}, 1, 0, 0, "", 0, "");
    flagged[reserved] = 1;
    EXPECT_EQ(WriteSetView::Parse(flagged, &view).code(), Code::kInvalid) << reserved;
  }
  AppendMutation(&mutations, MutationOp::kPut, "key", "value");
  Mutation m;
  for (const int op : {0, 5, 0x40}) {
    mutations[0] = static_cast<char>(op);
    EXPECT_EQ(MutationReader(mutations).Next(&m).code(), Code::kInvalid) << op;
  }
  // A count of checks that overflows nothing and fits nothing.
  std::string huge = EncodeWriteSet({}, 1, 0, 0, "", 0, "");
  StoreLe(huge.data() + 4, UINT32_MAX);
  EXPECT_EQ(WriteSetView::Parse(huge, &view).code(), Code::kInvalid);
}

TEST(WireTest, ChunksRoundTrip) {
  Token token{};
  token[3] = 9;
  const std::string bytes = EncodeChunk(token, 12, kChunkImmediate, "mutations");
  EXPECT_EQ(bytes.size(), kChunkHeaderSize + 9);
  ChunkView view;
  ASSERT_TRUE(ChunkView::Parse(bytes, &view).ok());
  EXPECT_EQ(view.token, token);
  EXPECT_EQ(view.sequence, 12u);
  EXPECT_EQ(view.flags, kChunkImmediate);
  EXPECT_EQ(view.mutations, "mutations");
  for (size_t cut = 0; cut < kChunkHeaderSize; cut++)
    EXPECT_EQ(ChunkView::Parse(std::string_view(bytes).substr(0, cut), &view).code(), Code::kInvalid);
}

// Nothing that arrives may read past its end (the sanitizers watch) or loop.
TEST(WireTest, GarbageIsHarmless) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (int round = 0; round < 20000; round++) {
    std::string bytes = RandomBytes(&random, 120);
    if (!bytes.empty()) bytes[0] = 1;
    if (bytes.size() > 8) bytes[1] = bytes[2] = bytes[3] = bytes[5] = bytes[6] = bytes[7] = 0;
    WriteSetView view;
    const std::string exact(bytes);
    std::string_view mutations = exact;
    if (WriteSetView::Parse(exact, &view).ok()) mutations = view.mutations();
    MutationReader reader(mutations);
    Mutation m;
    size_t steps = 0;
    while (!reader.AtEnd() && reader.Next(&m).ok()) ASSERT_LE(++steps, bytes.size());
  }
}

}  // namespace
}  // namespace concord
