/*
 * quickdie.c
 *		What a client is told when the postmaster ends its session in the middle of a commit.
 *
 * When a process is killed, or the server is stopped at once, the postmaster sends SIGQUIT to every backend, and PostgreSQL
 * tells the clients that their transactions are rolled back. For a commit whose write set has been sent that may be untrue, so
 * a warning goes before it. Like PostgreSQL's own it is sent from the signal handler: dubious, but there is nothing to lose.
 */
#include "concord.h"

#include <signal.h>

#include "access/xact.h"
#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "tcop/tcopprot.h"
#include "utils/backend_status.h"

#include "xact/quickdie.h"

static volatile sig_atomic_t phase = CONCORD_NOTHING_SENT;
static volatile uint64 phase_lsn = 0;
static volatile TimestampTz phase_xact = 0;

/* Until the client is told of the commit: the backend is still busy, and with no later transaction. */
static bool
commit_is_news(void)
{
	return MyBEEntry != NULL && MyBEEntry->st_state == STATE_RUNNING &&
		GetCurrentTransactionStartTimestamp() == phase_xact;
}

static void
tell_and_quickdie(SIGNAL_ARGS)
{
	sigaddset(&BlockSig, SIGQUIT);
	PG_SETMASK(&BlockSig);
	HOLD_INTERRUPTS();
	error_context_stack = NULL;
	if (phase == CONCORD_COMMIT_SENT)
		ereport(WARNING_CLIENT_ONLY,
				(errcode(ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN),
				 errmsg("the outcome of the commit is not known"),
				 errdetail("The session is ended while it waits for the verdict."),
				 errhint("Look at the data before you try again: the transaction may have been committed.")));
	else if (phase == CONCORD_COMMITTED && commit_is_news())
		ereport(WARNING_CLIENT_ONLY,
				(errcode(ERRCODE_WARNING),
				 errmsg("the transaction is committed at LSN %X/%X", LSN_FORMAT_ARGS(phase_lsn)),
				 errdetail("The session is ended before it could say so.")));
	quickdie(postgres_signal_arg);
}

void
concord_note_commit_phase(ConcordCommitPhase now, uint64 lsn)
{
	static bool installed = false;

	if (!installed && MyBackendType == B_BACKEND)
	{
		installed = true;
		pqsignal(SIGQUIT, tell_and_quickdie);
	}
	phase_lsn = lsn;
	phase_xact = GetCurrentTransactionStartTimestamp();
	phase = now;
}
