/*
 * What an index looks like to the planner. Plans are to be those that btree would get, so btree's estimate is used, on the
 * size that btree would have.
 */
#include "indexam/indexam.h"

#include <math.h>

#include "access/nbtree.h"
#include "nodes/pathnodes.h"
#include "utils/index_selfuncs.h"

#define ENTRY_OVERHEAD 32		/* prefix, version, rowid twice */
#define BTREE_ITEM_OVERHEAD 12	/* line pointer, tuple header */
#define BTREE_FANOUT 256.0

void
concord_index_estimate(Relation index, BlockNumber *pages, double *tuples)
{
	uint64		entries = 0,
				bytes = 0,
				own_entries,
				own_bytes;
	uint64		prefix = concord_entry_prefix(concord_storage_id(index));

	concord_check(concord_open_replica());
	if (cc_replica_counters(prefix, &entries, &bytes) != CC_OK)
		entries = bytes = 0;
	cc_ws_added(prefix, &own_entries, &own_bytes);
	entries += own_entries;
	bytes += own_bytes;
	*tuples = (double) entries;
	/* One metapage, then leaves, then what is above them. An entry holds the columns twice, as key, which may be shortened, and as tuple. */
	*pages = 1;
	if (entries > 0)
	{
		double		both = Max((double) bytes / entries - ENTRY_OVERHEAD, 8);
		double		payload = Max(both / 2, both - CC_SHORTENED_COLUMNS);
		double		leaf = BLCKSZ * BTREE_DEFAULT_FILLFACTOR / 100.0;

		double		level = ceil(entries * (MAXALIGN((Size) payload) + BTREE_ITEM_OVERHEAD) / leaf);

		for (; level > 1; level = ceil(level / BTREE_FANOUT))
			*pages += (BlockNumber) level;
		*pages += 1;
	}
}

void
concord_amcostestimate(struct PlannerInfo *root, struct IndexPath *path, double loop_count, Cost *startup_cost,
					   Cost *total_cost, Selectivity *selectivity, double *correlation, double *pages)
{
	IndexOptInfo *index = path->indexinfo;
	bool	   *reverse_sort = index->reverse_sort;

	/* The planner knows these only of btree. */
	if (index->tree_height < 0)
		index->tree_height = index->pages > 2 ? (int) ceil(log(index->pages) / log(BTREE_FANOUT)) : 0;
	if (reverse_sort == NULL)
		index->reverse_sort = palloc0(index->nkeycolumns * sizeof(bool));
	btcostestimate(root, path, loop_count, startup_cost, total_cost, selectivity, correlation, pages);
	index->reverse_sort = reverse_sort;
}
