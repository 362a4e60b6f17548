/*
 * Arrays, ranges and rows, encoded by what they consist of; the order is that of array_cmp, range_cmp, multirange_cmp,
 * record_cmp and record_image_cmp.
 *
 *   array      := (02 element | 03)* 01 dimensions u8 length u32be* lower-bound i32*      03: NULL
 *   range      := 01 | 02 bounds                                                          01: empty
 *   multirange := (02 bounds)* 01
 *   bounds     := lower upper
 *   lower      := 01 | 02 value (00 inclusive | 01 exclusive)                             01: none
 *   upper      := 02 value (00 exclusive | 01 inclusive) | 03                             03: none
 *   row        := (02 attribute | 03)* 04                                                 03: NULL; those at the end left out
 *
 * The NULLs at a row's end are left out so that ALTER TYPE ... ADD ATTRIBUTE, which makes rows longer by them, changes no
 * encoding. 04 is above 03: it stands for any number of NULLs.
 */
#include "indexam/indexam.h"

#include "access/htup_details.h"
#include "access/tupdesc.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/arrayaccess.h"
#include "utils/multirangetypes.h"
#include "utils/rangetypes.h"
#include "utils/typcache.h"

#define END_LOW 0x01			/* before whatever might follow */
#define PRESENT 0x02
#define NULL_HIGH 0x03
#define END_HIGH 0x04			/* after whatever might follow */

static void
encode_array(const ConcordEncoder *encoder, Datum value, CcKey *key)
{
	AnyArrayType *array = DatumGetAnyArrayP(value);
	int			dimensions = AARR_NDIM(array);
	int			count = ArrayGetNItems(dimensions, AARR_DIMS(array));
	const TypeCacheEntry *element = encoder->typcache;
	array_iter	elements;

	array_iter_setup(&elements, array);
	for (int i = 0; i < count; i++)
	{
		bool		isnull;
		Datum		datum = array_iter_next(&elements, &isnull, i, element->typlen, element->typbyval, element->typalign);

		cc_key_byte(key, isnull ? NULL_HIGH : PRESENT);
		if (!isnull)
			concord_encode_value(encoder->parts[0], datum, key);
	}
	cc_key_byte(key, END_LOW);
	cc_key_byte(key, (uint8) dimensions);
	for (int i = 0; i < dimensions; i++)
		cc_key_uint32(key, AARR_DIMS(array)[i]);
	for (int i = 0; i < dimensions; i++)
		cc_key_int32(key, AARR_LBOUND(array)[i]);
	if (!VARATT_IS_EXPANDED_HEADER(array) && (Pointer) array != DatumGetPointer(value))
		pfree(array);
}

static void
encode_bounds(const ConcordEncoder *encoder, const RangeBound *lower, const RangeBound *upper, CcKey *key)
{
	if (lower->infinite)
		cc_key_byte(key, END_LOW);
	else
	{
		cc_key_byte(key, PRESENT);
		concord_encode_value(encoder->parts[0], lower->val, key);
		cc_key_byte(key, lower->inclusive ? 0 : 1);
	}
	if (upper->infinite)
		cc_key_byte(key, NULL_HIGH);
	else
	{
		cc_key_byte(key, PRESENT);
		concord_encode_value(encoder->parts[0], upper->val, key);
		cc_key_byte(key, upper->inclusive ? 1 : 0);
	}
}

static void
encode_range(const ConcordEncoder *encoder, Datum value, CcKey *key)
{
	RangeType  *range = DatumGetRangeTypeP(value);
	RangeBound	lower,
				upper;
	bool		empty;

	range_deserialize(encoder->typcache, range, &lower, &upper, &empty);
	cc_key_byte(key, empty ? END_LOW : PRESENT);
	if (!empty)
		encode_bounds(encoder, &lower, &upper, key);
	if ((Pointer) range != DatumGetPointer(value))
		pfree(range);
}

static void
encode_multirange(const ConcordEncoder *encoder, Datum value, CcKey *key)
{
	MultirangeType *multirange = DatumGetMultirangeTypeP(value);

	for (uint32 i = 0; i < multirange->rangeCount; i++)
	{
		RangeBound	lower,
					upper;

		multirange_get_bounds(encoder->typcache, multirange, i, &lower, &upper);
		cc_key_byte(key, PRESENT);
		encode_bounds(encoder, &lower, &upper, key);
	}
	cc_key_byte(key, END_LOW);
	if ((Pointer) multirange != DatumGetPointer(value))
		pfree(multirange);
}

