/*
 * fetch.c
 *		Single rows: by index entry, by TID, by the version that a TID names.
 *
 * An index entry that a snapshot sees is exact (docs/architecture.md): the row exists and its columns are the entry's. So for
 * an MVCC snapshot an index scan gets a lazy slot, and an index-only scan never touches the row.
 */
#include "tableam/tableam.h"

#include "access/transam.h"
#include "access/xact.h"
#include "storage/predicate.h"
#include "utils/snapmgr.h"

typedef struct ConcordIndexFetch
{
	IndexFetchTableData base;
	uint64		prefix;
	Snapshot	snapshot;		/* that `point` is of; MVCC only */
	CommandId	curcid;
	ConcordReadPoint point;
	const uint64 *changes;		/* the write set's count of changes */
	uint64		untouched_at;	/* the count at which the table had no own version */
	uint64		entries_lsn;	/* not MVCC: as of which the index scan has found its entries */
} ConcordIndexFetch;

struct IndexFetchTableData *
concord_index_fetch_begin(Relation rel)
{
	ConcordIndexFetch *fetch = palloc0(sizeof(ConcordIndexFetch));

	fetch->base.rel = rel;
	fetch->prefix = concord_rel_prefix(rel);
	fetch->changes = cc_ws_changes();
	fetch->untouched_at = PG_UINT64_MAX;
	return &fetch->base;
}

void
concord_index_fetch_reset(struct IndexFetchTableData *data)
{
	((ConcordIndexFetch *) data)->snapshot = NULL;
}

void
concord_index_fetch_entries_lsn(struct IndexFetchTableData *data, uint64 lsn)
{
	((ConcordIndexFetch *) data)->entries_lsn = lsn;
}

void
concord_index_fetch_end(struct IndexFetchTableData *data)
{
	pfree(data);
}

static bool
has_own_version(uint64 prefix, uint64 rowid)
{
	uint8		body[ROW_BODY_SIZE];
	CcOwn		own;

	concord_row_body(body, rowid);
	return cc_ws_oldest(prefix, body, sizeof(body), &own);
}

/* The row as of a read point; fills the slot if it is visible. */
static bool
get_row(Relation rel, uint64 prefix, uint64 rowid, ConcordReadPoint point, TupleTableSlot *slot)
{
	uint8		body[ROW_BODY_SIZE];
	CcVisible	visible;
	CcStatus	status;

	concord_row_body(body, rowid);
	status = cc_visible_get(prefix, body, sizeof(body), point.lsn, point.curcid, &visible);
	if (status == CC_END)
		return false;
	concord_check(status);
	concord_slot_store_visible(slot, rel, rowid, &visible, true);
	return true;
}

/* No transaction of another's is ever seen in progress: there is nobody to wait for. ANALYZE scans without a snapshot. */
void
concord_no_one_to_wait_for(Snapshot snapshot)
{
	if (snapshot != NULL && snapshot->snapshot_type == SNAPSHOT_DIRTY)
	{
		snapshot->xmin = snapshot->xmax = InvalidTransactionId;
		snapshot->speculativeToken = 0;
	}
}

/* Who has looked with a dirty snapshot is to look again: waits for a transaction that has always ended. */
static void
look_again(Snapshot snapshot)
{
	snapshot->xmax = FrozenTransactionId;
}

/*
 * Who looks with a dirty snapshot has to wait for a transaction that is changing the row, and then look again. Ours have no xid that
 * could be waited for, so this waits.
 */
static void
wait_for_writer(Relation rel, uint64 rowid, Snapshot snapshot)
{
	uint8		body[ROW_BODY_SIZE];
	ConcordIntentKey key;

	if (concord_storage_is_new(rel))
		return;
	concord_row_intent_key(rel, rowid, XLTW_RecheckExclusionConstr, body, &key);
	if (!concord_intent_has_writer(&key))
		return;
	concord_intent_wait_for_writers(&key);
	look_again(snapshot);
}

/* What the last fetch with a dirty snapshot returned: ON CONFLICT locks the row that it found so. */
static struct
{
	uint64		prefix;
	uint64		rowid;
	uint64		lsn;
}			last_dirty;

uint64
concord_dirty_lsn(uint64 prefix, uint64 rowid)
{
	return last_dirty.prefix == prefix && last_dirty.rowid == rowid ? last_dirty.lsn : 0;
}

