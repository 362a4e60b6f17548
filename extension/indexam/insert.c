/*
 * Index insertion and uniqueness.
 *
 * Uniqueness has two halves. What has been committed, or written by this transaction, is looked up here, at the newest
 * committed LSN, and reported as btree reports it. What others commit between that LSN and our commit is found by the
 * adjudicator, through a check that the key was observed absent.
 */
#include "indexam/indexam.h"

#include "access/relscan.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "stats/stats.h"
#include "tableam/tableam.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "xact/intent.h"

/* What aminsert works on. */
typedef struct Insertion
{
	Relation	index;
	Relation	table;
	const ConcordIndex *ix;
	Datum	   *values;
	bool	   *isnull;
	struct IndexInfo *index_info;
	uint64		prefix;
	uint64		rowid;
	ItemPointer tid;
	ConcordReadPoint newest;
	uint64		found_row;		/* of the last entry found with the key */
	uint64		found_lsn;		/* its commit LSN; 0: an own one */
	ConcordBody body;
	size_t		columns_size;
	bool		has_null;
	bool		looked_after_writers;	/* `newest` is of after nobody was found to wait for */
} Insertion;

static void
release(CcVisible *visible)
{
	if (visible->entry.view != NULL)
		cc_view_unpin(visible->entry.view);
}

static void
close_cursor(void *cursor)
{
	cc_scan_close(cursor);
}

/* While CREATE INDEX CONCURRENTLY validates, the row to be inserted may be gone: then it violates nothing. */
static bool
row_is_live(Insertion *in)
{
	ItemPointerData tid = *in->tid;

	return in->index->rd_index->indisvalid || table_index_fetch_tuple_check(in->table, &tid, SnapshotSelf, NULL);
}

/*
 * CREATE INDEX CONCURRENTLY has built the index but not validated it: an entry may be of a row that changed while nobody
 * maintained the index yet.
 */
static bool
entry_is_stale(Insertion *in, uint64 rowid)
{
	ConcordRowKey *row_key;
	ConcordBody body;
	bool		stale;

	if (in->index->rd_index->indisvalid)
		return false;
	row_key = concord_row_key_begin(in->table, in->index, in->index_info);
	stale = !concord_row_key_now(row_key, rowid, &body) || body.key.size < in->columns_size ||
		memcmp(body.bytes, in->body.bytes, in->columns_size) != 0 || !concord_row_key_same(row_key, in->values);
	concord_row_key_end(row_key);
	return stale;
}

/*
 * A duplicate that a SERIALIZABLE transaction could not see, and has looked for before, by the index or among the rows, comes from not
 * being alone, and is not to be blamed on the key. Otherwise it has learnt now that the key is there.
 */
static void
note_duplicate(Insertion *in)
{
	bool		looked_for;
	uint8		row[ROW_BODY_SIZE];
	ConcordBody end = in->body;

	concord_check(cc_reads_cover(in->prefix, in->body.bytes, in->columns_size, &looked_for));
	concord_row_body(row, in->found_row);
	if (!looked_for)
		concord_check(cc_reads_cover(concord_rel_prefix(in->table), row, sizeof(row), &looked_for));
	if (looked_for && in->found_lsn > concord_read_point(GetTransactionSnapshot()).lsn)
	{
		concord_count(CONCORD_COUNT_CONFLICTS, 1);
		concord_raise_read_conflict(RelationGetRelid(in->table), RelationGetRelid(in->index));
	}
	end.key.data = end.bytes;
	end.key.size = in->columns_size;
	(void) cc_key_successor(&end.key);	/* a column begins with a marker byte below FF */
	concord_check(cc_reads_note(in->prefix, in->body.bytes, in->columns_size, end.bytes, end.key.size));
}

