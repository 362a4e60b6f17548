/*
 * sharers.c
 *		Local intents in shared modes. See intent_table.h.
 *
 * Each backend has a small table of its own, in sets of a few ways that the hash chooses. Only its backend writes to it, under the
 * spinlock of the bucket that the hash belongs to; whoever holds that spinlock may read what the table has of the hash. So
 * of places that belong to other buckets and change meanwhile, a reader sees that they are not of its hash, and no more.
 */
#include "xact/intent_table.h"

#include "storage/shmem.h"

#include "stats/stats.h"

/* 512 shares for each backend, in 8 kB. */
#define SHARE_SETS 64
#define SHARE_WAYS 8
#define SHARES_OF_ONE (SHARE_SETS * SHARE_WAYS)

typedef struct Share
{
	volatile uint64 hash;		/* 0: free */
	ConcordHold hold;
} Share;

typedef struct Sharer
{
	LocalTransactionId lxid;	/* whose shares these are */
	Share		shares[SHARES_OF_ONE];
} Sharer;

static Sharer *sharers;			/* by pgprocno */
static volatile int *counts;	/* how many shares each has: close to each other, as most have none */

/* Places of this transaction's shares. */
static int	places[SHARES_OF_ONE];
static int	place_count = 0;

Size
concord_sharers_shmem_size(void)
{
	return mul_size(concord_stats_slots(), sizeof(Sharer) + sizeof(int));
}

void
concord_sharers_shmem_init(void)
{
	bool		found;

	sharers = ShmemInitStruct("concord sharers", concord_sharers_shmem_size(), &found);
	counts = (int *) (sharers + concord_stats_slots());
	if (!found)
		memset(sharers, 0, concord_sharers_shmem_size());
}

/* The bucket takes the lower bits. */
static Share *
share_set(Sharer *sharer, uint64 hash)
{
	return &sharer->shares[(hash >> 32) % SHARE_SETS * SHARE_WAYS];
}

/* What the sharer has of `wanted`, a hash of this set or 0, in the set of `hash`. */
static Share *
find_in_set(Sharer *sharer, uint64 hash, uint64 wanted)
{
	Share	   *set = share_set(sharer, hash);

	for (int i = 0; i < SHARE_WAYS; i++)
		if (set[i].hash == wanted)
			return &set[i];
	return NULL;
}

static Share *
find_share(Sharer *sharer, uint64 hash)
{
	return find_in_set(sharer, hash, hash);
}

static Share *
find_room(Sharer *sharer, uint64 hash)
{
	return find_in_set(sharer, hash, 0);
}

bool
concord_sharers_find(uint64 hash, CcLockMode mode, ConcordHolder *holder, SubTransactionId *sub)
{
	int			slots = concord_stats_slots();

	for (int i = 0; i < slots; i++)
	{
		Share	   *share;

		if (counts[i] == 0 || i == MyProc->pgprocno)
			continue;
		share = find_share(&sharers[i], hash);
		if (share == NULL || !concord_intents_conflict(mode, share->hold.mode))
			continue;
		*holder = (ConcordHolder) {i, ProcGlobal->allProcs[i].backendId, sharers[i].lxid};
		*sub = share->hold.sub;
		if (concord_holder_runs(holder))
			return true;
	}
	return false;
}

bool
concord_sharer_holds(uint64 hash)
{
	return place_count > 0 && find_share(&sharers[MyProc->pgprocno], hash) != NULL;
}

void
concord_sharer_take(ConcordIntentBucket *bucket, uint64 hash, CcLockMode mode, SubTransactionId sub)
{
	Sharer	   *mine = &sharers[MyProc->pgprocno];
	Share	   *share = find_share(mine, hash);
	bool		made = share == NULL;

	if (made)
	{
		share = find_room(mine, hash);
		if (share == NULL)
			return;
	}
	else if (share->hold.mode >= mode)
		return;
	concord_intent_note(true, (int) (share - mine->shares), made, &share->hold);
	if (made)
	{
		places[place_count++] = (int) (share - mine->shares);
		counts[MyProc->pgprocno] = place_count;
		mine->lxid = MyProc->lxid;
	}
	else
		bucket->shares[share->hold.mode]--;
	bucket->shares[mode]++;
	share->hold = (ConcordHold) {.sub = sub, .mode = mode};
	share->hash = hash;
}

/* Gives the newest of this transaction's shares back. */
static void
release_newest(void)
{
	Share	   *share = &sharers[MyProc->pgprocno].shares[places[place_count - 1]];
	ConcordIntentBucket *bucket = concord_intent_bucket(share->hash);

	SpinLockAcquire(&bucket->mutex);
	bucket->shares[share->hold.mode]--;
	share->hash = 0;
	counts[MyProc->pgprocno] = --place_count;
	SpinLockRelease(&bucket->mutex);
}

void
concord_sharers_release(void)
{
	while (place_count > 0)
		release_newest();
}

void
concord_sharer_pass(int place, SubTransactionId from, SubTransactionId to)
{
	Share	   *share = &sharers[MyProc->pgprocno].shares[place];
	ConcordIntentBucket *bucket = concord_intent_bucket(share->hash);

	SpinLockAcquire(&bucket->mutex);
	if (share->hold.sub == from)
		share->hold.sub = to;
	SpinLockRelease(&bucket->mutex);
}

void
concord_sharer_undo(int place, bool made, const ConcordHold *before)
{
	Share	   *share = &sharers[MyProc->pgprocno].shares[place];
	ConcordIntentBucket *bucket = concord_intent_bucket(share->hash);

	if (made)
	{
		/* Subtransactions are undone in reverse order, and so are their shares. */
		Assert(places[place_count - 1] == place);
		release_newest();
		return;
	}
	SpinLockAcquire(&bucket->mutex);
	bucket->shares[share->hold.mode]--;
	bucket->shares[before->mode]++;
	share->hold = *before;
	SpinLockRelease(&bucket->mutex);
}
