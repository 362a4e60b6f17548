/*
 * waits.c
 *		What backends wait for: concord.stat_activity.
 *
 * PostgreSQL 15 lets no extension name wait events of its own: pg_stat_activity says "Extension" for all of ours, and
 * "Lock / virtualxid" for a wait for a writer of the same server. Here they have names.
 */
#include "stats/stats.h"

#include "catalog/pg_authid.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(concord_stat_waits);

#define COLUMNS 4

void
concord_wait_begin(ConcordWait wait, int blocker)
{
	ConcordProcStats *mine = &concord_proc_stats[MyProc->pgprocno];

	if (mine->wait == wait && mine->blocker == blocker)
		return;
	mine->blocker = blocker;
	mine->since = GetCurrentTimestamp();
	mine->wait = wait;
}

const char *
concord_wait_name(ConcordWait wait)
{
	switch (wait)
	{
		case CONCORD_WAIT_NONE:
			break;
		case CONCORD_WAIT_VERDICT:
			return "commit verdict";
		case CONCORD_WAIT_CHUNK:
			return "chunk";
		case CONCORD_WAIT_INTERNAL_COMMIT:
			return "internal commit";
		case CONCORD_WAIT_READ_LSN:
			return "read LSN";
		case CONCORD_WAIT_APPLY:
			return "replica apply";
		case CONCORD_WAIT_LOAD_APPLY:
			return "load apply";
		case CONCORD_WAIT_INTENT:
			return "local intent";
		case CONCORD_WAIT_STATUS:
			return "status";
		case CONCORD_WAIT_SWEEP:
			return "sweeper";
		case CONCORD_WAIT_REMOTE_READ:
			return "remote read";
		case CONCORD_WAIT_FLUSH:
			return "replica flush";
	}
	return NULL;
}

/* As pg_stat_activity: of other users' sessions only members of pg_read_all_stats see more than that they are there. */
Datum
concord_stat_waits(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	concord_require_usable();
	InitMaterializedSRF(fcinfo, 0);
	for (int slot = 0; slot < concord_stats_slots(); slot++)
	{
		PGPROC	   *proc = &ProcGlobal->allProcs[slot];
		int			pid = proc->pid;
		ConcordWait wait = concord_proc_stats[slot].wait;
		int			blocker = concord_proc_stats[slot].blocker;
		TimestampTz since = concord_proc_stats[slot].since;
		Datum		values[COLUMNS] = {0};
		bool		nulls[COLUMNS] = {false};
		bool		may_see;

		if (pid == 0 || concord_wait_name(wait) == NULL)
			continue;
		may_see = has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS) || has_privs_of_role(GetUserId(), proc->roleId);
		values[0] = Int32GetDatum(pid);
		nulls[1] = nulls[2] = nulls[3] = !may_see;
		values[1] = CStringGetTextDatum(concord_wait_name(wait));
		values[2] = TimestampTzGetDatum(since);
		nulls[3] = nulls[3] || blocker == 0;
		values[3] = Int32GetDatum(blocker);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
