/*
 * Scan keys to ranges of entry bodies and conditions. See scan_keys.h.
 *
 * A range may be wider than the keys ask for, never narrower; a key is dropped from the conditions only where the range says
 * the same. Redundant and contradictory keys need no treatment of their own: ranges are intersected.
 */
#include "indexam/scan_keys.h"

#include "access/nbtree.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

/* What a key says of its column, given the columns before. */
typedef enum Effect
{
	EFFECT_CONDITION,			/* at most a wider range: check the entries */
	EFFECT_RANGE,				/* just the range */
	EFFECT_POINT,				/* just one value, or those of one lossy encoding: the prefix grows by it */
	EFFECT_NOTHING				/* no entry can match */
} Effect;

ConcordScanKeys *
concord_scan_keys_create(const ConcordIndex *ix, ScanKey keys, int key_count)
{
	ConcordScanKeys *self = palloc0(sizeof(ConcordScanKeys));

	self->ix = ix;
	self->key_count = key_count;
	self->keys = keys;
	if (key_count > 0)
	{
		self->arrays = palloc0(key_count * sizeof(ConcordArrayKey));
		self->conditions = palloc0(key_count * sizeof(ConcordCondition));
		self->context = AllocSetContextCreate(CurrentMemoryContext, "Concord scan keys", ALLOCSET_SMALL_SIZES);
	}
	return self;
}

/* ---- ranges ---- */

static void
copy_body(ConcordBody *to, const ConcordBody *from)
{
	to->key.size = Min(from->key.size, from->key.capacity);
	memcpy(to->bytes, from->bytes, to->key.size);
}

static int
compare_bodies(const ConcordBody *a, const ConcordBody *b)
{
	int			order = memcmp(a->bytes, b->bytes, Min(a->key.size, b->key.size));

	if (order != 0)
		return order;
	return a->key.size < b->key.size ? -1 : a->key.size > b->key.size;
}

/* Nothing below `body`. */
static void
raise_low(ConcordScanKeys *self, ConcordBody *body)
{
	if (compare_bodies(body, &self->low) > 0)
		copy_body(&self->low, body);
}

/* Nothing at or above `body`. */
static void
cut_high(ConcordScanKeys *self, ConcordBody *body)
{
	if (!self->has_high || compare_bodies(body, &self->high) < 0)
	{
		copy_body(&self->high, body);
		self->has_high = true;
	}
}

/* Nothing that begins with `body`, nor below. Changes `body`. */
static void
raise_low_past(ConcordScanKeys *self, ConcordBody *body)
{
	/* A column begins with a marker byte below FF. */
	if (!cc_key_successor(&body->key))
		elog(ERROR, "index bound has no successor");
	raise_low(self, body);
}

/* Nothing above what begins with `body`. Changes `body`. */
static void
cut_high_past(ConcordScanKeys *self, ConcordBody *body)
{
	if (cc_key_successor(&body->key))
		cut_high(self, body);
}

static void
body_from_prefix(ConcordBody *body, const ConcordBody *prefix)
{
	concord_body_init(body);
	cc_key_raw(&body->key, prefix->bytes, prefix->key.size);
}

/* Everything that begins with `prefix` and the byte. */
static void
narrow_to_marker(ConcordScanKeys *self, const ConcordBody *prefix, uint8 marker)
{
	ConcordBody body;

	body_from_prefix(&body, prefix);
	cc_key_byte(&body.key, marker);
	raise_low(self, &body);
	cut_high_past(self, &body);
}

/* `point` is a body that begins with the prefix. If it does not fit, no entry has it. */
static Effect
narrow_to_point(ConcordScanKeys *self, ConcordBody *point, ConcordBody *next_prefix)
{
	if (!concord_body_fits(point))
		return EFFECT_NOTHING;
	copy_body(next_prefix, point);
	raise_low(self, point);
	cut_high_past(self, point);
	return EFFECT_POINT;
}

static StrategyNumber
commute(StrategyNumber strategy)
{
	return BTMaxStrategyNumber + 1 - strategy;
}

