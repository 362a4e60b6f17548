/*
 * What this server tells about itself: counters of commits, conflicts by table, and what backends wait for.
 *
 * All lies in shared memory and is gone with it: after a restart of the server, and after the crash of a backend. Counters and wait
 * states are each process' own, so counting is a store without a lock; whoever looks adds them up. Conflicts are rare, and
 * counted in one table under a lock.
 */
#ifndef CONCORD_STATS_H
#define CONCORD_STATS_H

#include "concord.h"

#include "port/atomics.h"
#include "storage/proc.h"

/* ---- counters (counters.c): concord.stat_commits, concord.stat_commit_waits ---- */
typedef enum ConcordCounter
{
	CONCORD_COUNT_COMMITS,		/* transactions that changed Concord tables */
	CONCORD_COUNT_READ_ONLY,	/* that read them and changed nothing */
	CONCORD_COUNT_CONFLICTS,	/* refused: a key was changed (OC000) */
	CONCORD_COUNT_TOO_OLD,		/* refused: older than the conflict window */
	CONCORD_COUNT_REFUSED,		/* not committed for another reason: no leader, no space, ... */
	CONCORD_COUNT_UNKNOWN,		/* outcome not known (08007) */
	CONCORD_COUNT_CHUNKS,		/* pieces of large transactions and loads */
	CONCORD_COUNT_RETRIES,		/* requests that the backend handed over again */
	CONCORD_COUNT_WAIT_US		/* microseconds waited for verdicts */
} ConcordCounter;
#define CONCORD_COUNTERS (CONCORD_COUNT_WAIT_US + 1)

/* Bucket i holds the waits of less than 2^(i + 4) microseconds that no bucket before it holds; the last one holds the rest. */
#define CONCORD_WAIT_BUCKETS CC_WAIT_BUCKETS

void		concord_count(ConcordCounter counter, uint64 by);
/* For the gateway's threads: nothing of Postgres is called. */
void		concord_read_server_stats(CcServerStats *stats);
/* The verdict on the transaction's commit, and how long it was waited for. */
void		concord_count_verdict(CcOutcome outcome, uint64 wait_us);

/* ---- conflicts (conflicts.c): concord.stat_conflicts ---- */
typedef enum ConcordConflictKind
{
	CONCORD_CONFLICT_ROW,		/* a row written, or locked FOR UPDATE or FOR NO KEY UPDATE */
	CONCORD_CONFLICT_UNIQUE,	/* a unique key taken or given up */
	CONCORD_CONFLICT_LOCK,		/* a row locked FOR SHARE or FOR KEY SHARE, as foreign keys do */
	CONCORD_CONFLICT_READ,		/* SERIALIZABLE: something read has changed */
	CONCORD_CONFLICT_SNAPSHOT,	/* REPEATABLE READ: the row is newer than the snapshot; Postgres' own 40001 */
	CONCORD_CONFLICT_OTHER		/* not to be told, or no room left for another relation */
} ConcordConflictKind;

typedef struct ConcordConflict
{
	ConcordConflictKind kind;
	Oid			relid;			/* table; InvalidOid if it is not known */
	Oid			indexid;		/* of a unique key, or of the entries read */
} ConcordConflict;

void		concord_count_conflict(Oid relid, Oid indexid, ConcordConflictKind kind);
/* Which of this transaction's own keys the adjudicator means by its hash. */
ConcordConflict concord_find_conflict(uint64 key_hash);
/* The table, and if it was an index the index, whose storage has the prefix. */
ConcordConflict concord_find_read_conflict(uint64 prefix);
/* This session has met the relation, so a conflict in its storage can be named. */
void		concord_remember_storage(uint32 storage_id, Oid relid);

/* ---- waits (waits.c): concord.stat_activity ---- */
typedef enum ConcordWait
{
	CONCORD_WAIT_NONE = 0,
	CONCORD_WAIT_VERDICT,
	CONCORD_WAIT_CHUNK,
	CONCORD_WAIT_INTERNAL_COMMIT,
	CONCORD_WAIT_READ_LSN,
	CONCORD_WAIT_APPLY,
	CONCORD_WAIT_LOAD_APPLY,
	CONCORD_WAIT_INTENT,
	CONCORD_WAIT_STATUS,
	CONCORD_WAIT_SWEEP,
	CONCORD_WAIT_REMOTE_READ,
	CONCORD_WAIT_FLUSH
} ConcordWait;
#define CONCORD_WAITS (CONCORD_WAIT_FLUSH + 1)

/* NULL for CONCORD_WAIT_NONE. */
const char *concord_wait_name(ConcordWait wait);

typedef struct ConcordProcStats
{
	pg_atomic_uint64 counters[CONCORD_COUNTERS];
	pg_atomic_uint64 waits[CONCORD_WAIT_BUCKETS];
	pg_atomic_uint64 wait_us_max;
	/* Written by its process only, and read without a lock: a glance may mix two waits. */
	volatile ConcordWait wait;
	volatile int blocker;		/* process waited for; 0: not one */
	volatile TimestampTz since;
} ConcordProcStats;

extern ConcordProcStats *concord_proc_stats;	/* by pgprocno */
int			concord_stats_slots(void);

/* A wait begins, or goes on if it is the one that had begun. */
void		concord_wait_begin(ConcordWait wait, int blocker);

static inline void
concord_wait_end(void)
{
	if (concord_proc_stats != NULL && MyProc != NULL)
		concord_proc_stats[MyProc->pgprocno].wait = CONCORD_WAIT_NONE;
}

/* ---- shared memory; from the hooks of worker/shmem.c ---- */
Size		concord_stats_shmem_size(void);
void		concord_stats_shmem_init(void);
Size		concord_conflicts_shmem_size(void);
void		concord_conflicts_shmem_init(void);
void		concord_conflicts_reset(void);

#endif
