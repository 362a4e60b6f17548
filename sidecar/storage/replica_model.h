// For the tests of this directory: a log of journal frames, a dumb model of what they mean, and the comparison of a
// replica with it.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "core/frame.h"
#include "core/key.h"
#include "core/wire.h"
#include "sidecar/storage/replica.h"
#include "sidecar/storage/replica_check.h"
#include "sidecar/storage/version_reader.h"

namespace concord {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "concord-storage-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) abort();
    path_ = name;
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Reads all that a replica holds, with nothing of ours between; what LMDB finds wrong ends the reading of that
// database.
inline void ReadAllWithLmdb(const std::string& directory) {
  MDB_env* env;
  MDB_txn* txn;
  if (mdb_env_create(&env) != 0) abort();
  mdb_env_set_mapsize(env, size_t{1} << 30);
  mdb_env_set_maxdbs(env, 8);
  if (mdb_env_open(env, directory.c_str(), MDB_RDONLY | MDB_NOLOCK, 0600) == 0 &&
      mdb_txn_begin(env, nullptr, MDB_RDONLY, &txn) == 0) {
    for (const std::string& name : ReplicaDatabaseNames()) {
      MDB_dbi dbi;
      MDB_cursor* cursor;
      MDB_val key, value;
      if (mdb_dbi_open(txn, name.c_str(), 0, &dbi) != 0 || mdb_cursor_open(txn, dbi, &cursor) != 0) continue;
      volatile char sum = 0;
      while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
        for (size_t i = 0; i < key.mv_size; i++) sum = sum + static_cast<const char*>(key.mv_data)[i];
        for (size_t i = 0; i < value.mv_size; i++) sum = sum + static_cast<const char*>(value.mv_data)[i];
      }
      mdb_cursor_close(cursor);
    }
    mdb_txn_abort(txn);
  }
  mdb_env_close(env);
}

inline std::string EntryKey(StorageId storage, std::string_view body) {
  std::string key;
  AppendBe64(&key, Prefix(Space::kEntry, storage));
  return key.append(body);
}

inline std::string StoragePrefix(Space space, StorageId storage) {
  std::string key;
  AppendBe64(&key, Prefix(space, storage));
  return key;
}

// Journal frames, one after another.
class FrameLog {
 public:
  // Returns the record's LSN; `lsn` of kNoLsn: the one after the last.
  Lsn Append(RecordType type, std::string_view body, Lsn lsn = kNoLsn) {
    if (lsn == kNoLsn) lsn = last_ + 1;
    const char head = static_cast<char>(type);
    AppendFrame(&bytes_, epoch_, lsn, last_, std::string_view(&head, 1), body);
    last_ = lsn;
    ends_.push_back(bytes_.size());
    lsns_.push_back(lsn);
    return lsn;
  }
  Lsn Commit(std::string_view mutations, uint32_t count, Lsn lsn = kNoLsn, const Token& token = {},
             uint32_t chunks = 0) {
    return Append(RecordType::kCommit, EncodeWriteSet(token, 0, chunks, 0, "", count, mutations), lsn);
  }
  Lsn Put(std::string_view key, std::string_view value, Lsn lsn = kNoLsn) {
    std::string mutations;
    AppendMutation(&mutations, MutationOp::kPut, key, value);
    return Commit(mutations, 1, lsn);
  }
  Lsn Delete(std::string_view key, Lsn lsn = kNoLsn) {
    std::string mutations;
    AppendMutation(&mutations, MutationOp::kDelete, key, "");
    return Commit(mutations, 1, lsn);
  }

  Lsn last() const { return last_; }
  void set_epoch(uint64_t epoch) { epoch_ = epoch; }
  size_t size() const { return ends_.size(); }
  Lsn lsn(size_t i) const { return lsns_[i]; }
  std::string_view Frames(size_t from, size_t to) const {
    const size_t begin = from == 0 ? 0 : ends_[from - 1];
    return std::string_view(bytes_).substr(begin, (to == 0 ? 0 : ends_[to - 1]) - begin);
  }
  std::string_view All() const { return bytes_; }

 private:
  std::string bytes_;
  std::vector<size_t> ends_;
  std::vector<Lsn> lsns_;
  Lsn last_ = kNoLsn;
  uint64_t epoch_ = 1;
};

// Every version ever written.
class VersionModel {
 public:
  using Versions = std::map<Lsn, std::string>;  // an empty value is a tombstone

  void Write(const std::string& key, Lsn lsn, std::string_view value) { keys_[key][lsn] = value; }
  void Drop(StorageId storage, Lsn lsn) { dropped_[storage] = lsn; }
  bool Dropped(StorageId storage, Lsn at) const {
    const auto it = dropped_.find(storage);
    return it != dropped_.end() && it->second <= at;
  }
  const std::map<std::string, Versions>& keys() const { return keys_; }

