#include "core/parts.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <vector>

#include "core/key.h"

namespace concord {
namespace {

std::string RandomValue(std::mt19937_64* random, size_t size) {
  std::string value(size, '\0');
  for (size_t i = 0; i < size; i += 1 + (*random)() % 512) value[i] = static_cast<char>((*random)());
  return value;
}

TEST(Parts, LayoutIsAsDocumented) {
  std::string bytes;
  AppendPart(&bytes, "key", "0123456789", 4, 3, 77);
  ASSERT_EQ(bytes.size(), kMutationHeaderSize + 8 + 3 + kPartHeaderSize + 3);
  EXPECT_EQ(static_cast<uint8_t>(bytes[0]), 0x84);
  EXPECT_EQ(LoadLe<uint32_t>(bytes.data() + 3), kPartHeaderSize + 3);
  const char* part = bytes.data() + kMutationHeaderSize + 8 + 3;
  EXPECT_EQ(LoadLe<uint32_t>(part), 10u);
  EXPECT_EQ(LoadLe<uint32_t>(part + 4), 4u);
  EXPECT_EQ(std::string_view(part + 8, 3), "456");
  Mutation mutation;
  ASSERT_TRUE(MutationReader(bytes).Next(&mutation).ok());
  EXPECT_EQ(mutation.op, MutationOp::kPutPart);
  EXPECT_EQ(mutation.explicit_lsn, 77u);
  EXPECT_EQ(mutation.key, "key");
  EXPECT_EQ(mutation.value, "456");
  EXPECT_EQ(mutation.total, 10u);
  EXPECT_EQ(mutation.offset, 4u);
}

TEST(Parts, ImpossibleOnesAreRefused) {
  const auto read = [](uint32_t total, uint32_t offset, size_t size) {
    std::string bytes;
    AppendPart(&bytes, "key", std::string(100, 'v'), 0, 100);
    bytes.resize(kMutationHeaderSize + 3 + kPartHeaderSize + size);
    StoreLe(bytes.data() + 3, static_cast<uint32_t>(kPartHeaderSize + size));
    StoreLe(bytes.data() + kMutationHeaderSize + 3, total);
    StoreLe(bytes.data() + kMutationHeaderSize + 7, offset);
    Mutation mutation;
    return MutationReader(bytes).Next(&mutation).code();
  };
  EXPECT_EQ(read(100, 0, 100), Code::kOk);
  EXPECT_EQ(read(100, 99, 1), Code::kOk);
  EXPECT_EQ(read(kMaxValueBytes, kMaxValueBytes - 1, 1), Code::kOk);
  EXPECT_EQ(read(100, 0, 0), Code::kInvalid) << "without a byte";
  EXPECT_EQ(read(100, 1, 100), Code::kInvalid) << "beyond the end";
  EXPECT_EQ(read(100, 100, 1), Code::kInvalid);
  EXPECT_EQ(read(100, UINT32_MAX, 1), Code::kInvalid);
  EXPECT_EQ(read(0, 0, 1), Code::kInvalid);
  EXPECT_EQ(read(kMaxValueBytes + 1, 0, 1), Code::kTooLarge);
}

// Whatever is done to a chain of parts is found, unless it is a chain of the same values still.
TEST(Parts, ABrokenChainIsFound) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (int round = 0; round < 2000; round++) {
    std::vector<std::string> mutations;
    for (uint64_t i = 1 + random() % 4; i > 0; i--) {
      const std::string key = RowKey(1, random() % 3), value = RandomValue(&random, 2 + random() % 30);
      const Lsn lsn = random() % 2;
      if (random() % 3 == 0) {
        AppendMutation(&mutations.emplace_back(), MutationOp::kPut, key, value, lsn);
        continue;
      }
      for (size_t at = 0; at < value.size();) {
        const size_t size = 1 + random() % (value.size() - at);
        AppendPart(&mutations.emplace_back(), key, value, at, size, lsn);
        at += size;
      }
    }
    // Cut anywhere, the two sides of it agree.
    const auto complete = [](const std::vector<std::string>& list, size_t cut) {
      std::string head, tail;
      for (size_t i = 0; i < list.size(); i++) (i < cut ? head : tail) += list[i];
      PartChain chain(CutBefore(head));
      for (MutationReader reader(head); !reader.AtEnd();) {
        Mutation mutation;
        EXPECT_TRUE(reader.Next(&mutation).ok());
        if (!chain.Add(mutation).ok()) return false;
      }
      EXPECT_EQ(chain.cut(), CutBehind(head));
      if (CutBefore(head) || CutBehind(head) != CutBefore(tail)) return false;
      PartChain rest(chain.cut());
      for (MutationReader reader(tail); !reader.AtEnd();) {
        Mutation mutation;
        EXPECT_TRUE(reader.Next(&mutation).ok());
        if (!rest.Add(mutation).ok()) return false;
      }
      return !rest.cut();
    };
    for (size_t cut = 0; cut <= mutations.size(); cut++) ASSERT_TRUE(complete(mutations, cut)) << cut;

    // The model: the bytes of each value, one after another.
    const auto values = [](const std::vector<std::string>& list) -> std::optional<std::string> {
      std::string all;
      for (size_t i = 0; i < list.size(); i++) {
        Mutation mutation;
        EXPECT_TRUE(MutationReader(list[i]).Next(&mutation).ok());
        std::string value(mutation.value);
        if (mutation.op == MutationOp::kPutPart) {
          const Mutation first = mutation;
          if (first.offset != 0) return std::nullopt;
          while (value.size() < first.total) {
            if (++i == list.size() || !MutationReader(list[i]).Next(&mutation).ok()) return std::nullopt;
            if (mutation.op != MutationOp::kPutPart || mutation.key != first.key || mutation.total != first.total ||
                mutation.explicit_lsn != first.explicit_lsn || mutation.offset != value.size())
              return std::nullopt;
            value += mutation.value;
          }
        }
        all.append(mutation.key).append(value);
      }
      return all;
    };
    std::vector<std::string> broken = mutations;
    const size_t at = random() % broken.size();
    switch (random() % 3) {
      case 0: broken.erase(broken.begin() + static_cast<ptrdiff_t>(at)); break;
      case 1: std::swap(broken[at], broken[random() % broken.size()]); break;
      default: broken.insert(broken.begin() + static_cast<ptrdiff_t>(random() % (broken.size() + 1)), broken[at]);
    }
    ASSERT_EQ(complete(broken, random() % (broken.size() + 1)), values(broken).has_value());
  }
}

TEST(Parts, TheWriterFillsChunksAndLosesNothing) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (int round = 0; round < 20; round++) {
    const std::string key = RowKey(3, random()), value = RandomValue(&random, 1 + random() % (3 * kMaxChunkBytes));
    const Lsn lsn = random() % 2 == 0 ? kNoLsn : random() | 1;
    PartWriter writer(key, value, lsn);
    std::string joined;
    PartChain chain;
    for (bool complete = false; !complete;) {
      const std::string before(random() % 3 == 0 ? random() % kMaxChunkBytes : 0, 'x');
      std::string chunk = EncodeChunk({}, 0, 0, before);
      const size_t used = chunk.size();
      complete = writer.AppendTo(&chunk);
      ASSERT_LE(chunk.size(), std::max(used, kMaxChunkBytes));
      ASSERT_TRUE(complete || chunk.size() == kMaxChunkBytes || kMaxChunkBytes - used < 5000) << used;
      if (chunk.size() == used) continue;
      Mutation part;
      ASSERT_TRUE(MutationReader(std::string_view(chunk).substr(used)).Next(&part).ok());
      ASSERT_TRUE(chain.Add(part).ok());
      ASSERT_EQ(part.key, key);
      ASSERT_EQ(part.explicit_lsn, lsn);
      ASSERT_EQ(chain.cut().has_value(), !complete);
      joined += part.value;
    }
    ASSERT_TRUE(joined == value);
  }
}

}  // namespace
}  // namespace concord
