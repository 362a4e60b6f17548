/*
 * hash_indexes.c
 *		USING hash on a Concord table: an ordered index that serves what the hash index would.
 *
 * Postgres has made the index as one of hash's by the time flip.c sees it: with hash's operator classes, and with a column that
 * holds hash codes, integers. Both become what CREATE INDEX USING btree would have written. So they do when a heap table with a hash
 * index becomes ours.
 */
#include "concord.h"

#include "access/hash.h"
#include "access/htup_details.h"
#include "access/genam.h"
#include "access/heapam.h"
#include "access/nbtree.h"
#include "access/table.h"
#include "access/toast_compression.h"
#include "catalog/indexing.h"
#include "catalog/pg_am.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_opclass.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "ddl/ddl.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

static Oid
equality_of(Oid opclass, StrategyNumber strategy)
{
	Oid			type = get_opclass_input_type(opclass);

	return get_opfamily_member(get_opclass_family(opclass), type, type, strategy);
}

Oid
concord_btree_class_of_hash(Oid hash_class)
{
	HeapTuple	tuple = SearchSysCache1(CLAOID, ObjectIdGetDatum(hash_class));
	Form_pg_opclass form;
	Oid			type;
	Oid			found;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator class %u", hash_class);
	form = (Form_pg_opclass) GETSTRUCT(tuple);
	type = form->opcintype;
	found = GetSysCacheOid3(CLAAMNAMENSP, Anum_pg_opclass_oid, ObjectIdGetDatum(BTREE_AM_OID), NameGetDatum(&form->opcname),
							ObjectIdGetDatum(form->opcnamespace));
	if (!OidIsValid(found) || get_opclass_input_type(found) != type)
		found = GetDefaultOpClass(type, BTREE_AM_OID);
	if (!OidIsValid(found) || !OidIsValid(equality_of(found, BTEqualStrategyNumber)) ||
		equality_of(found, BTEqualStrategyNumber) != equality_of(hash_class, HTEqualStrategyNumber))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("operator class \"%s\" of access method hash has no counterpart of access method btree",
						NameStr(form->opcname)),
				 errdetail("On a Concord table, a hash index is made as an ordered one."),
				 errhint("Index an expression of a type with a btree operator class.")));
	ReleaseSysCache(tuple);
	return found;
}

/* What the column holds instead of hash codes. */
static void
set_type(Form_pg_attribute attribute, Oid typeid, int32 typmod)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(typeid));
	Form_pg_type type;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", typeid);
	type = (Form_pg_type) GETSTRUCT(tuple);
	attribute->atttypid = typeid;
	attribute->atttypmod = typmod;
	attribute->attlen = type->typlen;
	attribute->attbyval = type->typbyval;
	attribute->attalign = type->typalign;
	attribute->attstorage = type->typstorage;
	attribute->attcompression = InvalidCompressionMethod;
	ReleaseSysCache(tuple);
}

static HeapTuple
own_attribute(Relation pg_attribute, Oid indexid)
{
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	row;

	ScanKeyInit(&keys[0], Anum_pg_attribute_attrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(indexid));
	ScanKeyInit(&keys[1], Anum_pg_attribute_attnum, BTEqualStrategyNumber, F_INT2EQ, Int16GetDatum(1));
	scan = systable_beginscan(pg_attribute, AttributeRelidNumIndexId, true, SnapshotSelf, 2, keys);
	row = systable_getnext(scan);
	if (!HeapTupleIsValid(row))
		elog(ERROR, "could not find the pg_attribute row of index %u", indexid);
	row = heap_copytuple(row);
	systable_endscan(scan);
	return row;
}

void
concord_hash_column_to_btree(Oid indexid, Oid opclass, Oid type, int32 typmod, bool is_new)
{
	Relation	pg_attribute = table_open(AttributeRelationId, RowExclusiveLock);
	HeapTuple	row = own_attribute(pg_attribute, indexid);
	HeapTuple	class_row = SearchSysCache1(CLAOID, ObjectIdGetDatum(opclass));
	Oid			key_type;

	if (!HeapTupleIsValid(class_row))
		elog(ERROR, "cache lookup failed for operator class %u", opclass);
	key_type = ((Form_pg_opclass) GETSTRUCT(class_row))->opckeytype;
	ReleaseSysCache(class_row);
	if (OidIsValid(key_type) && key_type != type)
		set_type((Form_pg_attribute) GETSTRUCT(row), key_type, -1);
	else
		set_type((Form_pg_attribute) GETSTRUCT(row), type, typmod);
	if (is_new)
		heap_inplace_update(pg_attribute, row);
	else
		CatalogTupleUpdate(pg_attribute, &row->t_self, row);
	table_close(pg_attribute, RowExclusiveLock);
}
