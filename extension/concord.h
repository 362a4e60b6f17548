/*
 * What the C side of the extension shares. Files that include this one include Postgres and no C++; the C++ parts are
 * reached through bridge/ only (the wall: docs/architecture.md).
 */
#ifndef CONCORD_H
#define CONCORD_H

#include "postgres.h"

#include "access/tableam.h"
#include "executor/tuptable.h"
#include "nodes/execnodes.h"
#include "storage/itemptr.h"
#include "utils/rel.h"
#include "utils/snapshot.h"

#include "bridge/channel.h"
#include "bridge/read_set.h"
#include "bridge/replica.h"
#include "bridge/write_set.h"

/* ---- settings (settings.c); docs/operations.md lists them ---- */
extern bool concord_enabled;			/* preloaded: shared memory and hooks are there */
extern int	concord_commit_timeout_ms;
extern int	concord_read_timeout_ms;
extern int	concord_max_write_set_kb;
extern int	concord_max_read_set_kb;
extern bool concord_allow_mixed_writes;
extern bool concord_local_intents;		/* writers of this server wait for each other */
extern int	concord_gateway_buffer_kb;
extern int	concord_spin_us;
extern bool concord_embedded;			/* launcher starts concordd */
extern char *concord_directory;			/* sidecar's directory; default: <data directory>/concord */
extern char *concord_address;			/* adjudicator's and storage's address; default: unix socket in the directory */
extern char *concord_storage_address;	/* those of the storage replicas, comma-separated, if they are others */
extern bool concord_local_reads;		/* a replica on this machine is read through its map */
extern int	concord_nestloop_batch;		/* outer rows that are looked up together; 0: look-ahead is off */
extern const char *concord_tls_path(char *buffer, const char *path);
extern char *concord_tls_ca;		/* all three, or none: no TLS */
extern char *concord_tls_cert;
extern char *concord_tls_key;
extern char *concord_metrics_listen;	/* where the gateway serves metrics; empty: nowhere */
extern char *concord_daemon_metrics_listen; /* where the sidecar that the server starts does */
extern char *concord_daemon_path;		/* concordd binary; default: beside the extension library */
extern int	concord_retention_ms;
extern int	concord_checkpoint_ms;
extern int	concord_sweep_interval_s;
extern int	concord_start_check_mb;
extern char *concord_daemon_log_level;
extern int	concord_storage_limit_mb;
extern int	concord_max_reader_age_s;
extern int	concord_reader_warning_s;
const char *concord_effective_directory(void);	/* absolute */
const char *concord_effective_address(void);
const char *concord_replica_path(void);			/* LMDB directory */
const char *concord_page_path(void);			/* LSN page */
void		concord_define_settings(void);
/*
 * Raises where Concord tables cannot be used at all: the library is not preloaded, or the server is a standby. Called where
 * every use begins: when a table is opened, when ids are leased and when an LSN is asked for.
 */
void		concord_require_usable(void);

/* ---- shared memory (worker/shmem.c) ---- */
extern CcChannel *concord_channel;
int			concord_channel_processes(void);	/* channel.h; by pgprocno */
void		concord_shmem_request(void);
void		concord_shmem_startup(void);
/* The id of this server's Concord cluster; NULL if it has never had a sidecar (worker/cluster.c) */
#define CONCORD_CLUSTER_ID_SIZE 32
const char *concord_cluster_id(void);
/* Why the sidecar cannot be used, as far as launcher and gateway know. REFUSED and DAMAGED last until somebody does something. */
typedef enum ConcordTroubleKind
{
	CONCORD_WELL, CONCORD_FAILED, CONCORD_REFUSED, CONCORD_DAMAGED
} ConcordTroubleKind;
#define CONCORD_TROUBLE_SIZE 1024
ConcordTroubleKind concord_trouble(char *text);
/* Opens the map on this machine if there is one; CC_OK without it too if other machines' replicas can be read (xact/remote.c). */
CcStatus	concord_open_replica(void);
extern bool concord_remote_enabled;		/* reads may go to other machines' replicas: it pays to know what will be wanted */
/* True if what is read at the LSN comes from another machine, as far as is known. */
bool		concord_reads_remotely(uint64 lsn);
uint64		concord_page_committed(void);		/* from the LSN page; 0 if no leader vouches for it */

/* ---- errors (errors.c) ---- */
/* Raises the error of a bridge status; never returns for anything but CC_OK. */
void		concord_check(CcStatus status);
/* 40001 change conflicts with another transaction (OC000): over a row of `rel`, found before the commit. */
void		concord_raise_conflict(Relation rel, const char *detail) pg_attribute_noreturn();
/* 40001 could not serialize access: what this transaction has read of a table, or of its index, has changed. InvalidOid: not known. */
void		concord_raise_read_conflict(Oid relid, Oid indexid) pg_attribute_noreturn();
void		concord_raise_unavailable(const char *what) pg_attribute_noreturn();
/* The same about the storage replicas: none can be read. */
void		concord_raise_no_replica(const char *what) pg_attribute_noreturn();
/* Raises if the sidecar is known to be of no use until somebody does something about it: waiting is in vain. */
void		concord_check_trouble(void);

