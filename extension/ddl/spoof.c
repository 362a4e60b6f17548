/*
 * spoof.c
 *		Showing our indexes as btree's where Postgres insists on btree's OID.
 *
 * ON CONFLICT, ADD CONSTRAINT USING INDEX, ATTACH PARTITION and REFRESH CONCURRENTLY compare pg_class.relam of an index, in
 * the relcache, with btree's OID. For the time of such a statement the relcache entry of our indexes says btree. Nothing else
 * changes: the access method's routines stay ours, and so does the catalog. An index that is attached to a partitioned hash
 * index shows hash's OID, and the operator family of its only column as hash's.
 *
 * Invariants:
 * - A spoofed entry is pinned by the level that spoofed it, so the pointer is good as long as the level is there. The pin
 *   belongs to the resource owner that was current; a level ends in PG_FINALLY, before any owner is released. So a spoof
 *   never outlives its statement, and levels end in the reverse order of their beginning.
 * - A reload of a pinned entry undoes the spoof; the relcache callback, which runs after it, does it again.
 * - Nothing is planned with a spoof in force: the planner would read the metapage as a btree's. Planning suspends them all.
 * - A pin would keep an index from being dropped; OAT_DROP gives it back first.
 * Should a spoof be lost all the same, the statement fails with Postgres' own error and nothing is harmed.
 */
#include "concord.h"

#include "access/table.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "ddl/ddl.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/relcache.h"
#include "utils/resowner.h"
#include "utils/syscache.h"

typedef struct SpoofedIndex
{
	Relation	index;			/* NULL: given back */
	ResourceOwner owner;		/* of the pin */
	Oid			relam;			/* what it really is */
	Oid			family;
	Oid			shown_relam;
	Oid			shown_family;	/* of the only column, InvalidOid: nothing else is shown */
} SpoofedIndex;

struct ConcordSpoof
{
	ConcordSpoof *outer;
	SpoofedIndex *indexes;
	int			count;
	int			capacity;
	Oid			table;			/* whose indexes of these names get a constraint */
	List	   *names;
};

static ConcordSpoof *innermost = NULL;
static int	suspended = 0;

ConcordSpoof *
concord_spoof_begin(void)
{
	ConcordSpoof *spoof = MemoryContextAllocZero(TopMemoryContext, sizeof(ConcordSpoof));

	spoof->outer = innermost;
	innermost = spoof;
	return spoof;
}

static void
set_looks(SpoofedIndex *entry, bool spoofed)
{
	entry->index->rd_rel->relam = spoofed ? entry->shown_relam : entry->relam;
	if (OidIsValid(entry->shown_family))
		entry->index->rd_opfamily[0] = spoofed ? entry->shown_family : entry->family;
}

static void
show(Oid relid, bool spoofed)
{
	for (ConcordSpoof *spoof = innermost; spoof != NULL; spoof = spoof->outer)
		for (int i = 0; i < spoof->count; i++)
		{
			SpoofedIndex *entry = &spoof->indexes[i];

			if (entry->index != NULL && (!OidIsValid(relid) || RelationGetRelid(entry->index) == relid))
				set_looks(entry, spoofed);
		}
}

static void
spoof_index(ConcordSpoof *spoof, Oid indexid, bool unique_only, Oid shown_relam, Oid shown_family)
{
	Relation	index;

	if (spoof->count == spoof->capacity)
	{
		int			capacity = Max(8, spoof->capacity * 2);
		Size		size = capacity * sizeof(SpoofedIndex);

		spoof->indexes = spoof->indexes == NULL ? MemoryContextAlloc(TopMemoryContext, size) : repalloc(spoof->indexes, size);
		spoof->capacity = capacity;
	}
	index = RelationIdGetRelation(indexid);
	if (!RelationIsValid(index))
		return;
	if (!concord_is_index(index) || (unique_only && !index->rd_index->indisunique))
	{
		RelationClose(index);
		return;
	}
	spoof->indexes[spoof->count] = (SpoofedIndex)
	{
		index, CurrentResourceOwner, concord_index_am_oid(), index->rd_opfamily[0], shown_relam, shown_family
	};
	if (suspended == 0)
		set_looks(&spoof->indexes[spoof->count], true);
	spoof->count++;
}

void
concord_spoof_index(ConcordSpoof *spoof, Oid indexid)
{
	spoof_index(spoof, indexid, false, BTREE_AM_OID, InvalidOid);
}

/* The operator class of a partitioned hash index's only column; InvalidOid if it is no hash index. */
static Oid
hash_class_of(Oid indexid)
{
	HeapTuple	tuple;
	Oid			opclass;
	bool		isnull;

	if (get_rel_relkind(indexid) != RELKIND_PARTITIONED_INDEX || concord_relam(indexid) != HASH_AM_OID)
		return InvalidOid;
	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(indexid));
	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	opclass = ((oidvector *) DatumGetPointer(SysCacheGetAttr(INDEXRELID, tuple, Anum_pg_index_indclass, &isnull)))->values[0];
	ReleaseSysCache(tuple);
	return opclass;
}

