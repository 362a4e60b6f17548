/*
 * ddl.h
 *		What the files of ddl/ share: one file a hook, installed by hooks.c. Every hook gives way at once where the extension
 *		is not created in the database (concord_ddl_active).
 */
#ifndef CONCORD_DDL_H
#define CONCORD_DDL_H

#include "concord.h"

#include "catalog/pg_class.h"
#include "ddl/storage_map.h"
#include "nodes/parsenodes.h"
#include "nodes/plannodes.h"
#include "tcop/utility.h"

/* ---- refuse.c ---- */

/* An index whose entries would live in this server's files only. */
void		concord_refuse_index_method(const char *amname) pg_attribute_noreturn();
void		concord_refuse_index_on(const char *relname) pg_attribute_noreturn();
void		concord_refuse_unlogged(const char *relname) pg_attribute_noreturn();

/* ---- publications.c ---- */
/* CREATE and ALTER PUBLICATION: refused if a Concord table would be in it. */
void		concord_refuse_publication(List *objects, bool for_all_tables);
/* Refuses a table that is about to become ours if it is published. */
void		concord_refuse_published_table(Oid relid);
/* A table of ours has been created, whose row is not yet visible: refused in a published schema. */
void		concord_published_table_created(Form_pg_class form);
/* A relation has been put below another, or taken from it: the former is refused if that is published, and a table of ours becomes part of it. */
void		concord_refuse_published_parent(Oid relid, Oid parentid);
/* A relation has been changed: refused if it has moved to a published schema, and a table of ours with it. */
void		concord_refuse_published_schema(Oid relid);

/* ---- flip.c ---- */
void		concord_flip_init(void);
/* Raises if a key column of the index, which is about to become ours, cannot be indexed. */
void		concord_check_index(Oid indexid);
/* What the catalogs say of a hash index, but for its access method, becomes what they would of an ordered one. */
void		concord_unhash_index(Oid indexid);
/* Closes a relcache entry that is a finished hash index's, so that it is made anew as the catalogs say. */
void		concord_close_hash_entry(Relation index);
/* The row of `catalog` whose column `attnum` is `oid`, as the running command left it; a copy, or NULL. */
HeapTuple	concord_own_row(Relation catalog, Oid index, AttrNumber attnum, Oid oid);

/* ---- access_method_change.c ---- */
/* A plain table has been created; `row` is its row in pg_class, not yet visible. */
void		concord_transient_created(Relation pg_class, HeapTuple row, bool is_internal);

/* ---- foreign_keys.c ---- */
/* Refuses a constraint just created if it is a foreign key between a Concord table and one of another kind. */
void		concord_constraint_created(Oid constraintid);
/* Refuses to change a table if its foreign keys would then connect the two kinds. */
void		concord_refuse_mixed_foreign_keys(Oid relid, bool will_be_ours, char will_persist);

/* ---- catalog_calls.c ---- */
/* Whether the statement drops this extension. */
bool		concord_drops_extension(DropStmt *stmt);
/* Undoes what CREATE EXTENSION did to Postgres' own functions. */
void		concord_release_calls(void);

/* ---- key_types.c ---- */
/* The OIDs of Concord indexes whose keys hold values of the type, alone or in arrays, ranges, rows and domains. */
List	   *concord_indexes_of_type(Oid type);
/* A relation, which may have a row type in use, has got an attribute, or is about to lose one. */
void		concord_attribute_created(Oid relid, AttrNumber attnum);
void		concord_attribute_dropped(Oid relid);

/* ---- hash_indexes.c ---- */
/* btree's operator class with the type and the equality of one of hash's; raises if there is none. */
Oid			concord_btree_class_of_hash(Oid hash_class);
/* The column of a hash index becomes one that holds values of the type. Of one just made, which nobody else has seen, in place. */
void		concord_hash_column_to_btree(Oid indexid, Oid opclass, Oid type, int32 typmod, bool is_new);

/* ---- enums.c ---- */
typedef struct ConcordEnumOrder ConcordEnumOrder;
/* The sort order of an enum's labels before ALTER TYPE ... ADD VALUE; NULL if no Concord index depends on it. */
ConcordEnumOrder *concord_enum_order(AlterEnumStmt *stmt);
/* Builds those indexes anew if the statement has given labels that were there another number. */
void		concord_follow_enum_order(const ConcordEnumOrder *before);

/* ---- spoof.c ---- */
typedef struct ConcordSpoof ConcordSpoof;

/*
 * A level of spoofs: begin it, then in PG_TRY spoof and do the work, and end it in PG_FINALLY. The tables must be locked, so
 * that no index of theirs can go away.
 */
ConcordSpoof *concord_spoof_begin(void);
void		concord_spoof_index(ConcordSpoof *spoof, Oid indexid);
/* An index about to be attached to a partitioned one, as a hash index if that is one. */
void		concord_spoof_attached_index(ConcordSpoof *spoof, Oid indexid, Oid parentid);
/* The indexes of a table; only the unique ones if asked. */
void		concord_spoof_table(ConcordSpoof *spoof, Oid relid, bool unique_only);
/* The same of a table and all that inherit from it, which are locked first. */
void		concord_spoof_tree(ConcordSpoof *spoof, Oid relid, LOCKMODE lockmode, bool unique_only);
/* An index of that name that the table gets while the level lasts is spoofed too, and no longer than until it has its constraint. */
void		concord_spoof_until_constraint(ConcordSpoof *spoof, Oid relid, const char *name);
void		concord_spoof_index_created(Oid indexid, Oid relid, const char *name);
void		concord_spoof_constraint_created(Oid constraintid);
void		concord_spoof_end(ConcordSpoof *spoof);
/* Shows all indexes as they are (the planner would read a btree's metapage), and as spoofed again. These nest. */
void		concord_spoof_suspend(void);
void		concord_spoof_resume(void);
bool		concord_spoof_any(void);
void		concord_spoof_forget(Oid indexid);	/* the index is about to be dropped */
void		concord_spoof_init(void);

/* ---- heap_writes.c ---- */
/* Marks the transaction if the relation is a permanent table of a user's that is not ours. */
void		concord_note_if_heap(Relation rel);
void		concord_note_if_heap_oid(Oid relid);
void		concord_note_heap_tree(Oid relid);	/* it and what inherits from it */

/* ---- the other hooks ---- */
void		concord_databases_init(void);
void		concord_utility_init(void);
void		concord_executor_init(void);
void		concord_planner_init(void);

#endif
