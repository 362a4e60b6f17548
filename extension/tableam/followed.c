/*
 * followed.c
 *		Names of versions newer than the snapshot, which a lock has followed a row to.
 *
 * Heap's lock tells its caller by another TID that it has followed a row to a newer version. The executor goes on with that TID:
 * the write through it knows the version, and nothing else does. Another row of the join that comes to the same target by the old
 * TID has to be evaluated anew, too. Here a row keeps its TID, so such a version gets a TID of its own for the rest of the
 * transaction, from the end of the blocks of aliases.
 */
#include "tableam/tableam.h"

#include "utils/memutils.h"

#define FOLLOWED_BLOCK ((BlockNumber) 0xFFF00000)

/* In TopTransactionContext; the number of a version is its place. */
static ConcordFollowed *followed_versions = NULL;
static uint64 followed_count = 0;
static uint64 followed_room = 0;

static void
forget_followed(void *arg)
{
	followed_versions = NULL;
	followed_count = followed_room = 0;
}

static void
make_room(void)
{
	MemoryContextCallback *callback;

	if (followed_count < followed_room)
		return;
	if (followed_versions != NULL)
	{
		followed_versions = repalloc_huge(followed_versions, 2 * followed_room * sizeof(ConcordFollowed));
		followed_room *= 2;
		return;
	}
	callback = MemoryContextAllocZero(TopTransactionContext, sizeof(MemoryContextCallback));
	callback->func = forget_followed;
	followed_versions = MemoryContextAlloc(TopTransactionContext, 64 * sizeof(ConcordFollowed));
	followed_room = 64;
	MemoryContextRegisterResetCallback(TopTransactionContext, callback);
}

void
concord_followed_name(ItemPointer tid, const ConcordFollowed *followed)
{
	uint64		number;

	make_room();
	number = followed_count++;
	if (number / CONCORD_TIDS_PER_BLOCK >= InvalidBlockNumber - FOLLOWED_BLOCK)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the transaction has met too many rows that were changed since its statements began")));
	followed_versions[number] = *followed;
	ItemPointerSet(tid, FOLLOWED_BLOCK + (BlockNumber) (number / CONCORD_TIDS_PER_BLOCK),
				   (OffsetNumber) (number % CONCORD_TIDS_PER_BLOCK + 1));
}

const ConcordFollowed *
concord_followed_find(ItemPointer tid)
{
	BlockNumber block = ItemPointerGetBlockNumberNoCheck(tid);
	OffsetNumber offset = ItemPointerGetOffsetNumberNoCheck(tid);
	uint64		number;

	if (block < FOLLOWED_BLOCK || block == InvalidBlockNumber || offset < 1 || offset > CONCORD_TIDS_PER_BLOCK)
		return NULL;
	number = (uint64) (block - FOLLOWED_BLOCK) * CONCORD_TIDS_PER_BLOCK + (offset - 1);
	return number < followed_count ? &followed_versions[number] : NULL;
}
