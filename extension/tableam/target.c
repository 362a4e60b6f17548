/*
 * target.c
 *		What a TID means to UPDATE, DELETE and row locks.
 *
 * The TID names one version: an alias names an own version, a rowid names the version that the transaction inserted, or else the
 * committed one that the statement's snapshot sees; a lock may have named a newer one (followed.c). Whether that version is still current for a command is decided as heap's HeapTupleSatisfiesUpdate does
 * for versions of the same transaction; what others committed is the caller's question.
 */
#include "tableam/tableam.h"

#include "access/xact.h"
#include "stats/stats.h"
#include "utils/snapmgr.h"

TM_Result
concord_target_resolve(Relation rel, ItemPointer tid, CommandId cid, ConcordTarget *target)
{
	uint64		number;
	bool		is_alias;
	CommandId	successor;
	const ConcordFollowed *followed = concord_followed_find(tid);

	memset(target, 0, sizeof(*target));
	target->prefix = concord_rel_prefix(rel);
	if (followed != NULL)
	{
		if (followed->prefix != target->prefix)
			return TM_Invisible;
		number = followed->rowid;
		is_alias = false;
		target->followed_lsn = followed->lsn;
		target->direct = followed->direct;
	}
	else if (!concord_tid_parse(tid, &number, &is_alias))
		return TM_Invisible;

	if (is_alias)
	{
		uint64		prefix;
		CcOwn		oldest;

		/* Rolled back with its savepoint, or of another table. */
		if (!cc_ws_alias(number, &prefix, &target->rowid, &target->own) || prefix != target->prefix)
			return TM_Invisible;
		concord_row_body(target->body, target->rowid);
		target->touched = target->is_own = true;
		target->inserted = cc_ws_oldest(prefix, target->body, ROW_BODY_SIZE, &oldest) && oldest.base_absent;
	}
	else
	{
		target->rowid = number;
		concord_row_body(target->body, number);
		target->touched = !cc_ws_empty() &&
			cc_ws_oldest(target->prefix, target->body, ROW_BODY_SIZE, &target->own);
		target->inserted = target->is_own = target->touched && target->own.base_absent;
	}

	if (target->is_own)
	{
		if (target->own.cid >= cid)
			return TM_Invisible;
		if (target->own.newest)
			return target->own.deleted ? TM_Invisible : TM_Ok;
		successor = target->own.next_cid;
	}
	else if (target->touched)
		successor = target->own.cid;
	else
		return TM_Ok;

	/* Superseded by the transaction itself: by this command or a later one, or before it began. */
	if (successor < cid)
		return TM_Invisible;
	target->cmax = successor;
	return TM_SelfModified;
}

bool
concord_newest_version(Relation rel, const ConcordTarget *target, uint64 *observed_lsn, CcVisible *visible)
{
	CcStatus	status;

	/* What this transaction streamed into storage of its own may lie above the newest commit. */
	*observed_lsn = concord_read_point_for(rel, SnapshotAny).lsn;
	status = cc_visible_get(target->prefix, target->body, ROW_BODY_SIZE, *observed_lsn, 0, visible);
	if (status == CC_END)
		return false;
	concord_check(status);
	return true;
}

void
concord_follow_chain(Relation rel, Snapshot snapshot, TM_Result result, ConcordTarget *target)
{
	uint64		observed;
	CcVisible	visible;
	CcOwn		newest;

	if (result != TM_SelfModified || target->is_own || target->followed_lsn != 0 ||
		!concord_newest_version(rel, target, &observed, &visible))
		return;
	if (visible.entry.lsn > concord_read_point_for(rel, snapshot).lsn &&
		cc_ws_lookup(target->prefix, target->body, ROW_BODY_SIZE, CC_ALL_COMMANDS, &newest))
		target->cmax = newest.cid;
	cc_view_unpin(visible.entry.view);
}

void
concord_row_intent_key(Relation rel, uint64 rowid, XLTW_Oper oper, uint8 *body, ConcordIntentKey *key)
{
	concord_row_body(body, rowid);
	*key = (ConcordIntentKey) {.prefix = concord_rel_prefix(rel), .body = body, .body_size = ROW_BODY_SIZE, .rel = rel,
		.oper = oper};
	concord_tid_from_rowid(&key->tid, rowid);
}

ConcordIntent
concord_row_intent(Relation rel, const ConcordTarget *target, CcLockMode mode, XLTW_Oper oper, LockWaitPolicy policy)
{
	uint8		body[ROW_BODY_SIZE];
	ConcordIntentKey key;

	concord_row_intent_key(rel, target->rowid, oper, body, &key);
	return concord_intent_take(&key, mode, policy);
}

void
concord_fill_failure(Relation rel, TM_FailureData *tmfd, TM_Result result, ItemPointer tid, const ConcordTarget *target)
{
	/* Then the executor raises 40001. */
	if ((result == TM_Updated || result == TM_Deleted) && IsolationUsesXactSnapshot())
		concord_count_conflict(RelationGetRelid(rel), InvalidOid, CONCORD_CONFLICT_SNAPSHOT);
	tmfd->ctid = *tid;
	tmfd->cmax = InvalidCommandId;
	tmfd->xmax = InvalidTransactionId;
	if (result == TM_SelfModified)
	{
		tmfd->cmax = target->cmax;
		/* MERGE and the executor tell own from foreign modifications by it. */
		tmfd->xmax = GetTopTransactionId();
	}
}
