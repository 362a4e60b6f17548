// The write set of one transaction: every version that it made of every key, and the keys to be checked when it
// commits.
//
//   storages   prefix -> ordered set of chains: a key's body with its versions, newest first. Chains and versions
//              lie in an arena, each with its bytes behind it, which forgets a load of a million rows at once. The
//              set is a B-tree: a load is as fast as its memory is small
//   checks     key hash -> (mode, observed LSN), in order of first use. Of one key there may be several, at most one a
//              mode: a weak one with an old observation stands beside a strong one with a newer one, as it must not
//              make that one old. What another one says as well is left out. The first check of a key that came with
//              its first version is by itself: a load has one for each row, and they are not looked for again
//   unsent     per storage, what may go to the journal before the commit, while the transaction still runs: keys with a
//              new version that nothing but the end of the transaction can take back
//   half sent  a large value of which some parts have gone; the others follow before anything else, also if it has been
//              replaced meanwhile. Its bytes stay: it is older than every subtransaction that can be rolled back
//   undo       what open subtransactions did, newest last; a subtransaction is a mark in it and in the arena
//
// Invariants: a chain in a set is never empty. Versions of one key are made in order of time with command ids that
// never fall, so the newest version made before a command is the first such in the chain. Whatever was allocated in the
// arena after a mark belongs to what is undone with the mark, so rolling back gives its memory back. Without an open
// subtransaction nothing is logged: the whole write set is reset instead.
//
// Pointers into the arena are good until their version is rolled back, forgotten or reset. Iterators of a KeySet are
// good until changes() changes.
//
// Pure: no I/O. Not thread-safe.
#pragma once

#include <absl/container/btree_set.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/arena.h"
#include "core/flat_index.h"
#include "core/key.h"
#include "core/parts.h"
#include "core/status.h"
#include "core/wire.h"

namespace concord {

class WriteSet {
 public:
  WriteSet() = default;
  WriteSet(const WriteSet&) = delete;  // its storages point into it
  WriteSet& operator=(const WriteSet&) = delete;

  static constexpr uint32_t kAllCommands = UINT32_MAX;  // sees every own version

  // The value follows it in the arena.
  struct Version {
    Version* older;
    Version* newer;
    uint64_t alias;  // 0: none
    uint32_t cid;
    uint32_t size : 31;  // 0: deletion
    uint32_t sent : 1;   // ahead of the commit

    bool deleted() const { return size == 0; }
    const char* value() const { return deleted() ? nullptr : reinterpret_cast<const char*>(this + 1); }
    std::string_view bytes() const { return {value(), size}; }
  };

  // A key with its versions. The body follows it in the arena.
  struct Chain {
    Version* newest;
    Version* oldest;
    uint32_t body_size : 31;
    uint32_t base_absent : 1;  // the oldest version was put where nothing was

    std::string_view body() const { return {reinterpret_cast<const char*>(this + 1), body_size}; }

    // The newest version made before command `curcid`; nullptr if there is none.
    const Version* Visible(uint32_t curcid) const {
      const Version* version = newest;
      if (curcid == kAllCommands) return version;
      while (version != nullptr && version->cid >= curcid) version = version->older;
      return version;
    }
  };

  // A key body with its first eight bytes as a number: a row's body compares as one integer.
  struct Key {
    explicit Key(std::string_view body);

    uint64_t head;
    std::string_view body;
  };
  struct KeyedChain {
    uint64_t head;  // of the body
    Chain* chain;

    std::string_view body() const { return chain->body(); }
  };
  struct InKeyOrder {
    using is_transparent = void;

    static std::string_view Body(const Key& key) { return key.body; }
    static std::string_view Body(const KeyedChain& key) { return key.body(); }
    bool operator()(const auto& a, const auto& b) const {
      return a.head != b.head ? a.head < b.head : Body(a) < Body(b);
    }
  };
  using KeySet = absl::btree_set<KeyedChain, InKeyOrder, NodeAllocator<KeyedChain>>;

