/*
 * size.c
 *		How big a table is, as Postgres asks: in pages.
 *
 * There are no pages. The figures are those that heap would show for the same rows, because the planner's costs are made for
 * them: with any other, good plans on heap would become different plans here.
 */
#include "tableam/tableam.h"

#include "miscadmin.h"
#include "optimizer/plancat.h"
#include "postmaster/autovacuum.h"
#include "storage/bufmgr.h"
#include "utils/guc.h"

#define PAGE_BYTES (BLCKSZ - SizeOfPageHeaderData)
/* Bytes of a row's key in the replica's counters; heap has a line pointer instead. */
#define ROW_KEY_BYTES 16

static CcStatus
count(uint64 prefix, uint64 *rows, uint64 *bytes)
{
	CcStatus	status = concord_open_replica();

	*rows = *bytes = 0;
	return status == CC_OK ? cc_replica_counters(prefix, rows, bytes) : status;
}

uint64
concord_heap_pages(Relation rel, uint64 *rows)
{
	uint64		prefix = concord_rel_prefix(rel);
	uint64		bytes;
	uint64		own_rows;
	uint64		own_bytes;
	uint64		row_bytes;
	uint64		rows_per_page;
	CcStatus	status;

	cc_ws_added(prefix, &own_rows, &own_bytes);
	status = count(prefix, rows, &bytes);

	/*
	 * At the start of the server, or while the replica is made anew: wait, or raise with what is wrong. And what is empty may have been
	 * filled by a commit that the replica has not applied yet: ANALYZE would look at nothing.
	 */
	if (status == CC_UNAVAILABLE || (*rows == 0 && own_rows == 0))
	{
		(void) concord_newest_lsn();
		status = count(prefix, rows, &bytes);
	}
	if (status != CC_END)
		concord_check(status);

	*rows += own_rows;
	bytes += own_bytes;
	if (*rows == 0)
		return 0;
	row_bytes = Max(bytes / *rows, ROW_KEY_BYTES + SizeofHeapTupleHeader) - ROW_KEY_BYTES + sizeof(ItemIdData);
	rows_per_page = PAGE_BYTES / row_bytes;
	if (rows_per_page == 0)
		return (*rows * row_bytes + PAGE_BYTES - 1) / PAGE_BYTES;
	return (*rows + rows_per_page - 1) / rows_per_page;
}

uint64
concord_relation_size(Relation rel, ForkNumber fork)
{
	uint64		rows;
	uint64		pages;

	if (fork != MAIN_FORKNUM && fork != InvalidForkNumber)
		return 0;
	pages = Min(concord_heap_pages(rel, &rows), (uint64) MaxBlockNumber);

	/*
	 * ANALYZE prefetches the blocks that it samples. Beyond the first segment of a file that is not there, that is an error.
	 * ProcessUtility's hook sees manual ANALYZE; this sees autovacuum.
	 */
	if (pages > RELSEG_SIZE && IsAutoVacuumWorkerProcess() && maintenance_io_concurrency > 0)
		SetConfigOption("maintenance_io_concurrency", "0", PGC_USERSET, PGC_S_SESSION);
	return pages * BLCKSZ;
}

void
concord_relation_estimate_size(Relation rel, int32 *attr_widths, BlockNumber *pages, double *tuples, double *allvisfrac)
{
	table_block_relation_estimate_size(rel, attr_widths, pages, tuples, allvisfrac,
									   MAXALIGN(SizeofHeapTupleHeader) + sizeof(ItemIdData), PAGE_BYTES);
	/* Index-only scans never touch the row. */
	*allvisfrac = 1.0;
}
