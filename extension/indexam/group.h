/*
 * Long keys in order.
 *
 * Entries whose columns are shortened and have the same beginning, a group, lie together, but in the order of hashes (core/long_key.h).
 * A scan that comes to the first of them, from whatever side, reads the group as far as it lies in the range, sorts it by the whole
 * columns, and goes on within the sort in both directions. What the range's bounds say of whole columns is looked at here too.
 *
 * A group of one entry, which is what keys without a long beginning in common are, is neither copied nor sorted; and the whole
 * columns of an entry are made only where a sort or a bound asks for them.
 */
#ifndef CONCORD_GROUP_H
#define CONCORD_GROUP_H

#include "indexam/scan_keys.h"

typedef struct ConcordGroup ConcordGroup;

ConcordGroup *concord_group_create(Relation index, ConcordScanKeys *keys);
void		concord_group_free(ConcordGroup *group);

/* Reads the group of `first`, which the cursor has just returned in this direction; the group then stands before its first entry. */
void		concord_group_read(ConcordGroup *group, CcScan *cursor, const CcEntry *first, bool backward);
/* What group an entry is of, and what its order is, has been read: all that may lie in the group and the range. */
void		concord_group_note(Relation index, const ConcordScanKeys *keys, const CcEntry *first);
/* True from concord_group_read until the group is left. */
bool		concord_group_is_open(const ConcordGroup *group);
/* The next entry in the direction; NULL at the end. It is good until the next call. */
const CcEntry *concord_group_next(ConcordGroup *group, bool backward);
/* Leaves the group in this direction: the cursor goes on behind it. */
void		concord_group_leave(ConcordGroup *group, CcScan *cursor, bool backward);
/* Leaves it for somewhere else. */
void		concord_group_close(ConcordGroup *group);

/* Places the cursor so that it comes to the group of a shortened body first. */
void		concord_group_seek(CcScan *cursor, const uint8 *body, bool backward);
/* From before the first entry to the one with this body, if it is of the group, as if that had been returned. */
void		concord_group_go_to(ConcordGroup *group, const uint8 *body, size_t size, bool backward);
/* Notes where the group stands. */
void		concord_group_mark(ConcordGroup *group);
/* Goes back to there; false if there has been no mark since the group was read. */
bool		concord_group_restore(ConcordGroup *group);

#endif
