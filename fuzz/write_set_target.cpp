// Write sets and chunks as a gateway may send them: what the adjudicator lets through, the storage replica applies. A
// record that only one of them refuses would stop every replica for good. And records from anywhere: Ok or Corruption.
#include <memory>

#include "core/key.h"
#include "core/parts.h"
#include "core/read_set.h"
#include "fuzz/target.h"
#include "sidecar/adjudicator/adjudicator.h"
#include "sidecar/storage/replica.h"

namespace concord::fuzz {
namespace {

constexpr uint64_t kRunsOfAPair = 5000;  // they never take a checkpoint, so the replica's map fills

// An adjudicator and the replica that follows it.
struct Pair {
  Scratch scratch;
  std::unique_ptr<Replica> replica;
  Lsn last = kNoLsn;
  Adjudicator adjudicator{AdjudicatorLimits()};

  Pair() {
    ReplicaOptions options;
    options.directory = scratch.path() + "/storage";
    options.map_bytes = uint64_t{1} << 30;
    options.max_readers = 16;
    options.checkpoint_interval_us = INT64_MAX;
    const Status status = Replica::Open(options, &replica);
    Require(status.ok(), status.ToString());
    adjudicator.Reset(kNoLsn);
  }
  Status Apply(std::string_view type, std::string_view body, Lsn lsn) {
    std::string frame;
    AppendFrame(&frame, 1, lsn, last, type, body);
    const Status status = replica->Apply(frame);
    if (status.ok()) last = lsn;
    return status;
  }
  void Commit(const std::string& commit) {
    std::string_view body = commit;
    ReadsView reads;
    if (!ReadsView::Cut(&body, &reads).ok()) return;
    WriteSetView write_set;
    if (!WriteSetView::Parse(body, &write_set).ok() || !CheckWriteSet(write_set).ok()) return;
    const Adjudicator::Ruling ruling = adjudicator.Commit(write_set, NowUs(), reads);
    if (!ruling.fresh || ruling.decision.code != Code::kOk) return;
    const Status status = Apply("\x02", body, ruling.decision.lsn);
    Require(status.ok(), "commit: " + status.ToString());
  }
  void Chunk(const std::string& body) {
    ChunkView chunk;
    if (!ChunkView::Parse(body, &chunk).ok() || !CheckChunk(chunk).ok()) return;
    const Adjudicator::Ruling ruling = adjudicator.Chunk(chunk, NowUs());
    if (!ruling.fresh) return;
    const Status status = Apply("\x03", body, ruling.decision.lsn);
    Require(status.ok(), "chunk: " + status.ToString());
  }

