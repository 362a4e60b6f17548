/*
 * Preloaded into concordd by the crash test: records what it does to its files (recording.h), and is the disk of a
 * machine that the test can let crash: syncs take a while, and reach no real disk.
 *
 *   CONCORD_RECORD_DIR      the directory; what is below it is recorded
 *   CONCORD_RECORD_LOG      where to, outside of it
 *   CONCORD_RECORD_BOOT_ID  a file that is read in place of the kernel's boot id
 *   CONCORD_RECORD_SYNC_US  how long a sync takes at most
 *
 * It also gives data.mdb one identity (inode and time of birth) wherever it lies, as the image of a disk that crashed is
 * a copy here, and would be the same file there.
 *
 * Thread safety: one mutex is held over each change and its record, so the order of the records is the order of the
 * changes. A sync is two records with the lock free between them. Changes made through a shared map are not seen;
 * concordd makes none that is to last (LMDB's lock.mdb).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "recording.h"

#define FDS_MAX 65536
#define REAL(name) ((__typeof__(&name)) real(#name))

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static const char *directory;
static size_t directory_size;
static int	log_fd = -1;
static unsigned sync_us_max;
static uint64_t last_handle;
static uint64_t last_sync;
static unsigned random_state = 1;
static uint64_t handles[FDS_MAX];	/* by file descriptor; 0: not ours */
static bool synchronous[FDS_MAX];

static void *
real(const char *name)
{
	void	   *found = dlsym(RTLD_NEXT, name);

	if (found == NULL)
		abort();
	return found;
}

