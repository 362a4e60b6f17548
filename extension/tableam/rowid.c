/*
 * rowid.c
 *		Fresh rowids, and the row behind a TID.
 *
 * Rowids are taken from blocks that this server leased from the cluster (xact/lease.h): inserters on many servers never
 * collide, and a rowid is never used twice. What a crash or an abort leaves of a block is lost; there are 1.2e12 a table.
 */
#include "tableam/tableam.h"

#include "xact/lease.h"

void
concord_rowid_lease_name(uint32 storage_id, char *name)
{
	uint32		be = pg_hton32(storage_id);

	memcpy(name, "rowid/", 6);
	memcpy(name + 6, &be, sizeof(be));
}

uint64
concord_take_rowids(uint32 storage_id, uint64 count)
{
	char		name[CONCORD_ROWID_LEASE_NAME_SIZE];
	uint64		first;

	concord_rowid_lease_name(storage_id, name);
	first = concord_lease(storage_id, name, sizeof(name), count);
	if (first + count > (uint64) CONCORD_ALIAS_BLOCK * CONCORD_TIDS_PER_BLOCK)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the table has no row identifiers left"),
				 errhint("Rewrite the table with VACUUM FULL.")));
	return first;
}

bool
concord_tid_rowid(ItemPointer tid, uint64 *rowid)
{
	uint64		number;
	uint64		prefix;
	bool		is_alias;
	CcOwn		own;
	const ConcordFollowed *followed = concord_followed_find(tid);

	if (followed != NULL)
	{
		*rowid = followed->rowid;
		return true;
	}
	if (!concord_tid_parse(tid, &number, &is_alias))
		return false;
	if (is_alias)
		return cc_ws_alias(number, &prefix, rowid, &own);
	*rowid = number;
	return true;
}
