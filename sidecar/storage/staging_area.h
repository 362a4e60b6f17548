// The chunks of undecided large transactions that came lately. They are in the journal already, so they are kept in
// memory only: a replica that starts again reads the journal from the oldest of them on (Replica::replay_from). What
// stays undecided for long goes to LMDB, so that the journal need not be kept for it.
//
// Not thread-safe, no I/O. Chunks are in LSN order; their bytes stay where they are until they are removed.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "core/lsn.h"
#include "core/wire.h"
#include "sidecar/storage/storage_room.h"

namespace concord {

class StagingArea {
 public:
  struct Chunk {
    Token token;
    uint32_t sequence;
    Lsn prev_lsn;       // of the record before it
    uint64_t position;  // bytes of the journal that had come before it
    std::string mutations;
    StagedRoom room{};  // that the mutations will need
  };
  using Chunks = std::map<Lsn, Chunk>;

  // A sequence number that comes again replaces its chunk.
  void Add(Lsn lsn, Chunk chunk) {
    auto& [at, sequences] = *tokens_.try_emplace(chunk.token).first;
    if (const auto before = sequences.find(chunk.sequence); before != sequences.end() && before->second != lsn)
      Erase(chunks_.find(before->second));
    sequences[chunk.sequence] = lsn;
    if (const auto same = chunks_.find(lsn); same != chunks_.end()) Erase(same);
    bytes_ += chunk.mutations.size();
    room_bytes_ += chunk.room.bytes;
    largest_.insert(chunk.room.largest);
    chunks_.emplace(lsn, std::move(chunk));
  }

  // nullptr if it is not here.
  const std::string* Find(const Token& token, uint32_t sequence) const {
    const auto of_token = tokens_.find(token);
    if (of_token == tokens_.end()) return nullptr;
    const auto found = of_token->second.find(sequence);
    return found == of_token->second.end() ? nullptr : &chunks_.at(found->second).mutations;
  }

  void AddSequences(const Token& token, std::set<uint32_t>* sequences) const {
    if (const auto of_token = tokens_.find(token); of_token != tokens_.end())
      for (const auto& [sequence, lsn] : of_token->second) sequences->insert(sequence);
  }
  void AddLsns(const Token& token, std::set<Lsn>* lsns) const {
    if (const auto of_token = tokens_.find(token); of_token != tokens_.end())
      for (const auto& [sequence, lsn] : of_token->second) lsns->insert(lsn);
  }

  void Remove(Lsn lsn) {
    const auto chunk = chunks_.find(lsn);
    if (chunk == chunks_.end()) return;
    const auto of_token = tokens_.find(chunk->second.token);
    of_token->second.erase(chunk->second.sequence);
    if (of_token->second.empty()) tokens_.erase(of_token);
    Erase(chunk);
  }

  const Chunks& chunks() const { return chunks_; }
  uint64_t bytes() const { return bytes_; }  // of mutations
  StagedRoom room() const { return {room_bytes_, largest_.empty() ? 0 : *largest_.rbegin()}; }

 private:
  void Erase(Chunks::iterator chunk) {
    bytes_ -= chunk->second.mutations.size();
    room_bytes_ -= chunk->second.room.bytes;
    largest_.erase(largest_.find(chunk->second.room.largest));
    chunks_.erase(chunk);
  }

  Chunks chunks_;
  uint64_t bytes_ = 0;
  uint64_t room_bytes_ = 0;
  std::multiset<uint64_t> largest_;
  std::map<Token, std::map<uint32_t, Lsn>> tokens_;  // sequence -> LSN
};

}  // namespace concord
