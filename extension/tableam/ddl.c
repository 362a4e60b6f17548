/*
 * ddl.c
 *		Storage of a table as DDL sees it. What stands in the file is ddl/storage_map.h's business.
 */
#include "tableam/tableam.h"

#include "access/multixact.h"
#include "access/tableam.h"
#include "utils/snapmgr.h"

void
concord_relation_set_new_filenode(Relation rel, const RelFileNode *node, char persistence, TransactionId *freeze_xid,
								  MultiXactId *minmulti)
{
	/* ddl/access_method_change.c makes it heap's before it is used. */
	if (persistence == RELPERSISTENCE_TEMP)
	{
		GetHeapamTableAmRoutine()->relation_set_new_filenode(rel, node, persistence, freeze_xid, minmulti);
		return;
	}
	/* Rows carry no transaction ids. But the table is to have an age, as people and tools look at it; VACUUM moves it on. */
	*freeze_xid = RecentXmin;
	*minmulti = GetOldestMultiXactId();
	(void) concord_storage_create(*node, persistence, true);
}

void
concord_relation_nontransactional_truncate(Relation rel)
{
	uint32		old_storage_id = concord_storage_id(rel);

	/* A chunk under construction would otherwise write to the old storage after it has been dropped. */
	concord_bulk_flush();
	cc_ws_forget(concord_row_prefix(old_storage_id));
	cc_lease_forget(concord_channel, old_storage_id);
	(void) concord_storage_create(rel->rd_node, rel->rd_rel->relpersistence, false);
}

void
concord_relation_copy_data(Relation rel, const RelFileNode *node)
{
	/* Rows do not lie in tablespaces. */
	concord_storage_move(rel, *node);
}
