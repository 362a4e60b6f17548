/*
 * slot.c
 *		Tuple slots of Concord tables.
 *
 * A slot holds one of: a version in the replica's map, used in place with its view pinned (as a buffer heap slot pins a
 * buffer); an own version in the write set's memory; a copy of its own; a virtual tuple; or the promise of a row, fetched
 * when somebody looks (an index-only scan asks for the row and never does). Neither the map nor the write set is written to.
 */
#include "tableam/tableam.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"

static const TupleTableSlotOps slot_ops;

static void
unpin_view(void *view)
{
	cc_view_unpin((CcView *) view);
}

/* Makes the slot hold a pin of `view`, or none. `pinned`: the caller's pin is handed over. */
static inline void
set_view(ConcordSlot *cslot, CcView *view, bool pinned)
{
	if (view != NULL && cslot->view == view && concord_resource_held(cslot->pin))
	{
		/* Rows of a scan come from the same view mostly. */
		if (pinned)
			cc_view_unpin(view);
		return;
	}
	concord_resource_release(&cslot->pin);
	cslot->view = view;
	if (view != NULL)
	{
		if (!pinned)
			cc_view_pin(view);
		cslot->pin = concord_resource_track(view, unpin_view);
	}
}

/* Frees a copy and makes the slot ready for the next row; leaves the pin. */
static inline void
prepare(TupleTableSlot *slot)
{
	ConcordSlot *cslot = (ConcordSlot *) slot;

	if (TTS_SHOULDFREE(slot))
	{
		heap_freetuple(cslot->base.tuple);
		slot->tts_flags &= ~TTS_FLAG_SHOULDFREE;
	}
	cslot->base.tuple = NULL;
	cslot->base.off = 0;
	cslot->lazy = false;
	cslot->own = false;
	cslot->locked = false;
	cslot->lsn = 0;
	slot->tts_nvalid = 0;
}

static inline void
point_at(TupleTableSlot *slot, const void *value, Size size)
{
	ConcordSlot *cslot = (ConcordSlot *) slot;

	cslot->base.tupdata.t_len = size;
	cslot->base.tupdata.t_self = slot->tts_tid;
	cslot->base.tupdata.t_tableOid = slot->tts_tableOid;
	cslot->base.tupdata.t_data = (HeapTupleHeader) unconstify(void *, value);
	cslot->base.tuple = &cslot->base.tupdata;
	cslot->base.off = 0;
}

/* Keeps the promise of a lazy slot. */
static void
fetch_promised(TupleTableSlot *slot)
{
	ConcordSlot *cslot = (ConcordSlot *) slot;
	uint64		key[2] = {pg_bswap64(cslot->prefix), pg_bswap64(cslot->rowid)};
	const void *value;
	size_t		size;
	CcView	   *view;
	CcStatus	status;

	if (unlikely(concord_reads_noted))
		concord_note_row(cslot->prefix, cslot->rowid);
	status = cc_replica_get(cslot->read_lsn, key, sizeof(key), &value, &size, &cslot->lsn, &view);
	if (status == CC_END)
		ereport(ERROR,
				(errcode(ERRCODE_INDEX_CORRUPTED),
				 errmsg("an index entry names row (%u,%u) of table %u, which does not exist",
						ItemPointerGetBlockNumberNoCheck(&slot->tts_tid),
						ItemPointerGetOffsetNumberNoCheck(&slot->tts_tid), slot->tts_tableOid)));
	concord_check(status);
	set_view(cslot, view, true);
	cslot->lazy = false;
	point_at(slot, value, size);
}

static inline void
ensure_tuple(TupleTableSlot *slot)
{
	if (unlikely(((ConcordSlot *) slot)->lazy))
		fetch_promised(slot);
}

/* A tuple that is used where it is stored gets the length that heap would give it, for those who ask for a heap tuple. */
static inline void
trim(TupleTableSlot *slot)
{
	HeapTuple	tuple = &((ConcordSlot *) slot)->base.tupdata;

	if (!TTS_SHOULDFREE(slot) && tuple->t_len == MAXALIGN(tuple->t_len))
		tuple->t_len -= ItemPointerGetOffsetNumberNoCheck(&tuple->t_data->t_ctid);
}

/* A copy of a stored tuple; of an own version, it says whose it is if that has a transaction id already. */
static HeapTuple
copy_tuple(TupleTableSlot *slot)
{
	ConcordSlot *cslot = (ConcordSlot *) slot;
	HeapTuple	copy;

	trim(slot);
	copy = heap_copytuple(cslot->base.tuple);

	if (cslot->own)
	{
		TransactionId xid = GetTopTransactionIdIfAny();

		if (TransactionIdIsValid(xid))
		{
			copy->t_data->t_infomask &= ~HEAP_XMIN_FROZEN;
			HeapTupleHeaderSetXmin(copy->t_data, xid);
			HeapTupleHeaderSetCmin(copy->t_data, cslot->cid);
		}
	}
	return copy;
}

