/*
 * Look-ahead of nested loops: where the inner side is looked up in an index that another machine's replica is read for, the keys of many
 * outer rows go there in one request.
 *
 * PostgreSQL's executor gives the inner side one outer row at a time. So a node of ours stands between a nested loop and its outer side
 * (plan.c): it takes some rows ahead of the loop (node.c), computes for each the range of the index that the inner scan will be placed at,
 * and has these fetched (lookups.c). The loop and the inner scan are PostgreSQL's and know nothing of it; the scan finds what it asks for
 * where it looks first, in what the transaction has read (bridge/remote_cache.h). It is a hint: what it does not foresee costs a request.
 */
#ifndef CONCORD_LOOKAHEAD_H
#define CONCORD_LOOKAHEAD_H

#include "concord.h"

#include "nodes/extensible.h"
#include "nodes/plannodes.h"

/* ---- the plan (plan.c) ---- */
/* Whether the plan of a query may get look-ahead; to be asked before it is planned. */
bool		concord_look_ahead_possible(Query *query);
void		concord_look_ahead_add(PlannedStmt *statement);

/* ---- the node (node.c) ---- */
void		concord_look_ahead_init(void);
bool		concord_is_look_ahead(Plan *plan);
/*
 * Between `loop` and its outer side, for a scan of an index on the inner side. `columns`: the numbers of those that the loop looks
 * at, ascending.
 */
Plan	   *concord_look_ahead_make(NestLoop *loop, Plan *scan, List *columns, int plan_node_id);

/* ---- the ranges of the inner scan (lookups.c) ---- */
/* An IndexScan, IndexOnlyScan or BitmapIndexScan. */
typedef struct ConcordIndexPlan
{
	Oid			index;
	Index		table;			/* in the range table */
	List	   *quals;
	List	   *order;			/* ORDER BY operators */
	bool		backward;
	bool		rows_with_it;	/* it leads to rows, one by one */
	bool		rows_later;		/* it leads to rows that are looked up together when the scan is over */
} ConcordIndexPlan;
ConcordIndexPlan concord_index_plan(Plan *scan);
typedef struct ConcordLookups ConcordLookups;
/* `index` and `table` stay open. In the current memory context. */
ConcordLookups *concord_lookups_begin(PlanState *parent, const ConcordIndexPlan *scan, List *nest_params, Relation index, Relation table);
/* Forgets all ranges; the next ones, `capacity` at most, are kept in the memory context. */
void		concord_lookups_clear(ConcordLookups *lookups, MemoryContext context, int capacity);
/* Adds what the inner scan will read for an outer row; nothing for one that nothing can match. */
void		concord_lookups_add(ConcordLookups *lookups, TupleTableSlot *outer, int row);
/*
 * Fetches what lies ahead from a row on, in one request. Returns the first row behind it whose lookup is not at hand, `row_count` if there is
 * none; *asked is how many lookups were asked for.
 */
int			concord_lookups_fetch(ConcordLookups *lookups, uint64 lsn, int row, int row_count, size_t *asked);

#endif
