/*
 * orphans.c
 *		Which storage is nobody's. See orphans.h.
 *
 * Why an orphan is one. In this order:
 *
 *	1. list		the storages that the replica knows, and that this server has leased the ids of;
 *	2. mark		the lowest id made by a transaction that still runs (creation_marks.h). A listed id below it was made by a
 *				transaction that has ended: its row in pg_class is there for all later snapshots, or never will be;
 *	3. scan		every database's pg_class under a snapshot, and the metapages of the files that it names. A listed id below the
 *				mark that is in none of them is in use nowhere: a new file gets a new id, and one that moves (SET TABLESPACE)
 *				comes from a file that the snapshot names. Should that file be emptied by the commit of the move before it is
 *				read, it is seen as empty, and a second scan settles what became of it;
 *	4. list		again, when this server's own drops have been applied: what is gone meanwhile was on its way.
 *
 * A table whose metapage is gone may stand for any storage: then nothing is an orphan until it has been repaired or dropped. An
 * index may be without a metapage for good: CREATE INDEX CONCURRENTLY commits it before it is built.
 */
#include "ddl/orphans.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "bridge/encode.h"
#include "catalog/pg_database.h"
#include "ddl/creation_marks.h"
#include "ddl/database_scan.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/pg_bswap.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "xact/owner.h"

#define LIST_PAGE 512			/* storages asked for at once */
#define DROPS_PER_COMMIT 1024
#define SCANS_MAX 20			/* of one database that is being changed */
#define POLL_MS 10

typedef struct IdSet
{
	uint32	   *ids;
	int			count;
	int			capacity;
} IdSet;

static void
add_id(IdSet *set, uint32 id)
{
	if (set->count == set->capacity)
	{
		set->capacity = Max(64, set->capacity * 2);
		set->ids = set->ids == NULL ? MemoryContextAllocHuge(CurrentMemoryContext, set->capacity * sizeof(uint32)) :
			repalloc_huge(set->ids, set->capacity * sizeof(uint32));
	}
	set->ids[set->count++] = id;
}

static int
compare_ids(const void *a, const void *b)
{
	uint32		x = *(const uint32 *) a;
	uint32		y = *(const uint32 *) b;

	return x < y ? -1 : x > y;
}

static void
sort_ids(IdSet *set)
{
	int			unique = 0;

	qsort(set->ids, set->count, sizeof(uint32), compare_ids);
	for (int i = 0; i < set->count; i++)
		if (unique == 0 || set->ids[unique - 1] != set->ids[i])
			set->ids[unique++] = set->ids[i];
	set->count = unique;
}

static bool
has_id(const IdSet *set, uint32 id)
{
	return set->count > 0 && bsearch(&id, set->ids, set->count, sizeof(uint32), compare_ids) != NULL;
}

/* ---- what the cluster holds ---- */

/* Waits until no drop of this server is on its way. */
static void
wait_for_drops(void)
{
	TimestampTz start = GetCurrentTimestamp();

	while (cc_channel_drops_waiting(concord_channel))
	{
		CHECK_FOR_INTERRUPTS();
		if (TimestampDifferenceExceeds(start, GetCurrentTimestamp(), concord_commit_timeout_ms))
			concord_raise_unavailable("drops of storage were not committed within concord.commit_timeout");
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, POLL_MS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}

static void
add_owned(IdSet *set, const ConcordIdRange *ranges, int range_count, uint32 id)
{
	int			low = 0;
	int			high = range_count;

	/* The last range that begins at or before the id. */
	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (ranges[middle].first <= id)
			low = middle + 1;
		else
			high = middle;
	}
	if (low > 0 && id < ranges[low - 1].end)
		add_id(set, id);
}

/* A counter of rowids may be all that is left of a storage. */
static void
list_counters(IdSet *set, uint64 lsn, const ConcordIdRange *ranges, int range_count)
{
	static const char name[] = "rowid/";
	const size_t name_size = sizeof(name) - 1;
	CcCursor   *cursor;
	CcEntry		entry;
	CcStatus	status;

	concord_check(cc_cursor_open(0, lsn, &cursor));
	concord_check(cc_cursor_seek(cursor, name, name_size, false, false));
	while ((status = cc_cursor_next(cursor, false, &entry)) == CC_OK &&
		   entry.key_size == name_size + sizeof(uint32) && memcmp(entry.key, name, name_size) == 0)
	{
		uint32		id;

		memcpy(&id, entry.key + name_size, sizeof(id));
		add_owned(set, ranges, range_count, pg_ntoh32(id));
	}
	cc_cursor_close(cursor);
	if (status != CC_END)
		concord_check(status);
}

/* The storages that hold anything, of ids that this server has leased. */
static IdSet
list_storages(void)
{
	IdSet		set = {0};
	CcStorage	page[LIST_PAGE];
	uint64		after = 0;
	size_t		count;
	uint64		lsn;
	int			range_count;
	ConcordIdRange *ranges;

	wait_for_drops();
	lsn = concord_newest_lsn();
	ranges = concord_owner_ranges(lsn, &range_count);
	do
	{
		concord_check(cc_replica_storages(after, page, LIST_PAGE, &count));
		for (size_t i = 0; i < count; i++)
			add_owned(&set, ranges, range_count, (uint32) page[i].prefix);
		if (count > 0)
			after = page[count - 1].prefix;
	} while (count == LIST_PAGE);
	list_counters(&set, lsn, ranges, range_count);
	pfree(ranges);
	sort_ids(&set);
	return set;
}

