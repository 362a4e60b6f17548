/*
 * utility.c
 *		ProcessUtility hook: one small function per kind of statement.
 *
 * What is changed in a statement is changed in a copy. Nothing here locks a table that the user does not own.
 */
#include "concord.h"

#include "access/xact.h"
#include "catalog/catalog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/defrem.h"
#include "commands/tablecmds.h"
#include "ddl/ddl.h"
#include "miscadmin.h"
#include "nodes/nodes.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utility_hook.h"

#define TABLE_METHOD "concord"
#define INDEX_METHOD "concord_btree"

static ProcessUtility_hook_type previous_hook = NULL;

static Oid
relation_oid(RangeVar *relation)
{
	return relation == NULL ? InvalidOid : RangeVarGetRelid(relation, NoLock, true);
}

/* The table, locked as the statement will lock it, if there is one and the user owns it. */
static Oid
lock_owned(RangeVar *relation, LOCKMODE lockmode)
{
	Oid			relid = relation_oid(relation);

	if (!OidIsValid(relid) || !pg_class_ownercheck(relid, GetUserId()))
		return InvalidOid;		/* the statement will say so */
	LockRelationOid(relid, lockmode);
	return relation_oid(relation) == relid ? relid : InvalidOid;
}

/* ---- CREATE TABLE, CREATE TABLE AS, SELECT INTO, CREATE MATERIALIZED VIEW ---- */

static bool
is_ours(const char *access_method)
{
	return strcmp(access_method != NULL ? access_method : default_table_access_method, TABLE_METHOD) == 0;
}

static bool
is_temporary(RangeVar *relation)
{
	return relation->relpersistence == RELPERSISTENCE_TEMP ||
		isAnyTempNamespace(RangeVarGetCreationNamespace(relation));
}

/*
 * Temporary and unlogged tables are heap's: the ones belong to one session, the others to one server, and a crash empties them. Returns
 * whether the table will be ours.
 */
static bool
choose_access_method(RangeVar *relation, char **access_method)
{
	if (!is_ours(*access_method))
		return false;
	if (is_temporary(relation))
	{
		*access_method = "heap";
		return false;
	}
	if (relation->relpersistence == RELPERSISTENCE_UNLOGGED)
	{
		if (*access_method != NULL)
			concord_refuse_unlogged(relation->relname);
		*access_method = "heap";
		return false;
	}
	return true;
}

/* EXCLUDE USING concord_btree is EXCLUDE USING btree until the index is flipped. */
static void
rename_constraint_method(Node *node)
{
	if (IsA(node, Constraint))
	{
		Constraint *constraint = (Constraint *) node;

		if (constraint->access_method != NULL && strcmp(constraint->access_method, INDEX_METHOD) == 0)
			constraint->access_method = "btree";
	}
}

static void
before_create_table(CreateStmt *stmt)
{
	ListCell   *cell;

	foreach(cell, stmt->tableElts)
		rename_constraint_method(lfirst(cell));
	foreach(cell, stmt->constraints)
		rename_constraint_method(lfirst(cell));
	if (stmt->partspec == NULL) /* a partitioned table has no access method */
		(void) choose_access_method(stmt->relation, &stmt->accessMethod);
}

static void
before_create_table_as(CreateTableAsStmt *stmt)
{
	IntoClause *into = stmt->into;

	if (!choose_access_method(into->rel, &into->accessMethod) && !into->skipData && !is_temporary(into->rel) &&
		into->rel->relpersistence != RELPERSISTENCE_UNLOGGED)
		concord_note_heap_write(into->rel->relname);
}

/* EXPLAIN ANALYZE CREATE TABLE AS creates the table. */
static void
before_explain(ExplainStmt *stmt)
{
	Query	   *query = (Query *) stmt->query;
	bool		analyze = false;
	ListCell   *cell;

	foreach(cell, stmt->options)
	{
		DefElem    *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, "analyze") == 0)
			analyze = defGetBoolean(option);
	}
	if (analyze && IsA(query, Query) && query->commandType == CMD_UTILITY && IsA(query->utilityStmt, CreateTableAsStmt))
		before_create_table_as((CreateTableAsStmt *) query->utilityStmt);
}

/* ---- CREATE INDEX ---- */

static void
before_create_index(IndexStmt *stmt, ProcessUtilityContext context)
{
	Oid			relid;
	char		relkind;

	if (stmt->accessMethod == NULL || strcmp(stmt->accessMethod, INDEX_METHOD) != 0)
		return;

	/* On a partitioned table it means nothing but btree, and LIKE copies the name to tables of any kind. */
	relid = relation_oid(stmt->relation);
	relkind = OidIsValid(relid) ? get_rel_relkind(relid) : '\0';
	if (context != PROCESS_UTILITY_SUBCOMMAND &&
		(relkind == RELKIND_RELATION || relkind == RELKIND_MATVIEW) && !concord_is_table_oid(relid))
		concord_refuse_index_on(get_rel_name(relid));
	stmt->accessMethod = "btree";
}

