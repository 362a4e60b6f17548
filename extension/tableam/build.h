/*
 * build.h
 *		What an index build learns about each row besides its columns.
 */
#ifndef CONCORD_TABLEAM_BUILD_H
#define CONCORD_TABLEAM_BUILD_H

#include "concord.h"

/*
 * Commit LSN of the row version with which the build callback is being called; 0 for a version of the running transaction.
 * An entry stamped with it is visible exactly to the snapshots that see the version.
 */
extern uint64 concord_build_row_lsn;

#endif