static void
concord_slot_init(TupleTableSlot *slot)
{
	ConcordSlot *cslot = (ConcordSlot *) slot;

	cslot->view = NULL;
	cslot->pin.generation = 0;
	cslot->own = cslot->lazy = cslot->locked = false;
	cslot->lsn = 0;
}

static void
concord_slot_release(TupleTableSlot *slot)
{
}

static void
concord_slot_clear(TupleTableSlot *slot)
{
	ConcordSlot *cslot = (ConcordSlot *) slot;

	prepare(slot);
	if (cslot->pin.generation != 0)
		set_view(cslot, NULL, false);
	slot->tts_flags |= TTS_FLAG_EMPTY;
	ItemPointerSetInvalid(&slot->tts_tid);
}

static void
concord_slot_getsomeattrs(TupleTableSlot *slot, int natts)
{
	ensure_tuple(slot);
	TTSOpsHeapTuple.getsomeattrs(slot, natts);
}

/* ---- xmin and xmax ---- */

/* The running transaction's id. It may have none yet; workers can give it none. */
static TransactionId
own_xid(void)
{
	return IsInParallelMode() ? GetTopTransactionIdIfAny() : GetTopTransactionId();
}

static uint64
prefix_of_table(Oid table)
{
	Relation	rel = table_open(table, NoLock);
	uint64		prefix = concord_rel_prefix(rel);

	table_close(rel, NoLock);
	return prefix;
}

/* The own version that the slot's TID names, and its key. False if there is none: the TID names a committed version. */
static bool
find_own(TupleTableSlot *slot, uint64 *prefix, uint8 *body, CcOwn *own)
{
	uint64		number;
	uint64		rowid;
	bool		is_alias;

	if (!concord_tid_parse(&slot->tts_tid, &number, &is_alias))
		return false;
	if (is_alias)
	{
		if (!cc_ws_alias(number, prefix, &rowid, own))
			return false;
		concord_row_body(body, rowid);
		return true;
	}
	*prefix = prefix_of_table(slot->tts_tableOid);
	concord_row_body(body, number);
	return cc_ws_oldest(*prefix, body, ROW_BODY_SIZE, own);
}

/*
 * Foreign keys and ON CONFLICT ask whether the row is the transaction's own. Only now does it need an id for that; and who has
 * been shown this one shall find it again after the commit.
 */
static TransactionId
own_xmin(TupleTableSlot *slot)
{
	TransactionId xid = own_xid();
	uint64		prefix;
	uint8		body[ROW_BODY_SIZE];
	CcOwn		own;

	StaticAssertStmt(offsetof(HeapTupleHeaderData, t_choice.t_heap.t_xmin) == 0, "xmin is a tuple's head");
	if (!IsInParallelMode() && find_own(slot, &prefix, body, &own))
		cc_ws_set_head(prefix, body, ROW_BODY_SIZE, ((ConcordSlot *) slot)->cid, &xid, sizeof(xid));
	return xid;
}

/* Not to be taken for the running transaction's: another server's transactions have ids of their own. */
static TransactionId
committed_xmin(TupleTableSlot *slot)
{
	TransactionId xmin;

	ensure_tuple(slot);
	xmin = HeapTupleHeaderGetRawXmin(((ConcordSlot *) slot)->base.tuple->t_data);
	return TransactionIdIsCurrentTransactionId(xmin) ? FrozenTransactionId : xmin;
}

/* Whether this transaction has changed or deleted the version that the slot's TID names. */
static bool
is_superseded(TupleTableSlot *slot)
{
	uint64		prefix;
	uint8		body[ROW_BODY_SIZE];
	CcOwn		own;
	uint64		number;
	bool		is_alias;

	if (!cc_ws_has_writes() || !find_own(slot, &prefix, body, &own))
		return false;
	/* What was found by a rowid is the row's oldest own version: what was inserted, or what came over the committed one. */
	return !own.newest || (concord_tid_parse(&slot->tts_tid, &number, &is_alias) && !is_alias && !own.base_absent);
}

