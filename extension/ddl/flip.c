/*
 * flip.c
 *		Every index of a Concord table is a Concord index.
 *
 * Postgres makes btree indexes of its own accord in many places (constraints, partitions, LIKE, ALTER TYPE). All of them pass
 * one point: object_access_hook at the end of index_create's catalog work, before the build. There a btree on a table of ours
 * gets our access method; the operator classes stay btree's, so that everything which compares or depends on them goes on
 * working. What comes in under our own name (REINDEX CONCURRENTLY, the reparse of ALTER TYPE, EXCLUDE USING) gets btree's
 * operator classes for those copied only so that the name parses. A hash index becomes an ordered one (hash_indexes.c).
 *
 * The rows changed were inserted by the running command, so nobody else has seen them: they are overwritten in place.
 */
#include "concord.h"

#include "access/amapi.h"
#include "access/genam.h"
#include "access/heapam.h"
#include "access/nbtree.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_opclass.h"
#include "commands/defrem.h"
#include "ddl/ddl.h"
#include "indexam/indexam.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

static object_access_hook_type previous_hook = NULL;

HeapTuple
concord_own_row(Relation catalog, Oid index, AttrNumber attnum, Oid oid)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, attnum, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(oid));
	scan = systable_beginscan(catalog, index, true, SnapshotSelf, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		tuple = heap_copytuple(tuple);
	systable_endscan(scan);
	return tuple;
}

/* Is this a table that our index method is for? Raises for indexes that cannot be. */
static bool
wants_flip(Oid tableid, Oid relam)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(tableid));
	Form_pg_class form;
	bool		ours;
	char		relname[NAMEDATALEN];

	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_class) GETSTRUCT(tuple);
	ours = form->relam == concord_table_am_oid();
	strlcpy(relname, NameStr(form->relname), NAMEDATALEN);
	ReleaseSysCache(tuple);

	if (!ours && relam == concord_index_am_oid())
		concord_refuse_index_on(relname);
	if (ours && relam != BTREE_AM_OID && relam != HASH_AM_OID && relam != concord_index_am_oid())
		concord_refuse_index_method(get_am_name(relam));
	return ours;
}

/* btree's operator class that one of hash's, or a copy under our access method, stands for; any other one is its own. */
static Oid
btree_opclass(Oid opclass)
{
	HeapTuple	tuple = SearchSysCache1(CLAOID, ObjectIdGetDatum(opclass));
	Form_pg_opclass form;
	Oid			found = opclass;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator class %u", opclass);
	form = (Form_pg_opclass) GETSTRUCT(tuple);
	if (form->opcmethod == HASH_AM_OID)
		found = concord_btree_class_of_hash(opclass);
	else if (form->opcmethod == concord_index_am_oid())
	{
		found = GetSysCacheOid3(CLAAMNAMENSP, Anum_pg_opclass_oid, ObjectIdGetDatum(BTREE_AM_OID),
								NameGetDatum(&form->opcname), ObjectIdGetDatum(form->opcnamespace));
		if (!OidIsValid(found))
			found = GetSysCacheOid3(CLAAMNAMENSP, Anum_pg_opclass_oid, ObjectIdGetDatum(BTREE_AM_OID),
									NameGetDatum(&form->opcname), ObjectIdGetDatum(PG_CATALOG_NAMESPACE));
		if (!OidIsValid(found))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("operator class \"%s\" of access method concord_btree has no counterpart of access method btree",
							NameStr(form->opcname)),
					 errhint("Create the operator class for btree and the index without USING.")));
	}
	ReleaseSysCache(tuple);
	return found;
}

