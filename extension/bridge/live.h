/*
 * For the tests of the wall: what is alive behind the bridge, and exceptions on demand.
 *
 * Same rules as replica.h. Nothing of the extension itself uses this; extension/wall.c makes it callable from SQL for the tests.
 */
#ifndef CONCORD_BRIDGE_LIVE_H
#define CONCORD_BRIDGE_LIVE_H

#include "bridge/replica.h"

#ifdef __cplusplus
extern "C" {
#endif

/* All zero when no transaction runs. */
typedef struct CcLive
{
	size_t		cursors;
	size_t		scans;
	size_t		views;			/* active ones, which keep LMDB from reusing pages */
	size_t		pins;			/* of them */
	size_t		writes;			/* bytes of the write set */
} CcLive;

void		cc_live(CcLive *live);

typedef enum CcFault
{
	CC_FAULT_NO_MEMORY, CC_FAULT_LENGTH, CC_FAULT_UNKNOWN
} CcFault;

/* The calls-th call from now of a function that may fail throws inside; 0: none does. */
void		cc_fault(uint64_t calls, CcFault fault);
/* How many such calls are left before it throws; 0 if it has, or none was asked for. */
uint64_t	cc_fault_left(void);

#ifdef __cplusplus
}
#endif
#endif
