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

/* ---- bounds ---- */

/*
 * Bounds are made of whole columns. Those that do not fit into a body have memory of their own.
 */
static void
reserve(ConcordScanKeys *self, ConcordBody *body, size_t size)
{
	uint8	   *data;

	if (likely(size <= body->key.capacity))
		return;
	if (self->long_context == NULL)
		self->long_context = AllocSetContextCreate(self->context, "Concord long bounds", ALLOCSET_DEFAULT_SIZES);
	data = MemoryContextAllocHuge(self->long_context, size);
	memcpy(data, body->key.data, Min(body->key.size, body->key.capacity));
	body->key.data = data;
	body->key.capacity = size;
}

static void
append(ConcordScanKeys *self, ConcordBody *body, const uint8 *bytes, size_t size)
{
	reserve(self, body, body->key.size + size);
	cc_key_raw(&body->key, bytes, size);
}

static void
copy_body(ConcordScanKeys *self, ConcordBody *to, const ConcordBody *from)
{
	to->key.size = 0;
	append(self, to, from->key.data, from->key.size);
}

/* ---- ranges ---- */

/* Nothing below `body`. */
static void
raise_low(ConcordScanKeys *self, ConcordBody *body)
{
	if (concord_compare_keys(&body->key, &self->low.key) > 0)
		copy_body(self, &self->low, body);
}

