// Ownership of LMDB's handles, and its error codes as Status. Nothing else: callers use LMDB's own functions and names.
//
// Thread safety: as LMDB's. A write transaction belongs to the thread that began it; read transactions are opened with
// MDB_NOTLS and may move between threads, one at a time. A cursor must end before its transaction does.
#pragma once

#include <lmdb.h>

#include <string_view>
#include <utility>

#include "core/status.h"

namespace concord::lmdb {

// MDB_MAP_FULL and ENOSPC are kNoSpace (free space and try again), MDB_CORRUPTED and its like kCorruption,
// MDB_READERS_FULL kUnavailable, everything else kIoError. MDB_NOTFOUND is kNotFound.
Status Error(int rc, std::string_view what);

inline MDB_val Val(std::string_view bytes) { return {bytes.size(), const_cast<char*>(bytes.data())}; }
inline std::string_view View(const MDB_val& val) { return {static_cast<const char*>(val.mv_data), val.mv_size}; }

class Env {
 public:
  Env() = default;
  Env(const Env&) = delete;
  Env& operator=(const Env&) = delete;
  ~Env() { Close(); }

  MDB_env** out() { return &env_; }
  MDB_env* get() const { return env_; }
  void Close() {
    if (env_ != nullptr) mdb_env_close(std::exchange(env_, nullptr));
  }

 private:
  MDB_env* env_ = nullptr;
};

class Txn {
 public:
  Txn() = default;
  Txn(Txn&& other) noexcept : txn_(std::exchange(other.txn_, nullptr)) {}
  Txn& operator=(Txn&& other) noexcept {
    Abort();
    txn_ = std::exchange(other.txn_, nullptr);
    return *this;
  }
  ~Txn() { Abort(); }

  Status Begin(MDB_env* env, unsigned flags);
  Status Commit();
  void Abort() {
    if (txn_ != nullptr) mdb_txn_abort(std::exchange(txn_, nullptr));
  }
  // Gives up the snapshot of a read transaction and keeps its reader slot; Renew takes a new one.
  void Reset() { mdb_txn_reset(txn_); }
  Status Renew();

  MDB_txn* get() const { return txn_; }
  explicit operator bool() const { return txn_ != nullptr; }

 private:
  MDB_txn* txn_ = nullptr;
};

class Cursor {
 public:
  Cursor() = default;
  Cursor(Cursor&& other) noexcept : cursor_(std::exchange(other.cursor_, nullptr)) {}
  Cursor& operator=(Cursor&& other) noexcept {
    Close();
    cursor_ = std::exchange(other.cursor_, nullptr);
    return *this;
  }
  ~Cursor() { Close(); }

  Status Open(MDB_txn* txn, MDB_dbi dbi);
  void Close() {
    if (cursor_ != nullptr) mdb_cursor_close(std::exchange(cursor_, nullptr));
  }
  MDB_cursor* get() const { return cursor_; }

 private:
  MDB_cursor* cursor_ = nullptr;
};

}  // namespace concord::lmdb
