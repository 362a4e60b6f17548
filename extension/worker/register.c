/*
 * register.c
 *		Tells the postmaster of our background workers; what their main loops share.
 *
 * gateway	carries the requests of all backends to the sidecar; in a library of its own (gateway/gateway_worker.c).
 * launcher	starts concordd and restarts it; only with concord.embedded.
 * sweeper	drops storage that no catalog uses.
 */
#define _GNU_SOURCE				/* dladdr */
#include "worker/worker.h"

#include <dlfcn.h>
#include <signal.h>

#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "storage/procsignal.h"
#include "storage/sinval.h"

#define RESTART_SECONDS 1

const char *
concord_library_directory(void)
{
	static char directory[MAXPGPATH];
	Dl_info		info;

	if (directory[0] == '\0')
	{
		if (dladdr(concord_library_directory, &info) != 0 && first_dir_separator(info.dli_fname) != NULL)
		{
			strlcpy(directory, info.dli_fname, sizeof(directory));
			get_parent_directory(directory);
		}
		else
			strlcpy(directory, pkglib_path, sizeof(directory));
	}
	return directory;
}

static void
register_worker(const char *name, const char *library, const char *function)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	snprintf(worker.bgw_name, BGW_MAXLEN, "concord %s", name);
	snprintf(worker.bgw_type, BGW_MAXLEN, "concord %s", name);
	snprintf(worker.bgw_library_name, BGW_MAXLEN, "%s", library);
	snprintf(worker.bgw_function_name, BGW_MAXLEN, "%s", function);
	/* Connected to no database in particular, but connected: so that pg_stat_activity shows them. */
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	/* Not on a standby: Concord's data is not in WAL, so it has none of its own to serve. */
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = RESTART_SECONDS;
	RegisterBackgroundWorker(&worker);
}

void
concord_worker_start(void)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	pqsignal(SIGUSR1, procsignal_sigusr1_handler);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
}

void
concord_worker_wait(long timeout_ms)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (timeout_ms >= 0 ? WL_TIMEOUT : 0), timeout_ms,
					 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	if (ProcSignalBarrierPending)
		ProcessProcSignalBarrier();
	if (catchupInterruptPending)
		ProcessCatchupInterrupt();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

void
concord_register_workers(void)
{
	char		gateway[MAXPGPATH];

	/* Beside concord.so, wherever that is; by its plain name if it is where Postgres looks anyway. */
	snprintf(gateway, sizeof(gateway), "%s/concord_gateway", concord_library_directory());
	if (strcmp(concord_library_directory(), pkglib_path) == 0 || strlen(gateway) >= BGW_MAXLEN)
		strlcpy(gateway, "concord_gateway", sizeof(gateway));

	if (concord_embedded)
		register_worker("launcher", "concord", "concord_launcher_main");
	register_worker("gateway", gateway, "concord_gateway_main");
	register_worker("sweeper", "concord", "concord_sweeper_main");
}
