/*
 * value.c
 *		The value that storage keeps for a row: a heap tuple's body, header included.
 *
 * So a reader uses it in place. The header says "frozen, never deleted": visibility is the key's LSN, not the header's
 * business. xmin stays readable below "frozen", as on heap: it names the writer to those who compare it (concord_row_xmin). There
 * is no toast table: what is out of line comes in, and rows that heap would toast have their columns compressed as far as these
 * allow it. Zeros fill the value up to a multiple of 8, which keeps the next row in the map aligned; how many they
 * are stands in t_ctid, which nobody looks at in a tuple, as the length that heap would have is part of what Postgres compares.
 *
 * A row may be large, so it is copied once: from the slot to where the value is to be. First its size is told, then it is
 * written there. Only columns that are brought in or compressed are made in between.
 */
#include "tableam/tableam.h"

#include "access/detoast.h"
#include "access/heaptoast.h"
#include "access/toast_internals.h"
#include "access/transam.h"
#include "catalog/pg_type.h"
#include "utils/memutils.h"

/* core/wire.h, kMaxValueBytes: the longest tuple that can be formed */
#define MAX_VALUE_BYTES (MaxAllocSize + 1 - HEAPTUPLESIZE)

/* Below that a datum is not worth the attempt: its own header would eat the gain. */
#define COMPRESS_MIN_BYTES 32

static bool
may_compress(Form_pg_attribute att, Datum value)
{
	return att->attlen == -1 &&
		(att->attstorage == TYPSTORAGE_EXTENDED || att->attstorage == TYPSTORAGE_MAIN) &&
		!VARATT_IS_COMPRESSED(DatumGetPointer(value)) && VARSIZE_ANY(DatumGetPointer(value)) > COMPRESS_MIN_BYTES;
}

static inline bool
is_external(Form_pg_attribute att, Datum value, bool isnull)
{
	return !isnull && att->attlen == -1 && VARATT_IS_EXTERNAL(DatumGetPointer(value));
}

static bool
has_external(TupleDesc desc, Datum *values, bool *isnull)
{
	for (int i = 0; i < desc->natts; i++)
		if (is_external(TupleDescAttr(desc, i), values[i], isnull[i]))
			return true;
	return false;
}

/* The columns become the form's own, which can be replaced. */
static void
own_columns(ConcordForm *form)
{
	int			natts = form->desc->natts;
	Datum	   *values;
	bool	   *isnull;

	if (form->made != NULL)
		return;
	values = palloc(natts * sizeof(Datum));
	isnull = palloc(natts * sizeof(bool));
	if (form->tuple != NULL)
		heap_deform_tuple(form->tuple, form->desc, values, isnull);
	else
	{
		memcpy(values, form->values, natts * sizeof(Datum));
		memcpy(isnull, form->isnull, natts * sizeof(bool));
	}
	form->values = values;
	form->isnull = isnull;
	form->made = palloc0(natts * sizeof(bool));
}

static void
replace(ConcordForm *form, int column, Datum value)
{
	if (form->made[column])
		pfree(DatumGetPointer(form->values[column]));
	form->values[column] = value;
	form->made[column] = true;
}

static void
bring_in(ConcordForm *form)
{
	own_columns(form);
	for (int i = 0; i < form->desc->natts; i++)
		if (is_external(TupleDescAttr(form->desc, i), form->values[i], form->isnull[i]))
			replace(form, i, PointerGetDatum(detoast_external_attr((struct varlena *) DatumGetPointer(form->values[i]))));
}

/* Compresses columns, longest first, until the row is as short as heap wants it. */
static void
compress(ConcordForm *form, Size length)
{
	TupleDesc	desc = form->desc;
	bool	   *done = palloc0(desc->natts * sizeof(bool));

	own_columns(form);
	while (length > TOAST_TUPLE_TARGET)
	{
		int			longest = -1;
		Size		longest_size = 0;
		Datum		compressed;

		for (int i = 0; i < desc->natts; i++)
		{
			if (done[i] || form->isnull[i] || !may_compress(TupleDescAttr(desc, i), form->values[i]))
				continue;
			if (VARSIZE_ANY(DatumGetPointer(form->values[i])) > longest_size)
			{
				longest = i;
				longest_size = VARSIZE_ANY(DatumGetPointer(form->values[i]));
			}
		}
		if (longest < 0)
			break;
		done[longest] = true;
		compressed = toast_compress_datum(form->values[longest], TupleDescAttr(desc, longest)->attcompression);
		if (DatumGetPointer(compressed) == NULL)
			continue;			/* not compressible */
		length -= longest_size - Min(longest_size, VARSIZE(DatumGetPointer(compressed)));
		replace(form, longest, compressed);
	}
	pfree(done);
}

