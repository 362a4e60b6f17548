/*
 * build.h
 *		What an index build learns about each row version besides its columns.
 */
#ifndef CONCORD_TABLEAM_BUILD_H
#define CONCORD_TABLEAM_BUILD_H

#include "concord.h"

#include "utils/relcache.h"

/* In place of an LSN: of the running transaction, which has none yet. Higher than all. */
#define CONCORD_OWN_LSN ((uint64) PG_INT64_MAX)

/*
 * The life of the version with which the build callback is being called: commit LSN of the version itself, and of its successor
 * or deletion (0: it is the current one). The callback's is_alive says the same. An entry with that life is visible exactly
 * to the snapshots that see the version.
 */
typedef struct ConcordVersionLife
{
	uint64		begin;
	uint64		end;
} ConcordVersionLife;

extern ConcordVersionLife concord_build_version;

/* How far a scan is, for pg_stat_progress_create_index: in the pages that the table would have on heap, as its size is. */
typedef struct ConcordScanProgress
{
	uint64		pages;			/* 0: nobody asks */
	uint64		pages_done;
	uint64		rows;			/* that are expected */
} ConcordScanProgress;

void		concord_progress_begin(ConcordScanProgress *progress, Relation table);
void		concord_progress_note(ConcordScanProgress *progress, double rows_done);
void		concord_progress_end(ConcordScanProgress *progress);

#endif
