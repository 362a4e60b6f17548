/*
 * readers.c
 *		Who reads, and for how long: the view concord.readers, and the gateway's watch over it.
 *
 * A transaction that reads keeps old row versions from being removed (its read LSN), and while a query runs, or cannot let go
 * (tableam/rest.c), pages of the replica's file from being used again (its view). Both grow with what others write meanwhile, so both
 * end at concord.max_reader_age: nothing is kept for the read LSN any more (72000 if it is read at again), and who still holds a view
 * is cancelled, then terminated.
 */
#include "worker/worker.h"

#include <signal.h>

#include "funcapi.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(concord_readers);

#define COLUMNS 4
#define WATCH_EVERY_MS 1000
#define TERMINATE_AFTER_MS 2000	/* who did not heed the cancel */

static int
slots(void)
{
	return MaxBackends + NUM_AUXILIARY_PROCS;
}

static Datum
interval_of(int64 ms)
{
	Interval   *interval = palloc0(sizeof(Interval));

	interval->time = ms * 1000;
	return IntervalPGetDatum(interval);
}

Datum
concord_readers(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	if (!concord_enabled)
		return (Datum) 0;
	for (int slot = 0; slot < slots(); slot++)
	{
		Datum		values[COLUMNS] = {0};
		bool		nulls[COLUMNS] = {false};
		CcReader	reader;
		int			pid = ProcGlobal->allProcs[slot].pid;

		cc_channel_reader(concord_channel, slot, &reader);
		if (pid == 0 || (reader.read_lsn == 0 && reader.view_age_ms < 0))
			continue;
		values[0] = Int32GetDatum(pid);
		nulls[1] = nulls[2] = reader.read_lsn == 0;
		values[1] = LSNGetDatum(reader.read_lsn);
		values[2] = interval_of(reader.age_ms);
		nulls[3] = reader.view_age_ms < 0;
		values[3] = interval_of(reader.view_age_ms);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* Once at concord.reader_warning, and again each time that the age has doubled. */
static void
warn_of(int pid, const CcReader *reader, int64 *next_ms)
{
	int64		first_ms = (int64) concord_reader_warning_s * 1000;
	int64		age_ms = Max(reader->age_ms, reader->view_age_ms);

	if (first_ms == 0 || age_ms < first_ms)
	{
		*next_ms = first_ms;
		return;
	}
	if (age_ms < *next_ms)
		return;
	*next_ms = age_ms * 2;
	ereport(WARNING,
			(errmsg("process %d has been reading Concord tables for %lld seconds", pid, (long long) (age_ms / 1000)),
			 errdetail("Old row versions%s are kept for it meanwhile, so the storage replica grows.",
					   reader->view_age_ms >= 0 ? " and pages of the file" : ""),
			 errhint("End its transaction. concord.readers shows all such sessions; concord.max_reader_age limits them.")));
}

static void
end_reader(int pid, const CcReader *reader)
{
	int64		over_ms = reader->view_age_ms - (int64) concord_max_reader_age_s * 1000;

	if (concord_max_reader_age_s == 0 || reader->view_age_ms < 0 || over_ms < 0)
		return;
	ereport(WARNING,
			(errmsg("%s process %d, which has held on to the storage replica for longer than concord.max_reader_age",
					over_ms < TERMINATE_AFTER_MS ? "canceling the statement of" : "terminating", pid)));
	(void) kill(pid, over_ms < TERMINATE_AFTER_MS ? SIGINT : SIGTERM);
}

void
concord_watch_readers(void)
{
	static int64 *next_ms = NULL;
	static TimestampTz watched = 0;
	TimestampTz now = GetCurrentTimestamp();

	if (!TimestampDifferenceExceeds(watched, now, WATCH_EVERY_MS))
		return;
	watched = now;
	if (next_ms == NULL)
		next_ms = MemoryContextAllocZero(TopMemoryContext, slots() * sizeof(int64));
	for (int slot = 0; slot < slots(); slot++)
	{
		CcReader	reader;
		int			pid = ProcGlobal->allProcs[slot].pid;

		cc_channel_reader(concord_channel, slot, &reader);
		if (pid == 0 || pid == MyProcPid)
			continue;
		warn_of(pid, &reader, &next_ms[slot]);
		end_reader(pid, &reader);
	}
}
