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
#include "storage/sinvaladt.h"
#include "storage/spin.h"

#include "bridge/hash.h"

/* 8,192 buckets of 8: 65,536 keys being written at once, in 1.6 MB. */
#define INTENT_BUCKETS 8192
#define INTENT_WAYS 8

typedef struct Intent
{
	uint64		hash;			/* 0: never used */
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
 * True if the intent's transaction runs. PGPROCs are never freed; a stale answer is harmless either way: VirtualXactLock
 * returns at once for a transaction that has ended, and one that has just begun cannot be an older one.
 */
static bool
is_running(const Intent *intent)
{
	PGPROC	   *proc = BackendIdGetProc(intent->backend);

	return proc != NULL && proc->lxid == intent->lxid;
}

/*
 * One look at the bucket. Returns false, and who stands in the way, or true: registered if the mode is a writer's and there is
 * room. `dead` are owners known to have ended, whose entries count for nothing; they cannot be looked up under a spinlock.
 */
static bool
try_take(Bucket *bucket, uint64 hash, CcLockMode mode, const Intent *dead, int dead_count, Intent *owner)
{
	Intent	   *mine = NULL;
	Intent	   *room = NULL;
	bool		free = true;

	SpinLockAcquire(&bucket->mutex);
	for (int i = 0; i < INTENT_WAYS && free; i++)
	{
		Intent	   *intent = &bucket->ways[i];
		bool		is_dead = intent->hash == 0;

		for (int d = 0; d < dead_count && !is_dead; d++)
			is_dead = intent->backend == dead[d].backend && intent->lxid == dead[d].lxid;
		if (is_dead)
			room = intent;
		else if (intent->hash != hash)
			continue;
		else if (intent->backend == MyBackendId && intent->lxid == MyProc->lxid)
			mine = intent;
		else if (conflicts(mode, intent->mode))
		{
			*owner = *intent;
			free = false;
		}
	}
	if (free && mine != NULL)
		mine->mode = Max(mine->mode, mode);
	else if (free && mode >= CC_NO_KEY_UPDATE && room != NULL)
	{
		room->hash = hash;
		room->backend = MyBackendId;
		room->lxid = MyProc->lxid;
		room->mode = mode;
	}
	SpinLockRelease(&bucket->mutex);
	return free;
}

/* Owners in the bucket whose transactions have ended. Returns how many. */
static int
find_dead(Bucket *bucket, Intent *dead)
{
	Intent		ways[INTENT_WAYS];
	int			count = 0;

	SpinLockAcquire(&bucket->mutex);
	memcpy(ways, bucket->ways, sizeof(ways));
	SpinLockRelease(&bucket->mutex);
	for (int i = 0; i < INTENT_WAYS; i++)
	{
		bool		is_mine = ways[i].backend == MyBackendId && ways[i].lxid == MyProc->lxid;

		if (ways[i].hash != 0 && !is_mine && !is_running(&ways[i]))
			dead[count++] = ways[i];
	}
	return count;
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
	for (;;)
	{
		Intent		dead[INTENT_WAYS];
		Intent		owner;
		VirtualTransactionId vxid;

		if (try_take(bucket, hash, mode, dead, find_dead(bucket, dead), &owner))
			return result;
		if (policy != LockWaitBlock)
			return CONCORD_INTENT_BLOCKED;
		vxid.backendId = owner.backend;
		vxid.localTransactionId = owner.lxid;
		(void) VirtualXactLock(vxid, true);
		result = CONCORD_INTENT_WAITED;
	}
}
