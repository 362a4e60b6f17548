/*
 * gateway_worker.c
 *		Main function of the gateway worker: starts the gateway's threads and passes on what they want logged.
 *
 * This library is loaded by the worker only, so that no other process of the server ever maps gRPC. It uses what concord.so
 * exports (concord_channel, the settings): the postmaster has that one preloaded.
 */
#include "concord.h"

#include <signal.h>
#include <unistd.h>

#include "fmgr.h"
#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "stats/stats.h"
#include "worker/worker.h"
#include "xact/remote.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void concord_gateway_main(Datum argument) pg_attribute_noreturn();

#define LOOP_MS 100
#define REPORT_READERS_MS 100
/* How long a stopping gateway serves what is under way; not shorter than xact/request.c's TERMINATION_GRACE_MS. */
#define DRAIN_MS 2000

static CcGateway *gateway = NULL;

/* Called by the gateway's threads: SetLatch is as good in a thread as it is in a signal handler. */
static void
wake_backend(int slot)
{
	SetLatch(&ProcGlobal->allProcs[slot % concord_channel_processes()].procLatch);
}

static void
log_message(int level, const char *message)
{
	ereport(level == CC_LOG_WARNING ? WARNING : level == CC_LOG_INFO ? LOG : DEBUG1,
			(errmsg_internal("concord gateway: %s", message), errhidestmt(true)));
}

static void
use_tls(void)
{
	char		ca[MAXPGPATH],
				certificate[MAXPGPATH],
				key[MAXPGPATH],
				reason[MAXPGPATH * 2];

	if (!cc_gateway_use_tls(concord_tls_path(ca, concord_tls_ca), concord_tls_path(certificate, concord_tls_cert),
							concord_tls_path(key, concord_tls_key), reason, sizeof(reason)))
		ereport(FATAL,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("the concord gateway cannot use the TLS files: %s", reason),
				 errhint("It is tried again each second; until then no Concord table can be used.")));
}

static void
stop_gateway(int code, Datum argument)
{
	if (gateway != NULL)
		cc_gateway_stop(gateway);
	gateway = NULL;
}

static void
start_gateway(void)
{
	CcGatewayOptions options = {
		.address = concord_effective_address(),
		.storage_address = concord_storage_address[0] != '\0' ? concord_storage_address : NULL,
		.reads_path = concord_reads_socket(),
		.page_path = concord_page_path(),
		.report_ms = REPORT_READERS_MS,
		.max_age_ms = (int64_t) concord_max_reader_age_s * 1000,
		.meet = concord_cluster_meet,
		.wake = wake_backend,
		.log = log_message,
		.stats = concord_read_server_stats,
	};
	char		host[256] = "";
	char	   *qp_id;
	sigset_t	all,
				before;

	gethostname(host, sizeof(host) - 1);
	qp_id = psprintf("%s:%s", host, DataDir);
	options.qp_id = qp_id;

	/* Signals are for the main thread alone: Postgres' handlers know of no other. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (concord_tls_ca[0] != '\0')
		use_tls();
	gateway = cc_gateway_start(concord_channel, &options);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pfree(qp_id);

	if (gateway == NULL)
		ereport(FATAL,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("could not start the threads of the concord gateway")));
	before_shmem_exit(stop_gateway, (Datum) 0);
}

void
concord_gateway_main(Datum argument)
{
	concord_worker_start();
	start_gateway();
	while (!ShutdownRequestPending)
	{
		concord_worker_wait(LOOP_MS);
		cc_gateway_serve_metrics(gateway, concord_metrics_listen);
		cc_gateway_drain_log(gateway);
		cc_gateway_drain_tls_log(log_message);
		concord_watch_readers();
	}

	/*
	 * At shutdown all processes are told at once; commits that are under way still deserve their verdict, and drops that
	 * the last transactions leave behind must reach the cluster.
	 */
	for (int waited = 0;
		 waited < DRAIN_MS && (CountDBConnections(InvalidOid) > 0 || !cc_channel_idle(concord_channel));
		 waited += 10)
	{
		pg_usleep(10 * 1000L);
		cc_gateway_drain_log(gateway);
	}
	/* Not 0: if only this process was told to end, the postmaster starts it again. */
	proc_exit(1);
}
