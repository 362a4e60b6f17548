/*
 * Ids unique in the whole cluster: rowids and storage ids.
 *
 * A counter is a system key (core/key.h, SystemKey) that small transactions of their own advance; this server takes ids in
 * blocks and hands them out from shared memory (bridge/channel.h, cc_lease_*). Ids are never handed out twice; some are lost.
 */
#ifndef CONCORD_XACT_LEASE_H
#define CONCORD_XACT_LEASE_H

#include "concord.h"

#define CONCORD_ROWID_LEASE_NAME_SIZE 10	/* "rowid/", storage id */

/* The counter of a table's rowids. */
void		concord_rowid_lease_name(uint32 storage_id, char *name);

/*
 * First of `want` consecutive ids of a counter. lease_key names it in shared memory: the storage id for rowids (which begin
 * at 0), 0 for storage ids (which begin at 1). Does not depend on the running transaction, nor is undone with it.
 */
uint64		concord_lease(uint32 lease_key, const void *name, size_t name_size, uint64 want);

#endif
