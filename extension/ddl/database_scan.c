/*
 * database_scan.c
 *		Finds Concord's files in the catalog of a database that this process may not be connected to.
 *
 * Which files are in use is known to pg_class alone: a crash leaves files behind that no catalog names. Postgres itself reads a
 * foreign pg_class in this way for CREATE DATABASE: its file by the relation map, its rows through shared buffers under a
 * snapshot of ours, with the relation locked so that it is not rewritten meanwhile. Nothing of the relcache is used.
 */
#include "ddl/database_scan.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "common/relpath.h"
#include "core/pause_points.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/smgr.h"
#include "utils/relmapper.h"
#include "utils/snapmgr.h"

typedef void (*RowFunction) (HeapTuple row, void *state);

/* Calls `function` for each row of a catalog's file that the snapshot sees. */
static void
scan_catalog(RelFileNode node, Oid relid, Snapshot snapshot, RowFunction function, void *state)
{
	BufferAccessStrategy strategy = GetAccessStrategy(BAS_BULKREAD);
	SMgrRelation smgr = smgropen(node, InvalidBackendId);
	BlockNumber blocks = smgrnblocks(smgr, MAIN_FORKNUM);

	smgrclose(smgr);
	for (BlockNumber block = 0; block < blocks; block++)
	{
		Buffer		buffer;
		Page		page;

		CHECK_FOR_INTERRUPTS();
		buffer = ReadBufferWithoutRelcache(node, MAIN_FORKNUM, block, RBM_NORMAL, strategy, true);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		page = BufferGetPage(buffer);
		for (OffsetNumber offset = FirstOffsetNumber;
			 !PageIsNew(page) && offset <= PageGetMaxOffsetNumber(page); offset++)
		{
			ItemId		item = PageGetItemId(page, offset);
			HeapTupleData row;

			if (!ItemIdIsNormal(item))
				continue;
			row.t_data = (HeapTupleHeader) PageGetItem(page, item);
			row.t_len = ItemIdGetLength(item);
			row.t_tableOid = relid;
			ItemPointerSet(&row.t_self, block, offset);
			if (HeapTupleSatisfiesVisibility(&row, snapshot, buffer))
				function(&row, state);
		}
		UnlockReleaseBuffer(buffer);
	}
	FreeAccessStrategy(strategy);
}

typedef struct FoundRelation
{
	ConcordFile file;
	Oid			relam;
} FoundRelation;

typedef struct CatalogScan
{
	Oid			database;
	Oid			tablespace;		/* the database's own */
	FoundRelation *found;
	int			count;
	int			capacity;
	RelFileNode pg_am;
	Oid			ours[2];		/* our access methods in that database */
} CatalogScan;

static RelFileNode
node_of(const CatalogScan *scan, Form_pg_class row)
{
	RelFileNode node = {
		.spcNode = OidIsValid(row->reltablespace) ? row->reltablespace : scan->tablespace,
		.dbNode = scan->database,
		.relNode = row->relfilenode
	};

	return node;
}

static void
see_class(HeapTuple tuple, void *state)
{
	CatalogScan *scan = (CatalogScan *) state;
	Form_pg_class row = (Form_pg_class) GETSTRUCT(tuple);
	FoundRelation *found;

	if (row->oid == AccessMethodRelationId)
		scan->pg_am = node_of(scan, row);
	/* Temporary tables are heap's. */
	if (row->relam < FirstNormalObjectId || !RELKIND_HAS_STORAGE(row->relkind) || !OidIsValid(row->relfilenode) ||
		row->relpersistence == RELPERSISTENCE_TEMP)
		return;
	if (scan->count == scan->capacity)
	{
		scan->capacity *= 2;
		scan->found = repalloc_huge(scan->found, scan->capacity * sizeof(FoundRelation));
	}
	found = &scan->found[scan->count++];
	memset(found, 0, sizeof(*found));
	found->relam = row->relam;
	found->file.node = node_of(scan, row);
	found->file.relname = row->relname;
	found->file.is_index = row->relkind == RELKIND_INDEX;
}

/* By name, as a handler's address says nothing about another database. */
static void
see_access_method(HeapTuple tuple, void *state)
{
	CatalogScan *scan = (CatalogScan *) state;
	Form_pg_am	row = (Form_pg_am) GETSTRUCT(tuple);

	if (row->amtype == AMTYPE_TABLE && strcmp(NameStr(row->amname), "concord") == 0)
		scan->ours[0] = row->oid;
	if (row->amtype == AMTYPE_INDEX && strcmp(NameStr(row->amname), "concord_btree") == 0)
		scan->ours[1] = row->oid;
}

static void
scan_catalogs(CatalogScan *scan)
{
	LockRelId	class_id = {.relId = RelationRelationId, .dbId = scan->database};
	LockRelId	am_id = {.relId = AccessMethodRelationId, .dbId = scan->database};
	char	   *path = GetDatabasePath(scan->database, scan->tablespace);
	RelFileNode pg_class = {.spcNode = scan->tablespace, .dbNode = scan->database};
	Snapshot	snapshot;

	LockRelationId(&class_id, AccessShareLock);
	LockRelationId(&am_id, AccessShareLock);
	/* After the locks: VACUUM FULL gives a catalog another file. */
	pg_class.relNode = RelationMapOidToFilenodeForDatabase(path, RelationRelationId);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan_catalog(pg_class, RelationRelationId, snapshot, see_class, scan);
	if (scan->count > 0 && OidIsValid(scan->pg_am.relNode))
		scan_catalog(scan->pg_am, AccessMethodRelationId, snapshot, see_access_method, scan);
	UnregisterSnapshot(snapshot);
	UnlockRelationId(&am_id, AccessShareLock);
	UnlockRelationId(&class_id, AccessShareLock);
	pfree(path);
}

ConcordFile *
concord_scan_database(Oid database, Oid tablespace, int *count)
{
	CatalogScan scan = {.database = database, .tablespace = tablespace, .capacity = 64};
	ConcordFile *files;

	scan.found = palloc(scan.capacity * sizeof(FoundRelation));
	scan_catalogs(&scan);

	if (scan.count > 0)
		cc_pause(CC_PAUSE_SWEEP_CATALOG_READ);
	files = MemoryContextAllocHuge(CurrentMemoryContext, Max(scan.count, 1) * sizeof(ConcordFile));
	*count = 0;
	for (int i = 0; i < scan.count; i++)
	{
		ConcordFile *file = &files[*count];

		if (scan.found[i].relam != scan.ours[0] && scan.found[i].relam != scan.ours[1])
			continue;
		CHECK_FOR_INTERRUPTS();
		*file = scan.found[i].file;
		file->kind = concord_file_kind(file->node, &file->storage_id);
		(*count)++;
	}
	pfree(scan.found);
	return files;
}