/* The indexes of partitions are compared with the new one. */
static void
spoof_for_create_index(ConcordSpoof *spoof, IndexStmt *stmt)
{
	Oid			relid = relation_oid(stmt->relation);

	if (!stmt->concurrent && stmt->relation->inh && OidIsValid(relid) &&
		get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE &&
		OidIsValid(relid = lock_owned(stmt->relation, ShareLock)))
		concord_spoof_tree(spoof, relid, ShareLock, false);
}

/* ---- ALTER TABLE, ALTER INDEX ---- */

/* What becomes unlogged becomes heap's. */
static void
take_unlogged_to_heap(AlterTableStmt *stmt)
{
	bool		to_unlogged = false;
	bool		stays = true;	/* of its access method */
	AlterTableCmd *change;
	ListCell   *cell;

	foreach(cell, stmt->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, cell);

		to_unlogged |= cmd->subtype == AT_SetUnLogged;
		stays &= cmd->subtype != AT_SetAccessMethod;
	}
	if (!to_unlogged || !stays || !concord_is_table_oid(relation_oid(stmt->relation)))
		return;
	change = makeNode(AlterTableCmd);
	change->subtype = AT_SetAccessMethod;
	change->name = "heap";
	change->behavior = DROP_RESTRICT;
	stmt->cmds = lappend(stmt->cmds, change);
}

static void
before_alter_table(AlterTableStmt *stmt)
{
	ListCell   *cell;

	foreach(cell, stmt->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, cell);

		if (cmd->subtype == AT_AddConstraint && cmd->def != NULL)
			rename_constraint_method(cmd->def);
	}
	take_unlogged_to_heap(stmt);
}

/* ADD CONSTRAINT USING INDEX wants a btree; a constraint of a partitioned table is compared with those of its partitions. */
static void
spoof_for_add_constraint(ConcordSpoof *spoof, AlterTableStmt *stmt, Constraint *constraint, LOCKMODE lockmode)
{
	Oid			relid;

	if (constraint->contype != CONSTR_PRIMARY && constraint->contype != CONSTR_UNIQUE)
		return;
	relid = lock_owned(stmt->relation, lockmode);
	if (!OidIsValid(relid))
		return;
	if (constraint->indexname != NULL)
	{
		Oid			indexid = get_relname_relid(constraint->indexname, get_rel_namespace(relid));

		if (OidIsValid(indexid) && concord_is_table_oid(relid))
		{
			concord_spoof_until_constraint(spoof, relid, constraint->indexname);
			concord_spoof_index(spoof, indexid);
		}
	}
	else if (get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE)
		concord_spoof_tree(spoof, relid, lockmode, false);
}

static void
spoof_for_attach(ConcordSpoof *spoof, AlterTableStmt *stmt, PartitionCmd *partition, LOCKMODE lockmode)
{
	Oid			child;

	/* Parent first, as the statement does it. */
	if (!OidIsValid(lock_owned(stmt->relation, lockmode)))
		return;
	child = lock_owned(partition->name, AccessExclusiveLock);
	if (!OidIsValid(child))
		return;
	if (stmt->objtype == OBJECT_INDEX)
		concord_spoof_attached_index(spoof, child, relation_oid(stmt->relation));
	else
		concord_spoof_tree(spoof, child, AccessExclusiveLock, false);
}

static void
spoof_for_alter_table(ConcordSpoof *spoof, AlterTableStmt *stmt)
{
	LOCKMODE	lockmode = AlterTableGetLockLevel(stmt->cmds);
	ListCell   *cell;

	foreach(cell, stmt->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, cell);

		if (cmd->subtype == AT_AddConstraint && cmd->def != NULL && IsA(cmd->def, Constraint))
			spoof_for_add_constraint(spoof, stmt, (Constraint *) cmd->def, lockmode);
		else if (cmd->subtype == AT_AttachPartition)
			spoof_for_attach(spoof, stmt, castNode(PartitionCmd, cmd->def), lockmode);
	}
}

/* ---- REFRESH MATERIALIZED VIEW ---- */

static void
spoof_for_refresh(ConcordSpoof *spoof, RefreshMatViewStmt *stmt)
{
	Oid			relid = stmt->concurrent ? lock_owned(stmt->relation, ExclusiveLock) : InvalidOid;

	if (OidIsValid(relid))
		concord_spoof_table(spoof, relid, true);
}

/* ---- writes that do not pass the executor ---- */

static void
before_truncate(TruncateStmt *stmt)
{
	ListCell   *cell;

	foreach(cell, stmt->relations)
	{
		RangeVar   *relation = lfirst_node(RangeVar, cell);

		if (relation->inh)
			concord_note_heap_tree(relation_oid(relation));
		else
			concord_note_if_heap_oid(relation_oid(relation));
	}
}

static void
before_copy(CopyStmt *stmt)
{
	Oid			relid = stmt->is_from ? relation_oid(stmt->relation) : InvalidOid;

	if (!OidIsValid(relid))
		return;
	if (get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE)
		concord_note_heap_tree(relid);
	else
		concord_note_if_heap_oid(relid);
}

