/*
 * key_types.c
 *		Types that the keys of Concord indexes hold values of.
 *
 * An index's entries have the encoding that its columns' types had when they were made. Postgres keeps a type that a table
 * uses as it is, but for two things: ALTER TYPE ... ADD VALUE may number an enum's labels anew (enums.c), and a row type, of a
 * composite type or of a table, gets and loses attributes. One more attribute leaves encodings as they are
 * (indexam/compound.c), unless it makes them lossy, but the index may have lost its order. One less changes them. What changes
 * them is refused.
 */
#include "concord.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/nbtree.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "ddl/ddl.h"
#include "indexam/indexam.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

/* Is `sought` the type, or something that it consists of? */
static bool
consists_of(Oid type, Oid sought)
{
	Oid			base = getBaseType(type);
	Oid			part;
	TupleDesc	row;
	bool		found = false;

	check_stack_depth();
	if (base == sought)
		return true;
	if (OidIsValid(part = get_element_type(base)) || OidIsValid(part = get_range_subtype(base)) ||
		OidIsValid(part = get_multirange_range(base)))
		return consists_of(part, sought);
	if (get_typtype(base) != TYPTYPE_COMPOSITE)
		return false;
	row = lookup_rowtype_tupdesc_copy(base, -1);
	for (int i = 0; !found && i < row->natts; i++)
		found = !TupleDescAttr(row, i)->attisdropped && consists_of(TupleDescAttr(row, i)->atttypid, sought);
	FreeTupleDesc(row);
	return found;
}

static bool
has_key_of(Form_pg_index index, Oid type)
{
	for (int i = 1; i <= index->indnkeyatts; i++)
		if (consists_of(get_atttype(index->indexrelid, i), type))
			return true;
	return false;
}

List *
concord_indexes_of_type(Oid type)
{
	Relation	pg_index = table_open(IndexRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(pg_index, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	row;
	List	   *found = NIL;

	while (HeapTupleIsValid(row = systable_getnext(scan)))
	{
		Form_pg_index index = (Form_pg_index) GETSTRUCT(row);

		if (concord_relam(index->indexrelid) == concord_index_am_oid() && has_key_of(index, type))
			found = lappend_oid(found, index->indexrelid);
	}
	systable_endscan(scan);
	table_close(pg_index, AccessShareLock);
	return found;
}

static void
refuse_change(const char *change, Oid type, List *indexes)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot change the columns of type %s", format_type_be(type)),
			 errdetail("%s would change keys of index \"%s\" of access method concord_btree.", change,
					   get_rel_name(linitial_oid(indexes))),
			 errhint("Drop the Concord indexes on columns of the type, change it, and create them again.")));
}

/* Can values with the new attribute have the encoding that values without it have? */
static bool
is_encoded_alike(Oid relid, AttrNumber attnum)
{
	Relation	pg_attribute = table_open(AttributeRelationId, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	row;
	ConcordEncoder *encoder = NULL;
	Oid			refused;

	ScanKeyInit(&keys[0], Anum_pg_attribute_attrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	ScanKeyInit(&keys[1], Anum_pg_attribute_attnum, BTEqualStrategyNumber, F_INT2EQ, Int16GetDatum(attnum));
	scan = systable_beginscan(pg_attribute, AttributeRelidNumIndexId, true, SnapshotSelf, 2, keys);
	if (HeapTupleIsValid(row = systable_getnext(scan)))
		encoder = concord_encoder_create_default(((Form_pg_attribute) GETSTRUCT(row))->atttypid,
												 ((Form_pg_attribute) GETSTRUCT(row))->attcollation, &refused);
	systable_endscan(scan);
	table_close(pg_attribute, AccessShareLock);
	return encoder != NULL && !encoder->lossy;
}

void
concord_attribute_created(Oid relid, AttrNumber attnum)
{
	Oid			type = get_rel_type_id(relid);
	List	   *indexes = OidIsValid(type) ? concord_indexes_of_type(type) : NIL;
	ListCell   *cell;

	if (indexes != NIL && !is_encoded_alike(relid, attnum))
		refuse_change("A column of that type", type, indexes);
	/* What is known of the index, and plans that rely on its order. */
	foreach(cell, indexes)
	{
		HeapTuple	row = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(cell)));

		if (!HeapTupleIsValid(row))
			continue;
		CacheInvalidateRelcacheByRelid(lfirst_oid(cell));
		CacheInvalidateRelcacheByRelid(((Form_pg_index) GETSTRUCT(row))->indrelid);
		ReleaseSysCache(row);
	}
}

void
concord_attribute_dropped(Oid relid)
{
	Oid			type = get_rel_type_id(relid);
	List	   *indexes = OidIsValid(type) ? concord_indexes_of_type(type) : NIL;

	if (indexes != NIL)
		refuse_change("A column less", type, indexes);
}
