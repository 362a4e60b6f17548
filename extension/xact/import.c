/*
 * import.c
 *		SET TRANSACTION SNAPSHOT: who imports another session's snapshot reads at its LSN too.
 *
 * A snapshot's identifier names the virtual transaction that exported it, and a transaction in REPEATABLE READ keeps its read
 * LSN in its slot of the channel. That is looked up before Postgres imports the snapshot: as Postgres then checks that the
 * exporting transaction still runs, it ran when its slot was read. What was exported without an LSN (by a transaction in READ
 * COMMITTED, a replication slot, or one that had no leader to ask) cannot be read Concord tables with.
 */
#include "concord.h"

#include "access/xact.h"
#include "nodes/parsenodes.h"
#include "storage/proc.h"
#include "storage/sinvaladt.h"
#include "utility_hook.h"

static ProcessUtility_hook_type previous_hook = NULL;

/* The identifier if the statement imports a snapshot, else NULL. */
static const char *
imported_snapshot(Node *stmt)
{
	VariableSetStmt *set = (VariableSetStmt *) stmt;

	if (!IsA(stmt, VariableSetStmt) || set->kind != VAR_SET_MULTI || strcmp(set->name, "TRANSACTION SNAPSHOT") != 0)
		return NULL;
	return strVal(&linitial_node(A_Const, set->args)->val);
}

/* The read LSN of the transaction that exported the snapshot; 0 if it has none. */
static uint64
exported_lsn(const char *identifier)
{
	unsigned int backend;
	unsigned int lxid;
	PGPROC	   *proc;

	if (sscanf(identifier, "%8X-%8X-", &backend, &lxid) != 2)
		return 0;
	proc = BackendIdGetProc((int) backend);
	return proc == NULL || proc->lxid != lxid ? 0 : cc_channel_snapshot_lsn(concord_channel, proc->pgprocno);
}

static void
import_process_utility(PlannedStmt *pstmt, const char *query_string, bool read_only_tree, ProcessUtilityContext context,
					   ParamListInfo params, QueryEnvironment *environment, DestReceiver *dest,
					   QueryCompletion *completion)
{
	const char *identifier = imported_snapshot(pstmt->utilityStmt);
	uint64		lsn = identifier == NULL ? 0 : exported_lsn(identifier);

	concord_run_utility(previous_hook, pstmt, query_string, read_only_tree, context, params, environment, dest,
						completion);
	if (identifier != NULL)
		concord_snapshot_import(lsn);
}

void
concord_import_init(void)
{
	previous_hook = ProcessUtility_hook;
	ProcessUtility_hook = import_process_utility;
}
