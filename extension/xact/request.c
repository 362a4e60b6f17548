/*
 * request.c
 *		Requests of a backend to the gateway worker.
 */
#include "xact/request.h"

#include "access/xact.h"
#include "core/pause_points.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/pmsignal.h"
#include "storage/proc.h"
#include "stats/stats.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

/* A lost wake-up must not become a hang: look again at least this often. */
#define WAIT_SLICE_MS 100
/* The gateway empties a buffer in some 20 us, and two wake-ups cost three times as much: of each piece of a large request. */
#define HAND_OVER_SPIN_US 50
/* Pause before asking a leader again that could not decide. */
#define RETRY_PAUSE_MS 20
/* How often a session that waits without a gateway wakes the postmaster. */
#define REMIND_MS 1000
/* How long a session that is told to end still waits for a verdict that may be on its way. */
#define TERMINATION_GRACE_MS 2000
/* The same for one whose statement is cancelled; enough for a sidecar that was killed to come back and be asked again. */
#define CANCEL_GRACE_MS 5000

typedef struct Request
{
	CcRequestKind kind;
	int			slot;
	const char *data;
	size_t		size;
	bool		is_commit;		/* of the running transaction: whether it happened must be known */
	bool		is_uncertain;	/* an attempt was sent, and its answer is lost */
	TimestampTz deadline;
} Request;

/* A chunk that is on its way while its backend goes on; it lies in its slot, or is to be sent again. */
typedef struct Chunk
{
	Request		request;
	bool		handed_over;	/* and not asked about since */
	bool		answered;
	CcAnswer	answer;
	void		(*done) (uint64 lsn);
} Chunk;

/* The oldest is chunks[oldest_chunk]; each has the slot of its place. */
static Chunk chunks[CC_CHUNKS_UNDER_WAY];
static int	oldest_chunk = 0;
static int	chunk_count = 0;

/* A backend's slots: bridge/channel.h. */
static int
slot_of(int place)
{
	return MyProc->pgprocno + place * concord_channel_processes();
}

static Chunk *
chunk_at(int n)
{
	return &chunks[(oldest_chunk + n) % CC_CHUNKS_UNDER_WAY];
}

static ConcordWait
wait_of(const Request *request)
{
	switch (request->kind)
	{
		case CC_REQ_COMMIT:
			return request->is_commit ? CONCORD_WAIT_VERDICT : CONCORD_WAIT_INTERNAL_COMMIT;
		case CC_REQ_READ_LSN:
			return CONCORD_WAIT_READ_LSN;
		case CC_REQ_STATUS:
			return CONCORD_WAIT_STATUS;
		default:
			return CONCORD_WAIT_CHUNK;
	}
}

void
concord_remind_postmaster(void)
{
	static TimestampTz reminded = 0;
	TimestampTz now;

	if (cc_channel_connected(concord_channel))
		return;
	now = GetCurrentTimestamp();
	if (!TimestampDifferenceExceeds(reminded, now, REMIND_MS))
		return;
	reminded = now;
	SendPostmasterSignal(PMSIGNAL_BACKGROUND_WORKER_CHANGE);
}

static void
wait_latch(ConcordWait wait, int timeout_ms)
{
	concord_remind_postmaster();
	concord_wait_begin(wait, 0);
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, timeout_ms, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
}

static bool
is_late(const Request *request)
{
	return GetCurrentTimestamp() >= request->deadline;
}

/* The grace counts from the first call: later ones only name a later end. */
static void
shorten(Request *request, int grace_ms)
{
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), grace_ms);

	request->deadline = Min(request->deadline, end);
}

/*
 * Serves interrupts where that leaves no doubt about the transaction: nothing of its commit has been sent, or it is not its
 * commit that is waited for. The request is taken back first. True if it was, and the interrupt did not end us: the attempt is
 * over. Where there is doubt, interrupts wait for the verdict, which is asked for with the same token as long as need be, and
 * make that wait short.
 */
static bool
serve_interrupts(Request *request)
{
	if (!INTERRUPTS_PENDING_CONDITION() || InterruptHoldoffCount != 0 || CritSectionCount != 0)
		return false;
	if (!request->is_commit)
		cc_channel_cancel(concord_channel, request->slot);
	else if (request->is_uncertain || !cc_channel_withdraw(concord_channel, request->slot))
	{
		if (ProcDiePending)
			shorten(request, TERMINATION_GRACE_MS);
		else if (QueryCancelPending)
			shorten(request, CANCEL_GRACE_MS);
		return false;
	}
	CHECK_FOR_INTERRUPTS();
	return true;
}

/* Copies the whole request into the slot's buffer as the gateway empties it. False if it was given up before that. */
static bool
hand_over(Request *request)
{
	size_t		done = 0;

	cc_channel_begin(concord_channel, request->slot, request->kind, request->size);
	for (;;)
	{
		size_t		taken = cc_channel_put(concord_channel, request->slot, request->data + done, request->size - done);

		done += taken;
		if (done == request->size)
			return true;
		if (taken > 0)
			continue;
		if (serve_interrupts(request))
			return false;
		if (cc_channel_emptied(concord_channel, request->slot, HAND_OVER_SPIN_US))
			continue;
		if (is_late(request))
		{
			cc_channel_cancel(concord_channel, request->slot);
			return false;
		}
		wait_latch(wait_of(request), WAIT_SLICE_MS);
	}
}

