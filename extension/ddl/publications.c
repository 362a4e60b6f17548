/*
 * publications.c
 *		No Concord table is in a publication that names it, its schema, or what it is a partition of.
 *
 * Logical replication reads WAL, where changes to Concord tables are not: a subscriber would go without them and nothing would say
 * so. Statements about publications are looked at before they run. How a table comes into a publication later, object_access_hook
 * tells: it is made in a schema, moved to one, attached below a parent, or changes its access method.
 *
 * A new table of a database with a publication FOR ALL TABLES gets a warning only: nobody has named it, and where all tables are to be
 * Concord's none could be made any more. The publication lists it, so a subscriber gets its rows at first and TRUNCATE, and nothing else. A
 * table whose changes have been published is not let go silently.
 *
 * Statements about publications are looked at before they lock anything: what another session does at the same time may be missed.
 */
#include "concord.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_publication.h"
#include "ddl/ddl.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#define NOT_IN_WAL "Changes to Concord tables are not written to WAL, which logical replication reads."

/* With the hint of a way out. */
static void
refuse(const char *relname, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("table \"%s\" of access method concord cannot be published", relname),
			 errdetail(NOT_IN_WAL),
			 errhint("%s", hint)));
}

/* ---- CREATE and ALTER PUBLICATION ---- */

static void
refuse_published(Oid relid)
{
	refuse(get_rel_name(relid), "Name the other tables one by one.");
}

/* Partitions are published with what they are partitions of: wherever they are, and whatever ONLY says. */
static void
refuse_published_tree(Oid relid)
{
	ListCell   *cell;

	foreach(cell, find_all_inheritors(relid, NoLock, NULL))
		if (concord_is_table_oid(lfirst_oid(cell)))
			refuse_published(lfirst_oid(cell));
}

/* Raises if any table of ours is in the schema, or below a partitioned table in it; InvalidOid: in the database. */
static void
refuse_published_in(Oid schema)
{
	Relation	pg_class = table_open(RelationRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(pg_class, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_class form = (Form_pg_class) GETSTRUCT(tuple);

		if (OidIsValid(schema) && form->relnamespace != schema)
			continue;
		if (form->relkind == RELKIND_RELATION && form->relam == concord_table_am_oid())
			refuse_published(form->oid);
		else if (form->relkind == RELKIND_PARTITIONED_TABLE && OidIsValid(schema))
			refuse_published_tree(form->oid);
	}
	systable_endscan(scan);
	table_close(pg_class, AccessShareLock);
}

static void
refuse_published_table(RangeVar *relation)
{
	Oid			relid = RangeVarGetRelid(relation, NoLock, true);

	if (!OidIsValid(relid))
		return;
	if (relation->inh || get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE)
		refuse_published_tree(relid);
	else if (concord_is_table_oid(relid))
		refuse_published(relid);
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

/* ---- tables that come into a publication ---- */

static void
refuse_if_any(const char *relname, List *publications)
{
	char	   *publication;

	if (publications == NIL)
		return;
	publication = get_publication_name(linitial_oid(publications), false);
	refuse(relname, psprintf("Change or drop publication \"%s\" first, or use access method heap.", publication));
}

static void
refuse_if_published(const char *relname, Oid relid)
{
	refuse_if_any(relname, GetRelationPublications(relid));
	refuse_if_any(relname, GetSchemaPublications(get_rel_namespace(relid)));
}

static void
refuse_if_ancestor_published(const char *relname, Oid relid)
{
	ListCell   *cell;

	if (!get_rel_relispartition(relid))
		return;
	foreach(cell, get_partition_ancestors(relid))
		refuse_if_published(relname, lfirst_oid(cell));
}

void
concord_refuse_published_table(Oid relid)
{
	const char *relname = get_rel_name(relid);

	if (get_rel_relkind(relid) != RELKIND_RELATION)
		return;					/* materialized views are never published */
	refuse_if_published(relname, relid);
	refuse_if_ancestor_published(relname, relid);
	refuse_if_any(relname, GetAllTablesPublications());
}

void
concord_published_table_created(Form_pg_class form)
{
	List	   *all_tables;

	refuse_if_any(NameStr(form->relname), GetSchemaPublications(form->relnamespace));
	all_tables = GetAllTablesPublications();
	if (all_tables != NIL)
		ereport(WARNING,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("changes of table \"%s\" of access method concord will be missing from publication \"%s\", which is FOR ALL TABLES",
						NameStr(form->relname), get_publication_name(linitial_oid(all_tables), false)),
				 errdetail(NOT_IN_WAL),
				 errhint("Create the table with USING heap if its changes are to be published.")));
}

/* As the running command left it. One that is being detached concurrently is none any more. */
static bool
is_child(Oid relid, Oid parentid)
{
	Relation	pg_inherits = table_open(InheritsRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found = false;

	ScanKeyInit(&key, Anum_pg_inherits_inhrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	scan = systable_beginscan(pg_inherits, InheritsRelidSeqnoIndexId, true, SnapshotSelf, 1, &key);
	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_inherits form = (Form_pg_inherits) GETSTRUCT(tuple);

		found = form->inhparent == parentid && !form->inhdetachpending;
	}
	systable_endscan(scan);
	table_close(pg_inherits, AccessShareLock);
	return found;
}

void
concord_refuse_published_parent(Oid relid, Oid parentid)
{
	ListCell   *cell;

	if (get_rel_relkind(parentid) != RELKIND_PARTITIONED_TABLE)
		return;					/* what inherits otherwise is published by its own name */
	if (!is_child(relid, parentid))
		return;					/* it has been detached, which is told in the same way */
	foreach(cell, find_all_inheritors(relid, NoLock, NULL))
	{
		const char *relname = get_rel_name(lfirst_oid(cell));

		if (!concord_is_table_oid(lfirst_oid(cell)))
			continue;
		refuse_if_published(relname, parentid);
		refuse_if_ancestor_published(relname, parentid);
	}
}

void
concord_refuse_published_schema(Oid relid)
{
	Relation	pg_class = table_open(RelationRelationId, AccessShareLock);
	HeapTuple	row = concord_own_row(pg_class, ClassOidIndexId, Anum_pg_class_oid, relid);
	Form_pg_class form = HeapTupleIsValid(row) ? (Form_pg_class) GETSTRUCT(row) : NULL;
	List	   *publications = NIL;
	ListCell   *cell;

	/* Other changes of a table come here too; the cache still has the schema that it leaves. */
	if (form != NULL && (form->relkind == RELKIND_RELATION || form->relkind == RELKIND_PARTITIONED_TABLE) &&
		form->relnamespace != get_rel_namespace(relid))
		publications = GetSchemaPublications(form->relnamespace);
	if (publications != NIL)
		foreach(cell, find_all_inheritors(relid, NoLock, NULL))
			if (concord_is_table_oid(lfirst_oid(cell)) &&
				(lfirst_oid(cell) == relid || form->relkind == RELKIND_PARTITIONED_TABLE))
				refuse_if_any(get_rel_name(lfirst_oid(cell)), publications);
	table_close(pg_class, AccessShareLock);
}
