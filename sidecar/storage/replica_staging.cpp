// What a replica does with the chunks of large transactions (core/wire.h) until these are decided; see staging_area.h.
#include <algorithm>

#include "core/bytes.h"
#include "core/parts.h"
#include "core/pause_points.h"
#include "sidecar/rpc/log.h"
#include "sidecar/storage/meta.h"
#include "sidecar/storage/replica_batch.h"

namespace concord {
namespace {

// Two pieces fill a page of LMDB's. A chunk in one piece would need hundreds of pages in a row, and LMDB's search for
// those took more time than all that was then done with them.
constexpr size_t kStagedPieceBytes = 2004;

std::string StagedKey(const Token& token, uint32_t sequence, uint32_t piece) {
  std::string key(reinterpret_cast<const char*>(token.data()), token.size());
  char numbers[8];
  StoreBe32(numbers, sequence);
  StoreBe32(numbers + 4, piece);
  return key.append(numbers, sizeof numbers);
}

// A large value takes what it has. Other mutations may take twice as much, as pages that were split are half empty.
StagedRoom RoomFor(const ChunkView& chunk) {
  const auto before = CutBefore(chunk.mutations);
  const auto behind = (chunk.flags & kChunkUnfinished) != 0 ? CutBehind(chunk.mutations) : std::nullopt;
  return {before ? chunk.mutations.size() : 2 * chunk.mutations.size(),
          std::max(before ? before->total : 0, behind ? behind->total : 0)};
}

bool IsOfToken(const MDB_val& key, const Token& token) {
  return key.mv_size == token.size() + 8 && memcmp(key.mv_data, token.data(), token.size()) == 0;
}

uint32_t StagedSequence(const MDB_val& key) { return LoadBe32(static_cast<const char*>(key.mv_data) + sizeof(Token)); }
uint32_t StagedPiece(const MDB_val& key) { return LoadBe32(static_cast<const char*>(key.mv_data) + sizeof(Token) + 4); }

// Calls visit(cursor, key, value) for the pieces of a token from a sequence number on, until it says stop or fails.
template <typename Visit>
Status EachPiece(MDB_txn* txn, MDB_dbi staged, const Token& token, uint32_t from, Visit visit) {
  lmdb::Cursor cursor;
  if (Status s = cursor.Open(txn, staged); !s.ok()) return s;
  const std::string key = StagedKey(token, from, 0);
  MDB_val k = lmdb::Val(key), v;
  int rc = mdb_cursor_get(cursor.get(), &k, &v, MDB_SET_RANGE);
  for (bool stop = false; rc == 0 && IsOfToken(k, token); rc = mdb_cursor_get(cursor.get(), &k, &v, MDB_NEXT)) {
    if (Status s = visit(cursor.get(), k, v, &stop); !s.ok() || stop) return s;
  }
  return rc == 0 || rc == MDB_NOTFOUND ? Status::Ok() : lmdb::Error(rc, "read staged chunks");
}

}  // namespace

Status ParseAbandon(std::string_view body, Lsn lsn, Token* token) {
  if (body.size() != token->size()) return Damaged(lsn, "abandon record of a wrong size");
  memcpy(token->data(), body.data(), token->size());
  return Status::Ok();
}

Status Replica::ApplyChunk(std::string_view body, const Frame& frame, Batch* batch) {
  ChunkView chunk;
  if (Status s = ChunkView::Parse(body, &chunk); !s.ok()) return Damaged(frame.lsn, s.message());
  if ((chunk.flags & kChunkImmediate) == 0) {
    Stage(chunk, frame);
    cc_pause(CC_PAUSE_STORAGE_STAGED);
    return Status::Ok();
  }
  batch->values = chunk.mutations.size();
  if (Status s = ApplyMutations(chunk.mutations, frame.lsn, batch); !s.ok()) return s;
  return batch->parts.cut() ? Damaged(frame.lsn, "it ends inside a value") : Status::Ok();
}

void Replica::Stage(const ChunkView& chunk, const Frame& frame) {
  staged_[chunk.token] = frame.lsn;
  staging_.Add(frame.lsn, {chunk.token, chunk.sequence, frame.prev_lsn, journal_bytes_, std::string(chunk.mutations),
                           RoomFor(chunk)});
}

// A record that was applied before this process began: what it staged is to be found again.
Status Replica::CollectStaged(const Frame& frame) {
  if (frame.lsn <= collected_) return Status::Ok();
  if (frame.prev_lsn != collected_) return Damaged(frame.lsn, "gap in what is read again for its staged chunks");
  const std::string_view body = frame.record.substr(1);
  Token token{};
  switch (static_cast<RecordType>(frame.record[0])) {
    case RecordType::kEpochStart: break;
    case RecordType::kChunk: {
      ChunkView chunk;
      if (Status s = ChunkView::Parse(body, &chunk); !s.ok()) return Damaged(frame.lsn, s.message());
      if ((chunk.flags & kChunkImmediate) == 0) Stage(chunk, frame);
      break;
    }
    case RecordType::kCommit: {
      WriteSetView write_set;
      if (Status s = WriteSetView::Parse(body, &write_set); !s.ok()) return Damaged(frame.lsn, s.message());
      token = write_set.token();
      break;
    }
    case RecordType::kAbandon:
      if (Status s = ParseAbandon(body, frame.lsn, &token); !s.ok()) return s;
      break;
  }
  std::set<Lsn> decided;
  staging_.AddLsns(token, &decided);
  for (const Lsn lsn : decided) staging_.Remove(lsn);
  if (!decided.empty()) staged_.erase(token);
  collected_ = frame.lsn < applied() ? frame.lsn : kNothingStaged;
  return Status::Ok();
}

Lsn Replica::StagedFrom(const Batch& batch) const {
  if (collected_ < applied()) return staged_from_;
  for (const auto& [lsn, chunk] : staging_.chunks()) {
    if (!batch.unstaged.contains(lsn)) return chunk.prev_lsn;
  }
  return kNothingStaged;
}

// The chunks stay until the last LMDB transaction of the commit, so that it can begin again after a crash. What is
// written before lies above the applied LSN, where nobody reads.
Status Replica::ApplyStaged(const Token& token, uint32_t count, Lsn lsn, Batch* batch) {
  std::set<uint32_t> sequences;
  staging_.AddSequences(token, &sequences);
  if (spilled_.contains(token)) {
    if (Status s = AddSpilledSequences(token, batch, &sequences); !s.ok()) return s;
  }
  if (sequences.size() != count)
    return Damaged(lsn, std::to_string(count) + " chunks announced, " + std::to_string(sequences.size()) + " staged");
  std::string copy;
  for (const uint32_t sequence : sequences) {
    const std::string* mutations = staging_.Find(token, sequence);
    if (mutations == nullptr) {
      if (Status s = ReadSpilled(token, sequence, batch, &copy); !s.ok()) return s;
      mutations = &copy;
    }
    if (Status s = ApplyMutations(*mutations, lsn, batch); !s.ok()) return s;
    if (Status s = ContinueBatch(batch); !s.ok()) return s;
  }
  return Status::Ok();
}

Status Replica::CountSpilled(MDB_txn* txn, uint64_t* bytes) const {
  *bytes = 0;
  if (spilled_.empty()) return Status::Ok();
  MDB_stat stat;
  if (Status s = lmdb::Error(mdb_stat(txn, dbs_.staged, &stat), "count staged chunks"); !s.ok()) return s;
  *bytes = stat.ms_leaf_pages * stat.ms_psize;
  return Status::Ok();
}

Status Replica::AddSpilledSequences(const Token& token, Batch* batch, std::set<uint32_t>* sequences) {
  return EachPiece(batch->txn.get(), dbs_.staged, token, 0, [&](MDB_cursor*, const MDB_val& k, const MDB_val&, bool*) {
    if (StagedPiece(k) == 0) sequences->insert(StagedSequence(k));
    return Status::Ok();
  });
}

// Copied: LMDB's memory is not ours to keep while we write.
Status Replica::ReadSpilled(const Token& token, uint32_t sequence, Batch* batch, std::string* mutations) {
  mutations->clear();
  return EachPiece(batch->txn.get(), dbs_.staged, token, sequence,
                   [&](MDB_cursor*, const MDB_val& k, const MDB_val& v, bool* stop) {
                     *stop = StagedSequence(k) != sequence;
                     if (!*stop) mutations->append(lmdb::View(v));
                     return Status::Ok();
                   });
}

Status Replica::DeleteStaged(const Token& token, Batch* batch) {
  if (staged_.erase(token) == 0) return Status::Ok();
  staging_.AddLsns(token, &batch->unstaged);
  if (spilled_.erase(token) == 0) return Status::Ok();
  // Of the only one all goes at once, page by page.
  if (spilled_.empty()) return lmdb::Error(mdb_drop(batch->txn.get(), dbs_.staged, 0), "delete staged chunks");
  return EachPiece(batch->txn.get(), dbs_.staged, token, 0,
                   [](MDB_cursor* cursor, const MDB_val&, const MDB_val&, bool*) {
                     return lmdb::Error(mdb_cursor_del(cursor, 0), "delete staged chunk");
                   });
}

// True if the journal would have to be kept too long for the sake of this chunk.
bool Replica::IsToBeSpilled(Lsn lsn, const StagingArea::Chunk& chunk) const {
  return journal_bytes_ - chunk.position > options_.staging_bytes ||
         StagedChunkExpired(lsn, LsnFromUnixUs(options_.unix_us()), options_.staging_us);
}

// It takes room from what all chunks will need when they commit. Where there is not enough for both they stay in
// memory, and the journal is kept longer: for as many more as the replica takes until it is full.
Status Replica::SpillStaged() {
  // What is read again may yet turn out to be decided.
  if (collected_ < applied()) return Status::Ok();
  const auto& chunks = staging_.chunks();
  while (!chunks.empty() && IsToBeSpilled(chunks.begin()->first, chunks.begin()->second)) {
    StagedRoom needed = RoomForStaged();
    needed.bytes += std::min(staging_.bytes(), options_.transaction_bytes);
    if (Status s = room_.Check(env_.get(), needed); !s.ok())
      return s.code() == Code::kNoSpace || s.code() == Code::kTooLarge ? Status::Ok() : s;
    Batch batch;
    Status s = BeginBatch(&batch);
    for (const auto& [lsn, chunk] : chunks) {
      if (!s.ok() || batch.bytes >= options_.transaction_bytes || !IsToBeSpilled(lsn, chunk)) break;
      s = Spill(chunk, &batch);
      batch.unstaged.insert(lsn);
    }
    if (s.ok()) s = CommitBatch(&batch);
    if (!s.ok()) {
      AbortBatch(&batch);
      return s;
    }
  }
  return Status::Ok();
}

// Of what is in LMDB it is not kept which values are large.
StagedRoom Replica::RoomForStaged() const {
  StagedRoom room = staging_.room();
  room.bytes += 2 * spilled_bytes_;
  room.largest = std::max(room.largest, std::min<uint64_t>(spilled_bytes_, kMaxValueBytes));
  return room;
}

Status Replica::Spill(const StagingArea::Chunk& chunk, Batch* batch) {
  batch->bytes += chunk.mutations.size();
  spilled_.insert(chunk.token);
  lmdb::Cursor cursor;
  if (Status s = cursor.Open(batch->txn.get(), dbs_.staged); !s.ok()) return s;
  std::string_view rest = chunk.mutations;
  // At the end, as of the only large transaction there is, pages fill up whole; anywhere else a full one is split.
  unsigned place = MDB_APPEND;
  for (uint32_t piece = 0; piece == 0 || !rest.empty(); piece++) {
    const std::string key = StagedKey(chunk.token, chunk.sequence, piece);
    MDB_val k = lmdb::Val(key), v = lmdb::Val(rest.substr(0, kStagedPieceBytes));
    int rc = mdb_cursor_put(cursor.get(), &k, &v, place);
    if (rc == MDB_KEYEXIST) rc = mdb_cursor_put(cursor.get(), &k, &v, place = 0);
    if (Status s = lmdb::Error(rc, "stage"); !s.ok()) return s;
    rest.remove_prefix(v.mv_size);
  }
  return Status::Ok();
}

Status Replica::ExpireStaged() {
  std::vector<Token> expired;
  for (const auto& [token, newest] : staged_) {
    if (StagedChunkExpired(newest, applied(), options_.staged_lifetime_us)) expired.push_back(token);
  }
  for (const Token& token : expired) {
    Batch batch;
    Status s = BeginBatch(&batch);
    if (s.ok()) s = DeleteStaged(token, &batch);
    if (s.ok()) s = CommitBatch(&batch);
    if (!s.ok()) {
      AbortBatch(&batch);
      return s;
    }
  }
  if (!expired.empty())
    RoleLog("storage")->info("storage replica {}: forgot the chunks of {} transactions that never ended", directory(),
                             expired.size());
  return Status::Ok();
}

Status Replica::LoadStaged() {
  spilled_.clear();
  for (const auto& [lsn, chunk] : staging_.chunks()) staged_[chunk.token] = lsn;
  lmdb::Txn txn;
  if (Status s = txn.Begin(env_.get(), MDB_RDONLY); !s.ok()) return s;
  lmdb::Cursor cursor;
  if (Status s = cursor.Open(txn.get(), dbs_.staged); !s.ok()) return s;
  Token token;
  std::string past;  // every chunk of the last token
  MDB_val k, v;
  int rc = mdb_cursor_get(cursor.get(), &k, &v, MDB_FIRST);
  for (; rc == 0; rc = mdb_cursor_get(cursor.get(), &k, &v, MDB_SET_RANGE)) {
    if (k.mv_size < token.size()) return {Code::kCorruption, directory() + ": a staged chunk without a token"};
    memcpy(token.data(), k.mv_data, token.size());
    // When a chunk came is not kept; that it was no later than now is enough.
    staged_.try_emplace(token, applied());
    spilled_.insert(token);
    past.assign(static_cast<const char*>(k.mv_data), token.size()).append(5, '\xff');
    k = lmdb::Val(past);
  }
  return rc == MDB_NOTFOUND ? CountSpilled(txn.get(), &spilled_bytes_) : lmdb::Error(rc, "read staged chunks");
}

}  // namespace concord
