/*
 * Local intents: writers of one server wait for each other, as on heap, and leave optimism to conflicts between servers.
 *
 * A key being written by a running transaction of this server stands in a shared table with the transaction's virtual id. A
 * second writer waits for that transaction to end (VirtualXactLock, so Postgres' deadlock detector, lock_timeout and
 * cancellation cover it), then looks at the newest version. Nothing is released: an entry whose transaction has ended counts
 * for nothing and is taken over.
 *
 * Correctness never rests on it. The table is bounded; a key that finds no room is not registered, and the adjudicator
 * decides. concord.local_intents switches it off.
 */
#ifndef CONCORD_XACT_INTENT_H
#define CONCORD_XACT_INTENT_H

#include "concord.h"

#include "nodes/lockoptions.h"

typedef enum ConcordIntent
{
	CONCORD_INTENT_FREE,		/* nobody else writes the key now */
	CONCORD_INTENT_WAITED,		/* somebody did and has ended: what was read before may be old */
	CONCORD_INTENT_BLOCKED		/* somebody does, and the policy is not to wait */
} ConcordIntent;

/*
 * Waits until no other running transaction has an intent on the key that conflicts with `mode`, then registers this
 * transaction's if the mode is a writer's (CC_NO_KEY_UPDATE or stronger). With LockWaitError and LockWaitSkip it does not
 * wait but returns CONCORD_INTENT_BLOCKED.
 */
ConcordIntent concord_intent_take(uint64 prefix, const void *body, size_t body_size, CcLockMode mode,
								  LockWaitPolicy policy);

/* Shared memory; from the hooks of worker/shmem.c. */
Size		concord_intent_shmem_size(void);
void		concord_intent_shmem_init(void);

#endif