/* ---- read points (xact/snapshot.c) ---- */
typedef struct ConcordReadPoint
{
	uint64		lsn;			/* sees commits up to it */
	uint32		curcid;			/* and own writes of commands before it; CC_ALL_COMMANDS: all */
} ConcordReadPoint;

/*
 * How a snapshot reads. MVCC: read LSN (REPEATABLE READ: the transaction's; READ COMMITTED: the snapshot's, given at its first
 * use) and the snapshot's command id. Dirty, Self, Any, NonVacuumable and no snapshot: newest committed, all own writes.
 * Returns only when the local replica has applied the LSN.
 */
ConcordReadPoint concord_read_point(Snapshot snapshot);
/* Newest committed LSN, confirmed by the leader and applied by the replica. */
uint64		concord_newest_lsn(void);
/* The LSN to read a given storage at: higher than the read point's for storage that this transaction bulk-loads. */
ConcordReadPoint concord_read_point_for(Relation rel, Snapshot snapshot);
/*
 * Gives an MVCC snapshot its read LSN now if a leader vouches for one; never waits, never raises. `latest`: the newest one in
 * REPEATABLE READ too.
 */
void		concord_snapshot_assign(Snapshot snapshot, bool latest);
/* The newest committed LSN as the leader confirms it, applied here or not. */
uint64		concord_committed_lsn(void);
/* True if the transaction has read a Concord table. */
bool		concord_snapshot_has_read(void);
void		concord_snapshot_at_xact_end(void);
void		concord_snapshot_forget_applied(void);	/* after a change of concord.local_reads */
/* The transaction has imported a snapshot whose exporter reads at `lsn`; 0: not known, so Concord tables are refused. */
void		concord_snapshot_import(uint64 lsn);
void		concord_import_init(void);			/* installs the hook; xact/import.c */

/* ---- what a SERIALIZABLE transaction has read (xact/reads.c) ---- */
extern bool concord_reads_noted;		/* in this transaction */
/* The transaction has a read point: from now on its reads are noted if they are to be. */
void		concord_reads_begin(uint64 lsn);
void		concord_reads_end(void);
/* Storage that the transaction made itself is not noted: nobody else writes there, and what it has streamed into it is above its read LSN. */
bool		concord_reads_are_of_others(uint64 prefix);
/* Whether what is read of a storage with this snapshot is noted. The read point comes first. */
static inline bool
concord_notes(uint64 prefix, Snapshot snapshot)
{
	/* Dirty ones look for rows with a key: unique and exclusion constraints. */
	return unlikely(concord_reads_noted) && snapshot != NULL &&
		(snapshot->snapshot_type == SNAPSHOT_MVCC || snapshot->snapshot_type == SNAPSHOT_DIRTY) &&
		concord_reads_are_of_others(prefix);
}
void		concord_note_row(uint64 prefix, uint64 rowid);
/* The LSN for what is noted; 0 if it is not to be checked. */
uint64		concord_reads_lsn(void);
/* True if queries of this transaction must run without workers: what they read would be known to them alone. */
bool		concord_reads_need_leader(void);
/* A query runs with workers, as the transaction is READ ONLY; should it write all the same, it must not commit. */
void		concord_reads_by_workers(void);

/* ---- the transaction (xact/) ---- */
void		concord_xact_init(void);			/* registers callbacks */
/* Called by both access methods before the first own write to a relation: refuses what must be refused (mixed writes,
 * read-only transaction is Postgres' own check, parallel mode). */
void		concord_note_write(Relation rel);
void		concord_note_heap_write(const char *relname);
/* Sends what has piled up in the write set ahead of the commit. To be called between two changes. */
void		concord_send_ahead(void);
/* Commits a small write set of its own at once, independent of the running transaction (leases). True if committed, false on
 * conflict; raises for anything else. */
bool		concord_commit_now(const void *write_set, size_t size);
/* Tells the cluster that a token with staged chunks will never commit. */
void		concord_abandon(const uint8 *token);
/* Raw SQL-callable status text from the gateway; palloc'd. */
char	   *concord_fetch_status(void);
/* A new token, and that of the running transaction, made at first use. */
#define CONCORD_TOKEN_SIZE 16
void		concord_make_token(uint8 *token);
const uint8 *concord_xact_token(void);
/*
 * What the rows that are written now say of their writer: its transaction id if it has one, else a number of the subtransaction's,
 * random in the transaction. Applications compare xmin to see whether a row has changed.
 */
TransactionId concord_row_xmin(void);

/* ---- rowids and TIDs (tableam/rowid.c) ---- */
#define CONCORD_TIDS_PER_BLOCK 291			/* tidbitmap.c accepts no higher offset */
#define CONCORD_ALIAS_BLOCK ((BlockNumber) 0xFF000000)	/* blocks from here on name own versions, see write_set.h */