  static const std::string* Visible(const Versions& versions, Lsn read_lsn, Lsn* lsn = nullptr) {
    auto it = versions.upper_bound(read_lsn);
    if (it == versions.begin()) return nullptr;
    --it;
    if (lsn != nullptr) *lsn = it->first;
    return it->second.empty() ? nullptr : &it->second;
  }

  struct Row {
    std::string key, value;
    Lsn lsn;
    bool operator==(const Row&) const = default;
    friend void PrintTo(const Row& row, std::ostream* out) {
      *out << testing::PrintToString(row.key) << '@' << row.lsn << '(' << row.value.size() << ')';
    }
  };
  std::vector<Row> Scan(const std::string& lower, const std::string& upper, Lsn read_lsn, bool reverse) const {
    std::vector<Row> rows;
    for (auto it = keys_.lower_bound(lower); it != keys_.end() && (upper.empty() || it->first < upper); ++it) {
      Lsn lsn;
      if (const std::string* value = Visible(it->second, read_lsn, &lsn)) rows.push_back({it->first, *value, lsn});
    }
    if (reverse) std::reverse(rows.begin(), rows.end());
    return rows;
  }

  StorageCounters Counters(uint64_t prefix, Lsn at) const {
    StorageCounters counters;
    if (prefix >> 56 != 0 && Dropped(static_cast<StorageId>(prefix), at)) return counters;
    for (const auto& [key, versions] : keys_) {
      if (KeyPrefix(key) != prefix) continue;
      if (const std::string* value = Visible(versions, at)) {
        counters.rows++;
        counters.bytes += key.size() + value->size();
      }
    }
    return counters;
  }
  std::set<uint64_t> Prefixes() const {
    std::set<uint64_t> prefixes;
    for (const auto& [key, versions] : keys_) prefixes.insert(KeyPrefix(key));
    return prefixes;
  }

 private:
  std::map<std::string, Versions> keys_;
  std::map<StorageId, Lsn> dropped_;
};

inline std::vector<VersionModel::Row> ScanReplica(Replica* replica, const std::string& lower, const std::string& upper,
                                                  Lsn read_lsn, bool reverse, size_t reopen_every = 0) {
  std::vector<VersionModel::Row> rows;
  VersionCursor cursor(lower, upper, read_lsn, reverse);
  for (bool end = false; !end;) {
    ReplicaView view;
    EXPECT_TRUE(replica->OpenView(&view).ok());
    EXPECT_TRUE(cursor.Open(view.txn(), view.DbFor(lower)).ok());
    for (size_t i = 0; reopen_every == 0 || i < reopen_every; i++) {
      VisibleVersion version;
      const Status s = cursor.Next(&version);
      if (!s.ok()) {
        EXPECT_EQ(s.code(), Code::kNotFound) << s.ToString();
        end = true;
        break;
      }
      rows.push_back({std::string(version.key), std::string(version.value), version.lsn});
    }
    cursor.Close();
  }
  return rows;
}

// Every key, both ways, and the counters; `read_lsn` between the replica's horizon and its applied LSN.
inline void ExpectSame(Replica* replica, const VersionModel& model, Lsn read_lsn) {
  for (const uint64_t prefix : model.Prefixes()) {
    if (prefix >> 56 != 0 && model.Dropped(static_cast<StorageId>(prefix), read_lsn)) continue;
    std::string lower, upper;
    AppendBe64(&lower, prefix);
    AppendBe64(&upper, prefix + 1);
    for (const bool reverse : {false, true}) {
      ASSERT_EQ(ScanReplica(replica, lower, upper, read_lsn, reverse), model.Scan(lower, upper, read_lsn, reverse))
          << "prefix " << std::hex << prefix << " at " << read_lsn << (reverse ? " backward" : " forward");
    }
  }
}

inline void ExpectSameCounters(Replica* replica, const VersionModel& model) {
  for (const uint64_t prefix : model.Prefixes()) {
    StorageCounters counters;
    ASSERT_TRUE(replica->Counters(prefix, &counters).ok());
    const StorageCounters expected = model.Counters(prefix, replica->applied());
    ASSERT_EQ(counters.rows, expected.rows) << "prefix " << std::hex << prefix;
    ASSERT_EQ(counters.bytes, expected.bytes) << "prefix " << std::hex << prefix;
  }
}

inline void MaintainToEnd(Replica* replica, size_t budget = 1000) {
  bool more = true;
  for (int i = 0; more; i++) {
    ASSERT_LT(i, 1'000'000);
    const Status s = replica->Maintain(budget, &more);
    ASSERT_TRUE(s.ok()) << s.ToString();
  }
}

}  // namespace concord
