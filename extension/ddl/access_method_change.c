/*
 * access_method_change.c
 *		Tables that go from one access method to another.
 *
 * A rewrite (make_new_heap) fills a transient table "pg_temp_<OID of the old table>", whose file the old table then takes over.
 * object_access_hook sees the transient table before it is used, and there the kinds are put right:
 *
 * - REFRESH MATERIALIZED VIEW CONCURRENTLY makes a temporary one of the view's access method. Temporary tables are heap's: it
 *   becomes heap's. It never becomes the view's file.
 * - ALTER TABLE ... SET ACCESS METHOD makes one of the new access method. The indexes of the old table change with it, those that
 *   other changes of the same statement have just made included: they are built anew after the swap, by the access method that
 *   pg_class then names. Nothing uses them in between: the statement holds AccessExclusiveLock, and all its changes of the
 *   catalogs are done. What cannot be is refused here, too, before a row is copied.
 *
 * Postgres gives a transient table a TOAST table only if the old table has one; ours never do, so it is made here.
 */
#include "concord.h"

#include "access/amapi.h"
#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/nbtree.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/toasting.h"
#include "commands/defrem.h"
#include "ddl/ddl.h"
#include "utils/fmgroids.h"
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

/*
 * The relcache keeps an entry of an index that this transaction has made, and reloads all of it but its access method's routines. A
 * rollback to a savepoint would leave it with the wrong ones.
 */
static void
refuse_index_before_savepoint(Oid indexid, Oid relid)
{
	Relation	index = RelationIdGetRelation(indexid);
	SubTransactionId current = GetCurrentSubTransactionId();
	bool		made_here;

	if (!RelationIsValid(index))
		return;
	made_here = (index->rd_createSubid == InvalidSubTransactionId || index->rd_createSubid == current) &&
		(index->rd_firstRelfilenodeSubid == InvalidSubTransactionId || index->rd_firstRelfilenodeSubid == current);
	RelationClose(index);
	if (!made_here)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot change the access method of table \"%s\" after a savepoint that is younger than its indexes",
						get_rel_name(relid)),
				 errhint("Release the savepoint, or commit first.")));
}

static void
change_index(Relation pg_class, Oid indexid, bool to_ours)
{
	HeapTuple	row = SearchSysCacheCopy1(RELOID, ObjectIdGetDatum(indexid));
	Form_pg_class form;
	ObjectAddress index;
	ObjectAddress method;
	bool		is_hash;

	if (!HeapTupleIsValid(row))
		elog(ERROR, "cache lookup failed for index %u", indexid);
	form = (Form_pg_class) GETSTRUCT(row);
	is_hash = to_ours && form->relam == HASH_AM_OID;
	if (!is_hash && form->relam != (to_ours ? BTREE_AM_OID : concord_index_am_oid()))
		concord_refuse_index_method(get_am_name(form->relam));
	concord_spoof_forget(indexid);
	form->relam = to_ours ? concord_index_am_oid() : BTREE_AM_OID;
	CatalogTupleUpdate(pg_class, &row->t_self, row);
	ObjectAddressSet(index, RelationRelationId, indexid);
	ObjectAddressSet(method, AccessMethodRelationId, concord_index_am_oid());
	if (to_ours)
	{
		concord_check_index(indexid);
		if (is_hash)
			concord_unhash_index(indexid);
		recordDependencyOn(&index, &method, DEPENDENCY_NORMAL);
	}
	else
		(void) deleteDependencyRecordsForSpecific(RelationRelationId, indexid, DEPENDENCY_NORMAL, AccessMethodRelationId,
												  concord_index_am_oid());
}

/*
 * Of an entry that was reloaded and not made anew. Operator classes stay btree's, and with them all that hangs on them. Hash's go, and what
 * hangs on them.
 */
static void
change_open_entry(Oid indexid, bool to_ours)
{
	Relation	index = RelationIdGetRelation(indexid);
	Oid			handler = to_ours ? concord_index_handler_oid() : F_BTHANDLER;

	if (!RelationIsValid(index))
		return;
	if (index->rd_indam->amsupport != BTNProcs)
	{
		concord_close_hash_entry(index);
		return;
	}
	if (index->rd_amhandler != handler)
	{
		IndexAmRoutine *routine = GetIndexAmRoutine(handler);

		index->rd_amhandler = handler;
		memcpy(index->rd_indam, routine, sizeof(IndexAmRoutine));
		pfree(routine);
		if (index->rd_amcache != NULL)
			pfree(index->rd_amcache);
		index->rd_amcache = NULL;
	}
	RelationClose(index);
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
	Oid			old_table = is_internal ? rewritten_table(NameStr(form->relname)) : InvalidOid;
	Oid			old_relam = OidIsValid(old_table) ? concord_relam(old_table) : InvalidOid;
	bool		changes = OidIsValid(old_relam) && to_ours != (old_relam == concord_table_am_oid());
	List	   *indexes;
	ListCell   *cell;

	if (changes && to_ours && form->relpersistence != RELPERSISTENCE_PERMANENT)
		concord_refuse_unlogged(get_rel_name(old_table));
	if (to_ours && form->relpersistence == RELPERSISTENCE_TEMP)
		become_heap(pg_class, row);
	else if (to_ours && !OidIsValid(old_table))
		concord_published_table_created(form);
	/* Unlogged tables may reference tables of both kinds. */
	if (changes || (OidIsValid(old_relam) && form->relpersistence != get_rel_persistence(old_table)))
		concord_refuse_mixed_foreign_keys(old_table, to_ours, form->relpersistence);
	if (!changes)
		return;

	if (to_ours)
		concord_refuse_published_table(old_table);
	indexes = indexes_of(old_table);
	foreach(cell, indexes)
	{
		refuse_index_before_savepoint(lfirst_oid(cell), old_table);
		change_index(pg_class, lfirst_oid(cell), to_ours);
	}
	if (to_ours)
		CommandCounterIncrement();
	else
		add_toast_table(form->oid);
	foreach(cell, indexes)
		change_open_entry(lfirst_oid(cell), to_ours);
}
