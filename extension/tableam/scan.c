/*
 * scan.c
 *		Scans over the rows of a table, in rowid order: sequential, by range of TIDs, parallel.
 *
 * A parallel scan hands out ranges of rowids. Everybody in it reads at the leader's read point, which travels in the shared
 * descriptor.
 */
#include "tableam/tableam.h"

#include "access/parallel.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/pg_bitutils.h"
#include "utils/snapmgr.h"
#include "xact/share.h"

/* Rowids that a participant of a parallel scan takes at a time: about 1/2048 of the table, as in heap. */
#define PARALLEL_CHUNK_MIN ((uint64) 1024)
#define PARALLEL_CHUNK_MAX ((uint64) 65536)
#define PARALLEL_CHUNKS ((uint64) 2048)

typedef struct ConcordParallelScan
{
	ParallelTableScanDescData base;
	ConcordReadPoint point;
	uint64		end;			/* rowids below it are scanned */
	uint64		chunk;
	pg_atomic_uint64 next;
} ConcordParallelScan;

static void
close_scan(void *scan)
{
	cc_scan_close((CcScan *) scan);
}

/* Opens the merged cursor at first use, so that the snapshot has its read LSN no earlier than needed. */
void
concord_scan_open(ConcordScan scan)
{
	if (scan->opened)
		return;
	scan->prefix = concord_rel_prefix(scan->base.rs_rd);
	if (scan->base.rs_parallel != NULL)
	{
		/* A worker reads here for the first time; the leader has waited for the replica and holds the read LSN. */
		concord_check(concord_open_replica());
		if (IsParallelWorker())
			concord_share_take();
		scan->point = ((ConcordParallelScan *) scan->base.rs_parallel)->point;
	}
	else
	{
		concord_no_one_to_wait_for(scan->base.rs_snapshot);
		scan->point = concord_read_point_for(scan->base.rs_rd, scan->base.rs_snapshot);
	}
	concord_check(cc_scan_open(scan->prefix, scan->point.lsn, scan->point.curcid, &scan->scan));
	scan->noted = !scan->unnoted && concord_notes(scan->prefix, scan->base.rs_snapshot);
	scan->resource = concord_resource_track(scan->scan, close_scan);
	scan->opened = true;
}

void
concord_scan_rest(ConcordScan scan)
{
	if (concord_resource_held(scan->resource))
		concord_check(cc_scan_rest(scan->scan));
}

TableScanDesc
concord_scan_begin(Relation rel, Snapshot snapshot, int nkeys, struct ScanKeyData *key, ParallelTableScanDesc pscan,
				   uint32 flags)
{
	ConcordScan scan = palloc0(sizeof(ConcordScanData));

	/* Only catalogs are scanned with keys. */
	if (nkeys != 0)
		elog(ERROR, "scan keys are not supported on table \"%s\"", RelationGetRelationName(rel));
	RelationIncrementReferenceCount(rel);
	scan->base.rs_rd = rel;
	scan->base.rs_snapshot = snapshot;
	scan->base.rs_flags = flags;
	scan->base.rs_parallel = pscan;
	scan->low = 0;
	scan->high = PG_UINT64_MAX;
	if (flags & SO_TYPE_SEQSCAN)
		pgstat_count_heap_scan(rel);
	return &scan->base;
}

void
concord_scan_end(TableScanDesc sscan)
{
	ConcordScan scan = (ConcordScan) sscan;

	concord_resource_release(&scan->resource);
	concord_ahead_forget(scan);
	RelationDecrementReferenceCount(sscan->rs_rd);
	if (sscan->rs_flags & SO_TEMP_SNAPSHOT)
		UnregisterSnapshot(sscan->rs_snapshot);
	pfree(scan);
}

