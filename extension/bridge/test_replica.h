// For tests: a storage replica made by a dumb writer. Every write is done by a process of its own, as in life, because
// LMDB forbids one process to open an environment twice.
#pragma once

#include <gtest/gtest.h>
#include <lmdb.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "bridge/replica.h"
#include "core/key.h"
#include "core/memtable.h"
#include "core/replica_layout.h"
#include "core/replica_page.h"

namespace concord::bridge {

struct TestMutation {
  uint64_t prefix;
  std::string body;
  Lsn lsn;
  std::optional<std::string> value;  // none: tombstone
};

class TestReplica {
 public:
  struct Writer {
    MDB_txn* txn;
    MDB_dbi rows, entries, meta;

    static void Require(int rc) {
      if (rc != 0) _exit(2);
    }
    void Put(MDB_dbi dbi, std::string_view key, std::string_view value) {
      MDB_val k = {key.size(), const_cast<char*>(key.data())};
      MDB_val v = {value.size(), const_cast<char*>(value.data())};
      Require(mdb_put(txn, dbi, &k, &v, 0));
    }
    void PutLsn(std::string_view name, Lsn lsn) { Put(meta, name, {reinterpret_cast<const char*>(&lsn), sizeof lsn}); }
    Lsn GetLsn(std::string_view name) {
      MDB_val k = {name.size(), const_cast<char*>(name.data())}, v;
      return mdb_get(txn, meta, &k, &v) == 0 ? LoadLe<Lsn>(v.mv_data) : kNoLsn;
    }
    void Apply(const TestMutation& mutation) {
      std::string key;
      AppendBe64(&key, mutation.prefix);
      key += mutation.body;
      AppendVersion(&key, mutation.lsn);
      Put(mutation.prefix >> 56 == 1 ? rows : entries, key, mutation.value.value_or(""));
    }
  };

  explicit TestReplica(bool initialise = true) {
    std::string name = (std::filesystem::temp_directory_path() / "concord-replica-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) abort();
    path_ = name;
    if (initialise) Initialise();
  }
  ~TestReplica() {
    cc_replica_reset();
    std::filesystem::remove_all(path_);
  }

  const char* path() const { return path_.c_str(); }
  // Later writes leave the page without what their transactions hold: LMDB has to be asked.
  void TellNoStates() { tells_states_ = false; }

  void Initialise(uint32_t format = kReplicaFormat) {
    Write([&](Writer& writer) {
      writer.Put(writer.meta, kMetaFormat, {reinterpret_cast<const char*>(&format), sizeof format});
    });
  }

  // Runs `body` in one LMDB write transaction of another process.
  void Write(const std::function<void(Writer&)>& body) const {
    const pid_t child = Start([&] { WriteHere(body); });
    Wait(child);
  }

  void Apply(const std::vector<TestMutation>& mutations, Lsn applied, Lsn horizon = kNoLsn) const {
    Write([&](Writer& writer) {
      for (const TestMutation& mutation : mutations) writer.Apply(mutation);
      writer.PutLsn(kMetaApplied, applied);
      writer.PutLsn(kMetaHorizon, horizon);
    });
  }

  template <typename Body>
  static pid_t Start(Body&& body) {
    const pid_t child = fork();
    if (child == 0) {
      body();
      _exit(0);
    }
    return child;
  }
  static void Wait(pid_t child) {
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0);
  }

  // In the writing process: opens, writes `rounds` transactions, closes.
  void WriteHere(const std::function<void(Writer&)>& body, int rounds = 1) const {
    MDB_env* env;
    Writer::Require(mdb_env_create(&env));
    mdb_env_set_mapsize(env, kReplicaMapBytes);
    mdb_env_set_maxdbs(env, kReplicaDatabases);
    Writer::Require(mdb_env_open(env, path(), MDB_NOSYNC | MDB_NOTLS, 0600));
    ReplicaPageMapping page;
    Memtable memtable;
    if (!page.Create(path_).ok() || !memtable.Create(path_, kNoLsn).ok()) _exit(2);
    for (int round = 0; round < rounds; round++) {
      Writer writer;
      Writer::Require(mdb_txn_begin(env, nullptr, 0, &writer.txn));
      Writer::Require(mdb_dbi_open(writer.txn, kDbRows, MDB_CREATE, &writer.rows));
      Writer::Require(mdb_dbi_open(writer.txn, kDbEntries, MDB_CREATE, &writer.entries));
      Writer::Require(mdb_dbi_open(writer.txn, kDbMeta, MDB_CREATE, &writer.meta));
      body(writer);
      const Lsn applied = writer.GetLsn(kMetaApplied);
      if (tells_states_) page.Prepare(mdb_txn_id(writer.txn), applied, writer.GetLsn(kMetaHorizon));
      Writer::Require(mdb_txn_commit(writer.txn));
      memtable.PublishFlushed(applied);
      page.Publish(applied, applied);
    }
    mdb_env_close(env);
  }

