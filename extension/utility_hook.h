/*
 * ProcessUtility_hook: the arguments that are passed on, and how.
 */
#ifndef CONCORD_UTILITY_HOOK_H
#define CONCORD_UTILITY_HOOK_H

#include "concord.h"

#include "tcop/utility.h"

/* Runs the statement by the hook that was there before ours, or by Postgres itself. */
static inline void
concord_run_utility(ProcessUtility_hook_type previous, PlannedStmt *pstmt, const char *query_string, bool read_only_tree,
					ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *environment,
					DestReceiver *dest, QueryCompletion *completion)
{
	(previous ? previous : standard_ProcessUtility)
		(pstmt, query_string, read_only_tree, context, params, environment, dest, completion);
}

#endif
