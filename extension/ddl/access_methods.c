/*
 * access_methods.c
 *		The OIDs of our access methods in this database.
 *
 * Looked up once and kept until pg_am changes (CREATE or DROP EXTENSION, here or in another session). An access method that
 * merely has our name, with another handler, is not ours: then the extension counts as absent.
 */
#include "concord.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "ddl/storage_map.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/inval.h"
#include "utils/syscache.h"

extern Datum concord_tableam_handler(PG_FUNCTION_ARGS);
extern Datum concord_indexam_handler(PG_FUNCTION_ARGS);

static bool known = false;
static bool ever_found = false; /* in this session */
static uint64 changes = 0;		/* of pg_am, as far as this session has heard */
static Oid	table_am = InvalidOid;
static Oid	index_am = InvalidOid;
static Oid	index_handler = InvalidOid;

/* OID of the access method with this name, type and handler; InvalidOid if there is none. */
static Oid
find_access_method(const char *name, char type, PGFunction handler, Oid *handler_oid)
{
	HeapTuple	tuple = SearchSysCache1(AMNAME, CStringGetDatum(name));
	Oid			found = InvalidOid;

	*handler_oid = InvalidOid;
	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	if (((Form_pg_am) GETSTRUCT(tuple))->amtype == type)
	{
		FmgrInfo	finfo;

		fmgr_info(((Form_pg_am) GETSTRUCT(tuple))->amhandler, &finfo);
		if (finfo.fn_addr == handler)
		{
			found = ((Form_pg_am) GETSTRUCT(tuple))->oid;
			*handler_oid = ((Form_pg_am) GETSTRUCT(tuple))->amhandler;
		}
	}
	ReleaseSysCache(tuple);
	return found;
}

static void
look_up(void)
{
	Oid			ignored;
	uint64		seen;

	if (known || !IsTransactionState() || !OidIsValid(MyDatabaseId))
		return;
	do
	{
		seen = changes;			/* a look-up may itself take in an invalidation */
		table_am = find_access_method("concord", AMTYPE_TABLE, concord_tableam_handler, &ignored);
		index_am = find_access_method("concord_btree", AMTYPE_INDEX, concord_indexam_handler, &index_handler);
	} while (seen != changes);
	if (!OidIsValid(table_am) || !OidIsValid(index_am))
		table_am = index_am = index_handler = InvalidOid;
	ever_found = ever_found || OidIsValid(table_am);
	known = true;
}

Oid
concord_table_am_oid(void)
{
	look_up();
	return known ? table_am : InvalidOid;
}

Oid
concord_index_am_oid(void)
{
	look_up();
	return known ? index_am : InvalidOid;
}

Oid
concord_index_handler_oid(void)
{
	look_up();
	return known ? index_handler : InvalidOid;
}

bool
concord_ddl_active(void)
{
	return concord_enabled && OidIsValid(concord_table_am_oid());
}

bool
concord_ddl_was_active(void)
{
	look_up();
	return concord_enabled && ever_found;
}

bool
concord_is_table(Relation rel)
{
	return rel->rd_tableam != NULL && rel->rd_tableam == concord_table_routine();
}

/* By handler, not by relam: a spoofed index (spoof.c) is ours all the same. */
bool
concord_is_index(Relation rel)
{
	return rel->rd_rel->relkind == RELKIND_INDEX && OidIsValid(rel->rd_amhandler) &&
		rel->rd_amhandler == concord_index_handler_oid();
}

Oid
concord_relam(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			relam = InvalidOid;

	if (HeapTupleIsValid(tuple))
	{
		relam = ((Form_pg_class) GETSTRUCT(tuple))->relam;
		ReleaseSysCache(tuple);
	}
	return relam;
}

bool
concord_is_table_oid(Oid relid)
{
	return OidIsValid(relid) && OidIsValid(concord_table_am_oid()) && concord_relam(relid) == concord_table_am_oid();
}

static void
access_methods_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	known = false;
	changes++;
}

void
concord_access_methods_init(void)
{
	CacheRegisterSyscacheCallback(AMOID, access_methods_changed, (Datum) 0);
}
