/*
 * node.c
 *		The node between a nested loop and its outer side: hands rows on, and reads some ahead of the loop while reads are remote.
 *
 * Rows ahead are copies, in memory of the node's that is reset when the last of them has been taken and the loop asks for another one: what
 * the loop has made parameters of is good until then. There are few at first, since a LIMIT or a loop around this one may want no more.
 *
 * Where this machine's replica is read, and where EvalPlanQual runs the plan for one row, rows are handed on as they are.
 */
#include "lookahead/lookahead.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "commands/explain.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#define NODE_NAME "Concord Look Ahead"
#define FIRST_ROWS 16
#define GROWTH 4
#define MAX_BYTES (1024 * 1024)	/* of rows ahead, about */
#define ROWS_PER_CHECK 64		/* that are handed on before it is looked again whether reads are remote */

typedef struct LookAheadState
{
	CustomScanState css;
	Relation	index;			/* NULL: nothing is to be read ahead */
	ConcordLookups *lookups;	/* NULL until reads are remote */
	MemoryContext context;		/* of the rows ahead, and their ranges */
	TupleTableSlot *slot;
	Datum	   *values;			/* of the row that is being copied */
	bool	   *nulls;
	MinimalTuple *rows;
	int			count;
	int			next;
	int			ready;			/* the lookups of those before it are at hand */
	int			batch;			/* rows ahead next time */
	uint32		handed_on;		/* since reads were remote */
	bool		ended;
	uint64		lsn;
	uint64		lookup_count;
	uint64		request_count;
} LookAheadState;

/* ---- plan ---- */

static Node *create_state(CustomScan *plan);

static const CustomScanMethods plan_methods = {NODE_NAME, create_state};

bool
concord_is_look_ahead(Plan *plan)
{
	return IsA(plan, CustomScan) && ((CustomScan *) plan)->methods == &plan_methods;
}

static List *
add_column(List *columns, TargetEntry *of, Index varno)
{
	Node	   *expr = (Node *) of->expr;
	Var		   *var = makeVar(varno, of->resno, exprType(expr), exprTypmod(expr), exprCollation(expr), 0);

	return lappend(columns, makeTargetEntry((Expr *) var, of->resno, of->resname, of->resjunk));
}

Plan *
concord_look_ahead_make(NestLoop *loop, Plan *scan, List *columns, int plan_node_id)
{
	Plan	   *outer = outerPlan(loop);
	CustomScan *node = makeNode(CustomScan);
	Plan	   *plan = &node->scan.plan;
	ListCell   *cell;

	plan->startup_cost = outer->startup_cost;
	plan->total_cost = outer->total_cost;
	plan->plan_rows = outer->plan_rows;
	plan->plan_width = outer->plan_width;
	plan->parallel_safe = outer->parallel_safe;
	plan->plan_node_id = plan_node_id;
	plan->extParam = bms_copy(outer->extParam);
	plan->allParam = bms_copy(outer->allParam);
	plan->lefttree = outer;
	/* The outer side's columns as they are. */
	foreach(cell, outer->targetlist)
	{
		node->custom_scan_tlist = add_column(node->custom_scan_tlist, lfirst_node(TargetEntry, cell), OUTER_VAR);
		plan->targetlist = add_column(plan->targetlist, lfirst_node(TargetEntry, cell), INDEX_VAR);
	}
	node->custom_private = list_make3(loop->nestParams, scan, columns);
	node->methods = &plan_methods;
	return plan;
}

/* ---- execution ---- */

static void
begin(CustomScanState *node, EState *estate, int eflags)
{
	LookAheadState *self = (LookAheadState *) node;
	CustomScan *plan = (CustomScan *) node->ss.ps.plan;
	ConcordIndexPlan scan = concord_index_plan(lsecond(plan->custom_private));

	outerPlanState(node) = ExecInitNode(outerPlan(plan), estate, eflags);
	/* Rows come in the outer side's slots, or in ours. */
	node->ss.ps.resultopsset = true;
	node->ss.ps.resultopsfixed = false;
	self->batch = FIRST_ROWS;
	if ((eflags & EXEC_FLAG_EXPLAIN_ONLY) != 0 || estate->es_epq_active != NULL || !IsMVCCSnapshot(estate->es_snapshot))
		return;
	self->slot = ExecInitExtraTupleSlot(estate, ExecGetResultType(outerPlanState(node)), &TTSOpsMinimalTuple);
	self->index = index_open(scan.index, exec_rt_fetch(scan.table, estate)->rellockmode);
}

static bool
reads_remotely(LookAheadState *self)
{
	EState	   *estate = self->css.ss.ps.state;

	if (self->index == NULL || concord_nestloop_batch == 0 || !ScanDirectionIsForward(estate->es_direction))
		return false;
	if (self->handed_on++ % ROWS_PER_CHECK != 0)
		return false;
	self->lsn = concord_read_point_for(self->index, estate->es_snapshot).lsn;
	if (!concord_reads_remotely(self->lsn))
		return false;
	self->handed_on = 0;
	return true;
}