/* Narrows by one comparison; `low` and `high` are in order of bytes here, equal if `exact`. */
static Effect
narrow_by_bounds(ConcordScanKeys *self, StrategyNumber strategy, bool exact, ConcordBody *low, ConcordBody *high)
{
	exact = exact && concord_body_fits(low);
	switch (strategy)
	{
		case BTLessStrategyNumber:
			if (exact)
				cut_high(self, low);
			else
				cut_high_past(self, high);
			break;
		case BTLessEqualStrategyNumber:
			cut_high_past(self, high);
			break;
		case BTEqualStrategyNumber:
			raise_low(self, low);
			cut_high_past(self, high);
			break;
		case BTGreaterEqualStrategyNumber:
			raise_low(self, low);
			break;
		case BTGreaterStrategyNumber:
			if (exact)
				raise_low_past(self, low);
			else
				raise_low(self, low);
			break;
		default:
			elog(ERROR, "unrecognized strategy number: %d", strategy);
	}
	return exact ? EFFECT_RANGE : EFFECT_CONDITION;
}

static Effect
narrow_by_comparison(ConcordScanKeys *self, ScanKey key, const ConcordBody *prefix, ConcordBody *next_prefix)
{
	const ConcordColumn *column = &self->ix->columns[key->sk_attno - 1];
	bool		equality = key->sk_strategy == BTEqualStrategyNumber;
	StrategyNumber strategy = column->descending ? commute(key->sk_strategy) : key->sk_strategy;
	ConcordBody low,
				high;
	ConcordArgument argument;

	/* No operator of btree is true of NULL. */
	narrow_to_marker(self, prefix, CC_PRESENT);
	if (!column->encoder->ordered && !equality)
		return EFFECT_CONDITION;

	body_from_prefix(&low, prefix);
	body_from_prefix(&high, prefix);
	argument = concord_encode_argument(column, key->sk_subtype, key->sk_argument, &low.key, &high.key);
	if (argument == CONCORD_ARGUMENT_UNKNOWN)
		return EFFECT_CONDITION;
	if (argument == CONCORD_ARGUMENT_EXACT)
	{
		if (equality)
			return narrow_to_point(self, &low, next_prefix);
		high.key.size = low.key.size;
		memcpy(high.bytes, low.bytes, Min(low.key.size, low.key.capacity));
		return narrow_by_bounds(self, strategy, true, &low, &high);
	}
	if (column->descending)
		return narrow_by_bounds(self, strategy, false, &high, &low);
	return narrow_by_bounds(self, strategy, false, &low, &high);
}

/*
 * A row comparison: the members that name columns one after another in one direction, with arguments of their own type, make
 * one long bound. It is inclusive, and the entries are checked: a NULL further right decides only where all before is equal.
 */
static Effect
narrow_by_row(ConcordScanKeys *self, ScanKey header, const ConcordBody *prefix)
{
	ScanKey		member = (ScanKey) DatumGetPointer(header->sk_argument);
	const ConcordColumn *first = &self->ix->columns[member->sk_attno - 1];
	StrategyNumber strategy = first->descending ? commute(member->sk_strategy) : member->sk_strategy;
	AttrNumber	expected = header->sk_attno;
	ConcordBody bound,
				unused;

	if (member->sk_flags & SK_ISNULL)
		return EFFECT_NOTHING;
	narrow_to_marker(self, prefix, CC_PRESENT);
	body_from_prefix(&bound, prefix);
	for (;; member++, expected++)
	{
		const ConcordColumn *column = &self->ix->columns[member->sk_attno - 1];
		size_t		before = bound.key.size;

		if (member->sk_attno != expected || (member->sk_flags & SK_ISNULL) || !column->encoder->ordered ||
			column->descending != first->descending || !concord_body_fits(&bound))
			break;
		concord_body_init(&unused);
		if (concord_encode_argument(column, member->sk_subtype, member->sk_argument, &bound.key,
									&unused.key) != CONCORD_ARGUMENT_EXACT)
		{
			bound.key.size = before;
			break;
		}
		if (member->sk_flags & SK_ROW_END)
			break;
	}
	if (bound.key.size > prefix->key.size)
		(void) narrow_by_bounds(self, strategy, false, &bound, &bound);
	return EFFECT_CONDITION;
}

static ConcordArrayKey *
array_of_key(ConcordScanKeys *self, ScanKey key)
{
	for (int i = 0; i < self->array_count; i++)
		if (&self->keys[self->arrays[i].key] == key)
			return &self->arrays[i];
	return NULL;
}

