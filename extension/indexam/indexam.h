/*
 * The index access method: concord_btree. It takes btree's operator classes and keeps its entries in storage's ordered keyspace.
 *
 *   entry body  := column+ [rowid u64be]          columns as core/key_encoding.h, in index order; if long, as core/long_key.h
 *   entry value := rowid u64le | index tuple      what index_form_tuple makes of key and INCLUDE columns
 *
 * The rowid is left out of the body of a unique, immediate index unless a key column is NULL (and NULLs are distinct) or has
 * a lossy encoding: two inserters of one key then write the same key, and the adjudicator lets only one of them commit. An
 * entry that is visible at a read point is exact, so nothing is ever rechecked against the row, and the columns need not be
 * decoded.
 */
#ifndef CONCORD_INDEXAM_H
#define CONCORD_INDEXAM_H

#include "concord.h"

#include "access/genam.h"
#include "access/itup.h"
#include "access/skey.h"

#include "bridge/encoding.h"

/* ---- how values are encoded (encoder.c) ---- */
typedef enum ConcordEncoding
{
	CONCORD_BOOL,
	CONCORD_CHAR,				/* "char" */
	CONCORD_INT2,
	CONCORD_INT4,
	CONCORD_INT8,				/* and money */
	CONCORD_UINT4,				/* oid */
	CONCORD_UINT8,				/* pg_lsn, xid8 */
	CONCORD_FLOAT4,
	CONCORD_FLOAT8,
	CONCORD_NUMERIC,
	CONCORD_TEXT,
	CONCORD_NAME,
	CONCORD_BPCHAR,
	CONCORD_BYTEA,
	CONCORD_BITS,
	CONCORD_UUID,
	CONCORD_DATE,
	CONCORD_TIME,
	CONCORD_TIMETZ,
	CONCORD_TIMESTAMP,
	CONCORD_TIMESTAMPTZ,
	CONCORD_INTERVAL,
	CONCORD_NETWORK,
	CONCORD_MACADDR,
	CONCORD_MACADDR8,
	CONCORD_ENUM,
	CONCORD_TID,
	CONCORD_ARRAY,
	CONCORD_RANGE,
	CONCORD_MULTIRANGE,
	CONCORD_ROW,
	CONCORD_ROW_IMAGE,			/* record_image_ops: a row by the bytes of its columns */
	CONCORD_HASH				/* any other type, by its hash function */
} ConcordEncoding;

typedef struct ConcordEncoder ConcordEncoder;
struct ConcordEncoder
{
	ConcordEncoding encoding;
	bool		ordered;		/* order of bytes is the order of values; otherwise only equality holds */
	bool		lossy;			/* values that are not equal may have the same bytes */
	Oid			type;			/* without domains */
	Oid			collation;
	struct pg_locale_struct *icu;	/* text: encoded as sort key of this collation; NULL: as its bytes */
	struct TypeCacheEntry *typcache;	/* array: of its element; range and multirange: of the range */
	struct FmgrInfo *hash;
	int			part_count;
	ConcordEncoder **parts;		/* array: element; range and multirange: bound; row: each attribute that is not dropped */
};

/*
 * The encoder of what an operator class compares by `comparison` and has `equality` for, in the caller's memory context. NULL
 * if there is none; then *refused is the type that has none, `type` itself or what it consists of.
 */
ConcordEncoder *concord_encoder_create(RegProcedure comparison, Oid equality, Oid type, Oid collation, Oid *refused);
/* The same for the type's default btree operator class. */
ConcordEncoder *concord_encoder_create_default(Oid type, Oid collation, Oid *refused);
bool		concord_encoder_equal(const ConcordEncoder *a, const ConcordEncoder *b);
/* Appends a value that is not NULL (encode.c). */
void		concord_encode_value(const ConcordEncoder *encoder, Datum value, CcKey *key);

/* ---- text by its collation (collation.c) ---- */
/* Sets `ordered` and `icu`. */
void		concord_encoder_set_collation(ConcordEncoder *encoder, Oid collation);
void		concord_encode_sort_key(const ConcordEncoder *encoder, const char *text, size_t size, CcKey *key);

/* ---- arrays, ranges and rows (compound.c) ---- */
void		concord_encode_compound(const ConcordEncoder *encoder, Datum value, CcKey *key);
/*
 * False if the value is none of the encoder's type, which operators for any array or row let through: to compare it with one
 * that is raises an error.
 */