bool
concord_index_fetch_tuple(struct IndexFetchTableData *data, ItemPointer tid, Snapshot snapshot, TupleTableSlot *slot,
						  bool *call_again, bool *all_dead)
{
	ConcordIndexFetch *fetch = (ConcordIndexFetch *) data;
	ConcordReadPoint point;
	uint64		rowid;
	bool		is_alias;

	*call_again = false;
	if (all_dead != NULL)
		*all_dead = false;
	if (!concord_tid_parse(tid, &rowid, &is_alias) || (is_alias && !concord_tid_rowid(tid, &rowid)))
		return false;

	if (IsMVCCSnapshot(snapshot))
	{
		if (fetch->snapshot != snapshot || fetch->curcid != snapshot->curcid)
		{
			fetch->point = concord_read_point_for(data->rel, snapshot);
			fetch->snapshot = snapshot;
			fetch->curcid = snapshot->curcid;
		}
		if (fetch->untouched_at != *fetch->changes && !cc_ws_touches(fetch->prefix))
			fetch->untouched_at = *fetch->changes;
		if (fetch->untouched_at == *fetch->changes || !has_own_version(fetch->prefix, rowid))
		{
			concord_slot_store_lazy(slot, data->rel, fetch->prefix, rowid, fetch->point.lsn);
			return true;
		}
		point = fetch->point;
		if (concord_notes(fetch->prefix, snapshot))
			concord_note_row(fetch->prefix, rowid);
	}
	else
	{
		concord_no_one_to_wait_for(snapshot);
		if (snapshot->snapshot_type == SNAPSHOT_DIRTY)
			wait_for_writer(data->rel, rowid, snapshot);
		point = concord_read_point_for(data->rel, snapshot);
	}
	if (!get_row(data->rel, fetch->prefix, rowid, point, slot))
		return false;
	if (snapshot->snapshot_type == SNAPSHOT_DIRTY)
	{
		last_dirty.prefix = fetch->prefix;
		last_dirty.rowid = rowid;
		last_dirty.lsn = concord_slot_lsn(slot);
		/* It was changed since, and may be found by another key now. */
		if (last_dirty.lsn > fetch->entries_lsn)
			look_again(snapshot);
	}
	/* The caller is told which version it got, as a HOT chain does: deferred exclusion constraints must know their own. */
	*tid = slot->tts_tid;
	return true;
}

/* The committed version that SnapshotAny means by a rowid: the one that the running statement sees. */
static bool
get_base_version(Relation rel, uint64 prefix, uint64 rowid, TupleTableSlot *slot)
{
	ConcordReadPoint point;

	/* MERGE decides by it whether there is anything to do. */
	if (unlikely(concord_reads_noted))
		concord_note_row(prefix, rowid);
	if (ActiveSnapshotSet())
	{
		point = concord_read_point_for(rel, GetActiveSnapshot());
		point.curcid = 0;		/* the base, whatever became of it here */
		if (get_row(rel, prefix, rowid, point, slot))
			return true;
	}
	/* ON CONFLICT has found it with a dirty snapshot. */
	point = concord_read_point_for(rel, SnapshotAny);
	point.curcid = 0;
	return get_row(rel, prefix, rowid, point, slot);
}

bool
concord_fetch_any(Relation rel, ItemPointer tid, TupleTableSlot *slot)
{
	ItemPointerData name = *tid;	/* may be the slot's own */
	const ConcordFollowed *followed = concord_followed_find(&name);
	uint64		prefix = concord_rel_prefix(rel);
	uint64		row_prefix;
	uint64		number;
	uint64		rowid;
	uint8		body[ROW_BODY_SIZE];
	bool		is_alias;
	bool		touched;
	CcOwn		own;

	if (followed != NULL)
	{
		ConcordReadPoint point = {followed->lsn, 0};

		if (followed->prefix != prefix || !get_row(rel, prefix, followed->rowid, point, slot))
			return false;
		slot->tts_tid = name;
		return true;
	}
	if (!concord_tid_parse(&name, &number, &is_alias))
		return false;
	if (is_alias)
	{
		if (!cc_ws_alias(number, &row_prefix, &rowid, &own) || row_prefix != prefix || own.deleted)
			return false;
		concord_slot_store_own(slot, rel, &name, &own);
		return true;
	}

	concord_row_body(body, number);
	touched = !cc_ws_empty() && cc_ws_oldest(prefix, body, sizeof(body), &own);
	if (touched && own.base_absent)
	{
		if (own.deleted)
			return false;
		concord_slot_store_own(slot, rel, &name, &own);
		return true;
	}
	if (get_base_version(rel, prefix, number, slot))
		return true;
	if (touched)
		concord_raise_conflict(rel, "A row written by this transaction was deleted by another one.");
	return false;
}

