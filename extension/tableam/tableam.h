/*
 * tableam.h
 *		What the files of the table access method share.
 *
 * A row is named by its rowid for all of its life; a TID is a rowid, or an alias that names one version made by the running
 * transaction (concord.h). Reading merges the replica's map with the write set (bridge/write_set.h); nothing here leaves
 * the backend before commit, except bulk loads.
 */
#ifndef CONCORD_TABLEAM_H
#define CONCORD_TABLEAM_H

#include "concord.h"

#include "access/htup_details.h"
#include "access/relscan.h"
#include "port/atomics.h"
#include "utils/resowner.h"

#include "xact/intent.h"

/* Body of a row's key. */
#define ROW_BODY_SIZE 8

static inline void
concord_row_body(uint8 *body, uint64 rowid)
{
	uint64		be = pg_bswap64(rowid);

	memcpy(body, &be, ROW_BODY_SIZE);
}

static inline uint64
concord_body_rowid(const uint8 *body)
{
	uint64		be;

	memcpy(&be, body, ROW_BODY_SIZE);
	return pg_bswap64(be);
}

static inline uint64
concord_rel_prefix(Relation rel)
{
	return concord_row_prefix(concord_storage_id(rel));
}

/* The TID under which a visible version is known: its alias if it has one. */
static inline void
concord_visible_tid(ItemPointer tid, uint64 rowid, const CcVisible *visible)
{
	if (visible->is_own && visible->own.alias != 0)
		concord_tid_from_alias(tid, visible->own.alias);
	else
		concord_tid_from_rowid(tid, rowid);
}

/* ---- resources (resource.c) ---- */
/*
 * Pins and cursors of the bridge, released with the resource owner under which they were taken, as buffer pins are. A handle
 * whose owner has gone is stale and harmless.
 */
typedef struct ConcordResource
{
	uint32		index;
	uint32		generation;		/* 0: none */
} ConcordResource;

typedef void (*ConcordReleaseFunction) (void *object);

typedef struct ConcordResourceEntry
{
	void	   *object;			/* NULL: free */
	ConcordReleaseFunction release;
	ResourceOwner owner;
	uint32		generation;
	uint32		next_free;
} ConcordResourceEntry;
extern ConcordResourceEntry *concord_resource_entries;

ConcordResource concord_resource_track(void *object, ConcordReleaseFunction release);
uint32		concord_resource_live(void);
static inline bool
concord_resource_held(ConcordResource resource)
{
	return resource.generation != 0 && concord_resource_entries[resource.index].object != NULL &&
		concord_resource_entries[resource.index].generation == resource.generation;
}
/* Releases the object unless its owner already did. */
void		concord_resource_release(ConcordResource *resource);

/* ---- slots (slot.c) ---- */
typedef struct ConcordSlot
{
	HeapTupleTableSlot base;	/* first: TTSOpsHeapTuple deforms it */
	CcView	   *view;			/* pinned while `pin` is held */
	ConcordResource pin;
	uint64		lsn;			/* commit LSN of the version; 0: own or formed here */
	uint64		prefix;			/* lazy: the row is fetched at first access */
	uint64		rowid;
	uint64		read_lsn;
	uint32		cid;			/* own: command that made the version */
	bool		own;
	bool		lazy;
	bool		locked;			/* own: of a row that was locked before, which xmax tells */
} ConcordSlot;

/* Stores what a read found. `pinned`: the view's pin passes from the caller to the slot. */
void		concord_slot_store_visible(TupleTableSlot *slot, Relation rel, uint64 rowid, const CcVisible *visible,
									   bool pinned);
/* Stores an entry of the replica, whose view somebody has pinned. */
void		concord_slot_store_mapped(TupleTableSlot *slot, Relation rel, uint64 rowid, const CcEntry *entry);
/* Stores one own version, known by `tid`. */
void		concord_slot_store_own(TupleTableSlot *slot, Relation rel, ItemPointer tid, const CcOwn *own);
/* Stores the promise of a committed row that is known to be visible at `read_lsn`. */
void		concord_slot_store_lazy(TupleTableSlot *slot, Relation rel, uint64 prefix, uint64 rowid, uint64 read_lsn);
/* The slot's tuple has become an own version. */
void		concord_slot_mark_own(TupleTableSlot *slot, Relation rel, ItemPointer tid, uint32 cid);
void		concord_slot_mark_locked(TupleTableSlot *slot);
/* Whether the slot has its row as columns only. */
bool		concord_slot_is_virtual(TupleTableSlot *slot);
/* Whether it is a slot of ours that has a view pinned. */
bool		concord_slot_pinned(TupleTableSlot *slot);
/* Commit LSN of the version in a slot of ours; 0 for an own version or another kind of slot. */
uint64		concord_slot_lsn(TupleTableSlot *slot);

