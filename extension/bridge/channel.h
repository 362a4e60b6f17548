/*
 * The channel between backends and the gateway worker: a block of Postgres' shared memory, laid out and operated here, waited on
 * by the callers. Requests of all backends are carried by one gateway to one gRPC stream.
 *
 * A backend owns CC_CHUNKS_UNDER_WAY slots: its pgprocno, and from there one in as many as there are processes. It hands a
 * request over in pieces through the slot's buffer, then waits for the answer with its latch. The gateway's threads never call
 * Postgres but SetLatch, through the function given to them: it is safe there because it is async-signal-safe: no memory, no elog.
 *
 * Same wall rules as replica.h. All functions may be called in any process that maps the block.
 */
#ifndef CONCORD_BRIDGE_CHANNEL_H
#define CONCORD_BRIDGE_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct CcChannel CcChannel;	/* the shared block */

/* Chunks of a backend that may be on their way at once (core/wire.h, kChunksUnderWay). */
#define CC_CHUNKS_UNDER_WAY 2

typedef enum CcRequestKind
{
	CC_REQ_COMMIT = 1,		/* payload: commit; answer: outcome, lsn, conflict hash */
	CC_REQ_CHUNK,			/* payload: chunk; answer: outcome, lsn */
	CC_REQ_ABANDON,			/* payload: token; no answer is waited for */
	CC_REQ_READ_LSN,		/* no payload; answer: lsn */
	CC_REQ_STATUS			/* no payload; answer: text, lines "part.name=value" */
} CcRequestKind;

/* Values of proto's Outcome, and what the channel itself can say. */
typedef enum CcOutcome
{
	CC_OUTCOME_NONE = 0, CC_COMMITTED = 1, CC_CONFLICT = 2, CC_OUT_TOO_OLD = 3, CC_OUT_INVALID = 4,
	CC_OUT_UNAVAILABLE = 5, CC_OUT_UNKNOWN = 6, CC_OUT_NO_SPACE = 7,
	CC_OUT_JOURNAL_FAILED = 9, CC_READ_CONFLICT = 10,
	CC_OUT_LOST = 20		/* the gateway restarted and forgot the request: send it again, same token */
} CcOutcome;

typedef struct CcAnswer
{
	CcOutcome	outcome;
	uint64_t	lsn;
	uint64_t	conflict_hash;
	char		message[256];
	uint32_t	text_size;		/* of the slot's buffer, for CC_REQ_STATUS */
} CcAnswer;

/* ---- set-up ---- */
size_t		cc_channel_size(int slots, size_t buffer_bytes);
void		cc_channel_init(CcChannel *channel, int slots, size_t buffer_bytes);

/* ---- backend side: one request at a time per slot ---- */
/* Begins a request of `total` bytes. */
void		cc_channel_begin(CcChannel *channel, int slot, CcRequestKind kind, size_t total);
/* Copies as much of the rest as fits now; returns the number of bytes taken (0: the gateway has not emptied the buffer yet:
 * wait on the latch, then call again). The request is complete when `total` bytes were taken. */
size_t		cc_channel_put(CcChannel *channel, int slot, const void *data, size_t size);
/* True when there is room again, or the request has been answered. Spins for at most spin_us first. */
bool		cc_channel_emptied(CcChannel *channel, int slot, int spin_us);
/* True when the answer is there. Spins for at most spin_us first. */
bool		cc_channel_answered(CcChannel *channel, int slot, int spin_us, CcAnswer *answer);
/* The text of a CC_REQ_STATUS answer. */
const char *cc_channel_text(CcChannel *channel, int slot);
/* Gives the request up: a late answer is dropped. The slot can be used again at once. */
void		cc_channel_cancel(CcChannel *channel, int slot);
/* Gives the request up if the gateway has not sent it: true if nothing can come of it any more. */
bool		cc_channel_withdraw(CcChannel *channel, int slot);
/* True while a gateway is attached and its session to the adjudicator is open. */
bool		cc_channel_connected(CcChannel *channel);
/* True while a gateway is attached, with or without a session. */
bool		cc_channel_attached(CcChannel *channel);
/* True if nothing waits for the gateway: no backend, and no drop. */
bool		cc_channel_idle(CcChannel *channel);