/*
 * Hands the request over once, unless that is done, and waits for the answer. Besides what the gateway answers, the outcome is
 * CC_OUT_UNAVAILABLE if the request was given up before it was sent, and CC_OUT_LOST if afterwards.
 */
static void
attempt(Request *request, bool handed_over, CcAnswer *answer)
{
	int			spin_us = concord_spin_us;

	memset(answer, 0, sizeof(*answer));
	answer->outcome = CC_OUT_UNAVAILABLE;
	if (!handed_over && !hand_over(request))
		return;
	while ((request->is_commit && cc_pause_holds(CC_PAUSE_BACKEND_SUBMITTED)) ||
		   (request->kind == CC_REQ_CHUNK && cc_pause_holds(CC_PAUSE_CHUNK_SUBMITTED)) ||
		   !cc_channel_answered(concord_channel, request->slot, spin_us, answer))
	{
		spin_us = 0;
		if (serve_interrupts(request))
			return;
		if (is_late(request))
		{
			if (cc_channel_withdraw(concord_channel, request->slot))
				return;
			if (cc_channel_answered(concord_channel, request->slot, 0, answer))
				break;
			cc_channel_cancel(concord_channel, request->slot);
			answer->outcome = CC_OUT_LOST;
			return;
		}
		wait_latch(wait_of(request), WAIT_SLICE_MS);
	}
}

/* Attempts until the request is settled or its time is over. */
static CcAnswer
settle(Request *request, bool handed_over)
{
	request->deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), concord_commit_timeout_ms);
	for (;;)
	{
		CcAnswer	answer;

		attempt(request, handed_over, &answer);
		handed_over = false;
		if (answer.outcome == CC_OUT_LOST)
			request->is_uncertain = true;	/* the token makes asking again safe */
		else if (answer.outcome != CC_OUT_UNAVAILABLE)
		{
			concord_wait_end();
			return answer;
		}
		(void) serve_interrupts(request);
		if (is_late(request))
		{
			answer.outcome = request->is_commit && request->is_uncertain ? CC_OUT_UNKNOWN : CC_OUT_UNAVAILABLE;
			concord_wait_end();
			return answer;
		}
		wait_latch(wait_of(request), RETRY_PAUSE_MS);
		concord_count(CONCORD_COUNT_RETRIES, 1);
	}
}

static void
settle_chunk(Chunk *chunk)
{
	bool		handed_over = chunk->handed_over;

	if (chunk->answered)
		return;
	chunk->handed_over = false; /* should an interrupt end the wait, it is sent again */
	chunk->answer = settle(&chunk->request, handed_over);
	chunk->answered = true;
}

/* A slot that carries nothing. If chunks have all of them, the oldest one's, after its answer has been waited for. */
static int
free_slot(void)
{
	if (chunk_count == CC_CHUNKS_UNDER_WAY)
		settle_chunk(chunk_at(0));
	return slot_of(chunk_at(chunk_count) - chunks);
}

static void
finish_oldest_chunk(void)
{
	Chunk	   *chunk = chunk_at(0);

	settle_chunk(chunk);
	chunk->answered = false;
	if (chunk->answer.outcome != CC_COMMITTED)
		concord_raise_outcome(&chunk->answer);
	oldest_chunk = (oldest_chunk + 1) % CC_CHUNKS_UNDER_WAY;
	chunk_count--;
	concord_count(CONCORD_COUNT_CHUNKS, 1);
	if (chunk->done != NULL)
		chunk->done(chunk->answer.lsn);
}

void
concord_request_start_chunk(const void *data, size_t size, void (*done) (uint64 lsn))
{
	Chunk	   *chunk;

	if (chunk_count == CC_CHUNKS_UNDER_WAY)
		finish_oldest_chunk();
	chunk = chunk_at(chunk_count);
	*chunk = (Chunk) {
		.request = {
			.kind = CC_REQ_CHUNK,
			.slot = slot_of(chunk - chunks),
			.data = data,
			.size = size,
			.deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), concord_commit_timeout_ms)
		},
		.done = done
	};
	chunk->handed_over = hand_over(&chunk->request);
	concord_wait_end();
	chunk_count++;
}

void
concord_request_finish_chunks(void)
{
	while (chunk_count > 0)
		finish_oldest_chunk();
}

void
concord_request_forget_chunks(void)
{
	for (int i = 0; i < chunk_count; i++)
		cc_channel_cancel(concord_channel, chunk_at(i)->request.slot);
	chunk_count = 0;
}

CcAnswer
concord_request(CcRequestKind kind, const void *data, size_t size, bool is_commit)
{
	Request		request = {.kind = kind, .slot = free_slot(), .data = data, .size = size, .is_commit = is_commit};

	return settle(&request, false);
}

