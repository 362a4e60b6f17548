/*
 * cluster.c
 *		Which cluster this server's Concord tables are of, and why its sidecar cannot be used.
 *
 * The cluster's id is made with the sidecar's directory. At the first session the gateway writes it into the file
 * concord.cluster of the data directory; from then on a sidecar of another cluster is refused, and a directory that is gone is not
 * taken for one that is yet to be made. Every metapage has the id too, should that file go the same way.
 *
 *		file := "concord cluster 1\n" 32 hexadecimal digits "\n"
 *
 * Troubles are texts in shared memory: one of the launcher's, one of the gateway's, each written by one thread only, and read
 * whenever a backend cannot reach the sidecar.
 */
#include "worker/worker.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/shmem.h"

#define CLUSTER_FILE "concord.cluster"
#define CLUSTER_HEAD "concord cluster 1\n"
#define CLUSTER_HEAD_SIZE (sizeof(CLUSTER_HEAD) - 1)
#define CLUSTER_FILE_SIZE (CLUSTER_HEAD_SIZE + CONCORD_CLUSTER_ID_SIZE + 1)

typedef struct TroubleSlot
{
	pg_atomic_uint32 version;	/* odd while it is written */
	ConcordTroubleKind kind;
	char		text[CONCORD_TROUBLE_SIZE];
} TroubleSlot;

typedef struct ClusterState
{
	pg_atomic_uint32 known;		/* id is set; it never changes then */
	char		id[CONCORD_CLUSTER_ID_SIZE + 1];
	TroubleSlot troubles[CONCORD_TROUBLE_SLOTS];
} ClusterState;

static ClusterState *state;

Size
concord_cluster_shmem_size(void)
{
	return sizeof(ClusterState);
}

static bool
is_id(const char *text)
{
	return strspn(text, "0123456789abcdef") >= CONCORD_CLUSTER_ID_SIZE;
}

/*
 * The id in the file: 1, 0 if there is no file, -1 if it cannot be read or holds something else; errno is 0 then. Relative to the
 * data directory, which is every server process' working directory. Called by a thread too, so it uses nothing of Postgres'.
 */
static int
read_cluster_file(char *id)
{
	char		content[CLUSTER_FILE_SIZE + 1] = "";
	int			fd = open(CLUSTER_FILE, O_RDONLY | O_CLOEXEC);
	ssize_t		got;

	if (fd < 0)
		return errno == ENOENT ? 0 : -1;
	got = read(fd, content, sizeof(content));
	close(fd);
	if (got < 0)
		return -1;
	errno = 0;
	if (got != CLUSTER_FILE_SIZE || memcmp(content, CLUSTER_HEAD, CLUSTER_HEAD_SIZE) != 0 ||
		content[CLUSTER_FILE_SIZE - 1] != '\n' || !is_id(content + CLUSTER_HEAD_SIZE))
		return -1;
	memcpy(id, content + CLUSTER_HEAD_SIZE, CONCORD_CLUSTER_ID_SIZE);
	id[CONCORD_CLUSTER_ID_SIZE] = '\0';
	return 1;
}