/* Puts btree's operator classes into the pg_index row: in place if the index is new. */
static void
map_opclasses(Relation pg_index, HeapTuple row, Oid indexid, bool is_new)
{
	bool		isnull;
	bool		changed = false;
	Oid		   *copied;
	oidvector  *classes = (oidvector *) DatumGetPointer(heap_getattr(row, Anum_pg_index_indclass,
																	 RelationGetDescr(pg_index), &isnull));

	copied = palloc0(classes->dim1 * sizeof(Oid));
	for (int i = 0; i < classes->dim1; i++)
	{
		Oid			old = classes->values[i];

		if (!OidIsValid(old))
			continue;
		classes->values[i] = btree_opclass(old);
		if (classes->values[i] != old)
		{
			copied[i] = old;
			changed = true;
		}
	}
	if (!changed)
		return;
	if (is_new)
		heap_inplace_update(pg_index, row);
	else
		CatalogTupleUpdate(pg_index, &row->t_self, row);

	/* The dependencies were recorded by this command; to change them they must be seen. */
	CommandCounterIncrement();
	for (int i = 0; i < classes->dim1; i++)
	{
		bool		done = !OidIsValid(copied[i]);

		/* One dependency for all columns of a class; it cannot be changed twice in one command. */
		for (int j = 0; j < i; j++)
			done = done || copied[j] == copied[i];
		if (!done)
			(void) changeDependencyFor(RelationRelationId, indexid, OperatorClassRelationId, copied[i], classes->values[i]);
	}
}

void
concord_close_hash_entry(Relation index)
{
	Oid			indexid = RelationGetRelid(index);

	/* A reload keeps what is there; with nothing in it, the entry is made anew. */
	MemoryContextDelete(index->rd_indexcxt);
	index->rd_indexcxt = NULL;
	index->rd_indam = NULL;
	RelationClose(index);
	RelationCacheInvalidateEntry(indexid);
}

/*
 * Deferrable constraints count a command before the hook: the open relcache entry is a finished btree's or hash index's, or one
 * with copied operator classes, and a reload would keep all that.
 */
static void
correct_open_entry(Oid indexid, HeapTuple index_row, TupleDesc index_desc)
{
	Relation	index = RelationIdGetRelation(indexid);
	IndexAmRoutine *routine;
	oidvector  *classes;
	oidvector  *kept;
	bool		isnull;

	if (!RelationIsValid(index))
		return;
	if (index->rd_indexcxt == NULL)
	{
		RelationClose(index);
		return;
	}

	if (index->rd_indam->amsupport != BTNProcs)
	{
		concord_close_hash_entry(index);
		return;
	}

	routine = GetIndexAmRoutine(concord_index_handler_oid());
	index->rd_rel->relam = concord_index_am_oid();
	index->rd_amhandler = concord_index_handler_oid();
	memcpy(index->rd_indam, routine, sizeof(IndexAmRoutine));

	classes = (oidvector *) DatumGetPointer(heap_getattr(index_row, Anum_pg_index_indclass, index_desc, &isnull));
	kept = (oidvector *) DatumGetPointer(heap_getattr(index->rd_indextuple, Anum_pg_index_indclass, index_desc, &isnull));
	for (int i = 0; i < IndexRelationGetNumberOfKeyAttributes(index); i++)
	{
		Oid			family = get_opclass_family(classes->values[i]);
		Oid			type = get_opclass_input_type(classes->values[i]);

		kept->values[i] = classes->values[i];
		if (index->rd_opfamily[i] == family && index->rd_opcintype[i] == type)
			continue;
		index->rd_opfamily[i] = family;
		index->rd_opcintype[i] = type;
		for (int proc = 0; proc < routine->amsupport; proc++)
		{
			int			at = i * routine->amsupport + proc;

			index->rd_support[at] = get_opfamily_proc(family, type, type, proc + 1);
			memset(&index->rd_supportinfo[at], 0, sizeof(FmgrInfo));
		}
	}
	RelationClose(index);
}

/* The type of an index's key column: of the table's column, or of the expression. */
static Oid
key_type(Oid tableid, HeapTuple index_row, TupleDesc index_desc, int column, int32 *typmod)
{
	AttrNumber	attnum = ((Form_pg_index) GETSTRUCT(index_row))->indkey.values[column];
	int			expression = 0;
	bool		isnull;
	Datum		expressions;
	Node	   *key;
	Oid			type,
				collation;

	if (attnum != 0)
	{
		get_atttypetypmodcoll(tableid, attnum, &type, typmod, &collation);
		return type;
	}
	for (int i = 0; i < column; i++)
		if (((Form_pg_index) GETSTRUCT(index_row))->indkey.values[i] == 0)
			expression++;
	expressions = heap_getattr(index_row, Anum_pg_index_indexprs, index_desc, &isnull);
	Assert(!isnull);
	key = list_nth(stringToNode(TextDatumGetCString(expressions)), expression);
	*typmod = exprTypmod(key);
	return exprType(key);
}

