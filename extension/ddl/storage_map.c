/*
 * storage_map.c
 *		Metapages: which global storage a relation's file stands for. See storage_map.h.
 */
#include "concord.h"

#include <fcntl.h>
#include <unistd.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "access/xloginsert.h"
#include "catalog/storage.h"
#include "ddl/storage_map.h"
#include "miscadmin.h"
#include "storage/buf_internals.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "storage/fd.h"
#include "stats/stats.h"
#include "storage/smgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "xact/lease.h"

#define METAPAGE_BLOCK ((BlockNumber) 0)
#define METAPAGE_MAGIC 0x436F6E63		/* "Conc" */
#define METAPAGE_VERSION 2
#define CLUSTER_BYTES (CONCORD_CLUSTER_ID_SIZE / 2)

typedef struct Metapage
{
	uint32		magic;
	uint32		version;
	Oid			database;		/* a copy of the file in another database (CREATE DATABASE) is no storage there; 0: disowned */
	uint32		storage_id;
	uint8		cluster[CLUSTER_BYTES];	/* whose storage it is: a sidecar of another cluster does not have it */
} Metapage;

#define PageGetMetapage(page) ((Metapage *) PageGetContents(page))

/* Grows with every storage made by this backend, so that no cached id outlives a metapage written anew. */
static uint64 map_generation = 1;

static bool
is_metapage(Page page)
{
	return PageGetMetapage(page)->magic == METAPAGE_MAGIC;
}

static void
cluster_bytes(const char *id, uint8 *bytes)
{
	hex_decode(id, CONCORD_CLUSTER_ID_SIZE, (char *) bytes);
}

/* False too if the server does not know its cluster. */
static bool
is_of_our_cluster(const Metapage *meta)
{
	uint8		cluster[CLUSTER_BYTES];

	if (concord_cluster_id() == NULL)
		return false;
	cluster_bytes(concord_cluster_id(), cluster);
	return memcmp(cluster, meta->cluster, CLUSTER_BYTES) == 0;
}

static uint32
new_storage_id(void)
{
	static const char name[] = "storage";
	uint64		id = concord_lease(0, name, sizeof(name) - 1, 1);

	if (id == 0 || id > PG_UINT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the cluster has no storage ids left")));
	return (uint32) id;
}

/* Makes block 0 of a file that no other session can see yet the metapage of `storage_id`. */
static void
write_metapage(RelFileNode node, char persistence, uint32 storage_id)
{
	SMgrRelation smgr = smgropen(node, InvalidBackendId);
	bool		extend = smgrnblocks(smgr, MAIN_FORKNUM) == 0;
	Buffer		buffer;
	Page		page;
	Metapage   *meta;
	uint8		cluster[CLUSTER_BYTES];

	/* Known by now: the storage id came from the sidecar. */
	cluster_bytes(concord_cluster_id(), cluster);
	buffer = ReadBufferWithoutRelcache(node, MAIN_FORKNUM, extend ? P_NEW : METAPAGE_BLOCK,
									   extend ? RBM_NORMAL : RBM_ZERO_AND_LOCK, NULL, true);
	if (extend)
		LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	if (BufferGetBlockNumber(buffer) != METAPAGE_BLOCK)
		elog(ERROR, "metapage of relation file %u is not its first page", node.relNode);
	page = BufferGetPage(buffer);

	START_CRIT_SECTION();
	PageInit(page, BLCKSZ, 0);
	meta = PageGetMetapage(page);
	meta->magic = METAPAGE_MAGIC;
	meta->version = METAPAGE_VERSION;
	meta->database = MyDatabaseId;
	meta->storage_id = storage_id;
	memcpy(meta->cluster, cluster, CLUSTER_BYTES);
	/* A full-page image leaves out what lies between pd_lower and pd_upper. */
	((PageHeader) page)->pd_lower = (char *) (meta + 1) - (char *) page;
	MarkBufferDirty(buffer);
	/* The file is this transaction's: below wal_level replica Postgres syncs it at commit instead. */
	if (XLogIsNeeded() && persistence == RELPERSISTENCE_PERMANENT)
		log_newpage_buffer(buffer, true);
	END_CRIT_SECTION();

	UnlockReleaseBuffer(buffer);
}

uint32
concord_storage_create(RelFileNode node, char persistence, bool create_file)
{
	uint32		storage_id;

	if (persistence != RELPERSISTENCE_PERMANENT)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("unlogged and temporary tables are not supported by access method concord"),
				 errhint("Create the table with USING heap.")));

	/* First what may have to wait for the cluster; nothing is to be undone if it fails. */
	storage_id = new_storage_id();
	if (create_file)
		(void) RelationCreateStorage(node, persistence, true);
	concord_drops_created(node, storage_id);
	map_generation++;
	write_metapage(node, persistence, storage_id);
	return storage_id;
}

