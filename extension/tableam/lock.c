/*
 * lock.c
 *		Row locks.
 *
 * A lock is a check of the row's key in the write set, in one of Postgres' four modes. If another transaction commits on the
 * row in a conflicting mode before this one does, the adjudicator refuses this one. Towards writers of the same server it is
 * a local intent as well (xact/intent.h): those wait for each other, and NOWAIT and SKIP LOCKED see them.
 *
 * READ COMMITTED may lock a version newer than its statement's snapshot (after EvalPlanQual, or ON CONFLICT DO UPDATE). What
 * was locked so is remembered until the end of the transaction: the write that follows has the same old snapshot, and must not
 * take the row for changed again.
 *
 * Heap tells the caller by another TID that a lock has followed a row to a newer version; here a row keeps its TID. MERGE depends on
 * it: when a BEFORE trigger's lock has followed a row, MERGE locks it itself, evaluates the row anew, and has the trigger lock it
 * once more, by the TID of what it now knows. So in MERGE the third lock of one version has followed nothing.
 */
#include "tableam/tableam.h"

#include "access/xact.h"
#include "executor/tuptable.h"
#include "storage/proc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "ddl/ddl.h"
#include "xact/intent.h"

typedef struct LockedKey
{
	uint64		prefix;
	uint64		rowid;
} LockedKey;

typedef struct LockedRow
{
	LockedKey	key;
	uint64		lsn;			/* the version was current at it */
	CommandId	cid;			/* only the command that locked it goes on with the newer version */
	bool		direct;			/* ON CONFLICT asked for the newest version in the first place */
	int			followed;		/* how often locks of the command have followed the row to this version */
} LockedRow;

/* In TopTransactionContext; NULL if nothing has been remembered. */
static HTAB *locked_rows = NULL;

static void
forget_locked_rows(void *arg)
{
	locked_rows = NULL;
}