static Datum
concord_slot_getsysattr(TupleTableSlot *slot, int attnum, bool *isnull)
{
	ConcordSlot *cslot = (ConcordSlot *) slot;

	if (cslot->base.tuple == NULL && !cslot->lazy && !cslot->own)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot retrieve a system column in this context")));
	*isnull = false;
	switch (attnum)
	{
		case MinTransactionIdAttributeNumber:
			return TransactionIdGetDatum(cslot->own ? own_xmin(slot) : committed_xmin(slot));
		case MaxTransactionIdAttributeNumber:
			return TransactionIdGetDatum(cslot->locked || is_superseded(slot) ? own_xid() : InvalidTransactionId);
		case MinCommandIdAttributeNumber:
		case MaxCommandIdAttributeNumber:
			return CommandIdGetDatum(cslot->own ? cslot->cid : FirstCommandId);
		default:
			elog(ERROR, "invalid attnum: %d", attnum);
	}
	return 0;
}

static void
concord_slot_materialize(TupleTableSlot *slot)
{
	ConcordSlot *cslot = (ConcordSlot *) slot;
	MemoryContext old_context;

	if (TTS_SHOULDFREE(slot))
		return;
	ensure_tuple(slot);

	/* Deform from scratch: tts_values may point into what is copied. */
	old_context = MemoryContextSwitchTo(slot->tts_mcxt);
	if (cslot->base.tuple != NULL)
		cslot->base.tuple = copy_tuple(slot);
	else
	{
		cslot->base.tuple = heap_form_tuple(slot->tts_tupleDescriptor, slot->tts_values, slot->tts_isnull);
		cslot->base.tuple->t_self = slot->tts_tid;
		cslot->base.tuple->t_tableOid = slot->tts_tableOid;
	}
	MemoryContextSwitchTo(old_context);
	slot->tts_nvalid = 0;
	cslot->base.off = 0;
	slot->tts_flags |= TTS_FLAG_SHOULDFREE;
	set_view(cslot, NULL, false);
}

static void
concord_slot_copyslot(TupleTableSlot *dst, TupleTableSlot *src)
{
	ConcordSlot *cdst = (ConcordSlot *) dst;
	ConcordSlot *csrc = (ConcordSlot *) src;

	prepare(dst);
	if (dst->tts_ops == src->tts_ops && !TTS_SHOULDFREE(src) && (csrc->base.tuple != NULL || csrc->lazy))
	{
		set_view(cdst, concord_resource_held(csrc->pin) ? csrc->view : NULL, false);
		cdst->lazy = csrc->lazy;
		cdst->prefix = csrc->prefix;
		cdst->rowid = csrc->rowid;
		cdst->read_lsn = csrc->read_lsn;
		if (!csrc->lazy)
		{
			cdst->base.tupdata = *csrc->base.tuple;
			cdst->base.tuple = &cdst->base.tupdata;
		}
	}
	else
	{
		MemoryContext old_context = MemoryContextSwitchTo(dst->tts_mcxt);

		cdst->base.tuple = ExecCopySlotHeapTuple(src);
		MemoryContextSwitchTo(old_context);
		dst->tts_flags |= TTS_FLAG_SHOULDFREE;
		set_view(cdst, NULL, false);
	}
	if (dst->tts_ops == src->tts_ops)
	{
		cdst->own = csrc->own;
		cdst->locked = csrc->locked;
		cdst->cid = csrc->cid;
		cdst->lsn = csrc->lsn;
	}
	dst->tts_tid = src->tts_tid;
	dst->tts_flags &= ~TTS_FLAG_EMPTY;
}

static HeapTuple
concord_slot_get_heap_tuple(TupleTableSlot *slot)
{
	ConcordSlot *cslot = (ConcordSlot *) slot;

	ensure_tuple(slot);
	if (cslot->base.tuple == NULL)
		concord_slot_materialize(slot);
	trim(slot);
	return cslot->base.tuple;
}

static HeapTuple
concord_slot_copy_heap_tuple(TupleTableSlot *slot)
{
	(void) concord_slot_get_heap_tuple(slot);
	return copy_tuple(slot);
}

static MinimalTuple
concord_slot_copy_minimal_tuple(TupleTableSlot *slot)
{
	return minimal_tuple_from_heap_tuple(concord_slot_get_heap_tuple(slot));
}

static const TupleTableSlotOps slot_ops = {
	.base_slot_size = sizeof(ConcordSlot),
	.init = concord_slot_init,
	.release = concord_slot_release,
	.clear = concord_slot_clear,
	.getsomeattrs = concord_slot_getsomeattrs,
	.getsysattr = concord_slot_getsysattr,
	.materialize = concord_slot_materialize,
	.copyslot = concord_slot_copyslot,
	.get_heap_tuple = concord_slot_get_heap_tuple,
	.get_minimal_tuple = NULL,
	.copy_heap_tuple = concord_slot_copy_heap_tuple,
	.copy_minimal_tuple = concord_slot_copy_minimal_tuple
};

const TupleTableSlotOps *
concord_slot_ops(void)
{
	return &slot_ops;
}