/* ---- row values (value.c) ---- */
/* A row on its way from a slot to a value; the slot must stay as it is until that is written. */
typedef struct ConcordForm
{
	Size		size;			/* of the value */
	Size		length;			/* of the tuple in it */
	TupleDesc	desc;
	HeapTuple	tuple;			/* the row, if the slot has it as a tuple */
	bool		free_tuple;
	Datum	   *values;			/* its columns, if it has none or they are not all as in there */
	bool	   *isnull;
	bool	   *made;			/* columns made here; NULL: there is none, and the arrays are the slot's */
	bool		hasnull;
	Size		header_size;
	Size		data_size;
} ConcordForm;

/* The size of the value that storage keeps for the slot's row, a multiple of 8. Raises 54000 if it is too long. */
Size		concord_form_begin(Relation rel, TupleTableSlot *slot, ConcordForm *form);
/* Writes it, and frees what was made for it. */
void		concord_form_write(ConcordForm *form, void *to);
/* Both, to a palloc'd value. */
void	   *concord_form_value(Relation rel, TupleTableSlot *slot, Size *size);

/* ---- scans (scan.c) ---- */
typedef struct ConcordScanData
{
	TableScanDescData base;
	uint64		prefix;
	ConcordReadPoint point;
	CcScan	   *scan;
	ConcordResource resource;
	bool		opened;
	bool		unnoted;		/* no query's: what it passes is not noted (xact/reads.c) */
	bool		noted;			/* what it passes is noted */
	bool		positioned;		/* within low..high */
	uint64		low;			/* bounds, inclusive; low > high: nothing */
	uint64		high;
	bool		has_end;
	uint64		end;			/* highest visible rowid + 1, once asked for */

	/* bitmap scan: the rowids of an exact page; a lossy page scans low..high */
	uint64		rowids[CONCORD_TIDS_PER_BLOCK];
	int			rowid_count;
	int			rowid_next;
	bool		lossy;
	/* where another machine's replica is read: rows that are wanted soon are fetched together (ahead.c) */
	int			rowid_ready;	/* of rowids, those before it are at hand */
	struct BitmapHeapScanState *bitmap_node;	/* NULL: not known */
	struct TBMIterator *ahead;	/* an iterator of our own over the node's bitmap, in front of the node's */
	uint64		blocks_seen;	/* blocks that the executor has come to */
	uint64		blocks_ahead;	/* those that `ahead` is further than it */
	uint64		rows_ahead;		/* how many rows were fetched together last */

	/* sample scan and ANALYZE */
	BlockNumber block;
	bool		block_valid;
	uint64		blocks;
} ConcordScanData;
typedef ConcordScanData *ConcordScan;

TableScanDesc concord_scan_begin(Relation rel, Snapshot snapshot, int nkeys, struct ScanKeyData *key,
								 ParallelTableScanDesc pscan, uint32 flags);
void		concord_scan_end(TableScanDesc sscan);
void		concord_scan_rescan(TableScanDesc sscan, struct ScanKeyData *key, bool set_params, bool allow_strat,
								bool allow_sync, bool allow_pagemode);
bool		concord_scan_getnextslot(TableScanDesc sscan, ScanDirection direction, TupleTableSlot *slot);
void		concord_scan_set_tidrange(TableScanDesc sscan, ItemPointer mintid, ItemPointer maxtid);
Size		concord_parallelscan_estimate(Relation rel);
Size		concord_parallelscan_initialize(Relation rel, ParallelTableScanDesc pscan);
void		concord_parallelscan_reinitialize(Relation rel, ParallelTableScanDesc pscan);

/* Next row in low..high, or false. After false the next call starts over, as in heap. */
bool		concord_scan_next(ConcordScan scan, bool backward, TupleTableSlot *slot);
/* Restricts the scan to low..high, from its start. */
void		concord_scan_set_range(ConcordScan scan, uint64 low, uint64 high);
/* Highest visible rowid + 1; 0 if nothing is visible. */
uint64		concord_scan_row_end(ConcordScan scan);
/* One row at the scan's read point. */
bool		concord_scan_get(ConcordScan scan, uint64 rowid, TupleTableSlot *slot);

/* Gives the view of the replica up until the next row is asked for. */
void		concord_scan_rest(ConcordScan scan);
/* Opens the cursor at the scan's read point, if it is not open. */
void		concord_scan_open(ConcordScan scan);

/* ---- rows that are wanted soon, of another machine's replica (ahead.c) ---- */
/* The node that runs the scan has made its bitmap, or will. */
void		concord_ahead_of_bitmap(struct BitmapHeapScanState *node);
/* Before the rows of a block are looked at: these and those of blocks that follow. */
void		concord_ahead_fetch_block(ConcordScan scan);
/* Before row rowid_next is. */
void		concord_ahead_fetch_rest(ConcordScan scan);
void		concord_ahead_forget(ConcordScan scan);