/* As record_image_cmp compares it: by its bytes, but not by how it is stored. */
static void
encode_image(Form_pg_attribute attribute, Datum value, CcKey *key)
{
	if (attribute->attbyval)
		cc_key_uint64(key, value);
	else if (attribute->attlen > 0)
		cc_key_raw(key, DatumGetPointer(value), attribute->attlen);
	else if (attribute->attlen == -1)
	{
		struct varlena *packed = PG_DETOAST_DATUM_PACKED(value);

		cc_key_bytes(key, VARDATA_ANY(packed), VARSIZE_ANY_EXHDR(packed));
		if ((Pointer) packed != DatumGetPointer(value))
			pfree(packed);
	}
	else
		elog(ERROR, "unexpected attlen: %d", attribute->attlen);
}

static void
encode_row(const ConcordEncoder *encoder, Datum value, CcKey *key)
{
	HeapTupleHeader row = DatumGetHeapTupleHeader(value);
	TupleDesc	descriptor = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(row), HeapTupleHeaderGetTypMod(row));
	HeapTupleData tuple = {.t_len = HeapTupleHeaderGetDatumLength(row), .t_data = row};
	Datum	   *values = palloc(descriptor->natts * sizeof(Datum));
	bool	   *isnull = palloc(descriptor->natts * sizeof(bool));
	int			part = 0,
				nulls = 0;

	ItemPointerSetInvalid(&tuple.t_self);
	heap_deform_tuple(&tuple, descriptor, values, isnull);
	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);

		if (attribute->attisdropped)
			continue;
		if (isnull[i])
			nulls++;
		else
		{
			for (; nulls > 0; nulls--)
				cc_key_byte(key, NULL_HIGH);
			cc_key_byte(key, PRESENT);
			if (encoder->encoding == CONCORD_ROW_IMAGE)
				encode_image(attribute, values[i], key);
			else if (part < encoder->part_count)
				concord_encode_value(encoder->parts[part], values[i], key);
			else
				elog(ERROR, "row type %u has more attributes than its encoding", HeapTupleHeaderGetTypeId(row));
		}
		part++;
	}
	cc_key_byte(key, END_HIGH);
	pfree(values);
	pfree(isnull);
	ReleaseTupleDesc(descriptor);
	if ((Pointer) row != DatumGetPointer(value))
		pfree(row);
}

void
concord_encode_compound(const ConcordEncoder *encoder, Datum value, CcKey *key)
{
	check_stack_depth();
	switch (encoder->encoding)
	{
		case CONCORD_ARRAY:
			encode_array(encoder, value, key);
			break;
		case CONCORD_RANGE:
			encode_range(encoder, value, key);
			break;
		case CONCORD_MULTIRANGE:
			encode_multirange(encoder, value, key);
			break;
		default:
			encode_row(encoder, value, key);
			break;
	}
}

/* ---- values that come from outside ---- */

static int
next_attribute(TupleDesc descriptor, int at)
{
	while (at < descriptor->natts && TupleDescAttr(descriptor, at)->attisdropped)
		at++;
	return at;
}

/* record_cmp compares rows of different types, as long as their attributes have the same. */
static bool
same_attributes(TupleDesc a, TupleDesc b)
{
	int			i = next_attribute(a, 0),
				j = next_attribute(b, 0);

	while (i < a->natts && j < b->natts)
	{
		if (TupleDescAttr(a, i)->atttypid != TupleDescAttr(b, j)->atttypid ||
			TupleDescAttr(a, i)->attcollation != TupleDescAttr(b, j)->attcollation)
			return false;
		i = next_attribute(a, i + 1);
		j = next_attribute(b, j + 1);
	}
	return i >= a->natts && j >= b->natts;
}

static bool
accepts_row(const ConcordEncoder *encoder, Datum value)
{
	HeapTupleHeader row = DatumGetHeapTupleHeader(value);
	Oid			type = HeapTupleHeaderGetTypeId(row);
	TupleDesc	theirs,
				ours;
	bool		accepted;

	if (type == encoder->type)
		return true;
	theirs = lookup_rowtype_tupdesc(type, HeapTupleHeaderGetTypMod(row));
	ours = lookup_rowtype_tupdesc(encoder->type, -1);
	accepted = same_attributes(theirs, ours);
	ReleaseTupleDesc(ours);
	ReleaseTupleDesc(theirs);
	return accepted;
}

bool
concord_encoder_accepts(const ConcordEncoder *encoder, Datum value)
{
	switch (encoder->encoding)
	{
		case CONCORD_ARRAY:
			return AARR_ELEMTYPE(DatumGetAnyArrayP(value)) == encoder->typcache->type_id;
		case CONCORD_RANGE:
			return RangeTypeGetOid(DatumGetRangeTypeP(value)) == encoder->type;
		case CONCORD_MULTIRANGE:
			return MultirangeTypeGetOid(DatumGetMultirangeTypeP(value)) == encoder->type;
		case CONCORD_ROW:
		case CONCORD_ROW_IMAGE:
			return accepts_row(encoder, value);
		default:
			return true;
	}
}