void
concord_scan_rescan(TableScanDesc sscan, struct ScanKeyData *key, bool set_params, bool allow_strat, bool allow_sync,
					bool allow_pagemode)
{
	ConcordScan scan = (ConcordScan) sscan;

	scan->positioned = false;
	scan->low = 0;
	scan->high = PG_UINT64_MAX;
	scan->rowid_count = scan->rowid_next = 0;
	scan->lossy = false;
	concord_ahead_forget(scan);
	scan->block_valid = false;
	if (sscan->rs_flags & SO_TYPE_SEQSCAN)
		pgstat_count_heap_scan(sscan->rs_rd);
}

void
concord_scan_set_range(ConcordScan scan, uint64 low, uint64 high)
{
	scan->low = low;
	scan->high = high;
	scan->positioned = false;
}

/* What the cursor passes within low..high counts as read. */
static void
note_range(ConcordScan scan)
{
	uint8		low[ROW_BODY_SIZE];
	uint8		high[ROW_BODY_SIZE];

	concord_row_body(low, scan->low);
	concord_row_body(high, scan->high + 1);
	concord_check(cc_scan_note(scan->scan, low, sizeof(low), scan->high == PG_UINT64_MAX ? NULL : high, sizeof(high)));
}

/* Places the cursor at the end of low..high from which `backward` starts. */
static void
seek_start(ConcordScan scan, bool backward)
{
	uint8		body[ROW_BODY_SIZE];

	concord_row_body(body, backward ? scan->high : scan->low);
	concord_check(cc_scan_seek(scan->scan, body, sizeof(body), backward, false));
	if (unlikely(scan->noted))
		note_range(scan);
	scan->positioned = true;
}

bool
concord_scan_next(ConcordScan scan, bool backward, TupleTableSlot *slot)
{
	const CcEntry *entry;
	CcVisible	visible;
	CcStatus	status;
	uint64		rowid;

	if (scan->low > scan->high)
		return false;
	concord_scan_open(scan);
	if (!scan->positioned)
		seek_start(scan, backward);

	entry = cc_scan_take(scan->scan, backward);
	if (likely(entry != NULL))
	{
		rowid = concord_body_rowid(entry->key);
		if (likely(rowid >= scan->low && rowid <= scan->high))
		{
			concord_slot_store_mapped(slot, scan->base.rs_rd, rowid, entry);
			return true;
		}
	}
	else
	{
		CHECK_FOR_INTERRUPTS();
		status = cc_scan_next(scan->scan, backward, &visible);
		if (status != CC_END)
		{
			concord_check(status);
			rowid = concord_body_rowid(visible.entry.key);
			if (rowid >= scan->low && rowid <= scan->high)
			{
				concord_slot_store_visible(slot, scan->base.rs_rd, rowid, &visible, false);
				return true;
			}
		}
	}
	scan->positioned = false;
	return false;
}

uint64
concord_scan_row_end(ConcordScan scan)
{
	if (!scan->has_end)
	{
		CcVisible	visible;
		CcStatus	status;

		concord_scan_open(scan);
		concord_check(cc_scan_seek(scan->scan, NULL, 0, true, false));
		status = cc_scan_next(scan->scan, true, &visible);
		if (status != CC_END)
			concord_check(status);
		scan->end = status == CC_END ? 0 : concord_body_rowid(visible.entry.key) + 1;
		scan->has_end = true;
		scan->positioned = false;
	}
	return scan->end;
}

bool
concord_scan_get(ConcordScan scan, uint64 rowid, TupleTableSlot *slot)
{
	uint8		body[ROW_BODY_SIZE];
	CcVisible	visible;
	CcStatus	status;

	concord_scan_open(scan);
	if (unlikely(scan->noted))
		concord_note_row(scan->prefix, rowid);
	concord_row_body(body, rowid);
	status = cc_visible_get(scan->prefix, body, sizeof(body), scan->point.lsn, scan->point.curcid, &visible);
	if (status == CC_END)
		return false;
	concord_check(status);
	concord_slot_store_visible(slot, scan->base.rs_rd, rowid, &visible, true);
	return true;
}