/* ---- drops: storage ids whose tables are gone; fire and forget, bounded ---- */
bool		cc_channel_drop_storage(CcChannel *channel, uint32_t storage_id);	/* false if the queue is full */
/* True if a drop waits for the gateway, or for the adjudicator's verdict. */
bool		cc_channel_drops_waiting(CcChannel *channel);

/* ---- read LSNs in use, for the horizon; lowest over all slots is reported by the gateway ---- */
/* 0: none. A slot's age counts from when it had none, or a lower one. */
void		cc_channel_set_read_lsn(CcChannel *channel, int slot, uint64_t lsn);
/* The read LSN of a whole transaction, for whoever imports its exported snapshot. */
void		cc_channel_set_snapshot_lsn(CcChannel *channel, int slot, uint64_t lsn);	/* 0: none */
uint64_t	cc_channel_snapshot_lsn(CcChannel *channel, int slot);
/* Without those older than max_age_ms, who have had their time; 0: of all. */
uint64_t	cc_channel_lowest_read_lsn(CcChannel *channel, int64_t max_age_ms);

/* What a slot reads: 0 in read_lsn if nothing. */
typedef struct CcReader
{
	uint64_t	read_lsn;
	int64_t		age_ms;			/* of its registration */
	int64_t		view_age_ms;	/* of its oldest pinned view of the replica; -1 if it has none */
} CcReader;
void		cc_channel_reader(CcChannel *channel, int slot, CcReader *reader);
/* From now on this process' replica tells the slot since when it has had a view pinned. */
void		cc_channel_publish_views(CcChannel *channel, int slot);

/* ---- rowids and storage ids leased by this server ---- */
/* Takes `count` consecutive ids of a counter from the lease; returns false if the lease has not that many left (then the
 * caller leases more, under a lock of its own, and adds it). key: storage id for rowids, 0 for storage ids. */
bool		cc_lease_take(CcChannel *channel, uint32_t key, uint64_t count, uint64_t *first);
/*
 * Replaces the lease by the ids first..first+count-1, of which the caller has taken the first `taken`. Returns false if the lease
 * table is full (then the ids are the caller's own).
 */
bool		cc_lease_add(CcChannel *channel, uint32_t key, uint64_t first, uint64_t count, uint64_t taken);
/* The size last leased for the key, 0 if none: leases double up to a limit. */
uint64_t	cc_lease_last_size(CcChannel *channel, uint32_t key);
void		cc_lease_forget(CcChannel *channel, uint32_t key);

/* ---- statistics shown by concord.status() ---- */
typedef struct CcChannelStats { uint64_t commits, conflicts, chunks, batches, reconnects, sessions, bytes, resent; } CcChannelStats;
void		cc_channel_stats(CcChannel *channel, CcChannelStats *stats);

/* ---- the storage replicas, as the gateway knows them ---- */
#define CC_REPLICAS_MAX 32
#define CC_REPLICA_ADDRESS_SIZE 256
#define CC_REPLICA_ID_SIZE 80
#define CC_REPLICA_TROUBLE_SIZE 256
#define CC_REPLICA_PATH_SIZE 1088
typedef enum CcReplicaState
{
	CC_REPLICA_UNKNOWN = 0,		/* nothing has been heard of it */
	CC_REPLICA_WELL,
	CC_REPLICA_SILENT,			/* nothing is heard of it any more, while others are */
	CC_REPLICA_LEFT,			/* it has failed lately */
	CC_REPLICA_UNUSABLE			/* of another cluster, or not to be connected to */
} CcReplicaState;

typedef struct CcReplicaInfo
{
	char		address[CC_REPLICA_ADDRESS_SIZE];
	char		id[CC_REPLICA_ID_SIZE];		/* its name on the journal; empty: not known */
	char		trouble[CC_REPLICA_TROUBLE_SIZE];	/* why it could not be asked, last time; empty: it could */
	uint64_t	applied;
	uint64_t	horizon;
	int64_t		latency_us;		/* of a small read, on average; 0: none was made */
	int64_t		heard_age_ms;	/* -1: nothing was */
	CcReplicaState state;
	bool		is_local;		/* its map lies on this machine, and is read */
} CcReplicaInfo;
int			cc_channel_replicas(CcChannel *channel);	/* how many there are; constant while a gateway runs */
void		cc_channel_replica(CcChannel *channel, int index, CcReplicaInfo *info);