bool		concord_encoder_accepts(const ConcordEncoder *encoder, Datum value);

/* ---- columns (columns.c) ---- */
typedef struct ConcordColumn
{
	const ConcordEncoder *encoder;
	Oid			type;			/* the operator class's input type */
	bool		descending;
	bool		nulls_first;
} ConcordColumn;

typedef struct ConcordIndex
{
	Oid			relid;			/* hash key */
	bool		valid;
	bool		unique;
	bool		immediate;
	bool		nulls_not_distinct;
	bool		ordered;		/* all key columns are */
	bool		lossy;			/* some key column is */
	int			key_count;
	ConcordColumn columns[INDEX_MAX_KEYS];
} ConcordIndex;

/*
 * What the index's columns are; raises 0A000 for a column that cannot be indexed. The answer stays where it is for the
 * backend's life and is refilled when the index changes.
 */
const ConcordIndex *concord_index_describe(Relation index);
/*
 * Raises 0A000 unless a key column of this type can be indexed, and records what its encoding depends on: for an index whose
 * relcache entry is not finished yet.
 */
void		concord_index_check_column(Oid indexid, Oid type, Oid opclass, Oid collation);
/* False if some key column's encoding does not have the order of its values: then the planner must not take the index for
 * ordered. */
bool		concord_index_is_ordered(Relation index);
/* True if the columns, whose encodings are the same, are equal, too: where encodings are lossy that is to be asked. */
bool		concord_index_same_key(Relation index, const ConcordIndex *ix, Datum *values, Datum *others, bool *isnull);

/* ---- encoding (encode.c) ---- */
/* An entry body on the stack. */
typedef struct ConcordBody
{
	CcKey		key;
	uint8		bytes[CC_MAX_ENTRY_BODY];
} ConcordBody;

static inline void
concord_body_init(ConcordBody *body)
{
	body->key.data = body->bytes;
	body->key.size = 0;
	body->key.capacity = CC_MAX_ENTRY_BODY;
}

static inline bool
concord_body_fits(const ConcordBody *body)
{
	return body->key.size <= body->key.capacity;
}

/* Appends the key columns. */
void		concord_encode_columns(const ConcordIndex *ix, Datum *values, bool *isnull, CcKey *key, bool *has_null);
/* The whole entry body; *columns_size is its part without the rowid. */
void		concord_encode_body(Relation index, const ConcordIndex *ix, Datum *values, bool *isnull, uint64 rowid,
								ConcordBody *body, size_t *columns_size, bool *has_null);
/* True if a body of this size, or the columns in it, are shortened (long_key.c). */
static inline bool
concord_is_shortened(size_t size)
{
	return size >= CC_SHORTENED_COLUMNS;
}
/* True if columns that are not equal may have these bytes; then concord_same_key tells. */
static inline bool
concord_key_is_lossy(const ConcordIndex *ix, size_t columns_size)
{
	return ix->lossy || concord_is_shortened(columns_size);
}
/* True if the columns alone identify an entry, and so the body has no rowid. */
static inline bool
concord_key_is_whole_body(const ConcordIndex *ix, size_t columns_size, bool has_null)
{
	return ix->unique && ix->immediate && !concord_key_is_lossy(ix, columns_size) && (!has_null || ix->nulls_not_distinct);
}
/* True if no two entries may have equal columns. */
static inline bool
concord_key_is_unique(const ConcordIndex *ix, bool has_null)
{
	return ix->unique && (!has_null || ix->nulls_not_distinct);
}

/*
 * A comparison argument of a scan key, in the column's encoding.
 * EXACT: `low` is the argument itself. BETWEEN: what compares equal lies in low..high, what is less is not above high, what is
 * greater not below low (in the order of values, not of bytes). UNKNOWN: no bound can be given.
 */
typedef enum ConcordArgument
{
	CONCORD_ARGUMENT_EXACT, CONCORD_ARGUMENT_BETWEEN, CONCORD_ARGUMENT_UNKNOWN
} ConcordArgument;
ConcordArgument concord_encode_argument(const ConcordColumn *column, Oid type, Datum argument, CcKey *low, CcKey *high);

