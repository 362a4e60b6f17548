/*
 * intent.c
 *		Local intents: writers' entries, and waiting. See intent.h and intent_table.h.
 */
#include "xact/intent.h"

#include "storage/lock.h"
#include "storage/shmem.h"

#include "bridge/hash.h"
#include "stats/stats.h"
#include "xact/intent_table.h"

/* A load shall not drive out everybody else's: what one transaction registers, an eighth of them. */
#define INTENTS_OF_ONE 8192

ConcordIntentBucket *concord_intent_buckets = NULL;

static int	registered = 0;		/* by this transaction */
static int	last_made = -1;		/* place of the entry that the last concord_intent_take has made; -1: none */

Size
concord_intent_shmem_size(void)
{
	return add_size(mul_size(INTENT_BUCKETS, sizeof(ConcordIntentBucket)), concord_sharers_shmem_size());
}

void
concord_intent_shmem_init(void)
{
	Size		size = mul_size(INTENT_BUCKETS, sizeof(ConcordIntentBucket));
	bool		found;

	concord_sharers_shmem_init();
	concord_intent_buckets = ShmemInitStruct("concord intents", size, &found);
	if (found)
		return;
	memset(concord_intent_buckets, 0, size);
	for (int i = 0; i < INTENT_BUCKETS; i++)
	{
		for (int way = 0; way < INTENT_WAYS; way++)
			pg_atomic_init_u64(&concord_intent_buckets[i].hashes[way], 0);
		SpinLockInit(&concord_intent_buckets[i].mutex);
	}
}

static uint64
hash_of(const ConcordIntentKey *key)
{
	return Max(cc_key_hash(key->prefix, key->body, key->body_size), 1);
}

/* ---- one look ---- */

/* The first way with the hash from `from` on, or INTENT_WAYS. */
static int
find_hash(ConcordIntentBucket *bucket, uint64 hash, int from)
{
	while (from < INTENT_WAYS && pg_atomic_read_u64(&bucket->hashes[from]) != hash)
		from++;
	return from;
}

/* A place for a new entry: one never used, else one whose holder has ended. NULL if there is none. */
static ConcordIntentEntry *
find_room(ConcordIntentBucket *bucket)
{
	int			way = find_hash(bucket, 0, 0);

	if (way == INTENT_WAYS)
		for (way = 0; way < INTENT_WAYS && concord_holder_runs(&bucket->ways[way].holder);)
			way++;
	return way < INTENT_WAYS ? &bucket->ways[way] : NULL;
}

/* True if there is nothing to find in the bucket, and nothing to be put there. An index key is never shared. */
static bool
is_settled(ConcordIntentBucket *bucket, uint64 hash, CcLockMode mode, bool is_index_key)
{
	return registered >= INTENTS_OF_ONE && mode >= CC_NO_KEY_UPDATE && find_hash(bucket, hash, 0) == INTENT_WAYS &&
		(is_index_key || (bucket->shares[CC_KEY_SHARE] == 0 && bucket->shares[CC_SHARE] == 0));
}

static int
place_of(ConcordIntentBucket *bucket, ConcordIntentEntry *entry)
{
	return (int) ((bucket - concord_intent_buckets) * INTENT_WAYS + (entry - bucket->ways));
}

/* Registers a writer. `mine`: this transaction's entry, NULL if it has none; `ended`: one of the key that nobody holds any more. */
static void
register_writer(ConcordIntentBucket *bucket, uint64 hash, ConcordHold hold, ConcordIntentEntry *mine,
				ConcordIntentEntry *ended)
{
	if (mine != NULL)
	{
		if (mine->hold.mode >= hold.mode && mine->hold.writes >= hold.writes)
			return;
		concord_intent_note(false, place_of(bucket, mine), false, &mine->hold);
		mine->hold.mode = Max(mine->hold.mode, hold.mode);
		mine->hold.writes |= hold.writes;
		mine->hold.sub = hold.sub;
		return;
	}
	if (registered >= INTENTS_OF_ONE)
		return;
	mine = ended != NULL ? ended : find_room(bucket);
	if (mine == NULL)
		return;
	registered++;
	last_made = place_of(bucket, mine);
	pg_atomic_write_u64(&bucket->hashes[mine - bucket->ways], hash);
	mine->holder = (ConcordHolder) {MyProc->pgprocno, MyBackendId, MyProc->lxid};
	mine->hold = hold;
	concord_intent_note(false, last_made, true, &hold);
}