/* Whether one of them is on this machine, as it says itself: the name in the directory is the one that it gives. */
typedef enum CcLocalReplica
{
	CC_LOCAL_UNKNOWN = 0,		/* not all have been asked */
	CC_LOCAL_PATH,				/* yes, there */
	CC_LOCAL_NONE
} CcLocalReplica;
uint32_t	cc_channel_local_version(CcChannel *channel);	/* changes whenever the next one's answer does */
CcLocalReplica cc_channel_local(CcChannel *channel, char *path, size_t room);

/* Reads that went through the gateway. */
typedef struct CcReadStats { uint64_t reads, bytes, hedged, moved; } CcReadStats;
void		cc_channel_read_stats(CcChannel *channel, CcReadStats *stats);

/* ---- the LSN page (core/lsn_page.h) ---- */
/* The committed LSN that a mapped page vouches for now, or 0. */
uint64_t	cc_page_committed(const void *page);

/*
 * What the server has counted since its shared memory was made, and what its backends wait for now, for the metrics; counting goes
 * on meanwhile. Bucket i of `waits` has the commits that waited for less than 2^(i + CC_WAIT_FIRST_BITS) microseconds and are in no
 * bucket before it, the last one the rest.
 */
#define CC_WAIT_BUCKETS 20
#define CC_WAIT_FIRST_BITS 4
#define CC_WAIT_KINDS 16
typedef struct CcServerStats
{
	uint64_t	committed, read_only, conflicts, too_old, refused, unknown, chunks, retries;
	uint64_t	waits[CC_WAIT_BUCKETS];
	uint64_t	wait_us;		/* of all of them */
	const char *waiting_for[CC_WAIT_KINDS];	/* NULL: none such */
	uint64_t	waiting[CC_WAIT_KINDS];
} CcServerStats;

/* ---- gateway side (gateway/ only) ---- */
/* Levels of CcGatewayOptions.log. */
#define CC_LOG_DEBUG 0
#define CC_LOG_INFO 1
#define CC_LOG_WARNING 2
typedef struct CcGatewayOptions
{
	const char *address;		/* "unix:/path"; of several adjudicators: comma-separated */
	const char *storage_address;	/* those of the replicas, comma-separated; NULL: address, which then is one */
	const char *reads_path;		/* of the socket for reads of backends, made if there may be any; NULL: none */
	const char *page_path;		/* LSN page to offer */
	const char *qp_id;
	int			report_ms;		/* how often read LSNs are reported */
	int64_t		max_age_ms;		/* of those reported; 0: without limit */
	bool		(*meet) (const char *cluster_id);	/* before each session, by its thread: whether this sidecar is ours; NULL: any is */
	void		(*wake) (int slot);		/* sets the latch of the backend that owns the slot */
	void		(*log) (int level, const char *message);	/* never called from a thread: see cc_gateway_drain_log */
	void		(*stats) (CcServerStats *stats);	/* fills in zeros; by any thread; NULL: not known */
} CcGatewayOptions;
/*
 * From now on all connections that are not to a unix socket are by TLS, with these files; before the gateway is started, with all
 * signals blocked. False, with the reason in `reason`, if they are of no use. A change of their content is told by
 * cc_gateway_drain_tls_log.
 */
bool		cc_gateway_use_tls(const char *ca, const char *certificate, const char *key, char *reason, size_t reason_size);
void		cc_gateway_drain_tls_log(void (*log) (int level, const char *message));
/* Starts the threads; call with all signals blocked. NULL if they cannot be started. */
typedef struct CcGateway CcGateway;
CcGateway  *cc_gateway_start(CcChannel *channel, const CcGatewayOptions *options);
/* Called by the worker's main loop every so often: passes on what the threads wanted logged. */
void		cc_gateway_drain_log(CcGateway *gateway);
/* Likewise: serves metrics there from now on, or nowhere if it is empty; goes on trying if it cannot. */
void		cc_gateway_serve_metrics(CcGateway *gateway, const char *address);
void		cc_gateway_stop(CcGateway *gateway);

#ifdef __cplusplus
}
#endif
#endif
