// What one transaction has read: keys, and ranges of keys in which it has looked and perhaps found nothing, so that the
// adjudicator can tell at its commit whether any of it has changed since (docs/adjudicator.md, "Reads").
//
// A key is the range up to the next possible key. Invariants:
//  - Ranges are half-open, not empty, ascending, and do not touch: what overlaps or meets is one.
//  - Whatever was added stays covered until Clear.
//  - Bounded: over the limit, neighbours are joined over the gap between them, within a storage as long as that helps,
//    so at worst a storage counts as read as a whole, and of very many storages those between two others. A coarser set
//    costs needless conflicts, never a missed one. (As PostgreSQL promotes SIREAD locks from rows to pages, and those
//    to relations.)
//
// A scan adds what it passes in order, and that only moves the end of one range. Pure: no I/O. Not thread-safe. Throws
// std::bad_alloc.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "core/lsn.h"
#include "core/wire.h"

namespace concord {

class ReadSet {
 public:
  ReadSet() : last_(ranges_.end()) {}
  ReadSet(const ReadSet&) = delete;
  ReadSet& operator=(const ReadSet&) = delete;

  // At most kMaxReadsBytes, and enough for one range.
  void set_limit(size_t bytes);
  // Keys with low <= key < high; nothing if there are none. Bounds have at most kMaxBoundBytes.
  void Add(std::string_view low, std::string_view high);
  bool Covers(std::string_view key) const;
  void Clear();

  bool empty() const { return ranges_.empty(); }
  size_t ranges() const { return ranges_.size(); }
  // Of the encoded ranges.
  size_t bytes() const { return bytes_; }
  // Appends the reads of core/wire.h; nothing if there are none.
  void AppendTo(std::string* to, Lsn read_lsn) const;

 private:
  using Ranges = std::map<std::string, std::string, std::less<>>;  // low -> high

  void Extend(Ranges::iterator range, std::string_view high);
  void Erase(Ranges::iterator range);
  void Coarsen();
  void JoinNeighbours(bool across_storages);

  Ranges ranges_;
  Ranges::iterator last_;  // the range added to last, if it is still there: what comes next lies there mostly
  size_t bytes_ = 0;
  size_t limit_ = kMaxReadsBytes;
};

}  // namespace concord
