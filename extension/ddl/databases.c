/*
 * databases.c
 *		CREATE DATABASE and DROP DATABASE, in whatever database they are run.
 *
 * CREATE DATABASE copies the files of its template, and with them metapages that name the template's storage: the rows are not
 * there. So a template with Concord tables is refused. The template is locked as CREATE DATABASE itself does, and has no other
 * sessions, from before the look at its catalog to the copy. (A copy made while the library was not preloaded is seen by the
 * database OID in its metapages; storage_map.c.)
 *
 * DROP DATABASE only wakes the sweeper when it is committed: a crash in between needs the sweeper anyway.
 */
#include "ddl/ddl.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "ddl/database_scan.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/procarray.h"
#include "utils/acl.h"
#include "utils/syscache.h"
#include "utility_hook.h"
#include "worker/sweep.h"

static ProcessUtility_hook_type previous_hook = NULL;
static bool database_dropped = false;

static const char *
template_name(CreatedbStmt *stmt)
{
	ListCell   *cell;

	foreach(cell, stmt->options)
	{
		DefElem    *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, "template") == 0 && option->arg != NULL)
			return defGetString(option);
	}
	return "template1";
}

/* As far as needed to keep others from locking a template. What is refused here is left to Postgres to refuse. */
static bool
may_copy(Form_pg_database template)
{
	HeapTuple	role = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	bool		may_create = superuser();

	if (HeapTupleIsValid(role))
	{
		may_create = may_create || ((Form_pg_authid) GETSTRUCT(role))->rolcreatedb;
		ReleaseSysCache(role);
	}
	return may_create && (template->datistemplate || pg_database_ownercheck(template->oid, GetUserId()));
}

/* The template's tablespace, once it is locked and nobody else is connected to it. InvalidOid if Postgres will refuse. */
static Oid
lock_template(const char *name, Oid *database)
{
	HeapTuple	tuple;
	Oid			tablespace = InvalidOid;
	int			backends;
	int			prepared;

	*database = get_database_oid(name, true);
	if (!OidIsValid(*database))
		return InvalidOid;
	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(*database));
	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	if (!may_copy((Form_pg_database) GETSTRUCT(tuple)))
	{
		ReleaseSysCache(tuple);
		return InvalidOid;
	}
	ReleaseSysCache(tuple);

	/* To the end of the transaction: it keeps new sessions out. */
	LockSharedObject(DatabaseRelationId, *database, 0, ShareLock);
	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(*database));
	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	if (strcmp(NameStr(((Form_pg_database) GETSTRUCT(tuple))->datname), name) == 0 &&
		((Form_pg_database) GETSTRUCT(tuple))->datconnlimit != DATCONNLIMIT_INVALID_DB)
		tablespace = ((Form_pg_database) GETSTRUCT(tuple))->dattablespace;
	ReleaseSysCache(tuple);
	if (!OidIsValid(tablespace))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("template database \"%s\" has changed meanwhile", name),
				 errhint("Try again.")));
	if (CountOtherDBBackends(*database, &backends, &prepared))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("source database \"%s\" is being accessed by other users", name),
				 errdetail("%d other sessions and %d prepared transactions use it.", backends, prepared)));
	return tablespace;
}

static void
refuse_template_with_tables(CreatedbStmt *stmt)
{
	const char *name = template_name(stmt);
	Oid			database;
	Oid			tablespace = lock_template(name, &database);
	int			count = 0;
	ConcordFile *files;

	if (!OidIsValid(tablespace))
		return;
	files = concord_scan_database(database, tablespace, &count);
	if (count > 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot create a database from template \"%s\": it has Concord tables", name),
				 errdetail_plural("CREATE DATABASE copies files, and the rows of Concord tables are not in them. There is "
								  "%d such table or index, \"%s\".",
								  "CREATE DATABASE copies files, and the rows of Concord tables are not in them. There are "
								  "%d such tables and indexes, \"%s\" among them.", count, count,
								  NameStr(files[0].relname)),
				 errhint("Create it with TEMPLATE template0, or another template without Concord tables, and copy the "
						 "tables with pg_dump and psql.")));
	pfree(files);
}

static void
databases_process_utility(PlannedStmt *pstmt, const char *query_string, bool read_only_tree,
						  ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *environment,
						  DestReceiver *dest, QueryCompletion *completion)
{
	if (IsA(pstmt->utilityStmt, CreatedbStmt))
	{
		/* Not in a transaction block, where Postgres refuses the statement but its locks would stay. */
		PreventInTransactionBlock(context == PROCESS_UTILITY_TOPLEVEL, "CREATE DATABASE");
		refuse_template_with_tables((CreatedbStmt *) pstmt->utilityStmt);
	}
	concord_run_utility(previous_hook, pstmt, query_string, read_only_tree, context, params, environment, dest,
						completion);
	if (IsA(pstmt->utilityStmt, DropdbStmt))
		database_dropped = true;
}

static void
databases_xact_callback(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT && database_dropped)
		concord_sweep_wake();
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT)
		database_dropped = false;
}

void
concord_databases_init(void)
{
	previous_hook = ProcessUtility_hook;
	ProcessUtility_hook = databases_process_utility;
	RegisterXactCallback(databases_xact_callback, NULL);
}
