/*
 * check.c
 *		concord.check(regclass): compares a Concord index, or all of a table's, with the table's rows, as of one read LSN.
 *
 * An entry that is visible at a read LSN is exact, so at any LSN entries and rows must correspond one to one: each row that the
 * index's predicate lets in has the entry that its columns make, and each entry is its row's. One line comes back for each place
 * where they do not. What storage alone can tell, "concordctl check" verifies.
 */
#include "indexam/indexam.h"

#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "tableam/tableam.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(concord_check_relation);

/* Of one index: whoever has that many needs REINDEX, not a longer list. */
#define PROBLEMS_MAX 100

typedef struct Check
{
	Relation	table;
	Relation	index;
	Snapshot	snapshot;
	ConcordReadPoint point;
	ConcordRowKey *row_key;
	ReturnSetInfo *result;
	int			problems;
} Check;

static void
add_problem(Check *check, uint64 rowid, const char *what)
{
	Datum		values[3];
	bool		nulls[3] = {false};
	ItemPointerData tid;

	concord_tid_from_rowid(&tid, rowid);
	values[0] = ObjectIdGetDatum(RelationGetRelid(check->index));
	values[1] = PointerGetDatum(&tid);
	values[2] = CStringGetTextDatum(what);
	tuplestore_putvalues(check->result->setResult, check->result->setDesc, values, nulls);
	check->problems++;
}

static void
close_cursor(void *cursor)
{
	cc_scan_close(cursor);
}

static void
check_rows(Check *check)
{
	uint64		prefix = concord_entry_prefix(concord_storage_id(check->index));
	TupleTableSlot *slot = table_slot_create(check->table, NULL);
	TableScanDesc scan = table_beginscan(check->table, check->snapshot, 0, NULL);

	while (check->problems < PROBLEMS_MAX && table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		uint64		rowid;
		ConcordBody body;
		CcVisible	visible;
		CcStatus	status;

		CHECK_FOR_INTERRUPTS();
		if (!concord_tid_rowid(&slot->tts_tid, &rowid))
			elog(ERROR, "table scan of \"%s\" returned a TID that names no row", RelationGetRelationName(check->table));
		if (!concord_row_key_of_slot(check->row_key, slot, rowid, &body))
			continue;
		status = cc_visible_get(prefix, body.bytes, body.key.size, check->point.lsn, check->point.curcid, &visible);
		if (status == CC_END)
		{
			add_problem(check, rowid, "the row has no entry");
			continue;
		}
		concord_check(status);
		if (concord_entry_rowid(visible.entry.value) != rowid)
			add_problem(check, rowid, "the entry of the row's key names another row");
		if (visible.entry.view != NULL)
			cc_view_unpin(visible.entry.view);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
}

/* True if the columns that the entry holds make its key, as far as that tells. */
static bool
holds_its_key(Check *check, const CcEntry *entry, uint64 rowid)
{
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];
	IndexTuple	tuple = concord_deform_entry(check->index, entry->value, entry->value_size, values, isnull);
	ConcordBody body;
	size_t		columns_size;
	bool		has_null,
				same;

	concord_encode_body(check->index, concord_index_describe(check->index), values, isnull, rowid, &body, &columns_size,
						&has_null);
	same = body.key.size == entry->key_size && memcmp(body.bytes, entry->key, body.key.size) == 0;
	pfree(tuple);
	return same;
}

static void
check_entries(Check *check)
{
	uint64		prefix = concord_entry_prefix(concord_storage_id(check->index));
	TupleTableSlot *slot = table_slot_create(check->table, NULL);
	CcScan	   *cursor;
	ConcordResource resource;
	CcVisible	visible;
	CcStatus	status = CC_END;

	concord_check(cc_scan_open(prefix, check->point.lsn, check->point.curcid, &cursor));
	resource = concord_resource_track(cursor, close_cursor);
	concord_check(cc_scan_seek(cursor, NULL, 0, false, false));
	while (check->problems < PROBLEMS_MAX && (status = cc_scan_next(cursor, false, &visible)) == CC_OK)
	{
		uint64		rowid = concord_entry_rowid(visible.entry.value);
		uint8		bytes[CC_MAX_ENTRY_BODY];
		size_t		size = visible.entry.key_size;
		bool		holds_key = holds_its_key(check, &visible.entry, rowid);
		ItemPointerData tid;
		ConcordBody body;

		CHECK_FOR_INTERRUPTS();
		memcpy(bytes, visible.entry.key, size);
		concord_tid_from_rowid(&tid, rowid);
		if (!table_tuple_fetch_row_version(check->table, &tid, check->snapshot, slot))
			add_problem(check, rowid, "an entry names this row, which does not exist");
		else if (!concord_row_key_of_slot(check->row_key, slot, rowid, &body))
			add_problem(check, rowid, "an entry names this row, which the index's predicate excludes");
		else if (body.key.size != size || memcmp(body.bytes, bytes, size) != 0)
			add_problem(check, rowid, "an entry names this row, whose columns are others");
		else if (!holds_key)
			add_problem(check, rowid, "an entry of this row holds other columns than its key");
	}
	if (status != CC_OK && status != CC_END)
		concord_check(status);
	concord_resource_release(&resource);
	ExecDropSingleTupleTableSlot(slot);
}

static void
check_index(Relation table, Oid index_oid, Snapshot snapshot, ReturnSetInfo *result)
{
	Check		check = {
		.table = table,
		.index = index_open(index_oid, AccessShareLock),
		.snapshot = snapshot,
		.result = result
	};

	/* One that is being made, or whose making failed, need not have all entries. */
	if (concord_is_index(check.index) && check.index->rd_index->indisvalid)
	{
		check.point = concord_read_point_for(table, snapshot);
		check.row_key = concord_row_key_begin(table, check.index, BuildIndexInfo(check.index));
		check_rows(&check);
		check_entries(&check);
		concord_row_key_end(check.row_key);
	}
	index_close(check.index, AccessShareLock);
}

Datum
concord_check_relation(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	Oid			table_oid = get_rel_relkind(relid) == RELKIND_INDEX ? IndexGetRelation(relid, false) : relid;
	Relation	table;
	Snapshot	snapshot;
	Oid			save_userid;
	int			save_sec_context;
	int			save_nestlevel;

	InitMaterializedSRF(fcinfo, 0);
	table = table_open(table_oid, AccessShareLock);
	if (!concord_is_table(table))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a Concord table, nor an index of one", get_rel_name(relid)),
				 errhint("Of a partitioned table, check the partitions. For heap there is amcheck.")));

	/* Index expressions are code of the table's owner. */
	GetUserIdAndSecContext(&save_userid, &save_sec_context);
	SetUserIdAndSecContext(table->rd_rel->relowner, save_sec_context | SECURITY_RESTRICTED_OPERATION);
	save_nestlevel = NewGUCNestLevel();

	snapshot = RegisterSnapshot(GetTransactionSnapshot());
	PushActiveSnapshot(snapshot);
	if (relid != table_oid)
		check_index(table, relid, snapshot, (ReturnSetInfo *) fcinfo->resultinfo);
	else
	{
		List	   *indexes = RelationGetIndexList(table);
		ListCell   *cell;

		foreach(cell, indexes)
			check_index(table, lfirst_oid(cell), snapshot, (ReturnSetInfo *) fcinfo->resultinfo);
		list_free(indexes);
	}
	PopActiveSnapshot();
	UnregisterSnapshot(snapshot);

	AtEOXact_GUC(false, save_nestlevel);
	SetUserIdAndSecContext(save_userid, save_sec_context);
	table_close(table, AccessShareLock);
	return (Datum) 0;
}