static Effect
narrow_by_array(ConcordScanKeys *self, ScanKey key, const ConcordBody *prefix, ConcordBody *next_prefix)
{
	ConcordArrayKey *array = array_of_key(self, key);
	ConcordArrayElement *element;
	ConcordBody point;

	narrow_to_marker(self, prefix, CC_PRESENT);
	if (!array->points)
		return EFFECT_CONDITION;
	array->used = true;
	element = &array->elements[array->current];
	body_from_prefix(&point, prefix);
	cc_key_raw(&point.key, element->bytes, element->size);
	return narrow_to_point(self, &point, next_prefix);
}

static Effect
narrow_by_key(ConcordScanKeys *self, ScanKey key, const ConcordBody *prefix, ConcordBody *next_prefix)
{
	if (key->sk_flags & SK_ROW_HEADER)
		return narrow_by_row(self, key, prefix);
	if (key->sk_flags & SK_SEARCHNULL)
	{
		ConcordBody point;

		body_from_prefix(&point, prefix);
		cc_key_byte(&point.key, self->ix->columns[key->sk_attno - 1].nulls_first ? CC_NULL_FIRST : CC_NULL_LAST);
		return narrow_to_point(self, &point, next_prefix);
	}
	if (key->sk_flags & SK_SEARCHNOTNULL)
	{
		narrow_to_marker(self, prefix, CC_PRESENT);
		return EFFECT_RANGE;
	}
	if (key->sk_flags & SK_SEARCHARRAY)
		return narrow_by_array(self, key, prefix, next_prefix);
	return narrow_by_comparison(self, key, prefix, next_prefix);
}

static void
add_condition(ConcordScanKeys *self, ScanKey key)
{
	ConcordCondition *condition = &self->conditions[self->condition_count++];

	condition->key = key;
	condition->array = (key->sk_flags & SK_SEARCHARRAY) ? array_of_key(self, key) : NULL;
}

void
concord_scan_keys_free(ConcordScanKeys *self)
{
	if (self->key_count > 0)
	{
		MemoryContextDelete(self->context);
		pfree(self->arrays);
		pfree(self->conditions);
	}
	pfree(self);
}

bool
concord_scan_keys_range(ConcordScanKeys *self)
{
	ConcordBody prefix,
				next_prefix;
	int			i = 0;
	bool		empty = false;
	MemoryContext caller;

	concord_body_init(&self->low);
	concord_body_init(&self->high);
	self->has_high = false;
	self->condition_count = 0;
	if (self->key_count == 0)
		return true;

	caller = MemoryContextSwitchTo(self->context);
	concord_body_init(&prefix);
	concord_body_init(&next_prefix);
	for (AttrNumber column = 1; i < self->key_count && self->keys[i].sk_attno == column; column++)
	{
		bool		point = false;

		for (; i < self->key_count && self->keys[i].sk_attno == column; i++)
		{
			Effect		effect = narrow_by_key(self, &self->keys[i], &prefix, &next_prefix);

			if (effect == EFFECT_CONDITION || (effect == EFFECT_POINT && self->ix->columns[column - 1].encoder->lossy))
				add_condition(self, &self->keys[i]);
			if (effect == EFFECT_POINT)
				point = true;
			else if (effect == EFFECT_NOTHING)
				empty = true;
		}
		if (!point)
			break;
		copy_body(&prefix, &next_prefix);
	}
	for (; i < self->key_count; i++)
		add_condition(self, &self->keys[i]);
	MemoryContextSwitchTo(caller);
	return !empty && !(self->has_high && compare_bodies(&self->low, &self->high) >= 0);
}

/* ---- arrays ---- */

static int
compare_elements(const void *a, const void *b)
{
	const ConcordArrayElement *x = a;
	const ConcordArrayElement *y = b;
	int			order = memcmp(x->bytes, y->bytes, Min(x->size, y->size));

	if (order != 0)
		return order;
	return x->size < y->size ? -1 : x->size > y->size;
}

