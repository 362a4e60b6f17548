/*
 * modify.c
 *		INSERT, UPDATE and DELETE.
 *
 * All of them go to the write set, except bulk loads into new storage. A row that is not the transaction's own gets a check of
 * its key, observed at the newest LSN at the time of the write: what commits on it between that and our commit makes the
 * adjudicator refuse us. What had committed between the statement's snapshot and the write is found here, as heap would find
 * it: TM_Updated or TM_Deleted, on which the executor re-reads (READ COMMITTED) or raises 40001 (REPEATABLE READ).
 *
 * An UPDATE or DELETE removes the index entries of the old version itself (concord_index_maintain): entries are versioned like
 * rows, there is no vacuum that would do it.
 */
#include "tableam/tableam.h"

#include "access/xact.h"
#include "pgstat.h"
#include "utils/snapmgr.h"

#include "tableam/moved.h"

/* ---- insert ---- */

/*
 * Rows that nobody will ask for by a version of theirs, in storage that nobody else can see, are streamed. Indexes and triggers
 * would ask.
 */
static bool
can_stream(Relation rel, int options)
{
	return (options & TABLE_INSERT_SKIP_FSM) != 0 && !rel->rd_rel->relhasindex && rel->trigdesc == NULL &&
		concord_storage_is_new(rel);
}

static void
insert_row(Relation rel, TupleTableSlot *slot, CommandId cid, bool stream, uint64 prefix, uint64 rowid)
{
	uint8		body[ROW_BODY_SIZE];
	ItemPointerData tid;
	uint64		no_alias;
	ConcordForm form;
	Size		size;
	void	   *value;

	slot->tts_tableOid = RelationGetRelid(rel);
	concord_row_body(body, rowid);
	if (stream)
	{
		value = concord_form_value(rel, slot, &size);
		concord_bulk_put(rel, prefix, body, sizeof(body), value, size, 0);
		pfree(value);
	}
	else
	{
		size = concord_form_begin(rel, slot, &form);
		concord_check(cc_ws_put_space(prefix, body, sizeof(body), size, cid, true, false, &no_alias, &value));
		concord_form_write(&form, value);
	}
	concord_tid_from_rowid(&tid, rowid);
	concord_slot_mark_own(slot, rel, &tid, cid);
}

void
concord_multi_insert(Relation rel, TupleTableSlot **slots, int count, CommandId cid, int options,
					 struct BulkInsertStateData *bistate)
{
	bool		stream = can_stream(rel, options);
	uint32		storage_id;
	uint64		rowid;

	/* Streamed rows hang on the local commit of their table: it is all or nothing with whatever else commits there. */
	if (!stream)
	{
		concord_note_write(rel);
		concord_send_ahead();
	}
	storage_id = concord_storage_id(rel);
	rowid = concord_take_rowids(storage_id, count);
	for (int i = 0; i < count; i++)
		insert_row(rel, slots[i], cid, stream, concord_row_prefix(storage_id), rowid + i);
	pgstat_count_heap_insert(rel, count);
}

void
concord_tuple_insert(Relation rel, TupleTableSlot *slot, CommandId cid, int options,
					 struct BulkInsertStateData *bistate)
{
	concord_multi_insert(rel, &slot, 1, cid, options, bistate);
}

void
concord_finish_bulk_insert(Relation rel, int options)
{
	concord_bulk_flush();
}

/*
 * A speculative row needs no mark: until the commit nobody else can see it, and a conflict with another session's is the
 * adjudicator's to find.
 */
void
concord_tuple_insert_speculative(Relation rel, TupleTableSlot *slot, CommandId cid, int options,
								 struct BulkInsertStateData *bistate, uint32 token)
{
	concord_multi_insert(rel, &slot, 1, cid, options, bistate);
}

