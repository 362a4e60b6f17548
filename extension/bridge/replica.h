/*
 * The local storage replica as a backend sees it: LMDB's memory map, read-only, without RPC or copy. What it cannot serve, replicas on
 * other machines can (remote.h); the functions are the same.
 *
 * This header is the wall between C and C++ (docs/architecture.md, "The wall"): C callers are Postgres code and may longjmp;
 * the C++ behind it never calls Postgres, never throws across, never longjmps. Errors come back as CcStatus; the text of
 * the last one is cc_error().
 *
 * Views.  A CcView is one LMDB read transaction. LMDB keeps every page that an open view may reach, so a pointer into
 * the map is good as long as its view is pinned. A tuple slot that holds a mapped row pins its view, exactly as a
 * buffer heap slot pins its buffer. Views are pooled; the last unpin resets the transaction and frees LMDB's pages.
 * The LSN in the keys, not the view, is the snapshot: a view serves any read LSN up to the applied LSN that it holds
 * and not below the horizon that it holds.
 *
 * Not thread-safe; one backend, one thread. Nothing may be opened before fork.
 */
#ifndef CONCORD_BRIDGE_REPLICA_H
#define CONCORD_BRIDGE_REPLICA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum CcStatus
{
	CC_OK = 0,
	CC_END,				/* no (further) row */
	CC_NOT_APPLIED,		/* the replica has not applied the read LSN yet: wait and ask again */
	CC_TOO_OLD,			/* read LSN below the horizon: 72000 */
	CC_UNAVAILABLE,		/* no replica there (yet); not made, or its map cannot be opened */
	CC_READERS_FULL,	/* no LMDB reader slot free: 53300 */
	CC_CORRUPT,			/* bytes that we cannot have written: XX001 */
	CC_NO_MEMORY,
	CC_TOO_LARGE,
	CC_IO_ERROR,
	CC_INTERRUPTED		/* of the ..._try functions only: serve interrupts, and call again */
} CcStatus;

/*
 * What may have to wait for a replica on another machine has a name with _try and is called in a loop, which serves interrupts outside
 * of the bridge: that may raise.
 */
extern void (*cc_serve_interrupts) (void);

static inline bool
cc_served(CcStatus status)
{
	if (status != CC_INTERRUPTED || !cc_serve_interrupts)
		return false;
	cc_serve_interrupts();
	return true;
}

/* Text of the last error in this backend; never NULL. */
const char *cc_error(void);

typedef struct CcView CcView;

/*
 * Opens the map at `path` (a directory) if it is not open. Cheap when it is. CC_OK without a map too, where other machines' replicas
 * can be read (remote.h). An empty path: there is no replica on this machine.
 */
CcStatus	cc_replica_open(const char *path);
/* A view that has applied `lsn`, pinned once. CC_NOT_APPLIED if the replica is not there yet. */
CcStatus	cc_view_acquire(uint64_t lsn, CcView **view);
void		cc_view_pin(CcView *view);
void		cc_view_unpin(CcView *view);
/* Up to where the replica can be read by now. CC_UNAVAILABLE without a replica on this machine, or if it is not to be read. */
CcStatus	cc_replica_applied(uint64_t *lsn);
/*
 * Sleeps for at most `wait_us` microseconds: until the replica can be read further, if it could not be read at `lsn`; until a signal; or without a replica,
 * whole.
 */
void		cc_replica_await(uint64_t lsn, long wait_us);

/* Live rows or entries and their bytes (keys and values) of a storage, as of about now. */
CcStatus	cc_replica_counters_try(uint64_t prefix, uint64_t *rows, uint64_t *bytes);

static inline CcStatus
cc_replica_counters(uint64_t prefix, uint64_t *rows, uint64_t *bytes)
{
	CcStatus	status;

	do
		status = cc_replica_counters_try(prefix, rows, bytes);
	while (cc_served(status));
	return status;
}

/* A storage that holds something: live rows or entries, or versions of them that are not pruned yet. */
typedef struct CcStorage
{
	uint64_t	prefix;			/* tells rows from entries */
	uint64_t	rows;
	uint64_t	bytes;
} CcStorage;

