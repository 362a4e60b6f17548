#include "sidecar/storage/replica_check.h"

#include <algorithm>
#include <cstdio>
#include <optional>
#include <set>

#include "core/bytes.h"
#include "core/parts.h"
#include "core/replica_layout.h"
#include "core/wire.h"
#include "sidecar/lsn_text.h"

namespace concord {
namespace {

constexpr uint64_t kTidsPerBlock = 291;  // extension/concord.h
constexpr size_t kTupleHeader = 23;      // PostgreSQL's HeapTupleHeaderData
constexpr size_t kIndexTupleHeader = 8;  // PostgreSQL's IndexTupleData
constexpr uint16_t kIndexTupleSize = 0x1fff;
constexpr uint32_t kFrozen = 2;  // FrozenTransactionId, the lowest xmin of a row (docs/formats.md)

std::string Hex(std::string_view bytes) {
  std::string out;
  char digits[3];
  for (const char c : bytes.substr(0, 64)) {
    snprintf(digits, sizeof digits, "%02x", static_cast<uint8_t>(c));
    out += digits;
  }
  return bytes.size() > 64 ? out + "..." : out;
}

// What is wrong with the value of a row; empty if nothing.
std::string RowTrouble(const StoredValue& value) {
  if (value.size % 8 != 0) return "its size is no multiple of 8";
  if (value.size < kTupleHeader + 1 || value.head.size() < kTupleHeader) return "it is shorter than a tuple's header";
  const char* p = value.head.data();
  if (LoadLe<uint32_t>(p) < kFrozen || LoadLe<uint32_t>(p + 4) != 0 || LoadLe<uint32_t>(p + 8) != 0)
    return "its transaction ids are not those of a stored row";
  if (LoadLe<uint16_t>(p + 16) > 7) return "it has more zeros at its end than fill it up";
  const size_t data_offset = static_cast<uint8_t>(p[22]);
  if (data_offset < kTupleHeader || data_offset % 8 != 0 || data_offset > value.size)
    return "its header has an impossible size";
  return {};
}

std::string EntryTrouble(const StoredValue& value) {
  if (value.size < sizeof(uint64_t) + kIndexTupleHeader || value.head.size() < sizeof(uint64_t) + kIndexTupleHeader)
    return "it is shorter than an index tuple's header";
  const char* p = value.head.data();
  const auto rowid = LoadLe<uint64_t>(p);
  const uint64_t block = uint64_t{LoadLe<uint16_t>(p + 8)} << 16 | LoadLe<uint16_t>(p + 10);
  const uint64_t offset = LoadLe<uint16_t>(p + 12);
  if (block != rowid / kTidsPerBlock || offset != rowid % kTidsPerBlock + 1) return "its TID is not that of its row";
  if ((LoadLe<uint16_t>(p + 14) & kIndexTupleSize) != value.size - sizeof(uint64_t))
    return "its size is not that of its tuple";
  return {};
}

// docs/formats.md, "System keys".
std::string SystemTrouble(std::string_view name, const StoredValue& value) {
  const bool is_counter = name == "storage" || (name.starts_with("rowid/") && name.size() == 10);
  const bool is_owner = name.starts_with("owner/") && name.size() == 10;
  if (!is_counter && !is_owner) return "a system key of an unknown name";
  if (value.size != (is_owner ? 2 : 1) * sizeof(uint64_t)) return "a counter or record of ids has another size";
  return {};
}

class Checker {
 public:
  Checker(const std::string& path, const ReplicaCheckOptions& options, ReplicaContents* out)
      : path_(path), options_(options), out_(out) {}

  void Entry(std::string_view database, std::string_view key, const StoredValue& value) {
    if (database == kDbMeta) return MetaEntry(key, value);
    if (!options_.contents || Full()) return;
    if (database == kDbStaged) return StagedEntry(key, value);
    Version(database == kDbRows, key, value);
  }
  // After the meta database.
  bool MetaIsWhole() const { return have_.size() == 5; }
  void Finish();

 private:
  struct Counters {
    uint64_t rows = 0;
    uint64_t bytes = 0;
    bool operator==(const Counters&) const = default;
  };