  // Adds a version. `base_absent` counts only for the key's first own version. `alias` may be nullptr; then the version
  // gets none. kTooLarge over the limit, or for a key or value that no record may carry.
  Status Put(uint64_t prefix, std::string_view body, std::string_view value, uint32_t cid, bool base_absent,
             uint64_t* alias);
  // Puts what was observed absent at `observed`, with the check that it still is. The value gets no alias.
  Status PutAbsent(uint64_t prefix, std::string_view body, std::string_view value, uint32_t cid, Lsn observed);
  // The same as Put with a value that the caller writes into *room before anybody looks at it.
  Status PutSpace(uint64_t prefix, std::string_view body, size_t value_size, uint32_t cid, bool base_absent,
                  uint64_t* alias, char** room);
  Status Delete(uint64_t prefix, std::string_view body, uint32_t cid);
  Status AddCheck(uint64_t prefix, std::string_view body, LockMode mode, Lsn observed);

  // Overwrites the first bytes of the value of the key's newest version that command `cid` made; not if it has been
  // sent.
  void SetHead(uint64_t prefix, std::string_view body, uint32_t cid, std::string_view head);

  // nullptr if the transaction has no version of the key.
  const Chain* Find(uint64_t prefix, std::string_view body) const;
  // The version that an alias names, with its row; false if it was rolled back, forgotten or never was.
  bool FindAlias(uint64_t alias, uint64_t* prefix, uint64_t* rowid, const Chain** chain, const Version** version) const;

  // The keys of a storage; nullptr if there are none. The set's address lasts until Reset.
  const KeySet* Keys(uint64_t prefix) const;

  // What the transaction has added to a storage, as the replica will count it: keys that were not there, bytes of them
  // without their versions, and of their values. Estimated from some keys at both ends.
  struct Added {
    uint64_t keys = 0;
    uint64_t bytes = 0;
  };
  Added EstimateAdded(uint64_t prefix) const;

  // About the bytes that EncodeAhead would find.
  size_t unsent_bytes() const { return subs_.empty() ? unsent_bytes_ : 0; }
  // A staged chunk of what has not been sent, which counts as sent from now on; in key order, as much as a chunk holds.
  // Only without an open subtransaction.
  void EncodeAhead(const Token& token, uint32_t sequence, std::string* chunk);
  // Nothing counts as sent any more: all of it goes with the commit, under another token.
  void ForgetSent();
  // True if every version has been sent, for sure.
  bool AllSent() const { return unsent_keys_ == 0 && !untracked_ && !half_sent_; }

  bool empty() const { return key_count_ == 0 && checks_.empty(); }
  bool has_writes() const { return key_count_ != 0; }
  size_t bytes() const;
  void set_limit(size_t bytes) { limit_ = bytes; }
  // A check that remembers whose key it is: the adjudicator names the one that failed by its hash.
  struct OwnCheck {
    uint64_t key_hash;
    Lsn observed;
    LockMode mode;
    Space space;
    bool indexed;  // in check_index_
    StorageId storage;

    Check check() const { return {key_hash, observed, mode}; }
  };
  using OwnChecks = std::deque<OwnCheck>;
  const OwnChecks& checks() const { return checks_; }
  // The strongest check of the key of this hash; nullptr if there is none.
  const OwnCheck* CheckOf(uint64_t key_hash) const;

  // Grows whenever a key appears or disappears.
  const uint64_t& changes() const { return changes_; }

  void SubBegin(uint32_t subid);
  // What the subtransaction did is its parent's now.
  void SubCommit(uint32_t subid);
  // Undoes everything since the subtransaction began, released children too. An id that never began undoes nothing.
  void SubAbort(uint32_t subid);
  void Forget(uint64_t prefix);
  void Reset();

 private:
  friend class WriteSetEncoder;
  friend class WriteSetCopy;

  struct Storage {
    Storage(uint64_t of, NodePool* nodes) : prefix(of), keys(NodeAllocator<KeyedChain>(nodes)) {}

