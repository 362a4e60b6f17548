/*
 * Which encoding a type has.
 *
 * It follows from the operator class's comparison function: whatever operator class compares by int4's function is ordered as
 * int4 is. Compound types are encoded by what they consist of, which their comparison functions compare by the default btree
 * class of its type. Where the function is not known here, there remains the type's hash function, if it belongs to the
 * same equality.
 */
#include "indexam/indexam.h"

#include "access/htup_details.h"
#include "access/nbtree.h"
#include "access/tupdesc.h"
#include "catalog/pg_range.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

/* Of types that consist of nothing else. False if the function is none of those. */
static bool
simple_encoding(RegProcedure comparison, ConcordEncoding *encoding)
{
	switch (comparison)
	{
		case F_BTBOOLCMP:
			*encoding = CONCORD_BOOL;
			return true;
		case F_BTCHARCMP:
			*encoding = CONCORD_CHAR;
			return true;
		case F_BTINT2CMP:
			*encoding = CONCORD_INT2;
			return true;
		case F_BTINT4CMP:
			*encoding = CONCORD_INT4;
			return true;
		case F_BTINT8CMP:
		case F_CASH_CMP:
			*encoding = CONCORD_INT8;
			return true;
		case F_BTOIDCMP:
			*encoding = CONCORD_UINT4;
			return true;
		case F_PG_LSN_CMP:
		case F_XID8CMP:
			*encoding = CONCORD_UINT8;
			return true;
		case F_BTFLOAT4CMP:
			*encoding = CONCORD_FLOAT4;
			return true;
		case F_BTFLOAT8CMP:
			*encoding = CONCORD_FLOAT8;
			return true;
		case F_NUMERIC_CMP:
			*encoding = CONCORD_NUMERIC;
			return true;
		case F_BTTEXTCMP:
		case F_BTTEXT_PATTERN_CMP:
			*encoding = CONCORD_TEXT;
			return true;
		case F_BTNAMECMP:
			*encoding = CONCORD_NAME;
			return true;
		case F_BPCHARCMP:
		case F_BTBPCHAR_PATTERN_CMP:
			*encoding = CONCORD_BPCHAR;
			return true;
		case F_BYTEACMP:
			*encoding = CONCORD_BYTEA;
			return true;
		case F_BITCMP:
		case F_VARBITCMP:
			*encoding = CONCORD_BITS;
			return true;
		case F_UUID_CMP:
			*encoding = CONCORD_UUID;
			return true;
		case F_DATE_CMP:
			*encoding = CONCORD_DATE;
			return true;
		case F_TIME_CMP:
			*encoding = CONCORD_TIME;
			return true;
		case F_TIMETZ_CMP:
			*encoding = CONCORD_TIMETZ;
			return true;
		case F_TIMESTAMP_CMP:
			*encoding = CONCORD_TIMESTAMP;
			return true;
		case F_TIMESTAMPTZ_CMP:
			*encoding = CONCORD_TIMESTAMPTZ;
			return true;
		case F_INTERVAL_CMP:
			*encoding = CONCORD_INTERVAL;
			return true;
		case F_NETWORK_CMP:
			*encoding = CONCORD_NETWORK;
			return true;
		case F_MACADDR_CMP:
			*encoding = CONCORD_MACADDR;
			return true;
		case F_MACADDR8_CMP:
			*encoding = CONCORD_MACADDR8;
			return true;
		case F_ENUM_CMP:
			*encoding = CONCORD_ENUM;
			return true;
		case F_BTTIDCMP:
			*encoding = CONCORD_TID;
			return true;
		default:
			return false;
	}
}

/* Adds the encoder of a part; false if it has none. The whole is as good as its parts. */
static bool
add_part(ConcordEncoder *encoder, ConcordEncoder *part)
{
	if (part == NULL)
		return false;
	encoder->parts[encoder->part_count++] = part;
	encoder->ordered &= part->ordered;
	encoder->lossy |= part->lossy;
	return true;
}

static bool
add_default_part(ConcordEncoder *encoder, Oid type, Oid collation, Oid *refused)
{
	return add_part(encoder, concord_encoder_create_default(type, collation, refused));
}

static bool
add_element(ConcordEncoder *encoder, Oid *refused)
{
	Oid			element = get_element_type(encoder->type);

	encoder->encoding = CONCORD_ARRAY;
	encoder->parts = palloc(sizeof(ConcordEncoder *));
	if (!OidIsValid(element))
		return false;			/* not a true array */
	encoder->typcache = lookup_type_cache(element, 0);
	return add_default_part(encoder, element, encoder->collation, refused);
}

/* The equality of the operator class that a range type was made with. */
static Oid
bound_equality(TypeCacheEntry *range)
{
	HeapTuple	tuple = SearchSysCache1(RANGETYPE, ObjectIdGetDatum(range->type_id));
	Oid			opclass;
	Oid			type;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for range type %u", range->type_id);
	opclass = ((Form_pg_range) GETSTRUCT(tuple))->rngsubopc;
	ReleaseSysCache(tuple);
	type = get_opclass_input_type(opclass);
	return get_opfamily_member(get_opclass_family(opclass), type, type, BTEqualStrategyNumber);
}

