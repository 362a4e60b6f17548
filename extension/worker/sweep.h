/*
 * The sweeper: a background worker that looks for orphaned storage (ddl/orphans.h) and drops it; on its own now and then, and
 * when a session asks.
 *
 * Sessions and worker meet in shared memory. A request is a number: it is served by a run that began after it was made.
 */
#ifndef CONCORD_WORKER_SWEEP_H
#define CONCORD_WORKER_SWEEP_H

#include "concord.h"

#include "storage/condition_variable.h"
#include "storage/spin.h"

#define CONCORD_ORPHANS_SHOWN 1024

typedef enum ConcordSweepKind
{
	CONCORD_SWEEP_LOOK,			/* only tells what it finds */
	CONCORD_SWEEP_REMOVE,
	CONCORD_SWEEP_KINDS
} ConcordSweepKind;

typedef struct ConcordSweepResult
{
	int			sqlstate;		/* 0: it went well; else the error, with the texts */
	char		message[512];
	char		detail[512];
	char		hint[512];
	int			count;			/* orphans found, or removed */
	int			undecided;		/* storages of which only the end of running transactions can tell */
} ConcordSweepResult;

typedef struct ConcordSweepShared
{
	slock_t		mutex;			/* of all that follows but the condition variable */
	int			worker;			/* pgprocno of the sweeper; -1: it does not run */
	bool		wanted;			/* a run of which nobody waits for the result */
	uint64		requested[CONCORD_SWEEP_KINDS];
	uint64		served[CONCORD_SWEEP_KINDS];
	ConcordSweepResult result[CONCORD_SWEEP_KINDS];
	uint32		shown[CONCORD_ORPHANS_SHOWN];	/* ids of CONCORD_SWEEP_LOOK's result, as many as fit */
	ConditionVariable done;
} ConcordSweepShared;

extern ConcordSweepShared *concord_sweep_shared;

Size		concord_sweep_shmem_size(void);
void		concord_sweep_shmem_init(void);
/* Wakes the sweeper: there may be orphans. Never raises, never waits. */
void		concord_sweep_wake(void);

#endif
