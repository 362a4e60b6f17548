/*
 * Which storage ids running transactions of this server may have made.
 *
 * A storage that a running transaction has made is in no catalog that others can see. So each backend shows the lowest
 * storage id that its transaction has made, from before anything is written to it until the transaction has ended and the drops
 * it leaves are queued. Ids below the lowest mark were made by transactions that have ended: what catalogs say of them is
 * final (ddl/orphans.c).
 */
#ifndef CONCORD_DDL_CREATION_MARKS_H
#define CONCORD_DDL_CREATION_MARKS_H

#include "concord.h"

Size		concord_marks_shmem_size(void);
void		concord_marks_shmem_init(void);
/* The running transaction has got this id, and has not used it yet. */
void		concord_mark_created(uint32 storage_id);
/* The transaction has ended. */
void		concord_mark_clear(void);
/* The lowest mark of all backends; PG_UINT32_MAX if there is none. */
uint32		concord_lowest_mark(void);

#endif
