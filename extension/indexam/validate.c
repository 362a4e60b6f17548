/*
 * Rows against entries: what CREATE INDEX CONCURRENTLY does last.
 *
 * Between the build and the moment from which every writer maintains the index, rows change without their entries. So first
 * each entry is compared with its row as it is now, and removed if the row would not make it; then each row's entry is looked
 * up, and added if missing. Others write all the while: what is changed here is checked against them when this transaction
 * commits, by a share check on the row.
 */
#include "indexam/indexam.h"

#include "access/relscan.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "tableam/build.h"
#include "tableam/tableam.h"
#include "utils/snapmgr.h"

struct ConcordRowKey
{
	Relation	table;
	Relation	index;
	IndexInfo  *info;
	const ConcordIndex *ix;
	EState	   *estate;
	ExprState  *predicate;
	TupleTableSlot *slot;
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];
};

ConcordRowKey *
concord_row_key_begin(Relation table, Relation index, struct IndexInfo *index_info)
{
	ConcordRowKey *self = palloc0(sizeof(ConcordRowKey));

	self->table = table;
	self->index = index;
	self->ix = concord_index_describe(index);
	/* Its expression states belong to the EState made here, so it must be our own. */
	self->info = makeNode(IndexInfo);
	*self->info = *index_info;
	self->info->ii_ExpressionsState = NIL;
	self->info->ii_PredicateState = NULL;
	self->estate = CreateExecutorState();
	self->predicate = ExecPrepareQual(self->info->ii_Predicate, self->estate);
	self->slot = table_slot_create(table, NULL);
	return self;
}

void
concord_row_key_end(ConcordRowKey *self)
{
	ExecDropSingleTupleTableSlot(self->slot);
	FreeExecutorState(self->estate);
	pfree(self->info);
	pfree(self);
}

bool
concord_row_key_of_slot(ConcordRowKey *self, TupleTableSlot *slot, uint64 rowid, ConcordBody *body)
{
	ExprContext *context = GetPerTupleExprContext(self->estate);
	size_t		columns_size;
	bool		has_null;

	ResetExprContext(context);
	context->ecxt_scantuple = slot;
	if (!ExecQual(self->predicate, context))
		return false;
	FormIndexDatum(self->info, slot, self->estate, self->values, self->isnull);
	concord_encode_body(self->index, self->ix, self->values, self->isnull, rowid, body, &columns_size, &has_null);
	return true;
}

bool
concord_row_key_now(ConcordRowKey *self, uint64 rowid, ConcordBody *body)
{
	ItemPointerData tid;

	concord_tid_from_rowid(&tid, rowid);
	return table_tuple_fetch_row_version(self->table, &tid, SnapshotSelf, self->slot) &&
		concord_row_key_of_slot(self, self->slot, rowid, body);
}

bool
concord_row_key_same(ConcordRowKey *self, Datum *values)
{
	return concord_index_same_key(self->index, self->ix, self->values, values, self->isnull);
}

static bool
same_body(const ConcordBody *body, const uint8 *bytes, size_t size)
{
	return body->key.size == size && memcmp(body->bytes, bytes, size) == 0;
}

/* The rowid of the entry that is there now; false if there is none. */
static bool
entry_now(uint64 prefix, const uint8 *bytes, size_t size, uint64 *rowid)
{
	CcVisible	visible;
	CcStatus	status = cc_visible_get(prefix, bytes, size, concord_newest_lsn(), CC_ALL_COMMANDS, &visible);

	if (status == CC_END)
		return false;
	concord_check(status);
	*rowid = concord_entry_rowid(visible.entry.value);
	if (visible.entry.view != NULL)
		cc_view_unpin(visible.entry.view);
	return true;
}

/* What is done about a row rests on its being as it was at `lsn`. */
static void
check_row(Relation table, uint64 rowid, uint64 lsn)
{
	uint8		body[ROW_BODY_SIZE];

	concord_row_body(body, rowid);
	concord_check(cc_ws_check(concord_rel_prefix(table), body, sizeof(body), CC_SHARE, lsn));
}

static void
close_cursor(void *cursor)
{
	cc_scan_close(cursor);
}

