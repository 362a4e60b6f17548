/*
 * Removal of the entries that an UPDATE or DELETE makes wrong.
 *
 * Heap leaves old entries to vacuum; ours are exact, so the table access method calls here for each row that it changes. This
 * is on the path of every UPDATE: where no indexed column differs, nothing is opened, locked or encoded.
 *
 * What is known of a table's indexes is kept per backend until any relation changes. Expressions and predicates need an
 * EState, and that does not outlive the transaction: tables with such indexes are looked at anew in each. Evaluation may run
 * user code that updates the same table; then the inner call works on a copy of its own.
 */
#include "indexam/indexam.h"

#include "catalog/index.h"
#include "executor/executor.h"
#include "storage/proc.h"
#include "utils/datum.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "xact/intent.h"

typedef struct IndexKnown
{
	Oid			relid;
	bool		ready;
	bool		evaluated;		/* has expressions or a predicate */
	bool		is_key;			/* a change of its key is a change of the row's key, as heap understands it */
	IndexInfo  *info;
} IndexKnown;

typedef struct TableKnown
{
	int			count;
	IndexKnown *indexes;
	EState	   *estate;			/* NULL unless some index is evaluated */
	bool		in_use;
} TableKnown;

typedef struct KnownEntry
{
	Oid			relid;			/* hash key */
	TableKnown *table;			/* NULL: none */
	MemoryContext context;		/* that of `table` */
	uint64		generation;
	LocalTransactionId lxid;	/* the only transaction where `table` is there; invalid: it stays */
} KnownEntry;

static HTAB *known;
static uint64 generation = 1;

static void
invalidate(Datum arg, Oid relid)
{
	generation++;
}

static void
learn_index(Relation rel, Oid relid, IndexKnown *index)
{
	Relation	opened = index_open(relid, RowExclusiveLock);

	index->relid = relid;
	index->info = BuildIndexInfo(opened);
	index->ready = index->info->ii_ReadyForInserts;
	index->evaluated = index->info->ii_Expressions != NIL || index->info->ii_Predicate != NIL;
	index->is_key = opened->rd_index->indisunique && opened->rd_index->indimmediate && !index->evaluated;
	index_close(opened, NoLock);
}

static TableKnown *
learn_table(Relation rel, KnownEntry *entry)
{
	List	   *relids = RelationGetIndexList(rel);
	MemoryContext context = AllocSetContextCreate(TopTransactionContext, "Concord table indexes", ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	TableKnown *table = palloc0(sizeof(TableKnown));
	uint64		learnt_at = generation;
	bool		evaluates = false;
	ListCell   *cell;

	table->indexes = palloc0(Max(list_length(relids), 1) * sizeof(IndexKnown));
	foreach(cell, relids)
	{
		IndexKnown *index = &table->indexes[table->count++];

		learn_index(rel, lfirst_oid(cell), index);
		evaluates |= index->evaluated;
	}
	if (evaluates)
		table->estate = CreateExecutorState();
	else
		MemoryContextSetParent(context, CacheMemoryContext);
	MemoryContextSwitchTo(caller);
	list_free(relids);

	entry->table = table;
	entry->context = context;
	entry->generation = learnt_at;
	entry->lxid = evaluates ? MyProc->lxid : InvalidLocalTransactionId;
	return table;
}

static TableKnown *
table_known(Relation rel)
{
	Oid			relid = RelationGetRelid(rel);
	KnownEntry *entry;
	bool		found;

	if (known == NULL)
	{
		HASHCTL		control = {.keysize = sizeof(Oid), .entrysize = sizeof(KnownEntry)};

		known = hash_create("Concord table indexes", 64, &control, HASH_ELEM | HASH_BLOBS);
		CacheRegisterRelcacheCallback(invalidate, (Datum) 0);
	}
	entry = hash_search(known, &relid, HASH_ENTER, &found);
	if (!found)
		entry->table = NULL;
	if (entry->table != NULL && LocalTransactionIdIsValid(entry->lxid) && entry->lxid != MyProc->lxid)
		entry->table = NULL;	/* went with its transaction */
	if (entry->table != NULL && entry->generation == generation && !entry->table->in_use)
		return entry->table;

	if (entry->table != NULL && !entry->table->in_use)
		MemoryContextDelete(entry->context);
	entry->table = NULL;
	return learn_table(rel, entry);
}

/* True if the versions agree, byte for byte, in all columns of an index that evaluates nothing. */
static bool
columns_unchanged(Relation rel, const IndexInfo *info, TupleTableSlot *old_slot, TupleTableSlot *new_slot)
{
	TupleDesc	descriptor = RelationGetDescr(rel);

	for (int i = 0; i < info->ii_NumIndexAttrs; i++)
	{
		AttrNumber	attno = info->ii_IndexAttrNumbers[i];
		Form_pg_attribute attribute = TupleDescAttr(descriptor, attno - 1);
		bool		old_null,
					new_null;
		Datum		old_value = slot_getattr(old_slot, attno, &old_null);
		Datum		new_value = slot_getattr(new_slot, attno, &new_null);

		if (old_null != new_null ||
			(!old_null && !datum_image_eq(old_value, new_value, attribute->attbyval, attribute->attlen)))
			return false;
	}
	return true;
}

/* One version's entry. */
typedef struct Entry
{
	bool		exists;			/* the predicate admits the version */
	bool		has_null;
	size_t		columns_size;
	ConcordBody body;
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];
} Entry;

