/*
 * enums.c
 *		ALTER TYPE ... ADD VALUE may move labels that Concord indexes hold.
 *
 * Index keys hold a label's sort order, a float4. When no number is left between two labels, after two dozen insertions at one
 * place, Postgres numbers all labels of the type anew: no entry of any index would be found again. Then the same statement
 * builds the indexes anew, as REINDEX does: it waits for those who write the tables.
 */
#include "concord.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "ddl/ddl.h"
#include "nodes/makefuncs.h"
#include "parser/parse_type.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

typedef struct Label
{
	Oid			oid;
	float4		sort_order;
} Label;

struct ConcordEnumOrder
{
	List	   *indexes;		/* that depend on it */
	int			count;
	Label	   *labels;
};

/* The labels, by OID. */
static void
read_labels(Oid type, ConcordEnumOrder *order)
{
	Relation	pg_enum = table_open(EnumRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	row;
	int			capacity = 16;

	order->labels = palloc(capacity * sizeof(Label));
	ScanKeyInit(&key, Anum_pg_enum_enumtypid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(type));
	scan = systable_beginscan(pg_enum, EnumTypIdLabelIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(row = systable_getnext(scan)))
	{
		Form_pg_enum label = (Form_pg_enum) GETSTRUCT(row);

		if (order->count == capacity)
			order->labels = repalloc(order->labels, (capacity *= 2) * sizeof(Label));
		order->labels[order->count].oid = label->oid;
		order->labels[order->count++].sort_order = label->enumsortorder;
	}
	systable_endscan(scan);
	table_close(pg_enum, AccessShareLock);
}

ConcordEnumOrder *
concord_enum_order(AlterEnumStmt *stmt)
{
	ConcordEnumOrder *order;
	Oid			type;
	List	   *indexes;

	/* Renaming a label moves none; a label put at an end neither. */
	if (stmt->oldVal != NULL || stmt->newValNeighbor == NULL)
		return NULL;
	type = LookupTypeNameOid(NULL, makeTypeNameFromNameList(stmt->typeName), true);
	if (!OidIsValid(type) || (indexes = concord_indexes_of_type(type)) == NIL)
		return NULL;
	order = palloc0(sizeof(ConcordEnumOrder));
	order->indexes = indexes;
	read_labels(type, order);
	return order;
}

static bool
has_moved(const Label *label)
{
	HeapTuple	row = SearchSysCache1(ENUMOID, ObjectIdGetDatum(label->oid));
	bool		moved = !HeapTupleIsValid(row) || ((Form_pg_enum) GETSTRUCT(row))->enumsortorder != label->sort_order;

	if (HeapTupleIsValid(row))
		ReleaseSysCache(row);
	return moved;
}

void
concord_follow_enum_order(const ConcordEnumOrder *before)
{
	bool		moved = false;
	ListCell   *cell;

	CommandCounterIncrement();
	for (int i = 0; !moved && i < before->count; i++)
		moved = has_moved(&before->labels[i]);
	if (!moved)
		return;
	foreach(cell, before->indexes)
	{
		ReindexParams params = {0};

		reindex_index(lfirst_oid(cell), false, get_rel_persistence(lfirst_oid(cell)), &params);
		CommandCounterIncrement();
	}
}
