/*
 * xact.c
 *		The transaction: what it wrote, and its commit.
 *
 * Everything that can fail happens in PRE_COMMIT: the write set goes to the adjudicator, and only its "committed" lets
 * Postgres go on to its own commit. From that verdict to the end of the local commit interrupts are held, and then told or
 * dropped (settle_interrupts). If Postgres still
 * raises in between (NOTIFY, ON COMMIT actions), the client gets its error and, with it, a warning that says at which LSN the
 * transaction is committed all the same.
 *
 * A transaction that wrote only Concord tables has no xid and writes no WAL. It may have used what others have written there
 * (flush_earlier_wal).
 */
#include "concord.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "bridge/remote.h"
#include "core/pause_points.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "replication/origin.h"
#include "stats/stats.h"
#include "storage/proc.h"
#include "tcop/pquery.h"
#include "utils/lsyscache.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"

#include "xact/intent.h"
#include "xact/quickdie.h"
#include "xact/request.h"

/* What has piled up to so much is sent ahead of the commit. */
#define AHEAD_BYTES (1024 * 1024)
/* Half of what replicas keep staged chunks for. */
#define AHEAD_LIFETIME_MS (30 * 60 * 1000)

/* Kinds of tables written, each with the subtransaction that first did: an abort of it takes the mark back. */
static SubTransactionId wrote_concord = InvalidSubTransactionId;
static SubTransactionId wrote_heap = InvalidSubTransactionId;

static uint8 xact_token[CONCORD_TOKEN_SIZE];
static bool xact_has_token = false;
static uint32 chunks_ahead = 0;	/* sent before the commit, under this token */
static TimestampTz ahead_since = 0; /* the first of them */
static bool staged_chunks = false;	/* chunks of this token are in the journal, undecided */
static uint64 committed_lsn = 0;	/* verdict of the commit under way */

void
concord_make_token(uint8 *token)
{
	if (!pg_strong_random(token, CONCORD_TOKEN_SIZE))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate a random commit token")));
}

const uint8 *
concord_xact_token(void)
{
	if (!xact_has_token)
	{
		concord_make_token(xact_token);
		xact_has_token = true;
	}
	return xact_token;
}

TransactionId
concord_row_xmin(void)
{
	TransactionId xmin = GetTopTransactionIdIfAny();
	uint32		random;

	if (TransactionIdIsValid(xmin))
		return xmin;
	memcpy(&random, concord_xact_token(), sizeof(random));
	xmin = random + GetCurrentSubTransactionId();
	return TransactionIdIsNormal(xmin) ? xmin : xmin + FirstNormalTransactionId;
}

static void
refuse_mixed(const char *relname)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot write Concord and heap tables in one transaction"),
			 errdetail("Table \"%s\" is of the other kind than a table written before; a crash could keep one half.", relname),
			 errhint("Use two transactions, keep both tables in one access method, or accept the risk with "
					 "concord.allow_mixed_writes.")));
}

/* An apply worker of logical replication, or a tool like it: its commit records how far it is. */
static bool
records_progress(void)
{
	return replorigin_session_origin != InvalidRepOriginId && replorigin_session_origin != DoNotReplicateId;
}

/* The progress is in the WAL, so it commits apart from the rows as a heap table does. */
static void
refuse_progress(const char *relname)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot write Concord table \"%s\" in a transaction that records the progress of replication", relname),
			 errdetail("Rows and progress commit apart; after a crash between the two the rows would be applied once more."),
			 errhint("Replicate to a heap table, or accept the risk with concord.allow_mixed_writes.")));
}

void
concord_note_write(Relation rel)
{
	if (wrote_concord == InvalidSubTransactionId)
	{
		if (IsInParallelMode())
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_TRANSACTION_STATE),
					 errmsg("cannot write Concord tables during a parallel operation")));
		if (wrote_heap != InvalidSubTransactionId && !concord_allow_mixed_writes)
			refuse_mixed(RelationGetRelationName(rel));
		if (records_progress() && !concord_allow_mixed_writes)
			refuse_progress(RelationGetRelationName(rel));
		cc_ws_set_limit((size_t) concord_max_write_set_kb * 1024);
		wrote_concord = GetCurrentSubTransactionId();
	}
}

void
concord_note_heap_write(const char *relname)
{
	if (wrote_heap == InvalidSubTransactionId)
	{
		if (wrote_concord != InvalidSubTransactionId && !concord_allow_mixed_writes)
			refuse_mixed(relname);
		wrote_heap = GetCurrentSubTransactionId();
	}
}

