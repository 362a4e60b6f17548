/*
 * sweep_functions.c
 *		concord.orphans() and concord.sweep(): the sweeper is asked, and its result waited for.
 */
#include "worker/sweep.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "stats/stats.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(concord_orphans);
PG_FUNCTION_INFO_V1(concord_sweep);

#define WAIT_SLICE_MS 1000
#define WORKER_WAIT_MS 15000	/* for a sweeper that is just being started */

static void
require_superuser(void)
{
	if (!superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be superuser to look for orphaned Concord storage")));
}

/* Makes a request and wakes the worker; returns the request's number. */
static uint64
make_request(ConcordSweepKind kind)
{
	ConcordSweepShared *shared = concord_sweep_shared;
	uint64		number;
	int			worker;

	SpinLockAcquire(&shared->mutex);
	number = ++shared->requested[kind];
	worker = shared->worker;
	SpinLockRelease(&shared->mutex);
	if (worker >= 0)
		SetLatch(&ProcGlobal->allProcs[worker].procLatch);
	return number;
}

/* True if it is served. *worker_runs tells whether there is anybody to do it. */
static bool
is_served(ConcordSweepKind kind, uint64 number, ConcordSweepResult *result, uint32 *shown, bool *worker_runs)
{
	ConcordSweepShared *shared = concord_sweep_shared;
	bool		served;

	SpinLockAcquire(&shared->mutex);
	*worker_runs = shared->worker >= 0;
	served = shared->served[kind] >= number;
	if (served)
	{
		*result = shared->result[kind];
		if (shown != NULL)
			memcpy(shown, shared->shown, sizeof(shared->shown));
	}
	SpinLockRelease(&shared->mutex);
	return served;
}

/* Has the sweeper run once more; raises its error. */
static ConcordSweepResult
ask(ConcordSweepKind kind, uint32 *shown)
{
	TimestampTz seen = GetCurrentTimestamp();
	ConcordSweepResult result;
	uint64		number;
	bool		worker_runs;

	concord_require_usable();
	number = make_request(kind);
	ConditionVariablePrepareToSleep(&concord_sweep_shared->done);
	while (!is_served(kind, number, &result, shown, &worker_runs))
	{
		if (worker_runs)
			seen = GetCurrentTimestamp();
		else if (TimestampDifferenceExceeds(seen, GetCurrentTimestamp(), WORKER_WAIT_MS))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("the concord sweeper does not run"),
					 errhint("It takes one of max_worker_processes; the server log tells why it ended.")));
		concord_wait_begin(CONCORD_WAIT_SWEEP, 0);
		(void) ConditionVariableTimedSleep(&concord_sweep_shared->done, WAIT_SLICE_MS, PG_WAIT_EXTENSION);
	}
	ConditionVariableCancelSleep();
	concord_wait_end();
	if (result.sqlstate != 0)
		ereport(ERROR,
				(errcode(result.sqlstate),
				 errmsg("%s", result.message),
				 result.detail[0] != '\0' ? errdetail("%s", result.detail) : 0,
				 result.hint[0] != '\0' ? errhint("%s", result.hint) : 0));
	return result;
}

Datum
concord_sweep(PG_FUNCTION_ARGS)
{
	ConcordSweepResult result;

	require_superuser();
	result = ask(CONCORD_SWEEP_REMOVE, NULL);
	if (result.undecided > 0)
		ereport(NOTICE,
				(errmsg_plural("%d storage is left alone until a running transaction that made tables or indexes has ended",
							   "%d storages are left alone until a running transaction that made tables or indexes has ended",
							   result.undecided, result.undecided)));
	PG_RETURN_INT64(result.count);
}

Datum
concord_orphans(PG_FUNCTION_ARGS)
{
	uint32		shown[CONCORD_ORPHANS_SHOWN];
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	ConcordSweepResult result;

	require_superuser();
	InitMaterializedSRF(fcinfo, 0);
	result = ask(CONCORD_SWEEP_LOOK, shown);
	for (int i = 0; i < Min(result.count, CONCORD_ORPHANS_SHOWN); i++)
	{
		uint64		rows,
					bytes,
					entries,
					entry_bytes;
		Datum		values[3];
		bool		nulls[3] = {false, false, false};

		/* An id is a table's or an index's. */
		concord_check(concord_open_replica());
		concord_check(cc_replica_counters(concord_row_prefix(shown[i]), &rows, &bytes));
		concord_check(cc_replica_counters(concord_entry_prefix(shown[i]), &entries, &entry_bytes));
		values[0] = Int64GetDatum((int64) shown[i]);
		values[1] = Int64GetDatum((int64) (rows + entries));
		values[2] = Int64GetDatum((int64) (bytes + entry_bytes));
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