/* ---- the hook ---- */

/* Refuses and rewrites; `stmt` may be changed. */
static void
before_statement(Node *stmt, ProcessUtilityContext context)
{
	switch (nodeTag(stmt))
	{
		case T_CreateStmt:
			before_create_table((CreateStmt *) stmt);
			break;
		case T_CreateTableAsStmt:
			before_create_table_as((CreateTableAsStmt *) stmt);
			break;
		case T_ExplainStmt:
			before_explain((ExplainStmt *) stmt);
			break;
		case T_IndexStmt:
			before_create_index((IndexStmt *) stmt, context);
			break;
		case T_AlterTableStmt:
			before_alter_table((AlterTableStmt *) stmt);
			break;
		case T_RefreshMatViewStmt:
			if (!((RefreshMatViewStmt *) stmt)->skipData)
				concord_note_if_heap_oid(relation_oid(((RefreshMatViewStmt *) stmt)->relation));
			break;
		case T_DropStmt:
			if (concord_drops_extension((DropStmt *) stmt))
				concord_release_calls();
			break;
		case T_TruncateStmt:
			before_truncate((TruncateStmt *) stmt);
			break;
		case T_CopyStmt:
			before_copy((CopyStmt *) stmt);
			break;
		case T_CreatePublicationStmt:
			concord_refuse_publication(((CreatePublicationStmt *) stmt)->pubobjects,
									   ((CreatePublicationStmt *) stmt)->for_all_tables);
			break;
		case T_AlterPublicationStmt:
			if (((AlterPublicationStmt *) stmt)->action != AP_DropObjects)
				concord_refuse_publication(((AlterPublicationStmt *) stmt)->pubobjects, false);
			break;
		default:
			break;
	}
}

static bool
may_change(Node *stmt)
{
	return IsA(stmt, CreateStmt) || IsA(stmt, CreateTableAsStmt) || IsA(stmt, ExplainStmt) ||
		IsA(stmt, IndexStmt) || IsA(stmt, AlterTableStmt);
}

static bool
may_spoof(Node *stmt)
{
	return IsA(stmt, IndexStmt) || IsA(stmt, AlterTableStmt) || IsA(stmt, RefreshMatViewStmt);
}

static void
spoof_for_statement(ConcordSpoof *spoof, Node *stmt)
{
	if (IsA(stmt, IndexStmt))
		spoof_for_create_index(spoof, (IndexStmt *) stmt);
	else if (IsA(stmt, AlterTableStmt))
		spoof_for_alter_table(spoof, (AlterTableStmt *) stmt);
	else if (IsA(stmt, RefreshMatViewStmt))
		spoof_for_refresh(spoof, (RefreshMatViewStmt *) stmt);
}

static void
concord_process_utility(PlannedStmt *pstmt, const char *query_string, bool read_only_tree,
						ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *environment,
						DestReceiver *dest, QueryCompletion *completion)
{
	Node	   *stmt = pstmt->utilityStmt;
	ConcordEnumOrder *enum_order;

	/* ROLLBACK and the like come here in a failed transaction too. */
	if (!IsTransactionState() || !concord_ddl_active())
	{
		concord_run_utility(previous_hook, pstmt, query_string, read_only_tree, context, params, environment, dest,
							completion);
		return;
	}

	if (may_change(stmt) && read_only_tree)
	{
		pstmt = copyObject(pstmt);
		stmt = pstmt->utilityStmt;
		read_only_tree = false;
	}
	before_statement(stmt, context);
	enum_order = IsA(stmt, AlterEnumStmt) ? concord_enum_order((AlterEnumStmt *) stmt) : NULL;

	if (may_spoof(stmt))
	{
		ConcordSpoof *spoof = concord_spoof_begin();

		PG_TRY();
		{
			spoof_for_statement(spoof, stmt);
			concord_run_utility(previous_hook, pstmt, query_string, read_only_tree, context, params, environment, dest,
								completion);
		}
		PG_FINALLY();
		{
			concord_spoof_end(spoof);
		}
		PG_END_TRY();
	}
	else if (IsA(stmt, VacuumStmt))
	{
		/* ANALYZE would prefetch blocks of a file that has one: ours are numbers only. */
		int			saved = maintenance_io_concurrency;

		maintenance_io_concurrency = 0;
		PG_TRY();
		{
			concord_run_utility(previous_hook, pstmt, query_string, read_only_tree, context, params, environment, dest,
								completion);
		}
		PG_FINALLY();
		{
			maintenance_io_concurrency = saved;
		}
		PG_END_TRY();
	}
	else
		concord_run_utility(previous_hook, pstmt, query_string, read_only_tree, context, params, environment, dest,
							completion);

	if (enum_order != NULL)
		concord_follow_enum_order(enum_order);
}

void
concord_utility_init(void)
{
	previous_hook = ProcessUtility_hook;
	ProcessUtility_hook = concord_process_utility;
}
