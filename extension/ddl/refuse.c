/*
 * refuse.c
 *		What Concord tables cannot do, said before anything is done: always SQLSTATE 0A000, always with a way out.
 *		docs/ddl.md lists all of it.
 */
#include "concord.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "ddl/ddl.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"

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

static void
refuse_published(Oid relid)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("table \"%s\" of access method concord cannot be published", get_rel_name(relid)),
			 errdetail("Changes to Concord tables are not written to WAL, which logical replication reads."),
			 errhint("Name the other tables one by one.")));
}

/* Raises if any table of ours is in the schema; InvalidOid: in the database. */
static void
refuse_published_in(Oid schema)
{
	Relation	pg_class = table_open(RelationRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(pg_class, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_class form = (Form_pg_class) GETSTRUCT(tuple);

		if (form->relkind == RELKIND_RELATION && form->relam == concord_table_am_oid() &&
			(!OidIsValid(schema) || form->relnamespace == schema))
			refuse_published(form->oid);
	}
	systable_endscan(scan);
	table_close(pg_class, AccessShareLock);
}

static void
refuse_published_table(RangeVar *relation)
{
	Oid			relid = RangeVarGetRelid(relation, NoLock, true);
	ListCell   *cell;

	if (!OidIsValid(relid))
		return;
	if (!relation->inh)
	{
		if (concord_is_table_oid(relid))
			refuse_published(relid);
		return;
	}
	foreach(cell, find_all_inheritors(relid, NoLock, NULL))
		if (concord_is_table_oid(lfirst_oid(cell)))
			refuse_published(lfirst_oid(cell));
}

void
concord_refuse_publication(List *objects, bool for_all_tables)
{
	ListCell   *cell;

	if (for_all_tables)
		refuse_published_in(InvalidOid);
	foreach(cell, objects)
	{
		PublicationObjSpec *object = lfirst_node(PublicationObjSpec, cell);

		switch (object->pubobjtype)
		{
			case PUBLICATIONOBJ_TABLE:
				refuse_published_table(object->pubtable->relation);
				break;
			case PUBLICATIONOBJ_TABLES_IN_SCHEMA:
				{
					Oid			schema = get_namespace_oid(object->name, true);

					if (OidIsValid(schema))
						refuse_published_in(schema);
					break;
				}
			case PUBLICATIONOBJ_TABLES_IN_CUR_SCHEMA:
				{
					List	   *path = fetch_search_path(false);

					if (path != NIL)
						refuse_published_in(linitial_oid(path));
					break;
				}
			case PUBLICATIONOBJ_CONTINUATION:
				break;
		}
	}
}

void
concord_refuse_alter_table(AlterTableStmt *stmt, Oid relid)
{
	bool		to_unlogged = false;
	bool		stays = true;	/* of its access method */
	ListCell   *cell;

	foreach(cell, stmt->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, cell);

		to_unlogged |= cmd->subtype == AT_SetUnLogged;
		stays &= cmd->subtype != AT_SetAccessMethod;
	}
	if (to_unlogged && stays && concord_is_table_oid(relid))
		concord_refuse_unlogged(get_rel_name(relid));
}
