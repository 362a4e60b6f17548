/*
 * errors.c
 *		Errors of ours as users see them.
 */
#include "concord.h"

#include "stats/stats.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

void
concord_raise_conflict(Relation rel, const char *detail)
{
	concord_count(CONCORD_COUNT_CONFLICTS, 1);
	concord_count_conflict(RelationGetRelid(rel), InvalidOid, CONCORD_CONFLICT_ROW);
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("change conflicts with another transaction (OC000)"),
			 errdetail_internal("%s", detail),
			 errhint("Retry the transaction."),
			 errtable(rel)));
	pg_unreachable();
}

void
concord_raise_read_conflict(Oid relid, Oid indexid)
{
	char	   *table = OidIsValid(relid) ? get_rel_name(relid) : NULL;

	concord_count_conflict(relid, indexid, table != NULL ? CONCORD_CONFLICT_READ : CONCORD_CONFLICT_OTHER);
	/* The text is Postgres' own for a transaction that cannot be SERIALIZABLE. */
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not serialize access due to read/write dependencies among transactions"),
			 table != NULL ?
			 errdetail("Another transaction has changed what this one has read of table \"%s\" (OC000).", table) :
			 errdetail("Another transaction has changed what this one has read (OC000)."),
			 errhint("The transaction might succeed if retried."),
			 table == NULL ? 0 :
			 err_generic_string(PG_DIAG_SCHEMA_NAME, get_namespace_name(get_rel_namespace(relid))),
			 table == NULL ? 0 : err_generic_string(PG_DIAG_TABLE_NAME, table)));
	pg_unreachable();
}

void
concord_check_trouble(void)
{
	char		text[CONCORD_TROUBLE_SIZE];
	ConcordTroubleKind kind = concord_trouble(text);

	if (kind != CONCORD_REFUSED && kind != CONCORD_DAMAGED)
		return;
	ereport(ERROR,
			(errcode(kind == CONCORD_DAMAGED ? ERRCODE_DATA_CORRUPTED : ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 kind == CONCORD_DAMAGED ? errmsg("Concord's data is damaged") : errmsg("Concord's sidecar cannot be used"),
			 errdetail_internal("%s", text),
			 errhint("Concord tables cannot be used until that is mended. \"concordctl check %s\" tells more.",
					 concord_effective_directory())));
}

void
concord_raise_unavailable(const char *what)
{
	char		text[CONCORD_TROUBLE_SIZE];

	concord_check_trouble();
	(void) concord_trouble(text);
	ereport(ERROR,
			(errcode(ERRCODE_CONNECTION_FAILURE),
			 errmsg("Concord's sidecar is not available: %s", what),
			 text[0] != '\0' ? errdetail_internal("%s", text) : 0,
			 concord_embedded ?
			 errhint("It is started with the server and again when it ends; the server log tells what became of it.") :
			 errhint("Check that concordd runs and is reached at \"%s\".", concord_effective_address())));
	pg_unreachable();
}

/* What is wrong with each of the replicas, in lines; empty if nothing is known to be. */
static char *
replica_troubles(void)
{
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < cc_channel_replicas(concord_channel); i++)
	{
		CcReplicaInfo info;

		cc_channel_replica(concord_channel, i, &info);
		if (info.trouble[0] != '\0')
			appendStringInfo(&text, "%sThe storage replica at \"%s\": %s.", text.len > 0 ? "\n" : "", info.address, info.trouble);
	}
	return text.data;
}

void
concord_raise_no_replica(const char *what)
{
	char	   *troubles;

	if (concord_storage_address[0] == '\0')
		concord_raise_unavailable(what);
	concord_check_trouble();
	troubles = replica_troubles();
	ereport(ERROR,
			(errcode(ERRCODE_CONNECTION_FAILURE),
			 errmsg("Concord's sidecar is not available: %s", what),
			 troubles[0] != '\0' ? errdetail_internal("%s", troubles) : 0,
			 errhint("Check that the storage replicas run and are reached at \"%s\"; concord.replicas shows what is known of each.",
					 concord_storage_address)));
	pg_unreachable();
}

void
concord_check(CcStatus status)
{
	switch (status)
	{
		case CC_OK:
			return;
		case CC_NOT_APPLIED:
			concord_raise_unavailable("the storage replica has not applied the read LSN yet");
			break;
		case CC_UNAVAILABLE:
			concord_raise_no_replica(cc_error());
			break;
		case CC_TOO_OLD:
			ereport(ERROR,
					(errcode(ERRCODE_SNAPSHOT_TOO_OLD),
					 errmsg("snapshot too old"),
					 errdetail("The storage replica has given up row versions that this snapshot needs."),
					 errhint("Retry the transaction; for long reads consider a larger concord.max_reader_age.")));
			break;
		case CC_READERS_FULL:
			ereport(ERROR,
					(errcode(ERRCODE_TOO_MANY_CONNECTIONS),
					 errmsg("the storage replica has no reader slot left"),
					 errhint("Close cursors, or retry when other sessions have ended.")));
			break;
		case CC_CORRUPT:
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("the storage replica holds bytes that Concord cannot have written: %s", cc_error())));
			break;
		case CC_NO_MEMORY:
			ereport(ERROR,
					(errcode(ERRCODE_OUT_OF_MEMORY),
					 errmsg("out of memory"),
					 errdetail_internal("%s", cc_error())));
			break;
		case CC_TOO_LARGE:
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("the transaction's write set or one of its values is too large: %s", cc_error()),
					 errhint("Write less in one transaction, or raise concord.max_write_set.")));
			break;
		case CC_IO_ERROR:
			ereport(ERROR,
					(errcode(ERRCODE_IO_ERROR),
					 errmsg("could not read the storage replica: %s", cc_error())));
			break;
		case CC_END:
		case CC_INTERRUPTED:
			break;
	}
	elog(ERROR, "unexpected status %d of the storage replica: %s", (int) status, cc_error());
}