/* Raises now what a build would raise: CREATE INDEX CONCURRENTLY would leave an invalid index behind. */
static void
check_columns(HeapTuple index_row, TupleDesc index_desc)
{
	Form_pg_index form = (Form_pg_index) GETSTRUCT(index_row);
	oidvector  *classes;
	oidvector  *collations;
	int32		typmod;
	bool		isnull;

	classes = (oidvector *) DatumGetPointer(heap_getattr(index_row, Anum_pg_index_indclass, index_desc, &isnull));
	collations = (oidvector *) DatumGetPointer(heap_getattr(index_row, Anum_pg_index_indcollation, index_desc, &isnull));
	for (int i = 0; i < form->indnkeyatts; i++)
		concord_index_check_column(form->indexrelid, key_type(form->indrelid, index_row, index_desc, i, &typmod),
								   btree_opclass(classes->values[i]), collations->values[i]);
}

static HeapTuple
own_index_row(Relation pg_index, Oid indexid)
{
	HeapTuple	index_row = concord_own_row(pg_index, IndexRelidIndexId, Anum_pg_index_indexrelid, indexid);

	if (!HeapTupleIsValid(index_row))
		elog(ERROR, "could not find the pg_index row of index %u", indexid);
	return index_row;
}

void
concord_check_index(Oid indexid)
{
	Relation	pg_index = table_open(IndexRelationId, AccessShareLock);
	HeapTuple	index_row = own_index_row(pg_index, indexid);

	check_columns(index_row, RelationGetDescr(pg_index));
	table_close(pg_index, AccessShareLock);
}

/* A hash index has one column, of hash codes. */
static void
unhash_column(HeapTuple index_row, TupleDesc index_desc, bool is_new)
{
	Form_pg_index form = (Form_pg_index) GETSTRUCT(index_row);
	int32		typmod;
	Oid			type = key_type(form->indrelid, index_row, index_desc, 0, &typmod);
	bool		isnull;
	oidvector  *classes = (oidvector *) DatumGetPointer(heap_getattr(index_row, Anum_pg_index_indclass, index_desc, &isnull));

	concord_hash_column_to_btree(form->indexrelid, btree_opclass(classes->values[0]), type, typmod, is_new);
}

void
concord_unhash_index(Oid indexid)
{
	Relation	pg_index = table_open(IndexRelationId, RowExclusiveLock);
	HeapTuple	index_row = own_index_row(pg_index, indexid);

	unhash_column(index_row, RelationGetDescr(pg_index), false);
	map_opclasses(pg_index, index_row, indexid, false);
	table_close(pg_index, RowExclusiveLock);
}

static void
flip_index(Relation pg_class, HeapTuple class_row)
{
	Form_pg_class form = (Form_pg_class) GETSTRUCT(class_row);
	Oid			indexid = form->oid;
	Relation	pg_index = table_open(IndexRelationId, RowExclusiveLock);
	TupleDesc	index_desc = RelationGetDescr(pg_index);
	HeapTuple	index_row = own_index_row(pg_index, indexid);

	if (wants_flip(((Form_pg_index) GETSTRUCT(index_row))->indrelid, form->relam))
	{
		ObjectAddress index;
		ObjectAddress method;

		Oid			relam = form->relam;

		check_columns(index_row, index_desc);
		if (relam == HASH_AM_OID)
			unhash_column(index_row, index_desc, true);
		if (relam != concord_index_am_oid())
		{
			form->relam = concord_index_am_oid();
			heap_inplace_update(pg_class, class_row);
		}
		if (relam != BTREE_AM_OID)
			map_opclasses(pg_index, index_row, indexid, true);
		correct_open_entry(indexid, index_row, index_desc);

		/* DROP EXTENSION must see the index. */
		ObjectAddressSet(index, RelationRelationId, indexid);
		ObjectAddressSet(method, AccessMethodRelationId, concord_index_am_oid());
		recordDependencyOn(&index, &method, DEPENDENCY_NORMAL);
		concord_spoof_index_created(indexid, ((Form_pg_index) GETSTRUCT(index_row))->indrelid, NameStr(form->relname));
	}
	table_close(pg_index, RowExclusiveLock);
}