static void
entry_of(Relation index, const ConcordIndex *ix, IndexInfo *info, EState *estate, TupleTableSlot *slot, uint64 rowid,
		 Entry *entry)
{
	entry->exists = slot != NULL;
	if (slot == NULL)
		return;
	if (estate != NULL)
	{
		ExprContext *context = GetPerTupleExprContext(estate);

		context->ecxt_scantuple = slot;
		if (info->ii_Predicate != NIL)
		{
			if (info->ii_PredicateState == NULL)
				info->ii_PredicateState = ExecPrepareQual(info->ii_Predicate, estate);
			entry->exists = ExecQual(info->ii_PredicateState, context);
			if (!entry->exists)
				return;
		}
	}
	FormIndexDatum(info, slot, estate, entry->values, entry->isnull);
	concord_encode_body(index, ix, entry->values, entry->isnull, rowid, &entry->body, &entry->columns_size,
						&entry->has_null);
}

static bool
same_body(const Entry *a, const Entry *b)
{
	return a->body.key.size == b->body.key.size && memcmp(a->body.bytes, b->body.bytes, a->body.key.size) == 0;
}

/* The same key may still mean another payload: INCLUDE columns, 1.0 for 1.00. */
static bool
same_value(Relation index, Entry *a, Entry *b, uint64 rowid)
{
	size_t		a_size,
				b_size;
	uint8	   *a_value = concord_form_entry(index, a->values, a->isnull, rowid, &a_size);
	uint8	   *b_value = concord_form_entry(index, b->values, b->isnull, rowid, &b_size);
	bool		same = a_size == b_size && memcmp(a_value, b_value, a_size) == 0;

	pfree(a_value);
	pfree(b_value);
	return same;
}

/* Removes the entry of a key without a rowid, if it is this row's: another row may have taken the key in this command. */
static void
delete_if_own(uint64 prefix, const uint8 *body, size_t size, uint64 rowid, uint64 newest_lsn, uint32 cid)
{
	CcVisible	visible;
	CcStatus	status = cc_visible_get(prefix, body, size, newest_lsn, CC_ALL_COMMANDS, &visible);
	bool		own;

	if (status == CC_END)
		return;
	concord_check(status);
	own = concord_entry_rowid(visible.entry.value) == rowid;
	if (visible.entry.view != NULL)
		cc_view_unpin(visible.entry.view);
	if (own)
		concord_check(cc_ws_delete(prefix, body, size, cid));
}

