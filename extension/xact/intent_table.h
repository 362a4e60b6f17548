/*
 * What the files of the local intents share: the table.
 *
 * Writers' intents, CC_NO_KEY_UPDATE and stronger, of which a key has one at a time, lie in a fixed array of buckets, each under a
 * spinlock that is held for a handful of comparisons. A key may stand in its bucket only. Of two transactions that race for one key,
 * the spinlock's second finds the first. Nothing is released at the end of a transaction: an entry whose transaction has ended
 * counts for nothing and is taken over.
 *
 * The hashes of a bucket fill one cache line. A load that may register no more looks at that line alone, without the lock: nobody
 * could find it in any case.
 *
 * Shares, CC_KEY_SHARE and CC_SHARE, of which a key may have as many as there are backends, would fill the bucket of a parent
 * with many children. So each backend keeps its own (sharers.c), and the bucket only counts them, by mode: who finds nothing counted
 * that would conflict, as an ordinary UPDATE does, looks no further. What a bucket's shares are changes under its spinlock
 * only. The counts are taken back at the end of the transaction.
 */
#ifndef CONCORD_XACT_INTENT_TABLE_H
#define CONCORD_XACT_INTENT_TABLE_H

#include "xact/intent.h"

#include "port/atomics.h"
#include "storage/proc.h"
#include "storage/spin.h"

/* Who holds a key. */
typedef struct ConcordHolder
{
	int			pgprocno;
	BackendId	backend;
	LocalTransactionId lxid;
} ConcordHolder;

/* What a subtransaction may make stronger, and give back. */
typedef struct ConcordHold
{
	SubTransactionId sub;		/* that it was taken in; InvalidSubTransactionId: it is held until the transaction ends */
	uint8		mode;			/* CcLockMode */
	bool		writes;			/* taken to write, not only to lock */
} ConcordHold;

typedef struct ConcordIntentEntry
{
	ConcordHolder holder;
	ConcordHold hold;
} ConcordIntentEntry;

/* 8,192 buckets of 8: 65,536 keys being written at once, in 2 MB. */
#define INTENT_BUCKETS 8192
#define INTENT_WAYS 8
#define INTENT_HASHES_BYTES (INTENT_WAYS * sizeof(uint64))

typedef struct ConcordIntentBucket
{
	pg_atomic_uint64 hashes[INTENT_WAYS];	/* 0: never used, or given back; changed under the lock only */
	ConcordIntentEntry ways[INTENT_WAYS];
	int			shares[2];		/* how many there are of CC_KEY_SHARE and CC_SHARE */
	slock_t		mutex;
	char		pad[23];
} ConcordIntentBucket;

StaticAssertDecl(sizeof(ConcordIntentBucket) % INTENT_HASHES_BYTES == 0,
				 "the hashes of each bucket are to begin a cache line");

extern ConcordIntentBucket *concord_intent_buckets;	/* aligned to cache lines, as all of ShmemInitStruct's */

static inline ConcordIntentBucket *
concord_intent_bucket(uint64 hash)
{
	return &concord_intent_buckets[hash % INTENT_BUCKETS];
}

/* core/lock_mode.h: a stronger mode conflicts with all that a weaker one does, and with itself from CC_NO_KEY_UPDATE on. */
static inline bool
concord_intents_conflict(CcLockMode a, CcLockMode b)
{
	return (int) a + (int) b >= CC_UPDATE;
}

/*
 * True if the holder's transaction runs. Read without a lock: PGPROCs are never freed, and of a running transaction the lxid
 * stood there before its intent did, which the bucket's spinlock has made known to us. So a running holder is never taken for a
 * dead one. One that has just ended may be taken for running; VirtualXactLock then returns at once, and as it takes locks,
 * the next look sees the end.
 */
static inline bool
concord_holder_runs(const ConcordHolder *holder)
{
	volatile PGPROC *proc = &ProcGlobal->allProcs[holder->pgprocno];

	return proc->backendId == holder->backend && proc->lxid == holder->lxid;
}

static inline bool
concord_holder_is_me(const ConcordHolder *holder)
{
	return holder->backend == MyBackendId && holder->lxid == MyProc->lxid;
}

/* ---- shares (sharers.c); all of it with the spinlock of the key's bucket held, unless it says otherwise ---- */
Size		concord_sharers_shmem_size(void);
void		concord_sharers_shmem_init(void);
/* A share of another running transaction that conflicts with `mode`. */
bool		concord_sharers_find(uint64 hash, CcLockMode mode, ConcordHolder *holder, SubTransactionId *sub);
/* Whether this transaction has a share of the key. */
bool		concord_sharer_holds(uint64 hash);
/* Adds this transaction's share, or makes it stronger; not registered if there is no room. */
void		concord_sharer_take(ConcordIntentBucket *bucket, uint64 hash, CcLockMode mode, SubTransactionId sub);
/* Without the spinlock: gives all of this transaction's shares back. */
void		concord_sharers_release(void);
/* Without the spinlock: what a subtransaction did to one of this transaction's shares becomes its parent's, or never was. */
void		concord_sharer_pass(int place, SubTransactionId from, SubTransactionId to);
void		concord_sharer_undo(int place, bool made, const ConcordHold *before);

/* ---- writers' intents (intent.c), without the spinlock: the same ---- */
void		concord_intent_pass(int place, SubTransactionId from, SubTransactionId to);
void		concord_intent_undo(int place, bool made, const ConcordHold *before);

/* ---- subtransactions (intent_sub.c) ---- */
/*
 * What the next intent is to name: the running subtransaction, whose lock is held from now on, or InvalidSubTransactionId. Makes room
 * for one concord_intent_note.
 */
SubTransactionId concord_intent_sub(void);
/* An intent or a share is about to be made, or made stronger, at a place. Raises nothing. */
void		concord_intent_note(bool share, int place, bool made, const ConcordHold *before);
/* The entry made last, at a place, has been given back. */
void		concord_intent_unnote(int place);
/* Waits for the end of the holder, or of its subtransaction. */
void		concord_holder_wait(const ConcordHolder *holder, SubTransactionId sub);
void		concord_intent_sub_xact_end(void);

#endif
