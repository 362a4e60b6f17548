// The part of a ReplicaCursor that reads another machine's replica: batches that grow while a scan goes on, the next
// one asked for while one is consumed.
//
// A place between keys is a gap: the key behind it. The batch at hand covers the keys from one gap to another, whatever
// the direction it was read in; a seek into it costs nothing, and none is read twice. Since the read LSN is the
// snapshot, batches of different replicas fit together.
#pragma once

#include <string>
#include <string_view>

#include "bridge/position.h"
#include "bridge/remote_batch.h"

namespace concord::bridge {

// What the user of a scan expects to read; exactness does not rest on it.
struct ScanExpectation {
  std::string low, high;  // full keys; no more than one entry outside of them is read; empty: no such bound
  uint64_t rows_of = 0;   // prefix of the rows that the entries name, if they will be wanted

  bool operator==(const ScanExpectation&) const = default;
};
// Of bodies; nullptr: no such bound.
ScanExpectation ExpectRange(uint64_t prefix, const void* low, size_t low_size, const void* high, size_t high_size,
                            uint64_t rows_of);

class RemoteCursor {
 public:
  RemoteCursor(uint64_t prefix, Lsn lsn);
  ~RemoteCursor();
  RemoteCursor(const RemoteCursor&) = delete;
  RemoteCursor& operator=(const RemoteCursor&) = delete;

  void Expect(const ScanExpectation* expectation) { expected_ = expectation; }
  // The next entries are those behind (or before) the position. Of a range that the batch at hand has only some of, it
  // takes up what was fetched ahead.
  void Place(const Position& position, bool backward);
  // What a cursor that has been placed asks first.
  std::string FirstRequest() const;
  // True if the batch at hand goes on from the place.
  bool IsAtHand() const { return batch_ != nullptr && lo_ <= gap_ && gap_ <= hi_; }
  // As ReplicaCursor::Next. What it returns is good until the next call. With *local_ready nothing is returned: the
  // replica of this machine has come as far.
  CcStatus Next(CcEntry* entries, size_t room, size_t* count, bool* local_ready);
  // Every version from the position on.
  CcStatus NextVersion(const Position& position, Lsn after, bool place, CcEntry* entry, bool* local_ready);

 private:
  struct Ahead {
    uint64_t id = 0;
    std::string gap;
    bool backward = false;
  };

  CcStatus Fetch(bool* local_ready);
  void Take(RemoteBatch* batch, bool goes_on);
  bool HasAllExpected() const;
  void LookAhead();
  void ForgetAhead();
  void ReleaseBatch();
  std::string Request(std::string_view gap, uint32_t bytes, uint32_t entries) const;
  size_t Find(std::string_view gap) const;  // entries below it
  const BatchEntry& At(size_t ascending) const {
    const auto& entries = batch_->entries();
    return reversed_ ? entries[entries.size() - 1 - ascending] : entries[ascending];
  }
  size_t Count() const { return batch_->entries().size(); }
  void Fill(const BatchEntry& from, CcView* view, CcEntry* entry) const;
  CcStatus DeliverCut(const BatchEntry& from, CcEntry* entry, bool* local_ready);

  const uint64_t prefix_;
  const Lsn lsn_;
  const std::string lowest_, highest_;  // gaps around all of the storage
  const ScanExpectation* expected_ = nullptr;
  std::string gap_;
  bool backward_ = false;
  RemoteBatch* batch_ = nullptr;
  bool reversed_ = false;  // it came in descending order
  std::string lo_, hi_;
  size_t at_ = 0;       // entries of the batch below the place
  bool found_ = false;  // at_ is known
  RemoteBatch* large_ = nullptr;
  uint32_t bytes_, entries_;  // to be asked for next
  bool in_sequence_ = false;  // more than one batch has been read one behind another
  Ahead ahead_;
  // NextVersion
  size_t version_at_ = 0;
};

// The whole value of an entry of which a batch has only the beginning, pinned for the caller.
CcStatus FetchWhole(Lsn lsn, const BatchEntry& entry, RemoteBatch** whole, bool* local_ready);

// Of one that was begun and is not wanted any more.
void ForgetLarge();

}  // namespace concord::bridge
