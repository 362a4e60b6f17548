// CcScan: the replica's cursor and the write set's keys merged by body. Where the transaction has written nothing of
// the storage, a row costs one branch more than the cursor alone.
//
// Both sides stand at one position (position.h): `ahead_` is the replica's next entry in the scan's direction, read and
// not yet returned; own_ is the gap between two own keys, so the next own key is *own_ forward and *prev(own_)
// backward. A change of direction, or of the write set under the scan, places the sides anew from the position.
//
// Keys that the transaction adds while it scans need no new placing: their versions are of commands that the scan does
// not see. Only a scan that sees all commands looks for them.
#include <algorithm>
#include <cstring>
#include <iterator>

#include "bridge/cursor.h"
#include "bridge/error.h"
#include "bridge/own.h"
#include "bridge/registry.h"

struct CcScan : concord::bridge::Registered<CcScan> {
 public:
  CcScan(uint64_t prefix, uint64_t lsn, uint32_t curcid)
      : writes_(concord::bridge::OwnWrites()), prefix_(prefix), curcid_(curcid), cursor_(prefix, lsn) {}

  void Seek(std::string_view key, bool backward, bool prefix_match);
  CcStatus Next(bool backward, CcVisible* visible);

 private:
  using Position = concord::bridge::Position;
  using WriteSet = concord::WriteSet;

  void Place(bool backward);
  void LookForOwn();
  void PlaceOwn();
  CcStatus Merge(CcVisible* visible);
  CcStatus ReturnBase(const CcEntry& entry, CcVisible* visible);
  CcStatus ReturnOwn(const WriteSet::KeyMap::value_type& key, const WriteSet::Version& version, CcVisible* visible);
  void StandAtEnd() { position_ = {backward_ ? Position::Kind::kStart : Position::Kind::kEnd, {}}; }
  // The next own key, nullptr after the last.
  const WriteSet::KeyMap::value_type* PeekOwn() const;
  void StepOwn() { backward_ ? --own_ : ++own_; }

  const WriteSet& writes_;
  const uint64_t prefix_;
  const uint32_t curcid_;
  concord::bridge::ReplicaCursor cursor_;
  bool backward_ = false;
  Position position_;  // its key lies in key_, or in the view that the cursor holds
  std::string key_;
  CcEntry ahead_ = {};
  bool has_ahead_ = false;
  bool base_ended_ = false;
  const WriteSet::KeyMap* keys_ = nullptr;  // nullptr: nothing written here
  WriteSet::KeyMap::const_iterator own_;
  bool own_placed_ = false;
  uint64_t changes_ = UINT64_MAX;  // of the write set, when last looked at
  uint64_t erasures_ = UINT64_MAX;
};

void CcScan::Seek(std::string_view key, bool backward, bool prefix_match) {
  key_.assign(key);
  position_ = Position::Seek(key_, backward, prefix_match);
  Place(backward);
}

void CcScan::Place(bool backward) {
  backward_ = backward;
  cursor_.Move(position_);
  has_ahead_ = base_ended_ = own_placed_ = false;
}

CcStatus CcScan::Next(bool backward, CcVisible* visible) {
  if (backward != backward_) Place(backward);
  if (changes_ != writes_.changes()) LookForOwn();
  if (keys_ != nullptr || has_ahead_) return Merge(visible);
  const CcStatus status = cursor_.Next(backward, &visible->entry);
  if (status == CC_OK) {
    visible->is_own = false;
    position_ = {Position::Kind::kAt, {reinterpret_cast<const char*>(visible->entry.key), visible->entry.key_size}};
  } else if (status == CC_END) {
    StandAtEnd();
  }
  return status;
}

void CcScan::LookForOwn() {
  const bool erased = erasures_ != writes_.erasures();
  changes_ = writes_.changes();
  erasures_ = writes_.erasures();
  keys_ = writes_.Keys(prefix_);
  if (keys_ == nullptr || erased || curcid_ == CC_ALL_COMMANDS) own_placed_ = false;
}

void CcScan::PlaceOwn() {
  switch (position_.kind) {
    case Position::Kind::kStart: own_ = keys_->begin(); break;
    case Position::Kind::kEnd: own_ = keys_->end(); break;
    case Position::Kind::kBefore: own_ = keys_->lower_bound(WriteSet::Key(position_.key)); break;
    case Position::Kind::kAfter: own_ = keys_->upper_bound(WriteSet::Key(position_.key)); break;
    case Position::Kind::kAfterPrefixed: {
      const std::string successor = concord::bridge::PrefixSuccessor(position_.key);
      own_ = successor.empty() ? keys_->end() : keys_->lower_bound(WriteSet::Key(successor));
      break;
    }
    case Position::Kind::kAt:
      own_ = backward_ ? keys_->lower_bound(WriteSet::Key(position_.key))
                       : keys_->upper_bound(WriteSet::Key(position_.key));
      break;
  }
  own_placed_ = true;
}