static void
raise_duplicate(Insertion *in)
{
	char	   *key;

	if (unlikely(concord_reads_noted) && concord_reads_are_of_others(in->prefix))
		note_duplicate(in);
	key = BuildIndexValueDescription(in->index, in->values, in->isnull);
	ereport(ERROR,
			(errcode(ERRCODE_UNIQUE_VIOLATION),
			 errmsg("duplicate key value violates unique constraint \"%s\"", RelationGetRelationName(in->index)),
			 key != NULL ? errdetail("Key %s already exists.", key) : 0,
			 errtableconstraint(in->table, RelationGetRelationName(in->index))));
}

/* The key must still be absent when we commit, but for what we write ourselves. */
static void
check_absent(Insertion *in)
{
	if (!concord_storage_is_new(in->index))
		concord_check(cc_ws_check(in->prefix, in->body.bytes, in->columns_size, CC_ABSENT, in->newest.lsn));
}

static void
put(Insertion *in, const uint8 *value, size_t size, bool base_absent)
{
	uint64		alias;

	concord_check(cc_ws_put(in->prefix, in->body.bytes, in->body.key.size, value, size, GetCurrentCommandId(true),
							base_absent, false, &alias));
}

static ConcordIntentKey
intent_key(Insertion *in)
{
	return (ConcordIntentKey) {.prefix = in->prefix, .body = in->body.bytes, .body_size = in->columns_size, .rel = in->index,
		.tid = *in->tid, .oper = XLTW_InsertIndex};
}

static void
give_key_back(Insertion *in)
{
	ConcordIntentKey key = intent_key(in);

	concord_intent_give_back(&key);
}

/*
 * Whoever inserts or gives up the key here and now commits or aborts first. False, with a policy not to wait, if somebody
 * does.
 */
static bool
take_key(Insertion *in, LockWaitPolicy policy)
{
	ConcordIntentKey key = intent_key(in);

	return concord_storage_is_new(in->index) ||
		concord_intent_take(&key, CC_UPDATE, policy) != CONCORD_INTENT_BLOCKED;
}

/* True if the row was inserted by this transaction and not updated since: then it has no entry yet. */
static bool
row_is_fresh(Insertion *in)
{
	uint8		row_body[ROW_BODY_SIZE];
	CcOwn		own;

	concord_row_body(row_body, in->rowid);
	return cc_ws_lookup(concord_rel_prefix(in->table), row_body, sizeof(row_body), CC_ALL_COMMANDS, &own) &&
		own.base_absent && own.alias == 0;
}

/* Finds the entry with exactly our body. *same: it is what we would write. */
static bool
find_entry(Insertion *in, const uint8 *value, size_t size, uint64 *rowid, bool *same)
{
	CcVisible	visible;
	CcStatus	status = cc_visible_get(in->prefix, in->body.bytes, in->body.key.size, in->newest.lsn, CC_ALL_COMMANDS,
										&visible);

	if (status == CC_END)
		return false;
	concord_check(status);
	in->found_lsn = visible.entry.lsn;
	*rowid = in->found_row = concord_entry_rowid(visible.entry.value);
	*same = visible.entry.value_size == size && memcmp(visible.entry.value, value, size) == 0;
	release(&visible);
	return true;
}

/* An index where any number of rows may have the key. */
static bool
insert_plain(Insertion *in, const uint8 *value, size_t size)
{
	uint64		rowid;
	bool		same;

	if (row_is_fresh(in))
		put(in, value, size, true);
	else
	{
		in->newest = concord_read_point_for(in->index, SnapshotAny);
		if (!find_entry(in, value, size, &rowid, &same))
			put(in, value, size, true);
		else if (!same)
			put(in, value, size, false);
	}
	return true;
}

/* Have the entry's columns, whose encodings are ours, our values? */
static bool
same_key(Insertion *in, const CcEntry *entry)
{
	IndexTuple	tuple;
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];
	bool		same;

	if (!concord_key_is_lossy(in->ix, in->columns_size))
		return true;
	tuple = concord_deform_entry(in->index, entry->value, entry->value_size, values, isnull);
	same = concord_same_key(in->index, in->ix, in->columns_size, values, isnull, in->values, in->isnull);
	pfree(tuple);
	return same;
}