/* Takes an array apart. Elements of `=` that no value of the column's type equals are left out. */
static void
prepare_array(ConcordScanKeys *self, ScanKey key, ConcordArrayKey *array)
{
	const ConcordColumn *column = &self->ix->columns[key->sk_attno - 1];
	ArrayType  *value = DatumGetArrayTypeP(key->sk_argument);
	Oid			element_type = OidIsValid(key->sk_subtype) ? key->sk_subtype : column->type;
	int16		length;
	bool		by_value;
	char		align;
	Datum	   *datums;
	bool	   *nulls;
	int			count;
	bool		equality = key->sk_strategy == BTEqualStrategyNumber;

	get_typlenbyvalalign(ARR_ELEMTYPE(value), &length, &by_value, &align);
	deconstruct_array(value, ARR_ELEMTYPE(value), length, by_value, align, &datums, &nulls, &count);
	array->values = datums;
	array->value_count = 0;
	array->elements = palloc0(Max(count, 1) * sizeof(ConcordArrayElement));
	array->count = 0;
	array->points = equality;
	for (int i = 0; i < count; i++)
	{
		ConcordArrayElement *element = &array->elements[array->count];
		ConcordBody low,
					high;

		if (nulls[i])
			continue;
		array->values[array->value_count++] = datums[i];
		if (!array->points)
			continue;

		concord_body_init(&low);
		concord_body_init(&high);
		switch (concord_encode_argument(column, element_type, datums[i], &low.key, &high.key))
		{
			case CONCORD_ARGUMENT_EXACT:
				if (!concord_body_fits(&low))
					break;		/* too long to be in an entry */
				array->count++;
				element->size = low.key.size;
				element->bytes = palloc(low.key.size);
				memcpy(element->bytes, low.bytes, low.key.size);
				break;
			case CONCORD_ARGUMENT_BETWEEN:
			case CONCORD_ARGUMENT_UNKNOWN:
				array->points = false;
				break;
		}
	}
	if (array->points && array->count > 1)
	{
		int			distinct = 0;

		qsort(array->elements, array->count, sizeof(ConcordArrayElement), compare_elements);
		for (int i = 1; i < array->count; i++)
			if (compare_elements(&array->elements[distinct], &array->elements[i]) != 0)
				array->elements[++distinct] = array->elements[i];
		array->count = distinct + 1;
	}
}

void
concord_scan_keys_start(ConcordScanKeys *self)
{
	MemoryContext caller;

	self->array_count = 0;
	self->impossible = false;
	if (self->key_count == 0)
		return;
	MemoryContextReset(self->context);
	caller = MemoryContextSwitchTo(self->context);
	for (int i = 0; i < self->key_count; i++)
	{
		ScanKey		key = &self->keys[i];

		if ((key->sk_flags & SK_ISNULL) && !(key->sk_flags & (SK_SEARCHNULL | SK_SEARCHNOTNULL | SK_ROW_HEADER)))
			self->impossible = true;	/* comparison with NULL */
		else if (key->sk_flags & SK_SEARCHARRAY)
		{
			ConcordArrayKey *array = &self->arrays[self->array_count++];

			array->key = i;
			array->used = false;
			prepare_array(self, key, array);
			if (array->points ? array->count == 0 : array->value_count == 0)
				self->impossible = true;
			array->current = 0;
		}
	}
	MemoryContextSwitchTo(caller);
}

void
concord_scan_keys_rewind(ConcordScanKeys *self, ScanDirection direction)
{
	for (int i = 0; i < self->array_count; i++)
		self->arrays[i].current = ScanDirectionIsBackward(direction) ? self->arrays[i].count - 1 : 0;
}

bool
concord_scan_keys_advance(ConcordScanKeys *self, ScanDirection direction)
{
	for (int i = self->array_count - 1; i >= 0; i--)
	{
		ConcordArrayKey *array = &self->arrays[i];

		if (!array->used)
			continue;
		if (ScanDirectionIsBackward(direction))
		{
			if (--array->current >= 0)
				return true;
			array->current = array->count - 1;
		}
		else
		{
			if (++array->current < array->count)
				return true;
			array->current = 0;
		}
	}
	return false;
}

/* ---- conditions ---- */

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

void
concord_scan_keys_seek(const ConcordScanKeys *keys, CcScan *cursor, bool backward)
{
	if (!backward)
		concord_check(cc_scan_seek(cursor, keys->low.bytes, keys->low.key.size, false, false));
	else if (keys->has_high)
		concord_check(cc_scan_seek(cursor, keys->high.bytes, keys->high.key.size, true, false));
	else
		concord_check(cc_scan_seek(cursor, NULL, 0, true, false));
}
