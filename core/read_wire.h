// How a query processor reads from a replica on another machine: one encoding, made in the backend, carried by the
// gateway as it is, answered in place. All integers little-endian.
//
//   request   := kind u8 | flags u8 | reserved u16 (= 0) | limit u32 | body
//   get       := key{*}, each with size u16                       kind 1; limit: bytes of the answer, about
//   scan      := max_entries u32 | rows_of u64 | after u64        kind 2; limit: bytes of the answer, about
//                | low_size u16 | high_size u16 | stop_size u16 | reserved u16 | low | high | stop
//                                                                 the keys with low <= key < high; no high: to the end
//                                                                 of the storage that low is of
//   part      := version u64 | offset u64 | key                   kind 3; limit: bytes of the value
//   counters  := prefix u64                                       kind 4
//   storages  := after u64                                        kind 5; limit: how many
//   many      := request{1..kMaxScansInOne}, each with size u16   kind 6; scans of visible entries; limit: bytes of the
//                                                                 answer, about
//   flags     := kReadReverse | kReadVersions                     of a scan
//
// A scan stops behind the first key that is not below `stop` (in reverse: that is below it), which is among the answer:
// whoever looks for the end of a range must see what lies behind it. With `rows_of`, a prefix of rows, each entry
// before that is followed by the row that it names: the value of an index entry begins with a rowid. With kReadVersions
// every version comes up to the read LSN and not below the horizon, newest first within a key, tombstones (empty) too;
// `after`, if it is not 0, is that of the key `low` which came last.
//
//   batch     := applied u64 | horizon u64 | count u32 | flags u32 | entry{count}
//   flags     := kBatchMore: it was cut by a limit, there may be more behind it
//   entry     := lsn u64 | value_size u64 | here u32 | key_size u16 | flags u16 | key | value
//                                                                 key and value padded to 8 bytes, so that rows are
//                                                                 aligned
//   flags     := kEntryAbsent: there is no such key; `value`, if any, is the next key of which there are versions
//                | kEntryRow: the row of the entry before it
//                | kEntryPassed: no entry, but how far a scan came that gave up for having passed too much of which
//                  nothing is to be seen: behind this key (and with kReadVersions, this version). The last one
//
// `here` bytes of the value are in the batch; the rest, if any, is fetched by `part`. A get is answered key by key in
// the order asked, as many as the limit allows, at least one; so are many scans, each within its own limit too: an
// entry is the batch that answers one of them, with the prefix of its storage as the key. Counters: the key is the
// prefix u64be, the value rows u64 | bytes u64.
//
// Between a backend and the gateway, on a unix socket:
//
//   call      := size u32 | type u32 | id u64 | read_lsn u64 | request{size}          type: 1 read, 2 forget (no
//   request) answer    := size u32 | status u32 | id u64 | batch{size}, or what went wrong if status is not kReadOk
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "core/bytes.h"
#include "core/lsn.h"

namespace concord {

enum class ReadKind : uint8_t { kGet = 1, kScan = 2, kPart = 3, kCounters = 4, kStorages = 5, kMany = 6 };
inline constexpr uint8_t kReadReverse = 0x01;
inline constexpr uint8_t kReadVersions = 0x02;
inline constexpr uint32_t kBatchMore = 0x01;
inline constexpr uint16_t kEntryAbsent = 0x01;
inline constexpr uint16_t kEntryRow = 0x02;
inline constexpr uint16_t kEntryPassed = 0x04;

// Limits that everybody may rely on.
inline constexpr size_t kReadHeaderSize = 8;
inline constexpr size_t kMaxReadRequestBytes = 1u << 20;
inline constexpr size_t kMaxScansInOne = 1024;
inline constexpr uint32_t kMaxReadBatchBytes = 4u << 20;  // what is asked for beyond is cut
inline constexpr uint32_t kMaxHereBytes = 1u << 20;       // of a value, in a batch of entries
inline constexpr size_t kBatchHeaderSize = 24;
inline constexpr size_t kBatchEntryHeaderSize = 24;

struct ScanBounds {
  std::string_view low;
  std::string_view high;  // empty: the end of the storage
  std::string_view stop;  // empty: none
};

// A request, taken apart; valid while the bytes are.
struct ReadRequestView {
  ReadKind kind;
  uint8_t flags;
  uint32_t limit;
  std::string_view keys;      // get: to be read with NextKey
  std::string_view requests;  // many: to be read with NextRequest
  ScanBounds bounds;          // scan
  uint32_t max_entries = 0;
  uint64_t rows_of = 0;
  uint64_t after = 0;   // scan: the version; storages, counters: the prefix
  uint64_t offset = 0;  // part
  std::string_view key;

  // False for malformed bytes.
  static bool Parse(std::string_view bytes, ReadRequestView* out);
  // The next key of a get. False at the end.
  bool NextKey(std::string_view* key);
  // The next scan of many, which Parse has looked at. False at the end.
  bool NextRequest(std::string_view* bytes);
};

void AppendReadHeader(std::string* to, ReadKind kind, uint8_t flags, uint32_t limit);
void AppendReadKey(std::string* to, std::string_view key);
// A scan, to many.
void AppendReadRequest(std::string* to, std::string_view request);
std::string EncodeScan(uint8_t flags, uint32_t limit, uint32_t max_entries, uint64_t rows_of, uint64_t after,
                       const ScanBounds& bounds);
std::string EncodePart(uint32_t limit, uint64_t version, uint64_t offset, std::string_view key);
std::string EncodeReadNumber(ReadKind kind, uint32_t limit, uint64_t number);

struct BatchEntry {
  Lsn lsn = kNoLsn;
  uint64_t value_size = 0;
  uint16_t flags = 0;
  std::string_view key;
  std::string_view value;  // what is here of it
};

inline size_t PaddedTo8(size_t size) { return (size + 7) & ~size_t{7}; }

// Makes a batch.
class BatchWriter {
 public:
  BatchWriter(Lsn applied, Lsn horizon);
  void Add(const BatchEntry& entry);
  size_t size() const { return bytes_.size(); }
  uint32_t count() const { return count_; }
  std::string Finish(bool more);

 private:
  std::string bytes_;
  uint32_t count_ = 0;
};

// Reads one; refuses malformed bytes, never reads past the end.
class BatchReader {
 public:
  BatchReader() = default;
  static bool Open(std::string_view bytes, BatchReader* out);
  Lsn applied() const { return applied_; }
  Lsn horizon() const { return horizon_; }
  uint32_t count() const { return count_; }
  bool more() const { return (flags_ & kBatchMore) != 0; }
  // False for malformed bytes; call it `count` times at most.
  bool Next(BatchEntry* entry);

 private:
  std::string_view rest_;
  Lsn applied_ = kNoLsn;
  Lsn horizon_ = kNoLsn;
  uint32_t count_ = 0;
  uint32_t flags_ = 0;
};

// ---- backend and gateway ----

enum class CallType : uint32_t { kRead = 1, kForget = 2 };
enum ReadStatus : uint32_t {
  kReadOk = 0,
  kReadTooOld = 1,       // below every replica's horizon
  kReadUnavailable = 2,  // no replica could answer in time
  kReadRefused = 3,      // every replica that answered refused it: a bug, or a limit
  kReadCorrupt = 4       // a replica found damage, and no other could answer
};

struct CallHeader {
  uint32_t size;
  uint32_t type;
  uint64_t id;
  uint64_t read_lsn;
};
struct AnswerHeader {
  uint32_t size;
  uint32_t status;
  uint64_t id;
};
static_assert(sizeof(CallHeader) == 24 && sizeof(AnswerHeader) == 16);

}  // namespace concord