void
concord_slot_store(TupleTableSlot *slot, Relation rel, const void *tuple, size_t size, CcView *view, ItemPointer tid,
				   bool own)
{
	ConcordSlot *cslot = (ConcordSlot *) slot;

	prepare(slot);
	set_view(cslot, view, false);
	cslot->own = own;
	cslot->cid = FirstCommandId;
	slot->tts_tid = *tid;
	slot->tts_tableOid = RelationGetRelid(rel);
	point_at(slot, tuple, size);
	slot->tts_flags &= ~TTS_FLAG_EMPTY;
}

void
concord_slot_store_mapped(TupleTableSlot *slot, Relation rel, uint64 rowid, const CcEntry *entry)
{
	ConcordSlot *cslot = (ConcordSlot *) slot;

	Assert(slot->tts_ops == &slot_ops);
	prepare(slot);
	set_view(cslot, entry->view, false);
	concord_tid_from_rowid(&slot->tts_tid, rowid);
	slot->tts_tableOid = RelationGetRelid(rel);
	cslot->lsn = entry->lsn;
	point_at(slot, entry->value, entry->value_size);
	slot->tts_flags &= ~TTS_FLAG_EMPTY;
}

void
concord_slot_store_visible(TupleTableSlot *slot, Relation rel, uint64 rowid, const CcVisible *visible, bool pinned)
{
	ConcordSlot *cslot = (ConcordSlot *) slot;

	Assert(slot->tts_ops == &slot_ops);
	prepare(slot);
	set_view(cslot, visible->entry.view, pinned);
	concord_visible_tid(&slot->tts_tid, rowid, visible);
	slot->tts_tableOid = RelationGetRelid(rel);
	if (visible->is_own)
	{
		cslot->own = true;
		cslot->cid = visible->own.cid;
		point_at(slot, visible->own.value, visible->own.value_size);
	}
	else
	{
		cslot->lsn = visible->entry.lsn;
		point_at(slot, visible->entry.value, visible->entry.value_size);
	}
	slot->tts_flags &= ~TTS_FLAG_EMPTY;
}

void
concord_slot_store_own(TupleTableSlot *slot, Relation rel, ItemPointer tid, const CcOwn *own)
{
	concord_slot_store(slot, rel, own->value, own->value_size, NULL, tid, true);
	((ConcordSlot *) slot)->cid = own->cid;
}

void
concord_slot_store_lazy(TupleTableSlot *slot, Relation rel, uint64 prefix, uint64 rowid, uint64 read_lsn)
{
	ConcordSlot *cslot = (ConcordSlot *) slot;

	Assert(slot->tts_ops == &slot_ops);
	prepare(slot);
	cslot->lazy = true;
	cslot->prefix = prefix;
	cslot->rowid = rowid;
	cslot->read_lsn = read_lsn;
	concord_tid_from_rowid(&slot->tts_tid, rowid);
	slot->tts_tableOid = RelationGetRelid(rel);
	slot->tts_flags &= ~TTS_FLAG_EMPTY;
}

void
concord_slot_mark_own(TupleTableSlot *slot, Relation rel, ItemPointer tid, uint32 cid)
{
	ConcordSlot *cslot = (ConcordSlot *) slot;

	slot->tts_tid = *tid;
	slot->tts_tableOid = RelationGetRelid(rel);
	if (slot->tts_ops != &slot_ops)
		return;
	cslot->own = true;
	cslot->cid = cid;
	cslot->lsn = 0;
	if (cslot->base.tuple != NULL)
	{
		/* The HeapTupleData is the slot's in any case; only t_data may be somebody else's. */
		cslot->base.tuple->t_self = *tid;
		cslot->base.tuple->t_tableOid = slot->tts_tableOid;
	}
}

void
concord_slot_mark_locked(TupleTableSlot *slot)
{
	if (slot->tts_ops == &slot_ops)
		((ConcordSlot *) slot)->locked = true;
}

uint64
concord_slot_lsn(TupleTableSlot *slot)
{
	if (slot->tts_ops != &slot_ops)
		return 0;
	ensure_tuple(slot);
	return ((ConcordSlot *) slot)->lsn;
}

bool
concord_slot_is_virtual(TupleTableSlot *slot)
{
	ConcordSlot *cslot = (ConcordSlot *) slot;

	return TTS_IS_VIRTUAL(slot) || (slot->tts_ops == &slot_ops && cslot->base.tuple == NULL && !cslot->lazy);
}

bool
concord_slot_pinned(TupleTableSlot *slot)
{
	return slot->tts_ops == &slot_ops && concord_resource_held(((ConcordSlot *) slot)->pin);
}
