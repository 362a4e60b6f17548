/*
 * build.c
 *		Index builds: every current row to the index access method.
 *
 * The index gets the newest version of each row, with its LSN (build.h). A snapshot older than a row's newest version needs
 * the entry of an older one, which is not made: then the index must not be used by such a snapshot, which is what Postgres
 * calls a broken HOT chain.
 */
#include "tableam/build.h"
#include "tableam/tableam.h"

#include "access/genam.h"
#include "catalog/index.h"
#include "executor/executor.h"
#include "indexam/indexam.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "utils/snapmgr.h"

uint64		concord_build_row_lsn = 0;

/*
 * True if a snapshot in use may see a version of a row that is not the current one: a row updated or deleted above the lowest
 * read LSN, or by the running transaction.
 */
static bool
older_versions_in_use(Relation table)
{
	uint64		prefix = concord_rel_prefix(table);
	uint64		lowest = cc_channel_lowest_read_lsn(concord_channel);
	bool		changed_above = false;	/* the version just read lies above `lowest` */
	uint64		rowid = 0;
	bool		found = false;
	ConcordResource resource;
	CcCursor   *cursor;
	CcEntry		entry;
	CcStatus	status;

	if (concord_storage_is_new(table))
		return false;
	if (cc_ws_touches(prefix))
		return true;
	if (lowest == 0)
		return false;
	concord_check(cc_cursor_open(prefix, concord_read_point_for(table, SnapshotAny).lsn, &cursor));
	resource = concord_resource_track(cursor, (ConcordReleaseFunction) cc_cursor_close);
	concord_check(cc_cursor_seek(cursor, NULL, 0, false, false));
	while (!found && (status = cc_cursor_next_version(cursor, &entry)) != CC_END)
	{
		uint64		this_rowid;

		CHECK_FOR_INTERRUPTS();
		concord_check(status);
		this_rowid = concord_body_rowid(entry.key);
		/* A newer version above the lowest snapshot hides this one from the build. */
		found = changed_above && this_rowid == rowid && entry.value_size != 0;
		changed_above = entry.lsn > lowest;
		rowid = this_rowid;
	}
	concord_resource_release(&resource);
	return found;
}

double
concord_index_build_range_scan(Relation table, Relation index, IndexInfo *index_info, bool allow_sync, bool anyvisible,
							   bool progress, BlockNumber start_blockno, BlockNumber numblocks,
							   IndexBuildCallback callback, void *callback_state, TableScanDesc scan)
{
	EState	   *estate = CreateExecutorState();
	ExprContext *econtext = GetPerTupleExprContext(estate);
	TupleTableSlot *slot = table_slot_create(table, NULL);
	Snapshot	registered = NULL;
	ExprState  *predicate;
	double		rows = 0;
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];

	econtext->ecxt_scantuple = slot;
	predicate = ExecPrepareQual(index_info->ii_Predicate, estate);

	if (scan == NULL)
	{
		if (index_info->ii_Concurrent)
			registered = RegisterSnapshot(GetTransactionSnapshot());
		scan = table_beginscan_strat(table, registered != NULL ? registered : SnapshotAny, 0, NULL, true, allow_sync);
	}
	if (start_blockno != 0 || numblocks != InvalidBlockNumber)
	{
		uint64		first = (uint64) start_blockno * CONCORD_TIDS_PER_BLOCK;
		uint64		count = (uint64) numblocks * CONCORD_TIDS_PER_BLOCK;

		concord_scan_set_range((ConcordScan) scan, count > 0 ? first : 1, count > 0 ? first + count - 1 : 0);
	}

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		rows += 1;
		MemoryContextReset(econtext->ecxt_per_tuple_memory);
		if (predicate != NULL && !ExecQual(predicate, econtext))
			continue;
		FormIndexDatum(index_info, slot, estate, values, isnull);
		concord_build_row_lsn = concord_slot_lsn(slot);
		callback(index, &slot->tts_tid, values, isnull, true, callback_state);
	}
	table_endscan(scan);
	if (registered != NULL)
		UnregisterSnapshot(registered);
	if (!index_info->ii_Concurrent && older_versions_in_use(table))
		index_info->ii_BrokenHotChain = true;

	ExecDropSingleTupleTableSlot(slot);
	FreeExecutorState(estate);
	/* These may have been pointing to the now-gone estate. */
	index_info->ii_ExpressionsState = NIL;
	index_info->ii_PredicateState = NULL;
	return rows;
}

void
concord_index_validate_scan(Relation table, Relation index, IndexInfo *index_info, Snapshot snapshot,
							ValidateIndexState *state)
{
	double		rows = 0;
	double		added = 0;

	concord_index_validate(table, index, index_info, snapshot, &rows, &added);
	state->htups += rows;
	state->tups_inserted += added;
}