static bool
write_cluster_file(const char *id)
{
	char		content[CLUSTER_FILE_SIZE + 1];
	int			fd = open(CLUSTER_FILE ".new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bool		written;

	if (fd < 0)
		return false;
	snprintf(content, sizeof(content), "%s%s\n", CLUSTER_HEAD, id);
	errno = ENOSPC;				/* if write does not set it */
	written = write(fd, content, CLUSTER_FILE_SIZE) == CLUSTER_FILE_SIZE && fsync(fd) == 0;
	close(fd);
	if (!written || rename(CLUSTER_FILE ".new", CLUSTER_FILE) != 0)
		return false;
	fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	written = fd >= 0 && fsync(fd) == 0;
	if (fd >= 0)
		close(fd);
	return written;
}

static void
set_known(const char *id)
{
	memcpy(state->id, id, CONCORD_CLUSTER_ID_SIZE + 1);
	pg_write_barrier();
	pg_atomic_write_u32(&state->known, 1);
}

void
concord_cluster_shmem_init(void)
{
	bool		found;
	char		id[CONCORD_CLUSTER_ID_SIZE + 1];
	int			result;

	state = ShmemInitStruct("concord cluster", sizeof(ClusterState), &found);
	if (found)
		return;
	memset(state, 0, sizeof(ClusterState));
	pg_atomic_init_u32(&state->known, 0);
	for (int i = 0; i < CONCORD_TROUBLE_SLOTS; i++)
		pg_atomic_init_u32(&state->troubles[i].version, 0);
	result = read_cluster_file(id);
	if (result < 0 && errno != 0)
		ereport(FATAL,
				(errcode_for_file_access(), errmsg("could not read file \"%s\": %m", CLUSTER_FILE)));
	if (result < 0)
		ereport(FATAL,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("file \"%s\" in the data directory is damaged or of another version", CLUSTER_FILE),
				 errhint("It holds the id of the Concord cluster, as the file \"identity\" in concord.directory does.")));
	if (result > 0)
		set_known(id);
}

const char *
concord_cluster_id(void)
{
	if (state == NULL || pg_atomic_read_u32(&state->known) == 0)
		return NULL;
	pg_read_barrier();
	return state->id;
}

bool
concord_cluster_meet(const char *id)
{
	char		text[CONCORD_TROUBLE_SIZE];
	const char *known = concord_cluster_id();

	if (known != NULL && strcmp(known, id) == 0)
	{
		concord_set_trouble(CONCORD_TROUBLE_GATEWAY, CONCORD_WELL, "");
		return true;
	}
	if (known != NULL)
		snprintf(text, sizeof(text), "the sidecar serves cluster %s, and this server's Concord tables are in cluster %s; start the "
				 "sidecar in the directory of that one (docs/failures/directory.md)", id, known);
	else if (strlen(id) != CONCORD_CLUSTER_ID_SIZE || !is_id(id))
		snprintf(text, sizeof(text), "the sidecar does not tell its cluster's id: \"%.40s\"", id);
	else if (!write_cluster_file(id))
		snprintf(text, sizeof(text), "the cluster's id could not be written to file \"%s\": %s", CLUSTER_FILE, strerror(errno));
	else
	{
		set_known(id);
		return true;
	}
	concord_set_trouble(CONCORD_TROUBLE_GATEWAY, CONCORD_REFUSED, text);
	return false;
}

void
concord_set_trouble(ConcordTroubleSlot slot, ConcordTroubleKind kind, const char *text)
{
	TroubleSlot *trouble = &state->troubles[slot];

	pg_atomic_fetch_add_u32(&trouble->version, 1);
	pg_write_barrier();
	trouble->kind = kind;
	strlcpy(trouble->text, text, sizeof(trouble->text));
	pg_write_barrier();
	pg_atomic_fetch_add_u32(&trouble->version, 1);
}

ConcordTroubleKind
concord_trouble(char *text)
{
	text[0] = '\0';
	if (state == NULL || cc_channel_connected(concord_channel))
		return CONCORD_WELL;
	for (int i = 0; i < CONCORD_TROUBLE_SLOTS; i++)
	{
		TroubleSlot *trouble = &state->troubles[i];
		ConcordTroubleKind kind;
		uint32		before,
					after;

		do
		{
			before = pg_atomic_read_u32(&trouble->version);
			pg_read_barrier();
			kind = trouble->kind;
			memcpy(text, trouble->text, CONCORD_TROUBLE_SIZE);
			pg_read_barrier();
			after = pg_atomic_read_u32(&trouble->version);
		} while (before != after || before % 2 != 0);
		if (kind != CONCORD_WELL)
			return kind;
	}
	text[0] = '\0';
	return CONCORD_WELL;
}
