/*
 * The handler of access method concord_btree, and the callbacks that have nothing to do.
 *
 * Its indexes carry btree's operator classes, so strategies, support functions and options are btree's.
 */
#include "indexam/indexam.h"
#include "indexam/parallel.h"

#include "access/amapi.h"
#include "access/nbtree.h"
#include "commands/vacuum.h"
#include "fmgr.h"

PG_FUNCTION_INFO_V1(concord_indexam_handler);

/* Entries go when rows do: there is never one to be removed. */
static IndexBulkDeleteResult *
concord_ambulkdelete(IndexVacuumInfo *info, IndexBulkDeleteResult *stats, IndexBulkDeleteCallback callback,
					 void *callback_state)
{
	return stats != NULL ? stats : palloc0(sizeof(IndexBulkDeleteResult));
}

static IndexBulkDeleteResult *
concord_amvacuumcleanup(IndexVacuumInfo *info, IndexBulkDeleteResult *stats)
{
	if (info->analyze_only)
		return stats;
	if (stats == NULL)
		stats = palloc0(sizeof(IndexBulkDeleteResult));
	concord_index_estimate(info->index, &stats->num_pages, &stats->num_index_tuples);
	stats->estimated_count = false;
	return stats;
}

static bool
concord_amcanreturn(Relation index, int attno)
{
	return true;
}

static bool
concord_amproperty(Oid index, int attno, IndexAMProperty property, const char *name, bool *result, bool *isnull)
{
	if (property != AMPROP_RETURNABLE || attno == 0)
		return false;
	*result = true;
	return true;
}

Datum
concord_indexam_handler(PG_FUNCTION_ARGS)
{
	IndexAmRoutine *am = makeNode(IndexAmRoutine);

	am->amstrategies = BTMaxStrategyNumber;
	am->amsupport = BTNProcs;
	am->amoptsprocnum = BTOPTIONS_PROC;
	am->amcanorder = true;
	am->amcanorderbyop = false;
	am->amcanbackward = true;
	am->amcanunique = true;
	am->amcanmulticol = true;
	am->amoptionalkey = true;
	am->amsearcharray = true;
	am->amsearchnulls = true;
	am->amstorage = false;
	am->amclusterable = true;
	am->ampredlocks = true;		/* xact/reads.c in their place */
	am->amcanparallel = true;
	am->amcaninclude = true;
	am->amusemaintenanceworkmem = false;
	am->amparallelvacuumoptions = VACUUM_OPTION_NO_PARALLEL;
	am->amkeytype = InvalidOid;

	am->ambuild = concord_ambuild;
	am->ambuildempty = concord_ambuildempty;
	am->aminsert = concord_aminsert;
	am->ambulkdelete = concord_ambulkdelete;
	am->amvacuumcleanup = concord_amvacuumcleanup;
	am->amcanreturn = concord_amcanreturn;
	am->amcostestimate = concord_amcostestimate;
	am->amoptions = btoptions;
	am->amproperty = concord_amproperty;
	am->ambuildphasename = btbuildphasename;
	am->amvalidate = btvalidate;
	am->amadjustmembers = btadjustmembers;
	am->ambeginscan = concord_ambeginscan;
	am->amrescan = concord_amrescan;
	am->amgettuple = concord_amgettuple;
	am->amgetbitmap = concord_amgetbitmap;
	am->amendscan = concord_amendscan;
	am->ammarkpos = concord_ammarkpos;
	am->amrestrpos = concord_amrestrpos;
	am->amestimateparallelscan = concord_amestimateparallelscan;
	am->aminitparallelscan = concord_aminitparallelscan;
	am->amparallelrescan = concord_amparallelrescan;

	PG_RETURN_POINTER(am);
}
