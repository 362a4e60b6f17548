/*
 * intent.c
 *		Local intents; see intent.h.
 *
 * The table is a fixed array of buckets, each under a spinlock that is held for a handful of comparisons. A key may stand in its
 * bucket only. Of two transactions that race for one key, the spinlock's second finds the first.
 */
#include "xact/intent.h"

#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "storage/spin.h"

#include "bridge/hash.h"
#include "stats/stats.h"

/* 8,192 buckets of 8: 65,536 keys being written at once, in 1.6 MB. */
#define INTENT_BUCKETS 8192
#define INTENT_WAYS 8

/* A load shall not drive out everybody else's: what one transaction registers, an eighth of them. */
#define INTENTS_OF_ONE 8192

typedef struct Intent
{
	uint64		hash;			/* 0: never used */
	int			pgprocno;
	BackendId	backend;
	LocalTransactionId lxid;
	CcLockMode	mode;
} Intent;

typedef struct Bucket
{
	slock_t		mutex;
	Intent		ways[INTENT_WAYS];
} Bucket;

static Bucket *buckets = NULL;

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
		SpinLockInit(&buckets[i].mutex);
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

/* A place for a new intent: one never used, else one whose owner has ended. NULL if there is none. */
static Intent *
find_room(Bucket *bucket)
{
	for (int i = 0; i < INTENT_WAYS; i++)
		if (bucket->ways[i].hash == 0)
			return &bucket->ways[i];
	for (int i = 0; i < INTENT_WAYS; i++)
		if (!is_running(&bucket->ways[i]))
			return &bucket->ways[i];
	return NULL;
}

/*
 * One look at the bucket. Returns false, and who stands in the way, or true: registered if the mode is a writer's and there is
 * room.
 */
static bool
try_take(Bucket *bucket, uint64 hash, CcLockMode mode, Intent *owner)
{
	Intent	   *place = NULL;	/* of this key: mine, or one whose owner has ended */
	bool		free = true;

	SpinLockAcquire(&bucket->mutex);
	for (int i = 0; i < INTENT_WAYS && free; i++)
	{
		Intent	   *intent = &bucket->ways[i];

		if (intent->hash != hash)
			continue;
		if (is_mine(intent) || !is_running(intent))
		{
			if (place == NULL || is_mine(intent))
				place = intent;
		}
		else if (conflicts(mode, intent->mode))
		{
			*owner = *intent;
			free = false;
		}
	}
	if (free && mode >= CC_NO_KEY_UPDATE)
	{
		if (place == NULL && registered < INTENTS_OF_ONE && (place = find_room(bucket)) != NULL)
			registered++;
		if (place != NULL)
		{
			place->mode = place->hash == hash && is_mine(place) ? Max(place->mode, mode) : mode;
			place->hash = hash;
			place->pgprocno = MyProc->pgprocno;
			place->backend = MyBackendId;
			place->lxid = MyProc->lxid;
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
		Intent		owner;
		VirtualTransactionId vxid;

		if (try_take(bucket, hash, mode, &owner))
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
