/*
 * snapshot.c
 *		How a Postgres snapshot maps to a read LSN.
 *
 * An MVCC snapshot gets its read LSN at its first use, normally when the executor starts: the newest committed LSN that the
 * adjudicator's leader confirms. PostgreSQL 15 has a field for it that is free unless old_snapshot_threshold is set,
 * SnapshotData.lsn; copies of the snapshot, parallel workers' included, carry it along. REPEATABLE READ and SERIALIZABLE have one
 * for the whole transaction, but for the queries by which foreign keys look for rows that came after it.
 *
 * The lowest read LSN in use is registered in shared memory before anything is read at it; the gateway reports it to the
 * replicas, which keep what it needs. A reader that came too late to be reported sees the horizon in the same LMDB
 * transaction as the rows and gets 72000, never wrong rows.
 */
#include "concord.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "core/pause_points.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "stats/stats.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "xact/remote.h"
#include "xact/request.h"
#include "xact/share.h"

/* Stands in a snapshot that is to have the newest LSN, whatever the isolation level, until it has one. */
#define LATEST UINT64CONST(1)

static uint64 xact_read_lsn = 0;	/* REPEATABLE READ: of the transaction */
static bool has_read = false;	/* Concord tables, in this transaction */
static bool imported_without_lsn = false;	/* its snapshot is another session's, and that one's LSN is not known */
static uint64 registered_lsn = 0;	/* what our slot of the channel says */
static uint64 known_applied = 0;	/* the replica has applied at least this */

/* The replica wakes who waits for it; after so many microseconds one looks whether it is still there. */
#define APPLY_WAIT_US 10000

/* Over concord.max_reader_age: nothing is kept for our registration any more, so a later snapshot needs one of its own. */
static bool
has_had_its_time(void)
{
	CcReader	reader;

	if (concord_max_reader_age_s == 0)
		return false;
	cc_channel_reader(concord_channel, MyProc->pgprocno, &reader);
	return reader.age_ms >= (int64_t) concord_max_reader_age_s * 1000;
}

static void
register_read_lsn(uint64 lsn)
{
	if (registered_lsn != 0 && registered_lsn <= lsn && !has_had_its_time())
		return;
	registered_lsn = lsn;
	cc_channel_set_read_lsn(concord_channel, MyProc->pgprocno, lsn);
}

static void
close_replica(int code, Datum arg)
{
	cc_replica_close();
}

/* REPEATABLE READ: the LSN that the whole transaction reads at, and whoever imports its snapshot. */
static void
set_xact_read_lsn(uint64 lsn)
{
	xact_read_lsn = lsn;
	cc_channel_set_snapshot_lsn(concord_channel, MyProc->pgprocno, lsn);
}

/* Before the replica's map is opened: its reader slots are given back when the process ends. */
static void
register_reader(void)
{
	static bool registered = false;

	if (registered)
		return;
	on_proc_exit(close_replica, (Datum) 0);
	cc_channel_publish_views(concord_channel, MyProc->pgprocno);
	registered = true;
}

bool
concord_reads_remotely(uint64 lsn)
{
	return concord_remote_enabled && (!concord_local_reads || lsn > known_applied);
}

static void
wait_applied(uint64 lsn)
{
	TimestampTz start = 0;

	if (lsn <= known_applied)
		return;
	register_reader();
	for (;;)
	{
		CcStatus	status;

		if (concord_is_readable(lsn, &known_applied, start == 0 ? 0 : TimestampDifferenceMilliseconds(start, GetCurrentTimestamp()),
								&status))
		{
			concord_wait_end();
			return;
		}
		if (status != CC_OK && status != CC_UNAVAILABLE)
			concord_check(status);

		CHECK_FOR_INTERRUPTS();
		concord_check_trouble();
		concord_remind_postmaster();
		if (start == 0)
			start = GetCurrentTimestamp();
		else if (TimestampDifferenceExceeds(start, GetCurrentTimestamp(), concord_read_timeout_ms))
			concord_raise_no_replica(status == CC_OK ?
									 "the storage replica has not caught up within concord.read_timeout" :
									 psprintf("the storage replica cannot be opened: %s", cc_error()));
		concord_wait_begin(CONCORD_WAIT_APPLY, 0);
		pgstat_report_wait_start(PG_WAIT_EXTENSION);
		cc_replica_await(lsn, APPLY_WAIT_US);
		pgstat_report_wait_end();
	}
}

uint64
concord_committed_lsn(void)
{
	uint64		lsn;

	concord_require_usable();
	lsn = concord_page_committed();
	return lsn != 0 ? lsn : concord_request_read_lsn();
}

static void
check_supported(void)
{
	if (old_snapshot_threshold >= 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("Concord tables cannot be read while \"old_snapshot_threshold\" is set"),
				 errhint("Set old_snapshot_threshold = -1 and restart; concord.retention bounds old versions instead.")));
}

/*
 * The newest committed LSN. The transaction's first one is asked for twice, the second time with the first registered: an index
 * build in between has not seen us and leaves out what nobody can see, but that ended before the second.
 */