/* Nothing at or above `body`. */
static void
cut_high(ConcordScanKeys *self, ConcordBody *body)
{
	if (!self->has_high || concord_compare_keys(&body->key, &self->high.key) < 0)
	{
		copy_body(self, &self->high, body);
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
body_from_prefix(ConcordScanKeys *self, ConcordBody *body, const ConcordBody *prefix)
{
	concord_body_init(body);
	append(self, body, prefix->key.data, prefix->key.size);
}

/* Appends the argument of a comparison to `low` and, if it is between two, to `high`. */
static ConcordArgument
append_argument(ConcordScanKeys *self, const ConcordColumn *column, Oid type, Datum argument, ConcordBody *low,
				ConcordBody *high)
{
	size_t		low_size = low->key.size,
				high_size = high->key.size,
				low_needed,
				high_needed;
	ConcordArgument result = concord_encode_argument(column, type, argument, &low->key, &high->key);

	if (likely(concord_body_fits(low) && concord_body_fits(high)))
		return result;
	/* Again, in room for all. */
	low_needed = low->key.size;
	high_needed = high->key.size;
	low->key.size = low_size;
	high->key.size = high_size;
	reserve(self, low, low_needed);
	reserve(self, high, high_needed);
	return concord_encode_argument(column, type, argument, &low->key, &high->key);
}

/* Everything that begins with `prefix` and the byte. */
static void
narrow_to_marker(ConcordScanKeys *self, const ConcordBody *prefix, uint8 marker)
{
	ConcordBody body;

	body_from_prefix(self, &body, prefix);
	append(self, &body, &marker, 1);
	raise_low(self, &body);
	cut_high_past(self, &body);
}

/* `point` is the prefix and one value more. */
static Effect
narrow_to_point(ConcordScanKeys *self, ConcordBody *point, ConcordBody *next_prefix)
{
	copy_body(self, next_prefix, point);
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

	body_from_prefix(self, &low, prefix);
	body_from_prefix(self, &high, prefix);
	argument = append_argument(self, column, key->sk_subtype, key->sk_argument, &low, &high);
	if (argument == CONCORD_ARGUMENT_UNKNOWN)
		return EFFECT_CONDITION;
	if (argument == CONCORD_ARGUMENT_EXACT)
	{
		if (equality)
			return narrow_to_point(self, &low, next_prefix);
		copy_body(self, &high, &low);
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
	body_from_prefix(self, &bound, prefix);
	for (;; member++, expected++)
	{
		const ConcordColumn *column = &self->ix->columns[member->sk_attno - 1];
		size_t		before = bound.key.size;

		if (member->sk_attno != expected || (member->sk_flags & SK_ISNULL) || !column->encoder->ordered ||
			column->descending != first->descending)
			break;
		concord_body_init(&unused);
		if (append_argument(self, column, member->sk_subtype, member->sk_argument, &bound, &unused) !=
			CONCORD_ARGUMENT_EXACT)
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
	body_from_prefix(self, &point, prefix);
	append(self, &point, element->bytes, element->size);
	return narrow_to_point(self, &point, next_prefix);
}

static Effect
narrow_by_key(ConcordScanKeys *self, ScanKey key, const ConcordBody *prefix, ConcordBody *next_prefix)
{
	if (key->sk_flags & SK_ROW_HEADER)
		return narrow_by_row(self, key, prefix);
	if (key->sk_flags & SK_SEARCHNULL)
	{
		uint8		marker = self->ix->columns[key->sk_attno - 1].nulls_first ? CC_NULL_FIRST : CC_NULL_LAST;
		ConcordBody point;

		body_from_prefix(self, &point, prefix);
		append(self, &point, &marker, 1);
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

static void
keep_long_bound(ConcordScanKeys *self, CcKey *bound, const ConcordBody *from)
{
	bound->data = MemoryContextAllocHuge(self->long_context, from->key.size);
	bound->size = bound->capacity = from->key.size;
	memcpy(bound->data, from->key.data, from->key.size);
}

/* Back into the body's own bytes; `size` of what it holds. */
static void
cut_body(ConcordBody *body, size_t size)
{
	if (body->key.data != body->bytes)
		memcpy(body->bytes, body->key.data, size);
	body->key.data = body->bytes;
	body->key.size = size;
	body->key.capacity = sizeof(body->bytes);
}

/*
 * Low or high are too long for a body: keeps them as the long bounds, and makes of them what bodies can be compared with. If `point`,
 * all columns have one value each, and the range is one body.
 */
static void
shorten_bounds(ConcordScanKeys *self, bool point)
{
	self->long_bounds = true;
	if (self->long_context == NULL)
		self->long_context = AllocSetContextCreate(self->context, "Concord long bounds", ALLOCSET_DEFAULT_SIZES);
	keep_long_bound(self, &self->long_low, &self->low);
	self->long_high.data = NULL;
	if (self->has_high)
		keep_long_bound(self, &self->long_high, &self->high);

	if (point && self->low.key.size > CC_WHOLE_COLUMNS)
	{
		cut_body(&self->low, CC_WHOLE_COLUMNS);
		cc_columns_shorten(self->long_low.data, self->long_low.size, self->low.bytes);
		self->low.key.size = CC_SHORTENED_COLUMNS;
		concord_body_init(&self->high);
		cc_key_raw(&self->high.key, self->low.bytes, self->low.key.size);
		self->has_high = cc_key_successor(&self->high.key);
		return;
	}
	cc_bound_shorten_low(&self->low.key);
	cut_body(&self->low, self->low.key.size);
	if (self->has_high)
	{
		cc_bound_shorten_high(&self->high.key);
		cut_body(&self->high, self->high.key.size);
	}
}

bool
concord_scan_keys_admit(const ConcordScanKeys *self, const CcKey *columns)
{
	return concord_compare_keys(columns, &self->long_low) >= 0 &&
		(self->long_high.data == NULL || concord_compare_keys(columns, &self->long_high) < 0);
}

bool
concord_scan_keys_range(ConcordScanKeys *self)
{
	ConcordBody prefix,
				next_prefix;
	int			i = 0,
				points = 0;
	bool		empty = false;
	MemoryContext caller;

	concord_body_init(&self->low);
	concord_body_init(&self->high);
	self->has_high = false;
	self->condition_count = 0;
	self->long_bounds = false;
	for (int a = 0; a < self->array_count; a++)
		self->arrays[a].used = false;
	if (self->key_count == 0)
		return true;
	if (self->long_context != NULL)
		MemoryContextReset(self->long_context);

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
		points++;
		copy_body(self, &prefix, &next_prefix);
	}
	for (; i < self->key_count; i++)
		add_condition(self, &self->keys[i]);
	MemoryContextSwitchTo(caller);
	if (empty || (self->has_high && concord_compare_keys(&self->low.key, &self->high.key) >= 0))
		return false;
	if (unlikely(self->low.key.size > CC_WHOLE_COLUMNS || self->high.key.size > CC_WHOLE_COLUMNS))
		shorten_bounds(self, points == self->ix->key_count);
	else if (self->long_context != NULL)
	{
		cut_body(&self->low, self->low.key.size);
		cut_body(&self->high, self->high.key.size);
	}
	return true;
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
		switch (append_argument(self, column, element_type, datums[i], &low, &high))
		{
			case CONCORD_ARGUMENT_EXACT:
				array->count++;
				element->size = low.key.size;
				element->bytes = MemoryContextAllocHuge(self->context, low.key.size);
				memcpy(element->bytes, low.key.data, low.key.size);
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
	self->long_context = NULL;	/* went with it */
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
			prepare_array(self, key, array);
			if (array->points ? array->count == 0 : array->value_count == 0)
				self->impossible = true;
			array->current = 0;
		}
	}
	MemoryContextSwitchTo(caller);
}

static int
first_element(const ConcordArrayKey *array, ScanDirection direction)
{
	return ScanDirectionIsBackward(direction) ? array->count - 1 : 0;
}

void
concord_scan_keys_rewind(ConcordScanKeys *self, ScanDirection direction)
{
	for (int i = 0; i < self->array_count; i++)
		self->arrays[i].current = first_element(&self->arrays[i], direction);
}

bool
concord_scan_keys_advance(ConcordScanKeys *self, ScanDirection direction)
{
	int			step = ScanDirectionIsBackward(direction) ? -1 : 1;

	for (int i = self->array_count - 1; i >= 0; i--)
	{
		ConcordArrayKey *array = &self->arrays[i];
		int			next = array->current + step;

		/* An array that the range had no use for has been passed with it. */
		if (array->used && next >= 0 && next < array->count)
		{
			array->current = next;
			return true;
		}
		array->current = first_element(array, direction);
	}
	return false;
}

CcRange
concord_scan_keys_expected(const ConcordScanKeys *keys, uint64 prefix, uint64 rows_of, bool backward)
{
	CcRange		range = {
		.prefix = prefix,
		.rows_of = rows_of,
		.low = keys->low.bytes,
		.low_size = keys->low.key.size,
		.high = keys->has_high ? keys->high.bytes : NULL,
		.high_size = keys->has_high ? keys->high.key.size : 0,
		.backward = backward
	};

	return range;
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

void
concord_scan_keys_note(const ConcordScanKeys *keys, CcScan *cursor)
{
	concord_check(cc_scan_note(cursor, keys->low.bytes, keys->low.key.size,
							   keys->has_high ? keys->high.bytes : NULL, keys->high.key.size));
}