/*
 * Up to `capacity` storages in the order of their prefixes, from the first one above `after` on; fewer than `capacity` at
 * the end. Those being dropped are not among them.
 */
CcStatus	cc_replica_storages_try(uint64_t after, CcStorage *storages, size_t capacity, size_t *count);

static inline CcStatus
cc_replica_storages(uint64_t after, CcStorage *storages, size_t capacity, size_t *count)
{
	CcStatus	status;

	do
		status = cc_replica_storages_try(after, storages, capacity, count);
	while (cc_served(status));
	return status;
}

/*
 * Visible value of one unversioned key (prefix and body) as of `lsn`; the value points into the map and is good while
 * the view that comes with it, pinned for the caller, is. CC_END if there is none.
 */
CcStatus	cc_replica_get_try(uint64_t lsn, const void *key, size_t key_size, const void **value, size_t *value_size,
							   uint64_t *version_lsn, CcView **view);

static inline CcStatus
cc_replica_get(uint64_t lsn, const void *key, size_t key_size, const void **value, size_t *value_size,
			   uint64_t *version_lsn, CcView **view)
{
	CcStatus	status;

	do
		status = cc_replica_get_try(lsn, key, key_size, value, value_size, version_lsn, view);
	while (cc_served(status));
	return status;
}

/*
 * A cursor over the keys of one storage, visible as of `lsn`, in either direction. It holds a pinned view while it is
 * positioned and moves to a fresh one by itself every so many rows, so that a long scan does not keep LMDB from
 * reusing pages; rows already returned stay good while the caller holds a pin of their view.
 */
typedef struct CcCursor CcCursor;

typedef struct CcEntry
{
	const uint8_t *key;			/* body only: without prefix and version */
	size_t		key_size;
	const uint8_t *value;
	size_t		value_size;
	uint64_t	lsn;			/* commit LSN of this version */
	CcView	   *view;			/* NOT pinned for the caller: pin to keep */
} CcEntry;

CcStatus	cc_cursor_open(uint64_t prefix, uint64_t lsn, CcCursor **cursor);
/* Places the cursor so that the next call of cc_cursor_next with the same direction returns the first entry with
 * body >= key (forward) or the last entry with body <= key (backward; a body that begins with all of `key` counts as
 * <= key if `prefix_match`). key_size 0: from the start, or from the end. */
CcStatus	cc_cursor_seek(CcCursor *cursor, const void *key, size_t key_size, bool backward, bool prefix_match);
/* The next visible entry in the direction of the last seek. May change direction: then it continues from the last
 * entry returned, exclusive. CC_END at the end, which may be asked again; the cursor then stands beyond the outermost
 * entry, and the other direction begins with that one, as a heap scan does. */
CcStatus	cc_cursor_next_try(CcCursor *cursor, bool backward, CcEntry *entry);

static inline CcStatus
cc_cursor_next(CcCursor *cursor, bool backward, CcEntry *entry)
{
	CcStatus	status;

	do
		status = cc_cursor_next_try(cursor, backward, entry);
	while (cc_served(status));
	return status;
}

void		cc_cursor_close(CcCursor *cursor);

/* Every version of the storage's keys up to the cursor's LSN and not below the horizon, tombstones (value_size 0) too,
 * newest first within a key. Forward only; not mixed with cc_cursor_next without a seek between. */
CcStatus	cc_cursor_next_version_try(CcCursor *cursor, CcEntry *entry);

static inline CcStatus
cc_cursor_next_version(CcCursor *cursor, CcEntry *entry)
{
	CcStatus	status;

	do
		status = cc_cursor_next_version_try(cursor, entry);
	while (cc_served(status));
	return status;
}

/* Closes all views and cursors (end of transaction after an error). */
void		cc_replica_reset(void);
/* Closes the map too and gives this process' reader slots back (end of the process). */
void		cc_replica_close(void);

#ifdef __cplusplus
}
#endif
#endif
