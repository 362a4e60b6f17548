/*
 * lock.c
 *		Row locks.
 *
 * A lock is a check of the row's key in the write set, in one of Postgres' four modes. If another transaction commits on the
 * row in a conflicting mode before this one does, the adjudicator refuses this one. Within the server it is a local intent as
 * well (xact/intent.h): transactions wait for each other, and NOWAIT and SKIP LOCKED see them.
 *
 * READ COMMITTED may lock a version newer than its statement's snapshot (after EvalPlanQual, or ON CONFLICT DO UPDATE). The caller
 * gets another TID for it, as on heap (followed.c): the write that follows has the same old snapshot, and must not take the
 * row for changed again.
 */
#include "tableam/tableam.h"

#include "access/sysattr.h"
#include "access/xact.h"
#include "executor/tuptable.h"
#include "storage/proc.h"
#include "utils/datum.h"
#include "utils/snapmgr.h"

#include "tableam/moved.h"

/* The last row that was locked. Triggers and ON CONFLICT lock it just before they have it updated. */
static struct
{
	uint64		prefix;
	uint64		rowid;
	LocalTransactionId lxid;
}			last_locked;

static void
note_locked(const ConcordTarget *target)
{
	last_locked.prefix = target->prefix;
	last_locked.rowid = target->rowid;
	last_locked.lxid = MyProc->lxid;
}

bool
concord_was_just_locked(const ConcordTarget *target)
{
	return last_locked.prefix == target->prefix && last_locked.rowid == target->rowid &&
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

/* Takes the row's local intent. False: somebody else has it, and the row is to be skipped. */
static bool
take_intent(Relation rel, const ConcordTarget *target, CcLockMode mode, LockWaitPolicy wait_policy)
{
	if (concord_row_intent(rel, target, mode, XLTW_Lock, wait_policy) != CONCORD_INTENT_BLOCKED)
		return true;
	if (wait_policy == LockWaitError)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("could not obtain lock on row in relation \"%s\"", RelationGetRelationName(rel))));
	return false;
}

/* Locks the transaction's own newest version of a row. */
static TM_Result
lock_own(Relation rel, const ConcordTarget *target, ItemPointer tid, TupleTableSlot *slot, CcLockMode mode,
		 LockWaitPolicy wait_policy)
{
	/* The write that made it was CC_NO_KEY_UPDATE at least. */
	if (mode > CC_NO_KEY_UPDATE && !target->inserted && !concord_storage_is_new(rel))
	{
		if (!take_intent(rel, target, mode, wait_policy))
			return TM_WouldBlock;
		concord_check(cc_ws_check(target->prefix, target->body, ROW_BODY_SIZE, mode, concord_committed_lsn()));
	}
	concord_slot_store_own(slot, rel, tid, &target->own);
	return TM_Ok;
}

bool
concord_same_row_key(Relation rel, TupleTableSlot *a, TupleTableSlot *b)
{
	Bitmapset  *columns = RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_KEY);
	bool		same = true;
	int			column = -1;

	while (same && (column = bms_next_member(columns, column)) >= 0)
	{
		AttrNumber	attno = column + FirstLowInvalidHeapAttributeNumber;
		Form_pg_attribute attribute;
		bool		a_null,
					b_null;
		Datum		a_value,
					b_value;

		if (attno <= 0)
			continue;
		attribute = TupleDescAttr(RelationGetDescr(rel), attno - 1);
		a_value = slot_getattr(a, attno, &a_null);
		b_value = slot_getattr(b, attno, &b_null);
		same = a_null == b_null &&
			(a_null || datum_image_eq(a_value, b_value, attribute->attbyval, attribute->attlen));
	}
	bms_free(columns);
	return same;
}

/*
 * FOR KEY SHARE does not mind that others have changed the row since the snapshot, as long as its key is the same: the caller goes
 * on with the version that it knows, as on heap. True, with that version in the slot, if so.
 */
static bool
keeps_known_version(Relation rel, const ConcordTarget *target, uint64 known, const CcVisible *newest, TupleTableSlot *slot)
{
	TupleTableSlot *newest_slot;
	CcVisible	visible;
	CcStatus	status = cc_visible_get(target->prefix, target->body, ROW_BODY_SIZE, known, 0, &visible);
	bool		keeps;

	if (status == CC_END)
		return false;
	concord_check(status);
	concord_slot_store_visible(slot, rel, target->rowid, &visible, true);
	newest_slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), concord_slot_ops());
	concord_slot_store_visible(newest_slot, rel, target->rowid, newest, false);
	keeps = concord_same_row_key(rel, slot, newest_slot);
	ExecDropSingleTupleTableSlot(newest_slot);
	if (!keeps)
		ExecClearTuple(slot);
	return keeps;
}

