/*
 * Reads from storage replicas on other machines.
 *
 * The functions of replica.h and write_set.h read the replica on this machine if there is one that has applied the read LSN, and
 * ask the gateway otherwise: it knows all replicas, and which of them answers fastest. Requests and answers go through a
 * unix socket of the gateway's (core/read_wire.h), so that a backend may die, or give up, at any moment, and the gateway may
 * be started again: requests are sent again then. Rows that have come are good as long as their view is pinned, as
 * those of the map are.
 *
 * What waits for an answer waits in the bridge; it returns CC_INTERRUPTED when the process has interrupts to serve, or every second.
 * Same wall rules as replica.h.
 */
#ifndef CONCORD_BRIDGE_REMOTE_H
#define CONCORD_BRIDGE_REMOTE_H

#include "bridge/replica.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum CcReadWait
{
	CC_WAITS_NOT,
	CC_WAITS_FLUSH,				/* of the map's replica: what it has taken is not there for scans yet */
	CC_WAITS_REMOTE,			/* another machine's replica */
} CcReadWait;

typedef struct CcRemoteOptions
{
	const char *socket;			/* the gateway's; a path, which may be relative */
	const volatile int *interrupted;	/* not 0: there are interrupts to serve; NULL: never */
	const int  *timeout_ms;		/* for an answer */
	void		(*waiting) (CcReadWait wait);	/* may be NULL; must not raise */
} CcRemoteOptions;

void		cc_remote_setup(const CcRemoteOptions *options);
/* `enabled`: there are replicas that the gateway can ask. `only`: they alone are to be read. Cheap. */
void		cc_remote_set(bool enabled, bool only);

/*
 * Rows that will be wanted soon, in this order: where they do not lie on this machine, those that are not at hand are fetched in one
 * request. `ready`: how many of the first are at hand now; to be called again when they have been used.
 */
CcStatus	cc_rows_ahead_try(uint64_t prefix, uint64_t lsn, const uint64_t *rowids, size_t count, size_t *ready);

/* A range of an index that a scan will be placed at, and told to expect (cc_scan_seek, cc_scan_expect). */
typedef struct CcRange
{
	uint64_t	prefix;
	uint64_t	rows_of;
	uint64_t	rows_too;		/* prefix of rows that will be wanted later, though the scan does not expect them; 0: none */
	const void *low;
	const void *high;			/* NULL: to the end of the index */
	size_t		low_size;
	size_t		high_size;
	bool		backward;		/* it begins at the high end */
} CcRange;

/*
 * Scans that will be begun soon, in this order: where they do not read this machine's replica, the first batches of those that are not
 * at hand are fetched in one request, with their rows; the scans then find them. `ready` as above; *asked: how many were asked for.
 */
CcStatus	cc_scans_ahead_try(uint64_t lsn, const CcRange *ranges, size_t count, size_t *ready, size_t *asked);

/* Counters are to be no older than this LSN. */
void		cc_remote_note(uint64_t lsn);
/* From now on, or no longer, counters are for estimates: what was learned lately will do. */
void		cc_remote_estimate(bool begins);

static inline CcStatus
cc_rows_ahead(uint64_t prefix, uint64_t lsn, const uint64_t *rowids, size_t count, size_t *ready)
{
	CcStatus	status;

	do
		status = cc_rows_ahead_try(prefix, lsn, rowids, count, ready);
	while (cc_served(status));
	return status;
}

static inline CcStatus
cc_scans_ahead(uint64_t lsn, const CcRange *ranges, size_t count, size_t *ready, size_t *asked)
{
	CcStatus	status;

	do
		status = cc_scans_ahead_try(lsn, ranges, count, ready, asked);
	while (cc_served(status));
	return status;
}

#ifdef __cplusplus
}
#endif
#endif
