/*
 * creation_marks.c
 *		The marks of running transactions. See creation_marks.h.
 *
 * One word for each backend, written by that backend alone.
 */
#include "ddl/creation_marks.h"

#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/proc.h"
#include "storage/shmem.h"

static pg_atomic_uint32 *marks = NULL;	/* by pgprocno; 0: none */
static bool have_mark = false;

static int
mark_count(void)
{
	return MaxBackends + NUM_AUXILIARY_PROCS;
}

Size
concord_marks_shmem_size(void)
{
	return mul_size(mark_count(), sizeof(pg_atomic_uint32));
}

void
concord_marks_shmem_init(void)
{
	bool		found;

	marks = ShmemInitStruct("concord creation marks", concord_marks_shmem_size(), &found);
	if (found)
		return;
	for (int i = 0; i < mark_count(); i++)
		pg_atomic_init_u32(&marks[i], 0);
}

void
concord_mark_created(uint32 storage_id)
{
	pg_atomic_uint32 *mark = &marks[MyProc->pgprocno];

	/* Not only the first: what a session leased for itself alone may be handed out late. */
	if (!have_mark || storage_id < pg_atomic_read_u32(mark))
		pg_atomic_write_u32(mark, storage_id);
	have_mark = true;
	/* Seen before whatever the storage then holds. */
	pg_memory_barrier();
}

void
concord_mark_clear(void)
{
	if (!have_mark)
		return;
	pg_memory_barrier();
	pg_atomic_write_u32(&marks[MyProc->pgprocno], 0);
	have_mark = false;
}

uint32
concord_lowest_mark(void)
{
	uint32		lowest = PG_UINT32_MAX;

	pg_memory_barrier();
	for (int i = 0; i < mark_count(); i++)
	{
		uint32		mark = pg_atomic_read_u32(&marks[i]);

		if (mark != 0)
			lowest = Min(lowest, mark);
	}
	pg_memory_barrier();
	return lowest;
}
