/*
 * sweeper.c
 *		Main function of the sweeper worker. See sweep.h.
 *
 * It runs at its start, which is after every crash of the server; after DROP DATABASE and lost drops, when it is woken; every
 * concord.sweep_interval; and when a session asks (worker/sweep_functions.c). What a running transaction may still own is left
 * alone, and looked at again when that transaction has ended.
 *
 * It is connected to no database, so that it stands in the way of no DROP DATABASE, and it keeps pruning away from all of
 * them while it looks.
 */
#include "worker/sweep.h"

#include <signal.h>

#include "access/xact.h"
#include "ddl/creation_marks.h"
#include "ddl/orphans.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker/worker.h"

PGDLLEXPORT void concord_sweeper_main(Datum argument) pg_attribute_noreturn();

#define SIDECAR_POLL_MS 500		/* while it is away */
#define UNDECIDED_POLL_MS 2000	/* while a transaction runs that may own what was found */
#define FAILED_RETRY_MS 60000

ConcordSweepShared *concord_sweep_shared = NULL;

Size
concord_sweep_shmem_size(void)
{
	return sizeof(ConcordSweepShared);
}

void
concord_sweep_shmem_init(void)
{
	bool		found;

	concord_sweep_shared = ShmemInitStruct("concord sweep", concord_sweep_shmem_size(), &found);
	if (found)
		return;
	memset(concord_sweep_shared, 0, sizeof(ConcordSweepShared));
	SpinLockInit(&concord_sweep_shared->mutex);
	ConditionVariableInit(&concord_sweep_shared->done);
	concord_sweep_shared->worker = -1;
}

void
concord_sweep_wake(void)
{
	int			worker;

	SpinLockAcquire(&concord_sweep_shared->mutex);
	concord_sweep_shared->wanted = true;
	worker = concord_sweep_shared->worker;
	SpinLockRelease(&concord_sweep_shared->mutex);
	if (worker >= 0)
		SetLatch(&ProcGlobal->allProcs[worker].procLatch);
}

static void
set_worker(int pgprocno)
{
	SpinLockAcquire(&concord_sweep_shared->mutex);
	concord_sweep_shared->worker = pgprocno;
	SpinLockRelease(&concord_sweep_shared->mutex);
}

static void
leave(int code, Datum argument)
{
	set_worker(-1);
}

/* As walsenders do that speak for a standby. */
static void
hold_back_pruning_everywhere(void)
{
	LWLockAcquire(ProcArrayLock, LW_EXCLUSIVE);
	MyProc->statusFlags |= PROC_AFFECTS_ALL_HORIZONS;
	ProcGlobal->statusFlags[MyProc->pgxactoff] = MyProc->statusFlags;
	LWLockRelease(ProcArrayLock);
}

/* The error being handled. */
static void
describe_error(ConcordSweepResult *result, MemoryContext context)
{
	ErrorData  *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	result->sqlstate = error->sqlerrcode;
	strlcpy(result->message, error->message != NULL ? error->message : "", sizeof(result->message));
	strlcpy(result->detail, error->detail != NULL ? error->detail : "", sizeof(result->detail));
	strlcpy(result->hint, error->hint != NULL ? error->hint : "", sizeof(result->hint));
	FreeErrorData(error);
}

static void
show(const ConcordOrphans *orphans)
{
	SpinLockAcquire(&concord_sweep_shared->mutex);
	for (int i = 0; i < Min(orphans->count, CONCORD_ORPHANS_SHOWN); i++)
		concord_sweep_shared->shown[i] = orphans->ids[i];
	SpinLockRelease(&concord_sweep_shared->mutex);
}

/* One run. Never raises. *lowest_mark is of the transaction on whose end undecided ones wait. */
static ConcordSweepResult
run(ConcordSweepKind kind, uint32 *lowest_mark)
{
	MemoryContext context = CurrentMemoryContext;
	ConcordSweepResult result = {0};

	/* It may wait for locks. */
	pqsignal(SIGTERM, die);
	pgstat_report_activity(STATE_RUNNING, kind == CONCORD_SWEEP_LOOK ? "looking for orphaned storage" :
						   "sweeping orphaned storage");
	PG_TRY();
	{
		ConcordOrphans orphans;

		StartTransactionCommand();
		orphans = concord_find_orphans();
		if (kind == CONCORD_SWEEP_LOOK)
			show(&orphans);
		else
			concord_drop_orphans(&orphans);
		result.count = orphans.count;
		result.undecided = orphans.undecided;
		*lowest_mark = orphans.lowest_mark;
		CommitTransactionCommand();
	}
	PG_CATCH();
	{
		describe_error(&result, context);
		AbortCurrentTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	pgstat_report_activity(STATE_IDLE, NULL);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);

	if (kind == CONCORD_SWEEP_REMOVE && result.sqlstate == 0 && result.count > 0)
		ereport(LOG,
				(errmsg_plural("concord sweeper: removed %d storage that no table or index uses",
							   "concord sweeper: removed %d storages that no table or index uses",
							   result.count, result.count)));
	return result;
}

