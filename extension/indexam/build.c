/*
 * Index build: the entries of row versions, sorted by body, into new storage.
 *
 * An entry lives as long as the version that it stands for (tableam/build.h), so that the index serves every snapshot that sees
 * the version: it is put at the version's LSN and deleted at its successor's, unless another one begins there.
 * Entries of the running transaction's own versions go to its write set: they become visible with their rows, at its commit.
 * Duplicates come together by the sort.
 */
#include "indexam/indexam.h"

#include "access/nbtree.h"
#include "access/tableam.h"
#include "access/tupdesc.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/pg_type_d.h"
#include "commands/progress.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "pgstat.h"
#include "tableam/build.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/tuplesort.h"
#include "utils/typcache.h"

/* Columns of what is sorted. */
#define SORT_BODY 1
#define SORT_LSN 2
#define SORT_VALUE 3			/* NULL: the row's entry ends here; comes before one that begins here */
#define SORT_ROWID 4
#define SORT_UNIQUE_SIZE 5		/* bytes of the body that no two rows may share now; 0: they may */
#define SORT_COLUMNS 5

typedef struct Build
{
	const ConcordIndex *ix;
	bool		unique;			/* duplicates are errors */
	Tuplesortstate *sort;
	TupleTableSlot *entry;		/* what goes into the sort */
	TupleTableSlot *sorted;		/* what comes out */
	MemoryContext row_context;	/* reset for each row */
	double		entries;
	int64		begins;			/* entries, and those of older versions */
} Build;

static TupleDesc
sort_descriptor(void)
{
	TupleDesc	descriptor = CreateTemplateTupleDesc(SORT_COLUMNS);

	TupleDescInitEntry(descriptor, SORT_BODY, "body", BYTEAOID, -1, 0);
	TupleDescInitEntry(descriptor, SORT_LSN, "lsn", INT8OID, -1, 0);
	TupleDescInitEntry(descriptor, SORT_VALUE, "value", BYTEAOID, -1, 0);
	TupleDescInitEntry(descriptor, SORT_ROWID, "rowid", INT8OID, -1, 0);
	TupleDescInitEntry(descriptor, SORT_UNIQUE_SIZE, "unique_size", INT4OID, -1, 0);
	return descriptor;
}

