/*
 * Datums to key bytes: columns of an entry, arguments of a comparison with a column, and the value of an entry.
 *
 * The bytes themselves are made by core/key_encoding.h; here is what takes a Datum apart.
 */
#include "indexam/indexam.h"

#include <math.h>

#include "access/htup_details.h"
#include "access/nbtree.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type_d.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/cash.h"
#include "utils/date.h"
#include "utils/inet.h"
#include "utils/numeric.h"
#include "utils/pg_lsn.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
#include "utils/varbit.h"
#include "utils/xid8.h"

/* What btree takes (BTMaxItemSize): three to a page. */
#define INDEX_TUPLE_MAX \
	MAXALIGN_DOWN((BLCKSZ - MAXALIGN(SizeOfPageHeaderData + 3 * sizeof(ItemIdData) + 3 * sizeof(ItemPointerData)) - \
				   MAXALIGN(sizeof(BTPageOpaqueData))) / 3)

/* A stored timestamp differs from the same moment in any zone by less than this. */
#define WIDEST_ZONE (2 * USECS_PER_DAY)

static float4
enum_sort_order(Oid label)
{
	HeapTuple	tuple = SearchSysCache1(ENUMOID, ObjectIdGetDatum(label));
	float4		order;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid internal value for enum: %u", label)));
	order = ((Form_pg_enum) GETSTRUCT(tuple))->enumsortorder;
	ReleaseSysCache(tuple);
	return order;
}

static void
encode_text(const ConcordEncoder *encoder, const char *text, size_t size, CcKey *key)
{
	if (encoder->icu != NULL)
		concord_encode_sort_key(encoder, text, size, key);
	else
		cc_key_bytes(key, text, size);
}

static void
encode_varlena(const ConcordEncoder *encoder, Datum value, CcKey *key)
{
	struct varlena *packed = PG_DETOAST_DATUM_PACKED(value);
	const char *data = VARDATA_ANY(packed);
	size_t		size = VARSIZE_ANY_EXHDR(packed);

	switch (encoder->encoding)
	{
		case CONCORD_NUMERIC:
			if (!cc_key_numeric(key, data, size))
				elog(ERROR, "invalid numeric of %zu bytes", size);
			break;
		case CONCORD_TEXT:
			encode_text(encoder, data, size, key);
			break;
		case CONCORD_BPCHAR:
			if (encoder->icu != NULL)
				encode_text(encoder, data, bpchartruelen((char *) data, size), key);
			else
				cc_key_blank_padded(key, data, size);
			break;
		case CONCORD_NETWORK:
			{
				const inet_struct *address = (const inet_struct *) data;

				cc_key_network(key, address->family, address->bits, address->ipaddr);
				break;
			}
		case CONCORD_BITS:
			{
				int32		bit_count;

				memcpy(&bit_count, data, sizeof(bit_count));
				cc_key_bits(key, data + sizeof(bit_count), bit_count);
				break;
			}
		default:
			cc_key_bytes(key, data, size);
			break;
	}
	if ((Pointer) packed != DatumGetPointer(value))
		pfree(packed);
}

