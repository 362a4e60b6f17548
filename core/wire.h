// What travels from a query processor through adjudicator and journal to the storage replicas: one encoding, made once
// in the backend, read in place everywhere after. All integers little-endian.
//
//   write_set := version u8 (= 1) | flags u8 (= 0) | reserved u16 (= 0) | check_count u32
//                | token 16 bytes | read_lsn u64 | chunk_count u32 | mutation_count u32
//                | check{check_count} | mutations                          (header: 40 bytes)
//   check     := key_hash u64 | observed_lsn u64 | mode u8                 (17 bytes)
//   mutations := mutation{mutation_count}
//   mutation  := op u8 | key_size u16 | value_size u32 | [lsn u64 if op & kExplicitLsn] | key | value
//   op        := 1 put | 2 delete | 3 drop storage (key: a storage's prefix, no value)
//                | 4 put part (value: total u32 | offset u32 | bytes)
//
//   commit    := [reads] write_set             what a query processor sends; the journal gets the write set alone
//   reads     := tag u8 (= 0x52) | read_lsn u64 | range_count u32 | size u32 | range{range_count}      (header: 17
//   bytes) range     := low_size u16 | high_size u16 | low | high                 the keys with low <= key < high;
//   ranges
//                                                                          ascend and do not touch; `size`: their bytes
//
//   chunk     := token 16 bytes | sequence u32 | flags u8 | mutations     a piece of a large transaction, cut between
//                                                                         mutations; `chunk_count` of them precede a
//                                                                         write set with the same token
//   flags     := kChunkImmediate: applied at once, under the chunk's own LSN; only for storage that nobody but the
//                writing transaction can see yet. Such chunks are not counted in chunk_count.
//                kChunkUnfinished: its last mutation is a part that is not the last one of its value
//
//   record    := type u8 | body                                            what the journal stores; see journal/
//   type      := 1 epoch start (empty body) | 2 commit (write_set) | 3 chunk (chunk) | 4 abandon (token 16 bytes)
//
// A mutation's version is the LSN of the record that carries it, or its explicit LSN if that is lower (index builds and
// rewrites keep the age of the rows they copy).
//
// A SERIALIZABLE transaction sends what it has read, and the LSN at which: it commits only if no key in a range has
// changed since (core/read_set.h).
//
// A value that no chunk holds whole is put in parts: from offset 0 to its total, each where the one before ended, with
// nothing between them, over as many chunks as it takes, and into the write set. core/parts.h makes and checks them. An
// immediate chunk has none.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/bytes.h"
#include "core/lock_mode.h"
#include "core/lsn.h"
#include "core/status.h"

namespace concord {

using Token = std::array<uint8_t, 16>;  // random; names one attempt to commit, over all its retries

enum class MutationOp : uint8_t { kPut = 1, kDelete = 2, kDropStorage = 3, kPutPart = 4 };
inline constexpr uint8_t kExplicitLsn = 0x80;

enum class RecordType : uint8_t { kEpochStart = 1, kCommit = 2, kChunk = 3, kAbandon = 4 };

inline constexpr uint8_t kWriteSetVersion = 1;
inline constexpr size_t kWriteSetHeaderSize = 40;
inline constexpr size_t kCheckSize = 17;
inline constexpr uint8_t kReadsTag = 0x52;  // no version of a write set
inline constexpr size_t kReadsHeaderSize = 17;
inline constexpr size_t kRangeHeaderSize = 4;
inline constexpr size_t kMutationHeaderSize = 7;
inline constexpr size_t kPartHeaderSize = 8;
inline constexpr size_t kChunkHeaderSize = 21;
inline constexpr uint8_t kChunkImmediate = 0x01;
inline constexpr uint8_t kChunkUnfinished = 0x02;

// Limits that everybody may rely on.
inline constexpr size_t kMaxValueBytes = (1u << 30) - 24;            // one row: what PostgreSQL can form as a tuple
inline constexpr size_t kMaxChunkBytes = 1u << 20;                   // of what a query processor sends
inline constexpr size_t kChunksUnderWay = 2;                         // of one transaction, not answered yet
inline constexpr size_t kMaxRecordBytes = (64u << 20) + (1u << 16);  // any journal record
inline constexpr size_t kMaxReadsBytes = 8u << 20;                   // what a commit says of its reads
inline constexpr size_t kMaxBoundBytes = 512;                        // of a range; more than any key has

struct Check {
  uint64_t key_hash;
  Lsn observed;
  LockMode mode;
};

struct Mutation {
  MutationOp op;
  Lsn explicit_lsn;  // kNoLsn if none
  std::string_view key;
  std::string_view value;  // of a part: its own bytes,
  uint32_t total = 0;      // those of the whole value,
  uint32_t offset = 0;     // and those before it
};

// Appends one mutation to an encoded stream. `explicit_lsn` of kNoLsn leaves the field out.
void AppendMutation(std::string* to, MutationOp op, std::string_view key, std::string_view value,
                    Lsn explicit_lsn = kNoLsn);
// Appends one part of the put of a value.
void AppendPart(std::string* to, std::string_view key, std::string_view value, size_t offset, size_t size,
                Lsn explicit_lsn = kNoLsn);
// Appends what makes a storage go, rows or index entries and the counter of rowids; returns the number of mutations.
// Which of the two it was does not matter: its id was given out once.
uint32_t AppendStorageDrop(std::string* to, uint32_t storage_id);
// Appends one check.
void AppendCheck(std::string* to, const Check& check);

// Reads mutations one after another; refuses malformed bytes, never reads past the end.
class MutationReader {
 public:
  explicit MutationReader(std::string_view bytes) : rest_(bytes) {}
  bool AtEnd() const { return rest_.empty(); }
  Status Next(Mutation* out);