static void
remove_entry(Relation index, const ConcordIndex *ix, Entry *entry, uint64 rowid, uint32 cid, uint64 observed_lsn)
{
	uint64		prefix = concord_entry_prefix(concord_storage_id(index));
	const uint8 *bytes = entry->body.bytes;
	uint64		newest_lsn;

	/* A body with a rowid is this row's. */
	if (!concord_key_is_whole_body(ix, entry->columns_size, entry->has_null))
		concord_check(cc_ws_delete(prefix, bytes, entry->body.key.size, cid));
	if (!concord_key_is_unique(ix, entry->has_null))
		return;
	/* A deferrable index may hold entries without, from the time before it became deferrable. */
	newest_lsn = concord_read_point_for(index, SnapshotAny).lsn;
	delete_if_own(prefix, bytes, entry->columns_size, rowid, newest_lsn, cid);
	/* Nobody else can see a row observed at 0; what was observed by an earlier write is known at the newest LSN as well. */
	if (observed_lsn != 0 && !concord_storage_is_new(index))
	{
		/* Inserters of the key on this server wait for the outcome; one that waits for the row already need not be waited for. */
		ConcordIntentKey key = {.prefix = prefix, .body = bytes, .body_size = entry->columns_size, .rel = index,
			.oper = XLTW_None};

		(void) concord_intent_take(&key, CC_UPDATE, LockWaitSkip);
		concord_check(cc_ws_check(prefix, bytes, entry->columns_size, CC_ABSENT, Min(observed_lsn, newest_lsn)));
	}
}

/* Returns true if the new version needs an entry of its own. */
static bool
maintain_index(IndexKnown *known_index, EState *estate, TupleTableSlot *old_slot, TupleTableSlot *new_slot, uint64 rowid,
			   uint32 cid, uint64 observed_lsn, bool *key_changed)
{
	Relation	index = index_open(known_index->relid, RowExclusiveLock);
	const ConcordIndex *ix = concord_index_describe(index);
	Entry		old_entry,
				new_entry;
	bool		needs_entry;

	if (!known_index->evaluated)
		estate = NULL;
	entry_of(index, ix, known_index->info, estate, old_slot, rowid, &old_entry);
	entry_of(index, ix, known_index->info, estate, new_slot, rowid, &new_entry);
	if (old_entry.exists && new_entry.exists && same_body(&old_entry, &new_entry))
	{
		needs_entry = !same_value(index, &old_entry, &new_entry, rowid);
		/* Of a lossy key nobody knows whether it is the same. */
		*key_changed |= needs_entry && known_index->is_key && concord_key_is_lossy(ix, new_entry.columns_size);
	}
	else
	{
		if (old_entry.exists)
			remove_entry(index, ix, &old_entry, rowid, cid, observed_lsn);
		needs_entry = new_entry.exists;
		*key_changed |= known_index->is_key;
	}
	index_close(index, NoLock);
	return needs_entry;
}

bool
concord_index_maintain(Relation rel, TupleTableSlot *old_slot, TupleTableSlot *new_slot, uint64 rowid, uint32 cid,
					   uint64 observed_lsn, bool *key_changed)
{
	TableKnown *table;
	bool		needs_entries = false;

	*key_changed = false;
	if (!rel->rd_rel->relhasindex)
		return false;
	table = table_known(rel);
	for (int i = 0; i < table->count; i++)
	{
		IndexKnown *index = &table->indexes[i];

		if (!index->ready)
			continue;
		if (new_slot != NULL && !index->evaluated && columns_unchanged(rel, index->info, old_slot, new_slot))
			continue;
		table->in_use = table->estate != NULL;
		needs_entries |= maintain_index(index, table->estate, old_slot, new_slot, rowid, cid, observed_lsn, key_changed);
		table->in_use = false;
	}
	if (table->estate != NULL)
		ResetPerTupleExprContext(table->estate);
	return needs_entries;
}
