/*
 * replicas.c
 *		The storage replicas: concord.stat_replicas.
 *
 * One row for the replica that this server reads, also while the sidecar does not answer (then with what its file says), and
 * one for each other that has a lease on the journal. Without a replica on this machine the first is one that answers. An LSN is a
 * time, so the difference of two is one.
 */
#include "stats/stats.h"

#include "catalog/pg_authid.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"

#include "worker/worker.h"

PG_FUNCTION_INFO_V1(concord_stat_replicas);

#define COLUMNS 20
#define LEASES_SHOWN 8			/* as many as the gateway passes on */
#define LOCAL_REPLICA "storage"	/* its name while the sidecar does not answer */
#define LSN_PER_MS (UINT64CONST(4096) * 1000)

typedef struct Row
{
	Datum		values[COLUMNS];
	bool		nulls[COLUMNS];
} Row;

enum Column
{
	NAME, IS_LOCAL, ADDRESS, PATH, APPLIED, LAG, CHECKPOINT, CHECKPOINT_LAG, HORIZON, HORIZON_LAG,
	USED, FREE, FILE_SIZE, FILE_SIZE_MAX, VERSIONS, DEAD_VERSIONS, READERS, READERS_MAX, LEASE_CHECKPOINT, LEASE_LEFT
};

static void
set(Row *row, enum Column column, Datum value)
{
	row->values[column] = value;
	row->nulls[column] = false;
}

static void
set_number(Row *row, enum Column column, const char *text, const char *name)
{
	uint64		value;

	if (concord_status_value(text, name, &value))
		set(row, column, UInt64GetDatum(value));
}

/* How far an LSN of the text is behind the newest commit. */
static void
set_lag(Row *row, enum Column column, const char *text, const char *name)
{
	uint64		committed;
	uint64		value;

	if (concord_status_value(text, "adjudicator.committed_lsn", &committed) && concord_status_value(text, name, &value))
		set(row, column, UInt64GetDatum(committed > value ? (committed - value) / LSN_PER_MS : 0));
}

static void
begin_row(Row *row, const char *name, int length, bool is_local)
{
	memset(row->values, 0, sizeof(row->values));
	memset(row->nulls, true, sizeof(row->nulls));
	set(row, NAME, PointerGetDatum(cstring_to_text_with_len(name, length)));
	set(row, IS_LOCAL, BoolGetDatum(is_local));
}

/* What the gateway knows of the replica with this name. */
static bool
find_replica(const char *name, int length, CcReplicaInfo *info)
{
	for (int i = 0; i < cc_channel_replicas(concord_channel); i++)
	{
		cc_channel_replica(concord_channel, i, info);
		if ((int) strlen(info->id) == length && strncmp(info->id, name, length) == 0)
			return true;
	}
	return false;
}

static void
fill_shown(Row *row, const char *text, const CcReplicaInfo *info)
{
	const char *path;
	int			length;
	uint64		applied;

	if ((info == NULL || info->is_local) && concord_open_replica() == CC_OK && cc_replica_applied(&applied) == CC_OK)
		set(row, APPLIED, LSNGetDatum(applied));
	/* As data_directory, paths are not for everybody. */
	if (has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_SETTINGS))
	{
		set(row, ADDRESS, CStringGetTextDatum(info != NULL ? info->address :
											   concord_storage_address[0] != '\0' ? concord_storage_address :
											   concord_effective_address()));
		if (concord_status_text(text, "storage.path", &path, &length))
			set(row, PATH, PointerGetDatum(cstring_to_text_with_len(path, length)));
		else
			set(row, PATH, CStringGetTextDatum(concord_replica_path()));
	}
	if (row->nulls[APPLIED])
		set_number(row, APPLIED, text, "storage.applied_lsn");
	set_number(row, APPLIED, text, "storage.applied_lsn");
	set_lag(row, LAG, text, "storage.applied_lsn");
	set_number(row, CHECKPOINT, text, "storage.checkpoint_lsn");
	set_lag(row, CHECKPOINT_LAG, text, "storage.checkpoint_lsn");
	set_number(row, HORIZON, text, "storage.horizon_lsn");
	set_lag(row, HORIZON_LAG, text, "storage.horizon_lsn");
	set_number(row, USED, text, "storage.used_bytes");
	set_number(row, FREE, text, "storage.free_bytes");
	set_number(row, FILE_SIZE, text, "storage.file_bytes");
	set_number(row, FILE_SIZE_MAX, text, "storage.map_bytes");
	set_number(row, VERSIONS, text, "storage.versions");
	set_number(row, DEAD_VERSIONS, text, "storage.dead_versions");
	set_number(row, READERS, text, "storage.readers");
	set_number(row, READERS_MAX, text, "storage.max_readers");
}

static void
fill_lease(Row *row, const char *text, int number)
{
	char		name[64];

	snprintf(name, sizeof(name), "journal.leases.%d.checkpoint_lsn", number);
	set_number(row, LEASE_CHECKPOINT, text, name);
	snprintf(name, sizeof(name), "journal.leases.%d.left_ms", number);
	set_number(row, LEASE_LEFT, text, name);
}

Datum
concord_stat_replicas(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	char	   *text;
	const char *local_name = LOCAL_REPLICA;
	int			local_length = strlen(LOCAL_REPLICA);
	Row			local;
	CcReplicaInfo info;
	bool		known;

	concord_require_usable();
	InitMaterializedSRF(fcinfo, 0);
	text = concord_fetch_status();
	(void) concord_status_text(text, "storage.replica_id", &local_name, &local_length);
	known = find_replica(local_name, local_length, &info);
	begin_row(&local, local_name, local_length, !known || info.is_local);
	fill_shown(&local, text, known ? &info : NULL);
	for (int number = 0; number < LEASES_SHOWN; number++)
	{
		char		name[64];
		const char *replica;
		int			length;
		Row			other;

		snprintf(name, sizeof(name), "journal.leases.%d.replica_id", number);
		if (!concord_status_text(text, name, &replica, &length))
			break;
		if (length == local_length && strncmp(replica, local_name, length) == 0)
		{
			fill_lease(&local, text, number);
			continue;
		}
		begin_row(&other, replica, length, false);
		fill_lease(&other, text, number);
		tuplestore_putvalues(result->setResult, result->setDesc, other.values, other.nulls);
	}
	tuplestore_putvalues(result->setResult, result->setDesc, local.values, local.nulls);
	return (Datum) 0;
}
