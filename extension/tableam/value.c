/*
 * value.c
 *		The value that storage keeps for a row: a heap tuple's body, header included.
 *
 * So a reader uses it in place. The header says "frozen, never deleted": visibility is the key's LSN, not the header's
 * business. xmin stays readable below "frozen", as on heap: it names the writer to those who compare it (concord_row_xmin). There is no toast table: what is out of line comes in, and rows that heap would toast have their columns compressed
 * as far as these allow it. Zeros fill the value up to a multiple of 8, which keeps the next row in the map aligned; how many they
 * are stands in t_ctid, which nobody looks at in a tuple, as the length that heap would have is part of what Postgres compares.
 */
#include "tableam/tableam.h"

#include "access/heaptoast.h"
#include "access/toast_internals.h"
#include "access/transam.h"
#include "catalog/pg_type.h"

/* core/wire.h, kMaxValueBytes */
#define MAX_VALUE_BYTES ((Size) 64 << 20)

/* Below that a datum is not worth the attempt: its own header would eat the gain. */
#define COMPRESS_MIN_BYTES 32

static bool
may_compress(Form_pg_attribute att, Datum value)
{
	return att->attlen == -1 &&
		(att->attstorage == TYPSTORAGE_EXTENDED || att->attstorage == TYPSTORAGE_MAIN) &&
		!VARATT_IS_COMPRESSED(DatumGetPointer(value)) && VARSIZE_ANY(DatumGetPointer(value)) > COMPRESS_MIN_BYTES;
}

/* The tuple with its columns compressed, longest first, until it is as short as heap wants it; or `tuple` itself. */
static HeapTuple
compress_tuple(Relation rel, HeapTuple tuple)
{
	TupleDesc	desc = RelationGetDescr(rel);
	Datum	   *values = palloc(desc->natts * sizeof(Datum));
	bool	   *isnull = palloc(desc->natts * sizeof(bool));
	bool	   *done = palloc0(desc->natts * sizeof(bool));
	bool	   *made = palloc0(desc->natts * sizeof(bool));
	Size		left = tuple->t_len;
	bool		changed = false;
	HeapTuple	result = tuple;

	heap_deform_tuple(tuple, desc, values, isnull);
	while (left > TOAST_TUPLE_TARGET)
	{
		int			longest = -1;
		Size		longest_size = 0;
		Datum		compressed;

		for (int i = 0; i < desc->natts; i++)
		{
			if (done[i] || isnull[i] || !may_compress(TupleDescAttr(desc, i), values[i]))
				continue;
			if (VARSIZE_ANY(DatumGetPointer(values[i])) > longest_size)
			{
				longest = i;
				longest_size = VARSIZE_ANY(DatumGetPointer(values[i]));
			}
		}
		if (longest < 0)
			break;
		done[longest] = true;
		compressed = toast_compress_datum(values[longest], TupleDescAttr(desc, longest)->attcompression);
		if (DatumGetPointer(compressed) == NULL)
			continue;			/* not compressible */
		left -= longest_size - Min(longest_size, VARSIZE(DatumGetPointer(compressed)));
		values[longest] = compressed;
		made[longest] = changed = true;
	}

	if (changed)
		result = heap_form_tuple(desc, values, isnull);
	for (int i = 0; i < desc->natts; i++)
		if (made[i])
			pfree(DatumGetPointer(values[i]));
	pfree(values);
	pfree(isnull);
	pfree(done);
	pfree(made);
	return result;
}

void *
concord_form_value(Relation rel, TupleTableSlot *slot, Size *size)
{
	bool		should_free;
	HeapTuple	tuple = ExecFetchSlotHeapTuple(slot, true, &should_free);
	HeapTuple	flat = HeapTupleHasExternal(tuple) ? toast_flatten_tuple(tuple, RelationGetDescr(rel)) : tuple;
	HeapTupleHeader value;

	if (flat->t_len > TOAST_TUPLE_THRESHOLD)
	{
		HeapTuple	compressed = compress_tuple(rel, flat);

		if (compressed != flat && flat != tuple)
			heap_freetuple(flat);
		flat = compressed;
	}
	*size = MAXALIGN(flat->t_len);
	if (*size > MAX_VALUE_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("row of table \"%s\" is too big: size %zu, maximum size %zu", RelationGetRelationName(rel), *size,
						MAX_VALUE_BYTES)));
	value = palloc(*size);
	memcpy(value, flat->t_data, flat->t_len);
	memset((char *) value + flat->t_len, 0, *size - flat->t_len);

	value->t_infomask &= ~HEAP_XACT_MASK;
	value->t_infomask |= HEAP_XMIN_FROZEN | HEAP_XMAX_INVALID;
	value->t_infomask2 &= ~HEAP2_XACT_MASK;
	memset(&value->t_choice, 0, sizeof(value->t_choice));
	HeapTupleHeaderSetXmin(value, concord_row_xmin());
	ItemPointerSet(&value->t_ctid, InvalidBlockNumber, (OffsetNumber) (*size - flat->t_len));

	if (flat != tuple)
		heap_freetuple(flat);
	if (should_free)
		heap_freetuple(tuple);
	return value;
}
