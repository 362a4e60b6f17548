/*
 * The write set of the running transaction: what it wrote and which keys are to be checked when it commits.
 *
 * C face of core/write_set.h (a pure core, tested against a dumb model). One write set per backend. Every version knows the
 * command that made it; savepoints roll back exactly. Same wall rules as replica.h.
 *
 * A version that replaces another one of the same row gets an alias: a number by which the executor's TID names exactly
 * this version (triggers need OLD and NEW at once). Aliases start at 1, are never reused within a transaction and
 * never leave the backend.
 */
#ifndef CONCORD_BRIDGE_WRITE_SET_H
#define CONCORD_BRIDGE_WRITE_SET_H

#include "bridge/replica.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CC_ALL_COMMANDS UINT32_MAX	/* sees every own write, whatever its command */

/* Values of core/lock_mode.h. */
typedef enum CcLockMode
{
	CC_KEY_SHARE = 0, CC_SHARE = 1, CC_NO_KEY_UPDATE = 2, CC_UPDATE = 3, CC_ABSENT = 4
} CcLockMode;

/* One own version of a key. Pointers are good until the version is rolled back or the write set is reset. */
typedef struct CcOwn
{
	const uint8_t *value;		/* NULL for a deletion */
	size_t		value_size;
	bool		deleted;
	bool		base_absent;	/* the key's oldest own version was put where nothing was: an insert */
	bool		newest;			/* no later own version of this key */
	uint32_t	cid;			/* command that made it */
	uint32_t	next_cid;		/* command that made the next newer own version; CC_ALL_COMMANDS if newest */
	uint64_t	alias;			/* 0: the key's own name reaches it */
} CcOwn;

/*
 * Adds a version. `value` is copied. `base_absent` says that no version of this key is known below the write set (an
 * insert); it matters only for the key's first own version. `want_alias` gives the version a number of its own, in *alias.
 * CC_TOO_LARGE where the write set would outgrow its limit.
 */
CcStatus	cc_ws_put(uint64_t prefix, const void *body, size_t body_size, const void *value, size_t value_size,
					  uint32_t cid, bool base_absent, bool want_alias, uint64_t *alias);
/* The same with a value that the caller writes to *room before anything else is done with the write set. */
CcStatus	cc_ws_put_space(uint64_t prefix, const void *body, size_t body_size, size_t value_size, uint32_t cid,
							bool base_absent, bool want_alias, uint64_t *alias, void **room);
/* Adds the first version of what was observed absent at an LSN, with the check that it still is when we commit. */
CcStatus	cc_ws_put_absent(uint64_t prefix, const void *body, size_t body_size, const void *value, size_t value_size,
							 uint32_t cid, uint64_t observed_lsn);
CcStatus	cc_ws_delete(uint64_t prefix, const void *body, size_t body_size, uint32_t cid);
/* Checks of one key merge: the stronger mode, the older observation. */
CcStatus	cc_ws_check(uint64_t prefix, const void *body, size_t body_size, CcLockMode mode, uint64_t observed_lsn);

/* Whose key a check is, and its mode, by the key's hash. False if there is none. */
bool		cc_ws_checked(uint64_t key_hash, uint64_t *prefix, CcLockMode *mode);

/* Overwrites the first bytes of the value of the newest own version that command `cid` made, unless it has been sent ahead. */
void		cc_ws_set_head(uint64_t prefix, const void *body, size_t body_size, uint32_t cid, const void *head,
						   size_t head_size);

/* Newest own version made before `curcid`. False if there is none (then the base version counts). */
bool		cc_ws_lookup(uint64_t prefix, const void *body, size_t body_size, uint32_t curcid, CcOwn *own);
/* Oldest own version of the key. False if there is none. */
bool		cc_ws_oldest(uint64_t prefix, const void *body, size_t body_size, CcOwn *own);
/* The version that an alias names, and its row. False if it was rolled back or never was. */
bool		cc_ws_alias(uint64_t alias, uint64_t *prefix, uint64_t *rowid, CcOwn *own);

bool		cc_ws_empty(void);				/* neither versions nor checks */
bool		cc_ws_has_writes(void);			/* any version */
bool		cc_ws_touches(uint64_t prefix);	/* any version of this storage */
/* Keys that the transaction has added to a storage, and bytes of them and their values; an estimate. */
void		cc_ws_added(uint64_t prefix, uint64_t *keys, uint64_t *bytes);
const uint64_t *cc_ws_changes(void);	/* grows whenever a key appears or disappears; the address stays */
size_t		cc_ws_bytes(void);
void		cc_ws_set_limit(size_t bytes);

/* Subtransactions: begin, then exactly one of the two. Nested ids grow. */
void		cc_ws_sub_begin(uint32_t subid);
void		cc_ws_sub_commit(uint32_t subid);
void		cc_ws_sub_abort(uint32_t subid);
void		cc_ws_reset(void);

/*
 * A copy of all versions, for a process that reads with them and commits nothing (core/write_set_copy.h), in memory that
 * is to be freed; and taking one up, into an empty write set.
 */
CcStatus	cc_ws_copy_make(const void **copy, size_t *size);
void		cc_ws_copy_free(void);
CcStatus	cc_ws_copy_take(const void *copy, size_t size);

/* Forgets all versions of a storage (it was created and dropped, or truncated, in this transaction). */
void		cc_ws_forget(uint64_t prefix);