/* Serves who waits for a run of this kind; true if anybody did. */
static bool
serve(ConcordSweepKind kind, ConcordSweepResult *result, uint32 *lowest_mark)
{
	ConcordSweepShared *shared = concord_sweep_shared;
	uint64		number;
	bool		asked;

	SpinLockAcquire(&shared->mutex);
	number = shared->requested[kind];
	asked = number > shared->served[kind];
	SpinLockRelease(&shared->mutex);
	if (!asked)
		return false;

	*result = run(kind, lowest_mark);

	SpinLockAcquire(&shared->mutex);
	shared->result[kind] = *result;
	shared->served[kind] = number;
	SpinLockRelease(&shared->mutex);
	ConditionVariableBroadcast(&shared->done);
	return true;
}

static bool
take_wanted(void)
{
	bool		wanted;

	SpinLockAcquire(&concord_sweep_shared->mutex);
	wanted = concord_sweep_shared->wanted;
	concord_sweep_shared->wanted = false;
	SpinLockRelease(&concord_sweep_shared->mutex);
	return wanted;
}

static TimestampTz
in_ms(int64 ms)
{
	return GetCurrentTimestamp() + ms * 1000;
}

/* When to sweep unasked; the end of time with concord.sweep_interval = 0. */
static TimestampTz
next_regular(void)
{
	return concord_sweep_interval_s == 0 ? DT_NOEND : in_ms(concord_sweep_interval_s * INT64CONST(1000));
}

static void
warn_failed(const ConcordSweepResult *result)
{
	ereport(WARNING,
			(errcode(result->sqlstate),
			 errmsg("concord sweeper: could not look for orphaned storage: %s", result->message),
			 result->detail[0] != '\0' ? errdetail("%s", result->detail) : 0,
			 result->hint[0] != '\0' ? errhint("%s", result->hint) : 0));
}

/* Sweeps for ever. */
static void
sweep_loop(void)
{
	TimestampTz due = concord_sweep_interval_s == 0 ? DT_NOEND : 0;
	int			interval_s = concord_sweep_interval_s;
	uint32		blocked_by = 0; /* a mark: its transaction may own what was found; 0: nothing is undecided */

	while (!ShutdownRequestPending)
	{
		ConcordSweepResult result;
		uint32		lowest_mark = 0;
		bool		connected = cc_channel_connected(concord_channel);
		bool		swept;

		(void) serve(CONCORD_SWEEP_LOOK, &result, &lowest_mark);
		swept = serve(CONCORD_SWEEP_REMOVE, &result, &lowest_mark);
		if (take_wanted() || (blocked_by != 0 && concord_lowest_mark() != blocked_by))
			due = 0;
		if (interval_s != concord_sweep_interval_s)
			due = Min(due, next_regular());
		interval_s = concord_sweep_interval_s;
		if (!swept && connected && due <= GetCurrentTimestamp())
		{
			result = run(CONCORD_SWEEP_REMOVE, &lowest_mark);
			swept = true;
			if (result.sqlstate != 0)
				warn_failed(&result);
		}
		if (swept)
		{
			due = result.sqlstate == 0 ? next_regular() : Min(next_regular(), in_ms(FAILED_RETRY_MS));
			blocked_by = result.undecided > 0 ? lowest_mark : 0;
			continue;			/* somebody may have asked meanwhile */
		}
		if (blocked_by != 0)
			concord_worker_wait(UNDECIDED_POLL_MS);
		else if (!connected)
			concord_worker_wait(SIDECAR_POLL_MS);
		else
			concord_worker_wait(due == DT_NOEND ? -1L :
								(long) TimestampDifferenceMilliseconds(GetCurrentTimestamp(), due) + 1);
	}
}

void
concord_sweeper_main(Datum argument)
{
	concord_worker_start();
	hold_back_pruning_everywhere();
	/* What a DBA sets for sessions is not meant for this one. */
	SetConfigOption("default_transaction_isolation", "read committed", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("lock_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("statement_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("idle_in_transaction_session_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	MemoryContextSwitchTo(AllocSetContextCreate(TopMemoryContext, "concord sweeper", ALLOCSET_DEFAULT_SIZES));

	before_shmem_exit(leave, (Datum) 0);
	set_worker(MyProc->pgprocno);
	sweep_loop();
	/* Not 0: if only this process was told to end, the postmaster starts it again. */
	proc_exit(1);
}