/*
 * Another row has the key. If it is being changed by another transaction, that may give the key up: waits for it, without keeping the
 * key from it meanwhile. Whoever has ended before nobody was found to wait for is within the newest LSN only then. True if the
 * key is to be looked for again.
 */
static bool
key_may_go(Insertion *in, uint64 rowid)
{
	uint8		body[ROW_BODY_SIZE];
	ConcordIntentKey row;

	concord_row_intent_key(in->table, rowid, XLTW_InsertIndexUnique, body, &row);
	if (concord_intent_has_writer(&row))
	{
		give_key_back(in);
		concord_intent_wait_for_writers(&row);
		(void) take_key(in, LockWaitBlock);
	}
	else if (in->looked_after_writers)
		return false;
	else
		in->looked_after_writers = true;
	in->newest = concord_read_point_for(in->index, SnapshotAny);
	return true;
}

/* An immediate unique index: the columns are the whole body. */
static bool
insert_unique(Insertion *in, IndexUniqueCheck check_unique, const uint8 *value, size_t size)
{
	uint64		rowid;
	bool		same;
	bool		found = find_entry(in, value, size, &rowid, &same);

	if (found && rowid != in->rowid && !entry_is_stale(in, rowid))
	{
		if (check_unique == UNIQUE_CHECK_PARTIAL)
		{
			give_key_back(in);
			return false;
		}
		if (key_may_go(in, rowid))
			return insert_unique(in, check_unique, value, size);
		if (row_is_live(in))
			raise_duplicate(in);
		return true;
	}
	if (found && same)
		return true;
	if (!found && !concord_storage_is_new(in->index))
	{
		concord_check(cc_ws_put_absent(in->prefix, in->body.bytes, in->body.key.size, value, size,
									   GetCurrentCommandId(true), in->newest.lsn));
		return true;
	}
	if (found && rowid != in->rowid)
		check_absent(in);
	put(in, value, size, !found);
	return true;
}

/*
 * A unique index whose entries have a rowid, since it is deferrable or lossy: entries of one key lie side by side. Looks whether
 * another row has the key, and which, and for the row's own entry. An entry may lack the rowid: the index was not deferrable
 * when it was made.
 */
static bool
scan_key(Insertion *in, bool *own_found, const uint8 *value, size_t size, bool *own_same, uint64 *other)
{
	CcScan	   *cursor;
	ConcordResource resource;
	CcVisible	visible;
	CcStatus	status;
	bool		others = false;

	*own_found = *own_same = false;
	concord_check(cc_scan_open(in->prefix, in->newest.lsn, CC_ALL_COMMANDS, &cursor));
	resource = concord_resource_track(cursor, close_cursor);
	concord_check(cc_scan_seek(cursor, in->body.bytes, in->columns_size, false, false));
	while ((status = cc_scan_next(cursor, false, &visible)) == CC_OK)
	{
		const CcEntry *entry = &visible.entry;
		uint64		rowid;

		if (entry->key_size < in->columns_size || memcmp(entry->key, in->body.bytes, in->columns_size) != 0)
			break;
		rowid = concord_entry_rowid(entry->value);
		if (rowid != in->rowid)
		{
			if (!same_key(in, entry) || entry_is_stale(in, rowid))
				continue;
			in->found_lsn = entry->lsn;
			*other = in->found_row = rowid;
			others = true;
		}
		else
		{
			*own_found = true;
			*own_same = value != NULL && entry->value_size == size && memcmp(entry->value, value, size) == 0;
			if (value != NULL && !*own_same && entry->key_size == in->columns_size)
				concord_check(cc_ws_delete(in->prefix, in->body.bytes, in->columns_size, GetCurrentCommandId(true)));
		}
	}
	if (status != CC_END)
		concord_check(status);
	concord_resource_release(&resource);
	return others;
}

