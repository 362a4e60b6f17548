/*
 * ddl.c
 *		Storage of a table as DDL and VACUUM see it. What stands in the file is ddl/storage_map.h's business.
 */
#include "tableam/tableam.h"

#include "access/genam.h"
#include "access/multixact.h"
#include "access/tableam.h"
#include "commands/vacuum.h"
#include "pgstat.h"
#include "storage/procarray.h"

void
concord_relation_set_new_filenode(Relation rel, const RelFileNode *node, char persistence, TransactionId *freeze_xid,
								  MultiXactId *minmulti)
{
	/* ddl/access_method_change.c makes it heap's before it is used. */
	if (persistence == RELPERSISTENCE_TEMP)
	{
		GetHeapamTableAmRoutine()->relation_set_new_filenode(rel, node, persistence, freeze_xid, minmulti);
		return;
	}
	/* Rows carry no transaction ids: nothing ever needs freezing. */
	*freeze_xid = InvalidTransactionId;
	*minmulti = InvalidMultiXactId;
	(void) concord_storage_create(*node, persistence, true);
}

void
concord_relation_nontransactional_truncate(Relation rel)
{
	uint32		old_storage_id = concord_storage_id(rel);

	/* A chunk under construction would otherwise write to the old storage after it has been dropped. */
	concord_bulk_flush();
	cc_ws_forget(concord_row_prefix(old_storage_id));
	cc_lease_forget(concord_channel, old_storage_id);
	(void) concord_storage_create(rel->rd_node, rel->rd_rel->relpersistence, false);
}

void
concord_relation_copy_data(Relation rel, const RelFileNode *node)
{
	/* Rows do not lie in tablespaces. */
	concord_storage_move(rel, *node);
}

static void
vacuum_indexes(Relation rel, int count, Relation *indexes, double rows, BufferAccessStrategy strategy)
{
	for (int i = 0; i < count; i++)
	{
		IndexVacuumInfo info = {
			.index = indexes[i],
			.analyze_only = false,
			.report_progress = false,
			.estimated_count = false,
			.message_level = DEBUG2,
			.num_heap_tuples = rows,
			.strategy = strategy
		};
		IndexBulkDeleteResult *stats = vac_cleanup_one_index(&info, NULL);

		if (stats != NULL && !stats->estimated_count)
			vac_update_relstats(indexes[i], stats->num_pages, stats->num_index_tuples, 0, false,
								InvalidTransactionId, InvalidMultiXactId, NULL, NULL, false);
		if (stats != NULL)
			pfree(stats);
	}
}

/*
 * Old versions go by the replicas' own sweep. What is left to do is to say so, or autovacuum would come again and again; and
 * to bring the planner's figures up to date.
 */
void
concord_relation_vacuum(Relation rel, struct VacuumParams *params, BufferAccessStrategy strategy)
{
	uint64		rows;
	uint64		pages = Min(concord_heap_pages(rel, &rows), (uint64) MaxBlockNumber);
	TransactionId frozen_xid = InvalidTransactionId;
	MultiXactId oldest_multi = InvalidMultiXactId;
	Relation   *indexes;
	int			index_count;

	pgstat_progress_start_command(PROGRESS_COMMAND_VACUUM, RelationGetRelid(rel));
	vac_open_indexes(rel, RowExclusiveLock, &index_count, &indexes);
	vacuum_indexes(rel, index_count, indexes, rows, strategy);
	vac_close_indexes(index_count, indexes, NoLock);

	/* Rows hold no transaction ids; but after ALTER TABLE has rewritten the table, pg_class has limits that are to go on. */
	if (TransactionIdIsValid(rel->rd_rel->relfrozenxid))
	{
		frozen_xid = GetOldestNonRemovableTransactionId(rel);
		oldest_multi = GetOldestMultiXactId();
	}
	vac_update_relstats(rel, (BlockNumber) pages, rows, (BlockNumber) pages, index_count > 0, frozen_xid, oldest_multi,
						NULL, NULL, false);
	pgstat_report_vacuum(RelationGetRelid(rel), rel->rd_rel->relisshared, rows, 0);
	pgstat_progress_end_command();
}
