/*
 * Conditions that a scan's range leaves to be checked on the entries within it.
 */
#include "indexam/scan_keys.h"

#include "access/nbtree.h"

/* As SQL compares rows: NULL is no match; the first unequal column decides. */
static bool
match_row(ScanKey header, IndexTuple tuple, TupleDesc descriptor)
{
	ScanKey		member = (ScanKey) DatumGetPointer(header->sk_argument);
	int32		order;

	for (;; member++)
	{
		bool		isnull;
		Datum		value = index_getattr(tuple, member->sk_attno, descriptor, &isnull);

		if (isnull || (member->sk_flags & SK_ISNULL))
			return false;
		order = DatumGetInt32(FunctionCall2Coll(&member->sk_func, member->sk_collation, value, member->sk_argument));
		if (order != 0 || (member->sk_flags & SK_ROW_END))
			break;
	}
	switch (member->sk_strategy)
	{
		case BTLessStrategyNumber:
			return order < 0;
		case BTLessEqualStrategyNumber:
			return order <= 0;
		case BTGreaterEqualStrategyNumber:
			return order >= 0;
		case BTGreaterStrategyNumber:
			return order > 0;
		default:
			elog(ERROR, "unrecognized strategy number of a row comparison: %d", member->sk_strategy);
	}
}

static bool
match_array(ScanKey key, const ConcordArrayKey *array, Datum value)
{
	for (int i = 0; i < array->value_count; i++)
		if (DatumGetBool(FunctionCall2Coll(&key->sk_func, key->sk_collation, value, array->values[i])))
			return true;
	return false;
}

bool
concord_scan_keys_match(ConcordScanKeys *self, IndexTuple tuple, TupleDesc descriptor)
{
	for (int i = 0; i < self->condition_count; i++)
	{
		ConcordCondition *condition = &self->conditions[i];
		ScanKey		key = condition->key;
		Datum		value;
		bool		isnull;

		if (key->sk_flags & SK_ROW_HEADER)
		{
			if (!match_row(key, tuple, descriptor))
				return false;
			continue;
		}
		value = index_getattr(tuple, key->sk_attno, descriptor, &isnull);
		if (key->sk_flags & SK_SEARCHNULL)
		{
			if (!isnull)
				return false;
		}
		else if (isnull)
			return false;
		else if (key->sk_flags & SK_SEARCHNOTNULL)
			continue;
		else if (condition->array != NULL)
		{
			if (!match_array(key, condition->array, value))
				return false;
		}
		else if (!DatumGetBool(FunctionCall2Coll(&key->sk_func, key->sk_collation, value, key->sk_argument)))
			return false;
	}
	return true;
}
