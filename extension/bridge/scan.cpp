// CcScan: the replica's cursor and the write set's keys merged by body. Where the transaction has written nothing of
// the storage, the C side takes what the cursor has read ahead without a call.
//
// Both sides stand at one position (position.h): next..end are the replica's next entries in the scan's direction, read
// and not yet returned; own_ is the gap between two own keys, so the next own key is *own_ forward and *prev(own_)
// backward. A change of direction, or of the write set under the scan, places the sides anew from the position.
//
// A key that appears or disappears in the write set moves others, so own_ is placed anew then too, also where the scan
// sees no version of it: an UPDATE pays one search of the tree for each row.
//
// In a transaction whose reads are noted (read_set.h) the scan notes what lies between where it was placed and where it
// stands: when it is placed anew, when it is closed, and whenever somebody wants to know. What is read ahead and not
// returned does not count.
#include <algorithm>
#include <cstring>
#include <iterator>
#include <memory>
#include <new>
#include <string>

#include "bridge/cursor.h"
#include "bridge/error.h"
#include "bridge/own.h"
#include "bridge/read_set.h"
#include "bridge/reads.h"
#include "bridge/registry.h"

namespace concord::bridge {

namespace {

// Entries read ahead at most; it begins with one and doubles, so that a point lookup reads no more than it needs.
constexpr size_t kMaxBatch = 64;

constexpr uint64_t kMerged = UINT64_MAX;  // CcScan::unmerged_at: nothing may be taken without a call

class Scan : public CcScan, public Registered<Scan> {
 public:
  Scan(uint64_t prefix, uint64_t lsn, uint32_t curcid)
      : CcScan{batch_, batch_, &OwnWrites().changes(), kMerged, false},
        writes_(OwnWrites()),
        prefix_(prefix),
        curcid_(curcid),
        cursor_(prefix, lsn) {}
  ~Scan();

  void Seek(std::string_view key, bool backward, bool prefix_match);
  CcStatus Next(bool backward, CcVisible* visible);
  CcStatus Peek(bool backward, CcVisible* visible);
  void Rest();
  void NoteBetween(std::string low, std::string high);
  void NotePassed();
  void Expect(ScanExpectation expectation) { cursor_.Expect(std::move(expectation)); }
  uint64_t prefix() const { return prefix_; }

 private:
  void TurnTo(bool backward);
  void Place(bool backward);
  void KeepPosition();
  std::string Edge(bool upper) const;
  void LookForOwn();
  void PlaceOwn();
  CcStatus Refill();
  CcStatus Merge(CcVisible* visible);
  void ReturnBase(CcVisible* visible);
  void ReturnOwn(const WriteSet::Chain& chain, const WriteSet::Version& version, CcVisible* visible);
  void StandAt(const Position& position) {
    position_ = position;
    accounted_ = next;
  }
  void StandAtEnd() { StandAt({backward ? Position::Kind::kStart : Position::Kind::kEnd, {}}); }
  // Takes account of what the C side has taken.
  void CatchUp() {
    if (next != accounted_) StandAt({Position::Kind::kAt, Body(next[-1])});
  }
  // The next own key, nullptr after the last.
  const WriteSet::Chain* PeekOwn() const;
  void StepOwn() { backward ? --own_ : ++own_; }
  static std::string_view Body(const CcEntry& entry) {
    return {reinterpret_cast<const char*>(entry.key), entry.key_size};
  }

