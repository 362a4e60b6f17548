/*
 * drops.c
 *		Storage that ends with this transaction.
 *
 * Postgres tells no access method that a file is dropped, but keeps a list of files to delete: that list, read before the
 * commit, names the storage that DROP, TRUNCATE and rewrites leave behind. It is dropped in the cluster only after the local
 * commit, so that a failed commit loses nothing. Storage made by a transaction that rolls back comes from a list in memory,
 * as nothing may be read any more then.
 *
 * A relation moved to another tablespace has its old file deleted too, but its id lives on in the new file. The new file is
 * in Postgres' list of files to delete if the transaction aborts, and so is found in the same way.
 *
 * Whatever is missed (crash between commit and drop, full queue, DROP DATABASE) wastes space and nothing else.
 */
#include "concord.h"

#include "access/xact.h"
#include "catalog/storage.h"
#include "ddl/creation_marks.h"
#include "ddl/storage_map.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "worker/sweep.h"

typedef struct CreatedStorage
{
	RelFileNode node;
	uint32		storage_id;
	SubTransactionId subid;
	bool		dead;			/* rolled back to a savepoint or replaced: dropped however the transaction ends */
} CreatedStorage;

/* All of these live in TopTransactionContext. */
static CreatedStorage *created = NULL;
static int	created_count = 0;
static int	created_capacity = 0;
static uint32 *dropped = NULL;	/* filled before the commit */
static int	dropped_count = 0;

void
concord_drops_created(RelFileNode node, uint32 storage_id)
{
	CreatedStorage *entry;

	concord_mark_created(storage_id);
	for (int i = 0; i < created_count; i++)
		if (!created[i].dead && RelFileNodeEquals(created[i].node, node))
			created[i].dead = true;

	if (created_count == created_capacity)
	{
		int			capacity = Max(16, created_capacity * 2);
		Size		size = capacity * sizeof(CreatedStorage);

		created = created == NULL ? MemoryContextAlloc(TopTransactionContext, size) : repalloc(created, size);
		created_capacity = capacity;
	}
	entry = &created[created_count++];
	entry->node = node;
	entry->storage_id = storage_id;
	entry->subid = GetCurrentSubTransactionId();
	entry->dead = false;
}

/* Asked for every row written: the answer is mostly where it was the last time. */
bool
concord_drops_created_here(uint32 storage_id)
{
	static int	last = 0;

	if (last >= created_count || created[last].storage_id != storage_id)
	{
		for (last = created_count - 1; last >= 0; last--)
			if (created[last].storage_id == storage_id)
				break;
		if (last < 0)
		{
			last = 0;
			return false;
		}
	}
	return !created[last].dead && created[last].subid == GetCurrentSubTransactionId();
}

bool
concord_drops_created_ever(uint32 storage_id)
{
	for (int i = 0; i < created_count; i++)
		if (created[i].storage_id == storage_id)
			return true;
	return false;
}

bool
concord_drops_any(void)
{
	return created_count > 0 || dropped_count > 0;
}

bool
concord_has_own_state(void)
{
	return created_count > 0 || cc_ws_has_writes();
}

/* The id of a file: from memory if this transaction made it, else from the file. 0 if it is not ours. */
static uint32
storage_id_of(RelFileNode node)
{
	for (int i = 0; i < created_count; i++)
		if (!created[i].dead && RelFileNodeEquals(created[i].node, node))
			return created[i].storage_id;
	return concord_storage_id_of_file(node);
}

static int
compare_nodes(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(RelFileNode));
}

static int
compare_ids(const void *a, const void *b)
{
	uint32		x = *(const uint32 *) a;
	uint32		y = *(const uint32 *) b;

	return x < y ? -1 : x > y;
}

