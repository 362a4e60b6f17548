/* What a client is told when the postmaster ends its session in the middle of a commit. */
#ifndef CONCORD_XACT_QUICKDIE_H
#define CONCORD_XACT_QUICKDIE_H

typedef enum ConcordCommitPhase
{
	CONCORD_NOTHING_SENT,
	CONCORD_COMMIT_SENT,			/* it may be committed */
	CONCORD_COMMITTED				/* it is, and the client does not know yet */
} ConcordCommitPhase;

/* To be called as the running transaction's commit enters the phase; `lsn` is the commit LSN of a committed one. */
void		concord_note_commit_phase(ConcordCommitPhase now, uint64 lsn);

#endif
