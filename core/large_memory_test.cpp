#include "core/large_memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <new>
#include <vector>

namespace concord {
namespace {

bool IsAligned(const void* memory, size_t to) { return reinterpret_cast<uintptr_t>(memory) % to == 0; }

TEST(LargeMemoryTest, IsWritableFromEndToEndAndHugePagesAreAligned) {
  for (const size_t bytes :
       {size_t{1}, kHugePageBytes - 1, kHugePageBytes, kHugePageBytes + 1, 3 * kHugePageBytes + 7}) {
    std::vector<char*> blocks;
    for (int i = 0; i < 5; i++) {  // neighbours in the map must not reach into each other
      blocks.push_back(static_cast<char*>(AllocateLarge(bytes)));
      if (bytes >= kHugePageBytes) {
        EXPECT_TRUE(IsAligned(blocks.back(), kHugePageBytes)) << bytes;
      }
      memset(blocks.back(), 'a' + i, bytes);
    }
    FreeLarge(blocks[1], bytes);
    FreeLarge(blocks[3], bytes);
    for (const int i : {0, 2, 4}) {
      EXPECT_EQ(blocks[i][0], 'a' + i) << bytes;
      EXPECT_EQ(blocks[i][bytes - 1], 'a' + i) << bytes;
      FreeLarge(blocks[i], bytes);
    }
  }
}

TEST(LargeMemoryTest, PopulatingChangesNothing) {
  std::vector<char> bytes(1 << 20, 'b');
  for (const size_t from : {size_t{0}, size_t{1}, size_t{5000}}) {
    PopulateAhead(bytes.data() + from, bytes.data() + bytes.size() - from);
    PopulateAhead(bytes.data() + from, bytes.data() + from);
  }
  EXPECT_EQ(std::count(bytes.begin(), bytes.end(), 'b'), 1 << 20);
}

TEST(LargeMemoryTest, WhatCannotBeHadIsBadAlloc) {
  EXPECT_THROW(AllocateLarge(size_t{1} << 60), std::bad_alloc);
  EXPECT_THROW(AllocateLarge(SIZE_MAX), std::bad_alloc);
  EXPECT_THROW(MakeLargeArray<uint64_t>(size_t{1} << 57), std::bad_alloc);
}

TEST(LargeMemoryTest, ContainersGrowOverTheBoundary) {
  std::vector<uint64_t, LargeAllocator<uint64_t>> numbers;
  for (uint64_t i = 0; i < 3 * kHugePageBytes / sizeof(uint64_t); i++) numbers.push_back(i * i);
  for (uint64_t i = 0; i < numbers.size(); i++) ASSERT_EQ(numbers[i], i * i);
  numbers.clear();
  numbers.shrink_to_fit();
  EXPECT_EQ(numbers.capacity(), 0u);
}

}  // namespace
}  // namespace concord
