/*
 * cluster.c
 *		VACUUM FULL and CLUSTER: every row with all its versions into new storage.
 *
 * Rows get new rowids, in scan or index order. Each version keeps its own LSN, so that the snapshots that saw it in the old
 * storage see it in the new one: a transaction older than the rewrite may come to the table after it. Rows that are deleted, but
 * not for all snapshots, move too.
 */
#include "tableam/tableam.h"

#include "access/genam.h"
#include "access/multixact.h"
#include "access/xact.h"
#include "commands/progress.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "pgstat.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

typedef struct RowVersion
{
	uint64		lsn;			/* 0: of the running transaction */
	Size		size;			/* 0: deletion */
	void	   *value;
} RowVersion;

typedef struct Rewrite
{
	Relation	old_table;
	Relation	new_table;
	uint64		old_prefix;
	uint64		new_prefix;
	ConcordReadPoint point;
	CcCursor   *cursor;			/* all versions of the old storage */
	CcEntry		ahead;			/* read and not yet used */
	bool		has_ahead;
	MemoryContext row_context;	/* the versions of one row */
	Datum	   *values;
	bool	   *isnull;
	double		live;
	double		dead;
} Rewrite;

static void
close_cursor(void *cursor)
{
	cc_cursor_close((CcCursor *) cursor);
}

/* The version as the new table keeps it: no values of dropped columns, and those that ALTER TABLE only promised. */
static RowVersion *
make_version(Rewrite *rewrite, const uint8 *value, Size size, uint64 lsn)
{
	TupleDesc	desc = RelationGetDescr(rewrite->old_table);
	RowVersion *version = palloc0(sizeof(RowVersion));
	HeapTupleData old = {.t_len = size, .t_data = (HeapTupleHeader) unconstify(uint8 *, value)};
	bool		reform;

	version->lsn = lsn;
	if (size == 0)
		return version;

	reform = HeapTupleHeaderGetNatts(old.t_data) < desc->natts;
	for (int i = 0; i < desc->natts && !reform; i++)
		reform = TupleDescAttr(desc, i)->attisdropped;
	if (reform)
	{
		TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(rewrite->new_table), &TTSOpsHeapTuple);
		HeapTuple	formed;

		heap_deform_tuple(&old, desc, rewrite->values, rewrite->isnull);
		for (int i = 0; i < desc->natts; i++)
			if (TupleDescAttr(desc, i)->attisdropped)
				rewrite->isnull[i] = true;
		formed = heap_form_tuple(RelationGetDescr(rewrite->new_table), rewrite->values, rewrite->isnull);
		ExecStoreHeapTuple(formed, slot, false);
		version->value = concord_form_value(rewrite->new_table, slot, &version->size);
		HeapTupleHeaderSetXmin((HeapTupleHeader) version->value, HeapTupleHeaderGetRawXmin(old.t_data));
		ExecDropSingleTupleTableSlot(slot);
	}
	else
	{
		version->value = palloc(size);
		memcpy(version->value, value, size);
		version->size = size;
	}
	return version;
}

/* One version; `first` if there is none under it. An own one is nobody else's to see before the commit. */
static void
put_version(Rewrite *rewrite, const uint8 *body, RowVersion *version, bool first)
{
	CommandId	cid = GetCurrentCommandId(true);
	uint64		alias;

	if (version->lsn != 0)
		concord_bulk_put(rewrite->new_table, rewrite->new_prefix, body, ROW_BODY_SIZE,
						 version->size != 0 ? version->value : NULL, version->size, version->lsn);
	else if (version->size == 0)
		concord_check(cc_ws_delete(rewrite->new_prefix, body, ROW_BODY_SIZE, cid));
	else
		concord_check(cc_ws_put(rewrite->new_prefix, body, ROW_BODY_SIZE, version->value, version->size, cid, first,
								!first, &alias));
}

