/*
 * read_routing.c
 *		The storage replicas as the gateway knows them, and what it has read of them: concord.replicas, concord.stat_reads.
 */
#include "stats/stats.h"

#include "access/htup_details.h"
#include "catalog/pg_authid.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"

PG_FUNCTION_INFO_V1(concord_replicas);
PG_FUNCTION_INFO_V1(concord_stat_reads);

enum Column
{
	ADDRESS, NAME, IS_LOCAL, STATE, APPLIED, HORIZON, LATENCY, HEARD, TROUBLE, COLUMNS
};

static const char *
state_name(CcReplicaState state)
{
	switch (state)
	{
		case CC_REPLICA_UNKNOWN:
			return "unknown";
		case CC_REPLICA_WELL:
			return "well";
		case CC_REPLICA_SILENT:
			return "silent";
		case CC_REPLICA_LEFT:
			return "left";
		case CC_REPLICA_UNUSABLE:
			return "not ours";
	}
	return NULL;
}

Datum
concord_replicas(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	/* As data_directory, where things are is not for everybody. */
	bool		may_see = has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_SETTINGS);

	concord_require_usable();
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < cc_channel_replicas(concord_channel); i++)
	{
		CcReplicaInfo info;
		Datum		values[COLUMNS] = {0};
		bool		nulls[COLUMNS] = {false};

		cc_channel_replica(concord_channel, i, &info);
		nulls[ADDRESS] = !may_see;
		values[ADDRESS] = CStringGetTextDatum(info.address);
		nulls[NAME] = info.id[0] == '\0';
		values[NAME] = CStringGetTextDatum(info.id);
		values[IS_LOCAL] = BoolGetDatum(info.is_local);
		values[STATE] = CStringGetTextDatum(state_name(info.state));
		nulls[APPLIED] = info.applied == 0;
		values[APPLIED] = LSNGetDatum(info.applied);
		nulls[HORIZON] = info.horizon == 0;
		values[HORIZON] = LSNGetDatum(info.horizon);
		nulls[LATENCY] = info.latency_us == 0;
		values[LATENCY] = Int64GetDatum(info.latency_us);
		nulls[HEARD] = info.heard_age_ms < 0;
		values[HEARD] = Int64GetDatum(info.heard_age_ms);
		nulls[TROUBLE] = info.trouble[0] == '\0' || !may_see;
		values[TROUBLE] = CStringGetTextDatum(info.trouble);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

Datum
concord_stat_reads(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	CcReadStats stats;
	Datum		values[4];
	bool		nulls[4] = {false};

	concord_require_usable();
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE || desc->natts != lengthof(values))
		elog(ERROR, "concord.stat_reads() must return %d columns", (int) lengthof(values));
	cc_channel_read_stats(concord_channel, &stats);
	values[0] = Int64GetDatum((int64) stats.reads);
	values[1] = Int64GetDatum((int64) stats.bytes);
	values[2] = Int64GetDatum((int64) stats.hedged);
	values[3] = Int64GetDatum((int64) stats.moved);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
