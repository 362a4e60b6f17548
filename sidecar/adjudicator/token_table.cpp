#include "sidecar/adjudicator/token_table.h"

#include <algorithm>
#include <bit>
#include <cassert>

#include "core/bytes.h"

namespace concord {

TokenTable::TokenTable(size_t max_tokens) : max_tokens_(std::clamp<size_t>(max_tokens, 1, kSlots / 2)) {}

uint64_t TokenTable::Hash(const Token& token) {
  // Tokens are random; the multiplication only keeps ones that are not from crowding one place.
  const uint64_t mixed = (LoadLe<uint64_t>(token.data()) ^ std::rotl(LoadLe<uint64_t>(token.data() + 8), 32)) *
                         UINT64_C(0x9e3779b97f4a7c15);
  return mixed ^ mixed >> 32;
}

void TokenTable::Reset(Lsn floor) {
  floor_ = floor;
  settled_ = floor;
  first_ = 0;
  entries_.clear();
  entries_.shrink_to_fit();
  index_.Clear();
}

const Decision* TokenTable::Find(const Token& token) const {
  const uint32_t slot = index_.Find(Hash(token), [&](uint32_t s) { return at(s).token == token; });
  return slot == FlatIndex::kNone ? nullptr : &at(slot).decision;
}

void TokenTable::Insert(const Token& token, const Decision& decision) {
  assert(Find(token) == nullptr);
  while (entries_.size() >= max_tokens_ && !Pending(entries_.front().decision)) EvictOldest();
  const auto slot = static_cast<uint32_t>((first_ + entries_.size()) % kSlots);
  entries_.push_back({token, decision});
  index_.Insert(slot, Hash(token));
}

void TokenTable::EvictOldest() {
  const Decision& oldest = entries_.front().decision;
  // A refused token that comes again is decided again, which is as good; only a commit must not be forgotten unseen.
  if (oldest.code == Code::kOk) floor_ = std::max(floor_, oldest.lsn);
  index_.Erase(first_, Hash(entries_.front().token));
  entries_.pop_front();
  first_ = (first_ + 1) % kSlots;
}

}  // namespace concord