 private:
  std::string path_;
  bool tells_states_ = true;
};

// What a replica ought to hold.
class TestModel {
 public:
  void Apply(const TestMutation& mutation) { keys_[mutation.prefix][mutation.body][mutation.lsn] = mutation.value; }

  std::map<std::string, std::pair<Lsn, std::string>> Visible(uint64_t prefix, Lsn lsn) const {
    std::map<std::string, std::pair<Lsn, std::string>> visible;
    const auto storage = keys_.find(prefix);
    if (storage == keys_.end()) return visible;
    for (const auto& [body, versions] : storage->second) {
      auto version = versions.upper_bound(lsn);
      if (version == versions.begin()) continue;
      --version;
      if (version->second) visible[body] = {version->first, *version->second};
    }
    return visible;
  }
  const std::map<std::string, std::map<Lsn, std::optional<std::string>>>& versions(uint64_t prefix) {
    return keys_[prefix];
  }

 private:
  std::map<uint64_t, std::map<std::string, std::map<Lsn, std::optional<std::string>>>> keys_;
};

// Where a scan of the model stands, told in the words of replica.h.
struct TestPosition {
  std::string key;
  bool at = false;  // on `key`
  bool start = false, end = false;
  bool backward = false, prefix_match = false;

  static TestPosition Seek(const std::string& key, bool backward, bool prefix_match) {
    TestPosition position{key, false, false, false, backward, prefix_match};
    position.start = key.empty() && !backward;
    position.end = key.empty() && backward;
    return position;
  }
  bool Follows(const std::string& body) const {  // body lies after the position
    if (start || end) return start;
    if (at) return body > key;
    if (!backward) return body >= key;
    return body > key && !(prefix_match && body.starts_with(key));
  }
  bool Precedes(const std::string& body) const { return at ? body < key : !Follows(body); }

  // Moves to the next body of a sorted map; end() if there is none.
  template <typename Map>
  typename Map::const_iterator Next(const Map& map, bool backwards) {
    auto found = map.end();
    for (auto it = map.begin(); it != map.end(); ++it) {
      if (backwards ? Precedes(it->first) : Follows(it->first)) {
        found = it;
        if (!backwards) break;
      }
    }
    *this = {};
    if (found != map.end()) {
      key = found->first;
      at = true;
    } else {
      (backwards ? start : end) = true;
    }
    return found;
  }
};

inline std::string KeyOf(const CcEntry& entry) { return {reinterpret_cast<const char*>(entry.key), entry.key_size}; }
inline std::string ValueOf(const CcEntry& entry) {
  return {reinterpret_cast<const char*>(entry.value), entry.value_size};
}
inline std::string RowBody(uint64_t rowid) {
  std::string body;
  AppendBe64(&body, rowid);
  return body;
}

// For a test to derive from: keys that meet each other, some of them neighbours and some prefixes, and places to seek.
class RandomKeys {
 protected:
  // Rowids below `rowids`, some of them spread over all 8 bytes.
  RandomKeys(uint64_t seed, uint32_t rowids) : random_(seed), rowids_(rowids) {}

  uint32_t Random(uint32_t below) { return static_cast<uint32_t>(random_() % below); }
  std::string RandomBody(uint64_t prefix) {
    if (prefix >> 56 == 1) return RowBody(Random(rowids_) * (Random(2) == 0 ? 1 : 0x0101010101010101));
    // Prefix-free: zero ends a body and is nowhere else.
    std::string body;
    for (uint32_t n = Random(5); n-- > 0;) body += "\x01\x61\xff"[Random(3)];
    return body + '\0';
  }
  std::string RandomSeek(uint64_t prefix) {
    std::string key = RandomBody(prefix);
    if (Random(3) == 0) key.resize(Random(static_cast<uint32_t>(key.size()) + 1));
    if (Random(5) == 0) key += "\x00\x01\xff"[Random(3)];
    return key;
  }

  std::mt19937_64 random_;

 private:
  const uint32_t rowids_;
};

}  // namespace concord::bridge
