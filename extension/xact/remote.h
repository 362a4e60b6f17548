/*
 * Which storage replica a read goes to.
 */
#ifndef CONCORD_REMOTE_H
#define CONCORD_REMOTE_H

#include "concord.h"

#include "bridge/remote.h"

/* The gateway's socket for reads; relative to the data directory. */
const char *concord_reads_socket(void);

/*
 * Whether what was committed up to `lsn` can be read now: this machine's replica has applied it, or others are to be asked, who wait for
 * it themselves. *applied is set to what this machine's has applied, if there is one; *status tells why not.
 */
bool		concord_is_readable(uint64 lsn, uint64 *applied, int64 waited_ms, CcStatus *status);

#endif
