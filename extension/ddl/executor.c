/*
 * executor.c
 *		Executor hooks.
 *
 * ExecutorStart gives the snapshot its read LSN, marks heap writes, keeps bitmap scans from prefetching blocks that are numbers
 * only, and opens the indexes of ON CONFLICT while they look like btree's (spoof.c). What Postgres opens later (partitions,
 * re-evaluated plans) is spoofed through ExecutorRun and ExecutorFinish. After ExecutorRun, a query that stays open gives up what it
 * has of the replica (tableam/rest.c).
 */
#include "concord.h"

#include "access/parallel.h"
#include "catalog/pg_class.h"
#include "ddl/ddl.h"
#include "executor/executor.h"
#include "executor/instrument.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "tableam/tableam.h"
#include "utils/memutils.h"
#include "utils/relcache.h"
#include "xact/share.h"

static ExecutorStart_hook_type previous_start = NULL;
static ExecutorRun_hook_type previous_run = NULL;
static ExecutorFinish_hook_type previous_finish = NULL;

/* ---- what a plan has in it ---- */

typedef struct PlanTraits
{
	bool		bitmap_heap_scan;
	List	   *row_compare_indexes;	/* OIDs: (a, b) > (1, 2) as an index condition needs a btree */
} PlanTraits;

static bool
has_row_compare(List *quals)
{
	ListCell   *cell;

	foreach(cell, quals)
		if (IsA(lfirst(cell), RowCompareExpr))
			return true;
	return false;
}

static void
note_index_quals(PlanTraits *traits, List *quals, Oid indexid)
{
	if (has_row_compare(quals))
		traits->row_compare_indexes = lappend_oid(traits->row_compare_indexes, indexid);
}

static void collect_traits(Plan *plan, PlanTraits *traits);

static void
collect_list(List *plans, PlanTraits *traits)
{
	ListCell   *cell;

	foreach(cell, plans)
		collect_traits((Plan *) lfirst(cell), traits);
}

static void
collect_traits(Plan *plan, PlanTraits *traits)
{
	if (plan == NULL)
		return;
	check_stack_depth();
	switch (nodeTag(plan))
	{
		case T_IndexScan:
			note_index_quals(traits, ((IndexScan *) plan)->indexqual, ((IndexScan *) plan)->indexid);
			break;
		case T_IndexOnlyScan:
			note_index_quals(traits, ((IndexOnlyScan *) plan)->indexqual, ((IndexOnlyScan *) plan)->indexid);
			break;
		case T_BitmapIndexScan:
			note_index_quals(traits, ((BitmapIndexScan *) plan)->indexqual, ((BitmapIndexScan *) plan)->indexid);
			break;
		case T_BitmapHeapScan:
			traits->bitmap_heap_scan = true;
			break;
		case T_Append:
			collect_list(((Append *) plan)->appendplans, traits);
			break;
		case T_MergeAppend:
			collect_list(((MergeAppend *) plan)->mergeplans, traits);
			break;
		case T_BitmapAnd:
			collect_list(((BitmapAnd *) plan)->bitmapplans, traits);
			break;
		case T_BitmapOr:
			collect_list(((BitmapOr *) plan)->bitmapplans, traits);
			break;
		case T_SubqueryScan:
			collect_traits(((SubqueryScan *) plan)->subplan, traits);
			break;
		case T_CustomScan:
			collect_list(((CustomScan *) plan)->custom_plans, traits);
			break;
		default:
			break;
	}
	collect_traits(plan->lefttree, traits);
	collect_traits(plan->righttree, traits);
}

static PlanTraits
traits_of(PlannedStmt *stmt)
{
	PlanTraits	traits = {0};

	collect_traits(stmt->planTree, &traits);
	collect_list(stmt->subplans, &traits);
	return traits;
}

static void
spoof_indexes(ConcordSpoof *spoof, List *indexes)
{
	ListCell   *cell;

	foreach(cell, indexes)
		concord_spoof_index(spoof, lfirst_oid(cell));
}

/* ---- INSERT ... ON CONFLICT ---- */

/* The target of an INSERT ... ON CONFLICT, NULL for any other node. */
static ResultRelInfo *
on_conflict_target(PlanState *state)
{
	ModifyTable *plan;

	if (state == NULL || !IsA(state, ModifyTableState))
		return NULL;
	plan = (ModifyTable *) state->plan;
	if (plan->operation != CMD_INSERT || plan->onConflictAction == ONCONFLICT_NONE)
		return NULL;
	return ((ModifyTableState *) state)->resultRelInfo;
}