static void
prepare(LookAheadState *self)
{
	EState	   *estate = self->css.ss.ps.state;
	List	   *private = ((CustomScan *) self->css.ss.ps.plan)->custom_private;
	ConcordIndexPlan scan = concord_index_plan(lsecond(private));
	int			columns = self->slot->tts_tupleDescriptor->natts;
	MemoryContext caller = MemoryContextSwitchTo(estate->es_query_cxt);

	self->values = palloc(columns * sizeof(Datum));
	self->nulls = palloc(columns * sizeof(bool));
	memset(self->nulls, true, columns * sizeof(bool));
	self->context = AllocSetContextCreate(CurrentMemoryContext, "Concord look-ahead", ALLOCSET_DEFAULT_SIZES);
	self->lookups = concord_lookups_begin(&self->css.ss.ps, &scan, linitial(private), self->index,
										  ExecGetRangeTableRelation(estate, scan.table));
	MemoryContextSwitchTo(caller);
}

/* Of the columns that the loop looks at; the others are NULL. */
static MinimalTuple
copy_row(LookAheadState *self, TupleTableSlot *row)
{
	List	   *columns = lthird(((CustomScan *) self->css.ss.ps.plan)->custom_private);
	ListCell   *cell;
	MinimalTuple copy;
	MemoryContext caller;

	slot_getsomeattrs(row, llast_int(columns));
	foreach(cell, columns)
	{
		int			i = lfirst_int(cell) - 1;

		self->values[i] = row->tts_values[i];
		self->nulls[i] = row->tts_isnull[i];
	}
	caller = MemoryContextSwitchTo(self->context);
	copy = heap_form_minimal_tuple(self->slot->tts_tupleDescriptor, self->values, self->nulls);
	MemoryContextSwitchTo(caller);
	return copy;
}

/* Takes rows ahead of the loop, and computes their lookups. */
static void
gather(LookAheadState *self)
{
	int			capacity = Min(self->batch, concord_nestloop_batch);
	Size		bytes = 0;

	if (self->lookups == NULL)
		prepare(self);
	ExecClearTuple(self->slot);
	MemoryContextReset(self->context);
	self->rows = MemoryContextAlloc(self->context, capacity * sizeof(MinimalTuple));
	self->count = self->next = self->ready = 0;
	concord_lookups_clear(self->lookups, self->context, capacity);
	while (self->count < capacity && bytes < MAX_BYTES)
	{
		TupleTableSlot *slot = ExecProcNode(outerPlanState(self));

		self->ended = TupIsNull(slot);
		if (self->ended)
			break;
		self->rows[self->count] = copy_row(self, slot);
		bytes += self->rows[self->count]->t_len;
		concord_lookups_add(self->lookups, slot, self->count);
		self->count++;
	}
	self->batch = Min(self->batch * GROWTH, concord_nestloop_batch);
}

static void
fetch(LookAheadState *self)
{
	size_t		asked;

	self->ready = concord_lookups_fetch(self->lookups, self->lsn, self->next, self->count, &asked);
	self->lookup_count += asked;
	if (asked > 0)
		self->request_count++;
}

static TupleTableSlot *
next_row(CustomScanState *node)
{
	LookAheadState *self = (LookAheadState *) node;

	if (self->next == self->count)
	{
		if (self->ended)
			return ExecClearTuple(self->slot);
		if (!reads_remotely(self))
			return ExecProcNode(outerPlanState(node));
		gather(self);
		if (self->count == 0)
			return ExecClearTuple(self->slot);
	}
	if (self->next == self->ready)
		fetch(self);
	return ExecStoreMinimalTuple(self->rows[self->next++], self->slot, false);
}

static void
rescan(CustomScanState *node)
{
	LookAheadState *self = (LookAheadState *) node;

	if (self->slot != NULL)
		ExecClearTuple(self->slot);
	self->count = self->next = self->ready = 0;
	self->batch = FIRST_ROWS;
	self->ended = false;
	if (outerPlanState(node)->chgParam == NULL)
		ExecReScan(outerPlanState(node));
}

static void
end(CustomScanState *node)
{
	LookAheadState *self = (LookAheadState *) node;

	if (self->index != NULL)
		index_close(self->index, NoLock);
	ExecEndNode(outerPlanState(node));
}

static void
explain(CustomScanState *node, List *ancestors, ExplainState *es)
{
	LookAheadState *self = (LookAheadState *) node;

	if (!es->analyze)
		return;
	ExplainPropertyUInteger("Lookups", NULL, self->lookup_count, es);
	ExplainPropertyUInteger("Requests", NULL, self->request_count, es);
}

static const CustomExecMethods exec_methods = {
	.CustomName = NODE_NAME,
	.BeginCustomScan = begin,
	.ExecCustomScan = next_row,
	.EndCustomScan = end,
	.ReScanCustomScan = rescan,
	.ExplainCustomScan = explain
};

static Node *
create_state(CustomScan *plan)
{
	LookAheadState *self = palloc0(sizeof(LookAheadState));

	NodeSetTag(self, T_CustomScanState);
	self->css.methods = &exec_methods;
	return (Node *) self;
}

/* In every process: a parallel worker is given a plan as text. */
void
concord_look_ahead_init(void)
{
	RegisterCustomScanMethods(&plan_methods);
}