 private:
  std::string_view rest_;
};

// A view of an encoded write set; valid while the bytes are.
class WriteSetView {
 public:
  // Checks the header, the sizes and each check's mode; mutations are checked as they are read.
  static Status Parse(std::string_view bytes, WriteSetView* out);

  const Token& token() const { return token_; }
  Lsn read_lsn() const { return read_lsn_; }
  uint32_t chunk_count() const { return chunk_count_; }
  uint32_t mutation_count() const { return mutation_count_; }
  uint32_t check_count() const { return check_count_; }
  Check check(uint32_t index) const;
  std::string_view mutations() const { return mutations_; }

 private:
  Token token_;
  Lsn read_lsn_;
  uint32_t chunk_count_;
  uint32_t mutation_count_;
  uint32_t check_count_;
  std::string_view checks_;
  std::string_view mutations_;
};

// Appends a write set's header; its checks and mutations follow.
void AppendWriteSetHeader(std::string* to, const Token& token, Lsn read_lsn, uint32_t chunk_count, uint32_t check_count,
                          uint32_t mutation_count);
// Builds the header in front of already encoded checks and mutations.
std::string EncodeWriteSet(const Token& token, Lsn read_lsn, uint32_t chunk_count, uint32_t check_count,
                           std::string_view checks, uint32_t mutation_count, std::string_view mutations);

// The keys with low <= key < high.
struct KeyRange {
  std::string_view low;
  std::string_view high;
};

// What a transaction has read; valid while the bytes are. Without ranges it has read nothing that counts.
class ReadsView {
 public:
  // Takes the reads off the front of a commit, if it has any; the write set is left. kInvalid for malformed bytes or
  // ranges out of order.
  static Status Cut(std::string_view* commit, ReadsView* out);

  Lsn read_lsn() const { return read_lsn_; }
  const std::vector<KeyRange>& ranges() const { return ranges_; }

 private:
  Lsn read_lsn_ = kNoLsn;
  std::vector<KeyRange> ranges_;
};

// Appends the header of reads; their ranges, of `size` bytes, follow.
void AppendReadsHeader(std::string* to, Lsn read_lsn, uint32_t range_count, uint32_t size);
void AppendRange(std::string* to, const KeyRange& range);
// Bytes of a range with such bounds.
inline size_t RangeSize(size_t low_size, size_t high_size) { return kRangeHeaderSize + low_size + high_size; }

struct ChunkView {
  Token token;
  uint32_t sequence;
  uint8_t flags;
  std::string_view mutations;
  static Status Parse(std::string_view bytes, ChunkView* out);
};

// Appends a chunk's header; its mutations follow.
void AppendChunkHeader(std::string* to, const Token& token, uint32_t sequence, uint8_t flags);
std::string EncodeChunk(const Token& token, uint32_t sequence, uint8_t flags, std::string_view mutations);
// Sets a flag of an encoded chunk.
inline void SetChunkFlag(std::string* chunk, uint8_t flag) {
  (*chunk)[kChunkHeaderSize - 1] |= static_cast<char>(flag);
}

}  // namespace concord
