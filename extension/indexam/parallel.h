/*
 * Parallel index scans. See parallel.c.
 */
#ifndef CONCORD_INDEX_PARALLEL_H
#define CONCORD_INDEX_PARALLEL_H

#include "indexam/scan_keys.h"

#include "bridge/write_set.h"

/* In the postmaster, when shared memory is made. */
void		concord_parallel_index_init(void);

Size		concord_amestimateparallelscan(void);
void		concord_aminitparallelscan(void *target);
void		concord_amparallelrescan(IndexScanDesc scan);

/*
 * Takes the next piece: makes the range of `keys` that piece. *range is the number of the range that the array elements stand at, 0
 * after concord_scan_keys_rewind. False when all has been taken. The cursor is to be placed anew.
 */
bool		concord_parallel_take(IndexScanDesc scan, ConcordScanKeys *keys, CcScan *cursor, uint64 *range,
								  ScanDirection direction);

#endif
