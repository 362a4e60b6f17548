/*
 * catalog_calls.c
 *		Calls of Postgres' own functions that do not know Concord's tables and indexes become calls of ours: of those that say
 *		how big something is (relation_size.c), and how it is defined (definitions.c).
 *
 * Postgres calls its own functions by OID, whatever pg_proc says of them, but asks a function's planner support function for
 * something simpler to put in place of a call. CREATE EXTENSION gives them this one; ours have the same names and arguments, in
 * schema concord. So the change is made wherever Postgres plans an expression (in functions that are inlined, in views, in arguments of
 * CALL); what is stored keeps Postgres' own; and a query without such calls never comes here.
 *
 * Postgres' functions then depend on the extension, and cannot be dropped: DROP EXTENSION would be refused. So what CREATE EXTENSION
 * did to them is undone first, by the utility hook. Without the preloaded library there is no hook: then an event trigger says what is
 * missing.
 */
#include "concord.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/event_trigger.h"
#include "ddl/ddl.h"
#include "fmgr.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "miscadmin.h"
#include "nodes/supportnodes.h"
#include "parser/parse_func.h"
#include "utils/acl.h"
#include "utils/fmgroids.h"
#include "utils/syscache.h"

#define EXTENSION "concord"
#define SCHEMA "concord"

PG_FUNCTION_INFO_V1(concord_call_support);
PG_FUNCTION_INFO_V1(concord_before_drop_extension);

static const Oid replaced[] = {
	F_PG_RELATION_SIZE_REGCLASS_TEXT, F_PG_TABLE_SIZE, F_PG_INDEXES_SIZE, F_PG_TOTAL_RELATION_SIZE,
	F_PG_GET_INDEXDEF_OID, F_PG_GET_INDEXDEF_OID_INT4_BOOL, F_PG_GET_CONSTRAINTDEF_OID, F_PG_GET_CONSTRAINTDEF_OID_BOOL
};

static bool
is_replaced(Oid function)
{
	for (int i = 0; i < lengthof(replaced); i++)
		if (replaced[i] == function)
			return true;
	return false;
}

/* Ours for one of Postgres' own; InvalidOid where the extension is of a version without it. */
static Oid
our_function(Oid function)
{
	HeapTuple	row = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc proc;
	Oid			ours;

	if (!HeapTupleIsValid(row))
		return InvalidOid;
	proc = (Form_pg_proc) GETSTRUCT(row);
	ours = LookupFuncName(list_make2(makeString(SCHEMA), makeString(NameStr(proc->proname))), proc->pronargs,
						  proc->proargtypes.values, true);
	ReleaseSysCache(row);
	return ours;
}

Datum
concord_call_support(PG_FUNCTION_ARGS)
{
	Node	   *request = (Node *) PG_GETARG_POINTER(0);
	FuncExpr   *call;
	FuncExpr   *instead;
	Oid			ours;

	if (!IsA(request, SupportRequestSimplify) || !concord_ddl_active())
		PG_RETURN_POINTER(NULL);
	call = ((SupportRequestSimplify *) request)->fcall;
	ours = is_replaced(call->funcid) ? our_function(call->funcid) : InvalidOid;
	/* Everybody may execute ours; who may not execute Postgres' is told so by the executor. */
	if (!OidIsValid(ours) || pg_proc_aclcheck(call->funcid, GetUserId(), ACL_EXECUTE) != ACLCHECK_OK)
		PG_RETURN_POINTER(NULL);
	instead = makeFuncExpr(ours, call->funcresulttype, call->args, call->funccollid, call->inputcollid, call->funcformat);
	instead->location = call->location;
	PG_RETURN_POINTER(instead);
}

static void
release(Relation pg_proc, Oid function, Oid support)
{
	HeapTuple	row = SearchSysCacheCopy1(PROCOID, ObjectIdGetDatum(function));

	if (!HeapTupleIsValid(row) || ((Form_pg_proc) GETSTRUCT(row))->prosupport != support)
		return;
	((Form_pg_proc) GETSTRUCT(row))->prosupport = InvalidOid;
	CatalogTupleUpdate(pg_proc, &row->t_self, row);
	(void) deleteDependencyRecordsForSpecific(ProcedureRelationId, function, DEPENDENCY_NORMAL, ProcedureRelationId,
											  support);
}

void
concord_release_calls(void)
{
	static const Oid arg_types[] = {INTERNALOID};
	Oid			support = LookupFuncName(list_make2(makeString(SCHEMA), makeString("call_support")), 1, arg_types, true);
	Relation	pg_proc;

	if (!OidIsValid(support))
		return;
	pg_proc = table_open(ProcedureRelationId, RowExclusiveLock);
	for (int i = 0; i < lengthof(replaced); i++)
		release(pg_proc, replaced[i], support);
	table_close(pg_proc, RowExclusiveLock);
	CommandCounterIncrement();
}

bool
concord_drops_extension(DropStmt *stmt)
{
	ListCell   *cell;

	if (stmt->removeType != OBJECT_EXTENSION)
		return false;
	foreach(cell, stmt->objects)
		if (strcmp(strVal(lfirst(cell)), EXTENSION) == 0)
			return true;
	return false;
}

Datum
concord_before_drop_extension(PG_FUNCTION_ARGS)
{
	EventTriggerData *data = (EventTriggerData *) fcinfo->context;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		elog(ERROR, "not called as an event trigger");
	if (!concord_enabled && IsA(data->parsetree, DropStmt) && concord_drops_extension((DropStmt *) data->parsetree))
		concord_require_usable();
	PG_RETURN_NULL();
}
