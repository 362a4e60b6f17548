/*
 * wall.c
 *		For the tests of the wall between C and C++ (bridge/live.h): what is alive behind the bridge, and exceptions on demand.
 *
 * No SQL of the extension names these functions. A test, as a superuser, makes them callable with CREATE FUNCTION.
 */
#include "concord.h"

#include "bridge/live.h"
#include "fmgr.h"
#include "tableam/tableam.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(concord_wall_live);
PG_FUNCTION_INFO_V1(concord_wall_fault);
PG_FUNCTION_INFO_V1(concord_wall_fault_left);

/* concord_wall_live() returns text */
Datum
concord_wall_live(PG_FUNCTION_ARGS)
{
	CcLive		live;

	cc_live(&live);
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("cursors=%zu scans=%zu views=%zu pins=%zu writes=%zu resources=%u",
											  live.cursors, live.scans, live.views, live.pins, live.writes,
											  concord_resource_live())));
}

/* concord_wall_fault(calls int, kind int) returns void */
Datum
concord_wall_fault(PG_FUNCTION_ARGS)
{
	cc_fault((uint64_t) PG_GETARG_INT32(0), (CcFault) PG_GETARG_INT32(1));
	PG_RETURN_VOID();
}

/* concord_wall_fault_left() returns int */
Datum
concord_wall_fault_left(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32((int32) cc_fault_left());
}
