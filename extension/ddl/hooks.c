/*
 * hooks.c
 *		Installs all hooks of ddl/. Called once, when the library is preloaded.
 */
#include "concord.h"

#include "ddl/ddl.h"

void
concord_ddl_init(void)
{
	concord_access_methods_init();
	concord_drops_init();
	concord_databases_init();
	concord_flip_init();
	concord_spoof_init();
	concord_utility_init();
	concord_executor_init();
	concord_planner_init();
}
