/*
 * Index scans: the ranges of the scan keys, one after another, over what the transaction sees of the index's storage.
 *
 * The cursor over replica and write set is opened at the first fetch, when the snapshot is known, and kept over rescans. It
 * is known where the last entry's body is, so that a mark costs nothing until it is set and a restore is one seek.
 */
#include "indexam/indexam.h"

#include "access/relscan.h"
#include "indexam/group.h"
#include "indexam/parallel.h"
#include "miscadmin.h"
#include "nodes/tidbitmap.h"
#include "pgstat.h"
#include "tableam/tableam.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* An entry's body, wherever it is. */
typedef struct ConcordPosition
{
	bool		valid;
	size_t		size;
	const uint8 *body;
} ConcordPosition;

typedef struct ConcordIndexScanData
{
	ConcordScanKeys *keys;
	bool		keys_started;	/* the keys of the last rescan were taken up */
	bool		positioned;		/* the cursor stands in the range of the current elements */
	CcScan	   *cursor;
	ConcordResource resource;
	ConcordReadPoint point;
	bool		noted;			/* what the cursor passes is noted (xact/reads.c) */
	uint64		range;			/* parallel: number of the range of the current elements */
	bool		batch_in_range; /* whatever the cursor has read ahead is within the range */
	ConcordPosition last;		/* the entry returned last: in the map as long as the cursor stays there, or a copy */
	uint8		last_copy[CC_MAX_ENTRY_BODY];

	ConcordPosition mark;
	uint8		mark_copy[CC_MAX_ENTRY_BODY];
	int		   *marked_elements;	/* per array */
	bool		restored;		/* go on after `last`, in whatever direction comes */
	ConcordGroup *group;		/* NULL until a long key is met */

	IndexTuple	tuple;			/* aligned copy of the current entry's */
	size_t		tuple_room;
} ConcordIndexScanData;
typedef ConcordIndexScanData *ConcordIndexScan;

static void
close_cursor(void *cursor)
{
	cc_scan_close(cursor);
}

IndexScanDesc
concord_ambeginscan(Relation index, int nkeys, int norderbys)
{
	IndexScanDesc scan = RelationGetIndexScan(index, nkeys, norderbys);
	ConcordIndexScan self = palloc0(sizeof(ConcordIndexScanData));

	self->keys = concord_scan_keys_create(concord_index_describe(index), scan->keyData, nkeys);
	self->marked_elements = palloc0(Max(nkeys, 1) * sizeof(int));
	scan->opaque = self;
	scan->xs_itupdesc = RelationGetDescr(index);
	return scan;
}

void
concord_amrescan(IndexScanDesc scan, ScanKey keys, int nkeys, ScanKey orderbys, int norderbys)
{
	ConcordIndexScan self = scan->opaque;

	if (keys != NULL && scan->numberOfKeys > 0)
		memmove(scan->keyData, keys, scan->numberOfKeys * sizeof(ScanKeyData));
	self->keys_started = false;
	self->positioned = false;
	self->restored = false;
	self->last.valid = false;
	self->mark.valid = false;
	if (self->group != NULL)
		concord_group_close(self->group);
}

void
concord_amendscan(IndexScanDesc scan)
{
	ConcordIndexScan self = scan->opaque;

	concord_resource_release(&self->resource);
	if (self->group != NULL)
		concord_group_free(self->group);
	concord_scan_keys_free(self->keys);
	if (self->tuple != NULL)
		pfree(self->tuple);
	pfree(self->marked_elements);
	pfree(self);
}

static void
keep_last(ConcordIndexScan self, const ConcordPosition *position)
{
	self->last.size = position->size;
	self->last.body = memcpy(self->last_copy, position->body, position->size);
}

/* Gives the view up until the next fetch. */
void
concord_index_rest(IndexScanDesc scan)
{
	ConcordIndexScan self = scan->opaque;

	if (!concord_resource_held(self->resource))
		return;
	if (self->last.valid && self->last.body != self->last_copy)
		keep_last(self, &self->last);
	concord_check(cc_scan_rest(self->cursor));
}