/*
 * Before the commit: bytes that can be sent ahead, 0 while a subtransaction is open; and a staged chunk of them, which then count as
 * sent. The chunk's memory stays good during CC_CHUNKS_UNDER_WAY more calls.
 */
size_t		cc_ws_unsent_bytes(void);
CcStatus	cc_ws_encode_ahead(const uint8_t token[16], uint32_t sequence, const void **chunk, size_t *size);
/* What was sent ahead is to be encoded again. */
void		cc_ws_forget_sent(void);

/*
 * The encoded parts for commit: zero or more chunks, then the write set itself (core/wire.h). Returns CC_END after the last.
 * `is_write_set` is true for the last part. The memory is the write set's own and stays good during
 * CC_CHUNKS_UNDER_WAY more calls. `chunks_ahead` chunks have been sent before. `reads_lsn` is that of what is noted as read
 * (read_set.h), which then goes in front of the write set; 0: it does not. Start again with cc_ws_encode_begin. The write set must not
 * change in between.
 */
CcStatus	cc_ws_encode_begin(const uint8_t token[16], uint64_t read_lsn, uint32_t chunks_ahead, uint64_t reads_lsn);
CcStatus	cc_ws_encode_next(const void **part, size_t *size, bool *is_write_set);

/*
 * Replica and write set as one: what this transaction sees of a storage. Same contract as CcCursor; an own version visible at
 * `curcid` hides the replica's. Stays correct while the write set changes under it.
 */
typedef struct CcScan
{
	/* What is read ahead of the replica; for cc_scan_take alone. */
	const CcEntry *next;
	const CcEntry *end;
	const uint64_t *changes;	/* the write set's count of changes */
	uint64_t	unmerged_at;	/* the count at which the transaction had written nothing of this storage */
	bool		backward;		/* direction of what is read ahead */
} CcScan;

typedef struct CcVisible
{
	CcEntry		entry;			/* lsn 0 and view NULL for an own version */
	CcOwn		own;			/* set if is_own */
	bool		is_own;
} CcVisible;

CcStatus	cc_scan_open(uint64_t prefix, uint64_t lsn, uint32_t curcid, CcScan **scan);
CcStatus	cc_scan_seek(CcScan *scan, const void *key, size_t key_size, bool backward, bool prefix_match);
CcStatus	cc_scan_next_try(CcScan *scan, bool backward, CcVisible *visible);

static inline CcStatus
cc_scan_next(CcScan *scan, bool backward, CcVisible *visible)
{
	CcStatus	status;

	do
		status = cc_scan_next_try(scan, backward, visible);
	while (cc_served(status));
	return status;
}

/*
 * Where reads are remote: nothing is wanted below `low` or from `high` on (NULL: no bound), and of the entries' rows, whose prefix is
 * `rows_of`, all will be wanted (0: none). A hint about what to read ahead, until the next one; it changes no result.
 */
CcStatus	cc_scan_expect(CcScan *scan, const void *low, size_t low_size, const void *high, size_t high_size, uint64_t rows_of);

/*
 * The next entry if it has been read ahead and there is nothing to merge it with; NULL says to call cc_scan_next. It is good
 * until the next call of that, as are those behind it up to scan->end.
 */
static inline const CcEntry *
cc_scan_take(CcScan *scan, bool backward)
{
	if (scan->next == scan->end || scan->backward != backward || scan->unmerged_at != *scan->changes)
		return NULL;			/* NOLINT(modernize-use-nullptr): C reads this too */
	return scan->next++;
}

/* The entry that cc_scan_take would return, which stays there. */
static inline const CcEntry *
cc_scan_ahead(const CcScan *scan, bool backward)
{
	if (scan->next == scan->end || scan->backward != backward || scan->unmerged_at != *scan->changes)
		return NULL;			/* NOLINT(modernize-use-nullptr): C reads this too */
	return scan->next;
}
/* What cc_scan_next would return; the scan stays where it is. What it has returned is good no longer, as after cc_scan_next. */
CcStatus	cc_scan_peek_try(CcScan *scan, bool backward, CcVisible *visible);

static inline CcStatus
cc_scan_peek(CcScan *scan, bool backward, CcVisible *visible)
{
	CcStatus	status;

	do
		status = cc_scan_peek_try(scan, backward, visible);
	while (cc_served(status));
	return status;
}

/*
 * Gives up the view that the scan holds, and what is read ahead. The scan goes on from where it stands, in a fresh view; entries
 * that it has returned stay good for those who have pinned their view.
 */
CcStatus	cc_scan_rest(CcScan *scan);
void		cc_scan_close(CcScan *scan);
/* One key; a mapped value comes with entry.view pinned for the caller. CC_END if nothing is visible. */
CcStatus	cc_visible_get_try(uint64_t prefix, const void *body, size_t body_size, uint64_t lsn, uint32_t curcid,
							   CcVisible *visible);

static inline CcStatus
cc_visible_get(uint64_t prefix, const void *body, size_t body_size, uint64_t lsn, uint32_t curcid, CcVisible *visible)
{
	CcStatus	status;

	do
		status = cc_visible_get_try(prefix, body, body_size, lsn, curcid, visible);
	while (cc_served(status));
	return status;
}

#ifdef __cplusplus
}
#endif
#endif
