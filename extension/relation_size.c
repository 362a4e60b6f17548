/*
 * relation_size.c
 *		concord.relation_size(regclass): what a table or index takes in the cluster.
 *
 * pg_relation_size looks at files, and sees only the metapage.
 */
#include "concord.h"

#include "access/relation.h"
#include "fmgr.h"

PG_FUNCTION_INFO_V1(concord_relation_bytes);

Datum
concord_relation_bytes(PG_FUNCTION_ARGS)
{
	Relation	rel = try_relation_open(PG_GETARG_OID(0), AccessShareLock);
	uint64		rows = 0;
	uint64		bytes = 0;

	if (rel == NULL)
		PG_RETURN_NULL();
	if (!concord_is_table(rel) && !concord_is_index(rel))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a Concord table or index", RelationGetRelationName(rel)),
				 errhint("Use pg_relation_size.")));
	(void) concord_newest_lsn();	/* the replica has applied what was committed before the call */
	concord_check(cc_replica_counters(concord_is_table(rel) ? concord_row_prefix(concord_storage_id(rel)) :
									  concord_entry_prefix(concord_storage_id(rel)), &rows, &bytes));
	relation_close(rel, AccessShareLock);
	PG_RETURN_INT64((int64) bytes);
}