static void
remember_locked(const ConcordTarget *target, uint64 version_lsn, uint64 lsn, CommandId cid, bool direct)
{
	LockedKey	key = {target->prefix, target->rowid};
	LockedRow  *row;
	bool		found;

	if (locked_rows == NULL)
	{
		HASHCTL		ctl = {.keysize = sizeof(LockedKey), .entrysize = sizeof(LockedRow), .hcxt = TopTransactionContext};
		MemoryContextCallback *callback = MemoryContextAllocZero(TopTransactionContext, sizeof(MemoryContextCallback));

		callback->func = forget_locked_rows;
		locked_rows = hash_create("Concord rows locked above their snapshot", 64, &ctl,
								  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		MemoryContextRegisterResetCallback(TopTransactionContext, callback);
	}
	row = hash_search(locked_rows, &key, HASH_ENTER, &found);
	row->followed = found && row->cid == cid && version_lsn <= row->lsn ? row->followed + 1 : 1;
	row->lsn = found && row->cid == cid ? Max(row->lsn, lsn) : lsn;
	row->cid = cid;
	row->direct = direct;
}

/* True if MERGE has evaluated the row anew since a lock followed it to this version; true once. */
static bool
merge_knows(const ConcordTarget *target, uint64 version_lsn, CommandId cid)
{
	LockedKey	key = {target->prefix, target->rowid};
	LockedRow  *row;

	if (!concord_merge_runs() || locked_rows == NULL)
		return false;
	row = hash_search(locked_rows, &key, HASH_FIND, NULL);
	if (row == NULL || row->cid != cid || version_lsn > row->lsn || row->followed < 2)
		return false;
	row->followed = 0;
	return true;
}

uint64
concord_locked_lsn(uint64 prefix, uint64 rowid, CommandId cid, bool *direct)
{
	LockedKey	key = {prefix, rowid};
	LockedRow  *row = locked_rows == NULL ? NULL : hash_search(locked_rows, &key, HASH_FIND, NULL);

	*direct = false;
	if (row == NULL || (cid != InvalidCommandId && row->cid != cid))
		return 0;
	*direct = row->direct;
	return row->lsn;
}

/* The last row that was locked. Triggers and ON CONFLICT lock it just before they have it updated. */
static struct
{
	LockedKey	key;
	LocalTransactionId lxid;
}			last_locked;

static void
note_locked(const ConcordTarget *target)
{
	last_locked.key = (LockedKey) {target->prefix, target->rowid};
	last_locked.lxid = MyProc->lxid;
}

bool
concord_was_just_locked(const ConcordTarget *target)
{
	return last_locked.key.prefix == target->prefix && last_locked.key.rowid == target->rowid &&
		last_locked.lxid == MyProc->lxid;
}

static CcLockMode
check_mode(LockTupleMode mode)
{
	switch (mode)
	{
		case LockTupleKeyShare:
			return CC_KEY_SHARE;
		case LockTupleShare:
			return CC_SHARE;
		case LockTupleNoKeyExclusive:
			return CC_NO_KEY_UPDATE;
		case LockTupleExclusive:
			return CC_UPDATE;
	}
	elog(ERROR, "unrecognized lock mode: %d", (int) mode);
	return CC_UPDATE;
}

/* Locks the transaction's own newest version of a row. */
static void
lock_own(Relation rel, ConcordTarget *target, ItemPointer tid, TupleTableSlot *slot, LockTupleMode mode)
{
	/* The write left a check with an older observation; this one can only strengthen the mode. */
	if (!target->inserted && !concord_storage_is_new(rel))
		concord_check(cc_ws_check(target->prefix, target->body, ROW_BODY_SIZE, check_mode(mode),
								  concord_committed_lsn()));
	concord_slot_store_own(slot, rel, tid, &target->own);
}

TM_Result
concord_tuple_lock(Relation rel, ItemPointer tid, Snapshot snapshot, TupleTableSlot *slot, CommandId cid,
				   LockTupleMode mode, LockWaitPolicy wait_policy, uint8 flags, TM_FailureData *tmfd)
{
	bool		follow = (flags & TUPLE_LOCK_FLAG_FIND_LAST_VERSION) != 0;
	bool		is_new = concord_storage_is_new(rel);
	bool		direct;
	ConcordTarget target;
	CcVisible	visible;
	TM_Result	result;
	uint64		observed;
	uint64		known;
	uint64		locked_lsn;

	tmfd->traversed = false;
	result = concord_target_resolve(rel, tid, cid, &target);
	if (result != TM_Ok)
	{
		concord_fill_failure(rel, tmfd, result, tid, &target);
		/* ON CONFLICT asks the slot whose row it is. */
		if (!concord_fetch_any(rel, tid, slot))
			ExecClearTuple(slot);
		return result;
	}
	if (target.is_own)
	{
		lock_own(rel, &target, tid, slot, mode);
		note_locked(&target);
		return TM_Ok;
	}

	if (!is_new && concord_intent_take(target.prefix, target.body, ROW_BODY_SIZE, check_mode(mode), wait_policy) ==
		CONCORD_INTENT_BLOCKED)
	{
		if (wait_policy == LockWaitSkip)
			return TM_WouldBlock;
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("could not obtain lock on row in relation \"%s\"", RelationGetRelationName(rel))));
	}
	if (!concord_newest_version(rel, &target, &observed, &visible))
	{
		concord_fill_failure(rel, tmfd, TM_Deleted, tid, &target);
		ExecClearTuple(slot);
		return TM_Deleted;
	}

	/*
	 * With FIND_LAST_VERSION the caller wants to know if the row is not the one that its snapshot sees. Without it, in READ
	 * COMMITTED, the caller is ON CONFLICT, or an apply worker that goes by an index, which found the row with a dirty snapshot: the
	 * newest version it shall have. An apply worker that scans the table has just taken the snapshot that it gives.
	 */
	known = concord_read_point_for(rel, snapshot).lsn;
	locked_lsn = concord_locked_lsn(target.prefix, target.rowid, cid, &direct);
	if (direct)
		known = Max(known, locked_lsn);
	if (!is_new && !follow && !IsolationUsesXactSnapshot() &&
		visible.entry.lsn > Max(known, concord_dirty_lsn(target.prefix, target.rowid)))
	{
		/* It may no longer be the row that the caller found: that has to look for one again, as on heap. */
		cc_view_unpin(visible.entry.view);
		concord_fill_failure(rel, tmfd, TM_Updated, tid, &target);
		ExecClearTuple(slot);
		return TM_Updated;
	}
	if (!is_new && visible.entry.lsn > known && IsolationUsesXactSnapshot())
	{
		cc_view_unpin(visible.entry.view);
		concord_fill_failure(rel, tmfd, TM_Updated, tid, &target);
		ExecClearTuple(slot);
		return TM_Updated;
	}
	if (!is_new && !IsolationUsesXactSnapshot())
	{
		tmfd->traversed = follow && visible.entry.lsn > known && !merge_knows(&target, visible.entry.lsn, cid);
		if (tmfd->traversed || !follow)
			remember_locked(&target, visible.entry.lsn, observed, cid, !follow);
	}
	if (IsolationUsesXactSnapshot())
		observed = Min(observed, known);
	concord_slot_store_visible(slot, rel, target.rowid, &visible, true);
	if (!is_new)
		concord_check(cc_ws_check(target.prefix, target.body, ROW_BODY_SIZE, check_mode(mode), observed));
	note_locked(&target);
	return TM_Ok;
}