static void
begin_sort(Build *build)
{
	TupleDesc	descriptor = sort_descriptor();
	Oid			bytea_less = lookup_type_cache(BYTEAOID, TYPECACHE_LT_OPR)->lt_opr;
	AttrNumber	columns[] = {SORT_BODY, SORT_LSN, SORT_VALUE};
	Oid			operators[] = {bytea_less, lookup_type_cache(INT8OID, TYPECACHE_LT_OPR)->lt_opr, bytea_less};
	Oid			collations[] = {InvalidOid, InvalidOid, InvalidOid};
	bool		nulls_first[] = {false, false, true};

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
put_sort(Build *build, bytea *body, uint64 lsn, bytea *value, uint64 rowid, size_t unique_size)
{
	TupleTableSlot *entry = build->entry;

	ExecClearTuple(entry);
	entry->tts_values[SORT_BODY - 1] = PointerGetDatum(body);
	entry->tts_values[SORT_LSN - 1] = Int64GetDatum((int64) lsn);
	entry->tts_values[SORT_VALUE - 1] = PointerGetDatum(value);
	entry->tts_values[SORT_ROWID - 1] = Int64GetDatum((int64) rowid);
	entry->tts_values[SORT_UNIQUE_SIZE - 1] = Int32GetDatum((int32) unique_size);
	memset(entry->tts_isnull, 0, SORT_COLUMNS * sizeof(bool));
	entry->tts_isnull[SORT_VALUE - 1] = value == NULL;
	ExecStoreVirtualTuple(entry);
	tuplesort_puttupleslot(build->sort, entry);
	build->begins += value != NULL;
}

static void
build_callback(Relation index, ItemPointer tid, Datum *values, bool *isnull, bool is_alive, void *state)
{
	Build	   *build = state;
	ConcordVersionLife life = concord_build_version;
	ConcordBody body;
	size_t		columns_size,
				size;
	bool		has_null;
	uint64		rowid;
	uint8	   *value;
	bytea	   *body_datum,
			   *value_datum;
	MemoryContext caller = MemoryContextSwitchTo(build->row_context);

	if (!concord_tid_rowid(tid, &rowid))
		elog(ERROR, "build of index \"%s\" was given a TID that names no row", RelationGetRelationName(index));
	concord_encode_body(index, build->ix, values, isnull, rowid, &body, &columns_size, &has_null);
	value = concord_form_entry(index, values, isnull, rowid, &size);
	body_datum = form_bytea(body.bytes, body.key.size);
	value_datum = form_bytea(value, size);

	put_sort(build, body_datum, life.begin, value_datum, rowid,
			 is_alive && build->unique && concord_key_is_unique(build->ix, has_null) ? columns_size : 0);
	if (is_alive)
		build->entries++;
	else
		put_sort(build, body_datum, life.end, NULL, rowid, 0);

	MemoryContextSwitchTo(caller);
	MemoryContextReset(build->row_context);
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

/* ---- what comes out of the sort ---- */

typedef struct SortedEntry
{
	bytea	   *body;
	uint64		lsn;
	bytea	   *value;			/* NULL: the row's entry ends */
	uint64		rowid;
	int32		unique_size;
} SortedEntry;

/* The entries of one body, in order of LSN. */
typedef struct Writer
{
	Relation	table;
	Relation	index;
	const ConcordIndex *ix;
	uint64		prefix;
	bytea	   *body;
	bytea	   *value;			/* last one written, NULL: none */
	uint64		begun;			/* its LSN */
	uint64		rowid;
	bool		ended;			/* it ends at `end`, which is not written yet: another one may begin there */
	uint64		end;
	bool		inexact;		/* two rows had one body at the same time */
	ConcordBody unique;			/* columns of the last current entry of a unique key */
	uint64		unique_rowid;
	MemoryContext alike_context;
	List	   *alike;			/* all that have these columns, if they are lossy */
} Writer;

static bool
next_entry(Build *build, SortedEntry *entry)
{
	Datum	   *values;

	if (!tuplesort_gettupleslot(build->sort, true, false, build->sorted, NULL))
		return false;
	slot_getallattrs(build->sorted);
	values = build->sorted->tts_values;
	entry->body = DatumGetByteaPP(values[SORT_BODY - 1]);
	entry->lsn = (uint64) DatumGetInt64(values[SORT_LSN - 1]);
	entry->value = build->sorted->tts_isnull[SORT_VALUE - 1] ? NULL : DatumGetByteaPP(values[SORT_VALUE - 1]);
	entry->rowid = (uint64) DatumGetInt64(values[SORT_ROWID - 1]);
	entry->unique_size = DatumGetInt32(values[SORT_UNIQUE_SIZE - 1]);
	return true;
}

/* A current entry that others have the columns of, as far as their encoding tells. */
typedef struct Alike
{
	uint64		rowid;
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];
} Alike;

/* True if an earlier entry with these columns, of another row, has equal values. The encoding is lossy, so they need not be. */
static bool
has_equal(Writer *writer, const SortedEntry *entry, bool same_columns)
{
	MemoryContext caller;
	Alike	   *alike;
	ListCell   *cell;
	bool		found = false;

	if (!same_columns)
	{
		MemoryContextReset(writer->alike_context);
		writer->alike = NIL;
	}
	caller = MemoryContextSwitchTo(writer->alike_context);
	alike = palloc(sizeof(Alike));
	alike->rowid = entry->rowid;
	(void) concord_deform_entry(writer->index, (const uint8 *) VARDATA_ANY(entry->value), VARSIZE_ANY_EXHDR(entry->value),
								alike->values, alike->isnull);
	foreach(cell, writer->alike)
	{
		Alike	   *other = lfirst(cell);

		found = found || (other->rowid != alike->rowid &&
						  concord_same_key(writer->index, writer->ix, entry->unique_size, alike->values, alike->isnull,
										   other->values, other->isnull));
	}
	writer->alike = lappend(writer->alike, alike);
	MemoryContextSwitchTo(caller);
	return found;
}

static bool
same_bytes(bytea *a, bytea *b)
{
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

/* Two current entries with the same unique columns must be of one row. */
static void
check_unique(Writer *writer, const SortedEntry *entry)
{
	bool		same_columns = writer->unique.key.size == entry->unique_size &&
		memcmp(writer->unique.bytes, VARDATA_ANY(entry->body), entry->unique_size) == 0;

	if (concord_key_is_lossy(writer->ix, entry->unique_size) ? has_equal(writer, entry, same_columns)
		: same_columns && entry->rowid != writer->unique_rowid)
	{
		/* They may be equal and look different: named is the one that came first, as heap's build does. */
		bytea	   *named = writer->value != NULL && writer->rowid == writer->unique_rowid &&
			same_bytes(writer->body, entry->body) ? writer->value : entry->value;

		raise_duplicate(writer->table, writer->index, (const uint8 *) VARDATA_ANY(named), VARSIZE_ANY_EXHDR(named));
	}
	memcpy(writer->unique.bytes, VARDATA_ANY(entry->body), entry->unique_size);
	writer->unique.key.size = entry->unique_size;
	writer->unique_rowid = entry->rowid;
}

/* A copy of a datum that the sort keeps only until its next tuple; `old` is freed. */
static bytea *
keep(bytea *old, bytea *datum)
{
	if (old != NULL)
		pfree(old);
	return datum == NULL ? NULL : form_bytea(VARDATA_ANY(datum), VARSIZE_ANY_EXHDR(datum));
}

static void
write_version(Writer *writer, uint64 lsn, bytea *value)
{
	const char *body = VARDATA_ANY(writer->body);
	size_t		body_size = VARSIZE_ANY_EXHDR(writer->body);
	uint64		no_alias;

	if (lsn != CONCORD_OWN_LSN)
		concord_bulk_put(writer->index, writer->prefix, body, body_size, value != NULL ? VARDATA_ANY(value) : NULL,
						 value != NULL ? VARSIZE_ANY_EXHDR(value) : 0, lsn);
	else if (value == NULL)
		concord_check(cc_ws_delete(writer->prefix, body, body_size, GetCurrentCommandId(true)));
	else
		concord_check(cc_ws_put(writer->prefix, body, body_size, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value),
								GetCurrentCommandId(true), writer->value == NULL, false, &no_alias));
}

static void
write_end(Writer *writer)
{
	if (!writer->ended)
		return;
	write_version(writer, writer->end, NULL);
	writer->value = keep(writer->value, NULL);
	writer->ended = false;
}

static void
write_entry(Writer *writer, const SortedEntry *entry)
{
	if (writer->body == NULL || !same_bytes(writer->body, entry->body))
	{
		write_end(writer);
		writer->value = keep(writer->value, NULL);
		writer->body = keep(writer->body, entry->body);
	}
	if (entry->value == NULL)
	{
		if (writer->value != NULL && writer->rowid == entry->rowid)
		{
			writer->ended = true;
			writer->end = entry->lsn;
		}
		return;
	}
	if (writer->value != NULL && !writer->ended)
	{
		writer->inexact = true;
		if (writer->begun == entry->lsn)
			return;
	}
	if (writer->ended && writer->end != entry->lsn)
		write_end(writer);
	writer->ended = false;
	if (writer->value == NULL || !same_bytes(writer->value, entry->value))
	{
		write_version(writer, entry->lsn, entry->value);
		writer->value = keep(writer->value, entry->value);
	}
	writer->begun = entry->lsn;
	writer->rowid = entry->rowid;
}

/*
 * Returns false if older snapshots must not use the index: rows that are duplicates only for them have one entry, as a unique
 * index has no place for more.
 */
static bool
write_entries(Build *build, Relation table, Relation index)
{
	Writer		writer = {
		.table = table,
		.index = index,
		.ix = build->ix,
		.prefix = concord_entry_prefix(concord_storage_id(index)),
		.alike_context = AllocSetContextCreate(CurrentMemoryContext, "Concord index build, alike keys", ALLOCSET_SMALL_SIZES)
	};
	SortedEntry entry;
	int64		done = 0;

	concord_body_init(&writer.unique);
	while (next_entry(build, &entry))
	{
		CHECK_FOR_INTERRUPTS();
		if (entry.value != NULL)
			pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, ++done);
		if (entry.unique_size > 0)
			check_unique(&writer, &entry);
		write_entry(&writer, &entry);
	}
	write_end(&writer);
	MemoryContextDelete(writer.alike_context);
	concord_bulk_flush();
	return !writer.inexact;
}

