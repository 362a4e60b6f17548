#include "core/write_set.h"

#include <algorithm>
#include <cassert>
#include <iterator>

#include "core/hash.h"

namespace concord {

namespace {

// What the containers take beside their elements, by and large; for the limit.
constexpr size_t kKeyOverhead = 2 * sizeof(WriteSet::KeyedChain);
constexpr size_t kCheckOverhead = 24;

// Makes room for one more element, so that the push that follows cannot fail.
template <typename Vector>
void ReserveOne(Vector* vector) {
  if (vector->size() == vector->capacity()) vector->reserve(std::max<size_t>(16, vector->size() * 2));
}

uint64_t HashOf(uint64_t prefix, std::string_view body) {
  char key[kMaxKey];
  StoreBe64(key, prefix);
  memcpy(key + kPrefixSize, body.data(), body.size());
  return KeyHash({key, kPrefixSize + body.size()});
}

// The key was not there before, and will not be: storage needs to hear nothing of it, unless it was told already.
bool IsNothing(const WriteSet::Chain& chain) {
  if (!chain.newest->deleted() || !chain.base_absent) return false;
  for (const WriteSet::Version* version = chain.newest; version != nullptr; version = version->older) {
    if (version->sent) return false;
  }
  return true;
}

}  // namespace

WriteSet::Key::Key(std::string_view key_body) : body(key_body) {
  if (body.size() >= 8) {
    head = LoadBe64(body.data());
  } else {
    char padded[8] = {};
    memcpy(padded, body.data(), body.size());
    head = LoadBe64(padded);
  }
}

WriteSet::Storage* WriteSet::FindStorage(uint64_t prefix) const {
  if (last_storage_ != nullptr && last_storage_->prefix == prefix) return last_storage_;
  const auto found = storages_.find(prefix);
  if (found == storages_.end()) return nullptr;
  return last_storage_ = const_cast<Storage*>(&found->second);
}

WriteSet::Storage* WriteSet::MakeStorage(uint64_t prefix) {
  return &storages_
              .emplace(std::piecewise_construct, std::forward_as_tuple(prefix), std::forward_as_tuple(prefix, &nodes_))
              .first->second;
}

const WriteSet::OwnCheck* WriteSet::CheckOf(uint64_t key_hash) const {
  const OwnCheck* strongest = nullptr;
  for (const OwnCheck& check : checks_) {
    if (check.key_hash == key_hash && (strongest == nullptr || check.mode > strongest->mode)) strongest = &check;
  }
  return strongest;
}

size_t WriteSet::bytes() const {
  return arena_.used() + key_count_ * kKeyOverhead + checks_.size() * (sizeof(OwnCheck) + kCheckOverhead) +
         aliases_.size() * sizeof(Alias) + undo_.size() * sizeof(Undo) + unsent_keys_ * sizeof(KeyedChain);
}

Status WriteSet::CheckLimit(size_t more) const {
  const size_t used = bytes();
  if (used <= limit_ && more <= limit_ - used) return Status::Ok();
  return {Code::kTooLarge,
          "the transaction's write set would grow over its limit of " + std::to_string(limit_) + " bytes"};
}

Status WriteSet::Put(uint64_t prefix, std::string_view body, std::string_view value, uint32_t cid, bool base_absent,
                     uint64_t* alias) {
  char* room;
  Status status = PutSpace(prefix, body, value.size(), cid, base_absent, alias, &room);
  if (status.ok()) memcpy(room, value.data(), value.size());
  return status;
}

Status WriteSet::PutSpace(uint64_t prefix, std::string_view body, size_t value_size, uint32_t cid, bool base_absent,
                          uint64_t* alias, char** room) {
  // An empty value is how storage writes a tombstone.
  if (value_size == 0) return {Code::kInvalid, "empty value put into the write set"};
  return Add(prefix, body, value_size, room, cid, base_absent, alias);
}

Status WriteSet::PutAbsent(uint64_t prefix, std::string_view body, std::string_view value, uint32_t cid, Lsn observed) {
  if (value.empty()) return {Code::kInvalid, "empty value put into the write set"};
  char* room;
  Status status = Add(prefix, body, value.size(), &room, cid, true, nullptr, &observed);
  if (status.ok()) memcpy(room, value.data(), value.size());
  return status;
}

Status WriteSet::Delete(uint64_t prefix, std::string_view body, uint32_t cid) {
  return Add(prefix, body, 0, nullptr, cid, false, nullptr);
}

Status WriteSet::Add(uint64_t prefix, std::string_view body, size_t value_size, char** room, uint32_t cid,
                     bool base_absent, uint64_t* alias, const Lsn* observed) {
  if (kPrefixSize + body.size() > kMaxKey) return {Code::kTooLarge, "key longer than storage can hold"};
  if (value_size > kMaxValueBytes) return {Code::kTooLarge, "row or index entry larger than storage can hold"};
  const size_t more = sizeof(Version) + value_size + sizeof(Chain) + body.size() + kKeyOverhead;
  if (Status status = CheckLimit(more); !status.ok()) return status;

  // Everything that can fail for want of memory comes before anything that would have to be taken back.
  if (!subs_.empty()) ReserveOne(&undo_);
  Storage* storage = FindStorage(prefix);
  if (storage == nullptr) storage = MakeStorage(prefix);
  if (subs_.empty()) ReserveOne(&storage->unsent);
  nodes_.Reserve();
  if (alias != nullptr) {
    aliases_.push_back({});  // names nothing yet
    *alias = aliases_.size();
  }
  auto* version = new (arena_.Allocate(sizeof(Version) + value_size)) Version{};
  version->cid = cid;
  version->size = static_cast<uint32_t>(value_size);
  if (room != nullptr) *room = reinterpret_cast<char*>(version + 1);

  // Bulk loads come with growing rowids: their place is the end.
  KeySet& keys = storage->keys;
  const Key sought(body);
  const InKeyOrder in_order;
  const bool at_end = !keys.empty() && in_order(*keys.rbegin(), sought);
  const auto found = at_end ? keys.end() : keys.lower_bound(sought);
  const bool first = found == keys.end() || in_order(sought, *found);
  if (observed != nullptr) {
    const uint64_t hash = HashOf(prefix, body);
    Status status = first ? AppendCheck(prefix, hash, LockMode::kAbsent, *observed, false)
                          : MergeCheck(prefix, hash, LockMode::kAbsent, *observed);
    if (!status.ok()) return status;
    if (!subs_.empty()) ReserveOne(&undo_);
  }
  Chain* chain;
  if (first) {
    chain = new (arena_.Allocate(sizeof(Chain) + body.size())) Chain{version, version, 0, 0};
    chain->body_size = static_cast<uint32_t>(body.size());
    chain->base_absent = base_absent;
    memcpy(chain + 1, body.data(), body.size());
    keys.insert(found, {sought.head, chain});
    key_count_++;
    changes_++;
  } else {
    chain = found->chain;
    assert(chain->newest->cid <= cid);
    version->older = chain->newest;
    chain->newest->newer = version;
    chain->newest = version;
  }
  if (alias != nullptr) {
    aliases_.back() = {storage, chain, version};
    version->alias = *alias;
  }
  if (!subs_.empty()) {
    undo_.emplace_back(VersionUndo{storage, chain});
    untracked_ = true;
  } else {
    storage->unsent.push_back({sought.head, chain});
    unsent_keys_++;
    unsent_bytes_ += kMutationHeaderSize + kPrefixSize + body.size() + value_size;
  }
  return Status::Ok();
}

Status WriteSet::AddCheck(uint64_t prefix, std::string_view body, LockMode mode, Lsn observed) {
  if (kPrefixSize + body.size() > kMaxKey) return {Code::kTooLarge, "key longer than storage can hold"};
  return MergeCheck(prefix, HashOf(prefix, body), mode, observed);
}

Status WriteSet::MergeCheck(uint64_t prefix, uint64_t hash, LockMode mode, Lsn observed) {
  // A stronger mode conflicts with all that a weaker one does. So of two checks one says what the other says, or the
  // stronger one was observed later, and both are needed.
  uint32_t said_less = FlatIndex::kNone;
  const uint32_t says_it = check_index_.Find(hash, [&](uint32_t at) {
    const OwnCheck& check = checks_[at];
    if (check.key_hash != hash) return false;
    if (check.mode >= mode && check.observed <= observed) return true;
    const bool says_less = check.mode <= mode && check.observed >= observed;
    if (says_less && (said_less == FlatIndex::kNone || check.mode == mode)) said_less = at;
    return false;
  });
  if (says_it != FlatIndex::kNone) return Status::Ok();
  if (said_less == FlatIndex::kNone) return AppendCheck(prefix, hash, mode, observed, true);
  OwnCheck& check = checks_[said_less];
  if (!subs_.empty()) {
    ReserveOne(&undo_);
    undo_.emplace_back(CheckUndo{said_less, check, false});
  }
  check.mode = mode;
  check.observed = observed;
  return Status::Ok();
}

Status WriteSet::AppendCheck(uint64_t prefix, uint64_t hash, LockMode mode, Lsn observed, bool indexed) {
  if (Status status = CheckLimit(sizeof(OwnCheck) + kCheckOverhead); !status.ok()) return status;
  if (!subs_.empty()) ReserveOne(&undo_);
  checks_.push_back({hash, observed, mode, static_cast<Space>(prefix >> 56), false, static_cast<StorageId>(prefix)});
  if (indexed) check_index_.Insert(static_cast<uint32_t>(checks_.size() - 1), hash);
  checks_.back().indexed = indexed;
  if (!subs_.empty()) undo_.emplace_back(CheckUndo{checks_.size() - 1, {}, true});
  return Status::Ok();
}

void WriteSet::SetHead(uint64_t prefix, std::string_view body, uint32_t cid, std::string_view head) {
  const Chain* chain = Find(prefix, body);
  const Version* version = chain != nullptr ? chain->newest : nullptr;
  while (version != nullptr && version->cid != cid) version = version->older;
  if (version == nullptr || version->sent || version->size < head.size()) return;
  memcpy(const_cast<char*>(version->value()), head.data(), head.size());  // the arena's, and so ours
}

void WriteSet::Name(uint64_t prefix, std::string_view body, uint64_t alias) {
  Storage* storage = FindStorage(prefix);
  const Chain* chain = storage->keys.find(Key(body))->chain;
  if (aliases_.size() < alias) aliases_.resize(alias, Alias{});
  aliases_[alias - 1] = {storage, chain, chain->newest};
  chain->newest->alias = alias;
}

const WriteSet::Chain* WriteSet::Find(uint64_t prefix, std::string_view body) const {
  if (key_count_ == 0) return nullptr;
  const Storage* storage = FindStorage(prefix);
  if (storage == nullptr || storage->keys.empty()) return nullptr;
  const Key sought(body);
  if (InKeyOrder()(*storage->keys.rbegin(), sought)) return nullptr;  // as for each new key of a load
  const auto key = storage->keys.find(sought);
  return key == storage->keys.end() ? nullptr : key->chain;
}

bool WriteSet::FindAlias(uint64_t alias, uint64_t* prefix, uint64_t* rowid, const Chain** chain,
                         const Version** version) const {
  if (alias == 0 || alias > aliases_.size()) return false;
  const Alias& named = aliases_[alias - 1];
  if (named.version == nullptr) return false;
  *prefix = named.storage->prefix;
  *rowid = LoadBe64(named.chain->body().data());
  *chain = named.chain;
  *version = named.version;
  return true;
}

const WriteSet::KeySet* WriteSet::Keys(uint64_t prefix) const {
  if (key_count_ == 0) return nullptr;
  const Storage* storage = FindStorage(prefix);
  return storage == nullptr || storage->keys.empty() ? nullptr : &storage->keys;
}

WriteSet::Added WriteSet::EstimateAdded(uint64_t prefix) const {
  constexpr uint64_t kSample = 32;
  const KeySet* keys = Keys(prefix);
  if (keys == nullptr) return {};
  Added found;
  uint64_t looked_at = 0;
  const auto look_at = [&](const Chain& chain) {
    looked_at++;
    if (!chain.base_absent || chain.newest->deleted()) return;
    found.keys++;
    found.bytes += kPrefixSize + chain.body_size + chain.newest->size;
  };
  auto from_begin = keys->begin();
  auto from_end = keys->rbegin();
  for (uint64_t i = 0; i < kSample && looked_at < keys->size(); i++) look_at(*(from_begin++)->chain);
  for (uint64_t i = 0; i < kSample && looked_at < keys->size(); i++) look_at(*(from_end++)->chain);
  const double scale = static_cast<double>(keys->size()) / static_cast<double>(looked_at);
  return {static_cast<uint64_t>(static_cast<double>(found.keys) * scale),
          static_cast<uint64_t>(static_cast<double>(found.bytes) * scale)};
}

void WriteSet::SubBegin(uint32_t subid) {
  assert(subs_.empty() || subs_.back().id < subid);
  subs_.push_back({subid, undo_.size(), arena_.mark()});
}

void WriteSet::SubCommit(uint32_t subid) {
  while (!subs_.empty() && subs_.back().id >= subid) subs_.pop_back();
  if (subs_.empty()) undo_.clear();
}

void WriteSet::SubAbort(uint32_t subid) {
  // Ids of nested subtransactions grow: what is open with a higher id is a child.
  const auto first = std::find_if(subs_.begin(), subs_.end(), [&](const auto& sub) { return sub.id >= subid; });
  if (first == subs_.end()) return;
  while (undo_.size() > first->undo_size) {
    Undo& undo = undo_.back();
    if (const auto* version = std::get_if<VersionUndo>(&undo)) {
      UndoVersion(*version);
    } else if (const auto* check = std::get_if<CheckUndo>(&undo)) {
      UndoCheck(*check);
    } else {
      UndoForget(&std::get<ForgetUndo>(undo));
    }
    undo_.pop_back();
  }
  arena_.Release(first->arena);
  subs_.erase(first, subs_.end());
}

void WriteSet::UndoVersion(const VersionUndo& undo) {
  Chain& chain = *undo.chain;
  Version* undone = chain.newest;
  if (undone->alias != 0) aliases_[undone->alias - 1].version = nullptr;
  if (undone->older != nullptr) {
    chain.newest = undone->older;
    chain.newest->newer = nullptr;
    return;
  }
  undo.storage->keys.erase(Key(chain.body()));
  key_count_--;
  changes_++;
}

void WriteSet::UndoCheck(const CheckUndo& undo) {
  if (undo.added) {
    const OwnCheck& added = checks_[undo.index];
    if (added.indexed) check_index_.Erase(static_cast<uint32_t>(undo.index), added.key_hash);
    checks_.pop_back();
  } else {
    checks_[undo.index] = undo.before;
  }
}

void WriteSet::UndoForget(ForgetUndo* undo) {
  undo->storage->keys.swap(undo->keys);
  untracked_ = true;
  key_count_ += undo->storage->keys.size();
  changes_++;
  for (const auto& [head, chain] : undo->storage->keys) {
    for (Version* version = chain->newest; version != nullptr; version = version->older) {
      if (version->alias != 0) aliases_[version->alias - 1].version = version;
    }
  }
}

void WriteSet::Forget(uint64_t prefix) {
  Storage* storage = FindStorage(prefix);
  if (storage == nullptr || storage->keys.empty()) return;
  if (!subs_.empty()) ReserveOne(&undo_);
  for (const auto& [head, chain] : storage->keys) {
    for (const Version* version = chain->newest; version != nullptr; version = version->older) {
      if (version->alias != 0) aliases_[version->alias - 1].version = nullptr;
    }
  }
  unsent_keys_ -= storage->unsent.size();
  storage->unsent.clear();
  key_count_ -= storage->keys.size();
  changes_++;
  if (!subs_.empty()) undo_.emplace_back(ForgetUndo{storage, std::move(storage->keys)});  // a rollback gives them back
  storage->keys.clear();
}

void WriteSet::EncodeAhead(const Token& token, uint32_t sequence, std::string* chunk) {
  assert(subs_.empty());
  chunk->clear();
  AppendChunkHeader(chunk, token, sequence, 0);
  chunk->reserve(std::min(kChunkHeaderSize + unsent_bytes_, kMaxChunkBytes));
  bool full = !EncodeHalfSent(chunk);
  for (auto& [prefix, storage] : storages_) {
    if (full) break;
    full = !EncodeUnsent(&storage, chunk);
  }
  if (half_sent_) SetChunkFlag(chunk, kChunkUnfinished);
  // Of what is left, or was replaced before it was sent, the size is not known exactly: it only says when to come
  // again.
  const bool all = unsent_keys_ == 0 && !half_sent_;
  unsent_bytes_ = all ? 0 : std::max<size_t>(1, unsent_bytes_ - std::min(unsent_bytes_, chunk->size()));
}

// False if there was no room for all.
bool WriteSet::EncodeHalfSent(std::string* chunk) {
  if (half_sent_ && !half_sent_->AppendTo(chunk)) return false;
  half_sent_.reset();
  return true;
}

// False if there was no room for all.
bool WriteSet::EncodeUnsent(Storage* storage, std::string* chunk) {
  auto& unsent = storage->unsent;
  if (!std::is_sorted(unsent.begin(), unsent.end(), InKeyOrder()))
    std::sort(unsent.begin(), unsent.end(), InKeyOrder());
  std::string key;
  AppendBe64(&key, storage->prefix);
  size_t done = 0;
  for (; done < unsent.size(); done++) {
    const Chain& chain = *unsent[done].chain;
    Version* newest = chain.newest;
    if (newest->sent || IsNothing(chain)) continue;
    const size_t size = kMutationHeaderSize + kPrefixSize + chain.body_size + newest->size;
    key.resize(kPrefixSize);
    key.append(chain.body());
    if (chunk->size() + size > kMaxChunkBytes) {
      if (ChunkHolds(key.size(), newest->size)) break;
      half_sent_.emplace(key, newest->bytes());
      (void)half_sent_->AppendTo(chunk);
      if (!half_sent_->begun()) {
        half_sent_.reset();
        break;
      }
      newest->sent = 1;
      done++;
      break;
    }
    AppendMutation(chunk, newest->deleted() ? MutationOp::kDelete : MutationOp::kPut, key, newest->bytes());
    newest->sent = 1;
  }
  const bool all = done == unsent.size() && !half_sent_;
  unsent.erase(unsent.begin(), unsent.begin() + static_cast<ptrdiff_t>(done));
  unsent_keys_ -= done;
  return all;
}

void WriteSet::ForgetSent() {
  half_sent_.reset();
  for (const auto& [prefix, storage] : storages_) {
    for (const auto& [head, chain] : storage.keys) {
      for (Version* version = chain->newest; version != nullptr; version = version->older) version->sent = 0;
    }
  }
  untracked_ = true;
}

void WriteSet::Reset() {
  half_sent_.reset();
  unsent_keys_ = unsent_bytes_ = 0;
  untracked_ = false;
  undo_.clear();
  subs_.clear();
  last_storage_ = nullptr;
  storages_.clear();
  if (!checks_.empty()) check_index_.Clear();
  checks_.clear();
  aliases_.clear();
  arena_.Release({});
  nodes_.Reset();
  key_count_ = 0;
  changes_++;
}

WriteSetEncoder::WriteSetEncoder(const WriteSet* write_set, const Token& token, Lsn read_lsn, uint32_t chunks_ahead,
                                 std::string_view reads)
    : write_set_(write_set),
      token_(token),
      read_lsn_(read_lsn),
      reads_(reads),
      storage_(chunks_ahead > 0 && write_set->AllSent() ? write_set->storages_.end() : write_set->storages_.begin()),
      chunk_count_(chunks_ahead),
      value_(write_set->half_sent_) {}

// True if it is complete.
bool WriteSetEncoder::ContinueValue(std::string* chunk) {
  const size_t before = chunk->size();
  const bool complete = value_->AppendTo(chunk);
  if (chunk->size() > before) mutation_count_++;
  if (complete || !value_->begun())
    value_.reset();
  else
    SetChunkFlag(chunk, kChunkUnfinished);
  return complete;
}

bool WriteSetEncoder::Fill(std::string* chunk) {
  chunk->clear();
  AppendChunkHeader(chunk, token_, chunk_count_, 0);
  mutation_count_ = 0;
  if (value_ && !ContinueValue(chunk)) return true;
  std::string key;
  for (; storage_ != write_set_->storages_.end(); ++storage_, in_storage_ = false) {
    const WriteSet::KeySet& keys = storage_->second.keys;
    if (!in_storage_) key_ = keys.begin();
    in_storage_ = true;
    key.clear();
    AppendBe64(&key, storage_->first);
    for (; key_ != keys.end(); ++key_) {
      const WriteSet::Chain& chain = *key_->chain;
      const WriteSet::Version* newest = chain.newest;
      if (newest->sent || IsNothing(chain)) continue;
      const std::string_view body = chain.body();
      const size_t size = kMutationHeaderSize + kPrefixSize + body.size() + newest->size;
      key.resize(kPrefixSize);
      key.append(body);
      if (chunk->size() + size > kMaxChunkBytes) {
        if (ChunkHolds(key.size(), newest->size)) return true;
        value_.emplace(key, newest->bytes());
        if (ContinueValue(chunk)) continue;
        if (value_) ++key_;
        return true;
      }
      // Small transactions shall not pay for large ones.
      if (chunk->capacity() < chunk->size() + size && chunk->size() > kMaxChunkBytes / 8)
        chunk->reserve(kMaxChunkBytes);
      AppendMutation(chunk, newest->deleted() ? MutationOp::kDelete : MutationOp::kPut, key, newest->bytes());
      mutation_count_++;
    }
  }
  return false;
}

Status WriteSetEncoder::Next(std::string_view* part, bool* is_write_set) {
  if (done_) return {Code::kNotFound, "the write set is encoded"};
  std::string& chunk = parts_[chunk_count_ % std::size(parts_)];
  const bool more = Fill(&chunk);
  const std::string_view mutations = std::string_view(chunk).substr(kChunkHeaderSize);
  // A record is a type byte and the write set. Checks cannot be cut; mutations that do not fit beside them go ahead.
  const size_t head = 1 + kWriteSetHeaderSize + write_set_->checks().size() * kCheckSize;
  if (head > kMaxRecordBytes) return {Code::kTooLarge, "the transaction checks more keys than one commit can carry"};
  *is_write_set = !more && (mutation_count_ == 0 || head + mutations.size() <= kMaxRecordBytes);
  if (!*is_write_set) {
    chunk_count_++;
    *part = chunk;
    return Status::Ok();
  }
  write_set_part_.reserve(reads_.size() + head + mutations.size());
  write_set_part_.append(reads_);
  AppendWriteSetHeader(&write_set_part_, token_, read_lsn_, chunk_count_,
                       static_cast<uint32_t>(write_set_->checks().size()), mutation_count_);
  for (const WriteSet::OwnCheck& check : write_set_->checks()) AppendCheck(&write_set_part_, check.check());
  write_set_part_.append(mutations);
  done_ = true;
  *part = write_set_part_;
  return Status::Ok();
}

}  // namespace concord
