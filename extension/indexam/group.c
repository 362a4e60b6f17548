/*
 * Groups of long keys. See group.h.
 */
#include "indexam/group.h"

#include "catalog/pg_type_d.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/tuplesort.h"
#include "utils/typcache.h"

/* Columns of what is sorted. */
#define SORT_REST 1				/* the whole columns behind what the group has in common */
#define SORT_BODY 2
#define SORT_VALUE 3
#define SORT_COLUMNS 3

typedef enum ConcordGroupState
{
	GROUP_CLOSED,
	GROUP_ALONE,				/* one entry, `entry`, to be returned */
	GROUP_ALONE_DONE,			/* it has been, or does not lie in the range; the cursor stands on it */
	GROUP_SORTED
} ConcordGroupState;

struct ConcordGroup
{
	Relation	index;
	ConcordScanKeys *keys;
	MemoryContext context;		/* where all this is */
	MemoryContext scratch;		/* reset with each entry read */
	ConcordGroupState	state;
	bool		marked;			/* in the sort */
	uint8		beginning[CC_WHOLE_COLUMNS];	/* what all entries begin with */
	CcKey		columns;		/* whole columns of an entry */
	CcEntry		entry;			/* the one returned */
	uint8	   *copy;			/* of an entry, body and value; palloc'd */
	size_t		copy_room;
	Tuplesortstate *sort;
	TupleTableSlot *put;
	TupleTableSlot *got;
};