void
concord_abandon(const uint8 *token)
{
	/* Best effort: replicas also forget undecided chunks by age. The slot takes a token at once, whole. */
	cc_channel_begin(concord_channel, MyProc->pgprocno, CC_REQ_ABANDON, CONCORD_TOKEN_SIZE);
	if (cc_channel_put(concord_channel, MyProc->pgprocno, token, CONCORD_TOKEN_SIZE) != CONCORD_TOKEN_SIZE)
		cc_channel_cancel(concord_channel, MyProc->pgprocno);
}

static void
abandon(void)
{
	if (staged_chunks)
		concord_abandon(xact_token);
	staged_chunks = false;
}

static void
send_chunk_ahead(void)
{
	const void *chunk;
	size_t		size;

	concord_check(cc_ws_encode_ahead(concord_xact_token(), chunks_ahead, &chunk, &size));
	staged_chunks = true;
	if (chunks_ahead++ == 0)
		ahead_since = GetCurrentTimestamp();
	concord_request_start_chunk(chunk, size, NULL);
}

/*
 * A large transaction does not keep all of its work for the commit: what nothing but its own end can take back goes to the journal
 * while it runs, as staged chunks.
 */
void
concord_send_ahead(void)
{
	if (cc_ws_unsent_bytes() >= AHEAD_BYTES)
		send_chunk_ahead();
}

/* Staged chunks are forgotten after an hour. A transaction that takes so long sends them again at its commit. */
static void
renew_ahead(void)
{
	if (chunks_ahead == 0 || !TimestampDifferenceExceeds(ahead_since, GetCurrentTimestamp(), AHEAD_LIFETIME_MS))
		return;
	concord_request_finish_chunks();
	abandon();
	xact_has_token = false;
	cc_ws_forget_sent();
	chunks_ahead = 0;
}

/*
 * The transaction may depend on any WAL record before its commit, of a sequence from which another session took the ids ahead, of a
 * CREATE TABLE with synchronous_commit = off. On heap the flush of its commit record takes them along, or a crash takes it with them. Here
 * it is durable by itself, whatever synchronous_commit says, so they must be before it. If all are on disk this is a look at a position
 * under a spinlock.
 */
static void
flush_earlier_wal(void)
{
	XLogRecPtr	end = GetXLogInsertRecPtr();
	uint32		header = XLogSegmentOffset(end, wal_segment_size) < XLOG_BLCKSZ ? SizeOfXLogLongPHD : SizeOfXLogShortPHD;

	/* Where the next record begins a page, that is behind the page's header, which cannot be flushed before the record. */
	if (end % XLOG_BLCKSZ == header)
		end -= header;
	XLogFlush(end);
}

/* Sends the write set and returns its commit LSN, with interrupts held. Raises if it is not committed. */
static void
commit_write_set(void)
{
	CcAnswer	answer;
	const void *part;
	size_t		size;
	bool		is_write_set = false;
	instr_time	sent;
	instr_time	waited;

	renew_ahead();
	/* Then there is nothing left to look for among all that was written. */
	while (chunks_ahead > 0 && cc_ws_unsent_bytes() > 0)
		send_chunk_ahead();
	concord_check(cc_ws_encode_begin(concord_xact_token(), concord_committed_lsn(), chunks_ahead, concord_reads_lsn()));
	for (;;)
	{
		/* While a part is on its way the next one is made. */
		concord_check(cc_ws_encode_next(&part, &size, &is_write_set));
		if (is_write_set)
			break;
		staged_chunks = true;
		concord_request_start_chunk(part, size, NULL);
	}
	if (!cc_ws_empty())
		flush_earlier_wal();
	concord_request_finish_chunks();
	cc_pause(CC_PAUSE_BACKEND_ENCODED);
	concord_note_commit_phase(CONCORD_COMMIT_SENT, 0);
	INSTR_TIME_SET_CURRENT(sent);
	answer = concord_request(CC_REQ_COMMIT, part, size, true);
	INSTR_TIME_SET_CURRENT(waited);
	INSTR_TIME_SUBTRACT(waited, sent);
	concord_count_verdict(answer.outcome, INSTR_TIME_GET_MICROSEC(waited));
	if (answer.outcome == CC_OUT_UNKNOWN)
		staged_chunks = false;	/* they may be part of a commit */
	if (answer.outcome != CC_COMMITTED)
		concord_raise_outcome(&answer);
	HOLD_INTERRUPTS();
	concord_note_commit_phase(CONCORD_COMMITTED, answer.lsn);
	committed_lsn = answer.lsn;
	if (concord_remote_enabled)
		cc_remote_note(answer.lsn);
	staged_chunks = false;
	cc_pause(CC_PAUSE_BACKEND_DECIDED);
}

