// The versions that a storage replica has taken from the journal lately, in shared memory of the machine: readers find
// them here before LMDB has them, which then commits many at a time. (Memtable: the term of log-structured merge trees,
// O'Neil et al. 1996; this one is flushed into LMDB's tree, not to a sorted run.) It is the file
// `memtable` beside data.mdb. Losing it loses nothing: the journal has all of it.
//
// A ring of versions, newest last, each in the chain of its key's hash. One writer, the replica's; any number of
// readers, without locks: an entry is written before its chain leads to it, and a reader who has copied something looks
// whether the ring's begin has passed it meanwhile (a seqlock).
//
// A reader has a view of LMDB with everything up to `applied`, and wants what there is up to `lsn`. What is above the
// floor is here; what is at or below it has been given up, or went to LMDB only. So:
//  - The newest version of a key is the one that Find finds above `applied`. If it finds none, it is the view's, if the
//    floor is at or below `applied`.
//  - If nothing of a storage above `applied` was ever here, and the floor is at or below that, the view has all of it.
// Each answer is of one generation: a new writer begins one, as it has only what LMDB has.
//
// Readers ask for what they cannot read here (a range of keys) to be flushed: Want.
//
// Thread and process safety: as told; all shared words are lock-free atomics.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/lsn.h"
#include "core/status.h"

namespace concord {

inline constexpr char kMemtableFile[] = "memtable";
inline constexpr size_t kMemtableRingBytes = 8u << 20;

class Memtable {
 public:
  struct Version {
    uint64_t at;     // of its entry in the ring
    uint64_t value;  // of its value there
    Lsn lsn;
    size_t size;  // of the value; 0: a tombstone
  };
  enum class Answer {
    kView,      // the view has it
    kFound,     // it is here
    kBehind,    // the view lacks something: a newer one may have it, else a flush is to be asked for
    kNotThere,  // not everything up to `lsn` has been published
  };

  Memtable() = default;
  Memtable(const Memtable&) = delete;
  Memtable& operator=(const Memtable&) = delete;
  ~Memtable() { Close(); }

  // For the writer: makes the file if need be, and begins a generation in which LMDB has all up to `applied`. `adds`:
  // it will Add, so there is to be space for the ring.
  Status Create(const std::string& directory, Lsn applied, bool adds = true);
  // For readers. kNotFound: the file is not there, or not finished yet.
  Status Open(const std::string& directory);
  void Close();
  explicit operator bool() const { return shared_ != nullptr; }

  // ---- the writer ----

  // Adds a version, which readers see with the next Publish. False: there is no room, or it is too large; LMDB has to
  // have it before it is published. `lsn` never goes back.
  bool Add(std::string_view key, std::string_view value, Lsn lsn);
  // LMDB has everything up to `lsn`, which may be given up.
  void Flushed(Lsn lsn) { flushed_ = lsn; }
  // Everything up to `lsn` is here, or in LMDB.
  void Publish(Lsn lsn);
  // Everything up to `lsn` is in LMDB, and some of it was never here.
  void PublishFlushed(Lsn lsn);
  // Up to where LMDB is wanted to be. Waits for at most `wait_us` microseconds for more than `seen`. From any thread.
  Lsn AwaitWanted(Lsn seen, int64_t wait_us) const;
  Lsn wanted() const;

  // ---- readers ----

  // The newest version of a key. Never kBehind with a view that has all that was flushed.
  Answer Find(std::string_view key, Lsn applied, Lsn lsn, Version* version) const;
  // The value into `to`, which has room for its size rounded up to 8. False: it is gone, and was in LMDB before that.
  bool Read(const Version& version, char* to) const;
  // All versions of a storage; never kFound.
  Answer FindChange(uint64_t prefix, Lsn applied, Lsn lsn) const;
  // Asks the writer to flush everything up to `lsn`.
  void Want(Lsn lsn) const;

 private:
  struct Wishes;
  struct Header;
  struct Shared;

  Status Map(const std::string& path, int fd, bool writable);
  std::atomic<uint64_t>& HeadOf(std::string_view key) const;
  std::atomic<Lsn>& ChangeOf(uint64_t prefix) const;
  bool MakeRoom(uint64_t end, size_t size);
  template <typename Body>
  Answer InOneGeneration(Lsn lsn, Body&& body) const;

  Wishes* wishes_ = nullptr;  // written by readers too
  Shared* shared_ = nullptr;
  Lsn flushed_ = kNoLsn;  // the writer's own
};

}  // namespace concord
