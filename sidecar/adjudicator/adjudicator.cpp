#include "sidecar/adjudicator/adjudicator.h"

#include <algorithm>

#include "core/key.h"
#include "core/parts.h"
#include "core/planted_bugs.h"
#include "sidecar/lsn_text.h"

namespace concord {
namespace {

constexpr char kAbandoned[] = "the transaction of this token was abandoned";

Status CheckMutation(const Mutation& mutation) {
  if (mutation.key.size() < kPrefixSize) return {Code::kInvalid, "key shorter than its prefix"};
  if (mutation.key.size() > kMaxKey) return {Code::kInvalid, "key longer than the limit"};
  // Replicas stop at what they cannot have been sent, so it must not get into the journal.
  if (KeySpace(mutation.key) > Space::kEntry) return {Code::kInvalid, "key of an unknown space"};
  if (mutation.op == MutationOp::kDropStorage && KeySpace(mutation.key) == Space::kSystem)
    return {Code::kInvalid, "drop of system keys"};
  if (mutation.op == MutationOp::kDropStorage && mutation.key.size() != kPrefixSize)
    return {Code::kInvalid, "drop storage with more than a prefix"};
  const bool has_value = mutation.op == MutationOp::kPut || mutation.op == MutationOp::kPutPart;
  if (!has_value && !mutation.value.empty()) return {Code::kInvalid, "a value where there can be none"};
  return Status::Ok();
}

// `chain`: where the bytes begin, and end.
Status CheckMutations(std::string_view bytes, PartChain* chain, uint64_t* count) {
  *count = 0;
  for (MutationReader reader(bytes); !reader.AtEnd(); ++*count) {
    Mutation mutation;
    Status status = reader.Next(&mutation);
    if (status.ok()) status = CheckMutation(mutation);
    if (status.ok()) status = chain->Add(mutation);
    if (!status.ok()) return status;
  }
  return Status::Ok();
}

// The newest state that the transaction has seen: it commits above that, if it ever did.
Lsn NewestSeen(const WriteSetView& write_set) {
  Lsn newest = write_set.read_lsn();
  for (uint32_t i = 0; i < write_set.check_count(); i++) newest = std::max(newest, write_set.check(i).observed);
  return newest;
}

bool IsZero(const Token& token) {
  return std::all_of(token.begin(), token.end(), [](uint8_t byte) { return byte == 0; });
}

Status Misplaced(const Frame& frame, const std::string& what) {
  return {Code::kCorruption, "journal record at LSN " + LsnText(frame.lsn) + ": " + what};
}

}  // namespace

Status CheckWriteSet(const WriteSetView& write_set) {
  // A token that somebody forgot to make would be answered with somebody else's verdict.
  if (IsZero(write_set.token())) return {Code::kInvalid, "write set without a token"};
  PartChain chain(CutBefore(write_set.mutations()));
  uint64_t count;
  const Status status = CheckMutations(write_set.mutations(), &chain, &count);
  if (!status.ok()) return status;
  if (chain.cut()) return {Code::kInvalid, "write set with a value that is not complete"};
  if (count != write_set.mutation_count()) return {Code::kInvalid, "mutation count does not match the mutations"};
  return Status::Ok();
}

Status CheckChunk(const ChunkView& chunk) {
  if (IsZero(chunk.token)) return {Code::kInvalid, "chunk without a token"};
  const std::optional<ValueCut> before = CutBefore(chunk.mutations);
  PartChain chain(before);
  uint64_t count;
  const Status status = CheckMutations(chunk.mutations, &chain, &count);
  if (!status.ok()) return status;
  if (chain.cut().has_value() != ((chunk.flags & kChunkUnfinished) != 0))
    return {Code::kInvalid, "chunk that does not tell whether its last value is complete"};
  if ((chunk.flags & kChunkImmediate) != 0 && (before || chain.cut()))
    return {Code::kInvalid, "immediate chunk with a value that is not complete"};
  return Status::Ok();
}

void Adjudicator::Reset(Lsn last_lsn) {
  window_.Reset(last_lsn);
  ranges_.Reset(last_lsn);
  tokens_.Reset(last_lsn);
  chunks_.Reset(last_lsn);
  last_lsn_ = last_lsn;
  replayed_any_ = false;
}

Status Adjudicator::Replay(const Frame& frame) {
  if (frame.lsn <= frame.prev_lsn) return Misplaced(frame, "not above the one before");
  if (!replayed_any_) {
    // Whatever committed at or before the first record seen is not in the window.
    Reset(frame.prev_lsn);
    replayed_any_ = true;
  } else if (frame.prev_lsn != last_lsn_) {
    return Misplaced(frame, "follows " + LsnText(frame.prev_lsn) + ", not " + LsnText(last_lsn_));
  }
  if (frame.record.empty()) return Misplaced(frame, "empty");
  last_lsn_ = frame.lsn;
  const std::string_view body = frame.record.substr(1);
  switch (static_cast<RecordType>(frame.record[0])) {
    case RecordType::kEpochStart: return Status::Ok();
    case RecordType::kChunk: {
      ChunkView chunk;
      const Status status = ChunkView::Parse(body, &chunk);
      if (!status.ok()) return Misplaced(frame, status.message());
      EnterChunk(chunk, frame.lsn);
      return Status::Ok();
    }
    case RecordType::kCommit: {
      WriteSetView write_set;
      const Status status = WriteSetView::Parse(body, &write_set);
      if (!status.ok()) return Misplaced(frame, status.message());
      if (!Planted(PlantedBug::kWindowShort)) Enter(write_set, frame.lsn);
      chunks_.Remove(write_set.token());
      if (tokens_.Find(write_set.token()) == nullptr && !Planted(PlantedBug::kTokensForgotten))
        tokens_.Insert(write_set.token(), {.code = Code::kOk, .lsn = frame.lsn});
      return Status::Ok();
    }
    case RecordType::kAbandon: {
      Token token;
      if (body.size() != token.size()) return Misplaced(frame, "abandon without a token");
      memcpy(token.data(), body.data(), token.size());
      chunks_.Remove(token);
      if (tokens_.Find(token) == nullptr) tokens_.Insert(token, {.code = Code::kInvalid, .reason = kAbandoned});
      return Status::Ok();
    }
  }
  return Misplaced(frame, "unknown type " + std::to_string(static_cast<uint8_t>(frame.record[0])));
}

Adjudicator::Ruling Adjudicator::Commit(const WriteSetView& write_set, int64_t now_unix_us, const ReadsView& reads) {
  if (const Decision* first = tokens_.Find(write_set.token())) return {*first, false};
  chunks_.Expire(NextLsn(last_lsn_, now_unix_us), kStagedChunkLifetimeUs);
  Decision decision = Judge(write_set, reads);
  if (decision.code == Code::kOk) {
    decision.lsn = AssignLsn(now_unix_us);
    Enter(write_set, decision.lsn);
    chunks_.Remove(write_set.token());
  }
  tokens_.Insert(write_set.token(), decision);
  return {decision, true};
}

Adjudicator::Ruling Adjudicator::Chunk(const ChunkView& chunk, int64_t now_unix_us) {
  if (tokens_.Find(chunk.token) != nullptr)
    return {{.code = Code::kInvalid, .reason = "chunk of a token that is already decided"}, false};
  const Lsn lsn = AssignLsn(now_unix_us);
  chunks_.Expire(lsn, kStagedChunkLifetimeUs);
  EnterChunk(chunk, lsn);
  return {{.code = Code::kOk, .lsn = lsn}, true};
}

void Adjudicator::EnterChunk(const ChunkView& chunk, Lsn lsn) {
  if ((chunk.flags & kChunkImmediate) != 0) {
    // Whoever reads at an older LSN finds the new storage empty, and so must not commit after this.
    changed_.Clear();
    changed_.AddStorages(chunk.mutations);
    return ranges_.Record(changed_, lsn);
  }
  // Only one that ends inside a value is read to its end.
  const bool unfinished = (chunk.flags & kChunkUnfinished) != 0;
  chunks_.Add(chunk.token, chunk.sequence, lsn, CutBefore(chunk.mutations),
              unfinished ? CutBehind(chunk.mutations) : std::nullopt);
  chunks_.AddKeys(chunk.token, chunk.mutations);
}

Adjudicator::Ruling Adjudicator::Abandon(const Token& token, int64_t now_unix_us) {
  if (const Decision* first = tokens_.Find(token)) {
    // A refused commit leaves its chunks behind; they are to go all the same.
    if (first->code == Code::kOk || first->reason == kAbandoned) return {*first, false};
  } else {
    tokens_.Insert(token, {.code = Code::kInvalid, .reason = kAbandoned});
  }
  chunks_.Remove(token);
  return {{.code = Code::kOk, .lsn = AssignLsn(now_unix_us)}, true};
}

bool Adjudicator::NeverCommitted(const WriteSetView& write_set) const {
  return tokens_.Find(write_set.token()) == nullptr && NewestSeen(write_set) >= tokens_.floor();
}

bool Adjudicator::SawMore(const WriteSetView& write_set, const ReadsView& reads) const {
  return std::max(NewestSeen(write_set), reads.read_lsn()) > last_lsn_ && tokens_.Find(write_set.token()) == nullptr;
}

// A load of a million rows has as many checks, and everybody else waits for them.
void Adjudicator::Prefetch(const WriteSetView& write_set, uint32_t check) const {
  constexpr uint32_t kAhead = 16;
  if (check + kAhead < write_set.check_count()) window_.Prefetch(write_set.check(check + kAhead).key_hash);
}

Decision Adjudicator::Judge(const WriteSetView& write_set, const ReadsView& reads) const {
  const Lsn newest_seen = std::max(NewestSeen(write_set), reads.read_lsn());
  if (newest_seen > last_lsn_) return {.code = Code::kInvalid, .reason = "observed an LSN above the journal's last"};
  // A commit under this token could be one that the table has forgotten.
  if (newest_seen < tokens_.floor())
    return {.code = Code::kOutcomeUnknown, .reason = "too old to tell whether this token was committed before"};
  switch (chunks_.Probe(write_set.token(), write_set.chunk_count(), CutBefore(write_set.mutations()))) {
    case ChunkTable::Result::kComplete: break;
    case ChunkTable::Result::kMismatch:
      return {.code = Code::kInvalid, .reason = "the number of staged chunks does not match the write set's"};
    case ChunkTable::Result::kTorn:
      return {.code = Code::kInvalid, .reason = "a value is cut into parts that are not complete"};
    case ChunkTable::Result::kTooOld:
      return {.code = Code::kTooOld, .reason = "its first staged chunks are too old: replicas may have forgotten them"};
  }
  for (uint32_t i = 0; i < write_set.check_count(); i++) {
    Prefetch(write_set, i);
    const Check check = write_set.check(i);
    switch (window_.Probe(check)) {
      case ConflictWindow::Result::kFree: break;
      case ConflictWindow::Result::kConflict:
        if (Planted(PlantedBug::kConflictsIgnored)) break;
        return {.code = Code::kConflict, .conflict_hash = check.key_hash};
      case ConflictWindow::Result::kTooOld:
        return {
            .code = Code::kTooOld, .conflict_hash = check.key_hash, .reason = "observed before the conflict window"};
    }
  }
  return JudgeReads(reads);
}

Decision Adjudicator::JudgeReads(const ReadsView& reads) const {
  std::string_view changed;
  switch (ranges_.Probe(reads, &changed)) {
    case RangeWindow::Result::kFree: break;
    case RangeWindow::Result::kConflict:
      return {.code = Code::kReadConflict, .conflict_hash = changed.size() < kPrefixSize ? 0 : KeyPrefix(changed)};
    case RangeWindow::Result::kTooOld: return {.code = Code::kTooOld, .reason = "read before the range window"};
  }
  return {};
}

void Adjudicator::Enter(const WriteSetView& write_set, Lsn lsn) {
  for (uint32_t i = 0; i < write_set.check_count(); i++) {
    Prefetch(write_set, i);
    const Check check = write_set.check(i);
    window_.Record(check.key_hash, check.mode, lsn);
  }
  changed_.Clear();
  // Of a commit that is replayed the first chunks may lie before the tail.
  if (write_set.chunk_count() > 0 && !chunks_.TakeKeys(write_set.token(), write_set.chunk_count(), &changed_))
    changed_.AddAll();
  changed_.Add(write_set.mutations());
  ranges_.Record(changed_, lsn);
}

}  // namespace concord