/* True if the newest version is none that the caller can go on with. */
static bool
has_become_another(const ConcordTarget *target, uint64 version_lsn, uint64 known, bool follow)
{
	if (IsolationUsesXactSnapshot())
		return version_lsn > known;
	/* It may no longer be the row that the caller found: that has to look for one again, as on heap. */
	return !follow && version_lsn > Max(known, concord_dirty_lsn(target->prefix, target->rowid));
}

TM_Result
concord_tuple_lock(Relation rel, ItemPointer tid, Snapshot snapshot, TupleTableSlot *slot, CommandId cid,
				   LockTupleMode mode, LockWaitPolicy wait_policy, uint8 flags, TM_FailureData *tmfd)
{
	bool		follow = (flags & TUPLE_LOCK_FLAG_FIND_LAST_VERSION) != 0;
	bool		is_new = concord_storage_is_new(rel);
	ConcordTarget target;
	ItemPointerData name;
	CcVisible	visible;
	TM_Result	result;
	uint64		observed;
	uint64		known;

	tmfd->traversed = false;
	result = concord_target_resolve(rel, tid, cid, &target);
	if (result != TM_Ok)
	{
		concord_follow_chain(rel, snapshot, result, &target);
		concord_fill_failure(rel, tmfd, result, tid, &target);
		/* ON CONFLICT asks the slot whose row it is. */
		if (!concord_fetch_any(rel, tid, slot))
			ExecClearTuple(slot);
		return result;
	}
	if (target.is_own)
	{
		result = lock_own(rel, &target, tid, slot, check_mode(mode), wait_policy);
		if (result == TM_Ok)
			note_locked(&target);
		return result;
	}

	if (!is_new && !take_intent(rel, &target, check_mode(mode), wait_policy))
		return TM_WouldBlock;
	if (!concord_newest_version(rel, &target, &observed, &visible))
	{
		bool		moved = concord_moved_find(&target);

		if (moved && follow)
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("tuple to be locked was already moved to another partition due to concurrent update")));
		result = moved && IsolationUsesXactSnapshot() ? TM_Updated : TM_Deleted;
		concord_fill_failure(rel, tmfd, result, tid, &target);
		ExecClearTuple(slot);
		return result;
	}

	/*
	 * With FIND_LAST_VERSION the caller wants to know if the row is not the one that its snapshot sees. Without it, in READ
	 * COMMITTED, the caller is ON CONFLICT, or an apply worker that goes by an index, which found the row with a dirty snapshot: the
	 * newest version it shall have. An apply worker that scans the table has just taken the snapshot that it gives.
	 */
	known = Max(concord_read_point_for(rel, snapshot).lsn, target.followed_lsn);
	if (!is_new && (follow || IsolationUsesXactSnapshot()) && mode == LockTupleKeyShare && visible.entry.lsn > known &&
		keeps_known_version(rel, &target, known, &visible, slot))
	{
		cc_view_unpin(visible.entry.view);
		concord_check(cc_ws_check(target.prefix, target.body, ROW_BODY_SIZE, CC_KEY_SHARE, observed));
		return TM_Ok;
	}
	if (!is_new && has_become_another(&target, visible.entry.lsn, known, follow))
	{
		cc_view_unpin(visible.entry.view);
		concord_fill_failure(rel, tmfd, TM_Updated, tid, &target);
		ExecClearTuple(slot);
		return TM_Updated;
	}
	if (!is_new && visible.entry.lsn > known)
	{
		ConcordFollowed followed = {target.prefix, target.rowid, visible.entry.lsn, !follow};

		concord_followed_name(tid, &followed);
		tmfd->traversed = follow;
	}
	name = *tid;				/* may be the slot's own */
	concord_slot_store_visible(slot, rel, target.rowid, &visible, true);
	slot->tts_tid = name;
	if (!is_new)
		concord_check(cc_ws_check(target.prefix, target.body, ROW_BODY_SIZE, check_mode(mode), observed));
	note_locked(&target);
	return TM_Ok;
}
