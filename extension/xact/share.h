/*
 * What the workers of a parallel query are shown of the leader's transaction. See share.c.
 */
#ifndef CONCORD_SHARE_H
#define CONCORD_SHARE_H

#include "concord.h"

Size		concord_share_shmem_size(void);
void		concord_share_shmem_init(void);

/* Leader: false if what only this backend can see is too much to be copied for each parallel query. */
bool		concord_share_possible(void);
/* Leader, before a parallel query runs: shows workers what they need. False if the server has no segment or no memory left for it. */
bool		concord_share_begin(void);
void		concord_share_end(void);

/* Worker, before it reads: takes up what the leader shows. */
void		concord_share_take(void);

#endif