void
concord_spoof_attached_index(ConcordSpoof *spoof, Oid indexid, Oid parentid)
{
	Oid			hash_class = hash_class_of(parentid);
	Relation	index = OidIsValid(hash_class) ? RelationIdGetRelation(indexid) : NULL;
	bool		matches = false;

	if (RelationIsValid(index))
	{
		matches = concord_is_index(index) && index->rd_index->indnkeyatts == 1 &&
			index->rd_opfamily[0] == get_opclass_family(concord_btree_class_of_hash(hash_class));
		RelationClose(index);
	}
	if (matches)
		spoof_index(spoof, indexid, false, HASH_AM_OID, get_opclass_family(hash_class));
	else
		concord_spoof_index(spoof, indexid);
}

void
concord_spoof_table(ConcordSpoof *spoof, Oid relid, bool unique_only)
{
	Relation	rel;
	List	   *indexes;
	ListCell   *cell;

	if (!concord_is_table_oid(relid))
		return;
	rel = RelationIdGetRelation(relid);
	if (!RelationIsValid(rel))
		return;
	indexes = RelationGetIndexList(rel);
	RelationClose(rel);
	foreach(cell, indexes)
		spoof_index(spoof, lfirst_oid(cell), unique_only, BTREE_AM_OID, InvalidOid);
	list_free(indexes);
}

void
concord_spoof_tree(ConcordSpoof *spoof, Oid relid, LOCKMODE lockmode, bool unique_only)
{
	ListCell   *cell;

	foreach(cell, find_all_inheritors(relid, lockmode, NULL))
		concord_spoof_table(spoof, lfirst_oid(cell), unique_only);
}

/* Lets go of an entry; the same index may be spoofed by another level too. */
static void
release(SpoofedIndex *entry)
{
	Relation	index = entry->index;
	Oid			indexid = RelationGetRelid(index);
	ResourceOwner current = CurrentResourceOwner;

	set_looks(entry, false);
	entry->index = NULL;
	CurrentResourceOwner = entry->owner;
	RelationClose(index);
	CurrentResourceOwner = current;
	if (suspended == 0)
		show(indexid, true);
}

void
concord_spoof_end(ConcordSpoof *spoof)
{
	if (spoof == NULL)
		return;
	Assert(innermost == spoof);
	innermost = spoof->outer;
	for (int i = 0; i < spoof->count; i++)
		if (spoof->indexes[i].index != NULL)
			release(&spoof->indexes[i]);
	if (spoof->indexes != NULL)
		pfree(spoof->indexes);
	list_free_deep(spoof->names);
	pfree(spoof);
}

void
concord_spoof_forget(Oid indexid)
{
	for (ConcordSpoof *spoof = innermost; spoof != NULL; spoof = spoof->outer)
		for (int i = 0; i < spoof->count; i++)
			if (spoof->indexes[i].index != NULL && RelationGetRelid(spoof->indexes[i].index) == indexid)
				release(&spoof->indexes[i]);
}

void
concord_spoof_suspend(void)
{
	if (suspended++ == 0)
		show(InvalidOid, false);
}

void
concord_spoof_resume(void)
{
	Assert(suspended > 0);
	if (--suspended == 0)
		show(InvalidOid, true);
}

bool
concord_spoof_any(void)
{
	return innermost != NULL;
}

/*
 * ADD CONSTRAINT USING INDEX in one ALTER TABLE with ALTER TYPE or a rewrite: the index is made anew first, and after the constraint has been
 * made it may be built anew, when a pin would count as somebody's use.
 */
void
concord_spoof_until_constraint(ConcordSpoof *spoof, Oid relid, const char *name)
{
	MemoryContext before = MemoryContextSwitchTo(TopMemoryContext);

	spoof->table = relid;
	spoof->names = lappend(spoof->names, pstrdup(name));
	MemoryContextSwitchTo(before);
}

void
concord_spoof_index_created(Oid indexid, Oid relid, const char *name)
{
	for (ConcordSpoof *spoof = innermost; spoof != NULL; spoof = spoof->outer)
	{
		ListCell   *cell;

		foreach(cell, spoof->table == relid ? spoof->names : NIL)
			if (strcmp(lfirst(cell), name) == 0)
				concord_spoof_index(spoof, indexid);
	}
}

void
concord_spoof_constraint_created(Oid constraintid)
{
	Relation	catalog;
	HeapTuple	row;

	if (innermost == NULL || innermost->names == NIL)
		return;
	catalog = table_open(ConstraintRelationId, AccessShareLock);
	row = concord_own_row(catalog, ConstraintOidIndexId, Anum_pg_constraint_oid, constraintid);
	if (HeapTupleIsValid(row) && ((Form_pg_constraint) GETSTRUCT(row))->conrelid == innermost->table)
		concord_spoof_forget(((Form_pg_constraint) GETSTRUCT(row))->conindid);
	table_close(catalog, AccessShareLock);
}

static void
relcache_invalidated(Datum arg, Oid relid)
{
	if (innermost != NULL && suspended == 0)
		show(relid, true);
}

void
concord_spoof_init(void)
{
	CacheRegisterRelcacheCallback(relcache_invalidated, (Datum) 0);
}
