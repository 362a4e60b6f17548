/*
 * Index build: the rows' entries, sorted by body, into new storage.
 *
 * An entry gets the LSN of the row version that it stands for, so that the index serves every snapshot that sees the version.
 * Duplicates come together by the sort.
 */
#include "indexam/indexam.h"

#include "access/tableam.h"
#include "access/tupdesc.h"
#include "catalog/index.h"
#include "catalog/pg_type_d.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "tableam/build.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/tuplesort.h"
#include "utils/typcache.h"

/* Columns of what is sorted. */
#define SORT_BODY 1
#define SORT_LSN 2
#define SORT_UNIQUE_SIZE 3		/* bytes of the body that no two rows may share; 0: they may */
#define SORT_VALUE 4
#define SORT_COLUMNS 4

typedef struct Build
{
	const ConcordIndex *ix;
	Tuplesortstate *sort;
	TupleTableSlot *entry;		/* what goes into the sort */
	TupleTableSlot *sorted;		/* what comes out */
	double		entries;
} Build;

static TupleDesc
sort_descriptor(void)
{
	TupleDesc	descriptor = CreateTemplateTupleDesc(SORT_COLUMNS);

	TupleDescInitEntry(descriptor, SORT_BODY, "body", BYTEAOID, -1, 0);
	TupleDescInitEntry(descriptor, SORT_LSN, "lsn", INT8OID, -1, 0);
	TupleDescInitEntry(descriptor, SORT_UNIQUE_SIZE, "unique_size", INT4OID, -1, 0);
	TupleDescInitEntry(descriptor, SORT_VALUE, "value", BYTEAOID, -1, 0);
	return descriptor;
}

static void
begin_sort(Build *build)
{
	TupleDesc	descriptor = sort_descriptor();
	AttrNumber	columns[] = {SORT_BODY, SORT_LSN};
	Oid			operators[] = {lookup_type_cache(BYTEAOID, TYPECACHE_LT_OPR)->lt_opr,
		lookup_type_cache(INT8OID, TYPECACHE_LT_OPR)->lt_opr};
	Oid			collations[] = {InvalidOid, InvalidOid};
	bool		nulls_first[] = {false, false};

	build->entry = MakeSingleTupleTableSlot(descriptor, &TTSOpsVirtual);
	build->sorted = MakeSingleTupleTableSlot(descriptor, &TTSOpsMinimalTuple);
	build->sort = tuplesort_begin_heap(descriptor, lengthof(columns), columns, operators, collations, nulls_first,
									   maintenance_work_mem, NULL, TUPLESORT_NONE);
}

static bytea *
form_bytea(const void *data, size_t size)
{
	bytea	   *result = palloc(VARHDRSZ + size);

	SET_VARSIZE(result, VARHDRSZ + size);
	memcpy(VARDATA(result), data, size);
	return result;
}

static void
build_callback(Relation index, ItemPointer tid, Datum *values, bool *isnull, bool is_alive, void *state)
{
	Build	   *build = state;
	TupleTableSlot *entry = build->entry;
	ConcordBody body;
	size_t		columns_size,
				size;
	bool		has_null;
	uint64		rowid;
	uint8	   *value;
	bytea	   *body_datum,
			   *value_datum;

	if (!is_alive)
		return;					/* entries are exact: none for a row that is gone */
	if (!concord_tid_rowid(tid, &rowid))
		elog(ERROR, "build of index \"%s\" was given a TID that names no row", RelationGetRelationName(index));
	concord_encode_body(index, build->ix, values, isnull, rowid, &body, &columns_size, &has_null);
	value = concord_form_entry(index, values, isnull, rowid, &size);
	body_datum = form_bytea(body.bytes, body.key.size);
	value_datum = form_bytea(value, size);

	ExecClearTuple(entry);
	entry->tts_values[SORT_BODY - 1] = PointerGetDatum(body_datum);
	entry->tts_values[SORT_LSN - 1] = Int64GetDatum((int64) concord_build_row_lsn);
	entry->tts_values[SORT_UNIQUE_SIZE - 1] =
		Int32GetDatum(concord_key_is_unique(build->ix, has_null) ? (int32) columns_size : 0);
	entry->tts_values[SORT_VALUE - 1] = PointerGetDatum(value_datum);
	memset(entry->tts_isnull, 0, SORT_COLUMNS * sizeof(bool));
	ExecStoreVirtualTuple(entry);
	tuplesort_puttupleslot(build->sort, entry);

	pfree(body_datum);
	pfree(value_datum);
	pfree(value);
	build->entries++;
}