static void
open_cursor(IndexScanDesc scan, ConcordIndexScan self)
{
	bool		fixed = IsMVCCSnapshot(scan->xs_snapshot);

	if (concord_resource_held(self->resource))
	{
		ConcordReadPoint now;

		if (fixed)
			return;
		now = concord_read_point_for(scan->indexRelation, scan->xs_snapshot);
		if (now.lsn == self->point.lsn && now.curcid == self->point.curcid)
			return;
		concord_resource_release(&self->resource);
	}
	self->point = concord_read_point_for(scan->indexRelation, scan->xs_snapshot);
	concord_check(cc_scan_open(concord_entry_prefix(concord_storage_id(scan->indexRelation)), self->point.lsn,
							   self->point.curcid, &self->cursor));
	self->noted = concord_notes(concord_entry_prefix(concord_storage_id(scan->indexRelation)), scan->xs_snapshot);
	self->resource = concord_resource_track(self->cursor, close_cursor);
}

static void
start(IndexScanDesc scan, ConcordIndexScan self)
{
	pgstat_count_index_scan(scan->indexRelation);
	concord_scan_keys_start(self->keys);
	self->keys_started = true;
	if (!self->keys->impossible)
		open_cursor(scan, self);
}

/* Copies the entry's index tuple: in the map it is not aligned, nor is it pinned. */
static void
copy_tuple(ConcordIndexScan self, MemoryContext context, const CcEntry *entry)
{
	size_t		size = entry->value_size - CONCORD_ENTRY_HEADER;

	if (self->tuple_room < size)
	{
		if (self->tuple != NULL)
			pfree(self->tuple);
		self->tuple_room = Max(size, 128);
		self->tuple = MemoryContextAlloc(context, self->tuple_room);
	}
	/* Index tuples are a few words long: too little to be worth a call. */
	for (size_t at = 0; at + sizeof(uint64) <= size; at += sizeof(uint64))
		memcpy((char *) self->tuple + at, entry->value + CONCORD_ENTRY_HEADER + at, sizeof(uint64));
}

/* Makes the entry the one returned last if it meets the conditions. `fleeting`: it may be gone at the next call. */
static inline bool
accept_entry(IndexScanDesc scan, ConcordIndexScan self, const CcEntry *entry, bool fleeting, uint64 *rowid)
{
	ConcordScanKeys *keys = self->keys;

	if (scan->xs_want_itup || keys->condition_count > 0)
		copy_tuple(self, GetMemoryChunkContext(self), entry);
	if (keys->condition_count > 0 && !concord_scan_keys_match(keys, self->tuple, scan->xs_itupdesc))
		return false;
	self->restored = false;
	self->last.valid = true;
	self->last.size = entry->key_size;
	self->last.body = entry->key;
	if (fleeting)
		self->last.body = memcpy(self->last_copy, entry->key, entry->key_size);
	*rowid = concord_entry_rowid(entry->value);
	return true;
}

/* The next matching entry of the group that the scan is in. */
static bool
next_in_group(IndexScanDesc scan, ConcordIndexScan self, bool backward, uint64 *rowid)
{
	const CcEntry *entry;

	while ((entry = concord_group_next(self->group, backward)) != NULL)
		if (accept_entry(scan, self, entry, true, rowid))
			return true;
	concord_group_leave(self->group, self->cursor, backward);
	return false;
}

/* The next matching entry of the group that begins, in this direction, with an entry. */
static bool
first_in_group(IndexScanDesc scan, ConcordIndexScan self, const CcEntry *entry, bool backward, uint64 *rowid)
{
	if (self->group == NULL)
		self->group = concord_group_create(scan->indexRelation, self->keys);
	if (unlikely(self->noted))
		concord_group_note(scan->indexRelation, self->keys, entry);
	concord_group_read(self->group, self->cursor, entry, backward);
	self->batch_in_range = false;	/* there may be another batch now */
	if (self->restored && concord_is_shortened(self->last.size))
		concord_group_go_to(self->group, self->last.body, self->last.size, backward);
	self->restored = false;
	return next_in_group(scan, self, backward, rowid);
}

