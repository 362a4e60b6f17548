/*
 * Encoding what a backend sends besides its write set: the advance of an id counter, and the chunks and large values of a bulk
 * load (core/wire.h tells the bytes). Same wall rules as replica.h; one chunk and one value under construction per backend.
 */
#ifndef CONCORD_BRIDGE_ENCODE_H
#define CONCORD_BRIDGE_ENCODE_H

#include "bridge/replica.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A write set that sets the counter `key` (prefix and body) to `value` (u64le) if nobody has written it since `read_lsn`.
 * CC_TOO_LARGE if it does not fit into `capacity` bytes.
 */
CcStatus	cc_encode_counter(const uint8_t token[16], uint64_t read_lsn, const void *key, size_t key_size,
							  uint64_t value, void *out, size_t capacity, size_t *size);

/*
 * The same with a second key that is set to `value2`; the check of the first one covers it.
 */
CcStatus	cc_encode_counter_and(const uint8_t token[16], uint64_t read_lsn, const void *key, size_t key_size,
								  uint64_t value, const void *key2, size_t key2_size, const void *value2,
								  size_t value2_size, void *out, size_t capacity, size_t *size);

/* Bytes that a write set of `count` drops takes. */
size_t		cc_drops_size(size_t count);
/* A write set without checks that drops storages, rows, entries and rowid counters; `out` has cc_drops_size bytes. */
CcStatus	cc_encode_drops(const uint8_t token[16], uint64_t read_lsn, const uint32_t *storage_ids, size_t count,
							void *out, size_t *size);

/* Begins a chunk that is applied at once (kChunkImmediate), under its own LSN. */
CcStatus	cc_chunk_begin(const uint8_t token[16], uint32_t sequence);
/* Adds a mutation: a put, or a deletion if `value` is NULL. explicit_lsn 0: the version has the chunk's LSN. */
CcStatus	cc_chunk_add(uint64_t prefix, const void *body, size_t body_size, const void *value, size_t value_size,
						 uint64_t explicit_lsn);
/* Bytes so far, 0 if nothing has been added. */
size_t		cc_chunk_size(void);
/* Bytes that one more mutation would add at most. */
size_t		cc_chunk_mutation_size(size_t body_size, size_t value_size);
/* The encoded chunk, good until the next call of another function of this group. */
const void *cc_chunk_data(void);
/* The chunk is on its way: its bytes stay good until CC_CHUNKS_UNDER_WAY more are detached. None is under construction then. */
void		cc_chunk_detach(void);
void		cc_chunk_reset(void);

/* True if a chunk can hold such a mutation. Else it goes as a transaction of its own, in parts: */
bool		cc_chunk_holds(size_t body_size, size_t value_size);
/* Begins the put of one value under a token of its own. `value` must stay until the last part has been made. */
CcStatus	cc_parts_begin(const uint8_t token[16], uint64_t read_lsn, uint64_t prefix, const void *body, size_t body_size,
						   const void *value, size_t value_size, uint64_t explicit_lsn);
/* The next staged chunk, or the write set that commits them. The memory stays good during CC_CHUNKS_UNDER_WAY more calls. */
CcStatus	cc_parts_next(const void **part, size_t *size, bool *is_write_set);
void		cc_parts_end(void);

#ifdef __cplusplus
}
#endif
#endif
