/*
 * conflicts.c
 *		Which tables conflict: concord.stat_conflicts, and the table that an error names.
 *
 * The adjudicator knows keys by their hashes only; of a read that has become old it names the storage. The backend that was refused
 * finds the hash among its own checks, the storage behind it, and the relation in what this session has opened. The shared table has room for CONFLICTS_MAX relations and kinds;
 * what finds none is counted as "other".
 */
#include "stats/stats.h"

#include "catalog/index.h"
#include "catalog/pg_authid.h"
#include "commands/dbcommands.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(concord_stat_conflicts);

#define CONFLICTS_MAX 1000
#define COLUMNS 6

typedef struct Entry
{
	Oid			database;
	Oid			relid;
	Oid			indexid;
	ConcordConflictKind kind;
	uint64		count;
	TimestampTz last;
} Entry;

typedef struct ConflictTable
{
	LWLock		lock;
	int			used;
	Entry		entries[CONFLICTS_MAX + 1];	/* the last one is for what finds no room */
} ConflictTable;

typedef struct StorageName
{
	uint32		storage_id;		/* hash key */
	Oid			relid;
} StorageName;

static ConflictTable *table = NULL;
static HTAB *storage_names = NULL;	/* of this session; ids are never used twice */

Size
concord_conflicts_shmem_size(void)
{
	return sizeof(ConflictTable);
}

void
concord_conflicts_shmem_init(void)
{
	bool		found;

	table = ShmemInitStruct("concord conflicts", sizeof(ConflictTable), &found);
	if (found)
		return;
	memset(table, 0, sizeof(ConflictTable));
	LWLockInitialize(&table->lock, LWLockNewTrancheId());
	table->entries[CONFLICTS_MAX].kind = CONCORD_CONFLICT_OTHER;
	LWLockRegisterTranche(table->lock.tranche, "ConcordConflicts");	/* processes inherit it from the postmaster */
}

void
concord_conflicts_reset(void)
{
	LWLockAcquire(&table->lock, LW_EXCLUSIVE);
	table->used = 0;
	table->entries[CONFLICTS_MAX].count = 0;
	LWLockRelease(&table->lock);
}

/* The lock must be held. */
static Entry *
find_entry(Oid relid, Oid indexid, ConcordConflictKind kind)
{
	Entry	   *entry;

	if (kind == CONCORD_CONFLICT_OTHER)
		return &table->entries[CONFLICTS_MAX];
	for (int i = 0; i < table->used; i++)
	{
		entry = &table->entries[i];
		if (entry->relid == relid && entry->indexid == indexid && entry->kind == kind && entry->database == MyDatabaseId)
			return entry;
	}
	if (table->used == CONFLICTS_MAX)
		return &table->entries[CONFLICTS_MAX];
	entry = &table->entries[table->used++];
	*entry = (Entry) {.database = MyDatabaseId, .relid = relid, .indexid = indexid, .kind = kind};
	return entry;
}

void
concord_count_conflict(Oid relid, Oid indexid, ConcordConflictKind kind)
{
	TimestampTz now = GetCurrentTimestamp();
	Entry	   *entry;

	LWLockAcquire(&table->lock, LW_EXCLUSIVE);
	entry = find_entry(relid, indexid, kind);
	entry->count++;
	entry->last = now;
	LWLockRelease(&table->lock);
}

void
concord_remember_storage(uint32 storage_id, Oid relid)
{
	StorageName *name;

	if (storage_names == NULL)
	{
		HASHCTL		info = {.keysize = sizeof(uint32), .entrysize = sizeof(StorageName), .hcxt = TopMemoryContext};

		storage_names = hash_create("concord storage names", 64, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	name = hash_search(storage_names, &storage_id, HASH_ENTER, NULL);
	name->relid = relid;
}

/* The relations of a storage that this session has met; of kind CONCORD_CONFLICT_OTHER if there are none. */
static ConcordConflict
conflict_in(uint64 prefix, ConcordConflictKind of_row, ConcordConflictKind of_entry)
{
	ConcordConflict conflict = {.kind = CONCORD_CONFLICT_OTHER};
	uint32		storage_id = (uint32) prefix;
	StorageName *name = NULL;

	if (storage_names != NULL)
		name = hash_search(storage_names, &storage_id, HASH_FIND, NULL);
	if (name == NULL)
		return conflict;
	if (prefix == concord_row_prefix(storage_id))
	{
		conflict.kind = of_row;
		conflict.relid = name->relid;
		return conflict;
	}
	conflict.kind = of_entry;
	conflict.indexid = name->relid;
	conflict.relid = IndexGetRelation(name->relid, true);
	return conflict;
}

ConcordConflict
concord_find_conflict(uint64 key_hash)
{
	uint64		prefix;
	CcLockMode	mode;

	if (!cc_ws_checked(key_hash, &prefix, &mode))
		return (ConcordConflict) {.kind = CONCORD_CONFLICT_OTHER};
	return conflict_in(prefix, mode <= CC_SHARE ? CONCORD_CONFLICT_LOCK : CONCORD_CONFLICT_ROW, CONCORD_CONFLICT_UNIQUE);
}

ConcordConflict
concord_find_read_conflict(uint64 prefix)
{
	return conflict_in(prefix, CONCORD_CONFLICT_READ, CONCORD_CONFLICT_READ);
}

static const char *
kind_name(ConcordConflictKind kind)
{
	switch (kind)
	{
		case CONCORD_CONFLICT_ROW:
			return "row";
		case CONCORD_CONFLICT_UNIQUE:
			return "unique key";
		case CONCORD_CONFLICT_LOCK:
			return "row lock";
		case CONCORD_CONFLICT_READ:
			return "read";
		case CONCORD_CONFLICT_SNAPSHOT:
			return "snapshot";
		case CONCORD_CONFLICT_OTHER:
			break;
	}
	return "other";
}

static void
put_entry(ReturnSetInfo *result, const Entry *entry)
{
	Datum		values[COLUMNS] = {0};
	bool		nulls[COLUMNS] = {false};
	char	   *database = entry->database == InvalidOid ? NULL : get_database_name(entry->database);
	bool		here = entry->database == MyDatabaseId;

	nulls[0] = database == NULL;
	if (database != NULL)
		values[0] = DirectFunctionCall1(namein, CStringGetDatum(database));
	nulls[1] = !here || !OidIsValid(entry->relid);
	values[1] = ObjectIdGetDatum(entry->relid);
	nulls[2] = !here || !OidIsValid(entry->indexid);
	values[2] = ObjectIdGetDatum(entry->indexid);
	values[3] = CStringGetTextDatum(kind_name(entry->kind));
	values[4] = Int64GetDatum((int64) entry->count);
	values[5] = TimestampTzGetDatum(entry->last);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

Datum
concord_stat_conflicts(PG_FUNCTION_ARGS)
{
	Entry	   *entries;
	int			used;
	Entry		other;

	concord_require_usable();
	InitMaterializedSRF(fcinfo, 0);
	entries = palloc(sizeof(Entry) * CONFLICTS_MAX);
	LWLockAcquire(&table->lock, LW_SHARED);
	used = table->used;
	memcpy(entries, table->entries, sizeof(Entry) * used);
	other = table->entries[CONFLICTS_MAX];
	LWLockRelease(&table->lock);
	for (int i = 0; i < used; i++)
		put_entry((ReturnSetInfo *) fcinfo->resultinfo, &entries[i]);
	if (other.count > 0)
		put_entry((ReturnSetInfo *) fcinfo->resultinfo, &other);
	return (Datum) 0;
}
