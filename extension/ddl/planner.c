/*
 * planner.c
 *		Planner hooks: what the planner is told about our indexes, when it must not use workers, and which of its nested loops look ahead.
 *
 * Our indexes have the operator classes and the order of a btree, so the planner is shown a btree wherever that is true:
 * row comparisons and probes for a column's actual range ask for btree's OID. It is not true if a key column's encoding does
 * not have the order of its collation: then the index has no order for the planner, and stays what it is.
 */
#include "concord.h"

#include "access/genam.h"
#include "access/xact.h"
#include "bridge/remote.h"
#include "catalog/pg_am.h"
#include "ddl/ddl.h"
#include "indexam/indexam.h"
#include "lookahead/lookahead.h"
#include "nodes/pathnodes.h"
#include "optimizer/plancat.h"
#include "optimizer/planner.h"
#include "xact/share.h"

/* Entries of an inner page, about. */
#define FANOUT 256

/*
 * As Postgres assumes of a table that was never analyzed: so a row of a table that is known to be small is read by an index too, and not found
 * among all of them. A SERIALIZABLE transaction depends on all that it reads. And in a cluster a scan waits until the replica has flushed
 * what is newer (sidecar/storage/README.md, "The memtable"), which a look-up does not; that a table is changed so often, heap's planner sees by
 * its size. Elsewhere plans are heap's.
 */
#define INDEXED_PAGES_MIN 10

static planner_hook_type previous_planner = NULL;
static get_relation_info_hook_type previous_relation_info = NULL;

/* What a btree of that size has: costs, and so plans, come out as heap's. */
static int
tree_height(BlockNumber pages)
{
	int			height = 0;

	for (BlockNumber level = pages > 0 ? pages - 1 : 0; level > 1; level /= FANOUT)
		height++;
	return height;
}

static void
describe_index(IndexOptInfo *info, RelOptInfo *rel)
{
	Relation	index = index_open(info->indexoid, NoLock);
	double		tuples;

	concord_index_estimate(index, &info->pages, &tuples);
	if (info->indpred != NIL)
		info->tuples = Min(tuples, rel->tuples);
	info->tree_height = tree_height(info->pages);
	if (concord_index_is_ordered(index))
		info->relam = BTREE_AM_OID;
	else
	{
		info->sortopfamily = NULL;
		info->reverse_sort = NULL;
		info->nulls_first = NULL;
	}
	index_close(index, NoLock);
}

static void
concord_get_relation_info(PlannerInfo *root, Oid relid, bool inhparent, RelOptInfo *rel)
{
	ListCell   *cell;

	if (previous_relation_info)
		previous_relation_info(root, relid, inhparent, rel);
	if (rel->indexlist == NIL || !concord_ddl_active())
		return;
	foreach(cell, rel->indexlist)
	{
		IndexOptInfo *info = lfirst_node(IndexOptInfo, cell);

		if (info->relam != concord_index_am_oid())
			continue;
		describe_index(info, rel);
		if (!concord_embedded || IsolationIsSerializable())
			rel->pages = Max(rel->pages, INDEXED_PAGES_MIN);
	}
}

static PlannedStmt *
plan_by_hook(Query *query, const char *query_string, int cursor_options, ParamListInfo params)
{
	if (previous_planner)
		return previous_planner(query, query_string, cursor_options, params);
	return standard_planner(query, query_string, cursor_options, params);
}

/* Sizes of tables of another machine's replica need not be asked for anew with each query. */
static PlannedStmt *
plan(Query *query, const char *query_string, int cursor_options, ParamListInfo params)
{
	PlannedStmt *result;

	if (!concord_remote_enabled)
		return plan_by_hook(query, query_string, cursor_options, params);
	cc_remote_estimate(true);
	PG_TRY();
	{
		result = plan_by_hook(query, query_string, cursor_options, params);
	}
	PG_FINALLY();
	{
		cc_remote_estimate(false);
	}
	PG_END_TRY();
	return result;
}

static PlannedStmt *
concord_planner(Query *query, const char *query_string, int cursor_options, ParamListInfo params)
{
	bool		look_ahead = concord_look_ahead_possible(query);	/* planning may change the query */
	PlannedStmt *result;

	/* Workers are shown what this transaction has not committed, but for very much of it. They do not tell what they read. */
	if ((concord_has_own_state() && !concord_share_possible()) || (concord_reads_need_leader() && concord_ddl_active()))
		cursor_options &= ~CURSOR_OPT_PARALLEL_OK;
	if (!concord_spoof_any())
		result = plan(query, query_string, cursor_options, params);
	else
	{
		concord_spoof_suspend();
		PG_TRY();
		{
			result = plan(query, query_string, cursor_options, params);
		}
		PG_FINALLY();
		{
			concord_spoof_resume();
		}
		PG_END_TRY();
	}
	if (look_ahead)
		concord_look_ahead_add(result);
	return result;
}

void
concord_planner_init(void)
{
	previous_relation_info = get_relation_info_hook;
	get_relation_info_hook = concord_get_relation_info;
	previous_planner = planner_hook;
	planner_hook = concord_planner;
}
