#include "bridge/remote_cursor.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "bridge/reads.h"
#include "bridge/remote_cache.h"
#include "bridge/remote_client.h"

namespace concord::bridge {

namespace {

constexpr uint32_t kFirstBytes = 16u << 10;  // of a scan that may be for one key
constexpr uint32_t kFirstEntries = 16;
constexpr uint32_t kMaxBytes = 256u << 10;
constexpr uint32_t kMaxEntries = 20'000;
constexpr uint32_t kGrowth = 8;
constexpr uint32_t kPartBytes = 2u << 20;

std::string Successor(std::string_view key) { return std::string(key) + '\0'; }

}  // namespace

ScanExpectation ExpectRange(uint64_t prefix, const void* low, size_t low_size, const void* high, size_t high_size,
                            uint64_t rows_of) {
  const auto bound = [&](const void* body, size_t size) {
    return body == nullptr ? std::string() : FullKey(prefix, {static_cast<const char*>(body), size});
  };
  return {bound(low, low_size), bound(high, high_size), rows_of};
}

RemoteCursor::RemoteCursor(uint64_t prefix, Lsn lsn)
    : prefix_(prefix),
      lsn_(lsn),
      lowest_(FullKey(prefix, {})),
      highest_(FullKey(prefix + 1, {})),
      bytes_(kFirstBytes),
      entries_(kFirstEntries) {}

RemoteCursor::~RemoteCursor() {
  ForgetAhead();
  ReleaseBatch();
}

void RemoteCursor::ForgetAhead() {
  if (ahead_.id != 0) RemoteClient::Get().Forget(ahead_.id);
  ahead_ = {};
}

void RemoteCursor::ReleaseBatch() {
  if (batch_ != nullptr) batch_->Unpin();
  if (large_ != nullptr) large_->Unpin();
  batch_ = large_ = nullptr;
}

void RemoteCursor::Place(const Position& position, bool backward) {
  switch (position.kind) {
    case Position::Kind::kStart: gap_ = lowest_; break;
    case Position::Kind::kEnd: gap_ = highest_; break;
    case Position::Kind::kBefore: gap_ = FullKey(prefix_, position.key); break;
    case Position::Kind::kAfter: gap_ = Successor(FullKey(prefix_, position.key)); break;
    case Position::Kind::kAfterPrefixed: gap_ = FullKey(prefix_, PrefixSuccessor(position.key)); break;
    case Position::Kind::kAt:
      gap_ = FullKey(prefix_, position.key);
      if (!backward) gap_ += '\0';
      break;
  }
  backward_ = backward;
  found_ = false;
  if (expected_ == nullptr || !IsAtHand() || HasAllExpected()) return;
  if (RemoteBatch* const ahead = RemoteCache::Get().Scan(lsn_, FirstRequest())) {
    ForgetAhead();
    ahead->Pin();
    bytes_ = kFirstBytes;
    entries_ = kFirstEntries;
    Take(ahead, /*goes_on=*/false);
  }
}

bool RemoteCursor::HasAllExpected() const {
  if (backward_) return lo_ == lowest_ || lo_ <= expected_->low;
  return hi_ == highest_ || (!expected_->high.empty() && hi_ >= expected_->high);
}

size_t RemoteCursor::Find(std::string_view gap) const {
  size_t low = 0;
  for (size_t high = Count(); low < high;) {
    const size_t middle = (low + high) / 2;
    if (At(middle).key < gap)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

void RemoteCursor::Fill(const BatchEntry& from, CcView* view, CcEntry* entry) const {
  entry->key = reinterpret_cast<const uint8_t*>(from.key.data()) + kPrefixSize;
  entry->key_size = from.key.size() - kPrefixSize;
  entry->value = reinterpret_cast<const uint8_t*>(from.value.data());
  entry->value_size = from.value_size;
  entry->lsn = from.lsn;
  entry->view = view;
}

std::string RemoteCursor::Request(std::string_view gap, uint32_t bytes, uint32_t entries) const {
  ScanBounds bounds;
  bounds.low = backward_ ? std::string_view(lowest_) : gap;
  if (backward_ && gap != highest_) bounds.high = gap;
  uint64_t rows_of = 0;
  if (expected_ != nullptr) {
    rows_of = expected_->rows_of;
    if (backward_ && expected_->low < gap) bounds.stop = expected_->low;
    if (!backward_ && expected_->high > gap) bounds.stop = expected_->high;
  }
  return EncodeScan(backward_ ? kReadReverse : 0, bytes, entries, rows_of, 0, bounds);
}

std::string RemoteCursor::FirstRequest() const { return Request(gap_, kFirstBytes, kFirstEntries); }

void RemoteCursor::LookAhead() {
  ForgetAhead();
  std::string gap = backward_ ? lo_ : hi_;
  if (gap == (backward_ ? lowest_ : highest_)) return;
  // Beyond what is expected nobody will look.
  if (expected_ != nullptr && (backward_ ? !expected_->low.empty() && gap <= expected_->low
                                         : !expected_->high.empty() && gap > expected_->high))
    return;
  ahead_.id = RemoteClient::Get().Send(lsn_, Request(gap, bytes_, entries_));
  ahead_.gap = std::move(gap);
  ahead_.backward = backward_;
}

// Reads the batch that goes on from gap_.
CcStatus RemoteCursor::Fetch(bool* local_ready) {
  RemoteClient& client = RemoteClient::Get();
  RemoteCache& cache = RemoteCache::Get();
  RemoteBatch* batch = nullptr;
  const bool goes_on = batch_ != nullptr && gap_ == (backward_ ? lo_ : hi_);
  if (ahead_.id != 0 && ahead_.gap == gap_ && ahead_.backward == backward_) {
    const CcStatus status = client.Await(ahead_.id, &batch, local_ready);
    if (status == CC_INTERRUPTED) return status;
    ahead_ = {};
    if (status != CC_OK || batch == nullptr) return status;
    if (!batch->rows().empty()) cache.AddKeys(lsn_, batch, false);
  } else {
    ForgetAhead();
    // One range of rows behind another: who reads them so goes on for long.
    const bool is_near = batch_ != nullptr && expected_ == nullptr && !backward_ && gap_ > hi_ && at_ == Count();
    if (!goes_on) in_sequence_ = false;
    if (!goes_on && !is_near) {
      bytes_ = kFirstBytes;
      entries_ = kFirstEntries;
    }
    const std::string request = Request(gap_, bytes_, entries_);
    batch = in_sequence_ ? nullptr : cache.Scan(lsn_, request);
    if (batch != nullptr) {
      batch->Pin();
    } else {
      const CcStatus status = client.Call(lsn_, request, &batch, local_ready);
      if (status != CC_OK || batch == nullptr) return status;
      if (!in_sequence_) cache.AddScan(lsn_, request, batch);
      if (!batch->rows().empty()) cache.AddKeys(lsn_, batch, false);
    }
  }
  Take(batch, goes_on);
  return CC_OK;
}

void RemoteCursor::Take(RemoteBatch* batch, bool goes_on) {
  in_sequence_ = goes_on;
  bytes_ = std::min(bytes_ * kGrowth, kMaxBytes);
  entries_ = std::min(entries_ * kGrowth, kMaxEntries);

  ReleaseBatch();
  batch_ = batch;
  reversed_ = backward_;
  if (backward_) {
    hi_ = gap_;
    lo_ = batch->more() ? std::string(batch->end_key()) : lowest_;
  } else {
    lo_ = gap_;
    hi_ = batch->more() ? Successor(batch->end_key()) : highest_;
  }
  found_ = false;
  if (in_sequence_ && batch->more()) LookAhead();
}

CcStatus RemoteCursor::Next(CcEntry* entries, size_t room, size_t* count, bool* local_ready) {
  *local_ready = false;
  for (;;) {
    if (!found_) {
      if (!IsAtHand()) {
        const CcStatus status = Fetch(local_ready);
        if (status != CC_OK || *local_ready) return status;
      }
      at_ = Find(gap_);
      found_ = true;
    }
    if (backward_ ? at_ > 0 : at_ < Count()) break;
    std::string& edge = backward_ ? lo_ : hi_;
    if (edge == (backward_ ? lowest_ : highest_)) return CC_END;
    gap_ = edge;
    const CcStatus status = Fetch(local_ready);
    if (status != CC_OK || *local_ready) return status;
  }
  size_t filled = 0;
  while (filled < room && (backward_ ? at_ > 0 : at_ < Count())) {
    const BatchEntry& entry = At(backward_ ? at_ - 1 : at_);
    if (entry.value.size() != entry.value_size) {
      if (filled > 0) break;
      const CcStatus status = DeliverCut(entry, &entries[0], local_ready);
      if (status != CC_OK || *local_ready) return status;
      filled = room;
    } else {
      Fill(entry, batch_->view(), &entries[filled]);
      filled++;
    }
    backward_ ? at_-- : at_++;
  }
  const bool cut = entries[0].view != batch_->view();
  *count = cut ? 1 : filled;
  return CC_OK;
}

CcStatus RemoteCursor::DeliverCut(const BatchEntry& from, CcEntry* entry, bool* local_ready) {
  RemoteBatch* whole;
  const CcStatus status = FetchWhole(lsn_, from, &whole, local_ready);
  if (status != CC_OK || whole == nullptr) return status;
  if (large_ != nullptr) large_->Unpin();
  large_ = whole;
  Fill(from, whole->view(), entry);
  entry->value = reinterpret_cast<const uint8_t*>(whole->entries().front().value.data());
  return CC_OK;
}

CcStatus RemoteCursor::NextVersion(const Position& position, Lsn after, bool place, CcEntry* entry, bool* local_ready) {
  *local_ready = false;
  if (place) {
    Place(position, after != kNoLsn);  // on the key itself if some of its versions are still to come
    backward_ = false;
    ReleaseBatch();
    version_at_ = 0;
  }
  while (batch_ == nullptr || version_at_ == Count()) {
    if (batch_ != nullptr && !batch_->more()) return CC_END;
    std::string low = gap_;
    Lsn newer = after;
    if (batch_ != nullptr) {
      low = batch_->end_key();
      newer = batch_->end_lsn();
    }
    RemoteBatch* batch;
    const CcStatus status = RemoteClient::Get().Call(
        lsn_, EncodeScan(kReadVersions, kMaxBytes, 0, 0, newer, {low, {}, {}}), &batch, local_ready);
    if (status != CC_OK || batch == nullptr) return status;
    ReleaseBatch();
    batch_ = batch;
    reversed_ = false;
    lo_ = hi_ = {};
    version_at_ = 0;
  }
  const BatchEntry& from = batch_->entries()[version_at_];
  if (from.value.size() != from.value_size) {
    const CcStatus status = DeliverCut(from, entry, local_ready);
    if (status != CC_OK || *local_ready) return status;
  } else {
    Fill(from, batch_->view(), entry);
  }
  version_at_++;
  return CC_OK;
}

// ---- large values ----

namespace {

// What has come of the value that is being fetched: whoever was interrupted goes on.
struct Large {
  std::string key;
  Lsn version = kNoLsn;
  RemoteBytes bytes;
  size_t size = 0;
  size_t done = 0;
};
Large large;

}  // namespace

void ForgetLarge() { large = {}; }

CcStatus FetchWhole(Lsn lsn, const BatchEntry& entry, RemoteBatch** whole, bool* local_ready) {
  *whole = nullptr;
  if (large.bytes == nullptr || large.key != entry.key || large.version != entry.lsn) {
    large = {
        .key = std::string(entry.key), .version = entry.lsn, .bytes = nullptr, .size = entry.value_size, .done = 0};
    large.bytes.reset(static_cast<char*>(malloc(large.size)));
    if (large.bytes == nullptr) throw std::bad_alloc();
    memcpy(large.bytes.get(), entry.value.data(), entry.value.size());
    large.done = entry.value.size();
  }
  while (large.done < large.size) {
    RemoteBatch* part;
    const CcStatus status =
        RemoteClient::Get().Call(lsn, EncodePart(kPartBytes, large.version, large.done, large.key), &part, local_ready);
    if (status == CC_INTERRUPTED) return status;
    if (status != CC_OK || part == nullptr) {
      large = {};
      return status;
    }
    const auto& entries = part->entries();
    const bool good = entries.size() == 1 && !entries[0].value.empty() && entries[0].value_size == large.size &&
                      entries[0].value.size() <= large.size - large.done;
    if (good) {
      memcpy(large.bytes.get() + large.done, entries[0].value.data(), entries[0].value.size());
      large.done += entries[0].value.size();
    }
    part->Unpin();
    if (!good) {
      large = {};
      return Fail(CC_CORRUPT, "a storage replica sent a part that does not fit");
    }
  }
  *whole = RemoteBatch::MakeValue(std::move(large.bytes), entry, large.size);
  large = {};
  return CC_OK;
}

}  // namespace concord::bridge
