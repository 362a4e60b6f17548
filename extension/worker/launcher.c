/*
 * launcher.c
 *		Main function of the launcher worker: starts the sidecar, concordd, and keeps it running.
 *
 * The sidecar's life hangs on the launcher's by a pipe, the lifeline, of which the launcher holds the only writing end:
 * however this process ends, the sidecar reads end of file and ends too. Its standard output and error are the server's log
 * stream; nothing else of the server's open files is passed on.
 */
#define _GNU_SOURCE				/* close_range, pipe2 */
#include "worker/worker.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "access/xlog.h"
#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

PGDLLEXPORT void concord_launcher_main(Datum argument) pg_attribute_noreturn();

#define ARGUMENTS_FOR_SOME 14	/* the first of add_for_some */
#define ARGUMENTS_MAX (ARGUMENTS_FOR_SOME + 5)
#define LIFELINE_FD 3			/* in the sidecar */
#define REPORT_FD 4
#define SETTLED_MS 1000			/* having run that long, it has opened its directory, or is at work on it */
#define EXEC_FAILED 127
#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 10000
#define BACKOFF_SERVED_MS 300	/* the most for one that has served: commits wait for it */
#define STABLE_MS 10000			/* having run that long, it starts again after the shortest time */
#define LOCK_WAIT_MS 10000		/* for a sidecar of an earlier life that is just ending */
#define GATEWAY_WAIT_MS 3000	/* for the gateway's last commits */
#define TERM_WAIT_MS 5000
#define POLL_MS 10

static int	lifeline = -1;		/* writing end */
static int	report = -1;		/* reading end: why the sidecar could not go on */

static void
handle_sigchld(SIGNAL_ARGS)
{
	int			save_errno = errno;

	SetLatch(MyLatch);
	errno = save_errno;
}

static const char *
daemon_path(void)
{
	static char path[MAXPGPATH];

	if (concord_daemon_path[0] != '\0')
		strlcpy(path, concord_daemon_path, sizeof(path));
	else
		snprintf(path, sizeof(path), "%s/concordd", concord_library_directory());
	return path;
}

/* In the child: only what is async-signal-safe. */
static void
become_sidecar(char *const *arguments, int lifeline_read, int report_write)
{
	static const char message[] = "concord launcher: could not execute the sidecar\n";
	sigset_t	none;
	int			null_fd;

	/* The postmaster signals whole process groups; the sidecar is told by the launcher, and last. */
	setsid();
	pqsignal(SIGPIPE, SIG_DFL);
	pqsignal(SIGHUP, SIG_DFL);
	pqsignal(SIGINT, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);

	/* Out of the way of the numbers that they are to have. */
	lifeline_read = fcntl(lifeline_read, F_DUPFD_CLOEXEC, REPORT_FD + 1);
	report_write = fcntl(report_write, F_DUPFD_CLOEXEC, REPORT_FD + 1);
	null_fd = open("/dev/null", O_RDONLY);
	if (dup2(null_fd, STDIN_FILENO) >= 0 && dup2(STDERR_FILENO, STDOUT_FILENO) >= 0 &&
		dup2(lifeline_read, LIFELINE_FD) >= 0 && dup2(report_write, REPORT_FD) >= 0 &&
		close_range(REPORT_FD + 1, ~0U, 0) == 0)
		execv(arguments[0], arguments);
	if (write(STDERR_FILENO, message, sizeof(message) - 1) < 0)
		_exit(EXEC_FAILED);
	_exit(EXEC_FAILED);
}

/* The arguments that not every sidecar is given. */
static void
add_for_some(char **arguments)
{
	char		path[MAXPGPATH];

	/* Once there were rows, an empty directory is a lost one. */
	if (concord_cluster_id() != NULL)
		*arguments++ = psprintf("--expect-cluster=%s", concord_cluster_id());
	if (concord_daemon_metrics_listen[0] != '\0')
		*arguments++ = psprintf("--metrics-listen=%s", concord_daemon_metrics_listen);
	if (concord_tls_ca[0] == '\0')
		return;
	*arguments++ = psprintf("--tls-ca=%s", concord_tls_path(path, concord_tls_ca));
	*arguments++ = psprintf("--tls-cert=%s", concord_tls_path(path, concord_tls_cert));
	*arguments++ = psprintf("--tls-key=%s", concord_tls_path(path, concord_tls_key));
}