/*
 * An interrupt that came while the commit could not be given up any more must not become an error that looks like one of the
 * commit. A statement that ends with its commit has done what it was asked for, so a request to cancel it has come too late.
 * In a procedure it is for what follows, and the end of the session is an error in any case: then the client is told.
 */
static void
settle_interrupts(void)
{
	bool		in_procedure = ActivePortal != NULL;

	if (QueryCancelPending && !in_procedure)
		QueryCancelPending = false;
	if (QueryCancelPending || ProcDiePending)
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("the transaction is committed at LSN %X/%X", LSN_FORMAT_ARGS(committed_lsn)),
				 errdetail("A request to cancel the statement or to end the session came while it was being committed.")));
}

bool
concord_commit_now(const void *write_set, size_t size)
{
	CcAnswer	answer = concord_request(CC_REQ_COMMIT, write_set, size, false);

	if (answer.outcome == CC_COMMITTED)
		return true;
	if (answer.outcome == CC_CONFLICT || answer.outcome == CC_OUT_TOO_OLD)
		return false;
	concord_raise_outcome(&answer);
}

static void
forget_all(void)
{
	concord_wait_end();			/* an error may have ended the wait */
	concord_intent_xact_end();
	wrote_concord = wrote_heap = InvalidSubTransactionId;
	xact_has_token = false;
	committed_lsn = 0;
	chunks_ahead = 0;
	concord_request_forget_chunks();
	cc_ws_reset();
	cc_replica_reset();
	concord_reads_end();
	concord_bulk_xact_end();
	concord_snapshot_at_xact_end();
}

static void
concord_xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			concord_ddl_pre_commit();
			if (!cc_ws_empty() || concord_reads_lsn() != 0)
			{
				if (records_progress())
				{
					/* Without an xid there would be no commit record, and no progress in it. */
					(void) GetTopTransactionId();
					ForceSyncCommit();
				}
				commit_write_set();
			}
			break;

		case XACT_EVENT_PRE_PREPARE:
			if (!cc_ws_empty() || wrote_concord != InvalidSubTransactionId)
				ereport(ERROR,
						(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						 errmsg("cannot PREPARE a transaction that has written Concord tables"),
						 errhint("Commit it instead: a Concord commit is already atomic over all servers.")));
			break;

		case XACT_EVENT_COMMIT:
			if (committed_lsn != 0)
			{
				cc_pause(CC_PAUSE_BACKEND_COMMITTED);
				settle_interrupts();
				RESUME_INTERRUPTS();
			}
			else if (concord_snapshot_has_read())
				concord_count(CONCORD_COUNT_READ_ONLY, 1);
			concord_ddl_xact_end(true);
			forget_all();
			break;

		case XACT_EVENT_ABORT:
			if (committed_lsn != 0)
				ereport(WARNING,
						(errcode(ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN),
						 errmsg("the changes to Concord tables are committed at LSN %X/%X",
								LSN_FORMAT_ARGS(committed_lsn)),
						 errdetail("PostgreSQL raised an error after the adjudicator's verdict.")));
			concord_note_commit_phase(CONCORD_NOTHING_SENT, 0);
			abandon();
			concord_ddl_xact_end(false);
			forget_all();
			break;

		case XACT_EVENT_PREPARE:
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_PARALLEL_ABORT:
			forget_all();
			break;

		case XACT_EVENT_PARALLEL_PRE_COMMIT:
			break;
	}
}

static void
concord_subxact_callback(SubXactEvent event, SubTransactionId subid, SubTransactionId parent, void *arg)
{
	switch (event)
	{
		case SUBXACT_EVENT_START_SUB:
			cc_ws_sub_begin(subid);
			break;

		case SUBXACT_EVENT_COMMIT_SUB:
			cc_ws_sub_commit(subid);
			concord_intent_sub_commit(subid, parent);
			concord_ddl_sub_end(true, subid, parent);
			break;

		case SUBXACT_EVENT_ABORT_SUB:
			concord_wait_end();
			cc_ws_sub_abort(subid);
			concord_intent_sub_abort(subid);
			concord_ddl_sub_end(false, subid, parent);
			/* Ids grow, so whatever began at or after the aborted one is gone with it. */
			if (wrote_concord >= subid)
				wrote_concord = InvalidSubTransactionId;
			if (wrote_heap >= subid)
				wrote_heap = InvalidSubTransactionId;
			break;

		case SUBXACT_EVENT_PRE_COMMIT_SUB:
			break;
	}
}

void
concord_xact_init(void)
{
	RegisterXactCallback(concord_xact_callback, NULL);
	RegisterSubXactCallback(concord_subxact_callback, NULL);
}
