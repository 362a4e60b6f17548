// The C face of core/write_set.h. Scans are in scan.cpp.
#include "bridge/write_set.h"

#include <cstring>
#include <iterator>
#include <optional>
#include <string>

#include "bridge/error.h"
#include "bridge/own.h"
#include "bridge/reads.h"
#include "core/write_set_copy.h"

namespace concord::bridge {

namespace {

std::optional<WriteSetEncoder> encoder;
std::string write_set_copy;
// A savepoint could not be noted for want of memory: what follows could not be rolled back, so nothing may be
// committed.
bool broken = false;

CcStatus Broken() { return Fail(CC_NO_MEMORY, "out of memory at a savepoint of this transaction"); }

Token MakeToken(const uint8_t token[16]) {
  Token bytes;
  memcpy(bytes.data(), token, bytes.size());
  return bytes;
}

std::string_view Bytes(const void* data, size_t size) { return {static_cast<const char*>(data), size}; }

static_assert(CC_ALL_COMMANDS == WriteSet::kAllCommands);
static_assert(CC_KEY_SHARE == static_cast<int>(LockMode::kKeyShare) && CC_SHARE == static_cast<int>(LockMode::kShare) &&
              CC_NO_KEY_UPDATE == static_cast<int>(LockMode::kNoKeyUpdate) &&
              CC_UPDATE == static_cast<int>(LockMode::kUpdate) && CC_ABSENT == static_cast<int>(LockMode::kAbsent));

}  // namespace

WriteSet& OwnWrites() {
  static WriteSet& writes = *new WriteSet;
  return writes;
}

void FillOwn(const WriteSet::Chain& chain, const WriteSet::Version& version, CcOwn* own) {
  own->value = reinterpret_cast<const uint8_t*>(version.value());
  own->value_size = version.size;
  own->deleted = version.deleted();
  own->base_absent = chain.base_absent;
  own->newest = version.newer == nullptr;
  own->cid = version.cid;
  own->next_cid = version.newer == nullptr ? CC_ALL_COMMANDS : version.newer->cid;
  own->alias = version.alias;
}

extern "C" CcStatus cc_ws_put(uint64_t prefix, const void* body, size_t body_size, const void* value, size_t value_size,
                              uint32_t cid, bool base_absent, bool want_alias, uint64_t* alias) {
  return Guard([&] {
    if (broken) return Broken();
    return FromStatus(OwnWrites().Put(prefix, Bytes(body, body_size), Bytes(value, value_size), cid, base_absent,
                                      want_alias ? alias : nullptr));
  });
}

extern "C" CcStatus cc_ws_put_space(uint64_t prefix, const void* body, size_t body_size, size_t value_size,
                                    uint32_t cid, bool base_absent, bool want_alias, uint64_t* alias, void** room) {
  return Guard([&] {
    if (broken) return Broken();
    char* at;
    const CcStatus status = FromStatus(OwnWrites().PutSpace(prefix, Bytes(body, body_size), value_size, cid,
                                                            base_absent, want_alias ? alias : nullptr, &at));
    if (status == CC_OK) *room = at;
    return status;
  });
}

extern "C" CcStatus cc_ws_put_absent(uint64_t prefix, const void* body, size_t body_size, const void* value,
                                     size_t value_size, uint32_t cid, uint64_t observed_lsn) {
  return Guard([&] {
    if (broken) return Broken();
    return FromStatus(
        OwnWrites().PutAbsent(prefix, Bytes(body, body_size), Bytes(value, value_size), cid, observed_lsn));
  });
}

extern "C" CcStatus cc_ws_delete(uint64_t prefix, const void* body, size_t body_size, uint32_t cid) {
  return Guard([&] { return FromStatus(OwnWrites().Delete(prefix, Bytes(body, body_size), cid)); });
}

extern "C" CcStatus cc_ws_check(uint64_t prefix, const void* body, size_t body_size, CcLockMode mode,
                                uint64_t observed_lsn) {
  return Guard([&] {
    return FromStatus(OwnWrites().AddCheck(prefix, Bytes(body, body_size), static_cast<LockMode>(mode), observed_lsn));
  });
}

extern "C" bool cc_ws_checked(uint64_t key_hash, uint64_t* prefix, CcLockMode* mode) {
  const WriteSet::OwnCheck* check = OwnWrites().CheckOf(key_hash);
  if (check == nullptr) return false;
  *prefix = Prefix(check->space, check->storage);
  *mode = static_cast<CcLockMode>(check->mode);
  return true;
}

extern "C" void cc_ws_set_head(uint64_t prefix, const void* body, size_t body_size, uint32_t cid, const void* head,
                               size_t head_size) {
  OwnWrites().SetHead(prefix, Bytes(body, body_size), cid, Bytes(head, head_size));
}

extern "C" bool cc_ws_lookup(uint64_t prefix, const void* body, size_t body_size, uint32_t curcid, CcOwn* own) {
  const WriteSet::Chain* chain = OwnWrites().Find(prefix, Bytes(body, body_size));
  if (chain == nullptr) return false;
  const WriteSet::Version* version = chain->Visible(curcid);
  if (version == nullptr) return false;
  FillOwn(*chain, *version, own);
  return true;
}

extern "C" bool cc_ws_oldest(uint64_t prefix, const void* body, size_t body_size, CcOwn* own) {
  const WriteSet::Chain* chain = OwnWrites().Find(prefix, Bytes(body, body_size));
  if (chain == nullptr) return false;
  FillOwn(*chain, *chain->oldest, own);
  return true;
}

extern "C" bool cc_ws_alias(uint64_t alias, uint64_t* prefix, uint64_t* rowid, CcOwn* own) {
  const WriteSet::Chain* chain;
  const WriteSet::Version* version;
  if (!OwnWrites().FindAlias(alias, prefix, rowid, &chain, &version)) return false;
  FillOwn(*chain, *version, own);
  return true;
}

extern "C" bool cc_ws_empty(void) { return OwnWrites().empty(); }
extern "C" bool cc_ws_has_writes(void) { return OwnWrites().has_writes(); }
extern "C" const uint64_t* cc_ws_changes(void) { return &OwnWrites().changes(); }

extern "C" bool cc_ws_touches(uint64_t prefix) { return OwnWrites().Keys(prefix) != nullptr; }
extern "C" void cc_ws_added(uint64_t prefix, uint64_t* keys, uint64_t* bytes) {
  const WriteSet::Added added = OwnWrites().EstimateAdded(prefix);
  *keys = added.keys;
  *bytes = added.bytes;
}
extern "C" size_t cc_ws_bytes(void) { return OwnWrites().bytes(); }
extern "C" void cc_ws_set_limit(size_t bytes) { OwnWrites().set_limit(bytes); }

extern "C" void cc_ws_sub_begin(uint32_t subid) {
  const CcStatus status = Guard([&] {
    OwnWrites().SubBegin(subid);
    return CC_OK;
  });
  if (status != CC_OK) broken = true;
}

extern "C" void cc_ws_sub_commit(uint32_t subid) { OwnWrites().SubCommit(subid); }
extern "C" void cc_ws_sub_abort(uint32_t subid) { OwnWrites().SubAbort(subid); }

extern "C" void cc_ws_reset(void) {
  encoder.reset();
  broken = false;
  OwnWrites().Reset();
}

extern "C" void cc_ws_forget(uint64_t prefix) {
  const CcStatus status = Guard([&] {
    OwnWrites().Forget(prefix);
    return CC_OK;
  });
  if (status != CC_OK) broken = true;
}

extern "C" CcStatus cc_ws_copy_make(const void** copy, size_t* size) {
  return Guard([&] {
    write_set_copy = WriteSetCopy::Make(OwnWrites());
    *copy = write_set_copy.data();
    *size = write_set_copy.size();
    return CC_OK;
  });
}

extern "C" void cc_ws_copy_free(void) { write_set_copy = {}; }

extern "C" CcStatus cc_ws_copy_take(const void* copy, size_t size) {
  return Guard([&] { return FromStatus(WriteSetCopy::Take(Bytes(copy, size), &OwnWrites())); });
}

extern "C" size_t cc_ws_unsent_bytes(void) { return OwnWrites().unsent_bytes(); }

extern "C" CcStatus cc_ws_encode_ahead(const uint8_t token[16], uint32_t sequence, const void** chunk, size_t* size) {
  return Guard([&] {
    static std::string chunks[kChunksUnderWay + 1];
    std::string& made = chunks[sequence % std::size(chunks)];
    if (made.capacity() > 2 * kMaxChunkBytes) made = {};  // one huge row must not keep its memory
    OwnWrites().EncodeAhead(MakeToken(token), sequence, &made);
    *chunk = made.data();
    *size = made.size();
    return CC_OK;
  });
}

extern "C" void cc_ws_forget_sent(void) { OwnWrites().ForgetSent(); }

extern "C" CcStatus cc_ws_encode_begin(const uint8_t token[16], uint64_t read_lsn, uint32_t chunks_ahead,
                                       uint64_t reads_lsn) {
  return Guard([&] {
    const std::string_view reads = reads_lsn == kNoLsn ? std::string_view() : EncodedReads(reads_lsn);
    encoder.emplace(&OwnWrites(), MakeToken(token), read_lsn, chunks_ahead, reads);
    return CC_OK;
  });
}

extern "C" CcStatus cc_ws_encode_next(const void** part, size_t* size, bool* is_write_set) {
  return Guard([&] {
    if (broken) return Broken();
    if (!encoder) return CC_END;
    std::string_view bytes;
    const CcStatus status = FromStatus(encoder->Next(&bytes, is_write_set));
    if (status != CC_OK) {
      encoder.reset();
      return status;
    }
    *part = bytes.data();
    *size = bytes.size();
    return CC_OK;
  });
}

}  // namespace concord::bridge
