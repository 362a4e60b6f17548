/*
 * bulk.c
 *		Bulk loads into storage that only this transaction can see.
 *
 * CREATE TABLE AS, rewrites, COPY into a new table and index builds write storage that was created in the same subtransaction.
 * Nobody else can reach it before the commit, so its rows need no conflict check and no place in the write set: they go to the
 * journal in chunks that replicas apply at once. If the transaction aborts, the storage is dropped as a whole.
 *
 * Rows of a chunk have the chunk's LSN, which is above the transaction's read LSN. So the transaction itself reads such storage
 * at the newest LSN that commands before the reading one have written: concord_bulk_lsn().
 *
 * One chunk is under construction (pending) while CC_CHUNKS_UNDER_WAY others are on their way to the journal (in flight). After a
 * change of leader these may come to it in another order. That is as good where each row is written once. Versions with LSNs of
 * their own have to come oldest first (sidecar/storage/README.md), so of chunks that hold such only one is in flight.
 *
 * A value that no chunk holds is a transaction of its own: its parts must be complete before any is applied, so they are staged
 * under a token of their own and committed, without anything to be checked.
 */
#include "concord.h"

#include "access/xact.h"
#include "bridge/encode.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "stats/stats.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "xact/remote.h"
#include "xact/request.h"

/* core/wire.h, kMaxChunkBytes */
#define CHUNK_BYTES ((size_t) 1 << 20)

/* A load without index builds has one; an index build may follow at once. */
#define MAX_PENDING_STORAGES 8

/* Pauses while the replica catches up, in microseconds. */
#define NAP_MIN_US 50
#define NAP_MAX_US 2000

typedef struct BulkRecord
{
	uint32		storage_id;
	uint32		cid;			/* newest command with rows in the chunk */
	uint64		lsn;
} BulkRecord;

/* What durable chunks hold: one record per storage and command; in TopTransactionContext. */
static BulkRecord *records = NULL;
static int	record_count = 0;
static int	record_capacity = 0;

/* What a chunk will hold once it is durable. */
typedef struct BulkChunk
{
	BulkRecord	storages[MAX_PENDING_STORAGES];
	int			count;
	bool		in_order;		/* only one at a time */
} BulkChunk;

/* The chunk under construction belongs to one subtransaction. */
static BulkChunk pending;
static SubTransactionId pending_subid = InvalidSubTransactionId;
static BulkChunk in_flight[CC_CHUNKS_UNDER_WAY];	/* the oldest first */
static int	in_flight_count = 0;
static uint32 next_sequence = 0;
static uint64 last_lsn = 0;

static uint8 parts_token[CONCORD_TOKEN_SIZE];
static bool parts_staged = false;	/* parts of this token are in the journal, undecided */

static void
add_record(const BulkRecord *record, uint64 lsn)
{
	for (int i = record_count - 1; i >= 0; i--)
	{
		if (records[i].storage_id == record->storage_id && records[i].cid == record->cid)
		{
			records[i].lsn = Max(records[i].lsn, lsn);	/* a chunk that was sent again may be the newer one */
			return;
		}
	}
	if (record_count == record_capacity)
	{
		int			capacity = Max(16, record_capacity * 2);
		Size		size = capacity * sizeof(BulkRecord);

		records = records == NULL ? MemoryContextAlloc(TopTransactionContext, size) : repalloc(records, size);
		record_capacity = capacity;
	}
	records[record_count] = *record;
	records[record_count++].lsn = lsn;
}

static void
forget_pending(void)
{
	pending.count = 0;
	pending.in_order = false;
	pending_subid = InvalidSubTransactionId;
}

static void
discard_chunk(void)
{
	cc_chunk_reset();
	forget_pending();
}

/* Of the oldest chunk in flight. */
static void
chunk_done(uint64 lsn)
{
	last_lsn = Max(last_lsn, lsn);
	if (concord_remote_enabled)
		cc_remote_note(lsn);
	for (int i = 0; i < in_flight[0].count; i++)
		add_record(&in_flight[0].storages[i], lsn);
	in_flight_count--;
	memmove(&in_flight[0], &in_flight[1], in_flight_count * sizeof(BulkChunk));
}

static void
submit_chunk(void)
{
	if (pending.count == 0)
		return;
	if (pending.in_order)
		concord_request_finish_chunks();
	concord_request_start_chunk(cc_chunk_data(), cc_chunk_size(), chunk_done);
	cc_chunk_detach();
	in_flight[in_flight_count++] = pending;
	forget_pending();
}

static void
bulk_subxact_callback(SubXactEvent event, SubTransactionId subid, SubTransactionId parent, void *arg)
{
	if (pending.count == 0 || pending_subid != subid)
		return;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		discard_chunk();
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		pending_subid = parent;
}

/* Nothing may be left behind, whoever forgot to flush. */
static void
bulk_xact_callback(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_PRE_COMMIT)
		return;
	concord_bulk_flush();
}

/* Notes that the chunk holds rows of this storage. False if it has no place for another storage. */
static bool
note_pending(uint32 storage_id, uint32 cid)
{
	for (int i = 0; i < pending.count; i++)
	{
		if (pending.storages[i].storage_id == storage_id && pending.storages[i].cid == cid)
			return true;
	}
	if (pending.count == MAX_PENDING_STORAGES)
		return false;
	pending.storages[pending.count].storage_id = storage_id;
	pending.storages[pending.count].cid = cid;
	pending.count++;
	return true;
}

