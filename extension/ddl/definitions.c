/*
 * definitions.c
 *		What pg_get_indexdef and pg_get_constraintdef say of Concord's indexes.
 *
 * A definition is there to be run again, by psql's reader, pg_dump or a migration tool, here or on any other server. It says
 * USING btree, as whoever made the index did: on a Concord table that makes a Concord index, elsewhere a btree. pg_class.relam
 * and psql's \di+ tell what the index is.
 */
#include "concord.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#define OURS "USING concord_btree ("
#define BTREE "USING btree ("

PG_FUNCTION_INFO_V1(concord_pg_get_indexdef);
PG_FUNCTION_INFO_V1(concord_pg_get_indexdef_ext);
PG_FUNCTION_INFO_V1(concord_pg_get_constraintdef);
PG_FUNCTION_INFO_V1(concord_pg_get_constraintdef_ext);

static bool
is_our_index(Oid relid)
{
	HeapTuple	row = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	bool		ours = HeapTupleIsValid(row) && ((Form_pg_class) GETSTRUCT(row))->relam == concord_index_am_oid();

	if (HeapTupleIsValid(row))
		ReleaseSysCache(row);
	return ours;
}

/* The clause in a definition; what stands in quotes before it are names. */
static char *
find_using(char *definition)
{
	bool		quoted = false;

	for (char *at = definition; *at != '\0'; at++)
	{
		if (*at == '"')
			quoted = !quoted;
		else if (!quoted && strncmp(at, OURS, strlen(OURS)) == 0)
			return at;
	}
	return NULL;
}

static Datum
with_btree(Datum definition)
{
	char	   *sql = TextDatumGetCString(definition);
	char	   *clause = find_using(sql);

	if (clause == NULL)
		return definition;
	return CStringGetTextDatum(psprintf("%.*s%s%s", (int) (clause - sql), sql, BTREE, clause + strlen(OURS)));
}

static Datum
index_definition(PGFunction postgres, FunctionCallInfo fcinfo)
{
	Datum		definition = postgres(fcinfo);

	if (fcinfo->isnull || !is_our_index(PG_GETARG_OID(0)))
		return definition;
	return with_btree(definition);
}

static Datum
constraint_definition(PGFunction postgres, FunctionCallInfo fcinfo)
{
	Datum		definition = postgres(fcinfo);

	if (fcinfo->isnull || !is_our_index(get_constraint_index(PG_GETARG_OID(0))))
		return definition;
	return with_btree(definition);
}

Datum
concord_pg_get_indexdef(PG_FUNCTION_ARGS)
{
	return index_definition(pg_get_indexdef, fcinfo);
}

Datum
concord_pg_get_indexdef_ext(PG_FUNCTION_ARGS)
{
	return index_definition(pg_get_indexdef_ext, fcinfo);
}

Datum
concord_pg_get_constraintdef(PG_FUNCTION_ARGS)
{
	return constraint_definition(pg_get_constraintdef, fcinfo);
}

Datum
concord_pg_get_constraintdef_ext(PG_FUNCTION_ARGS)
{
	return constraint_definition(pg_get_constraintdef_ext, fcinfo);
}