/* ---- queries between two fetches (rest.c) ---- */
struct QueryDesc;
/* Gives up what the query has of the replica. `at_end`: it has no further row. */
void		concord_query_rest(struct QueryDesc *query, bool at_end);

/* ---- single rows (fetch.c) ---- */
struct IndexFetchTableData *concord_index_fetch_begin(Relation rel);
void		concord_index_fetch_reset(struct IndexFetchTableData *data);
/* Before a row is fetched with a snapshot that is not MVCC: as of which LSN its index entry was found. */
void		concord_index_fetch_entries_lsn(struct IndexFetchTableData *data, uint64 lsn);
void		concord_index_fetch_end(struct IndexFetchTableData *data);
bool		concord_index_fetch_tuple(struct IndexFetchTableData *data, ItemPointer tid, Snapshot snapshot,
									  TupleTableSlot *slot, bool *call_again, bool *all_dead);
bool		concord_tuple_fetch_row_version(Relation rel, ItemPointer tid, Snapshot snapshot, TupleTableSlot *slot);
bool		concord_tuple_tid_valid(TableScanDesc sscan, ItemPointer tid);
void		concord_tuple_get_latest_tid(TableScanDesc sscan, ItemPointer tid);
bool		concord_tuple_satisfies_snapshot(Relation rel, TupleTableSlot *slot, Snapshot snapshot);
TransactionId concord_index_delete_tuples(Relation rel, struct TM_IndexDeleteOp *delstate);
/* A dirty snapshot gets the transactions that a row waits for; rows that can be seen wait for none. */
void		concord_no_one_to_wait_for(Snapshot snapshot);
/* Commit LSN of the version that the last fetch with a dirty snapshot returned, if that was this row; else 0. */
uint64		concord_dirty_lsn(uint64 prefix, uint64 rowid);
/* Exactly the version that a TID names, whether or not it is still current (SnapshotAny). */
bool		concord_fetch_any(Relation rel, ItemPointer tid, TupleTableSlot *slot);

/* ---- what a TID names for a writer (target.c) ---- */
typedef struct ConcordTarget
{
	uint64		prefix;
	uint64		rowid;
	uint8		body[ROW_BODY_SIZE];
	bool		touched;		/* the row has own versions */
	bool		inserted;		/* by this transaction: nobody else can see it */
	bool		is_own;			/* the TID names own version `own`, else the committed one */
	CcOwn		own;
	CommandId	cmax;			/* for TM_SelfModified */
	uint64		followed_lsn;	/* the TID names the committed version of this LSN; 0: the one that the snapshot sees */
	bool		direct;			/* of followed_lsn */
} ConcordTarget;

/* TM_Ok: current for command `cid`. TM_Invisible and TM_SelfModified as heap's HeapTupleSatisfiesUpdate says. */
TM_Result	concord_target_resolve(Relation rel, ItemPointer tid, CommandId cid, ConcordTarget *target);
/*
 * The newest committed version of a row and the LSN at which that was asked. False if there is none. visible->entry.view
 * comes pinned.
 */
bool		concord_newest_version(Relation rel, const ConcordTarget *target, uint64 *observed_lsn, CcVisible *visible);
/* concord_intent_take for a row. */
ConcordIntent concord_row_intent(Relation rel, const ConcordTarget *target, CcLockMode mode, XLTW_Oper oper,
								 LockWaitPolicy policy);
/* The row as a key of local intents; `body` has room for ROW_BODY_SIZE and is needed as long as the key. */
void		concord_row_intent_key(Relation rel, uint64 rowid, XLTW_Oper oper, uint8 *body, ConcordIntentKey *key);
/*
 * For TM_SelfModified of a version that another transaction had replaced before this one wrote the row: heap goes on along the chain
 * and tells of its end.
 */
void		concord_follow_chain(Relation rel, Snapshot snapshot, TM_Result result, ConcordTarget *target);
/* Fills the failure report as heap does. */
void		concord_fill_failure(Relation rel, TM_FailureData *tmfd, TM_Result result, ItemPointer tid,
								 const ConcordTarget *target);

/* ---- locks (lock.c) ---- */
TM_Result	concord_tuple_lock(Relation rel, ItemPointer tid, Snapshot snapshot, TupleTableSlot *slot, CommandId cid,
							   LockTupleMode mode, LockWaitPolicy wait_policy, uint8 flags, TM_FailureData *tmfd);
