/*
 * Rows that an UPDATE has moved to another partition.
 *
 * Who meets such a row with an older snapshot must not take it for deleted, and go on without it: as on heap it is told that the
 * row has moved (40001). Storage knows a deletion only, so the rows that transactions of this server have moved last are
 * kept in shared memory. Rowids are never used again: a row that stands there and is gone has moved. The table is bounded, and
 * knows nothing of other servers; what it does not know of counts as deleted.
 */
#ifndef CONCORD_TABLEAM_MOVED_H
#define CONCORD_TABLEAM_MOVED_H

#include "tableam/tableam.h"

/* A row of a partition is being deleted: to be moved, or for good. */
void		concord_moved_note(const ConcordTarget *target, bool moved);
/* Whether a row that is gone has moved. */
bool		concord_moved_find(const ConcordTarget *target);

/* Shared memory; from the hooks of worker/shmem.c. */
Size		concord_moved_shmem_size(void);
void		concord_moved_shmem_init(void);

#endif