static bool
add_bound(ConcordEncoder *encoder, TypeCacheEntry *range, Oid *refused)
{
	encoder->typcache = range;
	encoder->parts = palloc(sizeof(ConcordEncoder *));
	return add_part(encoder, concord_encoder_create(range->rng_cmp_proc_finfo.fn_oid, bound_equality(range),
													range->rngelemtype->type_id, range->rng_collation, refused));
}

static bool
add_range(ConcordEncoder *encoder, Oid *refused)
{
	encoder->encoding = CONCORD_RANGE;
	return add_bound(encoder, lookup_type_cache(encoder->type, TYPECACHE_RANGE_INFO), refused);
}

static bool
add_multirange(ConcordEncoder *encoder, Oid *refused)
{
	encoder->encoding = CONCORD_MULTIRANGE;
	return add_bound(encoder, lookup_type_cache(encoder->type, TYPECACHE_MULTIRANGE_INFO)->rngtype, refused);
}

static bool
add_attributes(ConcordEncoder *encoder, Oid *refused)
{
	TupleDesc	row = lookup_rowtype_tupdesc_copy(encoder->type, -1);
	bool		all = true;

	encoder->encoding = CONCORD_ROW;
	encoder->parts = palloc(Max(row->natts, 1) * sizeof(ConcordEncoder *));
	for (int i = 0; all && i < row->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(row, i);

		if (!attribute->attisdropped)
			all = add_default_part(encoder, attribute->atttypid, attribute->attcollation, refused);
	}
	FreeTupleDesc(row);
	return all;
}

/*
 * The type's hash function, the one of 32 bits: what is on disk must not change should the operator class get one of 64. It
 * must be of the same equality.
 */
static bool
set_hash(ConcordEncoder *encoder, Oid equality)
{
	TypeCacheEntry *entry = lookup_type_cache(encoder->type, TYPECACHE_EQ_OPR | TYPECACHE_HASH_PROC);

	encoder->encoding = CONCORD_HASH;
	encoder->ordered = false;
	encoder->lossy = true;
	if (!OidIsValid(equality) || equality != entry->eq_opr || !OidIsValid(entry->hash_proc))
		return false;
	encoder->hash = palloc(sizeof(FmgrInfo));
	fmgr_info_cxt(entry->hash_proc, encoder->hash, CurrentMemoryContext);
	return true;
}

ConcordEncoder *
concord_encoder_create(RegProcedure comparison, Oid equality, Oid type, Oid collation, Oid *refused)
{
	ConcordEncoder *encoder = palloc0(sizeof(ConcordEncoder));
	bool		made;

	check_stack_depth();
	encoder->ordered = true;
	encoder->type = getBaseType(type);
	encoder->collation = collation;
	*refused = type;
	switch (comparison)
	{
		case F_BTARRAYCMP:
			made = add_element(encoder, refused);
			break;
		case F_RANGE_CMP:
			made = add_range(encoder, refused);
			break;
		case F_MULTIRANGE_CMP:
			made = add_multirange(encoder, refused);
			break;
		case F_BTRECORDCMP:
			made = add_attributes(encoder, refused);
			break;
		case F_BTRECORDIMAGECMP:
			encoder->encoding = CONCORD_ROW_IMAGE;
			made = true;
			break;
		case F_BTTEXTCMP:
		case F_BTNAMECMP:
		case F_BPCHARCMP:
			concord_encoder_set_collation(encoder, collation);
			made = simple_encoding(comparison, &encoder->encoding);
			break;
		default:
			made = simple_encoding(comparison, &encoder->encoding) || set_hash(encoder, equality);
			break;
	}
	return made ? encoder : NULL;
}

ConcordEncoder *
concord_encoder_create_default(Oid type, Oid collation, Oid *refused)
{
	TypeCacheEntry *entry = lookup_type_cache(type, TYPECACHE_CMP_PROC | TYPECACHE_EQ_OPR);

	return concord_encoder_create(entry->cmp_proc, entry->eq_opr, type, collation, refused);
}

bool
concord_encoder_equal(const ConcordEncoder *a, const ConcordEncoder *b)
{
	if (a->encoding != b->encoding || a->ordered != b->ordered || a->lossy != b->lossy || a->type != b->type ||
		a->collation != b->collation || a->icu != b->icu || a->typcache != b->typcache ||
		(a->hash == NULL) != (b->hash == NULL) || (a->hash != NULL && a->hash->fn_oid != b->hash->fn_oid) ||
		a->part_count != b->part_count)
		return false;
	for (int i = 0; i < a->part_count; i++)
		if (!concord_encoder_equal(a->parts[i], b->parts[i]))
			return false;
	return true;
}