const concord::WriteSet::KeyMap::value_type* CcScan::PeekOwn() const {
  if (keys_ == nullptr || own_ == (backward_ ? keys_->begin() : keys_->end())) return nullptr;
  return backward_ ? &*std::prev(own_) : &*own_;
}

CcStatus CcScan::Merge(CcVisible* visible) {
  // First the own side: its place may depend on a key in the view that the cursor lets go when it moves on.
  if (keys_ != nullptr && !own_placed_) PlaceOwn();
  for (;;) {
    if (!has_ahead_ && !base_ended_) {
      const CcStatus status = cursor_.Next(backward_, &ahead_);
      if (status != CC_OK && status != CC_END) return status;
      has_ahead_ = status == CC_OK;
      base_ended_ = status == CC_END;
    }
    const WriteSet::KeyMap::value_type* own = PeekOwn();
    if (own == nullptr && !has_ahead_) {
      StandAtEnd();
      return CC_END;
    }
    int order = own == nullptr ? 1 : -1;  // < 0: the own key comes first, 0: one key, > 0: the replica's comes first
    if (own != nullptr && has_ahead_) {
      order = own->first.body.compare({reinterpret_cast<const char*>(ahead_.key), ahead_.key_size});
      if (backward_) order = -order;
    }
    if (order > 0) return ReturnBase(ahead_, visible);

    StepOwn();
    const WriteSet::Version* version = own->second.Visible(curcid_);
    if (version == nullptr) {
      if (order == 0) return ReturnBase(ahead_, visible);
      continue;
    }
    if (order == 0) has_ahead_ = false;  // hidden
    if (!version->deleted()) return ReturnOwn(*own, *version, visible);
  }
}

CcStatus CcScan::ReturnBase(const CcEntry& entry, CcVisible* visible) {
  has_ahead_ = false;
  visible->entry = entry;
  visible->is_own = false;
  position_ = {Position::Kind::kAt, {reinterpret_cast<const char*>(entry.key), entry.key_size}};
  return CC_OK;
}

CcStatus CcScan::ReturnOwn(const WriteSet::KeyMap::value_type& key, const WriteSet::Version& version,
                           CcVisible* visible) {
  const std::string_view body = key.first.body;
  key_.assign(body);  // the version may be rolled back while the scan stands on it
  position_ = {Position::Kind::kAt, key_};
  visible->is_own = true;
  visible->entry = {reinterpret_cast<const uint8_t*>(body.data()),
                    body.size(),
                    reinterpret_cast<const uint8_t*>(version.value),
                    version.size,
                    concord::kNoLsn,
                    nullptr};
  concord::bridge::FillOwn(key.second, version, &visible->own);
  return CC_OK;
}

namespace concord::bridge {

void CloseAllScans() { Registered<CcScan>::DeleteAll(); }

extern "C" CcStatus cc_scan_open(uint64_t prefix, uint64_t lsn, uint32_t curcid, CcScan** scan) {
  return Guard([&] {
    *scan = new CcScan(prefix, lsn, curcid);
    return CC_OK;
  });
}

extern "C" CcStatus cc_scan_seek(CcScan* scan, const void* key, size_t key_size, bool backward, bool prefix_match) {
  return Guard([&] {
    scan->Seek({static_cast<const char*>(key), key_size}, backward, prefix_match);
    return CC_OK;
  });
}

extern "C" CcStatus cc_scan_next(CcScan* scan, bool backward, CcVisible* visible) {
  return Guard([&] { return scan->Next(backward, visible); });
}

extern "C" void cc_scan_close(CcScan* scan) { delete scan; }

extern "C" CcStatus cc_visible_get(uint64_t prefix, const void* body, size_t body_size, uint64_t lsn, uint32_t curcid,
                                   CcVisible* visible) {
  return Guard([&] {
    const WriteSet& writes = OwnWrites();
    visible->is_own = false;
    if (const WriteSet::Chain* chain = writes.Find(prefix, {static_cast<const char*>(body), body_size})) {
      if (const WriteSet::Version* version = chain->Visible(curcid)) {
        if (version->deleted()) return CC_END;
        visible->is_own = true;
        visible->entry = {static_cast<const uint8_t*>(body),
                          body_size,
                          reinterpret_cast<const uint8_t*>(version->value),
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
        cc_replica_get(lsn, key, kPrefixSize + body_size, &value, &entry.value_size, &entry.lsn, &entry.view);
    if (status != CC_OK) return status;
    entry.key = static_cast<const uint8_t*>(body);
    entry.key_size = body_size;
    entry.value = static_cast<const uint8_t*>(value);
    return CC_OK;
  });
}

}  // namespace concord::bridge
