/*
 * rest.c
 *		What a query that is not asked for rows keeps of the replica: nothing, where that can be.
 *
 * A portal may sit for hours between two fetches, or after its last row. As long as it has a view pinned, LMDB cannot reuse the pages
 * that are freed meanwhile. So when the executor returns to a portal, its scans give their views up and go on later from where they
 * stand, and what slots have of the map is copied. The read LSN is kept; it is what the rows depend on.
 *
 * A plan node may also hold values outside of slots, pointers into the map of the row that it stands on: a nested loop the parameters
 * of its inner side, a merge join the keys that it compares, a function that returns a set its arguments. Where such values are passed
 * by reference, slots and their views stay as they are until the query is at its end.
 */
#include "tableam/tableam.h"

#include "executor/execdesc.h"
#include "indexam/indexam.h"
#include "lookahead/lookahead.h"
#include "nodes/execnodes.h"
#include "nodes/nodeFuncs.h"
#include "utils/lsyscache.h"

static void
rest_scan(TableScanDesc scan)
{
	if (scan != NULL && concord_is_table(scan->rs_rd))
		concord_scan_rest((ConcordScan) scan);
}

static void
rest_index_scan(IndexScanDesc scan)
{
	if (scan != NULL && concord_is_index(scan->indexRelation))
		concord_index_rest(scan);
}

/* Whether the node may hold values of the row that it stands on outside of slots. */
static bool
holds_values(Plan *plan)
{
	ListCell   *cell;

	switch (nodeTag(plan))
	{
		case T_NestLoop:
			foreach(cell, ((NestLoop *) plan)->nestParams)
				if (!get_typbyval(lfirst_node(NestLoopParam, cell)->paramval->vartype))
					return true;
			return false;
		case T_MergeJoin:
			foreach(cell, ((MergeJoin *) plan)->mergeclauses)
				if (!get_typbyval(exprType(linitial(lfirst_node(OpExpr, cell)->args))) ||
					!get_typbyval(exprType(lsecond(lfirst_node(OpExpr, cell)->args))))
					return true;
			return false;
		case T_CustomScan:
			return !concord_is_look_ahead(plan);
		case T_Agg:
		case T_Append:
		case T_BitmapAnd:
		case T_BitmapHeapScan:
		case T_BitmapIndexScan:
		case T_BitmapOr:
		case T_CteScan:
		case T_FunctionScan:
		case T_Group:
		case T_Hash:
		case T_HashJoin:
		case T_IncrementalSort:
		case T_IndexOnlyScan:
		case T_IndexScan:
		case T_Limit:
		case T_LockRows:
		case T_Material:
		case T_Memoize:			/* its keys are parameters of a nested loop */
		case T_MergeAppend:
		case T_NamedTuplestoreScan:
		case T_RecursiveUnion:
		case T_Result:
		case T_SampleScan:
		case T_SeqScan:
		case T_SetOp:
		case T_Sort:
		case T_SubqueryScan:
		case T_TableFuncScan:
		case T_TidRangeScan:
		case T_TidScan:
		case T_Unique:
		case T_ValuesScan:
		case T_WindowAgg:
		case T_WorkTableScan:
			return false;
		default:
			return true;
	}
}

static bool
any_holds_values(PlanState *state, void *context)
{
	if (state == NULL)
		return false;
	if (holds_values(state->plan))
		return true;
	/* What was sorted does not go on. */
	if (IsA(state, SortState) && ((SortState *) state)->sort_Done)
		return false;
	return planstate_tree_walker(state, any_holds_values, context);
}

/* Slots that may point at what slots of ours have pinned come first, while it is. */
static void
copy_slots(List *slots, bool ours)
{
	ListCell   *cell;

	foreach(cell, slots)
	{
		TupleTableSlot *slot = lfirst(cell);

		if (ours ? concord_slot_pinned(slot) : !TTS_EMPTY(slot) && TTS_IS_VIRTUAL(slot))
			ExecMaterializeSlot(slot);
	}
}

static List *
locking_slots(LockRowsState *state, List *slots)
{
	EPQState   *recheck = &state->lr_epqstate;

	for (Index i = 0; i < recheck->parentestate->es_range_table_size; i++)
		if (recheck->relsubs_slot[i] != NULL)
			slots = lappend(slots, recheck->relsubs_slot[i]);
	if (recheck->recheckestate != NULL)
		slots = list_concat(slots, recheck->recheckestate->es_tupleTable);
	return slots;
}

typedef struct Rest
{
	bool		copy;			/* the slots too */
	List	   *slots;			/* that are not the query's own */
} Rest;

static bool
rest_node(PlanState *state, void *context)
{
	Rest	   *rest = context;

	if (state == NULL)
		return false;
	switch (nodeTag(state))
	{
		case T_SeqScanState:
		case T_SampleScanState:
		case T_BitmapHeapScanState:
		case T_TidRangeScanState:
			rest_scan(((ScanState *) state)->ss_currentScanDesc);
			break;
		case T_IndexScanState:
			rest_index_scan(((IndexScanState *) state)->iss_ScanDesc);
			break;
		case T_IndexOnlyScanState:
			rest_index_scan(((IndexOnlyScanState *) state)->ioss_ScanDesc);
			break;
		case T_BitmapIndexScanState:
			rest_index_scan(((BitmapIndexScanState *) state)->biss_ScanDesc);
			break;
		case T_LockRowsState:
			if (rest->copy)
				rest->slots = locking_slots((LockRowsState *) state, rest->slots);
			break;
		default:
			break;
	}
	return planstate_tree_walker(state, rest_node, context);
}

void
concord_query_rest(QueryDesc *query, bool at_end)
{
	Rest		rest = {.copy = at_end || !any_holds_values(query->planstate, NULL)};

	(void) rest_node(query->planstate, &rest);
	if (rest.copy)
	{
		List	   *slots = list_concat_copy(query->estate->es_tupleTable, rest.slots);
		ListCell   *cell;
		bool		pinned = false;

		foreach(cell, slots)
			pinned = pinned || concord_slot_pinned(lfirst(cell));
		if (pinned)
		{
			copy_slots(slots, false);
			copy_slots(slots, true);
		}
		list_free(slots);
	}
	list_free(rest.slots);
}
