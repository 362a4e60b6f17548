/*
 * What a Concord index's columns are: which encoding, which direction, ordered or not; once for each index and backend.
 */
#include "indexam/indexam.h"

#include "access/nbtree.h"
#include "catalog/dependency.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_opclass.h"
#include "commands/defrem.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
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

static void
raise_no_encoding(Oid type, Oid refused)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("type %s cannot be indexed by access method concord_btree", format_type_be(type)),
			 type != refused
			 ? errdetail("It contains type %s, which has neither an encoding nor a hash function of the same equality.",
						 format_type_be(refused))
			 : errdetail("It has neither an encoding nor a hash function of the same equality."),
			 errhint("Put the column under INCLUDE, or index an expression of another type.")));
}

/* The encoder of a key column, in the caller's memory context. */
static ConcordEncoder *
create_encoder(RegProcedure comparison, Oid family, Oid class_type, Oid type, Oid collation)
{
	Oid			equality = get_opfamily_member(family, class_type, class_type, BTEqualStrategyNumber);
	Oid			refused;
	ConcordEncoder *encoder = concord_encoder_create(comparison, equality, type, collation, &refused);

	if (encoder == NULL)
		raise_no_encoding(type, refused);
	return encoder;
}

/*
 * Encoders stay for the backend's life, since whoever encodes by one may call functions that make this index be described
 * anew. So one that is as it was is not made again.
 */
static const ConcordEncoder *
keep_encoder(const ConcordEncoder *known, Relation index, int column)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "Concord encoder", ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	ConcordEncoder *encoder = create_encoder(index_getprocid(index, column + 1, BTORDER_PROC), index->rd_opfamily[column],
											 index->rd_opcintype[column],
											 TupleDescAttr(RelationGetDescr(index), column)->atttypid,
											 index->rd_indcollation[column]);

	MemoryContextSwitchTo(caller);
	if (known != NULL && concord_encoder_equal(known, encoder))
	{
		MemoryContextDelete(context);
		return known;
	}
	MemoryContextSetParent(context, CacheMemoryContext);
	return encoder;
}

static void
describe(Relation index, ConcordIndex *ix)
{
	ix->key_count = IndexRelationGetNumberOfKeyAttributes(index);
	ix->unique = index->rd_index->indisunique;
	ix->immediate = index->rd_index->indimmediate;
	ix->nulls_not_distinct = index->rd_index->indnullsnotdistinct;
	ix->ordered = true;
	ix->lossy = false;
	for (int i = 0; i < ix->key_count; i++)
	{
		ConcordColumn *column = &ix->columns[i];

		column->encoder = keep_encoder(column->encoder, index, i);
		column->type = index->rd_opcintype[i];
		column->descending = (index->rd_indoption[i] & INDOPTION_DESC) != 0;
		column->nulls_first = (index->rd_indoption[i] & INDOPTION_NULLS_FIRST) != 0;
		ix->ordered &= column->encoder->ordered;
		ix->lossy |= column->encoder->lossy;
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
	{
		ix->valid = false;
		memset(ix->columns, 0, sizeof(ix->columns));
	}
	if (!ix->valid)
	{
		/* A message that arrives while types and collations are looked up must not be overwritten. */
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

/* The operator classes whose hash functions the entries' bytes come from. */
static void
depend_on_hash_classes(const ConcordEncoder *encoder, const ObjectAddress *index)
{
	ObjectAddress opclass;

	if (encoder->encoding == CONCORD_HASH)
	{
		ObjectAddressSet(opclass, OperatorClassRelationId, GetDefaultOpClass(encoder->type, HASH_AM_OID));
		if (OidIsValid(opclass.objectId))
			recordDependencyOn(index, &opclass, DEPENDENCY_NORMAL);
	}
	for (int i = 0; i < encoder->part_count; i++)
		depend_on_hash_classes(encoder->parts[i], index);
}

void
concord_index_check_column(Oid indexid, Oid type, Oid opclass, Oid collation)
{
	Oid			family = get_opclass_family(opclass);
	Oid			class_type = get_opclass_input_type(opclass);
	RegProcedure comparison = get_opfamily_proc(family, class_type, class_type, BTORDER_PROC);
	ObjectAddress index;

	ObjectAddressSet(index, RelationRelationId, indexid);
	depend_on_hash_classes(create_encoder(comparison, family, class_type, type, collation), &index);
}

bool
concord_index_is_ordered(Relation index)
{
	return concord_index_describe(index)->ordered;
}

bool
concord_index_same_key(Relation index, const ConcordIndex *ix, Datum *values, Datum *others, bool *isnull)
{
	for (int i = 0; i < ix->key_count; i++)
		if (ix->columns[i].encoder->lossy && !isnull[i] &&
			DatumGetInt32(FunctionCall2Coll(index_getprocinfo(index, i + 1, BTORDER_PROC), index->rd_indcollation[i],
											values[i], others[i])) != 0)
			return false;
	return true;
}
