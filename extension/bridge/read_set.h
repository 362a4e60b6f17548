/*
 * What the running transaction has read, where that is to be checked when it commits (SERIALIZABLE).
 *
 * C face of core/read_set.h (a pure core, tested against a dumb model). One read set per backend, off unless it is begun. Scans note
 * what they pass by themselves, once they are told between which bounds that counts (cc_scan_note); point reads are noted
 * by who makes them. Same wall rules as replica.h.
 */
#ifndef CONCORD_BRIDGE_READ_SET_H
#define CONCORD_BRIDGE_READ_SET_H

#include "bridge/write_set.h"

#ifdef __cplusplus
extern "C" {
#endif

/* From now on reads are noted, until cc_reads_end. Over `limit` bytes the set becomes coarser. */
void		cc_reads_begin(size_t limit);
void		cc_reads_end(void);

/* The keys low <= body < high of a storage; no high: to its end. */
CcStatus	cc_reads_note(uint64_t prefix, const void *low, size_t low_size, const void *high, size_t high_size);
/* Whether a key is noted; what open scans have passed counts too. */
CcStatus	cc_reads_cover(uint64_t prefix, const void *body, size_t body_size, bool *covers);

/*
 * What the scan passes from now on, between the two bounds, counts as read: what lies between where it stands, which has been
 * sought just now, and where it stands later. No high: to the end of the storage.
 */
CcStatus	cc_scan_note(CcScan *scan, const void *low, size_t low_size, const void *high, size_t high_size);

#ifdef __cplusplus
}
#endif
#endif