void
concord_encode_value(const ConcordEncoder *encoder, Datum value, CcKey *key)
{
	switch (encoder->encoding)
	{
		case CONCORD_BOOL:
			cc_key_byte(key, DatumGetBool(value));
			break;
		case CONCORD_CHAR:
			cc_key_byte(key, (uint8) DatumGetChar(value));
			break;
		case CONCORD_INT2:
			cc_key_int16(key, DatumGetInt16(value));
			break;
		case CONCORD_INT4:
			cc_key_int32(key, DatumGetInt32(value));
			break;
		case CONCORD_DATE:
			cc_key_int32(key, DatumGetDateADT(value));
			break;
		case CONCORD_INT8:
			cc_key_int64(key, DatumGetInt64(value));
			break;
		case CONCORD_TIME:
			cc_key_int64(key, DatumGetTimeADT(value));
			break;
		case CONCORD_TIMESTAMP:
		case CONCORD_TIMESTAMPTZ:
			cc_key_int64(key, DatumGetTimestamp(value));
			break;
		case CONCORD_UINT4:
			cc_key_uint32(key, DatumGetObjectId(value));
			break;
		case CONCORD_UINT8:
			cc_key_uint64(key, DatumGetUInt64(value));
			break;
		case CONCORD_FLOAT4:
			cc_key_float4(key, DatumGetFloat4(value));
			break;
		case CONCORD_FLOAT8:
			cc_key_float8(key, DatumGetFloat8(value));
			break;
		case CONCORD_ENUM:
			cc_key_float4(key, enum_sort_order(DatumGetObjectId(value)));
			break;
		case CONCORD_NAME:
			/* a Name, or the C string that an index tuple holds in its place */
			encode_text(encoder, DatumGetPointer(value), strnlen(DatumGetPointer(value), NAMEDATALEN), key);
			break;
		case CONCORD_UUID:
			cc_key_raw(key, DatumGetUUIDP(value)->data, UUID_LEN);
			break;
		case CONCORD_MACADDR:
			cc_key_raw(key, DatumGetMacaddrP(value), sizeof(macaddr));
			break;
		case CONCORD_MACADDR8:
			cc_key_raw(key, DatumGetMacaddr8P(value), sizeof(macaddr8));
			break;
		case CONCORD_INTERVAL:
			{
				Interval   *interval = DatumGetIntervalP(value);

				cc_key_interval(key, interval->month, interval->day, interval->time);
				break;
			}
		case CONCORD_TIMETZ:
			{
				TimeTzADT  *time = DatumGetTimeTzADTP(value);

				cc_key_timetz(key, time->time, time->zone);
				break;
			}
		case CONCORD_TID:
			{
				ItemPointer tid = (ItemPointer) DatumGetPointer(value);

				cc_key_uint32(key, ItemPointerGetBlockNumberNoCheck(tid));
				cc_key_uint16(key, ItemPointerGetOffsetNumberNoCheck(tid));
				break;
			}
		case CONCORD_NUMERIC:
		case CONCORD_TEXT:
		case CONCORD_BPCHAR:
		case CONCORD_BYTEA:
		case CONCORD_BITS:
		case CONCORD_NETWORK:
			encode_varlena(encoder, value, key);
			break;
		case CONCORD_ARRAY:
		case CONCORD_RANGE:
		case CONCORD_MULTIRANGE:
		case CONCORD_ROW:
		case CONCORD_ROW_IMAGE:
			concord_encode_compound(encoder, value, key);
			break;
		case CONCORD_HASH:
			cc_key_uint32(key, DatumGetUInt32(FunctionCall1Coll(encoder->hash, encoder->collation, value)));
			break;
	}
}

/* Appends a column that is not NULL. */
static void
encode_present(const ConcordColumn *column, const ConcordEncoder *encoder, Datum value, CcKey *key)
{
	size_t		from;

	cc_key_byte(key, CC_PRESENT);
	from = key->size;
	concord_encode_value(encoder, value, key);
	if (column->descending)
		cc_key_invert(key, from);
}

void
concord_encode_columns(const ConcordIndex *ix, Datum *values, bool *isnull, CcKey *key, bool *has_null)
{
	*has_null = false;
	for (int i = 0; i < ix->key_count; i++)
	{
		const ConcordColumn *column = &ix->columns[i];

		if (isnull[i])
		{
			*has_null = true;
			cc_key_byte(key, column->nulls_first ? CC_NULL_FIRST : CC_NULL_LAST);
		}
		else
			encode_present(column, column->encoder, values[i], key);
	}
}

void
concord_encode_body(Relation index, const ConcordIndex *ix, Datum *values, bool *isnull, uint64 rowid,
					ConcordBody *body, size_t *columns_size, bool *has_null)
{
	concord_body_init(body);
	concord_encode_columns(ix, values, isnull, &body->key, has_null);
	if (body->key.size > CC_WHOLE_COLUMNS)
		concord_shorten_columns(ix, values, isnull, &body->key);
	*columns_size = body->key.size;
	if (!concord_key_is_whole_body(ix, *columns_size, *has_null))
		cc_key_uint64(&body->key, rowid);
}