  const WriteSet& writes_;
  const uint64_t prefix_;
  const uint32_t curcid_;
  ReplicaCursor cursor_;
  Position position_;  // its key lies in key_, or in the view that the cursor holds
  std::string key_;
  const CcEntry* accounted_ = batch_;  // position_ is that when `next` was here
  size_t room_ = 1;                    // of the next batch
  bool base_ended_ = false;
  const WriteSet::KeySet* keys_ = nullptr;  // nullptr: nothing written here
  WriteSet::KeySet::const_iterator own_;
  bool own_placed_ = false;
  uint64_t changes_ = UINT64_MAX;  // of the write set, when last looked at
  struct Noted {
    std::string low, high;                // bounds of what counts
    std::string placed_low, placed_high;  // where it was placed; one key, or the place between two
  };
  std::unique_ptr<Noted> noted_;  // null: nothing is noted
  CcEntry batch_[kMaxBatch];
};

Scan::~Scan() {
  try {
    NotePassed();
  } catch (const std::bad_alloc&) {
    LoseReads();
  }
}

void Scan::Seek(std::string_view key, bool backward, bool prefix_match) {
  if (noted_) NotePassed();
  key_.assign(key);
  position_ = Position::Seek(key_, backward, prefix_match);
  Place(backward);
  if (noted_) {
    noted_->placed_low = Edge(false);
    noted_->placed_high = Edge(true);
  }
}

void Scan::NoteBetween(std::string low, std::string high) {
  CatchUp();
  noted_ = std::make_unique<Noted>(Noted{std::move(low), std::move(high), Edge(false), Edge(true)});
}

void Scan::NotePassed() {
  ReadSet* const reads = noted_ ? OwnReads() : nullptr;
  if (reads == nullptr) return;
  CatchUp();
  reads->Add(std::max(noted_->low, std::min(noted_->placed_low, Edge(false))),
             std::min(noted_->high, std::max(noted_->placed_high, Edge(true))));
}

// The least key that is not below the position, or the least that is above it.
std::string Scan::Edge(bool upper) const {
  switch (position_.kind) {
    case Position::Kind::kStart: return FullKey(prefix_, {});
    case Position::Kind::kEnd: return FullKey(prefix_ + 1, {});
    case Position::Kind::kBefore: return FullKey(prefix_, position_.key);
    case Position::Kind::kAfter: return FullKey(prefix_, position_.key) + '\0';
    case Position::Kind::kAfterPrefixed: return PrefixSuccessor(FullKey(prefix_, position_.key));
    case Position::Kind::kAt: break;
  }
  std::string key = FullKey(prefix_, position_.key);
  if (upper) key += '\0';
  return key;
}

void Scan::Place(bool backwards) {
  backward = backwards;
  cursor_.Move(position_);
  next = end = accounted_ = batch_;
  room_ = 1;
  base_ended_ = own_placed_ = false;
}

// The cursor may let the view go that the position's key lies in.
void Scan::KeepPosition() {
  if (position_.key.data() == key_.data()) return;
  key_.assign(position_.key);
  position_.key = key_;
}

void Scan::Rest() {
  CatchUp();
  KeepPosition();
  Place(backward);
  cursor_.Rest();
}

void Scan::TurnTo(bool backwards) {
  CatchUp();
  if (backwards != backward) {
    if (noted_) NotePassed();
    Place(backwards);
  }
  if (changes_ != writes_.changes()) LookForOwn();
}

CcStatus Scan::Next(bool backwards, CcVisible* visible) {
  TurnTo(backwards);
  if (keys_ != nullptr) return Merge(visible);
  if (next == end) {
    const CcStatus status = Refill();
    if (status == CC_END) StandAtEnd();
    if (status != CC_OK) return status;
  }
  ReturnBase(visible);
  return CC_OK;
}

CcStatus Scan::Peek(bool backwards, CcVisible* visible) {
  TurnTo(backwards);
  if (keys_ != nullptr) {
    // Nobody knows what is next before it has passed over what is hidden: go there, and come back.
    const Position::Kind kind = position_.kind;
    const std::string key(position_.key);
    const CcStatus status = Merge(visible);
    key_ = key;
    position_ = {kind, key_};
    Place(backward);
    return status;
  }
  if (next == end) {
    const CcStatus status = Refill();
    if (status != CC_OK) return status;
  }
  visible->entry = *next;
  visible->is_own = false;
  return CC_OK;
}

void Scan::LookForOwn() {
  changes_ = writes_.changes();
  keys_ = writes_.Keys(prefix_);
  own_placed_ = false;
  unmerged_at = keys_ == nullptr ? changes_ : kMerged;
}

void Scan::PlaceOwn() {
  switch (position_.kind) {
    case Position::Kind::kStart: own_ = keys_->begin(); break;
    case Position::Kind::kEnd: own_ = keys_->end(); break;
    case Position::Kind::kBefore: own_ = keys_->lower_bound(WriteSet::Key(position_.key)); break;
    case Position::Kind::kAfter: own_ = keys_->upper_bound(WriteSet::Key(position_.key)); break;
    case Position::Kind::kAfterPrefixed:
      own_ = keys_->lower_bound(WriteSet::Key(PrefixSuccessor(position_.key)));
      break;
    case Position::Kind::kAt:
      own_ = backward ? keys_->lower_bound(WriteSet::Key(position_.key))
                      : keys_->upper_bound(WriteSet::Key(position_.key));
      break;
  }
  own_placed_ = true;
}

const WriteSet::Chain* Scan::PeekOwn() const {
  if (keys_ == nullptr || own_ == (backward ? keys_->begin() : keys_->end())) return nullptr;
  return (backward ? std::prev(own_) : own_)->chain;
}

// Reads the next batch, all of the last one having been returned.
CcStatus Scan::Refill() {
  KeepPosition();
  next = end = accounted_ = batch_;
  size_t count = 0;
  const CcStatus status = cursor_.Next(backward, batch_, room_, &count);
  end = batch_ + count;
  room_ = std::min(2 * room_, kMaxBatch);
  return status;
}

CcStatus Scan::Merge(CcVisible* visible) {
  if (!own_placed_) PlaceOwn();
  for (;;) {
    if (next == end && !base_ended_) {
      const CcStatus status = Refill();
      if (status != CC_OK && status != CC_END) return status;
      base_ended_ = status == CC_END;
    }
    const WriteSet::Chain* own = PeekOwn();
    if (own == nullptr && next == end) {
      StandAtEnd();
      return CC_END;
    }
    int order = own == nullptr ? 1 : -1;  // < 0: the own key comes first, 0: one key, > 0: the replica's comes first
    if (own != nullptr && next != end) {
      order = own->body().compare(Body(*next));
      if (backward) order = -order;
    }
    if (order > 0) {
      ReturnBase(visible);
      return CC_OK;
    }

    StepOwn();
    const WriteSet::Version* version = own->Visible(curcid_);
    if (version == nullptr) {
      if (order != 0) continue;
      ReturnBase(visible);
      return CC_OK;
    }
    if (order == 0) next++;  // hidden
    if (!version->deleted()) {
      ReturnOwn(*own, *version, visible);
      return CC_OK;
    }
  }
}

void Scan::ReturnBase(CcVisible* visible) {
  visible->entry = *next++;
  visible->is_own = false;
  CatchUp();
}

void Scan::ReturnOwn(const WriteSet::Chain& chain, const WriteSet::Version& version, CcVisible* visible) {
  const std::string_view body = chain.body();
  key_.assign(body);  // the version may be rolled back while the scan stands on it
  StandAt({Position::Kind::kAt, key_});
  visible->is_own = true;
  visible->entry = {reinterpret_cast<const uint8_t*>(body.data()),
                    body.size(),
                    reinterpret_cast<const uint8_t*>(version.value()),
                    version.size,
                    kNoLsn,
                    nullptr};
  FillOwn(chain, version, &visible->own);
}

}  // namespace

void CloseAllScans() { Registered<Scan>::DeleteAll(); }
void NoteOpenScans() {
  Registered<Scan>::ForEach([](Scan* scan) { scan->NotePassed(); });
}
size_t LiveScans() { return Registered<Scan>::Live(); }

extern "C" CcStatus cc_scan_open(uint64_t prefix, uint64_t lsn, uint32_t curcid, CcScan** scan) {
  return Guard([&] {
    *scan = new Scan(prefix, lsn, curcid);
    return CC_OK;
  });
}

extern "C" CcStatus cc_scan_seek(CcScan* scan, const void* key, size_t key_size, bool backward, bool prefix_match) {
  return Guard([&] {
    static_cast<Scan*>(scan)->Seek({static_cast<const char*>(key), key_size}, backward, prefix_match);
    return CC_OK;
  });
}

extern "C" CcStatus cc_scan_note(CcScan* scan, const void* low, size_t low_size, const void* high, size_t high_size) {
  return Guard([&] {
    auto* const self = static_cast<Scan*>(scan);
    const uint64_t prefix = self->prefix();
    self->NoteBetween(FullKey(prefix, {static_cast<const char*>(low), low_size}), HighBound(prefix, high, high_size));
    return CC_OK;
  });
}

extern "C" CcStatus cc_scan_next_try(CcScan* scan, bool backward, CcVisible* visible) {
  return Guard([&] { return static_cast<Scan*>(scan)->Next(backward, visible); });
}

extern "C" CcStatus cc_scan_peek_try(CcScan* scan, bool backward, CcVisible* visible) {
  return Guard([&] { return static_cast<Scan*>(scan)->Peek(backward, visible); });
}

extern "C" CcStatus cc_scan_expect(CcScan* scan, const void* low, size_t low_size, const void* high, size_t high_size,
                                   uint64_t rows_of) {
  return Guard([&] {
    auto* const self = static_cast<Scan*>(scan);
    self->Expect(ExpectRange(self->prefix(), low, low_size, high, high_size, rows_of));
    return CC_OK;
  });
}

extern "C" CcStatus cc_scan_rest(CcScan* scan) {
  return Guard([&] {
    static_cast<Scan*>(scan)->Rest();
    return CC_OK;
  });
}

extern "C" void cc_scan_close(CcScan* scan) { delete static_cast<Scan*>(scan); }

extern "C" CcStatus cc_visible_get_try(uint64_t prefix, const void* body, size_t body_size, uint64_t lsn,
                                       uint32_t curcid, CcVisible* visible) {
  return Guard([&] {
    const WriteSet& writes = OwnWrites();
    visible->is_own = false;
    if (const WriteSet::Chain* chain = writes.Find(prefix, {static_cast<const char*>(body), body_size})) {
      if (const WriteSet::Version* version = chain->Visible(curcid)) {
        if (version->deleted()) return CC_END;
        visible->is_own = true;
        visible->entry = {static_cast<const uint8_t*>(body),
                          body_size,
                          reinterpret_cast<const uint8_t*>(version->value()),
                          version->size,
                          kNoLsn,
                          nullptr};
        FillOwn(*chain, *version, &visible->own);
        return CC_OK;
      }
    }
    if (kPrefixSize + body_size > kMaxKey) return Fail(CC_TOO_LARGE, "no such key can be stored");
    char key[kMaxKey];
    StoreBe64(key, prefix);
    memcpy(key + kPrefixSize, body, body_size);
    const void* value;
    CcEntry& entry = visible->entry;
    const CcStatus status =
        cc_replica_get_try(lsn, key, kPrefixSize + body_size, &value, &entry.value_size, &entry.lsn, &entry.view);
    if (status != CC_OK) return status;
    entry.key = static_cast<const uint8_t*>(body);
    entry.key_size = body_size;
    entry.value = static_cast<const uint8_t*>(value);
    return CC_OK;
  });
}

}  // namespace concord::bridge
