/*
 * access_method_change.c
 *		Tables that go from one access method to another.
 *
 * A rewrite (make_new_heap) fills a transient table "pg_temp_<OID of the old table>", whose file the old table then takes over.
 * object_access_hook sees the transient table before it is used, and there the kinds are put right:
 *
 * - REFRESH MATERIALIZED VIEW CONCURRENTLY makes a temporary one of the view's access method. Temporary tables are heap's: it
 *   becomes heap's. It never becomes the view's file.
 * - ALTER TABLE ... SET ACCESS METHOD makes one of the new access method. The indexes of the old table change with it: they are
 *   built anew after the swap, by the access method that pg_class then names. Nothing uses them in between: the statement holds
 *   AccessExclusiveLock, has done its event triggers, and changes nothing else.
 *
 * Postgres gives a transient table a TOAST table only if the old table has one; ours never do, so it is made here.
 */
#include "concord.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/toasting.h"
#include "commands/defrem.h"
#include "ddl/ddl.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/syscache.h"

#define TRANSIENT_PREFIX "pg_temp_"

static void
add_toast_table(Oid relid)
{
	CommandCounterIncrement();
	NewRelationCreateToastTable(relid, (Datum) 0);
}

/* The file is heap's already (tableam/ddl.c); now the catalog says so too. */
static void
become_heap(Relation pg_class, HeapTuple row)
{
	Form_pg_class form = (Form_pg_class) GETSTRUCT(row);

	form->relam = HEAP_TABLE_AM_OID;
	heap_inplace_update(pg_class, row);
	add_toast_table(form->oid);
	(void) changeDependencyFor(RelationRelationId, form->oid, AccessMethodRelationId, concord_table_am_oid(),
							   HEAP_TABLE_AM_OID);
}

/* The table that a transient one is made for, InvalidOid if the name is none of a transient table. */
static Oid
rewritten_table(const char *name)
{
	Size		prefix_size = strlen(TRANSIENT_PREFIX);
	char	   *end;
	unsigned long relid;

	if (strncmp(name, TRANSIENT_PREFIX, prefix_size) != 0)
		return InvalidOid;
	relid = strtoul(name + prefix_size, &end, 10);
	return *end == '\0' ? (Oid) relid : InvalidOid;
}

static void
change_index(Relation pg_class, Oid indexid, bool to_ours)
{
	HeapTuple	row = SearchSysCacheCopy1(RELOID, ObjectIdGetDatum(indexid));
	ObjectAddress index;
	ObjectAddress method;

	if (!HeapTupleIsValid(row))
		elog(ERROR, "cache lookup failed for index %u", indexid);
	((Form_pg_class) GETSTRUCT(row))->relam = to_ours ? concord_index_am_oid() : BTREE_AM_OID;
	CatalogTupleUpdate(pg_class, &row->t_self, row);
	ObjectAddressSet(index, RelationRelationId, indexid);
	ObjectAddressSet(method, AccessMethodRelationId, concord_index_am_oid());
	if (to_ours)
		recordDependencyOn(&index, &method, DEPENDENCY_NORMAL);
	else
		(void) deleteDependencyRecordsForSpecific(RelationRelationId, indexid, DEPENDENCY_NORMAL, AccessMethodRelationId,
												  concord_index_am_oid());
}

static List *
indexes_of(Oid relid)
{
	Relation	rel = RelationIdGetRelation(relid);
	List	   *indexes;

	if (!RelationIsValid(rel))
		return NIL;
	indexes = RelationGetIndexList(rel);
	RelationClose(rel);
	return indexes;
}

void
concord_transient_created(Relation pg_class, HeapTuple row, bool is_internal)
{
	Form_pg_class form = (Form_pg_class) GETSTRUCT(row);
	bool		to_ours = form->relam == concord_table_am_oid();
	Oid			old_relam;
	Oid			old_table;
	ListCell   *cell;

	if (to_ours && form->relpersistence == RELPERSISTENCE_TEMP)
	{
		become_heap(pg_class, row);
		return;
	}
	old_table = is_internal ? rewritten_table(NameStr(form->relname)) : InvalidOid;
	old_relam = OidIsValid(old_table) ? concord_relam(old_table) : InvalidOid;
	if (!OidIsValid(old_relam) || to_ours == (old_relam == concord_table_am_oid()))
		return;

	foreach(cell, indexes_of(old_table))
		change_index(pg_class, lfirst_oid(cell), to_ours);
	if (to_ours)
		CommandCounterIncrement();
	else
		add_toast_table(form->oid);
}

static void
refuse_index(Oid indexid, const char *relname)
{
	Relation	index = RelationIdGetRelation(indexid);
	bool		is_new;

	if (!RelationIsValid(index))
		return;
	/* A rollback to a savepoint would leave its relcache entry with the routines of the other access method. */
	is_new = index->rd_createSubid != InvalidSubTransactionId ||
		index->rd_firstRelfilenodeSubid != InvalidSubTransactionId;
	RelationClose(index);
	if (is_new)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot change the access method of table \"%s\" in the transaction that made its indexes", relname),
				 errhint("Commit first.")));
	if (concord_relam(indexid) != BTREE_AM_OID && concord_relam(indexid) != concord_index_am_oid())
		concord_refuse_index_method(get_am_name(concord_relam(indexid)));
}

void
concord_refuse_set_access_method(AlterTableStmt *stmt, Oid relid, const char *amname)
{
	bool		from_ours = concord_is_table_oid(relid);
	bool		to_ours = strcmp(amname, "concord") == 0;
	const char *relname;
	ListCell   *cell;

	if (!OidIsValid(relid) || from_ours == to_ours)
		return;
	relname = get_rel_name(relid);
	if (to_ours && get_rel_persistence(relid) != RELPERSISTENCE_PERMANENT)
		concord_refuse_unlogged(relname);
	if (list_length(stmt->cmds) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot change the access method of table \"%s\" together with other changes", relname),
				 errhint("Use two statements.")));
	foreach(cell, indexes_of(relid))
		refuse_index(lfirst_oid(cell), relname);
	concord_refuse_mixed_foreign_keys(relid, to_ours);
}
