/*
 * share.c
 *		What the workers of a parallel query are shown of the leader's transaction.
 *
 * A transaction's own versions lie in its backend's memory, and so do the LSNs of what it has streamed into storage of its own. While a
 * parallel query runs nobody writes: Postgres forbids it. So one copy, made before the query runs, is all that its workers need. It
 * is a segment of dynamic shared memory, whose handle stands in the leader's place of an array; a worker looks there when it first
 * reads a Concord table. A parallel query within another one (of a function with an old plan) shows the same.
 */
#include "xact/share.h"

#include <sys/statvfs.h>

#include "access/parallel.h"
#include "ddl/storage_map.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/dsm.h"
#include "storage/dsm_impl.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "storage/shmem.h"

/* Copying more takes longer than workers are likely to save. */
#define SHARE_MAX_BYTES ((size_t) 64 << 20)

typedef struct SharedState
{
	Size		bulk_size;		/* of what concord_bulk_records gives */
	Size		copy_size;		/* of the write set's copy, behind it */
	char		bytes[FLEXIBLE_ARRAY_MEMBER];
} SharedState;

static pg_atomic_uint32 *handles = NULL;	/* by the leader's pgprocno */
static dsm_segment *shown = NULL;
static int	shown_for = 0;		/* queries that run, one within another */

static int
handle_count(void)
{
	return MaxBackends + NUM_AUXILIARY_PROCS;
}

Size
concord_share_shmem_size(void)
{
	return mul_size(handle_count(), sizeof(pg_atomic_uint32));
}

void
concord_share_shmem_init(void)
{
	bool		found;

	handles = ShmemInitStruct("concord shared transactions", concord_share_shmem_size(), &found);
	if (found)
		return;
	for (int i = 0; i < handle_count(); i++)
		pg_atomic_init_u32(&handles[i], DSM_HANDLE_INVALID);
}

/* A session that is ended in the middle of a query does not come to concord_share_end, and its place is the next one's. */
static void
hide(int code, Datum arg)
{
	pg_atomic_write_u32(&handles[MyProc->pgprocno], DSM_HANDLE_INVALID);
}

/* A container's /dev/shm may be small; Postgres raises where it is full. */
static bool
has_room(Size size)
{
	struct statvfs shm;

	return dynamic_shared_memory_type != DSM_IMPL_POSIX || statvfs("/dev/shm", &shm) != 0 ||
		(uint64) shm.f_bavail * shm.f_frsize > 2 * (uint64) size;
}

bool
concord_share_possible(void)
{
	return cc_ws_bytes() <= SHARE_MAX_BYTES;
}

bool
concord_share_begin(void)
{
	static bool registered = false;
	const void *bulk;
	const void *copy;
	Size		bulk_size;
	size_t		copy_size;
	Size		size;
	SharedState *state;

	if (shown_for > 0)
	{
		shown_for++;
		return true;
	}
	if (!registered)
		before_shmem_exit(hide, (Datum) 0);
	registered = true;
	bulk = concord_bulk_records(&bulk_size);
	concord_check(cc_ws_copy_make(&copy, &copy_size));
	size = offsetof(SharedState, bytes) + bulk_size + copy_size;
	shown = has_room(size) ? dsm_create(size, DSM_CREATE_NULL_IF_MAXSEGMENTS) : NULL;
	if (shown == NULL)
	{
		cc_ws_copy_free();
		return false;
	}
	state = dsm_segment_address(shown);
	state->bulk_size = bulk_size;
	state->copy_size = copy_size;
	if (bulk_size > 0)
		memcpy(state->bytes, bulk, bulk_size);
	memcpy(state->bytes + bulk_size, copy, copy_size);
	cc_ws_copy_free();
	pg_atomic_write_u32(&handles[MyProc->pgprocno], dsm_segment_handle(shown));
	shown_for = 1;
	return true;
}

void
concord_share_end(void)
{
	if (--shown_for > 0)
		return;
	hide(0, (Datum) 0);
	dsm_detach(shown);
	shown = NULL;
}

void
concord_share_take(void)
{
	static bool taken = false;
	dsm_handle	handle;
	dsm_segment *segment;
	SharedState *state;

	Assert(IsParallelWorker());
	if (taken)
		return;
	handle = pg_atomic_read_u32(&handles[MyProc->lockGroupLeader->pgprocno]);
	if (handle != DSM_HANDLE_INVALID)
	{
		segment = dsm_attach(handle);
		if (segment == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("the transaction of the parallel query has ended")));
		state = dsm_segment_address(segment);
		concord_bulk_take_records(state->bytes, state->bulk_size);
		concord_check(cc_ws_copy_take(state->bytes + state->bulk_size, state->copy_size));
		dsm_detach(segment);
	}
	taken = true;
}