/* Writes the versions (newest first) of one row; a deletion with nothing under it is none. */
static void
put_versions(Rewrite *rewrite, List *versions)
{
	uint8		body[ROW_BODY_SIZE];
	bool		is_live = ((RowVersion *) linitial(versions))->size != 0;
	bool		begun = false;

	for (int i = list_length(versions) - 1; i >= 0; i--)
	{
		RowVersion *version = list_nth(versions, i);

		if (version->size == 0 && !begun)
			continue;
		if (!begun)
			concord_row_body(body, concord_take_rowids((uint32) rewrite->new_prefix, 1));
		put_version(rewrite, body, version, !begun);
		begun = true;
	}
	if (is_live)
		rewrite->live += 1;
	else if (begun)
		rewrite->dead += 1;
	pgstat_progress_update_param(PROGRESS_CLUSTER_HEAP_TUPLES_WRITTEN, (int64) rewrite->live);
}

static bool
peek(Rewrite *rewrite)
{
	CcStatus	status;

	if (rewrite->has_ahead)
		return true;
	CHECK_FOR_INTERRUPTS();
	status = cc_cursor_next_version(rewrite->cursor, &rewrite->ahead);
	if (status == CC_END)
		return false;
	concord_check(status);
	rewrite->has_ahead = true;
	return true;
}

/*
 * All versions of the row that the cursor stands before, own newest one included, newest first; in the current memory context.
 * NIL at the end of the storage.
 */
static List *
next_row(Rewrite *rewrite, uint64 *rowid)
{
	List	   *versions = NIL;
	CcOwn		own;

	if (!peek(rewrite))
		return NIL;
	*rowid = concord_body_rowid(rewrite->ahead.key);
	if (!cc_ws_empty() &&
		cc_ws_lookup(rewrite->old_prefix, rewrite->ahead.key, ROW_BODY_SIZE, CC_ALL_COMMANDS, &own))
		versions = lappend(versions, make_version(rewrite, own.value, own.deleted ? 0 : own.value_size, 0));
	while (peek(rewrite) && concord_body_rowid(rewrite->ahead.key) == *rowid)
	{
		versions = lappend(versions, make_version(rewrite, rewrite->ahead.value, rewrite->ahead.value_size,
												  rewrite->ahead.lsn));
		rewrite->has_ahead = false;
	}
	return versions;
}

static void
seek_row(Rewrite *rewrite, const uint8 *body, Size size)
{
	concord_check(cc_cursor_seek(rewrite->cursor, body, size, false, false));
	rewrite->has_ahead = false;
}

/* Copies in rowid order; only rows that are dead by now if the live ones have been copied already. */
static void
copy_in_storage_order(Rewrite *rewrite, bool only_dead)
{
	List	   *versions;
	uint64		rowid;

	seek_row(rewrite, NULL, 0);
	MemoryContextReset(rewrite->row_context);
	while ((versions = next_row(rewrite, &rowid)) != NIL)
	{
		if (!only_dead || ((RowVersion *) linitial(versions))->size == 0)
			put_versions(rewrite, versions);
		MemoryContextReset(rewrite->row_context);
	}
}

static void
copy_inserted_row(Rewrite *rewrite, const CcOwn *own)
{
	put_versions(rewrite, list_make1(make_version(rewrite, own->value, own->value_size, 0)));
	MemoryContextReset(rewrite->row_context);
}

/* Rows that exist in the write set only. */
static void
copy_inserted_rows(Rewrite *rewrite)
{
	ConcordResource resource;
	CcVisible	visible;
	CcScan	   *scan;
	CcStatus	status;

	if (!cc_ws_touches(rewrite->old_prefix))
		return;
	concord_check(cc_scan_open(rewrite->old_prefix, rewrite->point.lsn, rewrite->point.curcid, &scan));
	resource = concord_resource_track(scan, (ConcordReleaseFunction) cc_scan_close);
	concord_check(cc_scan_seek(scan, NULL, 0, false, false));
	while ((status = cc_scan_next(scan, false, &visible)) == CC_OK)
	{
		CHECK_FOR_INTERRUPTS();
		if (visible.is_own && visible.own.base_absent)
			copy_inserted_row(rewrite, &visible.own);
	}
	if (status != CC_END)
		concord_check(status);
	concord_resource_release(&resource);
}