bool
concord_tuple_fetch_row_version(Relation rel, ItemPointer tid, Snapshot snapshot, TupleTableSlot *slot)
{
	uint64		prefix;
	uint64		rowid;
	uint64		number;
	bool		is_alias;
	ConcordReadPoint point;

	if (snapshot->snapshot_type == SNAPSHOT_ANY)
		return concord_fetch_any(rel, tid, slot);
	if (!concord_tid_rowid(tid, &rowid))
		return false;
	concord_no_one_to_wait_for(snapshot);
	prefix = concord_rel_prefix(rel);
	point = concord_read_point_for(rel, snapshot);
	if (concord_notes(prefix, snapshot))
		concord_note_row(prefix, rowid);
	if (!get_row(rel, prefix, rowid, point, slot))
		return false;
	/* Nothing of ours asks for it, as xact/reads.c keeps account: it shows a SERIALIZABLE read in pg_locks, as on heap. */
	if (IsMVCCSnapshot(snapshot) && concord_tid_parse(tid, &number, &is_alias) && !is_alias)
		PredicateLockTID(rel, tid, snapshot, InvalidTransactionId);
	return true;
}

bool
concord_tuple_tid_valid(TableScanDesc sscan, ItemPointer tid)
{
	ConcordScan scan = (ConcordScan) sscan;
	uint64		rowid;

	if (!concord_tid_rowid(tid, &rowid))
		return false;
	if (rowid < concord_scan_row_end(scan))
		return true;
	if (scan->noted)
		concord_note_row(scan->prefix, rowid);
	return false;
}

void
concord_tuple_get_latest_tid(TableScanDesc sscan, ItemPointer tid)
{
	ConcordReadPoint point = concord_read_point_for(sscan->rs_rd, sscan->rs_snapshot);
	uint8		body[ROW_BODY_SIZE];
	uint64		rowid;
	CcVisible	visible;
	CcStatus	status;

	if (!concord_tid_rowid(tid, &rowid))
		return;
	if (concord_notes(concord_rel_prefix(sscan->rs_rd), sscan->rs_snapshot))
		concord_note_row(concord_rel_prefix(sscan->rs_rd), rowid);
	concord_row_body(body, rowid);
	status = cc_visible_get(concord_rel_prefix(sscan->rs_rd), body, sizeof(body), point.lsn, point.curcid, &visible);
	if (status == CC_END)
		return;
	concord_check(status);
	concord_visible_tid(tid, rowid, &visible);
	if (visible.entry.view != NULL)
		cc_view_unpin(visible.entry.view);
}

bool
concord_tuple_satisfies_snapshot(Relation rel, TupleTableSlot *slot, Snapshot snapshot)
{
	ConcordReadPoint point = concord_read_point_for(rel, snapshot);
	uint64		slot_lsn = concord_slot_lsn(slot);
	ItemPointerData visible_tid;
	uint8		body[ROW_BODY_SIZE];
	uint64		rowid;
	CcVisible	visible;
	CcStatus	status;

	concord_no_one_to_wait_for(snapshot);
	if (!concord_tid_rowid(&slot->tts_tid, &rowid))
		return false;
	concord_row_body(body, rowid);
	status = cc_visible_get(concord_rel_prefix(rel), body, sizeof(body), point.lsn, point.curcid, &visible);
	if (status == CC_END)
		return false;
	concord_check(status);
	if (visible.entry.view != NULL)
		cc_view_unpin(visible.entry.view);

	/* Visible is one version of the row: is it the slot's? */
	concord_visible_tid(&visible_tid, rowid, &visible);
	return ItemPointerEquals(&visible_tid, &slot->tts_tid) &&
		(visible.is_own || slot_lsn == 0 || visible.entry.lsn == slot_lsn);
}

TransactionId
concord_index_delete_tuples(Relation rel, TM_IndexDeleteOp *delstate)
{
	/* Entries go when their row version does; none is ever found dead. */
	delstate->ndeltids = 0;
	return InvalidTransactionId;
}
