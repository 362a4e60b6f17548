/*
 * intent.c
 *		Local intents; see intent.h.
 *
 * The table is a fixed array of buckets, each under a spinlock that is held for a handful of comparisons. A key may stand in its
 * bucket only. Of two transactions that race for one key, the spinlock's second finds the first.
 *
 * The hashes of a bucket fill one cache line. A load that may register no more looks at that line alone, without the lock: nobody
 * could find it in any case.
 */
#include "xact/intent.h"

#include "port/atomics.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "storage/spin.h"

#include "bridge/hash.h"
#include "stats/stats.h"

/* 8,192 buckets of 8: 65,536 keys being written at once, in 2.6 MB. */
#define INTENT_BUCKETS 8192
#define INTENT_WAYS 8
#define HASHES_BYTES (INTENT_WAYS * sizeof(uint64))

/* A load shall not drive out everybody else's: what one transaction registers, an eighth of them. */
#define INTENTS_OF_ONE 8192

typedef struct Intent
{
	int			pgprocno;
	BackendId	backend;
	LocalTransactionId lxid;
	CcLockMode	mode;
} Intent;

typedef struct Bucket
{
	pg_atomic_uint64 hashes[INTENT_WAYS];	/* 0: never used; changed under the lock only */
	Intent		ways[INTENT_WAYS];
	slock_t		mutex;
	char		pad[HASHES_BYTES - sizeof(slock_t)];
} Bucket;

StaticAssertDecl(sizeof(Bucket) % HASHES_BYTES == 0, "the hashes of each bucket are to begin a cache line");

static Bucket *buckets = NULL;	/* aligned to cache lines, as all of ShmemInitStruct's */

/* How many this transaction has registered. */
static LocalTransactionId counted_lxid = InvalidLocalTransactionId;
static int	registered = 0;

Size
concord_intent_shmem_size(void)
{
	return mul_size(INTENT_BUCKETS, sizeof(Bucket));
}

void
concord_intent_shmem_init(void)
{
	bool		found;

	buckets = ShmemInitStruct("concord intents", concord_intent_shmem_size(), &found);
	if (found)
		return;
	memset(buckets, 0, concord_intent_shmem_size());
	for (int i = 0; i < INTENT_BUCKETS; i++)
	{
		for (int way = 0; way < INTENT_WAYS; way++)
			pg_atomic_init_u64(&buckets[i].hashes[way], 0);
		SpinLockInit(&buckets[i].mutex);
	}
}

/* Postgres' conflict table of row locks, for an intent that is CC_NO_KEY_UPDATE or stronger (core/lock_mode.h). */
static bool
conflicts(CcLockMode wanted, CcLockMode held)
{
	return wanted != CC_KEY_SHARE || held != CC_NO_KEY_UPDATE;
}

/*
 * True if the intent's transaction runs. Read without a lock: PGPROCs are never freed, and of a running transaction the lxid
 * stood there before its intent did, which the bucket's spinlock has made known to us. So a running owner is never taken for a
 * dead one. One that has just ended may be taken for running; VirtualXactLock then returns at once, and as it takes locks,
 * the next look sees the end.
 */
static bool
is_running(const Intent *intent)
{
	volatile PGPROC *proc = &ProcGlobal->allProcs[intent->pgprocno];

	return proc->backendId == intent->backend && proc->lxid == intent->lxid;
}

static bool
is_mine(const Intent *intent)
{
	return intent->backend == MyBackendId && intent->lxid == MyProc->lxid;
}

/* The first way with the hash from `from` on, or INTENT_WAYS. */
static int
find_hash(Bucket *bucket, uint64 hash, int from)
{
	while (from < INTENT_WAYS && pg_atomic_read_u64(&bucket->hashes[from]) != hash)
		from++;
	return from;
}

/* A place for a new intent: one never used, else one whose owner has ended. INTENT_WAYS if there is none. */
static int
find_room(Bucket *bucket)
{
	int			way = find_hash(bucket, 0, 0);

	if (way == INTENT_WAYS)
		for (way = 0; way < INTENT_WAYS && is_running(&bucket->ways[way]);)
			way++;
	return way;
}

/* True if there is nothing to find in the bucket, and nothing to be put there. */
static bool
is_settled(Bucket *bucket, uint64 hash, CcLockMode mode)
{
	return (mode < CC_NO_KEY_UPDATE || registered >= INTENTS_OF_ONE) && find_hash(bucket, hash, 0) == INTENT_WAYS;
}

/*
 * One look at the bucket. Returns false, and who stands in the way, or true: registered if the mode is a writer's and there is
 * room.
 */
static bool
try_take(Bucket *bucket, uint64 hash, CcLockMode mode, Intent *owner)
{
	int			place = INTENT_WAYS;	/* of this key: mine, or one whose owner has ended */
	bool		free = true;
	bool		registers = mode >= CC_NO_KEY_UPDATE;

	SpinLockAcquire(&bucket->mutex);
	for (int way = find_hash(bucket, hash, 0); way < INTENT_WAYS && free; way = find_hash(bucket, hash, way + 1))
	{
		Intent	   *intent = &bucket->ways[way];

		if (is_mine(intent) || !is_running(intent))
		{
			if (place == INTENT_WAYS || is_mine(intent))
				place = way;
		}
		else if (conflicts(mode, intent->mode))
		{
			*owner = *intent;
			free = false;
		}
	}
	if (free && registers)
	{
		bool		again = place < INTENT_WAYS && is_mine(&bucket->ways[place]);

		if (place == INTENT_WAYS && registered < INTENTS_OF_ONE && (place = find_room(bucket)) < INTENT_WAYS)
			registered++;
		if (place < INTENT_WAYS)
		{
			Intent	   *intent = &bucket->ways[place];

			pg_atomic_write_u64(&bucket->hashes[place], hash);
			intent->mode = again ? Max(intent->mode, mode) : mode;
			intent->pgprocno = MyProc->pgprocno;
			intent->backend = MyBackendId;
			intent->lxid = MyProc->lxid;
		}
	}
	SpinLockRelease(&bucket->mutex);
	return free;
}

ConcordIntent
concord_intent_take(uint64 prefix, const void *body, size_t body_size, CcLockMode mode, LockWaitPolicy policy)
{
	uint64		hash = cc_key_hash(prefix, body, body_size);
	Bucket	   *bucket = &buckets[hash % INTENT_BUCKETS];
	ConcordIntent result = CONCORD_INTENT_FREE;

	if (!concord_local_intents)
		return CONCORD_INTENT_FREE;
	hash = Max(hash, 1);
	if (counted_lxid != MyProc->lxid)
	{
		counted_lxid = MyProc->lxid;
		registered = 0;
	}
	for (;;)
	{
		Intent		owner = {.backend = InvalidBackendId};
		VirtualTransactionId vxid;

		if (is_settled(bucket, hash, mode) || try_take(bucket, hash, mode, &owner))
			return result;
		if (policy != LockWaitBlock)
			return CONCORD_INTENT_BLOCKED;
		vxid.backendId = owner.backend;
		vxid.localTransactionId = owner.lxid;
		concord_wait_begin(CONCORD_WAIT_INTENT, ProcGlobal->allProcs[owner.pgprocno].pid);
		(void) VirtualXactLock(vxid, true);
		concord_wait_end();
		result = CONCORD_INTENT_WAITED;
	}
}
