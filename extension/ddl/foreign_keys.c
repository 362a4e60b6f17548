/*
 * foreign_keys.c
 *		Foreign keys connect Concord tables with Concord tables, and heap tables with heap tables.
 *
 * A foreign key between the two kinds could not hold: its check reads one kind while the row is written to the other, and the
 * two commit apart. Postgres makes a constraint for each partition too, but only of one side at a time, so a partitioned
 * table counts as all the kinds that are below it. concord.allow_mixed_writes lifts the rule, as it does for writes.
 *
 * An unlogged table is heap's and may reference tables of both kinds, as Postgres lets it reference logged ones: only a crash could
 * keep one half, and then the table is empty. Its rows commit a moment after the adjudicator has judged the locks on what they
 * reference, and in that moment only local intents keep it: about 500 rows that a transaction has locked FOR KEY SHARE, none with
 * concord.local_intents off. Another that is deleted just then leaves a row that references nothing.
 */
#include "concord.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_inherits.h"
#include "ddl/ddl.h"
#include "utils/lsyscache.h"

typedef struct Kinds
{
	bool		ours;
	bool		others;
} Kinds;

static void
add_kind(Kinds *kinds, Oid relid)
{
	if (concord_is_table_oid(relid))
		kinds->ours = true;
	else if (get_rel_relkind(relid) == RELKIND_RELATION)
		kinds->others = true;
}

static Kinds
kinds_of(Oid relid, bool references)
{
	Kinds		kinds = {false, false};
	List	   *relids = get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE ? find_all_inheritors(relid, NoLock, NULL)
		: list_make1_oid(relid);
	ListCell   *cell;

	foreach(cell, relids)
		if (!references || get_rel_persistence(lfirst_oid(cell)) != RELPERSISTENCE_UNLOGGED)
			add_kind(&kinds, lfirst_oid(cell));
	return kinds;
}

static void
refuse_if_mixed(Form_pg_constraint constraint, Kinds from, Kinds to)
{
	if (!(from.ours && to.others) && !(from.others && to.ours))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("foreign key \"%s\" cannot connect a Concord table with one of another access method",
					NameStr(constraint->conname)),
			 errdetail("Tables \"%s\" and \"%s\" commit apart, so the foreign key could not be enforced.",
					   get_rel_name(constraint->conrelid), get_rel_name(constraint->confrelid)),
			 errhint("Give both tables the same access method, or accept the risk with concord.allow_mixed_writes.")));
}

void
concord_constraint_created(Oid constraintid)
{
	Relation	catalog;
	HeapTuple	row;

	if (concord_allow_mixed_writes)
		return;
	catalog = table_open(ConstraintRelationId, AccessShareLock);
	row = concord_own_row(catalog, ConstraintOidIndexId, Anum_pg_constraint_oid, constraintid);
	if (HeapTupleIsValid(row))
	{
		Form_pg_constraint constraint = (Form_pg_constraint) GETSTRUCT(row);

		if (constraint->contype == CONSTRAINT_FOREIGN)
			refuse_if_mixed(constraint, kinds_of(constraint->conrelid, true),
							kinds_of(constraint->confrelid, false));
	}
	table_close(catalog, AccessShareLock);
}

void
concord_refuse_mixed_foreign_keys(Oid relid, bool will_be_ours, char will_persist)
{
	Kinds		new_kind = {.ours = will_be_ours, .others = !will_be_ours};
	Relation	catalog;
	SysScanDesc scan;
	HeapTuple	row;

	if (concord_allow_mixed_writes)
		return;
	catalog = table_open(ConstraintRelationId, AccessShareLock);
	scan = systable_beginscan(catalog, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(row = systable_getnext(scan)))
	{
		Form_pg_constraint constraint = (Form_pg_constraint) GETSTRUCT(row);

		if (constraint->contype != CONSTRAINT_FOREIGN || constraint->conrelid == constraint->confrelid)
			continue;
		if (constraint->conrelid == relid && will_persist != RELPERSISTENCE_UNLOGGED)
			refuse_if_mixed(constraint, new_kind, kinds_of(constraint->confrelid, false));
		else if (constraint->confrelid == relid)
			refuse_if_mixed(constraint, kinds_of(constraint->conrelid, true), new_kind);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
}