ConcordGroup *
concord_group_create(Relation index, ConcordScanKeys *keys)
{
	MemoryContext context = AllocSetContextCreate(GetMemoryChunkContext(keys), "Concord long keys", ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	ConcordGroup *group = palloc0(sizeof(ConcordGroup));

	group->index = index;
	group->keys = keys;
	group->context = context;
	concord_key_reserve(&group->columns, 2 * BLCKSZ);
	group->scratch = AllocSetContextCreate(context, "Concord long key", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(caller);
	return group;
}

void
concord_group_free(ConcordGroup *group)
{
	if (group->sort != NULL)
	{
		ExecDropSingleTupleTableSlot(group->put);
		ExecDropSingleTupleTableSlot(group->got);
		tuplesort_end(group->sort);
	}
	MemoryContextDelete(group->context);
}

bool
concord_group_is_open(const ConcordGroup *group)
{
	return group->state != GROUP_CLOSED;
}

/* ---- entries ---- */

static bool
belongs(const ConcordGroup *group, const CcEntry *entry)
{
	return concord_is_shortened(entry->key_size) && memcmp(entry->key, group->beginning, CC_WHOLE_COLUMNS) == 0 &&
		!concord_scan_keys_above(group->keys, entry) && !concord_scan_keys_below(group->keys, entry);
}

/* In the scratch context; what is made lasts until its reset, but for the columns. */
static void
make_columns(ConcordGroup *group, const CcEntry *entry)
{
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];

	(void) concord_deform_entry(group->index, entry->value, entry->value_size, values, isnull);
	concord_whole_columns(group->keys->ix, values, isnull, &group->columns);
}

/* True if the entry, which its body lets into the range, lies in it. */
static bool
in_range(ConcordGroup *group, const CcEntry *entry)
{
	MemoryContext caller;

	if (!group->keys->long_bounds)
		return true;
	caller = MemoryContextSwitchTo(group->scratch);
	make_columns(group, entry);
	MemoryContextSwitchTo(caller);
	MemoryContextReset(group->scratch);
	return concord_scan_keys_admit(group->keys, &group->columns);
}

/* Makes `entry` independent of the cursor. */
static void
copy_entry(ConcordGroup *group, CcEntry *entry)
{
	size_t		size = entry->key_size + entry->value_size;

	if (group->copy_room < size)
	{
		if (group->copy != NULL)
			pfree(group->copy);
		group->copy = MemoryContextAlloc(group->context, size);
		group->copy_room = size;
	}
	memcpy(group->copy, entry->key, entry->key_size);
	memcpy(group->copy + entry->key_size, entry->value, entry->value_size);
	entry->key = group->copy;
	entry->value = group->copy + entry->key_size;
}

/* ---- the sort ---- */

static void
begin_sort(ConcordGroup *group)
{
	MemoryContext caller;
	TupleDesc	descriptor;
	Oid			bytea_less;

	if (group->sort != NULL)
		return;					/* the last group's, reset */
	caller = MemoryContextSwitchTo(group->context);
	descriptor = CreateTemplateTupleDesc(SORT_COLUMNS);
	TupleDescInitEntry(descriptor, SORT_REST, "rest", BYTEAOID, -1, 0);
	TupleDescInitEntry(descriptor, SORT_BODY, "body", BYTEAOID, -1, 0);
	TupleDescInitEntry(descriptor, SORT_VALUE, "value", BYTEAOID, -1, 0);
	bytea_less = lookup_type_cache(BYTEAOID, TYPECACHE_LT_OPR)->lt_opr;
	group->put = MakeSingleTupleTableSlot(descriptor, &TTSOpsVirtual);
	group->got = MakeSingleTupleTableSlot(descriptor, &TTSOpsMinimalTuple);
	group->sort = tuplesort_begin_heap(descriptor, 2, (AttrNumber[]) {SORT_REST, SORT_BODY},
									   (Oid[]) {bytea_less, bytea_less}, (Oid[]) {InvalidOid, InvalidOid},
									   (bool[]) {false, false}, work_mem, NULL, TUPLESORT_RANDOMACCESS);
	MemoryContextSwitchTo(caller);
}

static Datum
form_bytea(const uint8 *data, size_t size)
{
	bytea	   *result = palloc(VARHDRSZ + size);

	SET_VARSIZE(result, VARHDRSZ + size);
	memcpy(VARDATA(result), data, size);
	return PointerGetDatum(result);
}

/* Puts the entry into the sort if it lies in the range. True if so. */
static bool
put_sort(ConcordGroup *group, const CcEntry *entry)
{
	MemoryContext caller = MemoryContextSwitchTo(group->scratch);
	TupleTableSlot *put = group->put;
	bool		admitted;

	make_columns(group, entry);
	admitted = !group->keys->long_bounds || concord_scan_keys_admit(group->keys, &group->columns);
	if (admitted)
	{
		ExecClearTuple(put);
		put->tts_values[SORT_REST - 1] = form_bytea(group->columns.data + CC_WHOLE_COLUMNS,
													group->columns.size - CC_WHOLE_COLUMNS);
		put->tts_values[SORT_BODY - 1] = form_bytea(entry->key, entry->key_size);
		put->tts_values[SORT_VALUE - 1] = form_bytea(entry->value, entry->value_size);
		memset(put->tts_isnull, 0, SORT_COLUMNS * sizeof(bool));
		ExecStoreVirtualTuple(put);
		tuplesort_puttupleslot(group->sort, put);
		ExecClearTuple(put);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextReset(group->scratch);
	return admitted;
}

/* Reads all of a group that has another entry than the first one. */
static void
sort_group(ConcordGroup *group, CcScan *cursor, bool backward)
{
	const CcEntry *entry = &group->entry;
	CcVisible	visible;
	int64		count = 0;

	begin_sort(group);
	do
	{
		count += put_sort(group, entry);
		entry = cc_scan_take(cursor, backward);
		if (entry == NULL)
		{
			CcStatus	status;

			CHECK_FOR_INTERRUPTS();
			status = cc_scan_next(cursor, backward, &visible);
			if (status == CC_END)
				break;
			concord_check(status);
			entry = &visible.entry;
		}
	} while (belongs(group, entry));
	tuplesort_performsort(group->sort);
	group->state = GROUP_SORTED;
	if (backward)
	{
		(void) tuplesort_skiptuples(group->sort, count, true);
		(void) tuplesort_gettupleslot(group->sort, true, false, group->got, NULL);	/* finds the end */
	}
}

/* ---- what scans ask for ---- */

void
concord_group_read(ConcordGroup *group, CcScan *cursor, const CcEntry *first, bool backward)
{
	const CcEntry *next = cc_scan_ahead(cursor, backward);
	CcVisible	visible;

	memcpy(group->beginning, first->key, CC_WHOLE_COLUMNS);
	group->entry = *first;
	group->marked = false;
	if (next == NULL)
	{
		CcStatus	status;

		copy_entry(group, &group->entry);
		status = cc_scan_peek(cursor, backward, &visible);
		if (status == CC_OK)
			next = &visible.entry;
		else if (status != CC_END)
			concord_check(status);
	}
	if (next != NULL && belongs(group, next))
		sort_group(group, cursor, backward);
	else
		group->state = in_range(group, &group->entry) ? GROUP_ALONE : GROUP_ALONE_DONE;
}

void
concord_group_note(Relation index, const ConcordScanKeys *keys, const CcEntry *first)
{
	const CcKey *low = &keys->low.key;
	const CcKey *high = &keys->high.key;
	ConcordBody begin;
	ConcordBody end;
	bool		has_end;

	concord_body_init(&begin);
	cc_key_raw(&begin.key, first->key, CC_WHOLE_COLUMNS);
	end = begin;
	end.key.data = end.bytes;
	has_end = cc_key_successor(&end.key);
	if (concord_compare_keys(low, &begin.key) < 0)
		low = &begin.key;
	if (has_end && (!keys->has_high || concord_compare_keys(&end.key, high) < 0))
		high = &end.key;
	concord_check(cc_reads_note(concord_entry_prefix(concord_storage_id(index)), low->data, low->size,
								has_end || keys->has_high ? high->data : NULL, high->size));
}

const CcEntry *
concord_group_next(ConcordGroup *group, bool backward)
{
	bytea	   *body,
			   *value;

	if (group->state == GROUP_ALONE)
	{
		group->state = GROUP_ALONE_DONE;
		return &group->entry;
	}
	if (group->state != GROUP_SORTED || !tuplesort_gettupleslot(group->sort, !backward, false, group->got, NULL))
		return NULL;
	slot_getallattrs(group->got);
	body = DatumGetByteaPP(group->got->tts_values[SORT_BODY - 1]);
	value = DatumGetByteaPP(group->got->tts_values[SORT_VALUE - 1]);
	group->entry.key = (const uint8 *) VARDATA_ANY(body);
	group->entry.key_size = VARSIZE_ANY_EXHDR(body);
	group->entry.value = (const uint8 *) VARDATA_ANY(value);
	group->entry.value_size = VARSIZE_ANY_EXHDR(value);
	return &group->entry;
}

void
concord_group_close(ConcordGroup *group)
{
	if (group->state == GROUP_SORTED)
	{
		ExecClearTuple(group->got);
		tuplesort_reset(group->sort);
	}
	group->state = GROUP_CLOSED;
}

void
concord_group_leave(ConcordGroup *group, CcScan *cursor, bool backward)
{
	if (group->state != GROUP_SORTED)
		;						/* the cursor stands on the one entry */
	else if (backward)
		concord_check(cc_scan_seek(cursor, group->beginning, CC_WHOLE_COLUMNS, true, false));
	else
	{
		ConcordBody behind;

		concord_body_init(&behind);
		cc_key_raw(&behind.key, group->beginning, CC_WHOLE_COLUMNS);
		(void) cc_key_successor(&behind.key);
		concord_check(cc_scan_seek(cursor, behind.bytes, behind.key.size, false, false));
	}
	concord_group_close(group);
}

void
concord_group_seek(CcScan *cursor, const uint8 *body, bool backward)
{
	concord_check(cc_scan_seek(cursor, body, CC_WHOLE_COLUMNS, backward, true));
}

void
concord_group_go_to(ConcordGroup *group, const uint8 *body, size_t size, bool backward)
{
	const CcEntry *entry;

	if (memcmp(body, group->beginning, CC_WHOLE_COLUMNS) != 0)
		return;
	while ((entry = concord_group_next(group, backward)) != NULL)
		if (entry->key_size == size && memcmp(entry->key, body, size) == 0)
			return;
}

void
concord_group_mark(ConcordGroup *group)
{
	if (group->state != GROUP_SORTED)
		return;
	tuplesort_markpos(group->sort);
	group->marked = true;
}

bool
concord_group_restore(ConcordGroup *group)
{
	if (group->state != GROUP_SORTED || !group->marked)
		return false;
	tuplesort_restorepos(group->sort);
	return true;
}