static void
forget_parts(void)
{
	cc_parts_end();
	if (parts_staged)
		concord_abandon(parts_token);
	parts_staged = false;
}

static void
put_in_parts(uint64 prefix, uint32 cid, const void *body, size_t body_size, const void *value, size_t value_size,
			 uint64 explicit_lsn)
{
	BulkRecord	record = {.storage_id = (uint32) prefix, .cid = cid};
	const void *part;
	size_t		size;
	bool		is_write_set;
	CcAnswer	answer;

	submit_chunk();
	concord_request_finish_chunks();
	forget_parts();				/* those of a subtransaction that was rolled back */
	concord_make_token(parts_token);
	concord_check(cc_parts_begin(parts_token, concord_committed_lsn(), prefix, body, body_size, value, value_size,
								 explicit_lsn));
	for (;;)
	{
		concord_check(cc_parts_next(&part, &size, &is_write_set));
		if (is_write_set)
			break;
		parts_staged = true;
		concord_request_start_chunk(part, size, NULL);
	}
	concord_request_finish_chunks();
	answer = concord_request(CC_REQ_COMMIT, part, size, false);
	if (answer.outcome != CC_COMMITTED)
		concord_raise_outcome(&answer);
	parts_staged = false;
	forget_parts();
	last_lsn = Max(last_lsn, answer.lsn);
	add_record(&record, answer.lsn);
}

void
concord_bulk_put(Relation rel, uint64 prefix, const void *body, size_t body_size, const void *value, size_t value_size,
				 uint64 explicit_lsn)
{
	static bool callback_registered = false;
	uint32		storage_id = (uint32) prefix;
	SubTransactionId subid = GetCurrentSubTransactionId();
	uint32		cid = GetCurrentCommandId(true);

	if (!callback_registered)
	{
		RegisterSubXactCallback(bulk_subxact_callback, NULL);
		RegisterXactCallback(bulk_xact_callback, NULL);
		callback_registered = true;
	}
	if (!cc_chunk_holds(body_size, value_size))
	{
		put_in_parts(prefix, cid, body, body_size, value, value_size, explicit_lsn);
		return;
	}
	if (pending.count > 0 &&
		(pending_subid != subid ||
		 cc_chunk_size() + cc_chunk_mutation_size(body_size, value_size) > CHUNK_BYTES ||
		 !note_pending(storage_id, cid)))
		submit_chunk();
	if (pending.count == 0)
	{
		concord_check(cc_chunk_begin(concord_xact_token(), next_sequence++));
		pending_subid = subid;
		(void) note_pending(storage_id, cid);
	}
	concord_check(cc_chunk_add(prefix, body, body_size, value, value_size, explicit_lsn));
	pending.in_order |= explicit_lsn != 0;
	CHECK_FOR_INTERRUPTS();
}

void
concord_bulk_flush(void)
{
	TimestampTz start = 0;
	long		nap_us = NAP_MIN_US;
	uint64		applied = 0;

	submit_chunk();
	concord_request_finish_chunks();
	if (last_lsn == 0)
		return;
	for (;;)
	{
		CcStatus	status;
		bool		readable = concord_is_readable(last_lsn, &applied,
												   start == 0 ? 0 : TimestampDifferenceMilliseconds(start, GetCurrentTimestamp()),
												   &status);

		/* A replica that has applied it is not enough: whoever reads after our commit is given the LSN that is vouched for. */
		if (readable && concord_committed_lsn() >= last_lsn)
		{
			concord_wait_end();
			return;
		}
		if (!readable && status != CC_OK && status != CC_UNAVAILABLE)
			concord_check(status);

		CHECK_FOR_INTERRUPTS();
		concord_check_trouble();
		if (start == 0)
			start = GetCurrentTimestamp();
		else if (TimestampDifferenceExceeds(start, GetCurrentTimestamp(), concord_read_timeout_ms))
		{
			if (readable)
				concord_raise_unavailable("the adjudicator has not made a bulk load readable within concord.read_timeout");
			concord_raise_no_replica("the storage replica has not applied a bulk load within concord.read_timeout");
		}
		concord_wait_begin(CONCORD_WAIT_LOAD_APPLY, 0);
		pgstat_report_wait_start(PG_WAIT_EXTENSION);
		pg_usleep(nap_us);
		pgstat_report_wait_end();
		nap_us = Min(nap_us * 3 / 2, NAP_MAX_US);
	}
}

uint64
concord_bulk_lsn(uint32 storage_id, uint32 curcid)
{
	uint64		lsn = 0;

	for (int i = 0; i < record_count; i++)
	{
		if (records[i].storage_id == storage_id && (curcid == CC_ALL_COMMANDS || records[i].cid < curcid))
			lsn = Max(lsn, records[i].lsn);
	}
	return lsn;
}

const void *
concord_bulk_records(Size *size)
{
	*size = record_count * sizeof(BulkRecord);
	return records;
}

void
concord_bulk_take_records(const void *bytes, Size size)
{
	if (size == 0)
		return;
	records = memcpy(MemoryContextAlloc(TopTransactionContext, size), bytes, size);
	record_count = record_capacity = size / sizeof(BulkRecord);
}

void
concord_bulk_xact_end(void)
{
	discard_chunk();
	forget_parts();
	records = NULL;
	record_count = record_capacity = 0;
	in_flight_count = 0;
	next_sequence = 0;
	last_lsn = 0;
}
