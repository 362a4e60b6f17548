#include "bridge/encode.h"

#include <cstring>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>

#include "bridge/channel.h"
#include "bridge/error.h"
#include "core/hash.h"
#include "core/key.h"
#include "core/parts.h"
#include "core/wire.h"

namespace concord::bridge {
namespace {

static_assert(CC_CHUNKS_UNDER_WAY == kChunksUnderWay);

// Kept between chunks: a bulk load fills one while the others are on their way.
std::string chunks[kChunksUnderWay + 1];
size_t under_construction = 0;

std::string& Chunk() { return chunks[under_construction]; }

// A value on its way in parts.
struct LargePut {
  Token token;
  Lsn read_lsn;
  PartWriter writer;
  bool complete = false;
  uint32_t chunks = 0;
  std::string made[kChunksUnderWay + 1] = {};  // in turn
};
std::optional<LargePut> large_put;

std::string_view View(const void* data, size_t size) { return {static_cast<const char*>(data), size}; }

Token MakeToken(const uint8_t bytes[16]) {
  Token token;
  std::memcpy(token.data(), bytes, token.size());
  return token;
}

}  // namespace

extern "C" {

CcStatus cc_encode_counter_and(const uint8_t token[16], uint64_t read_lsn, const void* key, size_t key_size,
                               uint64_t value, const void* key2, size_t key2_size, const void* value2,
                               size_t value2_size, void* out, size_t capacity, size_t* size) {
  return Guard([&] {
    std::string checks;
    AppendCheck(&checks, {KeyHash(View(key, key_size)), read_lsn, LockMode::kUpdate});
    std::string bytes;
    AppendLe(&bytes, value);
    std::string mutations;
    AppendMutation(&mutations, MutationOp::kPut, View(key, key_size), bytes);
    const bool two = key2 != nullptr;
    if (two) AppendMutation(&mutations, MutationOp::kPut, View(key2, key2_size), View(value2, value2_size));
    const std::string encoded = EncodeWriteSet(MakeToken(token), read_lsn, 0, 1, checks, two ? 2 : 1, mutations);
    if (encoded.size() > capacity) return Fail(CC_TOO_LARGE, "counter of %zu bytes", key_size);
    std::memcpy(out, encoded.data(), encoded.size());
    *size = encoded.size();
    return CC_OK;
  });
}

CcStatus cc_encode_counter(const uint8_t token[16], uint64_t read_lsn, const void* key, size_t key_size, uint64_t value,
                           void* out, size_t capacity, size_t* size) {
  return cc_encode_counter_and(token, read_lsn, key, key_size, value, nullptr, 0, nullptr, 0, out, capacity, size);
}

size_t cc_drops_size(size_t count) {
  std::string one;
  AppendStorageDrop(&one, 0);
  return kWriteSetHeaderSize + count * one.size();
}

CcStatus cc_encode_drops(const uint8_t token[16], uint64_t read_lsn, const uint32_t* storage_ids, size_t count,
                         void* out, size_t* size) {
  return Guard([&] {
    std::string mutations;
    uint32_t mutation_count = 0;
    for (size_t i = 0; i < count; i++) mutation_count += AppendStorageDrop(&mutations, storage_ids[i]);
    const std::string encoded = EncodeWriteSet(MakeToken(token), read_lsn, 0, 0, {}, mutation_count, mutations);
    std::memcpy(out, encoded.data(), encoded.size());
    *size = encoded.size();
    return CC_OK;
  });
}

CcStatus cc_chunk_begin(const uint8_t token[16], uint32_t sequence) {
  return Guard([&] {
    Chunk().reserve(kMaxChunkBytes);
    Chunk().assign(EncodeChunk(MakeToken(token), sequence, kChunkImmediate, {}));
    return CC_OK;
  });
}

CcStatus cc_chunk_add(uint64_t prefix, const void* body, size_t body_size, const void* value, size_t value_size,
                      uint64_t explicit_lsn) {
  return Guard([&] {
    if (body_size > kMaxKey - kPrefixSize || value_size > kMaxValueBytes)
      return Fail(CC_TOO_LARGE, "row or index entry with a key of %zu and a value of %zu bytes", body_size, value_size);
    char key[kMaxKey];
    StoreBe64(key, prefix);
    if (body_size > 0) std::memcpy(key + kPrefixSize, body, body_size);
    Chunk().reserve(Chunk().size() + cc_chunk_mutation_size(body_size, value_size));
    AppendMutation(&Chunk(), value != nullptr ? MutationOp::kPut : MutationOp::kDelete,
                   View(key, kPrefixSize + body_size), value != nullptr ? View(value, value_size) : std::string_view{},
                   explicit_lsn);
    return CC_OK;
  });
}

size_t cc_chunk_size(void) { return Chunk().size() > kChunkHeaderSize ? Chunk().size() : 0; }

size_t cc_chunk_mutation_size(size_t body_size, size_t value_size) {
  return kMutationHeaderSize + sizeof(Lsn) + kPrefixSize + body_size + value_size;
}

const void* cc_chunk_data(void) { return Chunk().data(); }

void cc_chunk_detach(void) {
  under_construction = (under_construction + 1) % std::size(chunks);
  cc_chunk_reset();
}

void cc_chunk_reset(void) {
  // One huge row must not keep its memory for the life of the backend.
  if (Chunk().capacity() > 2 * kMaxChunkBytes) std::string().swap(Chunk());
  Chunk().clear();
}

bool cc_chunk_holds(size_t body_size, size_t value_size) { return ChunkHolds(kPrefixSize + body_size, value_size); }

CcStatus cc_parts_begin(const uint8_t token[16], uint64_t read_lsn, uint64_t prefix, const void* body, size_t body_size,
                        const void* value, size_t value_size, uint64_t explicit_lsn) {
  return Guard([&] {
    if (body_size > kMaxKey - kPrefixSize || value_size > kMaxValueBytes)
      return Fail(CC_TOO_LARGE, "row or index entry with a key of %zu and a value of %zu bytes", body_size, value_size);
    std::string key;
    AppendBe64(&key, prefix);
    key.append(View(body, body_size));
    large_put.emplace(
        LargePut{MakeToken(token), read_lsn, PartWriter(std::move(key), View(value, value_size), explicit_lsn)});
    return CC_OK;
  });
}

CcStatus cc_parts_next(const void** part, size_t* size, bool* is_write_set) {
  return Guard([&] {
    LargePut& put = *large_put;
    std::string& made = put.made[put.chunks % std::size(put.made)];
    *is_write_set = put.complete;
    if (put.complete) {
      made = EncodeWriteSet(put.token, put.read_lsn, put.chunks, 0, {}, 0, {});
    } else {
      made = EncodeChunk(put.token, put.chunks++, 0, {});
      put.complete = put.writer.AppendTo(&made);
      if (!put.complete) SetChunkFlag(&made, kChunkUnfinished);
    }
    *part = made.data();
    *size = made.size();
    return CC_OK;
  });
}

void cc_parts_end(void) { large_put.reset(); }

}  // extern "C"

}  // namespace concord::bridge