static void
copy_in_index_order(Rewrite *rewrite, Relation index)
{
	IndexScanDesc scan = index_beginscan(rewrite->old_table, index, SnapshotAny, 0, 0);
	MemoryContext scan_context = MemoryContextSwitchTo(CurrentMemoryContext);
	TupleTableSlot *slot;

	/* The scan's memory must outlive the rows'. */
	MemoryContextSwitchTo(MemoryContextGetParent(rewrite->row_context));
	slot = table_slot_create(rewrite->old_table, NULL);
	index_rescan(scan, NULL, 0, NULL, 0);
	while (index_getnext_slot(scan, ForwardScanDirection, slot))
	{
		ConcordSlot *cslot = (ConcordSlot *) slot;
		uint8		body[ROW_BODY_SIZE];
		uint64		rowid;
		uint64		found;
		List	   *versions;

		CHECK_FOR_INTERRUPTS();
		if (!concord_tid_rowid(&slot->tts_tid, &rowid))
			elog(ERROR, "row of index \"%s\" has no rowid", RelationGetRelationName(index));
		MemoryContextSwitchTo(rewrite->row_context);
		concord_row_body(body, rowid);
		seek_row(rewrite, body, sizeof(body));
		versions = next_row(rewrite, &found);
		if (versions != NIL && found == rowid)
			put_versions(rewrite, versions);
		else
		{
			/* Inserted by this transaction. */
			HeapTuple	tuple = cslot->base.tuple;

			put_versions(rewrite, list_make1(make_version(rewrite, (uint8 *) tuple->t_data, tuple->t_len, 0)));
		}
		MemoryContextSwitchTo(MemoryContextGetParent(rewrite->row_context));
		MemoryContextReset(rewrite->row_context);
	}
	ExecDropSingleTupleTableSlot(slot);
	index_endscan(scan);
	MemoryContextSwitchTo(scan_context);
}

void
concord_relation_copy_for_cluster(Relation old_table, Relation new_table, Relation old_index, bool use_sort,
								  TransactionId oldest_xmin, TransactionId *xid_cutoff, MultiXactId *multi_cutoff,
								  double *num_tuples, double *tups_vacuumed, double *tups_recently_dead)
{
	int			natts = RelationGetDescr(old_table)->natts;
	MemoryContext caller_context = CurrentMemoryContext;
	ConcordResource resource;
	Rewrite		rewrite = {
		.old_table = old_table,
		.new_table = new_table,
		.old_prefix = concord_rel_prefix(old_table),
		.new_prefix = concord_rel_prefix(new_table),
		.point = concord_read_point_for(old_table, SnapshotAny),
		.values = palloc(natts * sizeof(Datum)),
		.isnull = palloc(natts * sizeof(bool))
	};

	*xid_cutoff = oldest_xmin;	/* *multi_cutoff: what VACUUM would freeze up to will do */
	rewrite.row_context = AllocSetContextCreate(caller_context, "Concord rewrite of a row", ALLOCSET_DEFAULT_SIZES);
	concord_check(cc_cursor_open(rewrite.old_prefix, rewrite.point.lsn, &rewrite.cursor));
	resource = concord_resource_track(rewrite.cursor, close_cursor);

	if (old_index != NULL)
	{
		pgstat_progress_update_param(PROGRESS_CLUSTER_PHASE, PROGRESS_CLUSTER_PHASE_INDEX_SCAN_HEAP);
		copy_in_index_order(&rewrite, old_index);
	}
	else
		pgstat_progress_update_param(PROGRESS_CLUSTER_PHASE, PROGRESS_CLUSTER_PHASE_SEQ_SCAN_HEAP);

	MemoryContextSwitchTo(rewrite.row_context);
	copy_in_storage_order(&rewrite, old_index != NULL);
	if (old_index == NULL)
		copy_inserted_rows(&rewrite);
	MemoryContextSwitchTo(caller_context);

	concord_resource_release(&resource);
	MemoryContextDelete(rewrite.row_context);
	concord_bulk_flush();
	*num_tuples = rewrite.live;
	*tups_vacuumed = 0;
	*tups_recently_dead = rewrite.dead;
}