static void
begin(void)
{
	const char *log = getenv("CONCORD_RECORD_LOG");
	const char *sync_us = getenv("CONCORD_RECORD_SYNC_US");

	/* A server that starts concordd has the library too. */
	if (strcmp(program_invocation_short_name, "concordd") != 0)
		return;
	directory = getenv("CONCORD_RECORD_DIR");
	if (log == NULL || directory == NULL)
		return;
	directory_size = strlen(directory);
	sync_us_max = sync_us != NULL ? (unsigned) atoi(sync_us) : 0;
	log_fd = REAL(open) (log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (log_fd < 0)
		abort();
}

/* The part of a path below the directory ("" for itself), or NULL. */
static const char *
below(const char *path)
{
	pthread_once(&once, begin);
	if (log_fd < 0 || path == NULL || strncmp(path, directory, directory_size) != 0)
		return NULL;
	if (path[directory_size] == '\0')
		return path + directory_size;
	return path[directory_size] == '/' ? path + directory_size + 1 : NULL;
}

static void
record(enum RecordingType type, uint64_t handle, uint64_t a, uint64_t b, const struct iovec *bytes, int count)
{
	struct RecordingHead head = {.type = (uint8_t) type, .handle = handle, .a = a, .b = b};
	struct iovec all[1 + 1024];
	size_t		size = sizeof head;

	if (count > 1024)
		abort();
	for (int i = 0; i < count; i++)
	{
		all[i + 1] = bytes[i];
		size += bytes[i].iov_len;
	}
	head.size = (uint32_t) size;
	all[0].iov_base = &head;
	all[0].iov_len = sizeof head;
	if (REAL(writev) (log_fd, all, count + 1) != (ssize_t) size)
		abort();
}

static void
record_path(enum RecordingType type, uint64_t handle, uint64_t a, const char *path)
{
	struct iovec bytes = {(void *) path, strlen(path)};

	record(type, handle, a, 0, &bytes, 1);
}

static uint64_t
handle_of(int fd)
{
	return fd >= 0 && fd < FDS_MAX ? handles[fd] : 0;
}

static int
recorded_open(const char *path, int flags, mode_t mode)
{
	const char *name = below(path);
	int			fd;

	if (name == NULL)
		return REAL(open) (path, flags, mode);
	pthread_mutex_lock(&mutex);
	fd = REAL(open) (path, flags, mode);
	if (fd >= FDS_MAX)
		abort();
	if (fd >= 0)
	{
		handles[fd] = ++last_handle;
		synchronous[fd] = (flags & O_DSYNC) != 0;
		record_path(RECORDING_OPEN, handles[fd], (flags & O_TRUNC) != 0, name);
	}
	pthread_mutex_unlock(&mutex);
	return fd;
}

#define OPEN(name) \
int \
name(const char *path, int flags,...) \
{ \
	mode_t		mode = 0; \
	va_list		args; \
\
	if ((flags & O_CREAT) != 0) \
	{ \
		va_start(args, flags); \
		mode = va_arg(args, mode_t); \
		va_end(args); \
	} \
	return recorded_open(path, flags, mode); \
}
OPEN(open)
OPEN(open64)

int
close(int fd)
{
	int			result;

	if (handle_of(fd) == 0)
		return REAL(close) (fd);
	pthread_mutex_lock(&mutex);
	handles[fd] = 0;
	result = REAL(close) (fd);
	pthread_mutex_unlock(&mutex);
	return result;
}

static ssize_t
recorded_write(int fd, const struct iovec *bytes, int count, off_t at)
{
	ssize_t		written;

	pthread_mutex_lock(&mutex);
	if (at < 0)
	{
		at = lseek(fd, 0, SEEK_CUR);
		written = REAL(writev) (fd, bytes, count);
	}
	else
		written = REAL(pwritev) (fd, bytes, count, at);
	if (written >= 0)
	{
		ssize_t		asked = 0;

		for (int i = 0; i < count; i++)
			asked += (ssize_t) bytes[i].iov_len;
		if (written != asked)
			abort();			/* the real disk is full: no test */
		record(RECORDING_WRITE, handles[fd], (uint64_t) at, synchronous[fd], bytes, count);
	}
	pthread_mutex_unlock(&mutex);
	return written;
}

ssize_t
write(int fd, const void *bytes, size_t size)
{
	struct iovec one = {(void *) bytes, size};

	return handle_of(fd) == 0 ? REAL(write) (fd, bytes, size) : recorded_write(fd, &one, 1, -1);
}

ssize_t
writev(int fd, const struct iovec *bytes, int count)
{
	return handle_of(fd) == 0 ? REAL(writev) (fd, bytes, count) : recorded_write(fd, bytes, count, -1);
}

#define PWRITE(name) \
ssize_t \
name(int fd, const void *bytes, size_t size, off_t at) \
{ \
	struct iovec one = {(void *) bytes, size}; \
\
	return handle_of(fd) == 0 ? REAL(name) (fd, bytes, size, at) : recorded_write(fd, &one, 1, at); \
}
PWRITE(pwrite)
PWRITE(pwrite64)

#define PWRITEV(name) \
ssize_t \
name(int fd, const struct iovec *bytes, int count, off_t at) \
{ \
	return handle_of(fd) == 0 ? REAL(name) (fd, bytes, count, at) : recorded_write(fd, bytes, count, at); \
}
PWRITEV(pwritev)
PWRITEV(pwritev64)

#define RESIZE(name, grow, call) \
	int			result; \
\
	if (handle_of(fd) == 0) \
		return REAL(name) call; \
	pthread_mutex_lock(&mutex); \
	result = REAL(name) call; \
	if (result == 0) \
		record(RECORDING_SIZE, handles[fd], (uint64_t) size, grow, NULL, 0); \
	pthread_mutex_unlock(&mutex); \
	return result;

int
ftruncate(int fd, off_t size)
{
	RESIZE(ftruncate, 0, (fd, size))
}

int
ftruncate64(int fd, off_t size)
{
	RESIZE(ftruncate64, 0, (fd, size))
}

int
posix_fallocate(int fd, off_t from, off_t size)
{
	if (from != 0)
		abort();				/* concordd does not */
	RESIZE(posix_fallocate, 1, (fd, from, size))
}

int
posix_fallocate64(int fd, off_t from, off_t size)
{
	if (from != 0)
		abort();
	RESIZE(posix_fallocate64, 1, (fd, from, size))
}

/* Space behind the end of a file (lock.mdb's) is nothing that a crash could show. */
#define FALLOCATE(name) \
int \
name(int fd, int mode, off_t from, off_t length) \
{ \
	const off_t size = from + length; \
\
	if (mode == FALLOC_FL_KEEP_SIZE) \
		return REAL(name) (fd, mode, from, length); \
	if (handle_of(fd) != 0 && mode != 0) \
		abort();				/* concordd does not */ \
	RESIZE(name, 1, (fd, mode, from, length)) \
}
FALLOCATE(fallocate)
FALLOCATE(fallocate64)

/* By a handle that only this one has. */
#define TRUNCATE(name) \
int \
name(const char *path, off_t size) \
{ \
	const char *below_path = below(path); \
	int			result; \
\
	if (below_path == NULL) \
		return REAL(name) (path, size); \
	pthread_mutex_lock(&mutex); \
	result = REAL(name) (path, size); \
	if (result == 0) \
	{ \
		record_path(RECORDING_OPEN, ++last_handle, 0, below_path); \
		record(RECORDING_SIZE, last_handle, (uint64_t) size, 0, NULL, 0); \
	} \
	pthread_mutex_unlock(&mutex); \
	return result; \
}
TRUNCATE(truncate)
TRUNCATE(truncate64)

static int
recorded_sync(int fd)
{
	const uint64_t handle = handles[fd];
	uint64_t	number;
	unsigned	us = 0;

	pthread_mutex_lock(&mutex);
	number = ++last_sync;
	record(RECORDING_SYNC_BEGIN, handle, number, 0, NULL, 0);
	if (sync_us_max > 0)
		us = (unsigned) rand_r(&random_state) % sync_us_max;
	pthread_mutex_unlock(&mutex);
	if (us > 0)
		usleep(us);
	pthread_mutex_lock(&mutex);
	record(RECORDING_SYNC_END, handle, number, 0, NULL, 0);
	pthread_mutex_unlock(&mutex);
	return 0;
}

int
fsync(int fd)
{
	return handle_of(fd) == 0 ? REAL(fsync) (fd) : recorded_sync(fd);
}

int
fdatasync(int fd)
{
	return handle_of(fd) == 0 ? REAL(fdatasync) (fd) : recorded_sync(fd);
}

/* Paths are absolute. */
int
renameat2(int from_directory, const char *from, int to_directory, const char *to, unsigned int flags)
{
	const char *from_name = below(from);
	const char *to_name = below(to);
	int			result;

	if (from_name == NULL || to_name == NULL)
		return REAL(renameat2) (from_directory, from, to_directory, to, flags);
	pthread_mutex_lock(&mutex);
	result = REAL(renameat2) (from_directory, from, to_directory, to, flags);
	if (result == 0)
	{
		struct iovec both[2] = {{(void *) from_name, strlen(from_name) + 1}, {(void *) to_name, strlen(to_name)}};

		record(RECORDING_RENAME, 0, (flags & RENAME_EXCHANGE) != 0, 0, both, 2);
	}
	pthread_mutex_unlock(&mutex);
	return result;
}

int
rename(const char *from, const char *to)
{
	return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}

#define PATH_CALL(type, call) \
	const char *name = below(path); \
	int			result; \
\
	if (name == NULL) \
		return call; \
	pthread_mutex_lock(&mutex); \
	result = call; \
	if (result == 0) \
		record_path(type, 0, 0, name); \
	pthread_mutex_unlock(&mutex); \
	return result;

int
unlink(const char *path)
{
	PATH_CALL(RECORDING_UNLINK, REAL(unlink) (path))
}

int
mkdir(const char *path, mode_t mode)
{
	PATH_CALL(RECORDING_MKDIR, REAL(mkdir) (path, mode))
}

int
rmdir(const char *path)
{
	PATH_CALL(RECORDING_RMDIR, REAL(rmdir) (path))
}

#define FOPEN(name) \
FILE * \
name(const char *path, const char *mode) \
{ \
	const char *boot_id = getenv("CONCORD_RECORD_BOOT_ID"); \
\
	if (boot_id != NULL && strcmp(path, "/proc/sys/kernel/random/boot_id") == 0) \
		path = boot_id; \
	return REAL(name) (path, mode); \
}
FOPEN(fopen)
FOPEN(fopen64)

int
statx(int fd, const char *path, int flags, unsigned mask, struct statx *info)
{
	const int	result = REAL(statx) (fd, path, flags, mask, info);
	const char *name = below(path);

	if (result == 0 && name != NULL && strcmp(name, "storage/data.mdb") == 0)
	{
		info->stx_ino = 1;
		memset(&info->stx_btime, 0, sizeof info->stx_btime);
	}
	return result;
}
