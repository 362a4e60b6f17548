/*
 * analyze.c
 *		ANALYZE's sample. Block n of the N that relation_size reports is the n-th of N equal slices of the rowids.
 *
 * ANALYZE copies the rows of its sample and looks at them at its end: 30000 by default, which must not be as many wide values. On
 * heap the copies hold references to the toast table; here they hold promises: an indirect datum that leads to an expanded object
 * which knows the value's size, all that most statistics want of a wide value, and fetches the row when somebody wants more.
 */
#include "tableam/tableam.h"

#include "access/detoast.h"
#include "utils/expandeddatum.h"

/* Above it a value is promised; statistics of arrays want values up to this. */
#define WIDE_BYTES (64 * 1024)

typedef struct WideValue
{
	ExpandedObjectHeader header;
	uint64		prefix;
	uint64		rowid;
	uint64		read_lsn;
	Size		offset;			/* in the row's value */
	Size		size;			/* flat, not compressed */
} WideValue;

static Size
wide_flat_size(ExpandedObjectHeader *header)
{
	return ((WideValue *) header)->size;
}

static void
wide_flatten_into(ExpandedObjectHeader *header, void *result, Size allocated_size)
{
	WideValue  *wide = (WideValue *) header;
	uint64		key[2] = {pg_bswap64(wide->prefix), pg_bswap64(wide->rowid)};
	ConcordResource pin;
	const void *row;
	size_t		size;
	uint64		lsn;
	CcView	   *view;
	CcStatus	status = cc_replica_get(wide->read_lsn, key, sizeof(key), &row, &size, &lsn, &view);
	struct varlena *flat;

	if (status == CC_END)
		elog(ERROR, "a row of ANALYZE's sample is gone");
	concord_check(status);
	pin = concord_resource_track(view, (ConcordReleaseFunction) cc_view_unpin);
	flat = PG_DETOAST_DATUM(PointerGetDatum((const char *) row + wide->offset));
	if (VARSIZE(flat) != allocated_size)
		elog(ERROR, "a row of ANALYZE's sample has changed");
	memcpy(result, flat, allocated_size);
	concord_resource_release(&pin);
}

static const ExpandedObjectMethods wide_methods = {
	.get_flat_size = wide_flat_size,
	.flatten_into = wide_flatten_into
};

static Datum
indirect_datum(struct varlena *to)
{
	struct varatt_indirect pointer = {.pointer = to};
	struct varlena *datum = palloc(INDIRECT_POINTER_SIZE);

	SET_VARTAG_EXTERNAL(datum, VARTAG_INDIRECT);
	memcpy(VARDATA_EXTERNAL(datum), &pointer, sizeof(pointer));
	return PointerGetDatum(datum);
}

/* The column of the slot's row, without its bytes. The promise lives as long as the sample, whose memory context is the current one. */
static Datum
promise(ConcordScan scan, TupleTableSlot *slot, int column)
{
	struct varlena *value = (struct varlena *) DatumGetPointer(slot->tts_values[column]);
	ConcordSlot *cslot = (ConcordSlot *) slot;
	WideValue  *wide;

	/* The memory of the write set stays as it is until the transaction ends. */
	if (cslot->own)
		return indirect_datum(value);
	wide = palloc(sizeof(WideValue));
	EOH_init_header(&wide->header, &wide_methods, CurrentMemoryContext);
	wide->prefix = scan->prefix;
	wide->read_lsn = scan->point.lsn;
	wide->offset = (char *) value - (char *) cslot->base.tuple->t_data;
	wide->size = toast_raw_datum_size(PointerGetDatum(value));
	if (!concord_tid_rowid(&slot->tts_tid, &wide->rowid))
		elog(ERROR, "row of table \"%s\" has no rowid", RelationGetRelationName(scan->base.rs_rd));
	return indirect_datum((struct varlena *) DatumGetPointer(EOHPGetRODatum(&wide->header)));
}

/* Makes the slot hold a row of its own, with promises in place of wide values. */
static void
hold_promises(ConcordScan scan, TupleTableSlot *slot)
{
	TupleDesc	desc = slot->tts_tupleDescriptor;
	ItemPointerData tid = slot->tts_tid;
	HeapTuple	row;

	slot_getallattrs(slot);
	for (int i = 0; i < desc->natts; i++)
		if (!slot->tts_isnull[i] && TupleDescAttr(desc, i)->attlen == -1 &&
			VARSIZE_ANY(DatumGetPointer(slot->tts_values[i])) > WIDE_BYTES)
			slot->tts_values[i] = promise(scan, slot, i);
	row = heap_form_tuple(desc, slot->tts_values, slot->tts_isnull);
	ExecForceStoreHeapTuple(row, slot, false);
	slot->tts_tid = tid;
	slot->tts_tableOid = RelationGetRelid(scan->base.rs_rd);
	ExecMaterializeSlot(slot);
	heap_freetuple(row);
}

bool
concord_scan_analyze_next_block(TableScanDesc sscan, BlockNumber block, BufferAccessStrategy strategy)
{
	ConcordScan scan = (ConcordScan) sscan;
	uint64		end = concord_scan_row_end(scan);
	uint64		rows;
	uint64		low;
	uint64		high;

	if (!scan->block_valid)
	{
		scan->blocks = Max(concord_heap_pages(sscan->rs_rd, &rows), 1);
		scan->block_valid = true;
	}
	low = (uint64) ((double) end / scan->blocks * block);
	high = block + 1 >= scan->blocks ? end : (uint64) ((double) end / scan->blocks * (block + 1));
	if (low < high)
		concord_scan_set_range(scan, low, high - 1);
	else
		concord_scan_set_range(scan, 1, 0);
	return true;
}

bool
concord_scan_analyze_next_tuple(TableScanDesc sscan, TransactionId oldest_xmin, double *live_rows, double *dead_rows,
								TupleTableSlot *slot)
{
	if (concord_scan_next((ConcordScan) sscan, false, slot))
	{
		if (((ConcordSlot *) slot)->base.tuple->t_len > WIDE_BYTES)
			hold_promises((ConcordScan) sscan, slot);
		*live_rows += 1;
		return true;
	}
	ExecClearTuple(slot);
	return false;
}
