/*
 * request.c
 *		Requests of a backend to the gateway worker.
 */
#include "xact/request.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/timestamp.h"

/* A lost wake-up must not become a hang: look again at least this often. */
#define WAIT_SLICE_MS 100
/* Pause before asking a leader again that could not decide. */
#define RETRY_PAUSE_MS 20

static int
my_slot(void)
{
	return MyProc->pgprocno;
}

static void
wait_latch(int timeout_ms)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, timeout_ms, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
}

/* Copies the whole request into the slot's buffer as the gateway empties it. False if the deadline passed first. */
static bool
hand_over(CcRequestKind kind, const char *data, size_t size, TimestampTz deadline)
{
	size_t		done = 0;

	cc_channel_begin(concord_channel, my_slot(), kind, size);
	for (;;)
	{
		size_t		taken = cc_channel_put(concord_channel, my_slot(), data + done, size - done);

		done += taken;
		if (done == size)
			return true;
		if (taken > 0)
			continue;
		if (InterruptPending && InterruptHoldoffCount == 0 && CritSectionCount == 0)
		{
			cc_channel_cancel(concord_channel, my_slot());
			CHECK_FOR_INTERRUPTS();
			/* It was nothing that ends us: start over, a request in pieces cannot be resumed. */
			done = 0;
			cc_channel_begin(concord_channel, my_slot(), kind, size);
		}
		if (GetCurrentTimestamp() >= deadline)
		{
			cc_channel_cancel(concord_channel, my_slot());
			return false;
		}
		wait_latch(WAIT_SLICE_MS);
	}
}

/* Waits for the answer; interrupts stay pending. False at the deadline: then the request is given up. */
static bool
await_answer(TimestampTz deadline, CcAnswer *answer)
{
	if (cc_channel_answered(concord_channel, my_slot(), concord_spin_us, answer))
		return true;
	for (;;)
	{
		wait_latch(WAIT_SLICE_MS);
		if (cc_channel_answered(concord_channel, my_slot(), 0, answer))
			return true;
		if (GetCurrentTimestamp() >= deadline)
		{
			cc_channel_cancel(concord_channel, my_slot());
			return false;
		}
	}
}

CcAnswer
concord_request(CcRequestKind kind, const void *data, size_t size)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), concord_commit_timeout_ms);
	bool		may_be_decided = false; /* an earlier attempt was sent and never answered */
	CcAnswer	answer;

	for (;;)
	{
		memset(&answer, 0, sizeof(answer));
		if (!hand_over(kind, data, size, deadline))
		{
			answer.outcome = may_be_decided ? CC_OUT_UNKNOWN : CC_OUT_UNAVAILABLE;
			return answer;
		}
		if (!await_answer(deadline, &answer))
		{
			answer.outcome = CC_OUT_UNKNOWN;
			return answer;
		}
		if (answer.outcome == CC_OUT_LOST)
			may_be_decided = true;	/* the token makes asking again safe */
		else if (answer.outcome != CC_OUT_UNAVAILABLE)
			return answer;
		if (GetCurrentTimestamp() >= deadline)
		{
			answer.outcome = may_be_decided ? CC_OUT_UNKNOWN : CC_OUT_UNAVAILABLE;
			return answer;
		}
		wait_latch(RETRY_PAUSE_MS);
	}
}

uint64
concord_request_read_lsn(void)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), concord_read_timeout_ms);

	for (;;)
	{
		CcAnswer	answer;
		uint64		lsn = concord_page_committed();

		if (lsn != 0)
			return lsn;			/* the leader is back */
		if (cc_channel_connected(concord_channel))
		{
			TimestampTz slice = Min(deadline, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), 1000));

			memset(&answer, 0, sizeof(answer));
			if (hand_over(CC_REQ_READ_LSN, "", 0, slice) && await_answer(slice, &answer) &&
				answer.outcome == CC_COMMITTED)
				return answer.lsn;
		}
		CHECK_FOR_INTERRUPTS();
		if (GetCurrentTimestamp() >= deadline)
			concord_raise_unavailable("no adjudicator confirmed a read LSN within concord.read_timeout");
		wait_latch(RETRY_PAUSE_MS);
	}
}

char *
concord_fetch_status(void)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), 5000);
	CcAnswer	answer;

	if (!concord_enabled || !cc_channel_connected(concord_channel))
		return NULL;
	memset(&answer, 0, sizeof(answer));
	if (!hand_over(CC_REQ_STATUS, "", 0, deadline) || !await_answer(deadline, &answer) ||
		answer.outcome != CC_COMMITTED)
		return NULL;
	return pnstrdup(cc_channel_text(concord_channel, my_slot()), answer.text_size);
}

void
concord_raise_outcome(const CcAnswer *answer)
{
	switch (answer->outcome)
	{
		case CC_CONFLICT:
			concord_raise_conflict(NULL);
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
					 errmsg("could not commit: the journal has no space left"),
					 errhint("Free disk space; nothing of this transaction was committed.")));
			break;
		case CC_OUT_UNAVAILABLE:
			concord_raise_unavailable("no adjudicator decided the commit within concord.commit_timeout; nothing was committed");
			break;
		case CC_OUT_UNKNOWN:
			ereport(ERROR,
					(errcode(ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN),
					 errmsg("the outcome of the commit is not known"),
					 errdetail("The write set was sent, but no verdict came within concord.commit_timeout."),
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
