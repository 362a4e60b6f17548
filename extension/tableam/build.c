/*
 * build.c
 *		Index builds: row versions to the index access method.
 *
 * An index must serve every snapshot that may come to it, also those older than the index: REINDEX, VACUUM FULL and CLUSTER do
 * not keep them from it. So the build gets each row's current version and all older ones that a snapshot of this server may
 * still see, each with its life (build.h). Versions of the running transaction come as such: nobody may see them before it
 * commits.
 */
#include "tableam/build.h"
#include "tableam/tableam.h"

#include "access/genam.h"
#include "catalog/index.h"
#include "commands/progress.h"
#include "executor/executor.h"
#include "indexam/indexam.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "pgstat.h"
#include "utils/snapmgr.h"

ConcordVersionLife concord_build_version = {0, 0};

typedef struct BuildScan
{
	Relation	table;
	Relation	index;
	IndexInfo  *index_info;
	EState	   *estate;
	ExprState  *predicate;
	TupleTableSlot *slot;
	IndexBuildCallback callback;
	void	   *callback_state;
	uint64		lowest;			/* read LSN in use; 0: none */
	double		rows;
	ConcordScanProgress progress;
} BuildScan;

void
concord_progress_begin(ConcordScanProgress *progress, Relation table)
{
	progress->pages = concord_heap_pages(table, &progress->rows);
	progress->pages_done = 0;
	pgstat_progress_update_param(PROGRESS_SCAN_BLOCKS_TOTAL, (int64) progress->pages);
}

void
concord_progress_note(ConcordScanProgress *progress, double rows_done)
{
	uint64		done;

	if (progress->pages == 0)
		return;
	done = Min(rows_done * progress->pages / progress->rows, progress->pages);
	if (done == progress->pages_done)
		return;
	progress->pages_done = done;
	pgstat_progress_update_param(PROGRESS_SCAN_BLOCKS_DONE, (int64) done);
}

void
concord_progress_end(ConcordScanProgress *progress)
{
	if (progress->pages != 0)
		pgstat_progress_update_param(PROGRESS_SCAN_BLOCKS_DONE, (int64) progress->pages);
}

/* The version in the slot. */
static void
build_version(BuildScan *build, uint64 begin, uint64 end)
{
	ExprContext *econtext = GetPerTupleExprContext(build->estate);
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];

	if (end == 0)
		build->rows += 1;
	concord_progress_note(&build->progress, build->rows);
	MemoryContextReset(econtext->ecxt_per_tuple_memory);
	econtext->ecxt_scantuple = build->slot;
	if (build->predicate != NULL && !ExecQual(build->predicate, econtext))
		return;
	FormIndexDatum(build->index_info, build->slot, build->estate, values, isnull);
	concord_build_version.begin = begin;
	concord_build_version.end = end;
	build->callback(build->index, &build->slot->tts_tid, values, isnull, end == 0, build->callback_state);
}

static void
build_committed(BuildScan *build, uint64 rowid, const CcEntry *entry, uint64 end)
{
	CcVisible	visible = {.entry = *entry};

	concord_slot_store_visible(build->slot, build->table, rowid, &visible, false);
	build_version(build, entry->lsn, end);
}

static void
build_own(BuildScan *build, uint64 rowid, const CcOwn *own)
{
	CcVisible	visible = {.own = *own, .is_own = true};

	concord_slot_store_visible(build->slot, build->table, rowid, &visible, false);
	build_version(build, CONCORD_OWN_LSN, 0);
}

