#include "sidecar/adjudicator/range_window.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "core/bytes.h"

namespace concord {
namespace {

// Everybody waits while one commit is judged: some tenths of a second for so many.
constexpr size_t kMaxSearched = 1'000'000;

// The first range that ends above the key.
std::vector<KeyRange>::const_iterator FirstAbove(const std::vector<KeyRange>& ranges, std::string_view key) {
  return std::upper_bound(ranges.begin(), ranges.end(), key,
                          [](std::string_view at, const KeyRange& range) { return at < range.high; });
}

// Is the key in a range; or, if `begin`, could one be that begins so?
bool Touches(const std::vector<KeyRange>& ranges, std::string_view key, bool begin) {
  const auto range = FirstAbove(ranges, key);
  if (range == ranges.end()) return false;
  return range->low <= key || (begin && range->low.starts_with(key));
}

}  // namespace

RangeWindow::RangeWindow(size_t max_bytes) : max_blocks_(std::max<size_t>(max_bytes / kBlockBytes, 2)) {}

void RangeWindow::Reset(Lsn start) {
  start_ = start;
  blocks_.clear();
}

void RangeWindow::Record(const ChangedKeys& keys, Lsn lsn) {
  assert(blocks_.empty() || lsn > blocks_.back().runs.back().lsn);
  keys.ForEach([&](std::string_view bytes, bool begin) {
    char* entry = MakeRoom(sizeof(uint16_t) + bytes.size(), lsn);
    StoreLe(entry, static_cast<uint16_t>(bytes.size() | (begin ? kBegin : 0)));
    memcpy(entry + sizeof(uint16_t), bytes.data(), bytes.size());
  });
}

// Lengthens the run of the commit, or begins one, by `size` bytes.
char* RangeWindow::MakeRoom(size_t size, Lsn lsn) {
  if (blocks_.empty() || blocks_.back().runs.back().end + size > kBlockBytes) AddBlock();
  Block& block = blocks_.back();
  const uint32_t end = block.runs.empty() ? 0 : block.runs.back().end;
  if (block.runs.empty() || block.runs.back().lsn != lsn) block.runs.push_back({lsn, end});
  block.runs.back().end = end + static_cast<uint32_t>(size);
  return block.bytes.get() + end;
}

void RangeWindow::AddBlock() {
  Block block;
  if (blocks_.size() == max_blocks_) {
    block = std::move(blocks_.front());
    blocks_.pop_front();
    // A commit larger than the window has pushed itself out: nobody who has read before it can be told.
    start_ = std::max(start_, block.runs.back().lsn);
    block.runs.clear();
  } else {
    block.bytes = MakeLargeArray<char>(kBlockBytes);
  }
  blocks_.push_back(std::move(block));
}

RangeWindow::Result RangeWindow::Probe(const ReadsView& reads, std::string_view* changed) const {
  if (reads.ranges().empty()) return Result::kFree;
  if (reads.read_lsn() < start_) return Result::kTooOld;
  const std::string_view lowest = reads.ranges().front().low, highest = reads.ranges().back().high;
  size_t searched = 0;
  for (auto block = blocks_.rbegin(); block != blocks_.rend(); ++block) {
    for (size_t i = block->runs.size(); i-- > 0;) {
      if (block->runs[i].lsn <= reads.read_lsn()) return Result::kFree;
      const char* at = block->bytes.get() + (i == 0 ? 0 : block->runs[i - 1].end);
      const char* const end = block->bytes.get() + block->runs[i].end;
      while (at < end) {
        const auto head = LoadLe<uint16_t>(at);
        const std::string_view key(at + sizeof head, head & ~kBegin);
        const bool begin = (head & kBegin) != 0;
        const bool may_touch = key < highest && (begin || key >= lowest);
        if (may_touch && ++searched > kMaxSearched) return Result::kTooOld;
        if (may_touch && Touches(reads.ranges(), key, begin)) {
          *changed = key;
          return Result::kConflict;
        }
        at = key.data() + key.size();
      }
    }
  }
  return Result::kFree;
}

}  // namespace concord