static bool
in_group(ConcordIndexScan self)
{
	return unlikely(self->group != NULL) && concord_group_is_open(self->group);
}

static inline bool
is_malformed(const CcEntry *entry)
{
	return entry->value_size < CONCORD_ENTRY_HEADER + sizeof(IndexTupleData) ||
		entry->value_size % MAXIMUM_ALIGNOF != 0 || entry->key_size > CC_MAX_ENTRY_BODY;
}

/* The next matching entry within the current range. */
static bool
next_in_range(IndexScanDesc scan, ConcordIndexScan self, bool backward, uint64 *rowid)
{
	ConcordScanKeys *keys = self->keys;
	CcScan	   *cursor = self->cursor;
	CcVisible	visible;

	if (in_group(self) && next_in_group(scan, self, backward, rowid))
		return true;
	for (;;)
	{
		const CcEntry *entry = cc_scan_take(cursor, backward);
		bool		taken = entry != NULL;

		if (!taken)
		{
			CcStatus	status;

			CHECK_FOR_INTERRUPTS();
			status = cc_scan_next(cursor, backward, &visible);
			if (status == CC_END)
				return false;
			concord_check(status);
			entry = &visible.entry;
		}

		if (!taken || !self->batch_in_range)
		{
			if (concord_scan_keys_above(keys, entry))
			{
				if (backward)
					continue;	/* the seek stops at the bound itself */
				return false;
			}
			if (concord_scan_keys_below(keys, entry))
			{
				if (backward)
					return false;
				continue;
			}
			/* Entries come in order: if the last one read ahead is within the range too, all between are. */
			self->batch_in_range = cursor->next != cursor->end &&
				!(backward ? concord_scan_keys_below(keys, cursor->end - 1) : concord_scan_keys_above(keys, cursor->end - 1));
			if (self->restored && !concord_is_shortened(self->last.size) &&
				concord_compare_body(entry, self->last.body, self->last.size) == 0)
				continue;		/* was returned before the mark was set */
		}
		if (unlikely(concord_is_shortened(entry->key_size) || is_malformed(entry)))
		{
			if (is_malformed(entry))
				concord_raise_malformed(scan->indexRelation);
			if (first_in_group(scan, self, entry, backward, rowid))
				return true;
			continue;
		}
		/* One of our own may be rolled back before the next call. */
		if (accept_entry(scan, self, entry, !taken && visible.is_own, rowid))
			return true;
	}
}

/*
 * Where another machine's replica is read: no more of the index than the range is wanted, and all of its rows if the scan leads to
 * rows. They come with the entries.
 */
static void
expect_range(IndexScanDesc scan, ConcordIndexScan self)
{
	bool		leads_to_rows = scan->heapRelation != NULL && scan->xs_heapfetch != NULL && !scan->xs_want_itup;
	CcRange		range = concord_scan_keys_expected(self->keys, 0, leads_to_rows ? concord_rel_prefix(scan->heapRelation) : 0, false);

	concord_check(cc_scan_expect(self->cursor, range.low, range.low_size, range.high, range.high_size, range.rows_of));
}

/* Goes to the range of the current elements. False if nothing can lie in it. */
static bool
enter_range(IndexScanDesc scan, ConcordIndexScan self, bool backward)
{
	if (!concord_scan_keys_range(self->keys))
		return false;
	if (unlikely(concord_remote_enabled) && concord_reads_remotely(self->point.lsn))
		expect_range(scan, self);
	concord_scan_keys_seek(self->keys, self->cursor, backward);
	if (unlikely(self->noted))
		concord_scan_keys_note(self->keys, self->cursor);
	return true;
}

/* Goes to the next piece of a parallel scan. False if all have been taken. */
static bool
enter_piece(IndexScanDesc scan, ConcordIndexScan self, ScanDirection direction)
{
	if (!concord_parallel_take(scan, self->keys, self->cursor, &self->range, direction))
		return false;
	if (unlikely(concord_remote_enabled) && concord_reads_remotely(self->point.lsn))
		expect_range(scan, self);
	concord_scan_keys_seek(self->keys, self->cursor, ScanDirectionIsBackward(direction));
	return true;
}