void
concord_storage_move(Relation rel, RelFileNode node)
{
	uint32		storage_id = concord_storage_id(rel);

	(void) RelationCreateStorage(node, rel->rd_rel->relpersistence, true);
	write_metapage(node, rel->rd_rel->relpersistence, storage_id);
	RelationDropStorage(rel);
}

/*
 * Raises if the storage is another cluster's. A server that has lost the id of its own learns it from the sidecar, so that one with
 * an empty directory is not taken for the one that had the rows.
 */
static void
check_cluster(Relation rel, const Metapage *meta)
{
	char		owner[CONCORD_CLUSTER_ID_SIZE + 1];

	if (concord_cluster_id() == NULL)
		(void) concord_committed_lsn();
	if (concord_cluster_id() == NULL)
		concord_raise_unavailable("it has not told the id of its cluster");
	if (is_of_our_cluster(meta))
		return;
	hex_encode((const char *) meta->cluster, CLUSTER_BYTES, owner);
	owner[CONCORD_CLUSTER_ID_SIZE] = '\0';
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("relation \"%s\" belongs to another Concord cluster", RelationGetRelationName(rel)),
			 errdetail("Its rows are in cluster %s, the sidecar in \"%s\" serves cluster %s.", owner,
					   concord_effective_directory(), concord_cluster_id()),
			 errhint("Stop the server, put the directory of that cluster back, or restore a backup, and remove the file "
					 "\"concord.cluster\" from the data directory if it names another one.")));
}

/* Reads the metapage of a relation of ours; raises if there is none, or one that is not for this database. */
static uint32
read_metapage(Relation rel)
{
	Buffer		buffer;
	Metapage	meta;

	/* Not RelationGetNumberOfBlocks: a table's size is what its access method says. */
	if (!RELKIND_HAS_STORAGE(rel->rd_rel->relkind) ||
		smgrnblocks(RelationGetSmgr(rel), MAIN_FORKNUM) <= METAPAGE_BLOCK)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("relation \"%s\" has no Concord metapage", RelationGetRelationName(rel)),
				 errdetail("File \"%s\" is empty.", relpathbackend(rel->rd_node, rel->rd_backend, MAIN_FORKNUM))));

	buffer = ReadBuffer(rel, METAPAGE_BLOCK);
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	meta = *PageGetMetapage(BufferGetPage(buffer));
	UnlockReleaseBuffer(buffer);

	if (meta.magic != METAPAGE_MAGIC || meta.storage_id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("relation \"%s\" has no Concord metapage", RelationGetRelationName(rel)),
				 errdetail("The first page of file \"%s\" holds something else.",
						   relpathbackend(rel->rd_node, rel->rd_backend, MAIN_FORKNUM))));
	if (meta.version != METAPAGE_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("relation \"%s\" has metapage version %u, this extension reads version %d",
						RelationGetRelationName(rel), meta.version, METAPAGE_VERSION)));
	if (meta.database != MyDatabaseId)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("relation \"%s\" was copied from another database and has no rows here",
						RelationGetRelationName(rel)),
				 errdetail("CREATE DATABASE copies the files of its template; the rows of Concord tables are not in them."),
				 errhint("Drop the relation, or create the database from a template without Concord tables and copy the "
						 "rows with pg_dump.")));
	check_cluster(rel, &meta);
	return meta.storage_id;
}

ConcordRelCache *
concord_relation_cache(Relation rel, Size size)
{
	ConcordRelCache *cache = (ConcordRelCache *) rel->rd_amcache;

	if (likely(cache != NULL && cache->generation == map_generation && cache->size >= size))
		return cache;

	/* Reading may take in an invalidation, which frees rd_amcache: look at that only afterwards. */
	if (cache == NULL || cache->generation != map_generation)
	{
		uint64		generation = map_generation;
		uint32		storage_id = read_metapage(rel);

		concord_remember_storage(storage_id, RelationGetRelid(rel));
		cache = (ConcordRelCache *) rel->rd_amcache;
		if (cache != NULL)
		{
			cache->generation = generation;
			cache->storage_id = storage_id;
		}
		else
		{
			size = Max(size, sizeof(ConcordRelCache));
			cache = MemoryContextAllocZero(rel->rd_indexcxt != NULL ? rel->rd_indexcxt : CacheMemoryContext, size);
			cache->generation = generation;
			cache->storage_id = storage_id;
			cache->size = size;
			rel->rd_amcache = cache;
		}
	}
	if (cache->size < size)
	{
		Size		old_size = cache->size;

		cache = repalloc(cache, size);
		memset((char *) cache + old_size, 0, size - old_size);
		cache->size = size;
		rel->rd_amcache = cache;
	}
	return cache;
}

uint32
concord_storage_id(Relation rel)
{
	return concord_relation_cache(rel, sizeof(ConcordRelCache))->storage_id;
}

