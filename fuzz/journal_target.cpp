// A segment file with arbitrary changes, or of arbitrary groups with checksums that hold: opening it ends with Ok or a
// Corruption that names the file, never with frames that are not a chain. And frames from anywhere through
// Batch::Parse.
//
// input := kind u8 | frames, or edits, or groups
#include <fcntl.h>

#include <fstream>
#include <memory>

#include "fuzz/target.h"
#include "sidecar/journal/segment_log.h"

namespace concord::fuzz {
namespace {

using namespace journal;

constexpr uint64_t kSegmentBytes = 16384;

SegmentLogOptions Options(const std::string& directory) {
  SegmentLogOptions options;
  options.directory = directory;
  options.segment_bytes = kSegmentBytes;
  options.sync_data = [](int) { return 0; };
  return options;
}

std::string Frames(Lsn from, Lsn to) {
  std::string frames;
  for (Lsn lsn = from; lsn <= to; lsn++)
    AppendFrame(&frames, 1, lsn * 10, lsn == 1 ? 0 : (lsn - 1) * 10, "\x04", "body");
  return frames;
}

// A segment of some groups, as bytes.
const std::string& Base() {
  static const std::string base = [] {
    Scratch scratch;
    {
      std::unique_ptr<SegmentLog> log;
      Require(SegmentLog::Open(Options(scratch.path()), &log).ok(), "open of an empty journal");
      for (Lsn lsn = 1; lsn <= 20; lsn += 4) {
        Batch batch;
        Require(Batch::Parse(Frames(lsn, lsn + 3), &batch).ok(), "parse of good frames");
        const BatchRef ref = std::make_shared<const Batch>(std::move(batch));
        Require(log->Append({&ref, 1}, lsn).ok(), "append");
      }
    }
    std::ifstream file(scratch.path() + "/" + SegmentName(1), std::ios::binary);
    return std::string((std::istreambuf_iterator<char>(file)), {});
  }();
  return base;
}

void Parse(std::string_view frames) {
  Batch batch;
  if (Batch::Parse(std::string(frames), &batch).ok())
    Require(batch.last_lsn >= batch.first_lsn, "a batch that goes back");
}

// edit := offset u16, count u8, bytes
std::string Edited(Reader* reader) {
  std::string bytes = Base();
  while (!reader->empty()) {
    const size_t offset = reader->Number(2) % bytes.size();
    const std::string_view change = reader->Bytes(reader->Number(1));
    bytes.replace(offset, change.size(), change);
    bytes.resize(kSegmentBytes);
  }
  return bytes;
}

// group := prev_lsn u8, committed_lsn u8, count u8, (epoch u8, lsn u8, prev_lsn u8, size u8, record)*
std::string Grouped(Reader* reader) {
  constexpr uint64_t kSalt = 7;
  std::string bytes = EncodeSegmentHeader({.sequence = 1, .salt = kSalt, .size = kSegmentBytes});
  bytes.resize(kFirstGroupOffset);
  while (!reader->empty()) {
    std::string group(kGroupHeaderSize, '\0');
    const Lsn before = reader->Number(1), committed = reader->Number(1);
    for (auto count = reader->Number(1) % 6; count > 0; count--) {
      const uint64_t epoch = reader->Number(1);
      const Lsn lsn = reader->Number(1), prev = reader->Number(1);
      AppendFrame(&group, epoch, lsn, prev, reader->Bytes(reader->Number(1)));
    }
    SealGroup(&group, kSalt, bytes.size(), before, committed);
    if (bytes.size() + group.size() > kSegmentBytes) break;
    bytes += group;
  }
  bytes.resize(kSegmentBytes);
  return bytes;
}

void Run(std::string_view input) {
  Reader reader(input);
  const auto kind = reader.Number(1) % 3;
  if (kind == 0) return Parse(reader.Rest());
  static const Scratch scratch;
  const std::string bytes = kind == 1 ? Edited(&reader) : Grouped(&reader);
  std::filesystem::remove_all(scratch.path());
  std::filesystem::create_directory(scratch.path());
  std::ofstream(scratch.path() + "/" + SegmentName(1), std::ios::binary) << bytes;
  std::unique_ptr<SegmentLog> log;
  const Status status = SegmentLog::Open(Options(scratch.path()), &log);
  if (!status.ok()) {
    Require(status.code() == Code::kCorruption && status.message().find(".segment, offset ") != std::string::npos,
            status.ToString());
    return;
  }
  const SegmentLog::State state = log->state();
  Batch batch;
  std::string frames;
  Lsn last = kNoLsn;
  if (state.first_lsn == kNoLsn) return;  // nothing, or all of it trimmed: a mark tells where it goes on
  Require(log->Read(state.base_lsn, state.last_lsn, SIZE_MAX, &frames, &last).ok(),
          "what was recovered cannot be read");
  Require(Batch::Parse(std::move(frames), &batch).ok() && batch.last_lsn == last && last == state.last_lsn,
          "what was recovered is not a chain");
}

std::vector<std::string> Seeds() {
  using namespace std::string_literals;
  return {""s, "\0"s + Frames(1, 3), "\0"s + Frames(2, 2) + Frames(4, 5), "\1"s, "\1\x10\x00\x01X"s,
          "\1\x10\x04\x04\x00\x00\x00\x00"s, "\1\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00"s,
          "\1\x11\x20\x10"s + std::string(16, '\0'),
          // two groups that follow each other, a mark; a gap; an epoch that falls
          "\2\0\0\2\1\5\0\2\4b\1\6\5\1\4\6\5\1\1\x09\6\3\4bb\x09\x09\0"s, "\2\0\0\1\1\5\0\1\4\7\5\1\1\x09\7\1\4"s,
          "\2\0\0\2\3\5\0\1\1\2\6\5\1\1"s};
}

}  // namespace

const Target kJournal = {"journal", Run, Seeds};

}  // namespace concord::fuzz
