/*
 * analyze.c
 *		ANALYZE's sample. Block n of the N that relation_size reports is the n-th of N equal slices of the rowids.
 */
#include "tableam/tableam.h"

bool
concord_scan_analyze_next_block(TableScanDesc sscan, BlockNumber block, BufferAccessStrategy strategy)
{
	ConcordScan scan = (ConcordScan) sscan;
	uint64		end = concord_scan_row_end(scan);
	uint64		rows;
	uint64		low;
	uint64		high;

	if (!scan->block_valid)
	{
		scan->blocks = Max(concord_heap_pages(sscan->rs_rd, &rows), 1);
		scan->block_valid = true;
	}
	low = (uint64) ((double) end / scan->blocks * block);
	high = block + 1 >= scan->blocks ? end : (uint64) ((double) end / scan->blocks * (block + 1));
	if (low < high)
		concord_scan_set_range(scan, low, high - 1);
	else
		concord_scan_set_range(scan, 1, 0);
	return true;
}

bool
concord_scan_analyze_next_tuple(TableScanDesc sscan, TransactionId oldest_xmin, double *live_rows, double *dead_rows,
								TupleTableSlot *slot)
{
	if (concord_scan_next((ConcordScan) sscan, false, slot))
	{
		*live_rows += 1;
		return true;
	}
	ExecClearTuple(slot);
	return false;
}
