/*
 * Local intents: transactions of one server that lock or write a row, or take a unique key, wait for each other, as on heap,
 * and leave optimism to conflicts between servers.
 *
 * A key that a running transaction of this server has locked or is writing stands in a shared table with the transaction's
 * virtual id, in one of Postgres' four row lock modes. Who wants it in a mode that conflicts waits for that transaction to end
 * (VirtualXactLock, so Postgres' deadlock detector, lock_timeout and cancellation cover it), then looks at the newest version.
 * What was taken in a subtransaction names that, and is waited for by a lock of its own (intent_sub.c): a rollback to a savepoint
 * gives it back and wakes who waits, as on heap.
 *
 * Of those who wait for one row, the first to come is the first to go on: it holds Postgres' tuple lock while it waits.
 *
 * Correctness never rests on it. The tables are bounded; a key that finds no room is not registered, and the adjudicator
 * decides. concord.local_intents switches it off.
 */
#ifndef CONCORD_XACT_INTENT_H
#define CONCORD_XACT_INTENT_H

#include "concord.h"

#include "nodes/lockoptions.h"
#include "storage/lmgr.h"

typedef enum ConcordIntent
{
	CONCORD_INTENT_FREE,		/* nobody else held the key in a mode that conflicts */
	CONCORD_INTENT_WAITED,		/* somebody did and has ended: what was read before may be old */
	CONCORD_INTENT_BLOCKED		/* somebody does, and the policy is not to wait */
} ConcordIntent;

/* What is to be locked, and for what. */
typedef struct ConcordIntentKey
{
	uint64		prefix;
	const void *body;
	size_t		body_size;
	Relation	rel;			/* the table or the unique index */
	ItemPointerData tid;		/* of the row; of an index, the one that wants the key */
	XLTW_Oper	oper;			/* XLTW_Update, XLTW_Delete and XLTW_Lock: of a row, which is queued for */
} ConcordIntentKey;

/*
 * Waits until no other running transaction has an intent on the key that conflicts with `mode`, then registers this
 * transaction's. With LockWaitError and LockWaitSkip it does not wait but returns CONCORD_INTENT_BLOCKED. An index key is
 * taken in CC_UPDATE.
 */
ConcordIntent concord_intent_take(const ConcordIntentKey *key, CcLockMode mode, LockWaitPolicy policy);

/* Gives the key back if the last concord_intent_take was of it and it was not registered before: nothing came of it. */
void		concord_intent_give_back(const ConcordIntentKey *key);
/*
 * Whether another running transaction not only holds the key, but has taken it to write (XLTW_Update, XLTW_Delete); and waits
 * until none does.
 */
bool		concord_intent_has_writer(const ConcordIntentKey *key);
void		concord_intent_wait_for_writers(const ConcordIntentKey *key);

/* From the callbacks of xact.c. */
void		concord_intent_xact_end(void);
void		concord_intent_sub_commit(SubTransactionId sub, SubTransactionId parent);
void		concord_intent_sub_abort(SubTransactionId sub);

/* Shared memory; from the hooks of worker/shmem.c. */
Size		concord_intent_shmem_size(void);
void		concord_intent_shmem_init(void);

#endif