uint32
concord_storage_id_of_file(RelFileNode node)
{
	SMgrRelation smgr;
	PGAlignedBlock block;
	Buffer		buffer;
	Metapage	meta;

	if (node.dbNode != MyDatabaseId)
		return 0;
	smgr = smgropen(node, InvalidBackendId);
	if (!smgrexists(smgr, MAIN_FORKNUM) || smgrnblocks(smgr, MAIN_FORKNUM) == 0)
		return 0;

	/*
	 * The file may be anybody's, with a page that shared buffers would refuse to read: a damaged heap table must still be
	 * droppable. So look at the file first. A metapage that is not written out yet reads as zeros there.
	 */
	smgrread(smgr, MAIN_FORKNUM, METAPAGE_BLOCK, block.data);
	if (!PageIsNew((Page) block.data) && !is_metapage((Page) block.data))
		return 0;

	buffer = ReadBufferWithoutRelcache(node, MAIN_FORKNUM, METAPAGE_BLOCK, RBM_NORMAL, NULL, true);
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	meta = *PageGetMetapage(BufferGetPage(buffer));
	UnlockReleaseBuffer(buffer);
	if (meta.magic != METAPAGE_MAGIC || meta.version != METAPAGE_VERSION || meta.database != MyDatabaseId)
		return 0;
	/* Dropping a relation of another cluster must not take ours of the same number away. */
	if (concord_cluster_id() != NULL && !is_of_our_cluster(&meta))
		return 0;
	return meta.storage_id;
}

void
concord_storage_disown(RelFileNode node)
{
	Buffer		buffer = ReadBufferWithoutRelcache(node, MAIN_FORKNUM, METAPAGE_BLOCK, RBM_NORMAL, NULL, true);
	Metapage   *meta = PageGetMetapage(BufferGetPage(buffer));

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	if (is_metapage(BufferGetPage(buffer)) && meta->database != node.dbNode && OidIsValid(meta->database))
	{
		START_CRIT_SECTION();
		meta->database = InvalidOid;
		MarkBufferDirty(buffer);
		log_newpage_buffer(buffer, true);
		END_CRIT_SECTION();
	}
	UnlockReleaseBuffer(buffer);
}

/* Copies the file's first page, if shared buffers hold it. */
static bool
page_in_buffers(RelFileNode node, char *page)
{
	BufferTag	tag;
	uint32		hash;
	int			id;

	INIT_BUFFERTAG(tag, node, MAIN_FORKNUM, METAPAGE_BLOCK);
	hash = BufTableHashCode(&tag);
	LWLockAcquire(BufMappingPartitionLock(hash), LW_SHARED);
	id = BufTableLookup(&tag, hash);
	LWLockRelease(BufMappingPartitionLock(hash));
	if (id < 0 || !ReadRecentBuffer(node, MAIN_FORKNUM, METAPAGE_BLOCK, id + 1))
		return false;
	LockBuffer(id + 1, BUFFER_LOCK_SHARE);
	memcpy(page, BufferGetPage(id + 1), BLCKSZ);
	UnlockReleaseBuffer(id + 1);
	return true;
}

/* The same from the file; false if that is missing or shorter. */
static bool
page_on_disk(RelFileNode node, char *page)
{
	char	   *path = relpathperm(node, MAIN_FORKNUM);
	int			fd = OpenTransientFile(path, O_RDONLY | PG_BINARY);
	ssize_t		size;

	if (fd < 0)
	{
		if (errno != ENOENT)
			ereport(ERROR, (errcode_for_file_access(), errmsg("could not open file \"%s\": %m", path)));
		pfree(path);
		return false;
	}
	size = pg_pread(fd, page, BLCKSZ, 0);
	if (size < 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not read file \"%s\": %m", path)));
	CloseTransientFile(fd);
	pfree(path);
	return size == BLCKSZ;
}

/*
 * In this order: a page that is not in buffers any more has been written before it left them, and one that is read in again
 * is the same.
 */
ConcordFileKind
concord_file_kind(RelFileNode node, uint32 *storage_id)
{
	PGAlignedBlock block;
	const Metapage *meta = PageGetMetapage((Page) block.data);

	*storage_id = 0;
	if ((!page_in_buffers(node, block.data) && !page_on_disk(node, block.data)) || PageIsNew((Page) block.data))
		return CONCORD_FILE_EMPTY;
	if (!is_metapage((Page) block.data))
		return CONCORD_FILE_OTHER;
	if (meta->version != METAPAGE_VERSION || !is_of_our_cluster(meta))
		return CONCORD_FILE_UNKNOWN;
	if (meta->database != node.dbNode)
		return CONCORD_FILE_COPY;
	*storage_id = meta->storage_id;
	return CONCORD_FILE_STORAGE;
}

bool
concord_storage_is_new(Relation rel)
{
	SubTransactionId subid = GetCurrentSubTransactionId();

	/* The relcache knows new files; one that only moved to another tablespace holds an old storage. */
	return (rel->rd_createSubid == subid || rel->rd_newRelfilenodeSubid == subid) &&
		concord_drops_created_here(concord_storage_id(rel));
}
