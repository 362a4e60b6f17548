/*
 * plan.c
 *		Which nested loops of a plan get look-ahead.
 *
 * Those whose inner side begins with a scan of an index of ours by keys that are computed of the outer row. What stands between the two
 * only hands the rows on: whatever it does with them, the scan is placed by the outer row alone.
 *
 * Outer rows are read before the inner side of those before them, so none of it may change what the other sees: nothing volatile in the
 * statement, no row locked or written below the loop.
 */
#include "lookahead/lookahead.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "ddl/ddl.h"
#include "ddl/storage_map.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"

typedef void (*PlanVisitor) (Plan *plan, void *context);

static void visit(Plan *plan, PlanVisitor visitor, void *context);

static void
visit_list(List *plans, PlanVisitor visitor, void *context)
{
	ListCell   *cell;

	foreach(cell, plans)
		visit((Plan *) lfirst(cell), visitor, context);
}

/* Children come first. */
static void
visit(Plan *plan, PlanVisitor visitor, void *context)
{
	if (plan == NULL)
		return;
	check_stack_depth();
	visit(plan->lefttree, visitor, context);
	visit(plan->righttree, visitor, context);
	switch (nodeTag(plan))
	{
		case T_Append:
			visit_list(((Append *) plan)->appendplans, visitor, context);
			break;
		case T_MergeAppend:
			visit_list(((MergeAppend *) plan)->mergeplans, visitor, context);
			break;
		case T_BitmapAnd:
			visit_list(((BitmapAnd *) plan)->bitmapplans, visitor, context);
			break;
		case T_BitmapOr:
			visit_list(((BitmapOr *) plan)->bitmapplans, visitor, context);
			break;
		case T_SubqueryScan:
			visit(((SubqueryScan *) plan)->subplan, visitor, context);
			break;
		case T_CustomScan:
			visit_list(((CustomScan *) plan)->custom_plans, visitor, context);
			break;
		default:
			break;
	}
	visitor(plan, context);
}

static void
find_highest_id(Plan *plan, void *highest)
{
	*(int *) highest = Max(*(int *) highest, plan->plan_node_id);
}

static void
find_locks(Plan *plan, void *found)
{
	if (IsA(plan, LockRows) || IsA(plan, ModifyTable))
		*(bool *) found = true;
}

/*
 * True where an outer row decides whether anything below is run at all: the keys of one for which it is not may be of no sense, and to
 * compute them an error.
 */
static bool
may_not_run_below(Plan *plan)
{
	if (IsA(plan, Result))
		return ((Result *) plan)->resconstantqual != NULL;
	if (IsA(plan, Limit))
		return ((Limit *) plan)->limitCount != NULL && !IsA(((Limit *) plan)->limitCount, Const);
	return false;
}

/* The index scan that is placed anew for each row of the outer side; NULL if there is no single one. */
static Plan *
first_scan(Plan *inner)
{
	while (inner != NULL && !may_not_run_below(inner))
	{
		switch (nodeTag(inner))
		{
			case T_IndexScan:
			case T_IndexOnlyScan:
			case T_BitmapIndexScan:
				return inner;
			case T_SubqueryScan:
				inner = ((SubqueryScan *) inner)->subplan;
				break;
			case T_CustomScan:
				if (!concord_is_look_ahead(inner))
					return NULL;
				inner = outerPlan(inner);
				break;
			case T_Agg:
			case T_BitmapHeapScan:
			case T_Group:
			case T_IncrementalSort:
			case T_Limit:
			case T_Memoize:
			case T_NestLoop:
			case T_ProjectSet:
			case T_Result:
			case T_Sort:
			case T_Unique:
			case T_WindowAgg:
				inner = outerPlan(inner);
				break;
			default:
				return NULL;
		}
	}
	return NULL;
}

typedef struct KeyParams
{
	NestLoop   *loop;
	bool		of_outer;		/* there is one that the loop sets */
} KeyParams;