/*
 * One look at the bucket. Returns true if nobody stands in the way, and then has registered the intent if there is room; or
 * false, who does, and in *held whether this transaction holds the key in a weaker mode.
 */
static bool
try_take(ConcordIntentBucket *bucket, uint64 hash, ConcordHold hold, ConcordHolder *holder, SubTransactionId *holder_sub,
		 bool *held)
{
	CcLockMode	mode = hold.mode;
	ConcordIntentEntry *mine = NULL;
	ConcordIntentEntry *ended = NULL;
	bool		free = true;

	SpinLockAcquire(&bucket->mutex);
	for (int way = find_hash(bucket, hash, 0); way < INTENT_WAYS; way = find_hash(bucket, hash, way + 1))
	{
		ConcordIntentEntry *entry = &bucket->ways[way];

		if (concord_holder_is_me(&entry->holder))
			mine = entry;
		else if (!concord_holder_runs(&entry->holder))
			ended = entry;
		else if (free && concord_intents_conflict(mode, entry->hold.mode))
		{
			*holder = entry->holder;
			*holder_sub = entry->hold.sub;
			free = false;
		}
	}
	if (free && ((bucket->shares[CC_KEY_SHARE] > 0 && concord_intents_conflict(mode, CC_KEY_SHARE)) ||
				 (bucket->shares[CC_SHARE] > 0 && concord_intents_conflict(mode, CC_SHARE))))
		free = !concord_sharers_find(hash, mode, holder, holder_sub);

	if (!free)
		*held = mine != NULL || concord_sharer_holds(hash);
	else if (mode >= CC_NO_KEY_UPDATE)
		register_writer(bucket, hash, hold, mine, ended);
	else if (mine == NULL)
		concord_sharer_take(bucket, hash, mode, hold.sub);
	SpinLockRelease(&bucket->mutex);
	return free;
}

/* ---- waiting ---- */

/* As PostgreSQL's own, of XactLockTableWait. */
static void
wait_context(void *arg)
{
	const ConcordIntentKey *key = arg;
	const char *text;

	switch (key->oper)
	{
		case XLTW_Update:
			text = gettext_noop("while updating tuple (%u,%u) in relation \"%s\"");
			break;
		case XLTW_Delete:
			text = gettext_noop("while deleting tuple (%u,%u) in relation \"%s\"");
			break;
		case XLTW_Lock:
			text = gettext_noop("while locking tuple (%u,%u) in relation \"%s\"");
			break;
		case XLTW_RecheckExclusionConstr:
			text = gettext_noop("while rechecking exclusion constraint on tuple (%u,%u) in relation \"%s\"");
			break;
		case XLTW_InsertIndexUnique:
			text = gettext_noop("while checking uniqueness of tuple (%u,%u) in relation \"%s\"");
			break;
		case XLTW_InsertIndex:
			text = gettext_noop("while inserting index tuple (%u,%u) in relation \"%s\"");
			break;
		default:
			return;
	}
	errcontext(text, ItemPointerGetBlockNumberNoCheck(&key->tid), ItemPointerGetOffsetNumberNoCheck(&key->tid),
			   RelationGetRelationName(key->rel));
}

static void
wait_for(const ConcordIntentKey *key, const ConcordHolder *holder, SubTransactionId sub)
{
	ErrorContextCallback callback = {error_context_stack, wait_context, unconstify(ConcordIntentKey *, key)};

	error_context_stack = &callback;
	concord_wait_begin(CONCORD_WAIT_INTENT, ProcGlobal->allProcs[holder->pgprocno].pid);
	concord_holder_wait(holder, sub);
	concord_wait_end();
	error_context_stack = callback.previous;
}

/* The mode of the tuple lock in which those queue who want a row in `mode` (heapam.c, tupleLockExtraInfo). */
static LOCKMODE
queue_mode(CcLockMode mode)
{
	switch (mode)
	{
		case CC_KEY_SHARE:
			return AccessShareLock;
		case CC_SHARE:
			return RowShareLock;
		case CC_NO_KEY_UPDATE:
			return ExclusiveLock;
		default:
			return AccessExclusiveLock;
	}
}

