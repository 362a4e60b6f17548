/*
 * ahead.c
 *		Rows that are wanted soon, where another machine's replica is read: many in one request.
 *
 * A bitmap scan knows all its rows before it looks at the first. The executor hands them over block by block, which may be row by row;
 * so an iterator of our own over the node's bitmap goes in front of the executor's. Parallel scans share their iterator, and
 * have each block fetched on its own.
 */
#include "tableam/tableam.h"

#include "bridge/remote.h"
#include "nodes/execnodes.h"
#include "nodes/tidbitmap.h"
#include "utils/memutils.h"

#define FIRST_ROWS 64			/* a LIMIT may end the scan soon */
#define MAX_ROWS 1024

void
concord_ahead_of_bitmap(BitmapHeapScanState *node)
{
	((ConcordScan) node->ss.ss_currentScanDesc)->bitmap_node = node;
}

void
concord_ahead_forget(ConcordScan scan)
{
	if (scan->ahead != NULL)
		tbm_end_iterate(scan->ahead);
	scan->ahead = NULL;
	scan->blocks_seen = 0;
	scan->blocks_ahead = 0;
	scan->rows_ahead = 0;
}

static uint64
add_block(const TBMIterateResult *block, uint64 *rowids, uint64 count)
{
	uint64		first = (uint64) block->blockno * CONCORD_TIDS_PER_BLOCK;

	for (int i = 0; i < block->ntuples; i++)
		rowids[count++] = first + block->offsets[i] - 1;
	return count;
}

/* The iterator stands before the block that the executor has come to. */
static void
fetch_blocks(ConcordScan scan)
{
	uint64		want = scan->rows_ahead == 0 ? FIRST_ROWS : Min(scan->rows_ahead * 4, MAX_ROWS);
	uint64	   *rowids = palloc((want + CONCORD_TIDS_PER_BLOCK) * sizeof(uint64));
	uint64		count = 0;
	size_t		ready;
	TBMIterateResult *block;

	while (count < want && (block = tbm_iterate(scan->ahead)) != NULL)
	{
		/* A lossy block is scanned, not fetched. */
		if (block->ntuples > 0)
			count = add_block(block, rowids, count);
		scan->blocks_ahead++;
	}
	scan->rows_ahead = want;
	if (count > 0)
		concord_check(cc_rows_ahead(scan->prefix, scan->point.lsn, rowids, count, &ready));
	pfree(rowids);
}

static TBMIterator *
begin_ahead(ConcordScan scan)
{
	BitmapHeapScanState *node = scan->bitmap_node;
	MemoryContext old_context;
	TBMIterator *iterator;

	if (node == NULL || node->pstate != NULL || node->tbm == NULL || !node->initialized)
		return NULL;
	old_context = MemoryContextSwitchTo(GetMemoryChunkContext(scan));
	iterator = tbm_begin_iterate(node->tbm);
	MemoryContextSwitchTo(old_context);
	/* The blocks before this one were read on this machine, which has fallen behind since. */
	for (uint64 i = 1; i < scan->blocks_seen; i++)
		tbm_iterate(iterator);
	return iterator;
}

void
concord_ahead_fetch_block(ConcordScan scan)
{
	scan->rowid_ready = scan->rowid_count;
	if (!concord_remote_enabled)
		return;
	concord_scan_open(scan);
	scan->rowid_ready = 0;
	scan->blocks_seen++;
	/* Once there, it goes on in step with the executor's, wherever the rows are. */
	if (scan->ahead == NULL && concord_reads_remotely(scan->point.lsn))
		scan->ahead = begin_ahead(scan);
	if (scan->ahead == NULL)
		return;
	if (scan->blocks_ahead == 0)
		fetch_blocks(scan);
	if (scan->blocks_ahead > 0)
		scan->blocks_ahead--;
}

void
concord_ahead_fetch_rest(ConcordScan scan)
{
	size_t		ready = scan->rowid_count - scan->rowid_next;

	if (concord_remote_enabled)
	{
		concord_scan_open(scan);
		if (concord_reads_remotely(scan->point.lsn))
			concord_check(cc_rows_ahead(scan->prefix, scan->point.lsn, scan->rowids + scan->rowid_next, ready, &ready));
	}
	/* One that could not be fetched in front is fetched by itself. */
	scan->rowid_ready = scan->rowid_next + Max((int) ready, 1);
}