/* Who makes a hash index, which becomes one of ours, counts with hash's strategy for `=`. */
static void
correct_exclusion_strategies(Relation index, struct IndexInfo *index_info)
{
	for (int i = 0; index_info->ii_ExclusionOps != NULL && i < IndexRelationGetNumberOfKeyAttributes(index); i++)
		index_info->ii_ExclusionStrats[i] = get_op_opfamily_strategy(index_info->ii_ExclusionOps[i], index->rd_opfamily[i]);
}

static void
note_scanned(const Build *build)
{
	const int	params[] = {PROGRESS_CREATEIDX_SUBPHASE, PROGRESS_CREATEIDX_TUPLES_TOTAL, PROGRESS_SCAN_BLOCKS_TOTAL,
		PROGRESS_SCAN_BLOCKS_DONE};
	const int64 values[] = {PROGRESS_BTREE_PHASE_PERFORMSORT_1, build->begins, 0, 0};

	pgstat_progress_update_multi_param(lengthof(params), params, values);
}

IndexBuildResult *
concord_ambuild(Relation table, Relation index, struct IndexInfo *index_info)
{
	IndexBuildResult *result = palloc0(sizeof(IndexBuildResult));
	/* Not what the index says: VACUUM FULL builds one that is not valid as if it were not unique. */
	Build		build = {.ix = concord_index_describe(index), .unique = index_info->ii_Unique};

	if (!concord_is_table(table))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("access method concord_btree cannot index table \"%s\"", RelationGetRelationName(table)),
				 errdetail("Its table access method is not concord.")));
	correct_exclusion_strategies(index, index_info);
	concord_storage_create(index->rd_node, index->rd_rel->relpersistence, false);
	begin_sort(&build);
	build.row_context = AllocSetContextCreate(CurrentMemoryContext, "Concord index build, row", ALLOCSET_SMALL_SIZES);
	/* The phases are btree's, as CREATE INDEX has named that to pg_stat_progress_create_index before the index became ours. */
	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, PROGRESS_BTREE_PHASE_INDEXBUILD_TABLESCAN);
	result->heap_tuples = table_index_build_scan(table, index, index_info, true, true, build_callback, &build, NULL);
	note_scanned(&build);
	tuplesort_performsort(build.sort);
	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, PROGRESS_BTREE_PHASE_LEAF_LOAD);
	if (!write_entries(&build, table, index))
		index_info->ii_BrokenHotChain = true;
	tuplesort_end(build.sort);
	MemoryContextDelete(build.row_context);
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