static uint64
newest_lsn_registered(bool may_wait)
{
	uint64		lsn = may_wait ? concord_committed_lsn() : concord_page_committed();
	uint64		newer;

	if (lsn == 0 || registered_lsn != 0)
		return lsn;
	cc_pause(CC_PAUSE_SNAPSHOT_LSN_READ);
	register_read_lsn(lsn);
	newer = may_wait ? concord_committed_lsn() : concord_page_committed();
	if (newer == 0)				/* nobody vouches any more: it is asked for when it is needed */
		return 0;
	return Max(lsn, newer);
}

/*
 * A transaction registers what it reads at here too: an index build goes on for long, at no snapshot's LSN. The sweeper has no
 * transaction, and nothing that would end its registration.
 */
uint64
concord_newest_lsn(void)
{
	uint64		lsn = IsTransactionState() ? newest_lsn_registered(true) : concord_committed_lsn();

	wait_applied(lsn);
	return lsn;
}

/* The snapshot's read LSN, given now if it has none. 0 if `may_wait` is false and no page vouches for one. */
static uint64
snapshot_lsn(Snapshot snapshot, bool may_wait)
{
	bool		latest = snapshot->lsn == LATEST;
	uint64		lsn;

	if (snapshot->lsn != 0 && !latest)
		return snapshot->lsn;
	if (IsParallelWorker())
	{
		/* The leader gives every snapshot its LSN before it starts workers; only a missing leader page prevents that. */
		if (may_wait)
			concord_raise_unavailable("no read LSN reached the parallel worker");
		return 0;
	}
	if (imported_without_lsn)
	{
		if (may_wait)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("Concord tables cannot be read with this imported snapshot"),
					 errdetail("The transaction that exported it has no read LSN for it."),
					 errhint("Export the snapshot in a transaction with isolation level REPEATABLE READ.")));
		return 0;
	}
	if (IsolationUsesXactSnapshot() && xact_read_lsn != 0 && !latest)
		lsn = xact_read_lsn;
	else
		lsn = newest_lsn_registered(may_wait);
	if (lsn == 0)
		return 0;
	if (IsolationUsesXactSnapshot() && xact_read_lsn == 0 && !latest)
		set_xact_read_lsn(lsn);
	snapshot->lsn = lsn;
	register_read_lsn(lsn);
	return lsn;
}

void
concord_snapshot_import(uint64 lsn)
{
	imported_without_lsn = lsn == 0;
	if (lsn == 0)
		return;
	/* Before the exporter can end, or nobody would keep the versions; too late is 72000, never wrong rows. */
	register_read_lsn(lsn);
	set_xact_read_lsn(lsn);
}

void
concord_snapshot_assign(Snapshot snapshot, bool latest)
{
	if (!concord_enabled || snapshot == NULL || snapshot->snapshot_type != SNAPSHOT_MVCC)
		return;
	if (old_snapshot_threshold >= 0)
		return;					/* refused at the first use of a Concord table */
	if (latest && snapshot->lsn == 0)
		snapshot->lsn = LATEST;
	(void) snapshot_lsn(snapshot, false);
}

ConcordReadPoint
concord_read_point(Snapshot snapshot)
{
	ConcordReadPoint point;

	if (IsParallelWorker())
		concord_share_take();
	if (snapshot != NULL && snapshot->snapshot_type == SNAPSHOT_MVCC)
	{
		check_supported();
		point.lsn = snapshot_lsn(snapshot, true);
		point.curcid = snapshot->curcid;
		has_read = true;
		register_read_lsn(point.lsn);
		wait_applied(point.lsn);
	}
	else
	{
		/* Dirty, Self, Any, NonVacuumable: the newest committed state and every own write. */
		point.lsn = concord_newest_lsn();
		point.curcid = CC_ALL_COMMANDS;
	}
	if (unlikely(IsolationIsSerializable()))
		concord_reads_begin(point.lsn);
	return point;
}

ConcordReadPoint
concord_read_point_for(Relation rel, Snapshot snapshot)
{
	ConcordReadPoint point = concord_read_point(snapshot);
	uint64		bulk = concord_bulk_lsn(concord_storage_id(rel), point.curcid);

	/* What this transaction streamed into new storage lies above its read LSN, and nobody else writes there. */
	if (bulk > point.lsn)
	{
		point.lsn = bulk;
		wait_applied(bulk);
	}
	return point;
}

bool
concord_snapshot_has_read(void)
{
	return has_read;
}

/* Which replica is read is decided anew. */
void
concord_snapshot_forget_applied(void)
{
	known_applied = 0;
}

void
concord_snapshot_at_xact_end(void)
{
	has_read = false;
	imported_without_lsn = false;
	if (xact_read_lsn != 0)
		set_xact_read_lsn(0);
	if (registered_lsn != 0)
	{
		registered_lsn = 0;
		cc_channel_set_read_lsn(concord_channel, MyProc->pgprocno, 0);
	}
}