/* As btree does: what it cannot hold, an index of the same definition on heap could not either. */
static void
refuse_large(Relation index, IndexTuple tuple)
{
	Relation	table = RelationIdGetRelation(index->rd_index->indrelid);

	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("index row size %zu exceeds btree version %u maximum %zu for index \"%s\"",
					IndexTupleSize(tuple), BTREE_VERSION, INDEX_TUPLE_MAX, RelationGetRelationName(index)),
			 errdetail("Index row references tuple (%u,%u) in relation \"%s\".",
					   ItemPointerGetBlockNumber(&tuple->t_tid), ItemPointerGetOffsetNumber(&tuple->t_tid),
					   RelationGetRelationName(table)),
			 errhint("Values larger than 1/3 of a buffer page cannot be indexed.\n"
					 "Consider a function index of an MD5 hash of the value, or use full text indexing."),
			 errtableconstraint(table, RelationGetRelationName(index))));
}

uint8 *
concord_form_entry(Relation index, Datum *values, bool *isnull, uint64 rowid, size_t *size)
{
	IndexTuple	tuple = index_form_tuple(RelationGetDescr(index), values, isnull);
	uint8	   *value;

	concord_tid_from_rowid(&tuple->t_tid, rowid);
	if (IndexTupleSize(tuple) > INDEX_TUPLE_MAX)
		refuse_large(index, tuple);
	*size = CONCORD_ENTRY_HEADER + IndexTupleSize(tuple);
	value = palloc(*size);
	memcpy(value, &rowid, sizeof(rowid));
	memcpy(value + CONCORD_ENTRY_HEADER, tuple, IndexTupleSize(tuple));
	pfree(tuple);
	return value;
}

/* ---- arguments of comparisons ---- */

/* The argument rounded into the column's type: exact, or a bound on both sides. */
static ConcordArgument
encode_rounded(const ConcordColumn *column, Datum rounded, bool exact, CcKey *low, CcKey *high)
{
	encode_present(column, column->encoder, rounded, low);
	if (exact)
		return CONCORD_ARGUMENT_EXACT;
	encode_present(column, column->encoder, rounded, high);
	return CONCORD_ARGUMENT_BETWEEN;
}

static ConcordArgument
encode_integer(const ConcordColumn *column, Oid type, Datum argument, CcKey *low, CcKey *high)
{
	int64		value,
				rounded;

	switch (type)
	{
		case INT2OID:
			value = DatumGetInt16(argument);
			break;
		case INT4OID:
			value = DatumGetInt32(argument);
			break;
		case INT8OID:
			value = DatumGetInt64(argument);
			break;
		default:
			return CONCORD_ARGUMENT_UNKNOWN;
	}
	switch (column->encoder->encoding)
	{
		case CONCORD_INT2:
			rounded = Max(PG_INT16_MIN, Min(PG_INT16_MAX, value));
			return encode_rounded(column, Int16GetDatum(rounded), rounded == value, low, high);
		case CONCORD_INT4:
			rounded = Max(PG_INT32_MIN, Min(PG_INT32_MAX, value));
			return encode_rounded(column, Int32GetDatum(rounded), rounded == value, low, high);
		default:
			return encode_rounded(column, Int64GetDatum(value), true, low, high);
	}
}

static ConcordArgument
encode_float(const ConcordColumn *column, Oid type, Datum argument, CcKey *low, CcKey *high)
{
	if (column->encoder->encoding == CONCORD_FLOAT8 && type == FLOAT4OID)
		return encode_rounded(column, Float8GetDatum(DatumGetFloat4(argument)), true, low, high);
	if (column->encoder->encoding == CONCORD_FLOAT4 && type == FLOAT8OID)
	{
		float8		value = DatumGetFloat8(argument);
		float4		rounded = (float4) value;

		return encode_rounded(column, Float4GetDatum(rounded), isnan(value) || rounded == value, low, high);
	}
	return CONCORD_ARGUMENT_UNKNOWN;
}

/* Both bounds at once. */
static ConcordArgument
encode_between(const ConcordColumn *column, Datum lowest, Datum highest, CcKey *low, CcKey *high)
{
	encode_present(column, column->encoder, lowest, low);
	encode_present(column, column->encoder, highest, high);
	return CONCORD_ARGUMENT_BETWEEN;
}

/* A date that may be out of a timestamp's range, above all finite ones or below. */
static ConcordArgument
encode_converted(const ConcordColumn *column, Timestamp converted, int overflow, CcKey *low, CcKey *high)
{
	if (overflow > 0)
		converted = END_TIMESTAMP - 1;
	else if (overflow < 0)
		converted = MIN_TIMESTAMP;
	return encode_rounded(column, TimestampGetDatum(converted), overflow == 0, low, high);
}