    uint64_t prefix;
    KeySet keys;
    std::vector<KeyedChain> unsent;
  };
  struct VersionUndo {
    Storage* storage;
    Chain* chain;
  };
  struct CheckUndo {
    size_t index;
    OwnCheck before;
    bool added;
  };
  struct ForgetUndo {
    Storage* storage;
    KeySet keys;
  };
  using Undo = std::variant<VersionUndo, CheckUndo, ForgetUndo>;
  struct Subtransaction {
    uint32_t id;
    size_t undo_size;
    Arena::Mark arena;
  };
  struct Alias {
    const Storage* storage;
    const Chain* chain;
    Version* version;  // nullptr: gone
  };

  // Gives the newest version of a key, which is there, the alias that it has in the original of a copy.
  void Name(uint64_t prefix, std::string_view body, uint64_t alias);
  // Gives room for the value, which the caller fills; `room` is nullptr for a deletion. `observed`: of a key that was
  // found absent, to be checked; else nullptr.
  Status Add(uint64_t prefix, std::string_view body, size_t value_size, char** room, uint32_t cid, bool base_absent,
             uint64_t* alias, const Lsn* observed = nullptr);
  Status MergeCheck(uint64_t prefix, uint64_t hash, LockMode mode, Lsn observed);
  Status AppendCheck(uint64_t prefix, uint64_t hash, LockMode mode, Lsn observed, bool indexed);
  Status CheckLimit(size_t more) const;
  Storage* FindStorage(uint64_t prefix) const;
  Storage* MakeStorage(uint64_t prefix);
  bool EncodeHalfSent(std::string* chunk);
  bool EncodeUnsent(Storage* storage, std::string* chunk);
  void UndoVersion(const VersionUndo& undo);
  void UndoCheck(const CheckUndo& undo);
  void UndoForget(ForgetUndo* undo);

  Arena arena_;
  NodePool nodes_;                        // of the storages' keys
  std::map<uint64_t, Storage> storages_;  // by prefix; they last until Reset: undo records point to them
  mutable Storage* last_storage_ = nullptr;
  OwnChecks checks_;
  FlatIndex check_index_;      // numbers in checks_, by key hash
  std::deque<Alias> aliases_;  // alias n at n - 1
  size_t unsent_keys_ = 0;
  size_t unsent_bytes_ = 0;
  std::optional<PartWriter> half_sent_;
  bool untracked_ = false;  // there are versions not sent that stand in no `unsent`: made in a subtransaction
  std::vector<Undo> undo_;
  std::vector<Subtransaction> subs_;
  size_t key_count_ = 0;
  size_t limit_ = SIZE_MAX;
  uint64_t changes_ = 0;
};

// Encodes a write set for commit (core/wire.h): zero or more chunks, then the write set proper. Mutations come in key
// order, rows before entries, because storage applies sorted keys fast. A key that the transaction both made and
// deleted leaves none. What was sent ahead, in `chunks_ahead` chunks, is left out; storage applies chunks in their
// order, so a newer version of a key replaces one that was sent. The write set must not change between the parts.
// `reads`, encoded as core/wire.h says, go in front of the write set; they must stay as long as the encoder.
class WriteSetEncoder {
 public:
  WriteSetEncoder(const WriteSet* write_set, const Token& token, Lsn read_lsn, uint32_t chunks_ahead = 0,
                  std::string_view reads = {});

  // The next part. It stays good during kChunksUnderWay more calls, so that others can be made while it is on its way.
  // kNotFound after the last one, kTooLarge if the checks alone exceed a record.
  Status Next(std::string_view* part, bool* is_write_set);

 private:
  // Makes a chunk of the next mutations; true if there are more.
  bool Fill(std::string* chunk);
  bool ContinueValue(std::string* chunk);

  const WriteSet* write_set_;
  Token token_;
  Lsn read_lsn_;
  std::string_view reads_;
  std::map<uint64_t, WriteSet::Storage>::const_iterator storage_;
  WriteSet::KeySet::const_iterator key_;
  bool in_storage_ = false;
  bool done_ = false;
  uint32_t chunk_count_;
  std::optional<PartWriter> value_;  // that the next part of the encoding goes on with
  uint32_t mutation_count_ = 0;
  std::string parts_[kChunksUnderWay + 1];  // chunks, in turn
  std::string write_set_part_;
};

}  // namespace concord