  bool Full() const { return out_->problems.size() >= options_.problems_max; }
  void Problem(const std::string& what) {
    if (!Full()) out_->problems.push_back(path_ + ": " + what);
  }
  void MetaEntry(std::string_view key, const StoredValue& value);
  void StagedEntry(std::string_view key, const StoredValue& value);
  void CheckChunk();
  void Version(bool is_row, std::string_view key, const StoredValue& value);
  // False, with a problem, if the key cannot be one.
  bool CheckKey(bool is_row, std::string_view versioned);
  void Live(bool is_row, std::string_view key, const StoredValue& value);
  void CompareCounters();
  void CompareIndexes();
  void CheckIds();

  const std::string path_;
  const ReplicaCheckOptions& options_;
  ReplicaContents* const out_;
  std::set<std::string> have_;
  std::map<uint64_t, Counters> claimed_;  // by prefix
  std::map<uint64_t, Counters> counted_;  // by prefix: the newest versions
  std::set<StorageId> dropping_;
  std::map<StorageId, std::vector<uint64_t>> rows_;     // live rowids, ascending
  std::map<StorageId, std::vector<uint64_t>> entries_;  // live entries' rowids
  std::map<StorageId, uint64_t> next_rowid_;
  std::optional<uint64_t> next_storage_;
  std::string chunk_key_;  // of the chunk being read
  std::string chunk_;
  uint32_t chunk_pieces_ = 0;
  std::string key_;  // of the versions being read
  bool newest_ = false, visible_found_ = false;
};

void Checker::MetaEntry(std::string_view key, const StoredValue& value) {
  const auto number = [&](const char* name, uint64_t* to) {
    if (key != name) return false;
    if (value.size != sizeof *to)
      Problem(std::string("meta ") + name + " has " + std::to_string(value.size) + " bytes");
    else
      *to = LoadLe<uint64_t>(value.head.data());
    have_.insert(name);
    return true;
  };
  if (number(kMetaApplied, &out_->applied) || number(kMetaHorizon, &out_->horizon) ||
      number(kMetaEpoch, &out_->epoch) || number(kMetaStagedFrom, &out_->staged_from))
    return;
  if (key == kMetaFormat) {
    have_.insert(kMetaFormat);
    if (value.size != sizeof(uint32_t)) return Problem("meta format has " + std::to_string(value.size) + " bytes");
    out_->format = LoadLe<uint32_t>(value.head.data());
    return;
  }
  if (key.size() == 1 + kPrefixSize && key[0] == kMetaCounter && value.size == 16) {
    claimed_[LoadBe64(key.data() + 1)] = {LoadLe<uint64_t>(value.head.data()), LoadLe<uint64_t>(value.head.data() + 8)};
    out_->storages++;
  } else if (key.size() == 1 + kPrefixSize && key[0] == kMetaDropping && value.size == 0) {
    dropping_.insert(KeyStorage(key.substr(1)));
    out_->dropping++;
  } else {
    Problem("meta has an entry that Concord cannot have written: " + Hex(key));
  }
}

// A chunk lies in pieces, in the order of their keys.
void Checker::StagedEntry(std::string_view key, const StoredValue& value) {
  constexpr size_t kNumberSize = 4;
  constexpr size_t kChunkKeySize = sizeof(Token) + kNumberSize;
  if (key.size() != kChunkKeySize + kNumberSize) return Problem("a staged chunk without a token: " + Hex(key));
  const std::string_view chunk = key.substr(0, kChunkKeySize);
  if (chunk != chunk_key_) {
    CheckChunk();
    chunk_key_ = chunk;
    out_->staged++;
  }
  if (LoadBe32(key.data() + kChunkKeySize) != chunk_pieces_++)
    return Problem("staged chunk " + Hex(key) + ": a piece before it is missing");
  chunk_.append(value.head);
}

void Checker::CheckChunk() {
  MutationReader reader(chunk_);
  PartChain chain(CutBefore(chunk_));
  while (!reader.AtEnd()) {
    Mutation mutation;
    Status s = reader.Next(&mutation);
    if (s.ok()) s = chain.Add(mutation);
    if (!s.ok()) {
      Problem("staged chunk " + Hex(chunk_key_) + ": " + s.message());
      break;
    }
  }
  chunk_.clear();
  chunk_pieces_ = 0;
}

bool Checker::CheckKey(bool is_row, std::string_view versioned) {
  const char* trouble = nullptr;
  if (versioned.size() < kPrefixSize + kVersionSize + 1) {
    trouble = "too short";
  } else {
    const uint64_t prefix = KeyPrefix(versioned);
    const auto space = static_cast<Space>(prefix >> 56);
    const uint64_t storage = prefix & 0xffffffffffffff;
    if (storage > UINT32_MAX)
      trouble = "an impossible storage id";
    else if (is_row && (space != Space::kRow || storage == 0))
      trouble = "not a row's";
    else if (is_row && versioned.size() != kRowKeySize + kVersionSize)
      trouble = "not as long as a row's";
    else if (!is_row && space == Space::kEntry && storage == 0)
      trouble = "of storage 0";
    else if (!is_row && space == Space::kEntry && (versioned[kPrefixSize] == 0 || versioned[kPrefixSize] > 3))
      trouble = "no entry begins so";
    else if (!is_row && space != Space::kEntry && (space != Space::kSystem || storage != 0))
      trouble = "neither an entry's nor a counter's";
    else if (VersionLsn(versioned) == kNoLsn)
      trouble = "version 0";
    else if (VersionLsn(versioned) > out_->applied && VersionLsn(versioned) != options_.next_record_lsn)
      trouble = "a version above the applied LSN";
  }
  if (trouble == nullptr) return true;
  Problem(std::string(is_row ? "rows" : "entries") + ", key " + Hex(versioned) + ": " + trouble);
  return false;
}

void Checker::Version(bool is_row, std::string_view versioned, const StoredValue& value) {
  out_->versions++;
  if (!CheckKey(is_row, versioned)) return;
  const std::string_view key = UnversionedKey(versioned);
  const Lsn lsn = VersionLsn(versioned);
  const auto space = KeySpace(key);
  if (value.size != 0) {
    std::string trouble;
    if (is_row)
      trouble = RowTrouble(value);
    else if (space == Space::kEntry)
      trouble = EntryTrouble(value);
    else
      trouble = SystemTrouble(key.substr(kPrefixSize), value);
    if (!trouble.empty())
      Problem(std::string(is_row ? "rows" : "entries") + ", key " + Hex(key) + " at LSN " + LsnText(lsn) + ": " +
              trouble);
  }
  // LMDB's order has a key's versions together, newest first.
  if (key != key_) {
    key_ = key;
    newest_ = true;
    visible_found_ = false;
  } else {
    newest_ = false;
  }
  if (newest_ && value.size != 0) {
    Counters& counters = counted_[KeyPrefix(key)];
    counters.rows++;
    counters.bytes += key.size() + value.size;
  }
  if (visible_found_ || lsn > out_->applied) return;
  visible_found_ = true;
  if (value.size != 0) Live(is_row, key, value);
}

void Checker::Live(bool is_row, std::string_view key, const StoredValue& value) {
  const StorageId storage = KeyStorage(key);
  if (is_row) {
    rows_[storage].push_back(LoadBe64(key.data() + kPrefixSize));
    out_->rows++;
  } else if (KeySpace(key) == Space::kEntry) {
    if (value.head.size() < sizeof(uint64_t)) return;
    entries_[storage].push_back(LoadLe<uint64_t>(value.head.data()));
    out_->entries++;
  } else if (value.head.size() == sizeof(uint64_t)) {
    const std::string_view name = key.substr(kPrefixSize);
    const auto next = LoadLe<uint64_t>(value.head.data());
    if (name == "storage") next_storage_ = next;
    if (name.starts_with("rowid/") && name.size() == 10) next_rowid_[LoadBe32(name.data() + 6)] = next;
  }
}

void Checker::CompareCounters() {
  for (const auto& [prefix, counters] : counted_) claimed_.try_emplace(prefix);
  for (const auto& [prefix, claimed] : claimed_) {
    if (dropping_.contains(static_cast<StorageId>(prefix))) continue;
    const Counters counted = counted_[prefix];
    if (claimed == counted) continue;
    Problem("the counters of storage " + std::to_string(static_cast<StorageId>(prefix)) + " say " +
            std::to_string(claimed.rows) + " keys, " + std::to_string(claimed.bytes) + " bytes; there are " +
            std::to_string(counted.rows) + " keys, " + std::to_string(counted.bytes) + " bytes");
  }
}

void Checker::CompareIndexes() {
  for (auto& [index, rowids] : entries_) {
    if (dropping_.contains(index) || Full()) continue;
    const std::string name = "index storage " + std::to_string(index);
    std::sort(rowids.begin(), rowids.end());
    if (const auto twice = std::adjacent_find(rowids.begin(), rowids.end()); twice != rowids.end())
      Problem(name + " has two entries of row " + std::to_string(*twice));
    // The table that comes nearest: the one whose first missing row comes last.
    StorageId nearest = 0;
    size_t nearest_held = 0;
    bool held = false;
    for (const auto& [table, rows] : rows_) {
      if (dropping_.contains(table)) continue;
      size_t at = 0;
      for (const uint64_t rowid : rows) {
        while (at < rowids.size() && rowids[at] == rowid) at++;
        if (at == rowids.size() || rowids[at] < rowid) break;
      }
      held = at == rowids.size();
      if (held) break;
      if (at >= nearest_held) {
        nearest = table;
        nearest_held = at;
      }
    }
    if (held) continue;
    Problem(name + " has " + std::to_string(rowids.size()) + " entries that no table has all rows of" +
            (nearest == 0 ? std::string()
                          : "; table storage " + std::to_string(nearest) + ", the nearest, has no row " +
                                std::to_string(rowids[nearest_held])));
  }
}

void Checker::CheckIds() {
  const uint64_t next_storage = next_storage_.value_or(1);
  for (const auto& [prefix, counters] : counted_) {
    const auto storage = static_cast<StorageId>(prefix);
    if (storage >= next_storage)
      Problem("storage " + std::to_string(storage) + " was never given out, the next id is " +
              std::to_string(next_storage));
  }
  for (const auto& [table, rowids] : rows_) {
    const auto next = next_rowid_.find(table);
    if (next != next_rowid_.end() && !rowids.empty() && rowids.back() >= next->second)
      Problem("table storage " + std::to_string(table) + " has row " + std::to_string(rowids.back()) +
              ", but the next id is " + std::to_string(next->second));
  }
}

void Checker::Finish() {
  if (out_->horizon > out_->applied)
    Problem("the horizon " + LsnText(out_->horizon) + " is above the applied LSN " + LsnText(out_->applied));
  if (!options_.contents) return;
  CheckChunk();
  CompareCounters();
  CheckIds();
  CompareIndexes();
}

}  // namespace

const std::vector<std::string>& ReplicaDatabaseNames() {
  static const std::vector<std::string> names = {kDbMeta, kDbRows, kDbEntries, kDbStaged};
  return names;
}

Status CheckReplica(const std::string& path, const ReplicaCheckOptions& options, ReplicaContents* out) {
  *out = {};
  Checker checker(path, options, out);
  // The pages first: what a damaged page holds is no use to the second part.
  PageWalkOptions walk{.databases = ReplicaDatabaseNames(),
                       .problems_max = options.problems_max,
                       .meta_pages = options.meta_pages,
                       .cancelled = {},
                       .only = options.contents ? "" : kDbMeta};
  const Status status = WalkPages(
      path, walk,
      [&](std::string_view database, std::string_view key, const StoredValue& value) {
        if (database != kDbMeta && (!checker.MetaIsWhole() || out->format != kReplicaFormat)) return;
        checker.Entry(database, key, value);
      },
      &out->pages);
  if (!status.ok()) return status;
  if (!out->pages.problems.empty()) {
    out->problems = out->pages.problems;
    return Status::Ok();
  }
  if (out->format != 0 && out->format != kReplicaFormat) {
    out->problems.clear();
    out->unsupported = {Code::kInvalid, path + " has format " + std::to_string(out->format) + ", this program reads " +
                                            std::to_string(kReplicaFormat)};
  } else if (!checker.MetaIsWhole()) {
    out->problems.push_back(path + ": meta lacks one of its fields");
  } else {
    checker.Finish();
  }
  return Status::Ok();
}

}  // namespace concord
