#include "core/arena.h"

#include <sanitizer/asan_interface.h>

#include <algorithm>

namespace concord {

namespace {

constexpr size_t kFirstBlockBytes = 8u << 10;
constexpr size_t kMaxBlockBytes = 2u << 20;
constexpr size_t kPopulateBytes = 256u << 10;

}  // namespace

void Arena::Reserve(size_t size) {
  if (!blocks_.empty() && blocks_.back().size - offset_ >= size) return;
  const size_t grown = blocks_.empty() ? kFirstBlockBytes : std::min(kMaxBlockBytes, blocks_.back().size * 2);
  const size_t block = std::max(size, grown);
  blocks_.push_back({MakeLargeArray<char>(block, Pages::kSmall), block, block < kPopulateBytes ? block : 0});
  offset_ = 0;
}

char* Arena::Allocate(size_t size) {
  size = (size + 7) & ~size_t{7};
  Reserve(size);
  Block& block = blocks_.back();
  char* const at = block.bytes.get() + offset_;
  offset_ += size;
  used_ += size;
  if (offset_ > block.populated) {
    const size_t ahead = std::min(block.size, std::max(offset_, block.populated + kPopulateBytes));
    PopulateAhead(block.bytes.get() + block.populated, block.bytes.get() + ahead);
    block.populated = ahead;
  }
  return at;
}

void Arena::Release(const Mark& mark) {
  // The first block is for the next transaction, unless it was made for something large.
  const bool keep_first = mark.blocks == 0 && !blocks_.empty() && blocks_[0].size == kFirstBlockBytes;
  blocks_.erase(blocks_.begin() + (keep_first ? 1 : static_cast<ptrdiff_t>(mark.blocks)), blocks_.end());
  offset_ = mark.offset;
  used_ = mark.used;
}

void* NodePool::Allocate(size_t size) {
  if (size > kMaxNodeBytes) throw std::bad_alloc();  // no tree has such nodes: FreeOf knows no place for them
  FreeNode*& free = FreeOf(size);
  void* node = free;
  if (node != nullptr) {
    free = free->next;
  } else {
    node = arena_.Allocate(size);
  }
  ASAN_UNPOISON_MEMORY_REGION(node, size);  // a B-tree poisons the places in its nodes that it does not use
  return node;
}

void NodePool::Free(void* node, size_t size) noexcept {
  FreeNode*& free = FreeOf(size);
  ASAN_UNPOISON_MEMORY_REGION(node, size);
  free = new (node) FreeNode{free};
}

void NodePool::Reset() {
  free_.fill(nullptr);
  arena_.Release({});
}

}  // namespace concord
