/*
 * refuse.c
 *		What Concord tables cannot do, said before anything is done: always SQLSTATE 0A000, always with a way out.
 *		docs/ddl.md lists all of it.
 */
#include "concord.h"

#include "ddl/ddl.h"
#include "utils/lsyscache.h"

void
concord_refuse_index_method(const char *amname)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("access method \"%s\" is not supported for tables of access method concord", amname),
			 errdetail("Its entries would live in the files of one server."),
			 errhint("Use a btree index, or create the table with USING heap.")));
}

void
concord_refuse_index_on(const char *relname)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("access method \"concord_btree\" cannot index table \"%s\"", relname),
			 errdetail("It indexes only tables of access method concord."),
			 errhint("Use btree.")));
}

void
concord_refuse_unlogged(const char *relname)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("table \"%s\" of access method concord cannot be unlogged", relname),
			 errhint("Leave out either UNLOGGED or USING concord: unlogged tables are heap tables.")));
}