/* Returns the sidecar's process id, or -1 if it could not be started; that is logged. */
static pid_t
start_sidecar(void)
{
	char	   *arguments[] = {
		pstrdup(daemon_path()),
		"--roles=adjudicator,journal,storage",
		psprintf("--dir=%s", concord_effective_directory()),
		psprintf("--listen=%s", concord_effective_address()),
		psprintf("--lifeline-fd=%d", LIFELINE_FD),
		psprintf("--report-fd=%d", REPORT_FD),
		psprintf("--lock-wait-ms=%d", LOCK_WAIT_MS),
		psprintf("--retention-ms=%d", concord_retention_ms),
		psprintf("--checkpoint-interval-ms=%d", concord_checkpoint_ms),
		/* A backend keeps four idle slots, and holds one more for each version of the replica that its cursors read. */
		psprintf("--max-readers=%d", MaxBackends * 8 + 256),
		psprintf("--map-size=%lld", (long long) concord_storage_limit_mb * 1024 * 1024),
		psprintf("--log-level=%s", concord_daemon_log_level),
		psprintf("--check-bytes=%lld", (long long) concord_start_check_mb << 20),
		psprintf("--owner=" UINT64_FORMAT, GetSystemIdentifier()),
		[ARGUMENTS_FOR_SOME] = NULL,
		[ARGUMENTS_MAX] = NULL
	};
	int			ends[2];
	int			report_ends[2];
	pid_t		pid;

	add_for_some(arguments + ARGUMENTS_FOR_SOME);
	/* Ours alone, even where the data directory lets its group read. */
	if (concord_cluster_id() == NULL && mkdir(concord_effective_directory(), 0700) != 0 && errno != EEXIST)
	{
		ereport(WARNING,
				(errcode_for_file_access(),
				 errmsg("could not create directory \"%s\": %m", concord_effective_directory()),
				 errdetail("The sidecar keeps everything there, so it is not started; it is tried again within 10 seconds."),
				 errhint("Check that concord.directory's parent is there and can be written to.")));
		return -1;
	}
	if (pipe2(ends, O_CLOEXEC) != 0)
	{
		ereport(WARNING,
				(errcode_for_file_access(),
				 errmsg("could not create the sidecar's lifeline: %m"),
				 errdetail("This is a pipe. The sidecar is not started; it is tried again within 10 seconds.")));
		return -1;
	}
	if (pipe2(report_ends, O_CLOEXEC | O_NONBLOCK) != 0)
	{
		close(ends[0]);
		close(ends[1]);
		ereport(WARNING,
				(errcode_for_file_access(),
				 errmsg("could not create the sidecar's report pipe: %m"),
				 errdetail("The sidecar is not started; it is tried again within 10 seconds.")));
		return -1;
	}
	fflush(NULL);				/* or the child's copy would be written twice */
	pid = fork();
	if (pid == 0)
		become_sidecar(arguments, ends[0], report_ends[1]);
	close(ends[0]);
	close(report_ends[1]);
	if (pid < 0)
	{
		close(ends[1]);
		close(report_ends[0]);
		ereport(WARNING,
				(errmsg("could not fork the sidecar: %m"),
				 errdetail("It is tried again within 10 seconds."),
				 errhint("Look at the limits of processes and memory of the server's user.")));
		return -1;
	}
	lifeline = ends[1];
	report = report_ends[0];
	ereport(LOG, (errmsg("started concord sidecar \"%s\", PID %d", arguments[0], (int) pid)));
	return pid;
}

/*
 * What the sidecar has written about its end: a line with the kind, then the reason. Kept for the backends that wait for it. One that
 * was killed says nothing.
 */
static void
take_report(const char *how)
{
	char		text[CONCORD_TROUBLE_SIZE + 16];
	ssize_t		size = read(report, text, sizeof(text) - 1);
	char	   *reason;
	ConcordTroubleKind kind = CONCORD_FAILED;

	close(report);
	report = -1;
	text[Max(size, 0)] = '\0';
	reason = strchr(text, '\n');
	if (reason == NULL)
		reason = psprintf("It ended: %s.", how);
	else
	{
		*reason++ = '\0';
		reason[strcspn(reason, "\n")] = '\0';
		if (strcmp(text, "damaged") == 0)
			kind = CONCORD_DAMAGED;
		else if (strcmp(text, "refused") == 0)
			kind = CONCORD_REFUSED;
	}
	concord_set_trouble(CONCORD_TROUBLE_LAUNCHER, kind, reason);
}

