/*
 * shmem.c
 *		Our shared memory: the channel to the gateway, the local intents, moved rows, the marks of creators, the sweeper's, what parallel
 *		workers are shown, the statistics, and the LSN page.
 *
 * The channel is an ordinary block of Postgres' shared memory, made anew when Postgres restarts its processes after a crash.
 *
 * The LSN page is a file, because its writer is the adjudicator leader, which is no process of Postgres. The postmaster makes
 * it before any backend is forked, so that all inherit one mapping. It is a new file at each start: an adjudicator of an
 * earlier life may still map, and write, the old one.
 */
#include "worker/worker.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"

#include "ddl/creation_marks.h"
#include "indexam/parallel.h"
#include "stats/stats.h"
#include "tableam/moved.h"
#include "worker/sweep.h"
#include "xact/intent.h"
#include "xact/share.h"

#define PAGE_BYTES 4096			/* kLsnPageSize */

CcChannel  *concord_channel = NULL;

static const void *lsn_page = NULL;
static shmem_request_hook_type previous_request_hook = NULL;
static shmem_startup_hook_type previous_startup_hook = NULL;

/* Each pgprocno that can run code; the entries of prepared transactions, which follow, cannot. */
int
concord_channel_processes(void)
{
	return MaxBackends + NUM_AUXILIARY_PROCS;
}

static int
channel_slots(void)
{
	return concord_channel_processes() * CC_CHUNKS_UNDER_WAY;
}

static Size
channel_bytes(void)
{
	return cc_channel_size(channel_slots(), (size_t) concord_gateway_buffer_kb * 1024);
}

void
concord_shmem_request(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(add_size(add_size(channel_bytes(), concord_intent_shmem_size()),
									add_size(concord_marks_shmem_size(), concord_sweep_shmem_size())));
	RequestAddinShmemSpace(add_size(concord_cluster_shmem_size(), concord_share_shmem_size()));
	RequestAddinShmemSpace(concord_moved_shmem_size());
	RequestAddinShmemSpace(add_size(concord_stats_shmem_size(), concord_conflicts_shmem_size()));
}

static void
make_page(void)
{
	static const char zeros[PAGE_BYTES];
	const char *path = concord_page_path();
	void	   *memory;
	int			fd;

	if (unlink(path) != 0 && errno != ENOENT)
		ereport(FATAL,
				(errcode_for_file_access(), errmsg("could not remove file \"%s\": %m", path)));
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		ereport(FATAL,
				(errcode_for_file_access(), errmsg("could not create file \"%s\": %m", path)));
	/* Written, not only lengthened: a store into a mapped hole of a full disk would be SIGBUS. */
	errno = ENOSPC;				/* if write does not set it */
	if (write(fd, zeros, PAGE_BYTES) != PAGE_BYTES)
		ereport(FATAL,
				(errcode_for_file_access(), errmsg("could not write file \"%s\": %m", path)));
	memory = mmap(NULL, PAGE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		ereport(FATAL,
				(errcode_for_file_access(), errmsg("could not map file \"%s\": %m", path)));
	close(fd);
	lsn_page = memory;
}

void
concord_shmem_startup(void)
{
	bool		found;

	if (previous_startup_hook)
		previous_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	concord_channel = ShmemInitStruct("concord channel", channel_bytes(), &found);
	if (!found)
		cc_channel_init(concord_channel, channel_slots(), (size_t) concord_gateway_buffer_kb * 1024);
	concord_intent_shmem_init();
	concord_moved_shmem_init();
	concord_marks_shmem_init();
	concord_sweep_shmem_init();
	concord_cluster_shmem_init();
	concord_share_shmem_init();
	concord_parallel_index_init();
	concord_stats_shmem_init();
	concord_conflicts_shmem_init();
	LWLockRelease(AddinShmemInitLock);

	if (lsn_page == NULL)		/* it outlives a restart of the processes: its writer is none of them */
		make_page();
}

void
concord_install_shmem_hooks(void)
{
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = concord_shmem_request;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = concord_shmem_startup;
}

uint64
concord_page_committed(void)
{
	return lsn_page == NULL ? 0 : cc_page_committed(lsn_page);
}