/* Whether the row is the one that tuple_lock has locked last, in this transaction. */
bool		concord_was_just_locked(const ConcordTarget *target);
/* True if both versions have the same key, by which foreign keys may refer to the row. */
bool		concord_same_row_key(Relation rel, TupleTableSlot *a, TupleTableSlot *b);

/* ---- versions that locks have followed rows to (followed.c) ---- */
typedef struct ConcordFollowed
{
	uint64		prefix;
	uint64		rowid;
	uint64		lsn;			/* of the version */
	bool		direct;			/* ON CONFLICT asked for the newest version in the first place */
} ConcordFollowed;

/* Makes a TID for the version, good until the transaction ends. */
void		concord_followed_name(ItemPointer tid, const ConcordFollowed *followed);
/* The version that such a TID names, good until the next name is made; NULL for any other TID. */
const ConcordFollowed *concord_followed_find(ItemPointer tid);

/* ---- writes (modify.c) ---- */
void		concord_tuple_insert(Relation rel, TupleTableSlot *slot, CommandId cid, int options,
								 struct BulkInsertStateData *bistate);
void		concord_tuple_insert_speculative(Relation rel, TupleTableSlot *slot, CommandId cid, int options,
											 struct BulkInsertStateData *bistate, uint32 token);
void		concord_tuple_complete_speculative(Relation rel, TupleTableSlot *slot, uint32 token, bool succeeded);
void		concord_multi_insert(Relation rel, TupleTableSlot **slots, int count, CommandId cid, int options,
								 struct BulkInsertStateData *bistate);
void		concord_finish_bulk_insert(Relation rel, int options);
TM_Result	concord_tuple_delete(Relation rel, ItemPointer tid, CommandId cid, Snapshot snapshot, Snapshot crosscheck,
								 bool wait, TM_FailureData *tmfd, bool changing_part);
TM_Result	concord_tuple_update(Relation rel, ItemPointer otid, TupleTableSlot *slot, CommandId cid, Snapshot snapshot,
								 Snapshot crosscheck, bool wait, TM_FailureData *tmfd, LockTupleMode *lockmode,
								 bool *update_indexes);

/* ---- sizes and statistics (size.c, analyze.c) ---- */
uint64		concord_relation_size(Relation rel, ForkNumber fork);
void		concord_relation_estimate_size(Relation rel, int32 *attr_widths, BlockNumber *pages, double *tuples,
										   double *allvisfrac);
/* Pages that heap would need for the table; *rows gets the number of live rows. */
uint64		concord_heap_pages(Relation rel, uint64 *rows);
bool		concord_scan_analyze_next_block(TableScanDesc sscan, BlockNumber block, BufferAccessStrategy strategy);
bool		concord_scan_analyze_next_tuple(TableScanDesc sscan, TransactionId oldest_xmin, double *live_rows,
											double *dead_rows, TupleTableSlot *slot);

/* ---- bitmap and sample scans (bitmap_sample.c) ---- */
struct TBMIterateResult;
struct SampleScanState;
bool		concord_scan_bitmap_next_block(TableScanDesc sscan, struct TBMIterateResult *tbmres);
bool		concord_scan_bitmap_next_tuple(TableScanDesc sscan, struct TBMIterateResult *tbmres, TupleTableSlot *slot);
bool		concord_scan_sample_next_block(TableScanDesc sscan, struct SampleScanState *state);
bool		concord_scan_sample_next_tuple(TableScanDesc sscan, struct SampleScanState *state, TupleTableSlot *slot);

/* ---- DDL (ddl.c, cluster.c, build.c, vacuum.c) ---- */
void		concord_relation_set_new_filenode(Relation rel, const RelFileNode *node, char persistence,
											  TransactionId *freeze_xid, MultiXactId *minmulti);
void		concord_relation_nontransactional_truncate(Relation rel);
void		concord_relation_copy_data(Relation rel, const RelFileNode *node);
void		concord_relation_copy_for_cluster(Relation old_table, Relation new_table, Relation old_index, bool use_sort,
											  TransactionId oldest_xmin, TransactionId *xid_cutoff,
											  MultiXactId *multi_cutoff, double *num_tuples, double *tups_vacuumed,
											  double *tups_recently_dead);
struct VacuumParams;
void		concord_relation_vacuum(Relation rel, struct VacuumParams *params, BufferAccessStrategy strategy);
double		concord_index_build_range_scan(Relation table, Relation index, struct IndexInfo *index_info, bool allow_sync,
										   bool anyvisible, bool progress, BlockNumber start_blockno,
										   BlockNumber numblocks, IndexBuildCallback callback, void *callback_state,
										   TableScanDesc scan);
void		concord_index_validate_scan(Relation table, Relation index, struct IndexInfo *index_info, Snapshot snapshot,
										struct ValidateIndexState *state);

#endif