/*
 * A partitioned index stays btree's or hash's: partitions of both kinds can be below it. But it can never be completed if a Concord
 * partition is there already that it is not for.
 */
static void
check_partitioned_index(HeapTuple class_row)
{
	Form_pg_class form = (Form_pg_class) GETSTRUCT(class_row);
	Relation	pg_index = table_open(IndexRelationId, AccessShareLock);
	HeapTuple	index_row = own_index_row(pg_index, form->oid);
	ListCell   *cell;

	foreach(cell, find_all_inheritors(((Form_pg_index) GETSTRUCT(index_row))->indrelid, NoLock, NULL))
		if (concord_is_table_oid(lfirst_oid(cell)))
		{
			if (form->relam != BTREE_AM_OID && form->relam != HASH_AM_OID)
				concord_refuse_index_method(get_am_name(form->relam));
			check_columns(index_row, RelationGetDescr(pg_index));
			break;
		}
	table_close(pg_index, AccessShareLock);
}

static void
relation_created(Oid relid, bool is_internal)
{
	Relation	pg_class = table_open(RelationRelationId, RowExclusiveLock);
	HeapTuple	row = concord_own_row(pg_class, ClassOidIndexId, Anum_pg_class_oid, relid);

	if (HeapTupleIsValid(row))
		switch (((Form_pg_class) GETSTRUCT(row))->relkind)
		{
			case RELKIND_INDEX:
				flip_index(pg_class, row);
				break;
			case RELKIND_PARTITIONED_INDEX:
				check_partitioned_index(row);
				break;
			case RELKIND_RELATION:
				concord_transient_created(pg_class, row, is_internal);
				break;
			default:
				break;
		}
	table_close(pg_class, RowExclusiveLock);
}

static void
attribute_changed(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id)
{
	if (class_id != RelationRelationId || (access != OAT_POST_CREATE && access != OAT_DROP) || !concord_ddl_active())
		return;
	if (access == OAT_POST_CREATE)
		concord_attribute_created(object_id, sub_id);
	else
		concord_attribute_dropped(object_id);
}

static void
relation_altered(Oid class_id, Oid relid, Oid auxiliary_id)
{
	if (class_id == InheritsRelationId)
		concord_refuse_published_parent(relid, auxiliary_id);
	else if (class_id == RelationRelationId)
		concord_refuse_published_schema(relid);
}

static void
concord_object_access(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id, void *arg)
{
	if (previous_hook)
		previous_hook(access, class_id, object_id, sub_id, arg);
	if (!IsNormalProcessingMode())
		return;
	if (sub_id != 0)
		attribute_changed(access, class_id, object_id, sub_id);
	else if (access == OAT_DROP && class_id == RelationRelationId)
		concord_spoof_forget(object_id);
	else if ((access != OAT_POST_CREATE && access != OAT_POST_ALTER) || !concord_ddl_active())
		return;
	else if (access == OAT_POST_ALTER)
		relation_altered(class_id, object_id, arg != NULL ? ((ObjectAccessPostAlter *) arg)->auxiliary_id : InvalidOid);
	else if (class_id == RelationRelationId)
		relation_created(object_id, arg != NULL && ((ObjectAccessPostCreate *) arg)->is_internal);
	else if (class_id == ConstraintRelationId)
	{
		concord_constraint_created(object_id);
		concord_spoof_constraint_created(object_id);
	}
}

void
concord_flip_init(void)
{
	previous_hook = object_access_hook;
	object_access_hook = concord_object_access;
}
