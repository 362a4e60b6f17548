/*
 * storages.c
 *		What is in storage: concord.stat_storage.
 *
 * Relations of this database are found in pg_class, their storage in their metapages, without a lock on any: a statistic
 * must not wait for DDL. Storage that none of them has is another database's, or an orphan (concord.orphans).
 */
#include "stats/stats.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_tablespace_d.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"

#include "ddl/storage_map.h"

PG_FUNCTION_INFO_V1(concord_stat_storage);

#define COLUMNS 5
#define STORAGES_AT_ONCE 256

typedef struct Known
{
	uint64		prefix;			/* hash key */
	Oid			relid;
	bool		shown;
} Known;

/* The storages of this database's tables and indexes, by prefix. */
static HTAB *
find_known(void)
{
	HASHCTL		info = {.keysize = sizeof(uint64), .entrysize = sizeof(Known), .hcxt = CurrentMemoryContext};
	HTAB	   *known = hash_create("concord storages", 256, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	Oid			table_am = concord_table_am_oid();
	Oid			index_am = concord_index_am_oid();
	Relation	classes = table_open(RelationRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(classes, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_class class = (Form_pg_class) GETSTRUCT(tuple);
		RelFileNode node = {
			.spcNode = OidIsValid(class->reltablespace) ? class->reltablespace : MyDatabaseTableSpace,
			.dbNode = MyDatabaseId,
			.relNode = class->relfilenode
		};
		uint32		storage_id;
		uint64		prefix;
		Known	   *entry;

		if (!OidIsValid(class->relam) || (class->relam != table_am && class->relam != index_am) ||
			!OidIsValid(class->relfilenode))
			continue;
		if (concord_file_kind(node, &storage_id) != CONCORD_FILE_STORAGE)
			continue;
		prefix = class->relam == table_am ? concord_row_prefix(storage_id) : concord_entry_prefix(storage_id);
		entry = hash_search(known, &prefix, HASH_ENTER, NULL);
		entry->relid = class->oid;
		entry->shown = false;
	}
	systable_endscan(scan);
	table_close(classes, AccessShareLock);
	return known;
}

/* `storage` tells the prefix; its counters count if `has_counters`. */
static void
put_storage(ReturnSetInfo *result, Oid relid, const CcStorage *storage, bool has_counters)
{
	uint32		storage_id = (uint32) storage->prefix;
	Datum		values[COLUMNS];
	bool		nulls[COLUMNS] = {false};

	nulls[0] = !OidIsValid(relid);
	values[0] = ObjectIdGetDatum(relid);
	values[1] = Int64GetDatum((int64) storage_id);
	values[2] = CStringGetTextDatum(storage->prefix == concord_row_prefix(storage_id) ? "table" : "index");
	nulls[3] = nulls[4] = !has_counters;
	values[3] = Int64GetDatum((int64) storage->rows);
	values[4] = Int64GetDatum((int64) storage->bytes);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

Datum
concord_stat_storage(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	CcStorage	storages[STORAGES_AT_ONCE];
	size_t		count = STORAGES_AT_ONCE;
	uint64		after = 0;
	bool		has_replica;
	HTAB	   *known;
	HASH_SEQ_STATUS rest;
	Known	   *entry;

	concord_require_usable();
	InitMaterializedSRF(fcinfo, 0);
	known = find_known();

	/* Without a sidecar relations are still shown, without counters. */
	has_replica = concord_open_replica() == CC_OK;
	while (has_replica && count == STORAGES_AT_ONCE)
	{
		CHECK_FOR_INTERRUPTS();
		concord_check(cc_replica_storages(after, storages, STORAGES_AT_ONCE, &count));
		for (size_t i = 0; i < count; i++)
		{
			after = storages[i].prefix;
			entry = hash_search(known, &after, HASH_FIND, NULL);
			put_storage(result, entry == NULL ? InvalidOid : entry->relid, &storages[i], true);
			if (entry != NULL)
				entry->shown = true;
		}
	}
	hash_seq_init(&rest, known);
	while ((entry = hash_seq_search(&rest)) != NULL)
	{
		CcStorage	empty = {.prefix = entry->prefix};

		if (!entry->shown)
			put_storage(result, entry->relid, &empty, has_replica);
	}
	return (Datum) 0;
}
