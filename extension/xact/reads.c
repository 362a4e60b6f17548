/*
 * reads.c
 *		What a SERIALIZABLE transaction has read.
 *
 * SERIALIZABLE is REPEATABLE READ, and a check at the commit: the keys and ranges that both access methods note while they read
 * (bridge/read_set.h) go to the adjudicator with the write set, which commits only if none of them was changed by a
 * commit above the read LSN. So the transaction could as well have run at its commit LSN alone: the order of commits is the serial order.
 *
 * A transaction that writes nothing reads a prefix of that order; nothing of it is sent, and it never fails. To make or drop storage is
 * to write: TRUNCATE, CREATE TABLE AS. What is read in a savepoint counts also if that is rolled back, as on heap: the client
 * has seen it. READ ONLY is no promise for a whole transaction (it may come late, or be a function's), so reads are noted then too; but
 * workers, which note nothing, may take part.
 */
#include "concord.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "ddl/storage_map.h"
#include "tableam/tableam.h"

bool		concord_reads_noted = false;

static uint64 reads_lsn = 0;	/* the lowest one read at */
static bool read_by_workers = false;	/* what nobody has noted */

/* In a subtransaction READ ONLY ends with it. */
static bool
can_write(void)
{
	return !XactReadOnly || GetCurrentTransactionNestLevel() > 1 || concord_has_own_state();
}

/* May be asked after concord_ddl_pre_commit. */
static bool
has_written(void)
{
	return cc_ws_has_writes() || concord_drops_any();
}

void
concord_reads_begin(uint64 lsn)
{
	if (concord_reads_noted)
		reads_lsn = Min(reads_lsn, lsn);
	else if (!IsParallelWorker())
	{
		cc_reads_begin((size_t) concord_max_read_set_kb * 1024);
		reads_lsn = lsn;
		concord_reads_noted = true;
	}
}

void
concord_reads_end(void)
{
	if (concord_reads_noted)
		cc_reads_end();
	concord_reads_noted = read_by_workers = false;
}

bool
concord_reads_are_of_others(uint64 prefix)
{
	return !concord_drops_created_ever((uint32) prefix);
}

void
concord_note_row(uint64 prefix, uint64 rowid)
{
	uint8		low[ROW_BODY_SIZE];
	uint8		high[ROW_BODY_SIZE];

	if (!concord_reads_are_of_others(prefix))
		return;
	/* So that rows side by side are one range. */
	concord_row_body(low, rowid);
	concord_row_body(high, rowid + 1);
	concord_check(cc_reads_note(prefix, low, sizeof(low), high, sizeof(high)));
}

uint64
concord_reads_lsn(void)
{
	if (!concord_reads_noted || !has_written())
		return 0;
	if (read_by_workers)
		concord_raise_read_conflict(InvalidOid, InvalidOid);
	return reads_lsn;
}

bool
concord_reads_need_leader(void)
{
	return IsolationIsSerializable() && can_write();
}

void
concord_reads_by_workers(void)
{
	read_by_workers = read_by_workers || IsolationIsSerializable();
}