/* ---- what the catalogs use ---- */

typedef struct Database
{
	Oid			oid;
	Oid			tablespace;
	NameData	name;
} Database;

/* The databases as they are now, or only one of them; a list of palloc'd Database. */
static List *
databases(Oid only)
{
	Relation	rel = table_open(DatabaseRelationId, AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TableScanDesc scan = table_beginscan(rel, snapshot, 0, NULL);
	List	   *list = NIL;
	HeapTuple	tuple;

	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database row = (Form_pg_database) GETSTRUCT(tuple);
		Database   *database;

		/* One whose DROP DATABASE was interrupted can only be dropped: its tables are gone. */
		if ((OidIsValid(only) && row->oid != only) || row->datconnlimit == DATCONNLIMIT_INVALID_DB)
			continue;
		database = palloc(sizeof(Database));
		database->oid = row->oid;
		database->tablespace = row->dattablespace;
		database->name = row->datname;
		list = lappend(list, database);
	}
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
	return list;
}

static bool
was_empty(const ConcordFile *files, int count, RelFileNode node)
{
	for (int i = 0; i < count; i++)
		if (files[i].kind == CONCORD_FILE_EMPTY && RelFileNodeEquals(files[i].node, node))
			return true;
	return false;
}

static void
refuse_damaged(const Database *database, const ConcordFile *file)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("relation \"%s\" of database \"%s\" has no Concord metapage that could be read",
					NameStr(file->relname), NameStr(database->name)),
			 errdetail("Its storage is not known, so no storage can be said to be nobody's. File \"%s\".",
					   relpathperm(file->node, MAIN_FORKNUM)),
			 errhint("Restore the file from a backup, or drop the relation.")));
}

/*
 * Adds what one scan has found. False if a file is empty that was not empty in the scan before: the relation may have moved or
 * been dropped while we looked. One that is empty twice, and still in the catalog, was empty the first time.
 */
static bool
add_files(IdSet *used, const Database *database, const ConcordFile *files, int count, const ConcordFile *before,
		  int before_count)
{
	bool		settled = true;

	for (int i = 0; i < count; i++)
	{
		const ConcordFile *file = &files[i];
		bool		is_known = was_empty(before, before_count, file->node);

		if (file->kind == CONCORD_FILE_STORAGE)
			add_id(used, file->storage_id);
		else if (file->kind == CONCORD_FILE_COPY)
			concord_storage_disown(file->node);
		else if (file->kind == CONCORD_FILE_EMPTY && !is_known)
			settled = false;
		else if (file->kind == CONCORD_FILE_UNKNOWN || !file->is_index)
			refuse_damaged(database, file);
	}
	return settled;
}

static void
add_database(IdSet *used, Oid oid)
{
	List	   *found;

	/* Against DROP DATABASE and ALTER DATABASE SET TABLESPACE. */
	LockSharedObject(DatabaseRelationId, oid, 0, AccessShareLock);
	found = databases(oid);		/* it may be gone, or lie elsewhere now */
	if (found != NIL)
	{
		Database   *database = linitial(found);
		ConcordFile *before = NULL;
		int			before_count = 0;
		bool		settled = false;

		for (int i = 0; i < SCANS_MAX && !settled; i++)
		{
			int			count;
			ConcordFile *files = concord_scan_database(oid, database->tablespace, &count);

			settled = add_files(used, database, files, count, before, before_count);
			before = files;
			before_count = count;
		}
		if (!settled)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("the tables of database \"%s\" change too fast to be looked at", NameStr(database->name)),
					 errhint("Try again.")));
	}
	UnlockSharedObject(DatabaseRelationId, oid, 0, AccessShareLock);
}

static IdSet
used_storages(void)
{
	IdSet		used = {0};
	ListCell   *cell;

	foreach(cell, databases(InvalidOid))
	{
		add_database(&used, ((Database *) lfirst(cell))->oid);
	}
	sort_ids(&used);
	return used;
}

/* ---- the two together ---- */

ConcordOrphans
concord_find_orphans(void)
{
	ConcordOrphans orphans = {0};
	IdSet		listed = list_storages();
	IdSet		used;
	IdSet		still;
	IdSet		result = {0};

	orphans.lowest_mark = concord_lowest_mark();
	used = used_storages();
	still = list_storages();
	for (int i = 0; i < listed.count; i++)
	{
		uint32		id = listed.ids[i];

		if (has_id(&used, id) || !has_id(&still, id))
			continue;
		if (id < orphans.lowest_mark)
			add_id(&result, id);
		else
			orphans.undecided++;
	}
	orphans.ids = result.ids;
	orphans.count = result.count;
	return orphans;
}

void
concord_drop_orphans(const ConcordOrphans *orphans)
{
	for (int from = 0; from < orphans->count; from += DROPS_PER_COMMIT)
	{
		int			count = Min(DROPS_PER_COMMIT, orphans->count - from);
		void	   *write_set = palloc(cc_drops_size(count));
		uint8		token[16];
		size_t		size;

		if (!pg_strong_random(token, sizeof(token)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate a random commit token")));
		concord_check(cc_encode_drops(token, concord_committed_lsn(), orphans->ids + from, count, write_set, &size));
		for (int i = from; i < from + count; i++)
			cc_lease_forget(concord_channel, orphans->ids[i]);
		if (!concord_commit_now(write_set, size))
			concord_raise_unavailable("the adjudicator has started anew");
		pfree(write_set);
	}
}