static DateADT
date_at_or_before(Timestamp moment)
{
	int64		days = moment / USECS_PER_DAY;

	if (moment % USECS_PER_DAY < 0)
		days--;
	return (DateADT) days;
}

static ConcordArgument
encode_datetime(const ConcordColumn *column, Oid type, Datum argument, CcKey *low, CcKey *high)
{
	Timestamp	moment;
	int			overflow;

	switch (column->encoder->encoding)
	{
		case CONCORD_DATE:
			if (type != TIMESTAMPOID && type != TIMESTAMPTZOID)
				return CONCORD_ARGUMENT_UNKNOWN;
			moment = DatumGetTimestamp(argument);
			if (TIMESTAMP_IS_NOBEGIN(moment))
				return encode_rounded(column, DateADTGetDatum(DATEVAL_NOBEGIN), true, low, high);
			if (TIMESTAMP_IS_NOEND(moment))
				return encode_rounded(column, DateADTGetDatum(DATEVAL_NOEND), true, low, high);
			if (type == TIMESTAMPOID)
				return encode_rounded(column, DateADTGetDatum(date_at_or_before(moment)),
									  moment % USECS_PER_DAY == 0, low, high);
			return encode_between(column, DateADTGetDatum(date_at_or_before(moment - WIDEST_ZONE)),
								  DateADTGetDatum(date_at_or_before(moment + WIDEST_ZONE)), low, high);

		case CONCORD_TIMESTAMP:
			if (type == DATEOID)
			{
				moment = date2timestamp_opt_overflow(DatumGetDateADT(argument), &overflow);
				return encode_converted(column, moment, overflow, low, high);
			}
			if (type != TIMESTAMPTZOID)
				return CONCORD_ARGUMENT_UNKNOWN;
			moment = DatumGetTimestampTz(argument);
			if (TIMESTAMP_NOT_FINITE(moment))
				return encode_rounded(column, TimestampGetDatum(moment), true, low, high);
			/* The operator turns the column's value into the session's zone, which does not always keep the order. */
			return encode_between(column, TimestampGetDatum(moment - WIDEST_ZONE),
								  TimestampGetDatum(moment + WIDEST_ZONE), low, high);

		case CONCORD_TIMESTAMPTZ:
			if (type == DATEOID)
				moment = date2timestamptz_opt_overflow(DatumGetDateADT(argument), &overflow);
			else if (type == TIMESTAMPOID)
				moment = timestamp2timestamptz_opt_overflow(DatumGetTimestamp(argument), &overflow);
			else
				return CONCORD_ARGUMENT_UNKNOWN;
			return encode_converted(column, moment, overflow, low, high);

		default:
			return CONCORD_ARGUMENT_UNKNOWN;
	}
}

/* A name compared with text, or the other way round. */
static ConcordArgument
encode_text_or_name(const ConcordColumn *column, Oid type, Datum argument, CcKey *low)
{
	ConcordEncoder as = *column->encoder;

	if (type == NAMEOID)
		as.encoding = CONCORD_NAME;
	else if (type == TEXTOID)
		as.encoding = CONCORD_TEXT;
	else
		return CONCORD_ARGUMENT_UNKNOWN;
	encode_present(column, &as, argument, low);
	return CONCORD_ARGUMENT_EXACT;
}

ConcordArgument
concord_encode_argument(const ConcordColumn *column, Oid type, Datum argument, CcKey *low, CcKey *high)
{
	if (!OidIsValid(type) || type == column->type)
	{
		if (!concord_encoder_accepts(column->encoder, argument))
			return CONCORD_ARGUMENT_UNKNOWN;
		return encode_rounded(column, argument, true, low, high);
	}
	switch (column->encoder->encoding)
	{
		case CONCORD_INT2:
		case CONCORD_INT4:
		case CONCORD_INT8:
			return encode_integer(column, type, argument, low, high);
		case CONCORD_FLOAT4:
		case CONCORD_FLOAT8:
			return encode_float(column, type, argument, low, high);
		case CONCORD_DATE:
		case CONCORD_TIMESTAMP:
		case CONCORD_TIMESTAMPTZ:
			return encode_datetime(column, type, argument, low, high);
		case CONCORD_TEXT:
		case CONCORD_NAME:
			return encode_text_or_name(column, type, argument, low);
		default:
			return CONCORD_ARGUMENT_UNKNOWN;
	}
}
