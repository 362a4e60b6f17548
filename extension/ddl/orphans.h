/*
 * Storage of this server that no catalog of it uses: left behind by crashes, by DROP DATABASE, by drops that were lost.
 */
#ifndef CONCORD_DDL_ORPHANS_H
#define CONCORD_DDL_ORPHANS_H

#include "concord.h"

typedef struct ConcordOrphans
{
	uint32	   *ids;			/* ascending; palloc'd */
	int			count;
	int			undecided;		/* storages made since the oldest running transaction that has made any; not among the ids */
	uint32		lowest_mark;	/* of that transaction */
} ConcordOrphans;

/*
 * Looks at every database. Needs a transaction in a process that is connected to none and has PROC_AFFECTS_ALL_HORIZONS. Raises
 * rather than guess: an id in the result is in no catalog, and will be in none.
 */
ConcordOrphans concord_find_orphans(void);
/* Drops them in the cluster; returns when that is durable. */
void		concord_drop_orphans(const ConcordOrphans *orphans);

#endif