void
concord_tuple_complete_speculative(Relation rel, TupleTableSlot *slot, uint32 token, bool succeeded)
{
	uint64		prefix = concord_rel_prefix(rel);
	uint8		body[ROW_BODY_SIZE];
	uint64		rowid;
	bool		key_changed;
	CcOwn		own;

	if (succeeded)
		return;
	if (concord_tid_rowid(&slot->tts_tid, &rowid))
		concord_row_body(body, rowid);
	else
		elog(ERROR, "speculatively inserted row has no rowid");
	if (!cc_ws_oldest(prefix, body, sizeof(body), &own))
		elog(ERROR, "speculatively inserted row is gone");
	/* By the command that inserted it: it will insert the same index keys again. */
	(void) concord_index_maintain(rel, slot, NULL, rowid, own.cid, 0, &key_changed);
	concord_check(cc_ws_delete(prefix, body, sizeof(body), own.cid));
}

/* ---- update and delete ---- */

/*
 * Finds the version to be replaced, raises or reports what stands against it. For TM_Ok: `old_slot`, if not NULL, holds the
 * old version, and *observed_lsn the LSN for the row's check, 0 if nobody else can see the row.
 */
static TM_Result
begin_write(Relation rel, ItemPointer tid, CommandId cid, Snapshot snapshot, Snapshot crosscheck, XLTW_Oper oper,
			TM_FailureData *tmfd, ConcordTarget *target, TupleTableSlot *old_slot, uint64 *observed_lsn)
{
	TM_Result	result = concord_target_resolve(rel, tid, cid, target);
	CcLockMode	mode = oper == XLTW_Delete ? CC_UPDATE : CC_NO_KEY_UPDATE;
	CcVisible	visible;
	uint64		known;
	uint64		version_lsn;

	if (result == TM_Invisible)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("attempted to %s invisible tuple", oper == XLTW_Delete ? "delete" : "update")));
	if (result != TM_Ok)
	{
		concord_follow_chain(rel, snapshot, result, target);
		concord_fill_failure(rel, tmfd, result, tid, target);
		return result;
	}
	if (target->is_own)
	{
		if (old_slot != NULL)
			concord_slot_store_own(old_slot, rel, tid, &target->own);
		if (target->inserted || concord_storage_is_new(rel))
			*observed_lsn = 0;
		else
		{
			/* An earlier write has the row, but perhaps in a weaker mode. */
			if (mode > CC_NO_KEY_UPDATE)
				(void) concord_row_intent(rel, target, mode, oper, LockWaitBlock);
			*observed_lsn = concord_committed_lsn();
		}
		return TM_Ok;
	}

	/* Whoever has the row here and now commits or aborts first; then the newest version tells. */
	if (!concord_storage_is_new(rel))
		(void) concord_row_intent(rel, target, mode, oper, LockWaitBlock);
	if (!concord_newest_version(rel, target, observed_lsn, &visible))
	{
		result = concord_moved_find(target) ? TM_Updated : TM_Deleted;
		concord_fill_failure(rel, tmfd, result, tid, target);
		return result;
	}
	version_lsn = visible.entry.lsn;
	if (old_slot != NULL)
		concord_slot_store_visible(old_slot, rel, target->rowid, &visible, true);
	else
		cc_view_unpin(visible.entry.view);
	if (concord_storage_is_new(rel))
	{
		*observed_lsn = 0;
		return TM_Ok;
	}

	known = concord_read_point_for(rel, snapshot).lsn;
	if (crosscheck != InvalidSnapshot)
		known = Min(known, concord_read_point_for(rel, crosscheck).lsn);
	if (version_lsn > Max(known, target->followed_lsn))
	{
		/*
		 * A row that ON CONFLICT locked cannot be re-read (its plan reads no table), and the check that the lock left can
		 * only fail by now.
		 */
		if (target->direct)
			concord_raise_conflict(rel, "A row locked by ON CONFLICT was changed by another transaction.");
		concord_fill_failure(rel, tmfd, TM_Updated, tid, target);
		return TM_Updated;
	}
	return TM_Ok;
}

/* A slot for the old version if there are indexes that need it. */
static TupleTableSlot *
old_version_slot(Relation rel)
{
	return rel->rd_rel->relhasindex ? MakeSingleTupleTableSlot(RelationGetDescr(rel), concord_slot_ops()) : NULL;
}

