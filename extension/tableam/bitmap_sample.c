/*
 * bitmap_sample.c
 *		Bitmap scans and TABLESAMPLE: both think in blocks, which here are runs of 291 rowids.
 */
#include "tableam/tableam.h"

#include "access/tsmapi.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "nodes/tidbitmap.h"
#include "pgstat.h"

bool
concord_scan_bitmap_next_block(TableScanDesc sscan, TBMIterateResult *tbmres)
{
	ConcordScan scan = (ConcordScan) sscan;
	uint64		first = (uint64) tbmres->blockno * CONCORD_TIDS_PER_BLOCK;

	/* Index entries name rows, never versions. */
	if (tbmres->blockno >= CONCORD_ALIAS_BLOCK)
		elog(ERROR, "a bitmap of index entries names block %u", tbmres->blockno);

	scan->rowid_count = scan->rowid_next = 0;
	scan->lossy = tbmres->ntuples < 0;
	if (scan->lossy)
	{
		concord_ahead_fetch_block(scan);	/* it counts, though its rows are scanned */
		concord_scan_set_range(scan, first, first + CONCORD_TIDS_PER_BLOCK - 1);
		return true;
	}
	for (int i = 0; i < tbmres->ntuples; i++)
		scan->rowids[scan->rowid_count++] = first + tbmres->offsets[i] - 1;
	concord_ahead_fetch_block(scan);
	return scan->rowid_count > 0;
}

bool
concord_scan_bitmap_next_tuple(TableScanDesc sscan, TBMIterateResult *tbmres, TupleTableSlot *slot)
{
	ConcordScan scan = (ConcordScan) sscan;

	if (scan->lossy)
	{
		if (concord_scan_next(scan, false, slot))
		{
			pgstat_count_heap_fetch(sscan->rs_rd);
			return true;
		}
		return false;
	}
	while (scan->rowid_next < scan->rowid_count)
	{
		CHECK_FOR_INTERRUPTS();
		if (unlikely(scan->rowid_next >= scan->rowid_ready))
			concord_ahead_fetch_rest(scan);
		if (concord_scan_get(scan, scan->rowids[scan->rowid_next++], slot))
		{
			pgstat_count_heap_fetch(sscan->rs_rd);
			return true;
		}
	}
	return false;
}

bool
concord_scan_sample_next_block(TableScanDesc sscan, SampleScanState *state)
{
	ConcordScan scan = (ConcordScan) sscan;
	TsmRoutine *tsm = state->tsmroutine;

	if (!scan->block_valid)
	{
		scan->blocks = (concord_scan_row_end(scan) + CONCORD_TIDS_PER_BLOCK - 1) / CONCORD_TIDS_PER_BLOCK;
		/* Where the table ends says what the sample is. */
		if (scan->noted)
			concord_check(cc_reads_note(scan->prefix, NULL, 0, NULL, 0));
	}
	if (scan->blocks == 0)
		return false;
	if (tsm->NextSampleBlock != NULL)
		scan->block = tsm->NextSampleBlock(state, (BlockNumber) scan->blocks);
	else
	{
		scan->block = scan->block_valid ? scan->block + 1 : 0;
		if (scan->block >= scan->blocks)
			scan->block = InvalidBlockNumber;
	}
	scan->block_valid = BlockNumberIsValid(scan->block);
	scan->rowid_count = 0;
	return scan->block_valid;
}

/* A method says one row after another which it takes; where rows come from another machine, the block's are fetched together. */
static void
fetch_sample_block(ConcordScan scan, uint64 first, uint64 rows, OffsetNumber offset)
{
	if (scan->rowid_count == 0)
	{
		for (uint64 i = 0; i < rows; i++)
			scan->rowids[scan->rowid_count++] = first + i;
		scan->rowid_ready = 0;
	}
	scan->rowid_next = offset - 1;
	if (scan->rowid_next >= scan->rowid_ready)
		concord_ahead_fetch_rest(scan);
}

bool
concord_scan_sample_next_tuple(TableScanDesc sscan, SampleScanState *state, TupleTableSlot *slot)
{
	ConcordScan scan = (ConcordScan) sscan;
	TsmRoutine *tsm = state->tsmroutine;
	uint64		first = (uint64) scan->block * CONCORD_TIDS_PER_BLOCK;
	uint64		rows = Min((uint64) CONCORD_TIDS_PER_BLOCK, concord_scan_row_end(scan) - first);

	for (;;)
	{
		OffsetNumber offset = tsm->NextSampleTuple(state, scan->block, (OffsetNumber) rows);

		CHECK_FOR_INTERRUPTS();
		if (!OffsetNumberIsValid(offset))
		{
			ExecClearTuple(slot);
			return false;
		}
		if (unlikely(concord_remote_enabled))
			fetch_sample_block(scan, first, rows, offset);
		if (concord_scan_get(scan, first + offset - 1, slot))
		{
			pgstat_count_heap_getnext(sscan->rs_rd);
			return true;
		}
	}
}
