/*
 * remote.c
 *		Which storage replica a read goes to: this machine's, through its map, or another one, through the gateway.
 *
 * The map is read wherever it serves. If it has not applied a read LSN within a moment, or cannot be opened, and there are other
 * replicas, the read goes on without it: the functions of bridge/replica.h then ask the gateway, which routes (bridge/remote.h). Each
 * seek and each row that is looked up tries the map first, so a replica that has caught up is read again at once.
 *
 * Which directory is this machine's replica is what that replica says itself, to the gateway; until all have been asked, and for
 * a server with a sidecar of its own, it is the one that concord.directory names.
 */
#include "xact/remote.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "stats/stats.h"
#include "storage/ipc.h"
#include "storage/pmsignal.h"
#include "utils/wait_event.h"
#include "xact/request.h"

/*
 * How long the map may take to apply a read LSN before another machine is asked that is known to have it, and any other: normally it is a
 * fraction of a millisecond behind. A disk that is busy holds it up for some 10 ms now and then, and that is no reason: once reads go to the
 * others, these apply each commit by itself too (ReportReadersRequest.reads), and the disk gets busier.
 */
#define PATIENCE_MS 50
#define LAG_MS 100
/* A replica from which something has been heard so lately is there. */
#define HEARD_MS 2000

#define READS_SOCKET "concord.reads"	/* in the data directory, the working directory of all processes */

bool		concord_remote_enabled = false;

static uint64 lagging_at = 0;	/* an LSN that the map had not applied in time, and may still not have */

static void
serve_interrupts(void)
{
	CHECK_FOR_INTERRUPTS();
	if (!PostmasterIsAlive())
		proc_exit(1);
	concord_check_trouble();
	concord_remind_postmaster();
}

/* Called by C++; raises nothing. */
static void
tell_waiting(CcReadWait wait)
{
	if (wait != CC_WAITS_NOT)
	{
		concord_wait_begin(wait == CC_WAITS_FLUSH ? CONCORD_WAIT_FLUSH : CONCORD_WAIT_REMOTE_READ, 0);
		pgstat_report_wait_start(PG_WAIT_EXTENSION);
	}
	else
	{
		pgstat_report_wait_end();
		concord_wait_end();
	}
}

static void
set_up(void)
{
	static bool done = false;
	CcRemoteOptions options = {
		.socket = READS_SOCKET,
		.interrupted = &InterruptPending,
		.timeout_ms = &concord_read_timeout_ms,
		.waiting = tell_waiting
	};

	if (done)
		return;
	StaticAssertStmt(sizeof(sig_atomic_t) == sizeof(int), "the bridge reads it as an int");
	cc_serve_interrupts = serve_interrupts;
	cc_remote_setup(&options);
	done = true;
}

const char *
concord_reads_socket(void)
{
	return READS_SOCKET;
}

/* The directory of the map on this machine; empty if there is none. */
static const char *
local_path(void)
{
	static char path[CC_REPLICA_PATH_SIZE];
	static uint32 version = PG_UINT32_MAX;
	static CcLocalReplica local = CC_LOCAL_UNKNOWN;
	uint32		now;

	if (concord_embedded)
		return concord_replica_path();
	now = cc_channel_local_version(concord_channel);
	if (now != version)
	{
		local = cc_channel_local(concord_channel, path, sizeof(path));
		version = now;
	}
	return local == CC_LOCAL_UNKNOWN ? concord_replica_path() : path;
}

CcStatus
concord_open_replica(void)
{
	set_up();
	concord_remote_enabled = !concord_embedded || !concord_local_reads;
	cc_remote_set(concord_remote_enabled, !concord_local_reads);
	return cc_replica_open(local_path());
}

/* Whether another machine's replica could be asked; *is_ahead: one of them is known to have come as far. */
static bool
others_are_there(uint64 lsn, bool *is_ahead)
{
	int			count = cc_channel_replicas(concord_channel);
	bool		found = false;

	*is_ahead = false;
	for (int i = 0; i < count; i++)
	{
		CcReplicaInfo info;

		cc_channel_replica(concord_channel, i, &info);
		if (!info.is_local && info.state != CC_REPLICA_UNUSABLE && info.heard_age_ms >= 0 && info.heard_age_ms < HEARD_MS)
		{
			found = true;
			*is_ahead = *is_ahead || info.applied >= lsn;
		}
	}
	return found;
}

bool
concord_is_readable(uint64 lsn, uint64 *applied, int64 waited_ms, CcStatus *status)
{
	bool		is_ahead;

	*status = concord_open_replica();
	if (concord_remote_enabled)
		cc_remote_note(lsn);
	if (!concord_local_reads)
		return true;			/* the replica that is asked waits for it */
	if (*status == CC_OK)
		*status = cc_replica_applied(applied);
	if (*status == CC_OK && lsn <= *applied)
	{
		if (unlikely(lagging_at != 0) && *applied >= lagging_at)
			lagging_at = 0;
		return true;
	}
	if (!concord_remote_enabled || (*status != CC_OK && *status != CC_UNAVAILABLE))
		return false;
	/* Who has just been waited for in vain is not waited for again. */
	if (lagging_at == 0 && waited_ms < PATIENCE_MS)
		return false;
	if (!others_are_there(lsn, &is_ahead))
		return false;
	/* One that is no further answers no sooner; but the gateway may not have heard of it yet. */
	if (lagging_at == 0 && *status == CC_OK && !is_ahead && waited_ms < LAG_MS)
		return false;
	if (lagging_at == 0)
		lagging_at = lsn;
	return true;
}