static inline void
concord_tid_from_rowid(ItemPointer tid, uint64 rowid)
{
	ItemPointerSet(tid, (BlockNumber) (rowid / CONCORD_TIDS_PER_BLOCK),
				   (OffsetNumber) (rowid % CONCORD_TIDS_PER_BLOCK + 1));
}

static inline void
concord_tid_from_alias(ItemPointer tid, uint64 alias)
{
	ItemPointerSet(tid, CONCORD_ALIAS_BLOCK + (BlockNumber) (alias / CONCORD_TIDS_PER_BLOCK),
				   (OffsetNumber) (alias % CONCORD_TIDS_PER_BLOCK + 1));
}

/* True for a TID that we can have made. *is_alias says what *number is. */
static inline bool
concord_tid_parse(ItemPointer tid, uint64 *number, bool *is_alias)
{
	BlockNumber block = ItemPointerGetBlockNumberNoCheck(tid);
	OffsetNumber offset = ItemPointerGetOffsetNumberNoCheck(tid);

	if (offset < 1 || offset > CONCORD_TIDS_PER_BLOCK || block == InvalidBlockNumber)
		return false;
	*is_alias = block >= CONCORD_ALIAS_BLOCK;
	if (*is_alias)
		block -= CONCORD_ALIAS_BLOCK;
	*number = (uint64) block * CONCORD_TIDS_PER_BLOCK + (offset - 1);
	return true;
}

/* `count` consecutive fresh rowids of a storage; leases more from the cluster when needed. First rowid of a storage: 0. */
uint64		concord_take_rowids(uint32 storage_id, uint64 count);
/* The row that a TID names, aliases resolved. False if it names nothing. */
bool		concord_tid_rowid(ItemPointer tid, uint64 *rowid);

/* ---- storage ids (ddl/storage_map.c) ---- */
/* The storage id of a table or index, read from its metapage once and kept in rd_amcache. */
uint32		concord_storage_id(Relation rel);
static inline uint64 concord_row_prefix(uint32 storage) { return UINT64CONST(1) << 56 | storage; }
static inline uint64 concord_entry_prefix(uint32 storage) { return UINT64CONST(2) << 56 | storage; }
/* Makes storage for a new relfilenode: allocates an id, writes the metapage (block 0 of the main fork, WAL-logged). */
uint32		concord_storage_create(RelFileNode node, char persistence, bool create_file);
/* Gives a new relfilenode the storage of an old one (ALTER TABLE SET TABLESPACE). */
void		concord_storage_move(Relation rel, RelFileNode node);
bool		concord_is_table(Relation rel);		/* uses our table access method */
bool		concord_is_index(Relation rel);
Oid			concord_table_am_oid(void);			/* InvalidOid if the extension is not created in this database */
Oid			concord_index_am_oid(void);

/* True if the storage was created in the running subtransaction, so that nobody else can see it. */
bool		concord_storage_is_new(Relation rel);

/* ---- DDL (ddl/) ---- */
void		concord_ddl_init(void);				/* installs hooks */
void		concord_ddl_pre_commit(void);		/* collects storage to be dropped */
void		concord_ddl_xact_end(bool committed);
void		concord_ddl_sub_end(bool committed, SubTransactionId subid, SubTransactionId parent);

/* ---- bulk loads (tableam/bulk.c) ---- */
/* Streams mutations of new storage through chunks; see docs/architecture.md, "Bulk loads". */
void		concord_bulk_put(Relation rel, uint64 prefix, const void *body, size_t body_size,
							 const void *value, size_t value_size, uint64 explicit_lsn);
void		concord_bulk_flush(void);			/* returns when all is durable, applied locally, and read by every new statement */
uint64		concord_bulk_lsn(uint32 storage_id, uint32 curcid);	/* newest chunk of commands before curcid, or 0 */
/* What concord_bulk_lsn answers from, as bytes; and taking it over from another process. */
const void *concord_bulk_records(Size *size);
void		concord_bulk_take_records(const void *bytes, Size size);
void		concord_bulk_xact_end(void);

/* ---- table access method (tableam/) ---- */
extern const TupleTableSlotOps *concord_slot_ops(void);
/* Puts a row into a slot of ours. For a mapped value the slot pins `view`. */
void		concord_slot_store(TupleTableSlot *slot, Relation rel, const void *tuple, size_t size, CcView *view,
							   ItemPointer tid, bool own);
const TableAmRoutine *concord_table_routine(void);

/* ---- index access method (indexam/) ---- */
/*
 * Called by the table AM for UPDATE and DELETE: removes the index entries of the old version. For UPDATE `new_slot` is the new
 * version; entries that stay the same are left. Returns true if any index needs a new entry (tuple_update's
 * update_indexes), and in *key_changed whether a unique index's key changed (the lock mode).
 */
bool		concord_index_maintain(Relation rel, TupleTableSlot *old_slot, TupleTableSlot *new_slot, uint64 rowid,
								   uint32 cid, uint64 observed_lsn, bool *key_changed);

#endif
