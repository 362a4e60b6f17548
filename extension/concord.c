/*
 * concord.c
 *		The extension's library is loaded.
 *
 * It must be preloaded: its shared memory, workers and hooks can be set up by the postmaster only. Loaded in any other way
 * it does nothing; CREATE EXTENSION and every use of a Concord table say why.
 */
#include "concord.h"

#include "access/xlog.h"
#include "fmgr.h"
#include "lookahead/lookahead.h"
#include "miscadmin.h"
#include "worker/worker.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(concord_require_preload);

void		_PG_init(void);

bool		concord_enabled = false;

void
_PG_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	concord_define_settings();
	concord_install_shmem_hooks();
	concord_register_workers();
	concord_xact_init();
	concord_import_init();
	concord_ddl_init();
	concord_look_ahead_init();
	concord_enabled = true;
}

void
concord_require_usable(void)
{
	if (!concord_enabled)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("concord must be loaded via shared_preload_libraries"),
				 errhint("Add concord to shared_preload_libraries and restart the server.")));
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("Concord tables cannot be used during recovery"),
				 errdetail("Their rows are not in the WAL, so a standby does not have them.")));
}

/* First thing in the install script. */
Datum
concord_require_preload(PG_FUNCTION_ARGS)
{
	concord_require_usable();
	PG_RETURN_VOID();
}