/* Is the entry's value the one that the row has? Of a lossy body it may be another one. */
static bool
same_value(ConcordRowKey *row_key, uint64 rowid, const CcEntry *entry)
{
	size_t		size;
	uint8	   *value = concord_form_entry(row_key->index, row_key->values, row_key->isnull, rowid, &size);
	bool		same = size == entry->value_size && memcmp(value, entry->value, size) == 0;

	pfree(value);
	return same;
}

static void
remove_stale_entries(ConcordRowKey *row_key)
{
	uint64		prefix = concord_entry_prefix(concord_storage_id(row_key->index));
	CcScan	   *cursor;
	ConcordResource resource;
	CcVisible	visible;
	CcStatus	status;

	concord_check(cc_scan_open(prefix, concord_newest_lsn(), CC_ALL_COMMANDS, &cursor));
	resource = concord_resource_track(cursor, close_cursor);
	concord_check(cc_scan_seek(cursor, NULL, 0, false, false));
	while ((status = cc_scan_next(cursor, false, &visible)) == CC_OK)
	{
		uint64		rowid = concord_entry_rowid(visible.entry.value);
		uint64		lsn = concord_newest_lsn();
		uint8		bytes[CC_MAX_ENTRY_BODY];
		size_t		size = visible.entry.key_size;
		uint64		now;
		ConcordBody body;

		CHECK_FOR_INTERRUPTS();
		memcpy(bytes, visible.entry.key, size);
		if (concord_row_key_now(row_key, rowid, &body) && same_body(&body, bytes, size) &&
			(!concord_key_is_lossy(row_key->ix, size) || same_value(row_key, rowid, &visible.entry)))
			continue;
		/* It may have been removed with the row's change. */
		if (!entry_now(prefix, bytes, size, &now) || now != rowid)
			continue;
		check_row(row_key->table, rowid, lsn);
		concord_check(cc_ws_delete(prefix, bytes, size, GetCurrentCommandId(true)));
	}
	if (status != CC_END)
		concord_check(status);
	concord_resource_release(&resource);
}

static void
add_missing_entries(ConcordRowKey *row_key, Snapshot snapshot, double *rows, double *added)
{
	uint64		prefix = concord_entry_prefix(concord_storage_id(row_key->index));
	TupleTableSlot *slot = table_slot_create(row_key->table, NULL);
	TableScanDesc scan = table_beginscan(row_key->table, snapshot, 0, NULL);
	ConcordScanProgress progress;

	concord_progress_begin(&progress, row_key->table);
	((ConcordScan) scan)->unnoted = true;
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		ItemPointerData tid = slot->tts_tid;
		uint64		lsn,
					rowid,
					now;
		ConcordBody then,
					body;

		CHECK_FOR_INTERRUPTS();
		concord_progress_note(&progress, *rows);
		(*rows)++;
		if (!concord_tid_rowid(&tid, &rowid))
			elog(ERROR, "table scan of \"%s\" returned a TID that names no row", RelationGetRelationName(row_key->table));
		if (!concord_row_key_of_slot(row_key, slot, rowid, &then) ||
			(entry_now(prefix, then.bytes, then.key.size, &now) && now == rowid))
			continue;
		/* Whoever changed the row meanwhile has maintained the index. */
		lsn = concord_newest_lsn();
		if (!concord_row_key_now(row_key, rowid, &body) || !same_body(&body, then.bytes, then.key.size))
			continue;
		check_row(row_key->table, rowid, lsn);
		concord_aminsert(row_key->index, row_key->values, row_key->isnull, &tid, row_key->table,
						 row_key->ix->unique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO, false, row_key->info);
		(*added)++;
	}
	table_endscan(scan);
	concord_progress_end(&progress);
	ExecDropSingleTupleTableSlot(slot);
}

void
concord_index_validate(Relation table, Relation index, struct IndexInfo *index_info, Snapshot snapshot, double *rows,
					   double *added)
{
	ConcordRowKey *row_key = concord_row_key_begin(table, index, index_info);

	concord_note_write(table);
	remove_stale_entries(row_key);
	add_missing_entries(row_key, snapshot, rows, added);
	concord_row_key_end(row_key);
}