/* True if the sidecar has ended; logs how. */
static bool
sidecar_ended(pid_t pid, bool expected)
{
	int			status;
	char	   *how;

	if (waitpid(pid, &status, WNOHANG) != pid)
		return false;
	how = wait_result_to_str(status);
	if (expected)
		ereport(DEBUG1, (errmsg_internal("concord sidecar, PID %d: %s", (int) pid, how)));
	else if (WIFEXITED(status) && WEXITSTATUS(status) == EXEC_FAILED)
	{
		ereport(WARNING,
				(errmsg("concord sidecar \"%s\" could not be executed", daemon_path()),
				 errdetail("It is tried again within 10 seconds."),
				 errhint("Set concord.daemon_path to the concordd binary, and reload.")));
		pfree(how);
		how = psprintf("\"%s\" could not be executed", daemon_path());
	}
	else
		ereport(WARNING,
				(errmsg("concord sidecar ended, PID %d: %s", (int) pid, how),
				 errdetail("Commits and reads of Concord tables wait until it is back."),
				 errhint("What it wrote to the server log tells why.")));
	take_report(how);
	pfree(how);
	close(lifeline);
	lifeline = -1;
	return true;
}

static void
stop_sidecar(pid_t pid)
{
	int			waited;

	/* All processes are told to end at once; commits that are under way still need the sidecar. */
	for (waited = 0; cc_channel_attached(concord_channel) && waited < GATEWAY_WAIT_MS; waited += POLL_MS)
		pg_usleep(POLL_MS * 1000L);
	kill(pid, SIGTERM);
	kill(pid, SIGCONT);			/* a stopped one would not notice */
	for (waited = 0; waited < TERM_WAIT_MS; waited += POLL_MS)
	{
		if (sidecar_ended(pid, true))
			return;
		pg_usleep(POLL_MS * 1000L);
	}
	ereport(WARNING,
			(errmsg("concord sidecar, PID %d, did not end in time and is killed", (int) pid),
			 errdetail("Nothing is lost: its next start replays the journal.")));
	kill(pid, SIGKILL);
	(void) waitpid(pid, NULL, 0);
}

static uint64
gateway_sessions(void)
{
	CcChannelStats stats;

	cc_channel_stats(concord_channel, &stats);
	return stats.sessions;
}

/* Runs the sidecar once, until it ends or the server is shut down. Returns how long it ran and whether the gateway met it. */
static int64
run_sidecar(bool *served)
{
	TimestampTz start = GetCurrentTimestamp();
	uint64		sessions = gateway_sessions();
	pid_t		pid = start_sidecar();
	bool		settled = false;

	while (pid > 0)
	{
		if (ShutdownRequestPending)
		{
			stop_sidecar(pid);
			break;
		}
		if (sidecar_ended(pid, false))
			break;
		concord_worker_wait(settled ? -1L : SETTLED_MS);
		if (!settled && TimestampDifferenceExceeds(start, GetCurrentTimestamp(), SETTLED_MS))
		{
			settled = true;
			if (sidecar_ended(pid, false))
				break;
			concord_set_trouble(CONCORD_TROUBLE_LAUNCHER, CONCORD_WELL, "");
		}
	}
	*served = gateway_sessions() != sessions;
	return TimestampDifferenceMilliseconds(start, GetCurrentTimestamp());
}

void
concord_launcher_main(Datum argument)
{
	long		backoff_ms = BACKOFF_MIN_MS;
	MemoryContext context;

	pqsignal(SIGCHLD, handle_sigchld);
	concord_worker_start();

	context = AllocSetContextCreate(TopMemoryContext, "concord launcher", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);

	while (!ShutdownRequestPending)
	{
		TimestampTz again;
		bool		served;

		MemoryContextReset(context);
		if (run_sidecar(&served) >= STABLE_MS)
			backoff_ms = BACKOFF_MIN_MS;
		else if (served)
			backoff_ms = Min(backoff_ms, BACKOFF_SERVED_MS);
		again = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), backoff_ms);
		while (!ShutdownRequestPending && GetCurrentTimestamp() < again)
			concord_worker_wait(backoff_ms);
		backoff_ms = Min(backoff_ms * 2, BACKOFF_MAX_MS);
	}
	/* Not 0: if only this process was told to end, the postmaster starts it again. */
	proc_exit(1);
}