uint64
concord_request_read_lsn(void)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), concord_read_timeout_ms);

	for (;;)
	{
		uint64		lsn = concord_page_committed();

		if (lsn != 0)
		{
			concord_wait_end();
			return lsn;			/* the leader is back */
		}
		if (cc_channel_connected(concord_channel))
		{
			TimestampTz slice = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), 1000);
			Request		request = {.kind = CC_REQ_READ_LSN, .slot = free_slot(), .data = "", .deadline = Min(deadline, slice)};
			CcAnswer	answer;

			attempt(&request, false, &answer);
			if (answer.outcome == CC_COMMITTED)
			{
				concord_wait_end();
				return answer.lsn;
			}
		}
		CHECK_FOR_INTERRUPTS();
		concord_check_trouble();
		if (GetCurrentTimestamp() >= deadline)
			concord_raise_unavailable("no adjudicator confirmed a read LSN within concord.read_timeout");
		wait_latch(CONCORD_WAIT_READ_LSN, RETRY_PAUSE_MS);
	}
}

char *
concord_fetch_status(void)
{
	Request		request = {
		.kind = CC_REQ_STATUS,
		.data = "",
		.deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), 5000)
	};
	CcAnswer	answer;

	if (!concord_enabled || !cc_channel_connected(concord_channel))
		return NULL;
	request.slot = free_slot();
	attempt(&request, false, &answer);
	concord_wait_end();
	if (answer.outcome != CC_COMMITTED)
		return NULL;
	return pnstrdup(cc_channel_text(concord_channel, request.slot), answer.text_size);
}

/* The table that the verdict's hash stands for is counted and named. */
static void
raise_conflict(const CcAnswer *answer)
{
	ConcordConflict conflict = concord_find_conflict(answer->conflict_hash);
	char	   *table = OidIsValid(conflict.relid) ? get_rel_name(conflict.relid) : NULL;
	char	   *index = OidIsValid(conflict.indexid) ? get_rel_name(conflict.indexid) : NULL;

	concord_count_conflict(conflict.relid, conflict.indexid, conflict.kind);
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("change conflicts with another transaction (OC000)"),
			 table == NULL ? 0 :
			 index != NULL ?
			 errdetail("It has taken or given up a key of unique index \"%s\" of table \"%s\" that this one takes or gives up.",
					   index, table) :
			 conflict.kind == CONCORD_CONFLICT_LOCK ?
			 errdetail("It has changed a row of table \"%s\" that this one relies on.", table) :
			 errdetail("It has changed or locked a row of table \"%s\" that this one changes or has locked.", table),
			 errhint("Retry the transaction."),
			 table == NULL ? 0 :
			 err_generic_string(PG_DIAG_SCHEMA_NAME, get_namespace_name(get_rel_namespace(conflict.relid))),
			 table == NULL ? 0 : err_generic_string(PG_DIAG_TABLE_NAME, table)));
}

void
concord_raise_outcome(const CcAnswer *answer)
{
	ConcordConflict conflict;

	switch (answer->outcome)
	{
		case CC_CONFLICT:
			raise_conflict(answer);
			break;
		case CC_READ_CONFLICT:
			conflict = concord_find_read_conflict(answer->conflict_hash);
			concord_raise_read_conflict(conflict.relid, conflict.indexid);
			break;
		case CC_OUT_TOO_OLD:
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("change conflicts with another transaction (OC000)"),
					 errdetail("The transaction read at an LSN older than the adjudicator's conflict window."),
					 errhint("Retry the transaction.")));
			break;
		case CC_OUT_NO_SPACE:
			ereport(ERROR,
					(errcode(ERRCODE_DISK_FULL),
					 errmsg("could not commit: %s", answer->message),
					 strstr(answer->message, "concord.storage_limit") != NULL ?
					 errhint("Raise concord.storage_limit and restart, or drop tables; nothing of this transaction was committed.") :
					 errhint("Free disk space; nothing of this transaction was committed.")));
			break;
		case CC_OUT_JOURNAL_FAILED:
			ereport(ERROR,
					(errcode(ERRCODE_IO_ERROR),
					 errmsg("could not commit: %s", answer->message),
					 errhint("Nothing of this transaction was committed. Look at the disk, then restart the server; its log names "
							 "the file.")));
			break;
		case CC_OUT_UNAVAILABLE:
			concord_raise_unavailable("no adjudicator decided the commit within concord.commit_timeout; nothing was committed");
			break;
		case CC_OUT_UNKNOWN:
			ereport(ERROR,
					(errcode(ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN),
					 errmsg("the outcome of the commit is not known"),
					 answer->message[0] != '\0' ? errdetail_internal("%s", answer->message) :
					 errdetail("The write set was sent, but no verdict came in time."),
					 errhint("Look at the data before you try again: the transaction may have been committed.")));
			break;
		default:
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("the adjudicator refused the request: %s",
							answer->message[0] ? answer->message : "no reason given")));
	}
	pg_unreachable();
}