/* Does now, while they look like btree's, what the first row would do. */
static void
open_arbiter_indexes(PlanState *state, EState *estate)
{
	ResultRelInfo *target = on_conflict_target(state);
	ConcordSpoof *spoof;
	MemoryContext old;

	if (target == NULL || target->ri_IndexRelationDescs != NULL || !concord_is_table(target->ri_RelationDesc) ||
		!target->ri_RelationDesc->rd_rel->relhasindex)
		return;
	old = MemoryContextSwitchTo(estate->es_query_cxt);
	spoof = concord_spoof_begin();
	PG_TRY();
	{
		concord_spoof_table(spoof, RelationGetRelid(target->ri_RelationDesc), true);
		ExecOpenIndices(target, true);
	}
	PG_FINALLY();
	{
		concord_spoof_end(spoof);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
}

/* Partitions are opened as rows are routed to them. */
static List *
on_conflict_root(PlanState *state, List *roots)
{
	ResultRelInfo *target = on_conflict_target(state);

	if (target != NULL && target->ri_RelationDesc->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
		roots = lappend_oid(roots, RelationGetRelid(target->ri_RelationDesc));
	return roots;
}

/* ---- ExecutorStart ---- */

static bool
stop_prefetch(PlanState *state, void *context)
{
	if (state == NULL)
		return false;
	if (IsA(state, BitmapHeapScanState) && concord_is_table(((BitmapHeapScanState *) state)->ss.ss_currentRelation))
	{
		((BitmapHeapScanState *) state)->prefetch_maximum = 0;
		concord_ahead_of_bitmap((BitmapHeapScanState *) state);
	}
	return planstate_tree_walker(state, stop_prefetch, context);
}

static void
start(QueryDesc *query, int eflags)
{
	if (previous_start)
		previous_start(query, eflags);
	else
		standard_ExecutorStart(query, eflags);
}

static void
start_spoofed(QueryDesc *query, int eflags, List *indexes)
{
	ConcordSpoof *spoof = concord_spoof_begin();

	PG_TRY();
	{
		spoof_indexes(spoof, indexes);
		start(query, eflags);
	}
	PG_FINALLY();
	{
		concord_spoof_end(spoof);
	}
	PG_END_TRY();
}

static void
concord_executor_start(QueryDesc *query, int eflags)
{
	PlanTraits	traits;
	ListCell   *cell;

	if (!concord_ddl_active())
	{
		start(query, eflags);
		return;
	}
	/* Foreign keys look for rows with the latest snapshot, and name the transaction's for what is to be changed then. */
	if ((eflags & EXEC_FLAG_EXPLAIN_ONLY) == 0)
		concord_snapshot_assign(query->snapshot, query->crosscheck_snapshot != InvalidSnapshot);

	traits = traits_of(query->plannedstmt);
	if (traits.row_compare_indexes == NIL)
		start(query, eflags);
	else
		start_spoofed(query, eflags, traits.row_compare_indexes);

	if (traits.bitmap_heap_scan)
		(void) stop_prefetch(query->planstate, NULL);
	if ((eflags & EXEC_FLAG_EXPLAIN_ONLY) != 0 || IsParallelWorker())
		return;

	foreach(cell, query->estate->es_opened_result_relations)
		concord_note_if_heap(((ResultRelInfo *) lfirst(cell))->ri_RelationDesc);
	open_arbiter_indexes(query->planstate, query->estate);
	foreach(cell, query->estate->es_auxmodifytables)
		open_arbiter_indexes((PlanState *) lfirst(cell), query->estate);
}

/* ---- ExecutorRun ---- */

/*
 * Runs without workers if they cannot be shown what this transaction has not committed, or cannot tell what they read: a cached plan may
 * want them all the same.
 */
static void
run_parallel(QueryDesc *query, ScanDirection direction, uint64 count, bool execute_once)
{
	PlannedStmt *planned = query->plannedstmt;
	PlannedStmt serial = *planned;
	bool		own = concord_has_own_state();
	bool		alone = concord_ddl_active() && concord_reads_need_leader();
	bool		sharing = own && !alone && concord_share_possible() && concord_share_begin();

	if (!alone)
		concord_reads_by_workers();
	if (alone || (own && !sharing))
	{
		serial.parallelModeNeeded = false;
		query->plannedstmt = &serial;
	}
	PG_TRY();
	{
		if (previous_run)
			previous_run(query, direction, count, execute_once);
		else
			standard_ExecutorRun(query, direction, count, execute_once);
	}
	PG_FINALLY();
	{
		query->plannedstmt = planned;
		if (sharing)
			concord_share_end();
	}
	PG_END_TRY();
}

static void
run(QueryDesc *query, ScanDirection direction, uint64 count, bool execute_once)
{
	/* No workers take part in the fetches of a cursor; minor versions differ in how they know that it is one. */
	bool		fetch = query->already_executed || (count != 0 && !execute_once);

	if (query->plannedstmt->parallelModeNeeded && !fetch && !IsParallelWorker())
		run_parallel(query, direction, count, execute_once);
	else if (previous_run)
		previous_run(query, direction, count, execute_once);
	else
		standard_ExecutorRun(query, direction, count, execute_once);

	/* The extended protocol leaves the portal open after all of its rows were fetched too. */
	if (concord_resource_live() > 0 && (!execute_once || query->dest->mydest == DestRemoteExecute))
		concord_query_rest(query, count == 0 || query->estate->es_processed < count);
}

/* What has to look like a btree while the query runs or finishes: partitioned targets, and indexes that EvalPlanQual opens. */
static bool
needs_spoof(QueryDesc *query, List **roots, List **indexes)
{
	ListCell   *cell;

	*roots = on_conflict_root(query->planstate, NIL);
	foreach(cell, query->estate->es_auxmodifytables)
		*roots = on_conflict_root((PlanState *) lfirst(cell), *roots);
	*indexes = traits_of(query->plannedstmt).row_compare_indexes;
	return *roots != NIL || *indexes != NIL;
}

static void
spoof_for_query(ConcordSpoof *spoof, List *roots, List *indexes)
{
	ListCell   *cell;

	foreach(cell, roots)
		concord_spoof_tree(spoof, lfirst_oid(cell), RowExclusiveLock, true);
	spoof_indexes(spoof, indexes);
}

/* Which partitions got rows is known only afterwards. */
static void
note_routed_writes(EState *estate)
{
	ListCell   *cell;

	foreach(cell, estate->es_tuple_routing_result_relations)
		concord_note_if_heap(((ResultRelInfo *) lfirst(cell))->ri_RelationDesc);
}

static void
concord_executor_run(QueryDesc *query, ScanDirection direction, uint64 count, bool execute_once)
{
	List	   *roots;
	List	   *indexes;

	/* Only what writes or locks rows opens anything after its start. */
	if (!concord_ddl_active() ||
		(query->estate->es_opened_result_relations == NIL && query->plannedstmt->rowMarks == NIL))
	{
		run(query, direction, count, execute_once);
		return;
	}

	if (needs_spoof(query, &roots, &indexes))
	{
		ConcordSpoof *spoof = concord_spoof_begin();

		PG_TRY();
		{
			spoof_for_query(spoof, roots, indexes);
			run(query, direction, count, execute_once);
		}
		PG_FINALLY();
		{
			concord_spoof_end(spoof);
		}
		PG_END_TRY();
	}
	else
		run(query, direction, count, execute_once);
	note_routed_writes(query->estate);
}

/* ---- ExecutorFinish ---- */

static void
finish(QueryDesc *query)
{
	if (previous_finish)
		previous_finish(query);
	else
		standard_ExecutorFinish(query);
}

/* EXPLAIN ANALYZE would show as heap fetches what no visibility map has spared; but only the slot is filled then, with a promise. */
static bool
forget_heap_fetches(PlanState *state, void *context)
{
	if (state == NULL)
		return false;
	if (IsA(state, IndexOnlyScanState) && state->instrument != NULL &&
		concord_is_table(((IndexOnlyScanState *) state)->ss.ss_currentRelation))
		state->instrument->ntuples2 = 0;
	return planstate_tree_walker(state, forget_heap_fetches, context);
}

/* Writing CTEs that nobody read to their end are run here. */
static void
finish_writers(QueryDesc *query)
{
	List	   *roots;
	List	   *indexes;

	if (needs_spoof(query, &roots, &indexes))
	{
		ConcordSpoof *spoof = concord_spoof_begin();

		PG_TRY();
		{
			spoof_for_query(spoof, roots, indexes);
			finish(query);
		}
		PG_FINALLY();
		{
			concord_spoof_end(spoof);
		}
		PG_END_TRY();
	}
	else
		finish(query);
	note_routed_writes(query->estate);
}

static void
concord_executor_finish(QueryDesc *query)
{
	if (concord_ddl_active() && query->estate->es_auxmodifytables != NIL)
		finish_writers(query);
	else
		finish(query);
	if (query->instrument_options != 0 && concord_ddl_active())
		(void) forget_heap_fetches(query->planstate, NULL);
}

void
concord_executor_init(void)
{
	previous_start = ExecutorStart_hook;
	ExecutorStart_hook = concord_executor_start;
	previous_run = ExecutorRun_hook;
	ExecutorRun_hook = concord_executor_run;
	previous_finish = ExecutorFinish_hook;
	ExecutorFinish_hook = concord_executor_finish;
}
