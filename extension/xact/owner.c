/*
 * owner.c
 *		The record of who leased which storage ids. See owner.h.
 */
#include "xact/owner.h"

#include "access/xlog.h"
#include "port/pg_bswap.h"

#define OWNER_NAME "owner/"
#define OWNER_NAME_SIZE 6
#define OWNER_BODY_SIZE (OWNER_NAME_SIZE + sizeof(uint32))
#define SYSTEM_PREFIX_SIZE 8

static void
owner_body(uint32 first, uint8 *body)
{
	uint32		be = pg_hton32(first);

	memcpy(body, OWNER_NAME, OWNER_NAME_SIZE);
	memcpy(body + OWNER_NAME_SIZE, &be, sizeof(be));
}

/* Reads an entry of a cursor over the system keys; false if it is not one of ours. */
static bool
parse(const CcEntry *entry, uint32 *first, ConcordOwnerRecord *record)
{
	if (entry->key_size != OWNER_BODY_SIZE || memcmp(entry->key, OWNER_NAME, OWNER_NAME_SIZE) != 0)
		return false;
	if (entry->value_size != sizeof(*record))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("a record of leased storage ids has %zu bytes", entry->value_size)));
	memcpy(first, entry->key + OWNER_NAME_SIZE, sizeof(*first));
	*first = pg_ntoh32(*first);
	/* Little-endian, as core/bytes.h asserts of every machine this runs on. */
	memcpy(record, entry->value, sizeof(*record));
	return true;
}

void
concord_owner_extend(uint64 lsn, uint64 first, uint64 count, uint8 *key, ConcordOwnerRecord *record)
{
	uint8		last[OWNER_BODY_SIZE];
	uint32		range_first = (uint32) first;
	CcCursor   *cursor;
	CcEntry		entry;
	CcStatus	status;

	owner_body(PG_UINT32_MAX, last);
	concord_check(cc_cursor_open(0, lsn, &cursor));
	concord_check(cc_cursor_seek(cursor, last, sizeof(last), true, false));
	status = cc_cursor_next(cursor, true, &entry);
	if (status != CC_OK || !parse(&entry, &range_first, record) ||
		record->server != GetSystemIdentifier() || record->end != first)
		range_first = (uint32) first;
	cc_cursor_close(cursor);
	if (status != CC_END)
		concord_check(status);

	memset(key, 0, SYSTEM_PREFIX_SIZE);
	owner_body(range_first, key + SYSTEM_PREFIX_SIZE);
	record->server = GetSystemIdentifier();
	record->end = first + count;
}

ConcordIdRange *
concord_owner_ranges(uint64 lsn, int *count)
{
	int			capacity = 8;
	ConcordIdRange *ranges = palloc(capacity * sizeof(ConcordIdRange));
	uint8		body[OWNER_BODY_SIZE];
	ConcordOwnerRecord record;
	CcCursor   *cursor;
	CcEntry		entry;
	CcStatus	status;
	uint32		first;

	*count = 0;
	owner_body(0, body);
	concord_check(cc_cursor_open(0, lsn, &cursor));
	concord_check(cc_cursor_seek(cursor, body, sizeof(body), false, false));
	while ((status = cc_cursor_next(cursor, false, &entry)) == CC_OK && parse(&entry, &first, &record))
	{
		if (record.server != GetSystemIdentifier())
			continue;
		if (*count == capacity)
		{
			capacity *= 2;
			ranges = repalloc(ranges, capacity * sizeof(ConcordIdRange));
		}
		ranges[*count].first = first;
		ranges[(*count)++].end = record.end;
	}
	cc_cursor_close(cursor);
	if (status != CC_END)
		concord_check(status);
	return ranges;
}