/* True if the expression has anything that is not known when the loop has an outer row. */
static bool
has_unknown(Node *node, void *context)
{
	KeyParams  *params = context;
	ListCell   *cell;

	if (node == NULL)
		return false;
	if (IsA(node, SubPlan) || IsA(node, AlternativeSubPlan))
		return true;
	if (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXEC)
	{
		foreach(cell, params->loop->nestParams)
		{
			if (lfirst_node(NestLoopParam, cell)->paramno == ((Param *) node)->paramid)
			{
				params->of_outer = true;
				return false;
			}
		}
		return !bms_is_member(((Param *) node)->paramid, params->loop->join.plan.extParam);
	}
	return expression_tree_walker(node, has_unknown, context);
}

/* A list of values has ranges of its own, and a row comparison needs a btree. */
static bool
is_simple(Node *qual)
{
	return IsA(qual, OpExpr) || IsA(qual, NullTest);
}

static bool
can_be_foreseen(NestLoop *loop, Plan *scan)
{
	ConcordIndexPlan plan = concord_index_plan(scan);
	KeyParams	params = {.loop = loop};
	ListCell   *cell;

	if (plan.order != NIL || scan->parallel_aware)
		return false;
	foreach(cell, plan.quals)
		if (!is_simple(lfirst(cell)) || has_unknown(lfirst(cell), &params))
			return false;
	return params.of_outer && concord_relam(plan.index) == concord_index_am_oid();
}

/* The columns of its outer side that the loop looks at: there may be more, of whole rows, which are not worth a copy. */
static List *
used_columns(NestLoop *loop)
{
	Bitmapset  *used = NULL;
	List	   *columns = NIL;
	ListCell   *cell;

	pull_varattnos((Node *) loop->join.plan.targetlist, OUTER_VAR, &used);
	pull_varattnos((Node *) loop->join.plan.qual, OUTER_VAR, &used);
	pull_varattnos((Node *) loop->join.joinqual, OUTER_VAR, &used);
	foreach(cell, loop->nestParams)
		pull_varattnos((Node *) lfirst_node(NestLoopParam, cell)->paramval, OUTER_VAR, &used);
	for (int member = -1; (member = bms_next_member(used, member)) >= 0;)
		columns = lappend_int(columns, member + FirstLowInvalidHeapAttributeNumber);
	bms_free(used);
	return columns;
}

static void
add_to_loop(Plan *plan, void *highest_id)
{
	NestLoop   *loop = (NestLoop *) plan;
	Plan	   *scan;
	bool		locks = false;

	if (!IsA(plan, NestLoop) || loop->nestParams == NIL ||
		list_length(outerPlan(plan)->targetlist) > MaxTupleAttributeNumber)
		return;
	scan = first_scan(innerPlan(plan));
	if (scan == NULL || !can_be_foreseen(loop, scan))
		return;
	visit(outerPlan(plan), find_locks, &locks);
	if (!locks)
		outerPlan(plan) = concord_look_ahead_make(loop, scan, used_columns(loop), ++*(int *) highest_id);
}

bool
concord_look_ahead_possible(Query *query)
{
	return concord_nestloop_batch > 0 && (!concord_embedded || !concord_local_reads) && query->rtable != NIL &&
		concord_ddl_active() && !contain_volatile_functions((Node *) query);
}

void
concord_look_ahead_add(PlannedStmt *statement)
{
	int			highest_id = 0;
	bool		locks = statement->hasModifyingCTE;

	/* The outer side may read from any of them. */
	visit_list(statement->subplans, find_locks, &locks);
	if (locks)
		return;
	visit(statement->planTree, find_highest_id, &highest_id);
	visit_list(statement->subplans, find_highest_id, &highest_id);
	visit(statement->planTree, add_to_loop, &highest_id);
	visit_list(statement->subplans, add_to_loop, &highest_id);
}