/* Takes ids that live on in a file made by this transaction out of `ids` (sorted); returns how many are left. */
static int
remove_moved(uint32 *ids, int count, RelFileNode *deleted, int deleted_count)
{
	RelFileNode *made;
	int			made_count = smgrGetPendingDeletes(false, &made);

	for (int i = 0; i < made_count; i++)
	{
		uint32		id;
		uint32	   *found;

		if (bsearch(&made[i], deleted, deleted_count, sizeof(RelFileNode), compare_nodes) != NULL)
			continue;
		id = storage_id_of(made[i]);
		found = id == 0 ? NULL : bsearch(&id, ids, count, sizeof(uint32), compare_ids);
		if (found != NULL)
		{
			/* Close the gap: the array stays sorted for the next one. */
			count--;
			memmove(found, found + 1, (ids + count - found) * sizeof(uint32));
		}
	}
	return count;
}

/* The storage that the commit would leave without a file, sorted, in *ids. */
static int
collect_dropped(uint32 **ids)
{
	RelFileNode *deleted;
	int			deleted_count = smgrGetPendingDeletes(true, &deleted);
	int			count = 0;
	int			unique = 0;

	*ids = NULL;
	if (deleted_count == 0 || !concord_ddl_was_active())
		return 0;
	qsort(deleted, deleted_count, sizeof(RelFileNode), compare_nodes);
	*ids = palloc(deleted_count * sizeof(uint32));
	for (int i = 0; i < deleted_count; i++)
	{
		uint32		id = storage_id_of(deleted[i]);

		if (id != 0)
			(*ids)[count++] = id;
	}
	if (count == 0)
		return 0;
	/* An id moved twice is there twice. */
	qsort(*ids, count, sizeof(uint32), compare_ids);
	for (int i = 0; i < count; i++)
		if (unique == 0 || (*ids)[unique - 1] != (*ids)[i])
			(*ids)[unique++] = (*ids)[i];
	return remove_moved(*ids, unique, deleted, deleted_count);
}

static void
forget_writes(uint32 storage_id)
{
	cc_ws_forget(concord_row_prefix(storage_id));
	cc_ws_forget(concord_entry_prefix(storage_id));
}

void
concord_ddl_pre_commit(void)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);

	dropped_count = collect_dropped(&dropped);
	MemoryContextSwitchTo(old);

	/* Rows written to them need not leave this server. */
	for (int i = 0; i < dropped_count; i++)
		forget_writes(dropped[i]);
	for (int i = 0; i < created_count; i++)
		if (created[i].dead)
			forget_writes(created[i].storage_id);
}

/* Cannot raise. A full queue loses the drop: the storage's space, never its correctness. */
static void
drop_storage(uint32 storage_id)
{
	if (concord_channel != NULL)
		cc_lease_forget(concord_channel, storage_id);
	if (concord_channel != NULL && !cc_channel_drop_storage(concord_channel, storage_id))
	{
		ereport(LOG,
				(errmsg("could not queue the drop of Concord storage %u; the sweeper will find it", storage_id)));
		concord_sweep_wake();
	}
}

void
concord_ddl_xact_end(bool committed)
{
	for (int i = 0; i < created_count; i++)
		if (!committed || created[i].dead)
			drop_storage(created[i].storage_id);
	if (committed)
		for (int i = 0; i < dropped_count; i++)
			drop_storage(dropped[i]);
	created = NULL;
	dropped = NULL;
	created_count = created_capacity = dropped_count = 0;
	concord_mark_clear();
}

/* Not dropped at once: chunks of this transaction may still be on their way. */
void
concord_ddl_sub_end(bool committed, SubTransactionId subid, SubTransactionId parent)
{
	for (int i = 0; i < created_count; i++)
	{
		if (created[i].subid != subid)
			continue;
		if (committed)
			created[i].subid = parent;
		else
			created[i].dead = true;
	}
}

/* A prepared transaction's files are kept by Postgres; the storage lists of this file would be lost. */
static void
refuse_prepare(XactEvent event, void *arg)
{
	uint32	   *ids;

	if (event == XACT_EVENT_PRE_PREPARE && (created_count > 0 || collect_dropped(&ids) > 0))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot PREPARE a transaction that has created, rewritten or dropped Concord tables or indexes"),
				 errhint("Commit it instead.")));
}

void
concord_drops_init(void)
{
	RegisterXactCallback(refuse_prepare, NULL);
}
