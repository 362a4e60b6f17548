#include "core/read_set.h"

#include <algorithm>
#include <cassert>

#include "core/key.h"

namespace concord {
namespace {

bool SameStorage(std::string_view a, std::string_view b) {
  return a.substr(0, kPrefixSize) == b.substr(0, kPrefixSize);
}

}  // namespace

void ReadSet::set_limit(size_t bytes) {
  limit_ = std::clamp(bytes, RangeSize(kMaxBoundBytes, kMaxBoundBytes), kMaxReadsBytes);
}

void ReadSet::Add(std::string_view low, std::string_view high) {
  assert(low.size() <= kMaxBoundBytes && high.size() <= kMaxBoundBytes);
  if (low >= high) return;
  if (last_ == ranges_.end() || low < last_->first || low > last_->second) {
    last_ = ranges_.upper_bound(low);
    if (last_ == ranges_.begin() || std::prev(last_)->second < low) {
      last_ = ranges_.emplace_hint(last_, low, high);
      bytes_ += RangeSize(low.size(), high.size());
    } else {
      --last_;
    }
  }
  if (high > last_->second) Extend(last_, high);
  // A new one may reach into those behind it, too.
  for (auto next = std::next(last_); next != ranges_.end() && next->first <= last_->second; next = std::next(last_)) {
    if (next->second > last_->second) Extend(last_, next->second);
    Erase(next);
  }
  if (bytes_ > limit_) Coarsen();
}

void ReadSet::Extend(Ranges::iterator range, std::string_view high) {
  bytes_ = bytes_ - range->second.size() + high.size();
  range->second.assign(high);
}

void ReadSet::Erase(Ranges::iterator range) {
  bytes_ -= RangeSize(range->first.size(), range->second.size());
  ranges_.erase(range);
}

// Down to the half, so that it is not to be done again for each of what comes next.
void ReadSet::Coarsen() {
  for (const bool across_storages : {false, true}) {
    size_t before = SIZE_MAX;
    while (bytes_ > limit_ / 2 && ranges_.size() < before) {
      before = ranges_.size();
      JoinNeighbours(across_storages);
    }
  }
  last_ = ranges_.end();
}

// Each second range goes into the one before it.
void ReadSet::JoinNeighbours(bool across_storages) {
  for (auto range = ranges_.begin(); range != ranges_.end(); ++range) {
    const auto next = std::next(range);
    if (next == ranges_.end()) break;
    if (!across_storages && !SameStorage(range->first, next->first)) continue;
    Extend(range, next->second);
    Erase(next);
  }
}

bool ReadSet::Covers(std::string_view key) const {
  const auto above = ranges_.upper_bound(key);
  return above != ranges_.begin() && key < std::prev(above)->second;
}

void ReadSet::Clear() {
  ranges_.clear();
  last_ = ranges_.end();
  bytes_ = 0;
}

void ReadSet::AppendTo(std::string* to, Lsn read_lsn) const {
  if (empty()) return;
  to->reserve(to->size() + kReadsHeaderSize + bytes_);
  AppendReadsHeader(to, read_lsn, static_cast<uint32_t>(ranges_.size()), static_cast<uint32_t>(bytes_));
  for (const auto& [low, high] : ranges_) AppendRange(to, {low, high});
}

}  // namespace concord
