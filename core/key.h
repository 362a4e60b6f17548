// The one ordered keyspace, compared by memcmp (docs/formats.md, "Keys").
//
//   key        := prefix body
//   prefix     := u64be(space << 56 | storage_id)            8 bytes
//   space      := 00 system | 01 rows | 02 index entries
//   row body   := rowid u64be
//   entry body := columns, order-preserving [rowid u64be]
//   version    := key ~commit_lsn u64be                      newest version of a key first
//
// The prefix is eight bytes, three of them zero, and not five: with it every version of a row has a 24-byte key, so a
// row's value stands at a multiple of eight in LMDB's pages and Postgres reads the tuple in place (docs/formats.md).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/bytes.h"
#include "core/lsn.h"

namespace concord {

enum class Space : uint8_t { kSystem = 0x00, kRow = 0x01, kEntry = 0x02 };

using StorageId = uint32_t;  // 0 is "none"

inline constexpr size_t kPrefixSize = 8;
inline constexpr size_t kRowKeySize = 16;        // prefix, rowid
inline constexpr size_t kVersionSize = 8;        // ~commit_lsn
inline constexpr size_t kMaxVersionedKey = 511;  // LMDB's limit as Debian builds it
inline constexpr size_t kMaxKey = kMaxVersionedKey - kVersionSize;

inline constexpr uint64_t Prefix(Space space, StorageId storage) {
  return static_cast<uint64_t>(space) << 56 | storage;
}

inline Space KeySpace(std::string_view key) { return static_cast<Space>(key[0]); }
inline uint64_t KeyPrefix(std::string_view key) { return LoadBe64(key.data()); }
inline StorageId KeyStorage(std::string_view key) { return static_cast<StorageId>(LoadBe64(key.data())); }

inline std::string RowKey(StorageId storage, uint64_t rowid) {
  std::string key;
  key.reserve(kRowKeySize + kVersionSize);
  AppendBe64(&key, Prefix(Space::kRow, storage));
  AppendBe64(&key, rowid);
  return key;
}

// Counters of the cluster live as ordinary keys: 00 | 0 | name. Leasing ids is a transaction like any other.
inline std::string SystemKey(std::string_view name) {
  std::string key;
  AppendBe64(&key, Prefix(Space::kSystem, 0));
  key.append(name);
  return key;
}

// The counter of a table's rowids; it goes with its storage.
inline std::string RowidCounterKey(StorageId storage) {
  char id[4];
  StoreBe32(id, storage);
  return SystemKey("rowid/").append(id, sizeof id);
}

inline void AppendVersion(std::string* key, Lsn lsn) { AppendBe64(key, ~lsn); }
inline Lsn VersionLsn(std::string_view versioned) {
  return ~LoadBe64(versioned.data() + versioned.size() - kVersionSize);
}
inline std::string_view UnversionedKey(std::string_view versioned) {
  return versioned.substr(0, versioned.size() - kVersionSize);
}

}  // namespace concord