/* Length of the tuple that the columns make. */
static Size
measure(ConcordForm *form)
{
	int			natts = form->desc->natts;

	form->hasnull = false;
	for (int i = 0; i < natts && !form->hasnull; i++)
		form->hasnull = form->isnull[i];
	form->header_size = MAXALIGN(SizeofHeapTupleHeader + (form->hasnull ? BITMAPLEN(natts) : 0));
	form->data_size = heap_compute_data_size(form->desc, form->values, form->isnull);
	return form->header_size + form->data_size;
}

Size
concord_form_begin(Relation rel, TupleTableSlot *slot, ConcordForm *form)
{
	form->desc = RelationGetDescr(rel);
	form->made = NULL;
	form->tuple = NULL;
	form->free_tuple = false;
	if (concord_slot_is_virtual(slot))
	{
		form->values = slot->tts_values;
		form->isnull = slot->tts_isnull;
		if (has_external(form->desc, form->values, form->isnull))
			bring_in(form);
		form->length = measure(form);
	}
	else
	{
		form->tuple = ExecFetchSlotHeapTuple(slot, false, &form->free_tuple);
		form->length = form->tuple->t_len;
		if (HeapTupleHasExternal(form->tuple))
		{
			bring_in(form);
			form->length = measure(form);
		}
	}
	if (form->length > TOAST_TUPLE_THRESHOLD)
	{
		compress(form, form->length);
		form->length = measure(form);
	}
	form->size = MAXALIGN(form->length);
	if (form->size > MAX_VALUE_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("row of table \"%s\" is too big: size %zu, maximum size %zu", RelationGetRelationName(rel),
						form->size, MAX_VALUE_BYTES)));
	return form->size;
}

void
concord_form_write(ConcordForm *form, void *to)
{
	HeapTupleHeader value = to;

	if (form->tuple != NULL && form->made == NULL)
	{
		memcpy(value, form->tuple->t_data, form->tuple->t_len);
		memset((char *) value + form->tuple->t_len, 0, form->size - form->tuple->t_len);
	}
	else
	{
		memset(value, 0, form->size);
		HeapTupleHeaderSetNatts(value, form->desc->natts);
		value->t_hoff = form->header_size;
		heap_fill_tuple(form->desc, form->values, form->isnull, (char *) value + form->header_size, form->data_size,
						&value->t_infomask, form->hasnull ? value->t_bits : NULL);
	}
	value->t_infomask &= ~HEAP_XACT_MASK;
	value->t_infomask |= HEAP_XMIN_FROZEN | HEAP_XMAX_INVALID;
	value->t_infomask2 &= ~HEAP2_XACT_MASK;
	memset(&value->t_choice, 0, sizeof(value->t_choice));
	HeapTupleHeaderSetXmin(value, concord_row_xmin());
	ItemPointerSet(&value->t_ctid, InvalidBlockNumber, (OffsetNumber) (form->size - form->length));

	if (form->made != NULL)
	{
		for (int i = 0; i < form->desc->natts; i++)
			if (form->made[i])
				pfree(DatumGetPointer(form->values[i]));
		pfree(form->values);
		pfree(form->isnull);
		pfree(form->made);
	}
	if (form->free_tuple)
		heap_freetuple(form->tuple);
}

void *
concord_form_value(Relation rel, TupleTableSlot *slot, Size *size)
{
	ConcordForm form;
	void	   *value;

	*size = concord_form_begin(rel, slot, &form);
	value = palloc(*size);
	concord_form_write(&form, value);
	return value;
}
