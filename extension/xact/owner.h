/*
 * Which storage ids this server has leased, and so may drop.
 *
 * Ids are the cluster's, and servers that share a sidecar know nothing of each other's tables: what no catalog of this server
 * uses may be another's. So the transaction that advances the counter of storage ids also writes who took them, as ranges
 * under system keys (docs/formats.md, "System keys"); blocks of one server that follow each other make one range.
 */
#ifndef CONCORD_XACT_OWNER_H
#define CONCORD_XACT_OWNER_H

#include "concord.h"

#define CONCORD_OWNER_KEY_SIZE 18	/* prefix, "owner/", first id */

typedef struct ConcordOwnerRecord
{
	uint64		server;			/* system identifier of the database cluster */
	uint64		end;			/* first id that is not in the range */
} ConcordOwnerRecord;

/*
 * The record to be written when this server takes `count` ids from `first` on, and its key; `lsn` is what the counter was read
 * at.
 */
void		concord_owner_extend(uint64 lsn, uint64 first, uint64 count, uint8 *key, ConcordOwnerRecord *record);

typedef struct ConcordIdRange
{
	uint64		first;
	uint64		end;
} ConcordIdRange;

/* The ranges of this server as of `lsn`, ascending; palloc'd. */
ConcordIdRange *concord_owner_ranges(uint64 lsn, int *count);

#endif
