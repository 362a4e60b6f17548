// Memory of one transaction's write set.
//
// Not thread-safe. Throws std::bad_alloc.
#pragma once

#include <array>
#include <cassert>
#include <cstddef>
#include <vector>

#include "core/large_memory.h"

namespace concord {

// Bump allocation of 8-aligned pieces; all that came after a mark is released at once, and nothing before.
class Arena {
 public:
  struct Mark {
    size_t blocks = 0;
    size_t offset = 0;
    size_t used = 0;
  };

  char* Allocate(size_t size);
  // What is allocated next, up to `size` bytes in all, cannot fail.
  void Reserve(size_t size);
  Mark mark() const { return {blocks_.size(), offset_, used_}; }
  void Release(const Mark& mark);
  size_t used() const { return used_; }

 private:
  struct Block {
    LargeArray<char> bytes;
    size_t size;
    size_t populated;
  };
  std::vector<Block> blocks_;
  size_t offset_ = 0;  // in the last block
  size_t used_ = 0;
};

// The nodes of B-trees, which come in few sizes. An insertion must not fail between two of the nodes that it makes: it
// begins with Reserve().
class NodePool {
 public:
  NodePool() = default;
  NodePool(const NodePool&) = delete;
  NodePool& operator=(const NodePool&) = delete;

  void Reserve() { arena_.Reserve(kNodesOfInsertion * kMaxNodeBytes); }
  void* Allocate(size_t size);
  void Free(void* node, size_t size) noexcept;
  // All nodes have been freed.
  void Reset();

 private:
  static constexpr size_t kMaxNodeBytes = 512;
  // One a level, and the new root: of more keys than there is memory for.
  static constexpr size_t kNodesOfInsertion = 12;
  struct FreeNode {
    FreeNode* next;
  };

  FreeNode*& FreeOf(size_t size) {
    assert(size >= sizeof(FreeNode) && size <= kMaxNodeBytes);
    return free_[(size + 7) / 8];
  }

  Arena arena_;
  std::array<FreeNode*, kMaxNodeBytes / 8 + 1> free_{};  // by size
};

template <typename T>
struct NodeAllocator {
  using value_type = T;

  explicit NodeAllocator(NodePool* of) : pool(of) {}
  template <typename U>
  NodeAllocator(const NodeAllocator<U>& other) noexcept : pool(other.pool) {}  // NOLINT(google-explicit-constructor)

  T* allocate(size_t count) { return static_cast<T*>(pool->Allocate(count * sizeof(T))); }
  void deallocate(T* node, size_t count) noexcept { pool->Free(node, count * sizeof(T)); }

  friend bool operator==(const NodeAllocator& a, const NodeAllocator& b) { return a.pool == b.pool; }

  NodePool* pool;
};

}  // namespace concord
