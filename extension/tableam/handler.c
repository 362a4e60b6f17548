/*
 * handler.c
 *		The table access method's routine.
 */
#include "tableam/tableam.h"

#include "fmgr.h"

PG_FUNCTION_INFO_V1(concord_tableam_handler);

static const TupleTableSlotOps *
concord_slot_callbacks(Relation rel)
{
	return concord_slot_ops();
}

static bool
concord_relation_needs_toast_table(Relation rel)
{
	return false;				/* value.c */
}

static const TableAmRoutine concord_routine = {
	.type = T_TableAmRoutine,

	.slot_callbacks = concord_slot_callbacks,

	.scan_begin = concord_scan_begin,
	.scan_end = concord_scan_end,
	.scan_rescan = concord_scan_rescan,
	.scan_getnextslot = concord_scan_getnextslot,
	.scan_set_tidrange = concord_scan_set_tidrange,
	.scan_getnextslot_tidrange = concord_scan_getnextslot,

	.parallelscan_estimate = concord_parallelscan_estimate,
	.parallelscan_initialize = concord_parallelscan_initialize,
	.parallelscan_reinitialize = concord_parallelscan_reinitialize,

	.index_fetch_begin = concord_index_fetch_begin,
	.index_fetch_reset = concord_index_fetch_reset,
	.index_fetch_end = concord_index_fetch_end,
	.index_fetch_tuple = concord_index_fetch_tuple,

	.tuple_fetch_row_version = concord_tuple_fetch_row_version,
	.tuple_tid_valid = concord_tuple_tid_valid,
	.tuple_get_latest_tid = concord_tuple_get_latest_tid,
	.tuple_satisfies_snapshot = concord_tuple_satisfies_snapshot,
	.index_delete_tuples = concord_index_delete_tuples,

	.tuple_insert = concord_tuple_insert,
	.tuple_insert_speculative = concord_tuple_insert_speculative,
	.tuple_complete_speculative = concord_tuple_complete_speculative,
	.multi_insert = concord_multi_insert,
	.tuple_delete = concord_tuple_delete,
	.tuple_update = concord_tuple_update,
	.tuple_lock = concord_tuple_lock,
	.finish_bulk_insert = concord_finish_bulk_insert,

	.relation_set_new_filenode = concord_relation_set_new_filenode,
	.relation_nontransactional_truncate = concord_relation_nontransactional_truncate,
	.relation_copy_data = concord_relation_copy_data,
	.relation_copy_for_cluster = concord_relation_copy_for_cluster,
	.relation_vacuum = concord_relation_vacuum,
	.scan_analyze_next_block = concord_scan_analyze_next_block,
	.scan_analyze_next_tuple = concord_scan_analyze_next_tuple,
	.index_build_range_scan = concord_index_build_range_scan,
	.index_validate_scan = concord_index_validate_scan,

	.relation_size = concord_relation_size,
	/* Without a TOAST table nobody asks for its access method, nor for slices of it: values lie in the row, whole (value.c). */
	.relation_needs_toast_table = concord_relation_needs_toast_table,
	.relation_estimate_size = concord_relation_estimate_size,

	.scan_bitmap_next_block = concord_scan_bitmap_next_block,
	.scan_bitmap_next_tuple = concord_scan_bitmap_next_tuple,
	.scan_sample_next_block = concord_scan_sample_next_block,
	.scan_sample_next_tuple = concord_scan_sample_next_tuple
};

const TableAmRoutine *
concord_table_routine(void)
{
	return &concord_routine;
}

Datum
concord_tableam_handler(PG_FUNCTION_ARGS)
{
	/* Whoever opens a table gets its routines from here, so this is the one gate. */
	concord_require_usable();
	PG_RETURN_POINTER(&concord_routine);
}
