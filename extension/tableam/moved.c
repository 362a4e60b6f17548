/*
 * moved.c
 *		Rows that an UPDATE has moved to another partition. See moved.h.
 *
 * A table of hashes; each has one place, and the last to come has it. A move that is rolled back leaves its hash behind, which
 * means nothing while the row is there; its later deletion removes it.
 */
#include "tableam/moved.h"

#include "port/atomics.h"
#include "storage/shmem.h"

#include "bridge/hash.h"

#define MOVED_ROWS 16384		/* 128 kB */

static pg_atomic_uint64 *moved_rows = NULL;

Size
concord_moved_shmem_size(void)
{
	return mul_size(MOVED_ROWS, sizeof(pg_atomic_uint64));
}

void
concord_moved_shmem_init(void)
{
	bool		found;

	moved_rows = ShmemInitStruct("concord moved rows", concord_moved_shmem_size(), &found);
	if (found)
		return;
	for (int i = 0; i < MOVED_ROWS; i++)
		pg_atomic_init_u64(&moved_rows[i], 0);
}

static uint64
hash_of(const ConcordTarget *target)
{
	return Max(cc_key_hash(target->prefix, target->body, ROW_BODY_SIZE), 1);
}

void
concord_moved_note(const ConcordTarget *target, bool moved)
{
	uint64		hash = hash_of(target);
	pg_atomic_uint64 *place = &moved_rows[hash % MOVED_ROWS];

	if (moved)
		pg_atomic_write_u64(place, hash);
	else
		(void) pg_atomic_compare_exchange_u64(place, &hash, 0);
}

bool
concord_moved_find(const ConcordTarget *target)
{
	uint64		hash = hash_of(target);

	return pg_atomic_read_u64(&moved_rows[hash % MOVED_ROWS]) == hash;
}
