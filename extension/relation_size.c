/*
 * relation_size.c
 *		What tables and indexes take in the cluster.
 *
 * pg_relation_size and its kin look at files, and see only the metapage. The functions of the same names in schema concord answer for
 * Concord tables and indexes from the replica's counters, and ask Postgres' own for all others; ddl/catalog_calls.c puts
 * them in their place.
 */
#include "concord.h"

#include "access/parallel.h"
#include "access/relation.h"
#include "common/relpath.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "ddl/storage_map.h"
#include "xact/share.h"

PG_FUNCTION_INFO_V1(concord_relation_bytes);
PG_FUNCTION_INFO_V1(concord_pg_relation_size);
PG_FUNCTION_INFO_V1(concord_pg_table_size);
PG_FUNCTION_INFO_V1(concord_pg_indexes_size);
PG_FUNCTION_INFO_V1(concord_pg_total_relation_size);

/* CREATE INDEX CONCURRENTLY lets everybody see an index before it begins to build it, and leaves one if it fails. */
static bool
is_only_announced(Relation rel)
{
	uint32		storage_id;

	return concord_is_index(rel) && !rel->rd_index->indisready && concord_file_kind(rel->rd_node, &storage_id) == CONCORD_FILE_EMPTY;
}

/* Keys and values of the current rows, or entries, with those that the transaction has added. */
static int64
storage_bytes(Relation rel)
{
	uint32		storage_id;
	uint64		rows = 0;
	uint64		bytes = 0;
	uint64		own_rows;
	uint64		own_bytes;
	uint64		prefix;
	CcStatus	status;

	if (is_only_announced(rel))
		return 0;
	storage_id = concord_storage_id(rel);
	prefix = concord_is_table(rel) ? concord_row_prefix(storage_id) : concord_entry_prefix(storage_id);
	if (IsParallelWorker())
	{
		concord_check(concord_open_replica());
		concord_share_take();
	}
	else
		(void) concord_newest_lsn();	/* the replica has applied what was committed before the call */
	status = cc_replica_counters(prefix, &rows, &bytes);
	if (status != CC_END)
		concord_check(status);
	cc_ws_added(prefix, &own_rows, &own_bytes);
	return (int64) (bytes + own_bytes);
}

static int64
index_bytes(Relation table)
{
	List	   *indexes = RelationGetIndexList(table);
	int64		bytes = 0;
	ListCell   *cell;

	foreach(cell, indexes)
	{
		Relation	index = relation_open(lfirst_oid(cell), AccessShareLock);

		bytes += storage_bytes(index);
		relation_close(index, AccessShareLock);
	}
	list_free(indexes);
	return bytes;
}

/* Opens a Concord table or index. NULL if it is another relation or none; *exists tells which. */
static Relation
open_ours(Oid relid, bool *exists)
{
	Relation	rel = try_relation_open(relid, AccessShareLock);

	*exists = rel != NULL;
	if (rel == NULL || concord_is_table(rel) || concord_is_index(rel))
		return rel;
	relation_close(rel, AccessShareLock);
	return NULL;
}

Datum
concord_relation_bytes(PG_FUNCTION_ARGS)
{
	Relation	rel = try_relation_open(PG_GETARG_OID(0), AccessShareLock);
	int64		bytes;

	if (rel == NULL)
		PG_RETURN_NULL();
	if (!concord_is_table(rel) && !concord_is_index(rel))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a Concord table or index", RelationGetRelationName(rel)),
				 errhint("Use pg_relation_size.")));
	bytes = storage_bytes(rel);
	relation_close(rel, AccessShareLock);
	PG_RETURN_INT64(bytes);
}

Datum
concord_pg_relation_size(PG_FUNCTION_ARGS)
{
	ForkNumber	fork = forkname_to_number(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	bool		exists;
	Relation	rel = open_ours(PG_GETARG_OID(0), &exists);
	int64		bytes;

	if (!exists)
		PG_RETURN_NULL();
	if (rel == NULL)
		return pg_relation_size(fcinfo);
	bytes = fork == MAIN_FORKNUM ? storage_bytes(rel) : 0;
	relation_close(rel, AccessShareLock);
	PG_RETURN_INT64(bytes);
}

Datum
concord_pg_table_size(PG_FUNCTION_ARGS)
{
	bool		exists;
	Relation	rel = open_ours(PG_GETARG_OID(0), &exists);
	int64		bytes;

	if (!exists)
		PG_RETURN_NULL();
	if (rel == NULL)
		return pg_table_size(fcinfo);
	bytes = storage_bytes(rel);
	relation_close(rel, AccessShareLock);
	PG_RETURN_INT64(bytes);
}

Datum
concord_pg_indexes_size(PG_FUNCTION_ARGS)
{
	bool		exists;
	Relation	rel = open_ours(PG_GETARG_OID(0), &exists);
	int64		bytes;

	if (!exists)
		PG_RETURN_NULL();
	if (rel == NULL)
		return pg_indexes_size(fcinfo);
	bytes = concord_is_table(rel) ? index_bytes(rel) : 0;
	relation_close(rel, AccessShareLock);
	PG_RETURN_INT64(bytes);
}

Datum
concord_pg_total_relation_size(PG_FUNCTION_ARGS)
{
	bool		exists;
	Relation	rel = open_ours(PG_GETARG_OID(0), &exists);
	int64		bytes;

	if (!exists)
		PG_RETURN_NULL();
	if (rel == NULL)
		return pg_total_relation_size(fcinfo);
	bytes = storage_bytes(rel) + (concord_is_table(rel) ? index_bytes(rel) : 0);
	relation_close(rel, AccessShareLock);
	PG_RETURN_INT64(bytes);
}