static void
drop_slot(TupleTableSlot *slot)
{
	if (slot != NULL)
		ExecDropSingleTupleTableSlot(slot);
}

TM_Result
concord_tuple_delete(Relation rel, ItemPointer tid, CommandId cid, Snapshot snapshot, Snapshot crosscheck, bool wait,
					 TM_FailureData *tmfd, bool changing_part)
{
	TupleTableSlot *old_slot;
	ConcordTarget target;
	TM_Result	result;
	uint64		observed;
	bool		key_changed;

	concord_note_write(rel);
	concord_send_ahead();
	old_slot = old_version_slot(rel);
	result = begin_write(rel, tid, cid, snapshot, crosscheck, XLTW_Delete, tmfd, &target, old_slot, &observed);
	if (result == TM_Ok)
	{
		if (old_slot != NULL)
			(void) concord_index_maintain(rel, old_slot, NULL, target.rowid, cid, observed, &key_changed);
		if (observed != 0)
			concord_check(cc_ws_check(target.prefix, target.body, ROW_BODY_SIZE, CC_UPDATE, observed));
		concord_check(cc_ws_delete(target.prefix, target.body, ROW_BODY_SIZE, cid));
		if (rel->rd_rel->relispartition)
			concord_moved_note(&target, changing_part);
		pgstat_count_heap_delete(rel);
	}
	drop_slot(old_slot);
	return result;
}

TM_Result
concord_tuple_update(Relation rel, ItemPointer otid, TupleTableSlot *slot, CommandId cid, Snapshot snapshot,
					 Snapshot crosscheck, bool wait, TM_FailureData *tmfd, LockTupleMode *lockmode, bool *update_indexes)
{
	TupleTableSlot *old_slot;
	ConcordTarget target;
	ItemPointerData new_tid;
	TM_Result	result;
	uint64		observed;
	uint64		alias = 0;
	bool		key_changed = false;
	ConcordForm form;
	void	   *value;

	concord_note_write(rel);
	concord_send_ahead();
	*lockmode = LockTupleExclusive;
	*update_indexes = false;
	slot->tts_tableOid = RelationGetRelid(rel);
	old_slot = old_version_slot(rel);
	result = begin_write(rel, otid, cid, snapshot, crosscheck, XLTW_Update, tmfd, &target, old_slot, &observed);
	if (result != TM_Ok)
	{
		/* In what mode the executor is to lock the newer version. */
		if (result == TM_Updated && (old_slot == NULL || TTS_EMPTY(old_slot) || concord_same_row_key(rel, old_slot, slot)))
			*lockmode = LockTupleNoKeyExclusive;
		drop_slot(old_slot);
		return result;
	}

	(void) concord_form_begin(rel, slot, &form);
	if (old_slot != NULL)
		*update_indexes = concord_index_maintain(rel, old_slot, slot, target.rowid, cid, observed, &key_changed);
	drop_slot(old_slot);
	if (!key_changed)
		*lockmode = LockTupleNoKeyExclusive;
	if (observed != 0)
		concord_check(cc_ws_check(target.prefix, target.body, ROW_BODY_SIZE, CC_NO_KEY_UPDATE, observed));
	if (observed != 0 && key_changed)
	{
		/* Of foreign keys' locks, which it has waited for, this has to know. */
		(void) concord_row_intent(rel, &target, CC_UPDATE, XLTW_Update, LockWaitBlock);
		concord_check(cc_ws_check(target.prefix, target.body, ROW_BODY_SIZE, CC_UPDATE, concord_committed_lsn()));
	}
	concord_check(cc_ws_put_space(target.prefix, target.body, ROW_BODY_SIZE, form.size, cid, false, true, &alias, &value));
	concord_form_write(&form, value);
	concord_tid_from_alias(&new_tid, alias);
	concord_slot_mark_own(slot, rel, &new_tid, cid);
	if (concord_was_just_locked(&target))
		concord_slot_mark_locked(slot);
	pgstat_count_heap_update(rel, !*update_indexes);
	return TM_Ok;
}
