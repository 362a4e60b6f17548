/*
 * The scan keys of an index scan as what storage can use: a range of entry bodies, and conditions that are left to be checked
 * on the entries within it.
 *
 * Columns from the first on with one value each (=, IS NULL) give a prefix; the column after them may narrow the range. With
 * array conditions (= ANY) on such columns there is one range for each combination of elements, visited in index order.
 */
#ifndef CONCORD_SCAN_KEYS_H
#define CONCORD_SCAN_KEYS_H

#include "indexam/indexam.h"

#include "access/sdir.h"
#include "bridge/remote.h"
#include "bridge/write_set.h"

/* CC_PRESENT and an encoded value. */
typedef struct ConcordArrayElement
{
	uint8	   *bytes;
	size_t		size;
} ConcordArrayElement;

typedef struct ConcordArrayKey
{
	int			key;			/* its place in the scan's keys */
	int			value_count;
	Datum	   *values;			/* that are not NULL, to be compared with entries */
	bool		points;			/* there is an element for each value that can be in an entry, sorted by bytes, distinct */
	int			count;
	int			current;		/* if `points` and the column is part of the prefix */
	bool		used;			/* is part of the prefix: its elements are visited one after another */
	ConcordArrayElement *elements;
} ConcordArrayKey;

/* A condition that the range does not imply. */
typedef struct ConcordCondition
{
	ScanKey		key;
	ConcordArrayKey *array;		/* for SK_SEARCHARRAY */
} ConcordCondition;

typedef struct ConcordScanKeys
{
	const ConcordIndex *ix;
	int			key_count;
	ScanKey		keys;
	MemoryContext context;		/* reset with each set of keys */
	int			array_count;
	ConcordArrayKey *arrays;	/* as many as there are keys */
	int			condition_count;
	ConcordCondition *conditions;	/* as many as there are keys */
	bool		impossible;		/* nothing can match, whatever the elements */

	/* low <= body < high */
	ConcordBody low;
	ConcordBody high;
	bool		has_high;

	/* Bounds too long for a body: low <= whole columns < high; no data: no bound. */
	bool		long_bounds;
	CcKey		long_low;
	CcKey		long_high;
	MemoryContext long_context; /* of all long bounds; NULL until there are some; reset with each range */
} ConcordScanKeys;

ConcordScanKeys *concord_scan_keys_create(const ConcordIndex *ix, ScanKey keys, int key_count);
void		concord_scan_keys_free(ConcordScanKeys *keys);
/* Takes the keys as they are now. Sets `impossible`. */
void		concord_scan_keys_start(ConcordScanKeys *keys);
/* Places arrays at their first elements in the direction. */
void		concord_scan_keys_rewind(ConcordScanKeys *keys, ScanDirection direction);
/* Computes the range of the current elements. False if nothing lies in it. */
bool		concord_scan_keys_range(ConcordScanKeys *keys);
/* Goes on to the next elements. False after the last ones; then the arrays are at the start again. */
bool		concord_scan_keys_advance(ConcordScanKeys *keys, ScanDirection direction);
/* True if whole columns lie within the long bounds. */
bool		concord_scan_keys_admit(const ConcordScanKeys *keys, const CcKey *columns);
/* True if the entry meets the conditions (conditions.c). */
bool		concord_scan_keys_match(ConcordScanKeys *keys, IndexTuple tuple, TupleDesc descriptor);
/* The range as a cursor of another machine's replica is told of it; the bounds point into the keys. */
CcRange		concord_scan_keys_expected(const ConcordScanKeys *keys, uint64 prefix, uint64 rows_of, bool backward);
/* Places a cursor at the near end of the range. */
void		concord_scan_keys_seek(const ConcordScanKeys *keys, CcScan *cursor, bool backward);
/* What a cursor that has just been placed passes within the range counts as read (bridge/read_set.h). */
void		concord_scan_keys_note(const ConcordScanKeys *keys, CcScan *cursor);

static inline int
concord_compare_keys(const CcKey *a, const CcKey *b)
{
	int			order = memcmp(a->data, b->data, Min(a->size, b->size));

	if (order != 0)
		return order;
	return a->size < b->size ? -1 : a->size > b->size;
}

static inline int
concord_compare_body(const CcEntry *entry, const uint8 *bytes, size_t size)
{
	int			order = memcmp(entry->key, bytes, Min(entry->key_size, size));

	if (order != 0)
		return order;
	return entry->key_size < size ? -1 : entry->key_size > size;
}

/* True if the entry's body lies above the range. */
static inline bool
concord_scan_keys_above(const ConcordScanKeys *keys, const CcEntry *entry)
{
	return keys->has_high && concord_compare_body(entry, keys->high.bytes, keys->high.key.size) >= 0;
}

static inline bool
concord_scan_keys_below(const ConcordScanKeys *keys, const CcEntry *entry)
{
	return concord_compare_body(entry, keys->low.bytes, keys->low.key.size) < 0;
}

#endif
