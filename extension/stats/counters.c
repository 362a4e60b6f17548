/*
 * counters.c
 *		Counters of commits: concord.stat_commits, concord.stat_commit_waits and concord.stat_reset().
 *
 * Each process adds to its own place, which outlives it and is taken over by the next process of its number. A reset does not
 * touch them but remembers what they were; only the longest wait is set to 0, and one that ends just then may be missed.
 */
#include "stats/stats.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(concord_stat_commits);
PG_FUNCTION_INFO_V1(concord_stat_commit_waits);
PG_FUNCTION_INFO_V1(concord_stat_reset);

#define COMMITS_COLUMNS 17
#define WAITS_COLUMNS 3

typedef struct Totals
{
	uint64		counters[CONCORD_COUNTERS];
	uint64		waits[CONCORD_WAIT_BUCKETS];
	uint64		wait_us_max;
	CcChannelStats channel;
} Totals;

typedef struct Baseline
{
	slock_t		mutex;
	TimestampTz reset;
	Totals		totals;
} Baseline;

ConcordProcStats *concord_proc_stats = NULL;
static Baseline *baseline = NULL;

int
concord_stats_slots(void)
{
	return MaxBackends + NUM_AUXILIARY_PROCS;
}

static Size
procs_size(void)
{
	return mul_size(concord_stats_slots(), sizeof(ConcordProcStats));
}

Size
concord_stats_shmem_size(void)
{
	return add_size(procs_size(), sizeof(Baseline));
}

void
concord_stats_shmem_init(void)
{
	bool		found;

	concord_proc_stats = ShmemInitStruct("concord statistics", procs_size(), &found);
	if (!found)
		memset(concord_proc_stats, 0, procs_size());
	baseline = ShmemInitStruct("concord statistics baseline", sizeof(Baseline), &found);
	if (found)
		return;
	memset(baseline, 0, sizeof(Baseline));
	SpinLockInit(&baseline->mutex);
	baseline->reset = GetCurrentTimestamp();
}

/* Nobody else writes it. */
static void
add(pg_atomic_uint64 *to, uint64 by)
{
	pg_atomic_write_u64(to, pg_atomic_read_u64(to) + by);
}

void
concord_count(ConcordCounter counter, uint64 by)
{
	add(&concord_proc_stats[MyProc->pgprocno].counters[counter], by);
}

static void
count_wait(uint64 wait_us)
{
	ConcordProcStats *mine = &concord_proc_stats[MyProc->pgprocno];
	int			bucket = 0;

	while (bucket < CONCORD_WAIT_BUCKETS - 1 && wait_us >= UINT64CONST(1) << (bucket + 4))
		bucket++;
	add(&mine->waits[bucket], 1);
	add(&mine->counters[CONCORD_COUNT_WAIT_US], wait_us);
	if (wait_us > pg_atomic_read_u64(&mine->wait_us_max))
		pg_atomic_write_u64(&mine->wait_us_max, wait_us);
}

void
concord_count_verdict(CcOutcome outcome, uint64 wait_us)
{
	switch (outcome)
	{
		case CC_COMMITTED:
			concord_count(CONCORD_COUNT_COMMITS, 1);
			count_wait(wait_us);
			break;
		case CC_CONFLICT:
		case CC_READ_CONFLICT:
			concord_count(CONCORD_COUNT_CONFLICTS, 1);
			break;
		case CC_OUT_TOO_OLD:
			concord_count(CONCORD_COUNT_TOO_OLD, 1);
			break;
		case CC_OUT_UNKNOWN:
			concord_count(CONCORD_COUNT_UNKNOWN, 1);
			break;
		default:
			concord_count(CONCORD_COUNT_REFUSED, 1);
			break;
	}
}

/* Since shared memory was made. */
static void
read_totals(Totals *totals)
{
	memset(totals, 0, sizeof(*totals));
	for (int slot = 0; slot < concord_stats_slots(); slot++)
	{
		ConcordProcStats *proc = &concord_proc_stats[slot];

		for (int i = 0; i < CONCORD_COUNTERS; i++)
			totals->counters[i] += pg_atomic_read_u64(&proc->counters[i]);
		for (int i = 0; i < CONCORD_WAIT_BUCKETS; i++)
			totals->waits[i] += pg_atomic_read_u64(&proc->waits[i]);
		totals->wait_us_max = Max(totals->wait_us_max, pg_atomic_read_u64(&proc->wait_us_max));
	}
	cc_channel_stats(concord_channel, &totals->channel);
}