static void
raise_duplicate(Relation table, Relation index, const uint8 *value, size_t size)
{
	IndexTuple	tuple = palloc(size - CONCORD_ENTRY_HEADER);
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];
	char	   *key;

	memcpy(tuple, value + CONCORD_ENTRY_HEADER, size - CONCORD_ENTRY_HEADER);
	index_deform_tuple(tuple, RelationGetDescr(index), values, isnull);
	key = BuildIndexValueDescription(index, values, isnull);
	ereport(ERROR,
			(errcode(ERRCODE_UNIQUE_VIOLATION),
			 errmsg("could not create unique index \"%s\"", RelationGetRelationName(index)),
			 key != NULL ? errdetail("Key %s is duplicated.", key) : errdetail("Duplicate keys exist."),
			 errtableconstraint(table, RelationGetRelationName(index))));
}

/* Writes the sorted entries; two of one unique key must be of one row. */
static void
write_entries(Build *build, Relation table, Relation index)
{
	uint64		prefix = concord_entry_prefix(concord_storage_id(index));
	uint8		last[CC_MAX_ENTRY_BODY];
	int32		last_unique_size = 0;
	uint64		last_rowid = 0;

	while (tuplesort_gettupleslot(build->sort, true, false, build->sorted, NULL))
	{
		bytea	   *body,
				   *value;
		const uint8 *bytes;
		size_t		size;
		int32		unique_size;
		uint64		rowid,
					lsn;

		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(build->sorted);
		body = DatumGetByteaPP(build->sorted->tts_values[SORT_BODY - 1]);
		value = DatumGetByteaPP(build->sorted->tts_values[SORT_VALUE - 1]);
		lsn = (uint64) DatumGetInt64(build->sorted->tts_values[SORT_LSN - 1]);
		unique_size = DatumGetInt32(build->sorted->tts_values[SORT_UNIQUE_SIZE - 1]);
		bytes = (const uint8 *) VARDATA_ANY(value);
		size = VARSIZE_ANY_EXHDR(value);
		rowid = concord_entry_rowid(bytes);

		if (unique_size > 0)
		{
			if (unique_size == last_unique_size && rowid != last_rowid &&
				memcmp(last, VARDATA_ANY(body), unique_size) == 0)
				raise_duplicate(table, index, bytes, size);
			memcpy(last, VARDATA_ANY(body), unique_size);
			last_rowid = rowid;
		}
		last_unique_size = unique_size;
		concord_bulk_put(index, prefix, VARDATA_ANY(body), VARSIZE_ANY_EXHDR(body), bytes, size, lsn);
	}
	concord_bulk_flush();
}

IndexBuildResult *
concord_ambuild(Relation table, Relation index, struct IndexInfo *index_info)
{
	IndexBuildResult *result = palloc0(sizeof(IndexBuildResult));
	Build		build = {.ix = concord_index_describe(index)};

	if (!concord_is_table(table))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("access method concord_btree cannot index table \"%s\"", RelationGetRelationName(table)),
				 errdetail("Its table access method is not concord.")));
	concord_storage_create(index->rd_node, index->rd_rel->relpersistence, false);
	begin_sort(&build);
	result->heap_tuples = table_index_build_scan(table, index, index_info, true, true, build_callback, &build, NULL);
	tuplesort_performsort(build.sort);
	write_entries(&build, table, index);
	tuplesort_end(build.sort);
	ExecDropSingleTupleTableSlot(build.entry);
	ExecDropSingleTupleTableSlot(build.sorted);
	result->index_tuples = build.entries;
	return result;
}

void
concord_ambuildempty(Relation index)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("unlogged indexes are not supported by access method concord_btree")));
}