static bool
next_entry(IndexScanDesc scan, ScanDirection direction, uint64 *rowid)
{
	ConcordIndexScan self = scan->opaque;
	bool		backward = ScanDirectionIsBackward(direction);
	bool		in_range = self->positioned;

	if (!self->keys_started)
		start(scan, self);
	if (self->keys->impossible)
		return false;

	if (self->restored)
	{
		/* The elements are those of the mark. */
		in_range = concord_scan_keys_range(self->keys);
		if (in_range && concord_is_shortened(self->last.size))
			concord_group_seek(self->cursor, self->last.body, backward);
		else if (in_range)
			concord_check(cc_scan_seek(self->cursor, self->last.body, self->last.size, backward, false));
		if (unlikely(self->noted) && in_range)
			concord_scan_keys_note(self->keys, self->cursor);
	}
	else if (!self->positioned)
	{
		concord_scan_keys_rewind(self->keys, direction);
		self->range = 0;
		in_range = scan->parallel_scan != NULL ? enter_piece(scan, self, direction) : enter_range(scan, self, backward);
	}
	self->positioned = true;

	for (;;)
	{
		if (in_range && next_in_range(scan, self, backward, rowid))
			return true;
		self->restored = false;
		if (scan->parallel_scan != NULL)
		{
			if (!enter_piece(scan, self, direction))
				break;
			in_range = true;
		}
		else if (concord_scan_keys_advance(self->keys, direction))
			in_range = enter_range(scan, self, backward);
		else
			break;
	}
	/* As in btree, whoever asks again starts over. */
	self->positioned = false;
	self->last.valid = false;
	return false;
}

bool
concord_amgettuple(IndexScanDesc scan, ScanDirection direction)
{
	uint64		rowid;

	/* The range and the conditions say all that the keys do. */
	scan->xs_recheck = false;
	if (!next_entry(scan, direction, &rowid))
		return false;
	concord_tid_from_rowid(&scan->xs_heaptid, rowid);
	if (!IsMVCCSnapshot(scan->xs_snapshot) && scan->xs_heapfetch != NULL)
		concord_index_fetch_entries_lsn(scan->xs_heapfetch, ((ConcordIndexScan) scan->opaque)->point.lsn);
	if (scan->xs_want_itup)
		scan->xs_itup = ((ConcordIndexScan) scan->opaque)->tuple;
	return true;
}

int64
concord_amgetbitmap(IndexScanDesc scan, TIDBitmap *tbm)
{
	int64		count = 0;
	uint64		rowid;

	while (next_entry(scan, ForwardScanDirection, &rowid))
	{
		ItemPointerData tid;

		concord_tid_from_rowid(&tid, rowid);
		tbm_add_tuples(tbm, &tid, 1, false);
		count++;
	}
	return count;
}

void
concord_ammarkpos(IndexScanDesc scan)
{
	ConcordIndexScan self = scan->opaque;

	self->mark.valid = self->last.valid;
	if (!self->mark.valid)
		return;
	self->mark.size = self->last.size;
	self->mark.body = memcpy(self->mark_copy, self->last.body, self->last.size);
	for (int i = 0; i < self->keys->array_count; i++)
		self->marked_elements[i] = self->keys->arrays[i].current;
	if (in_group(self))
		concord_group_mark(self->group);
}

void
concord_amrestrpos(IndexScanDesc scan)
{
	ConcordIndexScan self = scan->opaque;

	if (self->mark.valid && in_group(self) && concord_group_restore(self->group))
	{
		keep_last(self, &self->mark);
		return;
	}
	if (self->group != NULL)
		concord_group_close(self->group);
	self->positioned = false;
	self->restored = false;
	self->last.valid = self->mark.valid;
	if (!self->mark.valid)
		return;
	keep_last(self, &self->mark);
	for (int i = 0; i < self->keys->array_count; i++)
		self->keys->arrays[i].current = self->marked_elements[i];
	self->restored = true;
}
