/*
 * size_calls.c
 *		Calls of pg_relation_size and its kin become calls of ours (relation_size.c).
 *
 * Postgres calls its own functions by OID, whatever pg_proc says of them, but asks a function's planner support function for
 * something simpler to put in place of a call. CREATE EXTENSION gives the four this one. So the change is made wherever Postgres
 * plans an expression (in functions that are inlined, in views, in arguments of CALL); what is stored keeps Postgres' own; and a query
 * without such calls never comes here.
 *
 * Postgres' functions then depend on the extension, and cannot be dropped: DROP EXTENSION would be refused. So what CREATE EXTENSION
 * did to them is undone first.
 */
#include "concord.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "ddl/ddl.h"
#include "fmgr.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/supportnodes.h"
#include "parser/parse_func.h"
#include "utils/fmgroids.h"
#include "utils/syscache.h"

#define SCHEMA "concord"

PG_FUNCTION_INFO_V1(concord_size_support);

typedef struct SizeFunction
{
	Oid			oid;			/* Postgres' own */
	char	   *name;			/* of it and of ours */
	int			arg_count;
} SizeFunction;

static const SizeFunction size_functions[] = {
	{F_PG_RELATION_SIZE_REGCLASS_TEXT, "pg_relation_size", 2},
	{F_PG_TABLE_SIZE, "pg_table_size", 1},
	{F_PG_INDEXES_SIZE, "pg_indexes_size", 1},
	{F_PG_TOTAL_RELATION_SIZE, "pg_total_relation_size", 1}
};

static Oid
our_function(char *name, int arg_count, const Oid *arg_types)
{
	return LookupFuncName(list_make2(makeString(SCHEMA), makeString(name)), arg_count, arg_types, true);
}

Datum
concord_size_support(PG_FUNCTION_ARGS)
{
	static const Oid arg_types[] = {REGCLASSOID, TEXTOID};
	Node	   *request = (Node *) PG_GETARG_POINTER(0);
	FuncExpr   *call;

	if (!IsA(request, SupportRequestSimplify) || !concord_ddl_active())
		PG_RETURN_POINTER(NULL);
	call = ((SupportRequestSimplify *) request)->fcall;
	for (int i = 0; i < lengthof(size_functions); i++)
		if (size_functions[i].oid == call->funcid)
		{
			Oid			ours = our_function(size_functions[i].name, size_functions[i].arg_count, arg_types);
			FuncExpr   *instead;

			if (!OidIsValid(ours))
				break;
			instead = makeFuncExpr(ours, call->funcresulttype, call->args, call->funccollid, call->inputcollid,
								   call->funcformat);
			instead->location = call->location;
			PG_RETURN_POINTER(instead);
		}
	PG_RETURN_POINTER(NULL);
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
concord_release_size_calls(void)
{
	static const Oid arg_types[] = {INTERNALOID};
	Oid			support = our_function("size_support", 1, arg_types);
	Relation	pg_proc;

	if (!OidIsValid(support))
		return;
	pg_proc = table_open(ProcedureRelationId, RowExclusiveLock);
	for (int i = 0; i < lengthof(size_functions); i++)
		release(pg_proc, size_functions[i].oid, support);
	table_close(pg_proc, RowExclusiveLock);
	CommandCounterIncrement();
}
