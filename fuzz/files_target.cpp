// Small files and the data file of a replica, as a start and concordctl read them: whatever they hold, the answer is a
// status or a problem, and a replica in which neither finds anything is one that LMDB reads to its end.
//
// input := kind u8 | edits of data.mdb, or leases, or what stands before the checksum of meta.saved, or state
#include <fstream>
#include <memory>

#include "core/crc32c.h"
#include "fuzz/target.h"
#include "sidecar/journal/lease_table.h"
#include "sidecar/journal/segment_log.h"
#include "sidecar/journal/segment_scan.h"
#include "sidecar/storage/checkpoint.h"
#include "sidecar/storage/replica_check.h"
#include "sidecar/storage/replica_model.h"
#include "sidecar/storage/start_check.h"
#include "sidecar/testing/files.h"

namespace concord::fuzz {
namespace {

constexpr size_t kPage = 4096;

void WriteFile(const std::string& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

// data.mdb of a replica with leaves, a branch, overflow pages and free ones.
const std::string& Base() {
  static const std::string base = [] {
    Scratch scratch;
    ReplicaOptions options;
    options.directory = scratch.path();
    options.map_bytes = uint64_t{1} << 30;
    options.retention_us = 0;
    options.restart_hold_us = 0;
    std::unique_ptr<Replica> replica;
    Require(Replica::Open(options, &replica).ok(), "open of an empty replica");
    FrameLog log;
    for (uint64_t rowid = 0; rowid < 200; rowid++)
      log.Put(RowKey(1, rowid), std::string(rowid % 50 == 0 ? 9000 : 60, 'v'));
    for (uint64_t rowid = 0; rowid < 200; rowid += 2) log.Delete(RowKey(1, rowid));
    for (size_t from = 0; from < log.size(); from += 50) {
      Require(replica->Apply(log.Frames(from, std::min(from + 50, log.size()))).ok(), "apply");
      bool more;
      Require(replica->Maintain(1000, &more).ok(), "maintain");
    }
    Require(replica->Close().ok(), "close");
    const std::string path = scratch.path() + "/data.mdb";
    PageWalkOptions walk;
    walk.databases = ReplicaDatabaseNames();
    PageWalkResult pages;
    Require(WalkPages(
                path, walk, [](std::string_view, std::string_view, const StoredValue&) {}, &pages)
                    .ok() &&
                pages.problems.empty(),
            "a sound replica");
    return ReadFile(path).substr(0, (pages.last_page + 1) * kPage);
  }();
  return base;
}

// edit := page u8, offset u16, count u8, bytes
void CheckEdited(Reader* reader) {
  static const Scratch scratch;
  std::string bytes = Base();
  while (!reader->empty()) {
    const size_t page = reader->Number(1) % (bytes.size() / kPage);
    const size_t at = page * kPage + reader->Number(2) % kPage;
    const std::string_view change = reader->Bytes(reader->Number(1)).substr(0, bytes.size() - at);
    bytes.replace(at, change.size(), change);
  }
  const std::string path = scratch.path() + "/data.mdb";
  WriteFile(path, bytes);
  ReplicaContents contents;
  Require(CheckReplica(path, {}, &contents).ok(), "a replica that can be read is checked");
  const Status start = CheckBeforeOpen(scratch.path(), UINT64_MAX);
  Require(start.ok() || start.code() == Code::kCorruption || start.code() == Code::kInvalid, start.ToString());
  Require(start.ok() || !contents.problems.empty() || !contents.unsupported.ok(),
          "a start finds what a check does not");
  if (start.ok()) ReadAllWithLmdb(scratch.path());
}

void DecodeLeases(std::string_view bytes) {
  journal::LeaseTable table, again;
  if (!journal::LeaseTable::Decode(bytes, 0, &table).ok()) return;
  Require(journal::LeaseTable::Decode(table.Encode(), 0, &again).ok() && again.Encode() == table.Encode(),
          "leases that change when they are saved");
}

void LoadSavedMeta(std::string_view body) {
  static const Scratch scratch;
  std::string bytes(body);
  AppendLe(&bytes, Crc32c(body));
  WriteFile(scratch.path() + "/" + kSavedMetaFile, bytes);
  SavedMeta meta;
  const Status status = LoadMeta(scratch.path(), &meta);
  Require(!status.ok() || meta.pages.size() == size_t{2} * meta.page_size, "saved pages of another size");
}

void OpenWithState(std::string_view bytes) {
  static const Scratch scratch;
  journal::SegmentLogOptions options;
  options.directory = scratch.path();
  options.segment_bytes = 16384;
  options.sync_data = [](int) { return 0; };
  WriteFile(scratch.path() + "/" + journal::kStateName, bytes);
  std::unique_ptr<journal::SegmentLog> log;
  const Status status = journal::SegmentLog::Open(options, &log);
  Require(status.ok() || status.message().find(journal::kStateName) != std::string::npos,
          "a refusal that does not name the file: " + status.ToString());
}

void Run(std::string_view input) {
  Reader reader(input);
  switch (reader.Number(1) % 8) {
    case 0: return DecodeLeases(reader.Rest());
    case 1: return LoadSavedMeta(reader.Rest());
    case 2: return OpenWithState(reader.Rest());
    default: return CheckEdited(&reader);
  }
}

std::vector<std::string> Seeds() {
  journal::LeaseTable leases;
  bool save;
  Require(leases.Report("one", 7, 1000, 0, &save).ok() && leases.Report("other", 9, 5000, 0, &save).ok(), "report");

  Scratch scratch;
  SavedMeta meta;
  meta.boot_id = "boot";
  meta.page_size = kPage;
  meta.pages = Base().substr(0, 2 * kPage);
  Require(SaveMeta(scratch.path(), meta).ok(), "save");
  std::string saved = ReadFile(scratch.path() + "/" + kSavedMetaFile);
  saved.resize(saved.size() - 4);

  std::unique_ptr<journal::SegmentLog> log;
  journal::SegmentLogOptions options;
  options.directory = scratch.path() + "/journal";
  std::filesystem::create_directory(options.directory);
  options.segment_bytes = 16384;
  options.sync_data = [](int) { return 0; };
  Require(journal::SegmentLog::Open(options, &log).ok(), "open of an empty journal");

  std::vector<std::string> seeds = {"", std::string(1, '\0') + leases.Encode(), '\x01' + saved,
                                    '\x02' + ReadFile(options.directory + "/" + journal::kStateName)};
  for (size_t page = 0; page < Base().size() / kPage && page < 40;
       page++)  // the bytes that each page begins with, as they are
    seeds.push_back('\x03' + std::string(1, static_cast<char>(page)) + std::string(2, '\0') + '\x28' +
                    Base().substr(page * kPage, 40));
  return seeds;
}

}  // namespace

const Target kFiles = {"files", Run, Seeds};

}  // namespace concord::fuzz