/* Rows that the replica has, with what this transaction has made of them. */
static void
build_known_rows(BuildScan *build, uint64 prefix, uint64 lsn)
{
	bool		touched = cc_ws_touches(prefix);
	bool		begun = false;
	uint64		rowid = 0;
	uint64		end = 0;
	ConcordResource resource;
	CcCursor   *cursor;
	CcEntry		entry;
	CcStatus	status;
	CcOwn		own;

	concord_check(cc_cursor_open(prefix, lsn, &cursor));
	resource = concord_resource_track(cursor, (ConcordReleaseFunction) cc_cursor_close);
	concord_check(cc_cursor_seek(cursor, NULL, 0, false, false));
	while ((status = cc_cursor_next_version(cursor, &entry)) == CC_OK)
	{
		CHECK_FOR_INTERRUPTS();
		/* A row's versions come newest first. */
		if (!begun || concord_body_rowid(entry.key) != rowid)
		{
			begun = true;
			rowid = concord_body_rowid(entry.key);
			end = 0;
			if (touched && cc_ws_lookup(prefix, entry.key, ROW_BODY_SIZE, CC_ALL_COMMANDS, &own))
			{
				end = CONCORD_OWN_LSN;
				if (!own.deleted)
					build_own(build, rowid, &own);
			}
		}
		if (entry.value_size != 0 && (end == 0 || end == CONCORD_OWN_LSN || (build->lowest != 0 && end > build->lowest)))
			build_committed(build, rowid, &entry, end);
		end = entry.lsn;
	}
	if (status != CC_END)
		concord_check(status);
	concord_resource_release(&resource);
}

/* Rows that this transaction has inserted. */
static void
build_inserted_rows(BuildScan *build, uint64 prefix, ConcordReadPoint point)
{
	ConcordResource resource;
	CcVisible	visible;
	CcScan	   *scan;
	CcStatus	status;

	if (!cc_ws_touches(prefix))
		return;
	concord_check(cc_scan_open(prefix, point.lsn, point.curcid, &scan));
	resource = concord_resource_track(scan, (ConcordReleaseFunction) cc_scan_close);
	concord_check(cc_scan_seek(scan, NULL, 0, false, false));
	while ((status = cc_scan_next(scan, false, &visible)) == CC_OK)
	{
		CHECK_FOR_INTERRUPTS();
		if (visible.is_own && visible.own.base_absent)
			build_own(build, concord_body_rowid(visible.entry.key), &visible.own);
	}
	if (status != CC_END)
		concord_check(status);
	concord_resource_release(&resource);
}

/*
 * CREATE INDEX CONCURRENTLY: the rows of a snapshot. What changes meanwhile is found by index_validate_scan; the index is used
 * when no older snapshot is left.
 */
static void
build_snapshot(BuildScan *build)
{
	Snapshot	snapshot = RegisterSnapshot(GetTransactionSnapshot());
	TableScanDesc scan = table_beginscan_strat(build->table, snapshot, 0, NULL, true, false);

	while (table_scan_getnextslot(scan, ForwardScanDirection, build->slot))
		build_version(build, concord_slot_lsn(build->slot), 0);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
}

double
concord_index_build_range_scan(Relation table, Relation index, IndexInfo *index_info, bool allow_sync, bool anyvisible,
							   bool progress, BlockNumber start_blockno, BlockNumber numblocks,
							   IndexBuildCallback callback, void *callback_state, TableScanDesc scan)
{
	BuildScan	build = {
		.table = table,
		.index = index,
		.index_info = index_info,
		.estate = CreateExecutorState(),
		.slot = table_slot_create(table, NULL),
		.callback = callback,
		.callback_state = callback_state
	};

	/* Parallel builds and summarizing indexes would ask for parts; no index method of these tables does. */
	if (scan != NULL || start_blockno != 0 || numblocks != InvalidBlockNumber)
		elog(ERROR, "index \"%s\" cannot be built from a part of a Concord table", RelationGetRelationName(index));
	build.predicate = ExecPrepareQual(index_info->ii_Predicate, build.estate);
	if (progress)
		concord_progress_begin(&build.progress, table);
	if (index_info->ii_Concurrent)
		build_snapshot(&build);
	else
	{
		uint64		prefix = concord_rel_prefix(table);
		ConcordReadPoint point;

		/* First the snapshots, then the rows: whoever begins to read in between reads what is there then. */
		build.lowest = cc_channel_lowest_read_lsn(concord_channel, 0);
		point = concord_read_point_for(table, SnapshotAny);
		build_known_rows(&build, prefix, point.lsn);
		build_inserted_rows(&build, prefix, point);
	}

	concord_progress_end(&build.progress);
	ExecDropSingleTupleTableSlot(build.slot);
	FreeExecutorState(build.estate);
	/* These may have been pointing to the now-gone estate. */
	index_info->ii_ExpressionsState = NIL;
	index_info->ii_PredicateState = NULL;
	return build.rows;
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