/* Takes the next range of a parallel scan. */
static bool
next_chunk(ConcordScan scan)
{
	ConcordParallelScan *shared = (ConcordParallelScan *) scan->base.rs_parallel;
	uint64		low = pg_atomic_fetch_add_u64(&shared->next, shared->chunk);

	if (low >= shared->end)
		return false;
	concord_scan_set_range(scan, low, Min(low + shared->chunk, shared->end) - 1);
	return true;
}

bool
concord_scan_getnextslot(TableScanDesc sscan, ScanDirection direction, TupleTableSlot *slot)
{
	ConcordScan scan = (ConcordScan) sscan;
	bool		backward = ScanDirectionIsBackward(direction);

	if (sscan->rs_parallel != NULL)
	{
		/* Parallel scans go forward only; block_valid says that a range has been taken. */
		do
		{
			if (scan->block_valid && concord_scan_next(scan, false, slot))
			{
				pgstat_count_heap_getnext(sscan->rs_rd);
				return true;
			}
			scan->block_valid = next_chunk(scan);
		} while (scan->block_valid);
	}
	else if (concord_scan_next(scan, backward, slot))
	{
		pgstat_count_heap_getnext(sscan->rs_rd);
		return true;
	}
	ExecClearTuple(slot);
	return false;
}

void
concord_scan_set_tidrange(TableScanDesc sscan, ItemPointer mintid, ItemPointer maxtid)
{
	uint64		low_block = ItemPointerGetBlockNumberNoCheck(mintid);
	uint64		low_offset = ItemPointerGetOffsetNumberNoCheck(mintid);
	uint64		high_block = ItemPointerGetBlockNumberNoCheck(maxtid);
	uint64		high_offset = ItemPointerGetOffsetNumberNoCheck(maxtid);
	uint64		low;
	uint64		high;

	/* Bounds are inclusive, their offsets anything: 0 lies before a block's rows, more than 291 behind them. */
	low = low_block * CONCORD_TIDS_PER_BLOCK + Min(Max(low_offset, 1) - 1, CONCORD_TIDS_PER_BLOCK);
	high = high_block * CONCORD_TIDS_PER_BLOCK + Min(high_offset, CONCORD_TIDS_PER_BLOCK);
	if (high == 0)
		concord_scan_set_range((ConcordScan) sscan, 1, 0);
	else
		concord_scan_set_range((ConcordScan) sscan, low, high - 1);
}

Size
concord_parallelscan_estimate(Relation rel)
{
	return sizeof(ConcordParallelScan);
}

Size
concord_parallelscan_initialize(Relation rel, ParallelTableScanDesc pscan)
{
	ConcordParallelScan *shared = (ConcordParallelScan *) pscan;
	Snapshot	snapshot = ActiveSnapshotSet() ? GetActiveSnapshot() : SnapshotAny;
	TableScanDesc probe = concord_scan_begin(rel, snapshot, 0, NULL, NULL, 0);
	uint64		share;

	shared->base.phs_relid = RelationGetRelid(rel);
	shared->base.phs_syncscan = false;
	shared->end = concord_scan_row_end((ConcordScan) probe);
	shared->point = ((ConcordScan) probe)->point;
	concord_scan_end(probe);

	share = shared->end / PARALLEL_CHUNKS;
	shared->chunk = share <= PARALLEL_CHUNK_MIN ? PARALLEL_CHUNK_MIN :
		Min(pg_nextpower2_64(share), PARALLEL_CHUNK_MAX);
	pg_atomic_init_u64(&shared->next, 0);
	return sizeof(ConcordParallelScan);
}

void
concord_parallelscan_reinitialize(Relation rel, ParallelTableScanDesc pscan)
{
	pg_atomic_write_u64(&((ConcordParallelScan *) pscan)->next, 0);
}
