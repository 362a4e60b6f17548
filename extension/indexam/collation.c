/*
 * Text by its collation.
 *
 * In C and POSIX the order of bytes is the order of values. ICU's collations have sort keys, which memcmp orders as the
 * collation does; PostgreSQL relies on them too. A deterministic collation then compares the bytes, a nondeterministic one
 * takes what it does not tell apart for equal. libc's strxfrm cannot be relied on (PostgreSQL's TRUST_STRXFRM): there text is
 * encoded by its bytes, which serves equality, since libc's collations are deterministic.
 *
 * Of those one has the order of its bytes all the same: C.UTF-8, in which glibc from 2.35 on compares by strcmp. That changes
 * nothing of the encoding; an older glibc would merely not see the order.
 */
#include "indexam/indexam.h"

#include <gnu/libc-version.h>

#include "catalog/pg_collation.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/pg_locale.h"
#include "utils/syscache.h"

/* LC_COLLATE of a libc collation, or of the database. */
static char *
collate_name(Oid collation)
{
	HeapTuple	tuple;
	Datum		name;
	bool		isnull;
	char	   *result;

	if (collation == DEFAULT_COLLATION_OID)
		return pstrdup(GetConfigOption("lc_collate", false, false));
	tuple = SearchSysCache1(COLLOID, ObjectIdGetDatum(collation));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for collation %u", collation);
	name = SysCacheGetAttr(COLLOID, tuple, Anum_pg_collation_collcollate, &isnull);
	result = isnull ? pstrdup("") : TextDatumGetCString(name);
	ReleaseSysCache(tuple);
	return result;
}

/* True of C.UTF-8, however it is spelt, if glibc compares bytes in it. */
static bool
is_byte_order(Oid collation)
{
	int			major,
				minor;
	char	   *name;
	bool		result;

	if (GetDatabaseEncoding() != PG_UTF8 || sscanf(gnu_get_libc_version(), "%d.%d", &major, &minor) != 2 ||
		major < 2 || (major == 2 && minor < 35))
		return false;
	name = collate_name(collation);
	result = pg_strcasecmp(name, "C.UTF-8") == 0 || pg_strcasecmp(name, "C.utf8") == 0;
	pfree(name);
	return result;
}

void
concord_encoder_set_collation(ConcordEncoder *encoder, Oid collation)
{
	pg_locale_t locale;

	if (!OidIsValid(collation))
	{
		encoder->ordered = false;	/* a comparison of order will raise that there is no collation */
		return;
	}
	if (lc_collate_is_c(collation))
		return;
	locale = pg_newlocale_from_collation(collation);
	if (locale != NULL && locale->provider == COLLPROVIDER_ICU)
		encoder->icu = locale;
	else
		encoder->ordered = is_byte_order(collation);
}

/* Sort keys of most values fit here. */
#define SORT_KEY_ROOM 512

void
concord_encode_sort_key(const ConcordEncoder *encoder, const char *text, size_t size, CcKey *key)
{
	UCollator  *collator = encoder->icu->info.icu.ucol;
	UChar	   *wide;
	int32_t		length = icu_to_uchar(&wide, text, size);
	uint8		room[SORT_KEY_ROOM];
	uint8	   *sort_key = room;
	int32_t		needed = ucol_getSortKey(collator, wide, length, room, sizeof(room));

	if (needed > (int32_t) sizeof(room))
	{
		sort_key = palloc(needed);
		needed = ucol_getSortKey(collator, wide, length, sort_key, needed);
	}
	if (needed <= 0)
		elog(ERROR, "could not make the sort key of a text of %zu bytes", size);
	/* It ends with the only zero in it. */
	cc_key_bytes(key, sort_key, needed - 1);
	if (encoder->icu->deterministic)
		cc_key_bytes(key, text, size);
	if (sort_key != room)
		pfree(sort_key);
	pfree(wide);
}
