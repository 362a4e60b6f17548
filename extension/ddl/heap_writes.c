/*
 * heap_writes.c
 *		Which writes are to permanent tables of users that are not ours.
 *
 * Such a write and one to a Concord table cannot be made atomic, so a transaction may do only one of the two
 * (concord_note_heap_write raises). Catalogs and temporary tables do not count: the ones belong to DDL, the others to the
 * session. Nor do unlogged tables: what could keep one half is a crash, and that empties them. Foreign tables have a transaction of
 * their own.
 */
#include "concord.h"

#include "catalog/catalog.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "ddl/ddl.h"
#include "utils/relcache.h"

void
concord_note_if_heap(Relation rel)
{
	char		relkind = rel->rd_rel->relkind;

	if ((relkind == RELKIND_RELATION || relkind == RELKIND_MATVIEW) &&
		rel->rd_rel->relpersistence == RELPERSISTENCE_PERMANENT &&
		!IsSystemRelation(rel) && !concord_is_table(rel))
		concord_note_heap_write(RelationGetRelationName(rel));
}

void
concord_note_if_heap_oid(Oid relid)
{
	Relation	rel = OidIsValid(relid) ? RelationIdGetRelation(relid) : NULL;

	if (!RelationIsValid(rel))
		return;
	concord_note_if_heap(rel);
	RelationClose(rel);
}

void
concord_note_heap_tree(Oid relid)
{
	ListCell   *cell;

	if (OidIsValid(relid))
		foreach(cell, find_all_inheritors(relid, NoLock, NULL))
			concord_note_if_heap_oid(lfirst_oid(cell));
}