ConcordIntent
concord_intent_take(const ConcordIntentKey *key, CcLockMode mode, LockWaitPolicy policy)
{
	uint64		hash = hash_of(key);
	ConcordIntentBucket *bucket = concord_intent_bucket(hash);
	ItemPointerData tid = key->tid;
	bool		queues = key->oper == XLTW_Update || key->oper == XLTW_Delete || key->oper == XLTW_Lock;
	bool		queued = false;
	ConcordIntent result = CONCORD_INTENT_FREE;
	ConcordHold hold = {.mode = mode, .writes = key->oper == XLTW_Update || key->oper == XLTW_Delete};
	ConcordHolder holder;
	SubTransactionId holder_sub;
	bool		held;

	last_made = -1;
	if (!concord_local_intents)
		return CONCORD_INTENT_FREE;
	hold.sub = concord_intent_sub();
	while (!is_settled(bucket, hash, mode, !queues) && !try_take(bucket, hash, hold, &holder, &holder_sub, &held))
	{
		if (policy != LockWaitBlock)
			return CONCORD_INTENT_BLOCKED;
		/* Who holds it already would wait in the queue for somebody who waits for him. */
		if (queues && !queued && !held)
		{
			LockTuple(key->rel, &tid, queue_mode(mode));
			queued = true;
		}
		wait_for(key, &holder, holder_sub);
		result = CONCORD_INTENT_WAITED;
	}
	if (queued)
		UnlockTuple(key->rel, &tid, queue_mode(mode));
	return result;
}

/* Another running transaction that has taken the key to write. */
static bool
find_writer(ConcordIntentBucket *bucket, uint64 hash, ConcordIntentEntry *found)
{
	bool		result = false;

	SpinLockAcquire(&bucket->mutex);
	for (int way = find_hash(bucket, hash, 0); way < INTENT_WAYS && !result; way = find_hash(bucket, hash, way + 1))
	{
		*found = bucket->ways[way];
		result = found->hold.writes && !concord_holder_is_me(&found->holder) && concord_holder_runs(&found->holder);
	}
	SpinLockRelease(&bucket->mutex);
	return result;
}

bool
concord_intent_has_writer(const ConcordIntentKey *key)
{
	uint64		hash = hash_of(key);
	ConcordIntentEntry writer;

	return concord_local_intents && find_writer(concord_intent_bucket(hash), hash, &writer);
}

void
concord_intent_wait_for_writers(const ConcordIntentKey *key)
{
	uint64		hash = hash_of(key);
	ConcordIntentEntry writer;

	while (find_writer(concord_intent_bucket(hash), hash, &writer))
		wait_for(key, &writer.holder, writer.hold.sub);
}

void
concord_intent_give_back(const ConcordIntentKey *key)
{
	if (last_made < 0 ||
		find_hash(&concord_intent_buckets[last_made / INTENT_WAYS], hash_of(key), last_made % INTENT_WAYS) !=
		last_made % INTENT_WAYS)
		return;
	concord_intent_unnote(last_made);
	concord_intent_undo(last_made, true, NULL);
	last_made = -1;
}

/* ---- ends of transactions and subtransactions ---- */

void
concord_intent_xact_end(void)
{
	registered = 0;
	last_made = -1;
	concord_sharers_release();
	concord_intent_sub_xact_end();
}

void
concord_intent_pass(int place, SubTransactionId from, SubTransactionId to)
{
	ConcordIntentBucket *bucket = &concord_intent_buckets[place / INTENT_WAYS];
	ConcordIntentEntry *entry = &bucket->ways[place % INTENT_WAYS];

	SpinLockAcquire(&bucket->mutex);
	if (entry->hold.sub == from)
		entry->hold.sub = to;
	SpinLockRelease(&bucket->mutex);
}

void
concord_intent_undo(int place, bool made, const ConcordHold *before)
{
	ConcordIntentBucket *bucket = &concord_intent_buckets[place / INTENT_WAYS];
	ConcordIntentEntry *entry = &bucket->ways[place % INTENT_WAYS];

	SpinLockAcquire(&bucket->mutex);
	if (made)
		pg_atomic_write_u64(&bucket->hashes[place % INTENT_WAYS], 0);
	else
		entry->hold = *before;
	SpinLockRelease(&bucket->mutex);
	if (made)
		registered--;
}
