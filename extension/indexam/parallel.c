/*
 * parallel.c
 *		Parallel index scans: participants take the entries of the scan's ranges piece by piece.
 *
 * The pieces of a range follow one another in the scan's direction, and each participant takes ascending ones, so that its entries
 * come in order. Where a piece ends is not known beforehand: who takes one walks over its entries under the lock, which costs some
 * tens of nanoseconds an entry, and reads them again for himself. What stands between is a cut: the body of an entry, with what is
 * less on one side, and what is not on the other.
 *
 * No cut is within a group of long keys (group.h): who has some of a group has all of it, to sort it.
 *
 * Ranges are numbered by the combinations of array elements, which all participants visit in one order.
 */
#include "indexam/parallel.h"

#include "access/relscan.h"
#include "miscadmin.h"
#include "storage/lwlock.h"

/* Entries of a piece: enough to be worth a seek, and few enough for small scans to be shared. */
#define PIECE_ENTRIES 256

typedef struct ConcordParallelIndexScan
{
	LWLock		lock;
	bool		done;
	uint64		range;			/* that the next piece is of */
	bool		has_cut;		/* some of the range has been taken */
	size_t		cut_size;
	uint8		cut[CC_MAX_ENTRY_BODY];
} ConcordParallelIndexScan;

static int	tranche = 0;

void
concord_parallel_index_init(void)
{
	tranche = LWLockNewTrancheId();
	LWLockRegisterTranche(tranche, "ConcordIndexScan"); /* processes inherit it from the postmaster */
}

static ConcordParallelIndexScan *
shared_of(ParallelIndexScanDesc parallel)
{
	return (ConcordParallelIndexScan *) OffsetToPointer(parallel, parallel->ps_offset);
}

Size
concord_amestimateparallelscan(void)
{
	return sizeof(ConcordParallelIndexScan);
}

static void
start_over(ConcordParallelIndexScan *shared)
{
	shared->done = false;
	shared->range = 0;
	shared->has_cut = false;
}

void
concord_aminitparallelscan(void *target)
{
	ConcordParallelIndexScan *shared = target;

	LWLockInitialize(&shared->lock, tranche);
	start_over(shared);
}

void
concord_amparallelrescan(IndexScanDesc scan)
{
	start_over(shared_of(scan->parallel_scan));
}

/*
 * Brings the array elements of this participant to a range; one that lies behind it. False if there is none of that number. It passes
 * all between: which arrays make a range, and so which is the next, a range says when it is made.
 */
static bool
go_to_range(ConcordScanKeys *keys, uint64 *range, uint64 wanted, ScanDirection direction)
{
	for (; *range < wanted; ++*range)
	{
		(void) concord_scan_keys_range(keys);
		if (!concord_scan_keys_advance(keys, direction))
			return false;
	}
	return true;
}

/* Makes the cut at an entry, or, if that is of a group, behind the group in the direction. False if that is not in the range. */
static bool
cut_at(ConcordParallelIndexScan *shared, const ConcordScanKeys *keys, const CcEntry *entry, bool backward)
{
	CcKey		cut = {.data = shared->cut, .size = entry->key_size, .capacity = sizeof(shared->cut)};
	CcEntry		behind;

	memcpy(cut.data, entry->key, entry->key_size);
	if (concord_is_shortened(entry->key_size))
	{
		cut.size = CC_WHOLE_COLUMNS;
		if (!backward)
			(void) cc_key_successor(&cut);
	}
	shared->cut_size = cut.size;
	behind.key = cut.data;
	behind.key_size = cut.size;
	return backward ? !concord_scan_keys_below(keys, &behind) : !concord_scan_keys_above(keys, &behind);
}

/*
 * Walks over the entries of a piece, from where the cursor has been placed. True if the range goes on behind it; then the cut
 * is what comes next (forward), or the last entry of the piece (backward).
 */
static bool
walk(ConcordParallelIndexScan *shared, ConcordScanKeys *keys, CcScan *cursor, bool backward)
{
	for (int walked = 0;;)
	{
		const CcEntry *entry = cc_scan_take(cursor, backward);
		CcVisible	visible;

		if (entry == NULL)
		{
			CcStatus	status = cc_scan_next(cursor, backward, &visible);

			if (status == CC_END)
				return false;
			concord_check(status);
			entry = &visible.entry;
		}
		if (backward ? concord_scan_keys_below(keys, entry) : concord_scan_keys_above(keys, entry))
			return false;
		if (backward ? concord_scan_keys_above(keys, entry) : concord_scan_keys_below(keys, entry))
			continue;
		if (++walked > PIECE_ENTRIES && entry->key_size <= sizeof(shared->cut))
			return cut_at(shared, keys, entry, backward);
	}
}

static void
set_low(ConcordScanKeys *keys, const ConcordParallelIndexScan *shared)
{
	keys->low.key.size = shared->cut_size;
	memcpy(keys->low.bytes, shared->cut, shared->cut_size);
}

static void
set_high(ConcordScanKeys *keys, const ConcordParallelIndexScan *shared)
{
	keys->high.key.size = shared->cut_size;
	memcpy(keys->high.bytes, shared->cut, shared->cut_size);
	keys->has_high = true;
}

bool
concord_parallel_take(IndexScanDesc scan, ConcordScanKeys *keys, CcScan *cursor, uint64 *range, ScanDirection direction)
{
	ConcordParallelIndexScan *shared = shared_of(scan->parallel_scan);
	bool		backward = ScanDirectionIsBackward(direction);
	bool		taken = false;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	while (!taken && !shared->done)
	{
		bool		goes_on = false;

		if (!go_to_range(keys, range, shared->range, direction))
			shared->done = true;
		else if (concord_scan_keys_range(keys))
		{
			if (shared->has_cut && backward)
				set_high(keys, shared);
			else if (shared->has_cut)
				set_low(keys, shared);
			concord_scan_keys_seek(keys, cursor, backward);
			goes_on = walk(shared, keys, cursor, backward);
			if (goes_on && backward)
				set_low(keys, shared);
			else if (goes_on)
				set_high(keys, shared);
			taken = true;
		}
		shared->has_cut = goes_on;
		if (!goes_on)
			shared->range++;
	}
	LWLockRelease(&shared->lock);
	return taken;
}