/* ---- entry values (encode.c, long_key.c) ---- */
#define CONCORD_ENTRY_HEADER sizeof(uint64)
/* palloc'd. Raises 54000 if the index tuple is longer than a btree takes. */
uint8	   *concord_form_entry(Relation index, Datum *values, bool *isnull, uint64 rowid, size_t *size);
void		concord_raise_malformed(Relation index) pg_attribute_noreturn();
/* The columns in an entry's value; they point into the palloc'd tuple that is returned. */
IndexTuple	concord_deform_entry(Relation index, const uint8 *value, size_t size, Datum *values, bool *isnull);
static inline uint64
concord_entry_rowid(const uint8 *value)
{
	uint64		rowid;

	memcpy(&rowid, value, sizeof(rowid));
	return rowid;
}

/* ---- long keys (long_key.c) ---- */
/* Shortens the columns that a body was too small for, or is not to hold. */
void		concord_shorten_columns(const ConcordIndex *ix, Datum *values, bool *isnull, CcKey *body);
/* Makes room for `size` bytes in palloc'd memory, however large; `data` may be NULL. */
void		concord_key_reserve(CcKey *key, size_t size);
/* The whole columns into `key`, which grows if need be. */
void		concord_whole_columns(const ConcordIndex *ix, Datum *values, bool *isnull, CcKey *key);
/* True if columns that have the same bytes of this size in a body are equal. */
bool		concord_same_key(Relation index, const ConcordIndex *ix, size_t columns_size, Datum *values, bool *isnull,
							 Datum *others, bool *others_isnull);

/* ---- scans (scan.c; keys in scan_keys.h, long keys in group.h) ---- */
IndexScanDesc concord_ambeginscan(Relation index, int nkeys, int norderbys);
void		concord_amrescan(IndexScanDesc scan, ScanKey keys, int nkeys, ScanKey orderbys, int norderbys);
bool		concord_amgettuple(IndexScanDesc scan, ScanDirection direction);
int64		concord_amgetbitmap(IndexScanDesc scan, TIDBitmap *tbm);
void		concord_amendscan(IndexScanDesc scan);
void		concord_ammarkpos(IndexScanDesc scan);
void		concord_amrestrpos(IndexScanDesc scan);
/* Of a scan that may not go on for long: gives its view of the replica up. */
void		concord_index_rest(IndexScanDesc scan);

/* ---- writes (insert.c, build.c, validate.c) ---- */
bool		concord_aminsert(Relation index, Datum *values, bool *isnull, ItemPointer heap_tid, Relation table,
							 IndexUniqueCheck check_unique, bool index_unchanged, struct IndexInfo *index_info);
struct IndexBuildResult *concord_ambuild(Relation table, Relation index, struct IndexInfo *index_info);
void		concord_ambuildempty(Relation index);

/* ---- rows against entries (validate.c) ---- */
/*
 * CREATE INDEX CONCURRENTLY's last step, for index_validate_scan: makes the entries those of the rows. Rows keep their TID
 * when they change, so comparing TIDs as heap does would find neither an entry that became wrong while the index was not
 * maintained yet nor one that is missing beside it.
 */
void		concord_index_validate(Relation table, Relation index, struct IndexInfo *index_info, Snapshot snapshot,
								   double *rows, double *added);
/* Computes the entry body that a row should have. */
typedef struct ConcordRowKey ConcordRowKey;
ConcordRowKey *concord_row_key_begin(Relation table, Relation index, struct IndexInfo *index_info);
/* Of the row as it is now. False if there is no such row or the index's predicate excludes it. */
bool		concord_row_key_now(ConcordRowKey *row_key, uint64 rowid, ConcordBody *body);
/* Of the row in the slot. False if the index's predicate excludes it. */
bool		concord_row_key_of_slot(ConcordRowKey *row_key, TupleTableSlot *slot, uint64 rowid, ConcordBody *body);
/* True if the columns of the row whose body was computed last, encoded as `values` are, are equal to them. */
bool		concord_row_key_same(ConcordRowKey *row_key, Datum *values);
void		concord_row_key_end(ConcordRowKey *row_key);

/* ---- planning (cost.c) ---- */
/* Size for IndexOptInfo, as of about now. */
void		concord_index_estimate(Relation index, BlockNumber *pages, double *tuples);
struct PlannerInfo;
struct IndexPath;
void		concord_amcostestimate(struct PlannerInfo *root, struct IndexPath *path, double loop_count, Cost *startup_cost,
								   Cost *total_cost, Selectivity *selectivity, double *correlation, double *pages);

#endif
