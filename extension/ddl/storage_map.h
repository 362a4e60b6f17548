/*
 * storage_map.h
 *		Which global storage a relation's file stands for.
 *
 * Every relfilenode of ours has one page, the metapage: block 0 of the main fork, WAL-logged by Postgres, with the storage
 * id in it. So the map from relfilenode to storage has no table of its own: rollback, TRUNCATE, rewrites, DROP, backup and
 * crash recovery of it are what Postgres does with files.
 *
 * A metapage is never changed once its transaction has ended. Only a non-transactional TRUNCATE of a relation that was
 * created in the same subtransaction writes it again.
 */
#ifndef CONCORD_STORAGE_MAP_H
#define CONCORD_STORAGE_MAP_H

#include "concord.h"

/* The head of rd_amcache of every relation of ours; an access method may keep more behind it. */
typedef struct ConcordRelCache
{
	uint64		generation;		/* of the map when storage_id was read; grows with every storage made here */
	uint32		storage_id;
	uint32		size;			/* of the whole allocation */
} ConcordRelCache;

/*
 * rd_amcache, at least `size` bytes of it, storage_id filled. What lies behind the head is zero when it is new. The pointer is
 * good until the next relcache invalidation or a call with a greater size.
 */
ConcordRelCache *concord_relation_cache(Relation rel, Size size);

/*
 * The storage id that a file of this database stands for, 0 if the file is not one of ours. Reads a foreign file only as far
 * as is needed to see that; never verifies a foreign page's checksum.
 */
uint32		concord_storage_id_of_file(RelFileNode node);

typedef enum ConcordFileKind
{
	CONCORD_FILE_EMPTY,			/* missing, without a page, or with one that nobody has written */
	CONCORD_FILE_STORAGE,		/* has a metapage of its own database */
	CONCORD_FILE_COPY,			/* has one of another database (CREATE DATABASE): stands for nothing */
	CONCORD_FILE_UNKNOWN,		/* has one of a format that is not known, or of another cluster */
	CONCORD_FILE_OTHER			/* holds something else */
} ConcordFileKind;

/*
 * What a file of any database holds. Looks into shared buffers but takes nothing in there, so the file may be deleted
 * meanwhile.
 */
ConcordFileKind concord_file_kind(RelFileNode node, uint32 *storage_id);
/* Makes a copy (CONCORD_FILE_COPY) one for good: also in a database that gets the OID of the one that it was copied from. */
void		concord_storage_disown(RelFileNode node);

/* ---- access methods (access_methods.c) ---- */
/* True if the extension is created in this database and its library preloaded: the hooks have something to do. */
bool		concord_ddl_active(void);
/* The same, or it was so earlier in the session: DROP EXTENSION takes the access methods away before the files go. */
bool		concord_ddl_was_active(void);
/* pg_class.relam of a relation; InvalidOid if it has none or is gone. */
Oid			concord_relam(Oid relid);
bool		concord_is_table_oid(Oid relid);
Oid			concord_index_handler_oid(void);	/* pg_proc OID */
void		concord_access_methods_init(void);

/* ---- created and dropped storage (drops.c) ---- */
void		concord_drops_init(void);
/* True if this transaction has rows, or storage, that only this backend can see. */
bool		concord_has_own_state(void);
/* True if the id was given out in the running subtransaction. */
bool		concord_drops_created_here(uint32 storage_id);
/* The same of the whole transaction; and whether it has made or drops any. The latter is known after concord_ddl_pre_commit. */
bool		concord_drops_created_ever(uint32 storage_id);
bool		concord_drops_any(void);
/* Called for every id given out. A second one for the same file replaces the first, which is dropped. */
void		concord_drops_created(RelFileNode node, uint32 storage_id);

#endif
