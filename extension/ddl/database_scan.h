/*
 * The Concord tables and indexes of any database, seen without a connection to it.
 */
#ifndef CONCORD_DDL_DATABASE_SCAN_H
#define CONCORD_DDL_DATABASE_SCAN_H

#include "concord.h"

#include "ddl/storage_map.h"

/* The file of a committed table or index of ours. */
typedef struct ConcordFile
{
	RelFileNode node;
	NameData	relname;
	bool		is_index;
	ConcordFileKind kind;
	uint32		storage_id;		/* if kind is CONCORD_FILE_STORAGE */
} ConcordFile;

/*
 * The files that the committed catalog of a database names, with what their metapages say; palloc'd. The database must be locked
 * (AccessShareLock at least), so that its files stay where they are. A snapshot keeps pruning away only from the database that
 * its process is connected to: the caller must have no company in the database, or PROC_AFFECTS_ALL_HORIZONS.
 *
 * A file may have been emptied by a commit after the snapshot: then it has kind CONCORD_FILE_EMPTY.
 */
ConcordFile *concord_scan_database(Oid database, Oid tablespace, int *count);

#endif
