#include "sidecar/adjudicator/chunk_table.h"

#include <algorithm>

#include "sidecar/staged_chunks.h"

namespace concord {

void ChunkTable::Reset(Lsn floor) {
  floor_ = floor;
  chunks_ = 0;
  open_.clear();
  by_first_.clear();
}

void ChunkTable::Add(const Token& token, uint32_t sequence, Lsn lsn) {
  const auto [it, first] = open_.try_emplace(token, Open{lsn, {}});
  if (first) by_first_.emplace(lsn, token);
  if (it->second.sequences.insert(sequence).second) chunks_++;
  while (chunks_ > max_chunks_) ForgetOldest();
}

void ChunkTable::Remove(const Token& token) {
  const auto it = open_.find(token);
  if (it == open_.end()) return;
  chunks_ -= it->second.sequences.size();
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

ChunkTable::Result ChunkTable::Probe(const Token& token, uint32_t count) const {
  const auto it = open_.find(token);
  const size_t known = it == open_.end() ? 0 : it->second.sequences.size();
  if (known == count) return Result::kComplete;
  return known < count && floor_ != kNoLsn ? Result::kTooOld : Result::kMismatch;
}

}  // namespace concord
