/*
 * lookups.c
 *		The ranges that a nested loop's inner index scan will be placed at, one for an outer row.
 *
 * They are computed by the inner scan's own means: the executor's scan keys, with the loop's parameters set to the row for as long as it
 * takes, and the access method's bounds (indexam/scan_keys.h). What comes out is what the scan will ask for, byte by byte, or it finds
 * nothing.
 */
#include "lookahead/lookahead.h"

#include "bridge/remote.h"
#include "executor/executor.h"
#include "executor/nodeIndexscan.h"
#include "indexam/scan_keys.h"
#include "tableam/tableam.h"

struct ConcordLookups
{
	ExprContext *econtext;
	List	   *nest_params;
	ParamExecData *saved;		/* as many */
	IndexRuntimeKeyInfo *runtime_keys;
	int			runtime_key_count;
	ConcordScanKeys *keys;
	uint64		prefix;
	uint64		rows_of;
	uint64		rows_too;
	bool		backward;

	MemoryContext context;
	CcRange    *ranges;
	int		   *rows;			/* that they are for, ascending */
	int			count;
};

ConcordIndexPlan
concord_index_plan(Plan *scan)
{
	ConcordIndexPlan plan = {.table = ((Scan *) scan)->scanrelid};

	if (IsA(scan, IndexScan))
	{
		IndexScan  *node = (IndexScan *) scan;

		plan.index = node->indexid;
		plan.quals = node->indexqual;
		plan.order = node->indexorderby;
		plan.backward = ScanDirectionIsBackward(node->indexorderdir);
		plan.rows_with_it = true;
	}
	else if (IsA(scan, IndexOnlyScan))
	{
		IndexOnlyScan *node = (IndexOnlyScan *) scan;

		plan.index = node->indexid;
		plan.quals = node->indexqual;
		plan.order = node->indexorderby;
		plan.backward = ScanDirectionIsBackward(node->indexorderdir);
	}
	else
	{
		BitmapIndexScan *node = castNode(BitmapIndexScan, scan);

		plan.index = node->indexid;
		plan.quals = node->indexqual;
		plan.rows_later = true;
	}
	return plan;
}

ConcordLookups *
concord_lookups_begin(PlanState *parent, const ConcordIndexPlan *scan, List *nest_params, Relation index, Relation table)
{
	ConcordLookups *self = palloc0(sizeof(ConcordLookups));
	ScanKey		keys;
	int			key_count;

	self->econtext = CreateExprContext(parent->state);
	self->nest_params = nest_params;
	self->saved = palloc(list_length(nest_params) * sizeof(ParamExecData));
	ExecIndexBuildScanKeys(parent, index, scan->quals, false, &keys, &key_count, &self->runtime_keys, &self->runtime_key_count,
						   NULL, NULL);
	self->keys = concord_scan_keys_create(concord_index_describe(index), keys, key_count);
	self->prefix = concord_entry_prefix(concord_storage_id(index));
	self->rows_of = scan->rows_with_it ? concord_rel_prefix(table) : 0;
	self->rows_too = scan->rows_later ? concord_rel_prefix(table) : 0;
	self->backward = scan->backward;
	return self;
}

void
concord_lookups_clear(ConcordLookups *self, MemoryContext context, int capacity)
{
	self->context = context;
	self->ranges = MemoryContextAlloc(context, capacity * sizeof(CcRange));
	self->rows = MemoryContextAlloc(context, capacity * sizeof(int));
	self->count = 0;
}

/* Computes the keys as the nested loop does for the row. */
static void
compute_keys(ConcordLookups *self, TupleTableSlot *outer)
{
	ParamExecData *params = self->econtext->ecxt_param_exec_vals;
	ListCell   *cell;

	foreach(cell, self->nest_params)
	{
		NestLoopParam *nest_param = lfirst_node(NestLoopParam, cell);
		ParamExecData *param = &params[nest_param->paramno];

		self->saved[foreach_current_index(cell)] = *param;
		param->value = slot_getattr(outer, nest_param->paramval->varattno, &param->isnull);
	}
	ResetExprContext(self->econtext);
	ExecIndexEvalRuntimeKeys(self->econtext, self->runtime_keys, self->runtime_key_count);
	foreach(cell, self->nest_params)
		params[lfirst_node(NestLoopParam, cell)->paramno] = self->saved[foreach_current_index(cell)];
}

static const void *
copy_bound(ConcordLookups *self, const void *bound, size_t size)
{
	return bound == NULL ? NULL : memcpy(MemoryContextAlloc(self->context, Max(size, 1)), bound, size);
}

void
concord_lookups_add(ConcordLookups *self, TupleTableSlot *outer, int row)
{
	CcRange    *range = &self->ranges[self->count];

	compute_keys(self, outer);
	concord_scan_keys_start(self->keys);
	if (self->keys->impossible || !concord_scan_keys_range(self->keys))
		return;
	*range = concord_scan_keys_expected(self->keys, self->prefix, self->rows_of, self->backward);
	range->rows_too = self->rows_too;
	range->low = copy_bound(self, range->low, range->low_size);
	range->high = copy_bound(self, range->high, range->high_size);
	self->rows[self->count++] = row;
}

int
concord_lookups_fetch(ConcordLookups *self, uint64 lsn, int row, int row_count, size_t *asked)
{
	int			from = 0;
	size_t		ready;

	*asked = 0;
	while (from < self->count && self->rows[from] < row)
		from++;
	if (from == self->count)
		return row_count;
	concord_check(cc_scans_ahead(lsn, self->ranges + from, self->count - from, &ready, asked));
	/* One that could not be fetched ahead asks by itself. */
	from += Max((int) ready, 1);
	return from < self->count ? self->rows[from] : row_count;
}
