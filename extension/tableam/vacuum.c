/*
 * vacuum.c
 *		VACUUM.
 *
 * Old versions go by the replicas' own sweep, and rows hold no transaction ids. What is left to do is to say so, or autovacuum would
 * come again and again, and the table's age would hold back the database's; and to bring the planner's figures up to date.
 */
#include "tableam/tableam.h"

#include "access/genam.h"
#include "access/multixact.h"
#include "commands/dbcommands.h"
#include "commands/progress.h"
#include "commands/vacuum.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/autovacuum.h"
#include "storage/procarray.h"
#include "utils/lsyscache.h"
#include "utils/pg_rusage.h"
#include "utils/timestamp.h"

typedef struct VacuumRun
{
	Relation	rel;
	const char *name;			/* database.schema.table; NULL: nobody wants to know */
	TimestampTz begun;
	PGRUsage	usage;
	uint64		rows;
	BlockNumber pages;			/* that heap would need */
	TransactionId old_frozen_xid;
	TransactionId frozen_xid;
	bool		frozen_xid_updated;
	MultiXactId old_oldest_multi;
	MultiXactId oldest_multi;
	bool		oldest_multi_updated;
	StringInfoData indexes;		/* a line for each */
} VacuumRun;

static void
vacuum_index(VacuumRun *run, Relation index, BufferAccessStrategy strategy)
{
	IndexVacuumInfo info = {
		.index = index,
		.analyze_only = false,
		.report_progress = false,
		.estimated_count = false,
		.message_level = DEBUG2,
		.num_heap_tuples = run->rows,
		.strategy = strategy
	};
	IndexBulkDeleteResult *stats = vac_cleanup_one_index(&info, NULL);

	if (stats == NULL)
		return;
	if (!stats->estimated_count)
		vac_update_relstats(index, stats->num_pages, stats->num_index_tuples, 0, false,
							InvalidTransactionId, InvalidMultiXactId, NULL, NULL, false);
	appendStringInfo(&run->indexes, "index \"%s\": %.0f entries, as many as %u pages of a btree hold\n",
					 RelationGetRelationName(index), stats->num_index_tuples, stats->num_pages);
	pfree(stats);
}

/* The index count. */
static int
vacuum_indexes(VacuumRun *run, BufferAccessStrategy strategy)
{
	Relation   *indexes;
	int			count;

	vac_open_indexes(run->rel, RowExclusiveLock, &count, &indexes);
	for (int i = 0; i < count; i++)
		vacuum_index(run, indexes[i], strategy);
	vac_close_indexes(count, indexes, NoLock);
	return count;
}

/* First of all, and for good: a sidecar that is out of order must not hold back the age of the database. */
static void
update_age(VacuumRun *run)
{
	Form_pg_class form = run->rel->rd_rel;

	run->old_frozen_xid = form->relfrozenxid;
	run->old_oldest_multi = form->relminmxid;
	run->frozen_xid = GetOldestNonRemovableTransactionId(run->rel);
	run->oldest_multi = GetOldestMultiXactId();
	vac_update_relstats(run->rel, form->relpages, form->reltuples, form->relallvisible, form->relhasindex, run->frozen_xid,
						run->oldest_multi, &run->frozen_xid_updated, &run->oldest_multi_updated, false);
}

static void
update_statistics(VacuumRun *run, bool has_index)
{
	vac_update_relstats(run->rel, run->pages, run->rows, run->pages, has_index, InvalidTransactionId, InvalidMultiXactId,
						NULL, NULL, false);
	pgstat_report_vacuum(RelationGetRelid(run->rel), run->rel->rd_rel->relisshared, run->rows, 0);
}

static void
report(const VacuumRun *run, const VacuumParams *params, bool verbose)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfo(&text, "%s \"%s\"\n",
					 verbose ? "finished vacuuming" :
					 params->is_wraparound ? "automatic vacuum to prevent wraparound of table" : "automatic vacuum of table",
					 run->name);
	appendStringInfo(&text, "rows: " UINT64_FORMAT ", as many as %u pages of heap hold\n", run->rows, run->pages);
	appendStringInfoString(&text, "old row versions: storage removes them by itself when no snapshot needs them\n");
	if (run->frozen_xid_updated)
		appendStringInfo(&text, "new relfrozenxid: %u, which is %d XIDs ahead of previous value\n", run->frozen_xid,
						 (int32) (run->frozen_xid - run->old_frozen_xid));
	if (run->oldest_multi_updated)
		appendStringInfo(&text, "new relminmxid: %u, which is %d MXIDs ahead of previous value\n", run->oldest_multi,
						 (int32) (run->oldest_multi - run->old_oldest_multi));
	appendStringInfoString(&text, run->indexes.data);
	appendStringInfo(&text, "system usage: %s", pg_rusage_show(&run->usage));
	ereport(verbose ? INFO : LOG, (errmsg_internal("%s", text.data)));
	pfree(text.data);
}

static bool
is_long_enough(const VacuumRun *run, const VacuumParams *params)
{
	return params->log_min_duration == 0 ||
		TimestampDifferenceExceeds(run->begun, GetCurrentTimestamp(), params->log_min_duration);
}

void
concord_relation_vacuum(Relation rel, struct VacuumParams *params, BufferAccessStrategy strategy)
{
	bool		verbose = (params->options & VACOPT_VERBOSE) != 0;
	VacuumRun	run = {.rel = rel};

	if (verbose || (IsAutoVacuumWorkerProcess() && params->log_min_duration >= 0))
		run.name = psprintf("%s.%s.%s", get_database_name(MyDatabaseId), get_namespace_name(RelationGetNamespace(rel)),
							RelationGetRelationName(rel));
	initStringInfo(&run.indexes);
	pg_rusage_init(&run.usage);
	run.begun = GetCurrentTimestamp();
	if (verbose)
		ereport(INFO, (errmsg_internal("vacuuming \"%s\"", run.name)));

	pgstat_progress_start_command(PROGRESS_COMMAND_VACUUM, RelationGetRelid(rel));
	update_age(&run);
	run.pages = (BlockNumber) Min(concord_heap_pages(rel, &run.rows), (uint64) MaxBlockNumber);
	update_statistics(&run, vacuum_indexes(&run, strategy) > 0);
	pgstat_progress_end_command();

	if (run.name != NULL && (verbose || is_long_enough(&run, params)))
		report(&run, params, verbose);
	pfree(run.indexes.data);
}
