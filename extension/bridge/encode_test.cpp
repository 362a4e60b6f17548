#include "bridge/encode.h"

#include <gtest/gtest.h>

#include <cstring>
#include <deque>
#include <map>
#include <string>
#include <utility>

#include "bridge/channel.h"
#include "core/hash.h"
#include "core/key.h"
#include "core/parts.h"
#include "core/wire.h"

namespace concord::bridge {
namespace {

constexpr uint8_t kToken[16] = {1, 2, 3};

std::string_view Bytes(const uint8_t* data, size_t size) { return {reinterpret_cast<const char*>(data), size}; }

TEST(EncodeTest, CounterIsAWriteSetWithOneCheckAndOnePut) {
  const std::string key = SystemKey("storage");
  uint8_t out[256];
  size_t size = 0;
  ASSERT_EQ(cc_encode_counter(kToken, 77, key.data(), key.size(), 42, out, sizeof out, &size), CC_OK);
  WriteSetView view;
  ASSERT_TRUE(WriteSetView::Parse(Bytes(out, size), &view).ok());
  EXPECT_EQ(view.read_lsn(), 77u);
  EXPECT_EQ(view.chunk_count(), 0u);
  EXPECT_EQ(std::memcmp(view.token().data(), kToken, sizeof kToken), 0);
  ASSERT_EQ(view.check_count(), 1u);
  EXPECT_EQ(view.check(0).key_hash, KeyHash(key));
  EXPECT_EQ(view.check(0).observed, 77u);
  EXPECT_EQ(view.check(0).mode, LockMode::kUpdate);
  ASSERT_EQ(view.mutation_count(), 1u);
  MutationReader reader(view.mutations());
  Mutation mutation;
  ASSERT_TRUE(reader.Next(&mutation).ok());
  EXPECT_EQ(mutation.op, MutationOp::kPut);
  EXPECT_EQ(mutation.key, key);
  ASSERT_EQ(mutation.value.size(), sizeof(uint64_t));
  EXPECT_EQ(LoadLe<uint64_t>(mutation.value.data()), 42u);
  EXPECT_TRUE(reader.AtEnd());
}

TEST(EncodeTest, CounterMayCarryASecondKeyUnderTheSameCheck) {
  const std::string key = SystemKey("storage"), second = SystemKey("owner/");
  uint8_t out[256];
  size_t size = 0;
  ASSERT_EQ(cc_encode_counter_and(kToken, 77, key.data(), key.size(), 42, second.data(), second.size(), "value", 5, out,
                                  sizeof out, &size),
            CC_OK);
  WriteSetView view;
  ASSERT_TRUE(WriteSetView::Parse(Bytes(out, size), &view).ok());
  ASSERT_EQ(view.check_count(), 1u);
  EXPECT_EQ(view.check(0).key_hash, KeyHash(key));
  ASSERT_EQ(view.mutation_count(), 2u);
  MutationReader reader(view.mutations());
  Mutation mutation;
  ASSERT_TRUE(reader.Next(&mutation).ok());
  EXPECT_EQ(mutation.key, key);
  ASSERT_TRUE(reader.Next(&mutation).ok());
  EXPECT_EQ(mutation.op, MutationOp::kPut);
  EXPECT_EQ(mutation.key, second);
  EXPECT_EQ(mutation.value, "value");
  EXPECT_TRUE(reader.AtEnd());
}

TEST(EncodeTest, DropsFillTheirSizeAndCheckNothing) {
  const uint32_t ids[] = {7, 1u << 31, 9};
  std::string out(cc_drops_size(3), '\0');
  size_t size = 0;
  ASSERT_EQ(cc_encode_drops(kToken, 5, ids, 3, out.data(), &size), CC_OK);
  EXPECT_EQ(size, out.size());
  WriteSetView view;
  ASSERT_TRUE(WriteSetView::Parse(out, &view).ok());
  EXPECT_EQ(view.check_count(), 0u);
  std::string expected;
  for (const uint32_t id : ids) AppendStorageDrop(&expected, id);
  EXPECT_EQ(view.mutations(), expected);
}

TEST(EncodeTest, CounterThatDoesNotFitIsRefused) {
  const std::string key = SystemKey("storage");
  uint8_t out[16];
  size_t size;
  EXPECT_EQ(cc_encode_counter(kToken, 1, key.data(), key.size(), 1, out, sizeof out, &size), CC_TOO_LARGE);
}

TEST(EncodeTest, ChunkHoldsPutsAndDeletionsInOrder) {
  const uint64_t prefix = Prefix(Space::kRow, 9);
  ASSERT_EQ(cc_chunk_begin(kToken, 3), CC_OK);
  EXPECT_EQ(cc_chunk_size(), 0u);
  ASSERT_EQ(cc_chunk_add(prefix, "body0001", 8, "value", 5, 0), CC_OK);
  const size_t before = cc_chunk_size();
  ASSERT_EQ(cc_chunk_add(prefix, "body0002", 8, nullptr, 0, 55), CC_OK);
  EXPECT_LE(cc_chunk_size() - before, cc_chunk_mutation_size(8, 0));

  ChunkView view;
  ASSERT_TRUE(ChunkView::Parse({static_cast<const char*>(cc_chunk_data()), cc_chunk_size()}, &view).ok());
  EXPECT_EQ(view.sequence, 3u);
  EXPECT_EQ(view.flags, kChunkImmediate);
  MutationReader reader(view.mutations);
  Mutation mutation;
  ASSERT_TRUE(reader.Next(&mutation).ok());
  EXPECT_EQ(mutation.op, MutationOp::kPut);
  EXPECT_EQ(KeyPrefix(mutation.key), prefix);
  EXPECT_EQ(mutation.key.substr(kPrefixSize), "body0001");
  EXPECT_EQ(mutation.value, "value");
  EXPECT_EQ(mutation.explicit_lsn, kNoLsn);
  ASSERT_TRUE(reader.Next(&mutation).ok());
  EXPECT_EQ(mutation.op, MutationOp::kDelete);
  EXPECT_EQ(mutation.explicit_lsn, 55u);
  EXPECT_TRUE(reader.AtEnd());
  cc_chunk_reset();
  EXPECT_EQ(cc_chunk_size(), 0u);
}

TEST(EncodeTest, ChunksOnTheirWayStayAsTheyAre) {
  std::map<const void*, std::string> under_way;
  std::deque<const void*> order;
  for (uint32_t sequence = 0; sequence < 10; sequence++) {
    ASSERT_EQ(cc_chunk_begin(kToken, sequence), CC_OK);
    const std::string value(1000 * (sequence + 1), static_cast<char>('a' + sequence));
    ASSERT_EQ(cc_chunk_add(Prefix(Space::kRow, 9), "body0001", 8, value.data(), value.size(), 0), CC_OK);
    for (const auto& [data, bytes] : under_way) EXPECT_EQ(std::memcmp(data, bytes.data(), bytes.size()), 0);
    const void* const data = cc_chunk_data();
    if (order.size() == CC_CHUNKS_UNDER_WAY) {  // the oldest is answered
      under_way.erase(order.front());
      order.pop_front();
    }
    ASSERT_FALSE(under_way.contains(data));
    under_way[data].assign(static_cast<const char*>(data), cc_chunk_size());
    order.push_back(data);
    cc_chunk_detach();
    EXPECT_EQ(cc_chunk_size(), 0u);
  }
}

TEST(EncodeTest, ALargeValueIsATransactionOfItsOwn) {
  const uint64_t prefix = Prefix(Space::kRow, 9);
  const size_t size = 11 * kMaxChunkBytes / 2;
  EXPECT_TRUE(cc_chunk_holds(8, 1000));
  EXPECT_TRUE(cc_chunk_holds(8, kMaxChunkBytes - 100));
  ASSERT_FALSE(cc_chunk_holds(8, size));
  const std::string value = std::string(size - 1, 'v') + 'w';
  ASSERT_EQ(cc_parts_begin(kToken, 77, prefix, "body0001", 8, value.data(), value.size(), 55), CC_OK);
  std::string joined, previous;
  std::deque<std::pair<const void*, std::string>> under_way;
  PartChain chain;
  const void* part;
  size_t part_size;
  bool is_write_set = false;
  uint32_t chunks = 0;
  for (;; chunks++) {
    ASSERT_EQ(cc_parts_next(&part, &part_size, &is_write_set), CC_OK);
    for (const auto& [data, bytes] : under_way) ASSERT_EQ(std::memcmp(data, bytes.data(), bytes.size()), 0);
    previous.assign(static_cast<const char*>(part), part_size);
    under_way.emplace_back(part, previous);
    if (under_way.size() > CC_CHUNKS_UNDER_WAY) under_way.pop_front();
    if (is_write_set) break;
    ASSERT_LE(part_size, kMaxChunkBytes);
    ChunkView view;
    ASSERT_TRUE(ChunkView::Parse(previous, &view).ok());
    EXPECT_EQ(view.sequence, chunks);
    EXPECT_EQ(std::memcmp(view.token.data(), kToken, sizeof kToken), 0);
    MutationReader reader(view.mutations);
    Mutation mutation;
    ASSERT_TRUE(reader.Next(&mutation).ok());
    ASSERT_TRUE(reader.AtEnd());
    ASSERT_TRUE(chain.Add(mutation).ok());
    EXPECT_EQ(mutation.explicit_lsn, 55u);
    EXPECT_EQ(KeyPrefix(mutation.key), prefix);
    EXPECT_EQ(mutation.key.substr(kPrefixSize), "body0001");
    joined += mutation.value;
    EXPECT_EQ(view.flags, joined.size() < value.size() ? kChunkUnfinished : 0);
  }
  EXPECT_FALSE(chain.cut());
  EXPECT_TRUE(joined == value);
  WriteSetView view;
  ASSERT_TRUE(WriteSetView::Parse(previous, &view).ok());
  EXPECT_EQ(view.chunk_count(), chunks);
  EXPECT_EQ(view.read_lsn(), 77u);
  EXPECT_EQ(view.check_count(), 0u);
  EXPECT_EQ(view.mutation_count(), 0u);
  cc_parts_end();
  EXPECT_EQ(cc_parts_begin(kToken, 77, prefix, "body0001", 8, value.data(), kMaxValueBytes + 1, 0), CC_TOO_LARGE);
}

TEST(EncodeTest, KeyOverTheLimitLeavesTheChunkAsItWas) {
  const std::string body(kMaxKey, 'k');
  ASSERT_EQ(cc_chunk_begin(kToken, 0), CC_OK);
  EXPECT_EQ(cc_chunk_add(1, body.data(), body.size(), "v", 1, 0), CC_TOO_LARGE);
  EXPECT_EQ(cc_chunk_size(), 0u);
  cc_chunk_reset();
}

}  // namespace
}  // namespace concord::bridge