 private:
  int64_t NowUs() { return now_us_ += 1000; }
  int64_t now_us_ = kLsnEpochUnixUs + 1'000'000;
};

// Well-formed mutations of arbitrary content, so that most of them get past the parser.
std::string Mutations(Reader* reader, uint32_t* count) {
  std::string mutations;
  for (*count = 0; !reader->empty() && *count < 50; ++*count) {
    const auto op = static_cast<MutationOp>(1 + reader->Number(1) % 4);
    const Lsn explicit_lsn = reader->Number(1) % 4 == 0 ? reader->Number(8) : kNoLsn;
    std::string key;
    AppendBe64(&key, (reader->Number(1) % 5) << 56 | reader->Number(1) % 4);
    if (op != MutationOp::kDropStorage || reader->Number(1) % 4 == 0) key += reader->Bytes(reader->Number(1) % 40);
    if (reader->Number(1) % 64 == 0) key.resize(kMaxKey - 2 + reader->Number(1) % 5, 'k');
    const std::string_view value = op == MutationOp::kPut ? reader->Bytes(reader->Number(1)) : std::string_view();
    if (op == MutationOp::kPutPart) {
      // A value of few bytes in parts, which may be the right ones; else of a random place.
      const std::string whole(1 + reader->Number(1) % 8, 'v');
      for (size_t at = reader->Number(1) % 4 == 0 ? reader->Number(1) % whole.size() : 0; at < whole.size(); ++*count) {
        const size_t size = 1 + reader->Number(1) % (whole.size() - at);
        AppendPart(&mutations, key, whole, at, size, explicit_lsn);
        at += size;
        if (reader->Number(1) % 8 == 0) break;
      }
      --*count;
      continue;
    }
    AppendMutation(&mutations, op, key, value, explicit_lsn);
  }
  return mutations;
}

// Ranges over the keys that Mutations makes; none as a rule.
std::string Reads(Reader* reader) {
  ReadSet set;
  for (uint64_t i = reader->Number(1) % 4; i > 0; i--) {
    std::string low, high;
    AppendBe64(&low, (reader->Number(1) % 5) << 56 | reader->Number(1) % 4);
    low += reader->Bytes(reader->Number(1) % 40);
    AppendBe64(&high, (reader->Number(1) % 5) << 56 | reader->Number(1) % 4);
    set.Add(low, high);
  }
  std::string reads;
  set.AppendTo(&reads, reader->Number(8));
  return reads;
}

void Run(std::string_view input) {
  // What comes from a journal that nobody judged has a replica of its own.
  static std::unique_ptr<Pair> judged, unjudged;
  static uint64_t runs = 0;
  if (runs++ % kRunsOfAPair == 0) {
    judged = std::make_unique<Pair>();
    unjudged = std::make_unique<Pair>();
  }
  Reader reader(input);
  const auto kind = reader.Number(1) % 6;
  if (kind == 0) return judged->Commit(std::string(reader.Rest()));
  if (kind == 1) return judged->Chunk(std::string(reader.Rest()));
  if (kind == 2) {
    const std::string type(reader.Bytes(1));
    if (type.empty()) return;
    const Status status = unjudged->Apply(type, reader.Rest(), unjudged->last + 1);
    Require(status.ok() || status.code() == Code::kCorruption, "record: " + status.ToString());
    return;
  }
  static uint64_t number = 0;
  if (kind != 5) number++;  // 5: once more with the token before
  Token token{};
  memcpy(token.data(), &number, sizeof number);
  token[15] = 1;
  const auto chunks = static_cast<uint32_t>(reader.Number(1) % 3);
  uint32_t count = 0;
  for (uint32_t i = 0; i < chunks; i++) {
    const std::string mutations = Mutations(&reader, &count);
    uint8_t flags = kind == 4 ? kChunkImmediate : 0;
    if (CutBehind(mutations)) flags |= kChunkUnfinished;
    judged->Chunk(EncodeChunk(token, i, flags, mutations));
  }
  const std::string mutations = Mutations(&reader, &count);
  judged->Commit(Reads(&reader) + EncodeWriteSet(token, 0, kind == 4 ? 0 : chunks, 0, "", count, mutations));
}

std::vector<std::string> Seeds() {
  std::string mutations, checks;
  AppendMutation(&mutations, MutationOp::kPut, RowKey(1, 5), "value");
  AppendMutation(&mutations, MutationOp::kDelete, RowKey(1, 6), "");
  AppendMutation(&mutations, MutationOp::kPut, SystemKey("counter"), "12345678", 77);
  std::string drop;
  AppendBe64(&drop, Prefix(Space::kRow, 2));
  AppendMutation(&mutations, MutationOp::kDropStorage, drop, "");
  AppendCheck(&checks, {42, 0, LockMode::kUpdate});
  Token token{1, 2, 3};
  const std::string write_set = EncodeWriteSet(token, 0, 0, 1, checks, 4, mutations);
  const std::string staged = EncodeWriteSet({9}, 0, 1, 0, "", 4, mutations);
  const std::string chunk = EncodeChunk({9}, 0, 0, mutations);
  const std::string immediate = EncodeChunk({8}, 3, kChunkImmediate, mutations);
  // A value in three parts: two chunks and the write set.
  std::string begin, middle, end;
  AppendPart(&begin, RowKey(1, 7), "0123456789", 0, 4);
  AppendPart(&middle, RowKey(1, 7), "0123456789", 4, 1);
  AppendPart(&end, RowKey(1, 7), "0123456789", 5, 5);
  ReadSet read;
  read.Add(RowKey(1, 5), RowKey(1, 6));
  read.Add(RowKey(3, 0), RowKey(4, 0));
  std::string reads;
  read.AppendTo(&reads, 0);
  using namespace std::string_literals;
  return {"\0"s + write_set,
          "\0"s + reads + write_set,
          "\1"s + chunk,
          "\0"s + staged,
          "\1"s + immediate,
          "\2\2"s + write_set,
          "\2\3"s + immediate,
          "\2\4"s + std::string(16, 't'),
          "\1"s + EncodeChunk({7}, 0, kChunkUnfinished, begin),
          "\1"s + EncodeChunk({7}, 1, kChunkUnfinished, middle),
          "\0"s + EncodeWriteSet({7}, 0, 2, 0, "", 1, end),
          "\2\3"s + EncodeChunk({7}, 0, kChunkImmediate, begin + middle + end),
          "\3\1\3\1\1\1\0\3\7\0\1\3\0"s,
          "\3\1\0\1\1\1\5hello\1\3val"s,
          "\4\1\2\1\2\1\0\1\1\0\1\1\1\1\5hello\1\3val"s,
          "\5\2\0\1\2\2\4abcd\1\2xy\1\1\1\2\4abcd\1"s};
}

}  // namespace

const Target kWriteSet = {"write_set", Run, Seeds};

}  // namespace concord::fuzz
