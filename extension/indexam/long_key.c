/*
 * Columns too long for an entry's body, which holds them shortened: their beginning, and a hash of all of them (core/long_key.h).
 *
 * The columns themselves are in the entry's value, as Datums. Where the body does not tell, they are encoded again from there.
 */
#include "indexam/indexam.h"

#include "utils/memutils.h"
#include "utils/rel.h"

void
concord_key_reserve(CcKey *key, size_t size)
{
	if (size <= key->capacity)
		return;
	/* A value of a row may have hundreds of megabytes, though no index tuple. */
	key->data = key->data != NULL ? repalloc_huge(key->data, size) : palloc_extended(size, MCXT_ALLOC_HUGE);
	key->capacity = size;
}

void
concord_whole_columns(const ConcordIndex *ix, Datum *values, bool *isnull, CcKey *key)
{
	bool		has_null;

	key->size = 0;
	concord_encode_columns(ix, values, isnull, key, &has_null);
	if (key->size > key->capacity)
	{
		size_t		size = key->size;

		key->size = 0;
		concord_key_reserve(key, size);
		concord_encode_columns(ix, values, isnull, key, &has_null);
	}
}

void
concord_shorten_columns(const ConcordIndex *ix, Datum *values, bool *isnull, CcKey *body)
{
	if (body->size <= body->capacity)
		cc_columns_shorten(body->data, body->size, body->data);
	else
	{
		CcKey		whole = {0};

		concord_key_reserve(&whole, body->size);
		concord_whole_columns(ix, values, isnull, &whole);
		cc_columns_shorten(whole.data, whole.size, body->data);
		pfree(whole.data);
	}
	body->size = CC_SHORTENED_COLUMNS;
}

/* The hash of shortened columns is no cryptographic one: somebody can make two that agree. */
static bool
same_whole_columns(const ConcordIndex *ix, Datum *values, bool *isnull, Datum *others, bool *others_isnull)
{
	CcKey		columns = {0};
	CcKey		other_columns = {0};
	bool		same;

	concord_whole_columns(ix, values, isnull, &columns);
	concord_whole_columns(ix, others, others_isnull, &other_columns);
	same = columns.size == other_columns.size && memcmp(columns.data, other_columns.data, columns.size) == 0;
	pfree(columns.data);
	pfree(other_columns.data);
	return same;
}

bool
concord_same_key(Relation index, const ConcordIndex *ix, size_t columns_size, Datum *values, bool *isnull, Datum *others,
				 bool *others_isnull)
{
	return (!concord_is_shortened(columns_size) || same_whole_columns(ix, values, isnull, others, others_isnull)) &&
		(!ix->lossy || concord_index_same_key(index, ix, values, others, isnull));
}

IndexTuple
concord_deform_entry(Relation index, const uint8 *value, size_t size, Datum *values, bool *isnull)
{
	size_t		tuple_size = size - CONCORD_ENTRY_HEADER;
	IndexTuple	tuple;

	if (size < CONCORD_ENTRY_HEADER + sizeof(IndexTupleData))
		concord_raise_malformed(index);
	/* In the map it is not aligned. */
	tuple = palloc(tuple_size);
	memcpy(tuple, value + CONCORD_ENTRY_HEADER, tuple_size);
	if (IndexTupleSize(tuple) != tuple_size)
		concord_raise_malformed(index);
	index_deform_tuple(tuple, RelationGetDescr(index), values, isnull);
	return tuple;
}

void
concord_raise_malformed(Relation index)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("index \"%s\" has a malformed entry", RelationGetRelationName(index))));
}
