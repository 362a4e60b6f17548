// A segment file with arbitrary changes: opening it ends with Ok or a Corruption that names the file, never with frames
// that are not a chain. And frames from anywhere through Batch::Parse.
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

void Run(std::string_view input) {
  Batch batch;
  if (Batch::Parse(std::string(input), &batch).ok())
    Require(batch.last_lsn >= batch.first_lsn, "a batch that goes back");

  // edit := offset u16, count u8, bytes
  static const Scratch scratch;
  std::string bytes = Base();
  Reader reader(input);
  while (!reader.empty()) {
    const size_t offset = reader.Number(2) % bytes.size();
    const std::string_view change = reader.Bytes(reader.Number(1));
    bytes.replace(offset, change.size(), change);
    bytes.resize(kSegmentBytes);
  }
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
  std::string frames;
  Lsn last = kNoLsn;
  if (state.last_lsn == kNoLsn) return;
  Require(log->Read(state.base_lsn, state.last_lsn, SIZE_MAX, &frames, &last).ok(),
          "what was recovered cannot be read");
  Require(Batch::Parse(std::move(frames), &batch).ok() && batch.last_lsn == last && last == state.last_lsn,
          "what was recovered is not a chain");
}

std::vector<std::string> Seeds() {
  using namespace std::string_literals;
  return {""s,
          "\x10\x00\x01X"s,
          "\x10\x04\x04\x00\x00\x00\x00"s,
          "\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00"s,
          "\x11\x20\x10"s + std::string(16, '\0'),
          Frames(1, 3),
          Frames(2, 2) + Frames(4, 5)};
}

}  // namespace

const Target kJournal = {"journal", Run, Seeds};

}  // namespace concord::fuzz