void
concord_read_server_stats(CcServerStats *stats)
{
	uint64		counters[CONCORD_COUNTERS] = {0};

	StaticAssertStmt(CONCORD_WAITS <= CC_WAIT_KINDS, "too many waits");
	for (int i = 0; i < CONCORD_WAITS; i++)
		stats->waiting_for[i] = concord_wait_name(i);
	for (int slot = 0; slot < concord_stats_slots(); slot++)
	{
		ConcordProcStats *proc = &concord_proc_stats[slot];

		for (int i = 0; i < CONCORD_COUNTERS; i++)
			counters[i] += pg_atomic_read_u64(&proc->counters[i]);
		for (int i = 0; i < CONCORD_WAIT_BUCKETS; i++)
			stats->waits[i] += pg_atomic_read_u64(&proc->waits[i]);
		stats->waiting[proc->wait]++;
	}
	stats->committed = counters[CONCORD_COUNT_COMMITS];
	stats->read_only = counters[CONCORD_COUNT_READ_ONLY];
	stats->conflicts = counters[CONCORD_COUNT_CONFLICTS];
	stats->too_old = counters[CONCORD_COUNT_TOO_OLD];
	stats->refused = counters[CONCORD_COUNT_REFUSED];
	stats->unknown = counters[CONCORD_COUNT_UNKNOWN];
	stats->chunks = counters[CONCORD_COUNT_CHUNKS];
	stats->retries = counters[CONCORD_COUNT_RETRIES];
	stats->wait_us = counters[CONCORD_COUNT_WAIT_US];
}

/* Since the last reset, whose time is returned. */
static TimestampTz
read_since_reset(Totals *totals)
{
	Totals	   *before = palloc(sizeof(Totals));
	TimestampTz reset;

	SpinLockAcquire(&baseline->mutex);
	*before = baseline->totals;
	reset = baseline->reset;
	SpinLockRelease(&baseline->mutex);
	read_totals(totals);
	for (int i = 0; i < CONCORD_COUNTERS; i++)
		totals->counters[i] -= before->counters[i];
	for (int i = 0; i < CONCORD_WAIT_BUCKETS; i++)
		totals->waits[i] -= before->waits[i];
	totals->channel.batches -= before->channel.batches;
	totals->channel.bytes -= before->channel.bytes;
	totals->channel.resent -= before->channel.resent;
	totals->channel.reconnects -= before->channel.reconnects;
	pfree(before);
	return reset;
}

Datum
concord_stat_commits(PG_FUNCTION_ARGS)
{
	Datum		values[COMMITS_COLUMNS];
	bool		nulls[COMMITS_COLUMNS] = {false};
	TupleDesc	desc;
	Totals		totals;
	TimestampTz reset;
	int			column = 0;
	uint64		commits;

	concord_require_usable();
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE || desc->natts != COMMITS_COLUMNS)
		elog(ERROR, "concord.stat_commits() must return %d columns", COMMITS_COLUMNS);
	reset = read_since_reset(&totals);
	commits = totals.counters[CONCORD_COUNT_COMMITS];
	for (int i = 0; i < CONCORD_COUNT_WAIT_US; i++)
		values[column++] = Int64GetDatum((int64) totals.counters[i]);
	values[column++] = Int64GetDatum((int64) totals.channel.batches);
	values[column++] = Int64GetDatum((int64) totals.channel.bytes);
	values[column++] = Int64GetDatum((int64) totals.channel.resent);
	values[column++] = Int64GetDatum((int64) totals.channel.reconnects);
	values[column++] = BoolGetDatum(cc_channel_connected(concord_channel));
	values[column++] = Int64GetDatum((int64) totals.counters[CONCORD_COUNT_WAIT_US]);
	nulls[column] = commits == 0;
	values[column++] = Int64GetDatum(commits == 0 ? 0 : (int64) (totals.counters[CONCORD_COUNT_WAIT_US] / commits));
	values[column++] = Int64GetDatum((int64) totals.wait_us_max);
	values[column++] = TimestampTzGetDatum(reset);
	Assert(column == COMMITS_COLUMNS);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

Datum
concord_stat_commit_waits(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Totals		totals;

	concord_require_usable();
	InitMaterializedSRF(fcinfo, 0);
	(void) read_since_reset(&totals);
	for (int i = 0; i < CONCORD_WAIT_BUCKETS; i++)
	{
		Datum		values[WAITS_COLUMNS];
		bool		nulls[WAITS_COLUMNS] = {false};

		values[0] = Int64GetDatum(i == 0 ? 0 : INT64CONST(1) << (i + 3));
		nulls[1] = i == CONCORD_WAIT_BUCKETS - 1;
		values[1] = Int64GetDatum(INT64CONST(1) << (i + 4));
		values[2] = Int64GetDatum((int64) totals.waits[i]);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

Datum
concord_stat_reset(PG_FUNCTION_ARGS)
{
	TimestampTz now = GetCurrentTimestamp();
	Totals		totals;

	concord_require_usable();
	read_totals(&totals);
	for (int slot = 0; slot < concord_stats_slots(); slot++)
		pg_atomic_write_u64(&concord_proc_stats[slot].wait_us_max, 0);
	SpinLockAcquire(&baseline->mutex);
	baseline->totals = totals;
	baseline->reset = now;
	SpinLockRelease(&baseline->mutex);
	concord_conflicts_reset();
	PG_RETURN_VOID();
}
