#include "sidecar/adjudicator/chunk_table.h"

#include <algorithm>

#include "sidecar/staged_chunks.h"

namespace concord {
namespace {

void Set(std::map<uint32_t, ValueCut>* cuts, uint32_t sequence, const std::optional<ValueCut>& cut) {
  cuts->erase(sequence);
  if (cut) cuts->emplace(sequence, *cut);
}

}  // namespace

void ChunkTable::Reset(Lsn floor) {
  floor_ = floor;
  chunks_ = key_bytes_ = 0;
  open_.clear();
  by_first_.clear();
}

void ChunkTable::Add(const Token& token, uint32_t sequence, Lsn lsn, const std::optional<ValueCut>& before,
                     const std::optional<ValueCut>& behind) {
  const auto [it, first] = open_.try_emplace(token, Open{lsn, lsn, {}, {}, {}, {}});
  if (first) by_first_.emplace(lsn, token);
  it->second.newest = lsn;
  if (it->second.sequences.insert(sequence).second) chunks_++;
  Set(&it->second.before, sequence, before);
  Set(&it->second.behind, sequence, behind);
  while (chunks_ > max_chunks_) ForgetOldest();
}

void ChunkTable::AddKeys(const Token& token, std::string_view mutations) {
  const auto it = open_.find(token);
  if (it == open_.end()) return;  // forgotten at once
  ChangedKeys& keys = it->second.keys;
  key_bytes_ -= keys.bytes();
  keys.Add(mutations);
  if (key_bytes_ + keys.bytes() > kMaxKeyBytes) keys.Coarsen();
  key_bytes_ += keys.bytes();
}

bool ChunkTable::TakeKeys(const Token& token, uint32_t count, ChangedKeys* keys) {
  const auto it = open_.find(token);
  if (it == open_.end() || it->second.sequences.size() != count) return false;
  key_bytes_ -= it->second.keys.bytes();
  *keys = std::move(it->second.keys);
  it->second.keys.Clear();
  return true;
}

void ChunkTable::Remove(const Token& token) {
  const auto it = open_.find(token);
  if (it == open_.end()) return;
  chunks_ -= it->second.sequences.size();
  key_bytes_ -= it->second.keys.bytes();
  by_first_.erase(it->second.first);
  open_.erase(it);
}

void ChunkTable::Expire(Lsn lsn, int64_t lifetime_us) {
  while (!by_first_.empty() && StagedChunkExpired(by_first_.begin()->first, lsn, lifetime_us)) ForgetOldest();
}

void ChunkTable::ForgetOldest() {
  const auto oldest = by_first_.begin();
  floor_ = std::max(floor_, oldest->first);
  Remove(Token(oldest->second));
}

Lsn ChunkTable::Newest(const Token& token) const {
  const auto it = open_.find(token);
  return it == open_.end() ? kNoLsn : it->second.newest;
}

ChunkTable::Result ChunkTable::Probe(const Token& token, uint32_t count, const std::optional<ValueCut>& cut) const {
  const auto it = open_.find(token);
  const size_t known = it == open_.end() ? 0 : it->second.sequences.size();
  if (known < count && floor_ != kNoLsn) return Result::kTooOld;
  if (known != count) return Result::kMismatch;
  return (it == open_.end() ? !cut : Joined(it->second, cut)) ? Result::kComplete : Result::kTorn;
}

// Each chunk that ends inside a value is followed by one that begins there, the last one by the write set, and no other
// begins inside one.
bool ChunkTable::Joined(const Open& open, const std::optional<ValueCut>& cut) {
  size_t begun = 0;
  for (const auto& [sequence, behind] : open.behind) {
    const auto next = open.sequences.upper_bound(sequence);
    if (next == open.sequences.end()) return begun == open.before.size() && cut == behind;
    const auto before = open.before.find(*next);
    if (before == open.before.end() || before->second != behind) return false;
    begun++;
  }
  return begun == open.before.size() && !cut;
}

}  // namespace concord
