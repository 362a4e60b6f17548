/*
 * What a Concord index's columns are: which encoding, which direction, ordered or not; once for each index and backend.
 *
 * The encoding follows from the operator class's comparison function: whatever operator class compares by int4's function is
 * ordered as int4 is, and one that compares by a function not known here has no encoding.
 */
#include "indexam/indexam.h"

#include "access/nbtree.h"
#include "catalog/pg_collation.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/pg_locale.h"
#include "utils/rel.h"

static HTAB *described;

static void
invalidate(Datum arg, Oid relid)
{
	ConcordIndex *ix;

	if (OidIsValid(relid))
	{
		ix = hash_search(described, &relid, HASH_FIND, NULL);
		if (ix != NULL)
			ix->valid = false;
	}
	else
	{
		HASH_SEQ_STATUS all;

		hash_seq_init(&all, described);
		while ((ix = hash_seq_search(&all)) != NULL)
			ix->valid = false;
	}
}

static ConcordEncoding
encoding_of(RegProcedure comparison)
{
	switch (comparison)
	{
		case F_BTBOOLCMP:
			return CONCORD_BOOL;
		case F_BTCHARCMP:
			return CONCORD_CHAR;
		case F_BTINT2CMP:
			return CONCORD_INT2;
		case F_BTINT4CMP:
			return CONCORD_INT4;
		case F_BTINT8CMP:
		case F_CASH_CMP:
			return CONCORD_INT8;
		case F_BTOIDCMP:
			return CONCORD_UINT4;
		case F_PG_LSN_CMP:
		case F_XID8CMP:
			return CONCORD_UINT8;
		case F_BTFLOAT4CMP:
			return CONCORD_FLOAT4;
		case F_BTFLOAT8CMP:
			return CONCORD_FLOAT8;
		case F_NUMERIC_CMP:
			return CONCORD_NUMERIC;
		case F_BTTEXTCMP:
		case F_BTTEXT_PATTERN_CMP:
			return CONCORD_TEXT;
		case F_BTNAMECMP:
			return CONCORD_NAME;
		case F_BPCHARCMP:
		case F_BTBPCHAR_PATTERN_CMP:
			return CONCORD_BPCHAR;
		case F_BYTEACMP:
			return CONCORD_BYTEA;
		case F_BITCMP:
		case F_VARBITCMP:
			return CONCORD_BITS;
		case F_UUID_CMP:
			return CONCORD_UUID;
		case F_DATE_CMP:
			return CONCORD_DATE;
		case F_TIME_CMP:
			return CONCORD_TIME;
		case F_TIMETZ_CMP:
			return CONCORD_TIMETZ;
		case F_TIMESTAMP_CMP:
			return CONCORD_TIMESTAMP;
		case F_TIMESTAMPTZ_CMP:
			return CONCORD_TIMESTAMPTZ;
		case F_INTERVAL_CMP:
			return CONCORD_INTERVAL;
		case F_NETWORK_CMP:
			return CONCORD_NETWORK;
		case F_MACADDR_CMP:
			return CONCORD_MACADDR;
		case F_MACADDR8_CMP:
			return CONCORD_MACADDR8;
		case F_ENUM_CMP:
			return CONCORD_ENUM;
		case F_BTTIDCMP:
			return CONCORD_TID;
		default:
			return CONCORD_NONE;
	}
}

/* Text in its collation: ordered only if that compares bytes; without equal bytes no values may be equal. */
static bool
collation_orders_bytes(const char *indexname, RegProcedure comparison, Oid collation)
{
	switch (comparison)
	{
		case F_BTTEXTCMP:
		case F_BTNAMECMP:
		case F_BPCHARCMP:
			if (OidIsValid(collation) && !get_collation_isdeterministic(collation))
				ereport(ERROR,
						(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						 errmsg("nondeterministic collations are not supported for access method concord_btree"),
						 errdetail("Index \"%s\" has a column with such a collation.", indexname),
						 errhint("Use a deterministic collation for the index.")));
			return lc_collate_is_c(collation);
		default:
			return true;
	}
}

static void
raise_no_encoding(Oid type)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("type %s has no order-preserving encoding for access method concord_btree", format_type_be(type)),
			 errhint("Put the column under INCLUDE, or index an expression of another type.")));
}

static void
describe(Relation index, ConcordIndex *ix)
{
	ix->key_count = IndexRelationGetNumberOfKeyAttributes(index);
	ix->unique = index->rd_index->indisunique;
	ix->immediate = index->rd_index->indimmediate;
	ix->nulls_not_distinct = index->rd_index->indnullsnotdistinct;
	ix->ordered = true;
	for (int i = 0; i < ix->key_count; i++)
	{
		ConcordColumn *column = &ix->columns[i];
		RegProcedure comparison = index_getprocid(index, i + 1, BTORDER_PROC);

		column->encoding = encoding_of(comparison);
		if (column->encoding == CONCORD_NONE)
			raise_no_encoding(TupleDescAttr(RelationGetDescr(index), i)->atttypid);
		column->type = index->rd_opcintype[i];
		column->descending = (index->rd_indoption[i] & INDOPTION_DESC) != 0;
		column->nulls_first = (index->rd_indoption[i] & INDOPTION_NULLS_FIRST) != 0;
		column->ordered = collation_orders_bytes(RelationGetRelationName(index), comparison,
												 index->rd_indcollation[i]);
		ix->ordered &= column->ordered;
	}
}

const ConcordIndex *
concord_index_describe(Relation index)
{
	Oid			relid = RelationGetRelid(index);
	ConcordIndex *ix;
	bool		found;

	if (described == NULL)
	{
		HASHCTL		control = {.keysize = sizeof(Oid), .entrysize = sizeof(ConcordIndex)};

		described = hash_create("Concord indexes", 64, &control, HASH_ELEM | HASH_BLOBS);
		CacheRegisterRelcacheCallback(invalidate, (Datum) 0);
	}
	ix = hash_search(described, &relid, HASH_ENTER, &found);
	if (!found)
		ix->valid = false;
	if (!ix->valid)
	{
		/* A message that arrives while the collations are looked up must not be overwritten. */
		ix->valid = true;
		PG_TRY();
		{
			describe(index, ix);
		}
		PG_CATCH();
		{
			ix->valid = false;
			PG_RE_THROW();
		}
		PG_END_TRY();
	}
	return ix;
}

void
concord_index_check_column(Relation index, int column, Oid opclass, Oid collation)
{
	Oid			type = get_opclass_input_type(opclass);
	RegProcedure comparison = get_opfamily_proc(get_opclass_family(opclass), type, type, BTORDER_PROC);

	if (encoding_of(comparison) == CONCORD_NONE)
		raise_no_encoding(TupleDescAttr(RelationGetDescr(index), column)->atttypid);
	(void) collation_orders_bytes(RelationGetRelationName(index), comparison, collation);
}

bool
concord_index_is_ordered(Relation index)
{
	return concord_index_describe(index)->ordered;
}