/* `undecided`: another transaction of this server has taken the key, or is giving it up. */
static bool
insert_beside(Insertion *in, IndexUniqueCheck check_unique, bool undecided, const uint8 *value, size_t size)
{
	bool		own_found,
				own_same;
	uint64		other;
	bool		others = scan_key(in, &own_found, value, size, &own_same, &other);

	if (others && check_unique == UNIQUE_CHECK_YES)
	{
		if (key_may_go(in, other))
			return insert_beside(in, check_unique, undecided, value, size);
		if (row_is_live(in))
			raise_duplicate(in);
		return true;
	}
	/* What is checked later once more is observed then. */
	if (!others && !undecided && !own_same)
		check_absent(in);
	if (!own_same)
		put(in, value, size, !own_found);
	return !others && !undecided;
}

/* The check at the end of the statement or the transaction; nothing is inserted. */
static void
check_existing(Insertion *in)
{
	bool		own_found,
				own_same;
	uint64		other;
	bool		others;

	do
		others = scan_key(in, &own_found, NULL, 0, &own_same, &other);
	while (others && key_may_go(in, other));
	if (others && row_is_live(in))
		raise_duplicate(in);
	if (!others && !own_found)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("failed to re-find tuple within index \"%s\"", RelationGetRelationName(in->index)),
				 errhint("This may be because of a non-immutable index expression."),
				 errtableconstraint(in->table, RelationGetRelationName(in->index))));
	check_absent(in);
}

bool
concord_aminsert(Relation index, Datum *values, bool *isnull, ItemPointer heap_tid, Relation table,
				 IndexUniqueCheck check_unique, bool index_unchanged, struct IndexInfo *index_info)
{
	Insertion	in;
	uint8	   *value;
	size_t		size;
	bool		satisfied;
	bool		deferred;
	bool		undecided;

	in.index = index;
	in.table = table;
	in.ix = concord_index_describe(index);
	in.values = values;
	in.isnull = isnull;
	in.index_info = index_info;
	in.tid = heap_tid;
	in.looked_after_writers = false;
	if (!concord_tid_rowid(heap_tid, &in.rowid))
		elog(ERROR, "TID (%u,%u) names no row of table \"%s\"", ItemPointerGetBlockNumberNoCheck(heap_tid),
			 ItemPointerGetOffsetNumberNoCheck(heap_tid), RelationGetRelationName(table));
	in.prefix = concord_entry_prefix(concord_storage_id(index));
	concord_encode_body(index, in.ix, values, isnull, in.rowid, &in.body, &in.columns_size, &in.has_null);

	if (!concord_key_is_unique(in.ix, in.has_null))
	{
		if (check_unique == UNIQUE_CHECK_EXISTING)
			return true;		/* a key with a NULL */
		if (index_info->ii_ExclusionOps != NULL && !in.has_null && !concord_storage_is_new(index))
		{
			/* The executor looks for other rows with the key; only adjudication sees those not committed yet. */
			(void) take_key(&in, LockWaitBlock);
			in.newest = concord_read_point_for(index, SnapshotAny);
			check_absent(&in);
		}
		value = concord_form_entry(index, values, isnull, in.rowid, &size);
		satisfied = insert_plain(&in, value, size);
		pfree(value);
		return satisfied;
	}

	/* What is checked later once more is waited for then, as on heap. */
	deferred = check_unique == UNIQUE_CHECK_PARTIAL && !index->rd_index->indimmediate;
	undecided = !take_key(&in, deferred ? LockWaitSkip : LockWaitBlock);
	in.newest = concord_read_point_for(index, SnapshotAny);
	if (check_unique == UNIQUE_CHECK_EXISTING)
	{
		check_existing(&in);
		return true;
	}
	value = concord_form_entry(index, values, isnull, in.rowid, &size);
	if (concord_key_is_whole_body(in.ix, in.columns_size, in.has_null))
		satisfied = insert_unique(&in, check_unique, value, size);
	else
		satisfied = insert_beside(&in, check_unique, undecided, value, size);
	pfree(value);
	return satisfied;
}
